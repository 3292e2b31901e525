"""How much of the generated text sets can be told by counting words: in the first tokens, in all, and in the evidence.

    python benchmarks/demo_text.py [--data documents criteria] [--seeds 0 1 2]

For each part of the text: TF-IDF and balanced logistic regression of scikit-learn, fitted on the training split, macro
F1 on the test split, mean over data seeds. The first tokens are those of a byte-level BPE of 4,096 pieces, trained on
the training split. Evidence are the passages that decide, nothing else: what a perfect reader would be left with.
Pairs also have the criterion's own weights: one model for each criterion.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import mean

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from tokenizers import ByteLevelBPETokenizer

from counterpoise.baselines import baseline_metrics, majority
from counterpoise.data.records import Dataset, Records
from counterpoise.data.sources.demo_criteria import DemoCriteria, DemoCriteriaConfig
from counterpoise.data.sources.demo_documents import DemoDocuments, DemoDocumentsConfig
from counterpoise.metrics import classification_metrics

SOURCES: dict[str, Callable[[int], Dataset]] = {
    "documents": lambda seed: DemoDocuments(DemoDocumentsConfig(data_seed=seed)).load(),
    "criteria": lambda seed: DemoCriteria(DemoCriteriaConfig(data_seed=seed)).load(),
}
FIRST = 512


def evidence_of(records: Records) -> list[str]:
    """The passages that decide, one after the other."""
    return [
        " ".join(text[start:end] for start, end in records.spans_of_evidence(index))
        for index, text in enumerate(records.texts)
    ]


def rest_of(records: Records) -> list[str]:
    """The texts without the passages that decide."""
    found = []
    for index, text in enumerate(records.texts):
        for start, end in records.spans_of_evidence(index)[::-1]:
            text = text[:start] + text[end:]
        found.append(text)
    return found


def beginnings(dataset: Dataset) -> tuple[Callable[[Records], list[str]], dict[str, float]]:
    """What cuts texts after their first tokens, and how the tokens are spread."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(sorted(set(dataset.train.texts)), vocab_size=4096)
    ends = {text: tokenizer.encode(text).offsets for text in {t for s in dataset.splits().values() for t in s.texts}}
    counts = np.array([len(offsets) for offsets in ends.values()])
    starts = [
        bool((records.spans_of_evidence(index)[:, 0] >= ends[text][FIRST - 1][1]).all())
        for records in dataset.splits().values()
        for index, text in enumerate(records.texts)
        if len(records.spans_of_evidence(index)) and len(ends[text]) >= FIRST
    ]
    facts = {
        "median tokens": float(np.median(counts)),
        "share over 512": float((counts > FIRST).mean()),
        "share over 10,000": float((counts > 10_000).mean()),
        "no evidence in the first 512, of texts that are longer": float(np.mean(starts)) if starts else 1.0,
    }
    return lambda records: [text[: ends[text][:FIRST][-1][1]] for text in records.texts], facts


def score(dataset: Dataset, part: Callable[[Records], list[str]], grams: int) -> float:
    """Macro F1 on the test split of models of one part of the text, one for each criterion."""
    train, test = dataset.train, dataset.test
    assert test is not None
    words = TfidfVectorizer(ngram_range=(1, grams), sublinear_tf=True, min_df=2)
    features, others = words.fit_transform(part(train)), words.transform(part(test))
    probabilities = np.zeros((len(test), len(dataset.classes)))
    keys, others_keys = _criteria(train), _criteria(test)
    for key in sorted(set(keys)):
        mine, theirs = keys == key, others_keys == key
        model = LogisticRegression(class_weight="balanced", max_iter=1000, C=10)
        model.fit(features[mine], train.labels[mine])
        probabilities[np.ix_(theirs, model.classes_)] = model.predict_proba(others[theirs])
    return float(classification_metrics(test.labels, probabilities, dataset.classes)["macro_f1"])


def _criteria(records: Records) -> NDArray[np.str_]:
    return np.array(records.table["criterion"].to_pylist() if records.has("criterion") else [""] * len(records))


def main() -> None:
    """Print one table for each data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="+", choices=SOURCES, default=list(SOURCES))
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    asked = parser.parse_args()
    for name in asked.data:
        rows: dict[str, list[float]] = {}
        for seed in asked.seeds:
            dataset = SOURCES[name](seed)
            assert dataset.test is not None
            first, facts = beginnings(dataset)
            shares = majority(dataset.train.labels, len(dataset.classes), len(dataset.test))
            figures = classification_metrics(dataset.test.labels, shares, dataset.classes)
            rows.setdefault("majority", []).append(figures["macro_f1"])
            parts = {
                "first 512 tokens": first,
                "whole text": lambda records: records.texts,
                "text without evidence": rest_of,
                "evidence only": evidence_of,
            }
            for part, texts in parts.items():
                for grams in (1, 3):
                    rows.setdefault(f"{part}, 1-{grams}-grams", []).append(score(dataset, texts, grams))
            for baseline, splits in baseline_metrics(dataset).items():
                rows.setdefault(f"baseline {baseline}", []).append(splits["test"]["macro_f1"])
            print(name, seed, {key: round(value, 3) for key, value in facts.items()}, flush=True)
        for row, values in rows.items():
            print(f"{name:10} {row:40} {mean(values):.3f}   {' '.join(f'{value:.3f}' for value in values)}")


if __name__ == "__main__":
    main()
