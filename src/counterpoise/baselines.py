"""The bars that any network must clear: the majority class, and words with logistic regression.

An F1 or an accuracy says little alone; beside these two it says whether anything was learnt. scikit-learn is imported
only when the second is computed.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.records import Dataset, Records
from counterpoise.metrics import classification_metrics

Probabilities = NDArray[np.float64]

# Identifiers, numbers, each punctuation mark (they tell a lot about code), and words that start in another script,
# which come last because trying `[^\W\d]` first is 15 % slower.
_TOKEN = r"[A-Za-z_]\w*|\d+|[^\w\s]|[^\W\d]\w*"


def majority(train_labels: NDArray[np.integer[Any]], n_classes: int, n_rows: int) -> Probabilities:
    """The class shares of the training labels ``[N]`` for every row, ``[n_rows, C]``; its argmax is the majority class.

    Raises:
        ValueError: without training labels.
    """
    if not len(train_labels):
        raise ValueError("needs at least one training label")
    shares = np.bincount(train_labels, minlength=n_classes) / len(train_labels)
    return np.tile(shares, (n_rows, 1))


def tfidf_logistic(train: Records, others: Mapping[str, Records]) -> dict[str, Probabilities]:
    """TF-IDF of single tokens and logistic regression, fitted on ``train`` alone.

    Tokens that occur in one text only are left out, unless nothing would remain. Classes are weighted by inverse
    frequency, without which the model ignores rare classes and is too low a bar for F1. Texts without any token, or
    with one class only, leave nothing to learn: the answer is then that of :func:`majority`. The solver (L-BFGS) draws
    nothing: the same data give the same figures.

    Args:
        train: the training split.
        others: the splits to predict, by name.

    Returns:
        probabilities ``[N, C]`` by name.
    """
    n_classes = len(train.classes)
    fitted = _fit(train.texts, train.labels) if len(np.unique(train.labels)) > 1 else None
    if fitted is None:
        return {name: majority(train.labels, n_classes, len(split)) for name, split in others.items()}
    words, model = fitted
    answers = {}
    for name, split in others.items():
        answers[name] = np.zeros((len(split), n_classes))
        if len(split):
            # The model has no column for a class that it never saw.
            answers[name][:, model.classes_] = model.predict_proba(words.transform(split.texts))
    return answers


def baseline_metrics(dataset: Dataset) -> dict[str, dict[str, dict[str, Any]]]:
    """The figures of both baselines on the validation split and, where there is one, the test split.

    Returns:
        ``{"majority": {"valid": {...}, "test": {...}}, "tfidf_logistic": {...}}``, the innermost being those of
        :func:`counterpoise.metrics.classification_metrics`. A split without records is left out.
    """
    train = dataset.train
    splits = {name: split for name, split in dataset.splits().items() if name != "train" and len(split)}
    answers = {
        "majority": {name: majority(train.labels, len(train.classes), len(split)) for name, split in splits.items()},
        "tfidf_logistic": tfidf_logistic(train, splits),
    }
    return {
        baseline: {
            name: classification_metrics(splits[name].labels, probabilities, dataset.classes)
            for name, probabilities in by_split.items()
        }
        for baseline, by_split in answers.items()
    }


def _fit(texts: list[str], labels: NDArray[np.int64]) -> tuple[Any, Any] | None:
    """The vectoriser and the model; ``None`` if the texts hold no token at all."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    for min_df in (2, 1):
        words = TfidfVectorizer(token_pattern=_TOKEN, lowercase=False, sublinear_tf=True, min_df=min_df)
        try:
            features = words.fit_transform(texts)
        except ValueError:  # no token is left
            continue
        model = LogisticRegression(class_weight="balanced", max_iter=1000)
        return words, model.fit(features, labels)
    return None
