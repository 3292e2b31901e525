"""The bars that any network must clear: the majority class, and words (or types of nodes) with logistic regression.

An F1 or an accuracy says little alone; beside these it says whether anything was learnt. Pairs of a text and a
criterion have a third one, how often each criterion applies. scikit-learn is imported only when logistic regression is
computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.graphs import Graphs
from counterpoise.data.records import Dataset, Records
from counterpoise.data.words import UNSPACED
from counterpoise.metrics import by_criterion, classification_metrics

Probabilities = NDArray[np.float64]

MOST_CROSSED = 50
"""Most different criteria for which logistic regression has weights of their own."""
# Identifiers, numbers, each punctuation mark (they tell a lot about code), words that start in another script, and
# characters of scripts without blanks. The first come first: trying `[^\W\d]` before them is 15 % slower.
_REST = rf"[^\W{UNSPACED}]*"
_TOKEN = rf"[A-Za-z_]{_REST}|\d+|[^\w\s]|[^\W\d{UNSPACED}]{_REST}|[{UNSPACED}]"


def majority(train_labels: NDArray[np.integer[Any]], n_classes: int, n_rows: int) -> Probabilities:
    """The class shares of the training labels ``[N]`` for every row, ``[n_rows, C]``; its argmax is the majority class.

    Raises:
        ValueError: without training labels.
    """
    if not len(train_labels):
        raise ValueError("needs at least one training label")
    shares = np.bincount(train_labels, minlength=n_classes) / len(train_labels)
    return np.tile(shares, (n_rows, 1))


def criterion_prior(train: Records, others: Mapping[str, Records]) -> dict[str, Probabilities]:
    """The class shares of each criterion in the training split, for pairs of a text and a criterion.

    They are drawn towards the shares over all criteria, with the weight of one more pair; a criterion that the training
    split lacks has those.

    Args:
        train: the training split.
        others: the splits to predict, by name.

    Returns:
        probabilities ``[N, C]`` by name.

    Raises:
        ValueError: without training labels.
    """
    overall = majority(train.labels, len(train.classes), 1)[0]
    of_criterion: dict[str, NDArray[np.int64]] = {}
    for criterion, label in zip(_criteria(train), train.labels.tolist(), strict=True):
        of_criterion.setdefault(criterion, np.zeros(len(overall), np.int64))[label] += 1
    shares = {criterion: (counts + overall) / (counts.sum() + 1) for criterion, counts in of_criterion.items()}
    return {
        name: np.array([shares.get(criterion, overall) for criterion in _criteria(split)]).reshape(-1, len(overall))
        for name, split in others.items()
    }


def tfidf_logistic(train: Records, others: Mapping[str, Records]) -> dict[str, Probabilities]:
    """TF-IDF of single tokens and logistic regression, fitted on ``train`` alone.

    Tokens that occur in one text only are left out, unless nothing would remain. Classes are weighted by inverse
    frequency, without which the model ignores rare classes and is too low a bar for F1. Texts without any token, or
    with one class only, leave nothing to learn: the answer is then that of :func:`majority`. The solver (L-BFGS) draws
    nothing: the same data give the same figures.

    Of pairs it sees the text, the criterion, the cosine of both and, where the training split has no more than
    50 different criteria, the text once more with weights of the criterion's own.

    Args:
        train: the training split.
        others: the splits to predict, by name.

    Returns:
        probabilities ``[N, C]`` by name.
    """
    if train.has("criterion"):
        return _answers(train, others, lambda: _fit_pairs(train), lambda split: split)
    return _answers(train, others, lambda: _fit(train.texts, train.labels), lambda split: split.texts)


def type_counts_logistic(train: Records, others: Mapping[str, Records]) -> dict[str, Probabilities]:
    """What :func:`tfidf_logistic` is for texts, for graphs: how many nodes and edges of each type there are.

    Counts enter as ``log(1 + count)``, scaled to unit variance in the training split. Types that it lacks are left out.

    Args:
        train: the training split.
        others: the splits to predict, by name.

    Returns:
        probabilities ``[N, C]`` by name.
    """
    graphs = train.graphs
    sizes = int(graphs.node_types.max(initial=0)) + 1, int(graphs.edge_types.max(initial=0)) + 1

    def fit() -> tuple[Any, Any]:
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        scaler = StandardScaler(with_mean=False)
        features = scaler.fit_transform(_type_counts(train.graphs, sizes))
        return scaler, LogisticRegression(class_weight="balanced", max_iter=1000).fit(features, train.labels)

    return _answers(train, others, fit, lambda split: _type_counts(split.graphs, sizes))


def _type_counts(graphs: Graphs, sizes: tuple[int, int]) -> Any:
    """``log(1 + count)`` of the first node types and edge types, sparse ``[N, sum(sizes)]``."""
    from scipy.sparse import coo_matrix, hstack

    blocks = []
    for types, lengths, size in (
        (graphs.node_types, graphs.sizes, sizes[0]),
        (graphs.edge_types, graphs.edge_counts, sizes[1]),
    ):
        owners, known = np.repeat(np.arange(len(graphs)), lengths), types < size
        ones = np.ones(int(known.sum()))
        blocks.append(coo_matrix((ones, (owners[known], types[known])), shape=(len(graphs), size)))
    return hstack(blocks).tocsr().log1p()


def _answers(
    train: Records,
    others: Mapping[str, Records],
    fit: Callable[[], tuple[Any, Any] | None],
    content: Callable[[Records], Any],
) -> dict[str, Probabilities]:
    """Probabilities by split of what ``fit`` gives: that which makes features of ``content``, and the model of them."""
    n_classes = len(train.classes)
    fitted = fit() if len(np.unique(train.labels)) > 1 else None
    if fitted is None:
        return {name: majority(train.labels, n_classes, len(split)) for name, split in others.items()}
    features, model = fitted
    answers = {}
    for name, split in others.items():
        answers[name] = np.zeros((len(split), n_classes))
        if len(split):
            # The model has no column for a class that it never saw.
            answers[name][:, model.classes_] = model.predict_proba(features.transform(content(split)))
    return answers


def baseline_answers(dataset: Dataset) -> dict[str, dict[str, Probabilities]]:
    """The probabilities of the baselines for the validation split and, where there is one, the test split.

    Returns:
        ``{"majority": {"valid": [N, C], "test": [M, C]}, "tfidf_logistic": {...}}``. A split without records is left
        out. Of graphs that came as such the last is ``type_counts_logistic``; pairs have ``criterion_prior`` too.
    """
    train = dataset.train
    splits = {name: split for name, split in dataset.splits().items() if name != "train" and len(split)}
    learnt = type_counts_logistic if train.are_graphs else tfidf_logistic
    return {
        "majority": {name: majority(train.labels, len(train.classes), len(split)) for name, split in splits.items()},
        **({"criterion_prior": criterion_prior(train, splits)} if train.has("criterion") else {}),
        learnt.__name__: learnt(train, splits),
    }


def baseline_metrics(
    dataset: Dataset, answers: Mapping[str, Mapping[str, Probabilities]] | None = None
) -> dict[str, dict[str, dict[str, Any]]]:
    """The figures of the baselines, by baseline and split.

    They are those of :func:`counterpoise.metrics.classification_metrics`; pairs have figures by criterion too.

    Args:
        dataset: with its splits.
        answers: what :func:`baseline_answers` gives, if that is known already.
    """
    known = baseline_answers(dataset) if answers is None else answers
    splits = dataset.splits()
    return {
        baseline: {name: _figures(splits[name], probabilities) for name, probabilities in by_split.items()}
        for baseline, by_split in known.items()
    }


def _figures(split: Records, probabilities: Probabilities) -> dict[str, Any]:
    figures = classification_metrics(split.labels, probabilities, split.classes)
    if split.has("criterion"):
        figures |= by_criterion(_criteria(split), split.labels, probabilities, split.classes)
    return figures


def _criteria(records: Records) -> list[str]:
    return [criterion or "" for criterion in records.table["criterion"].to_pylist()]


def _fit(texts: list[str], labels: NDArray[np.int64]) -> tuple[Any, Any] | None:
    """The vectoriser and the model; ``None`` if the texts hold no token at all."""
    fitted = _tfidf(texts)
    return None if fitted is None else (fitted[0], _logistic(fitted[1], labels))


def _fit_pairs(train: Records) -> tuple[Any, Any] | None:
    """What makes features of pairs, and the model; ``None`` if the texts hold no token at all."""
    criteria = sorted(set(_criteria(train)))
    fitted = _tfidf([*_unique(train.texts)[0], *criteria])
    if fitted is None:
        return None
    pairs = _Pairs(fitted[0], criteria)
    return pairs, _logistic(pairs.transform(train), train.labels)


def _logistic(features: Any, labels: NDArray[np.int64]) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(class_weight="balanced", max_iter=1000).fit(features, labels)


def _tfidf(texts: list[str]) -> tuple[Any, Any] | None:
    """The vectoriser of tokens that occur in two texts at least, or else in one, and what it gives for these texts.

    ``None`` if there is no token.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer

    for min_df in (2, 1):
        words = TfidfVectorizer(token_pattern=_TOKEN, lowercase=False, sublinear_tf=True, min_df=min_df)
        try:
            return words, words.fit_transform(texts)
        except ValueError:  # no token is left
            continue
    return None


class _Pairs:
    """Features of pairs: those of the text, those of the criterion, their cosine, and the text by criterion.

    Args:
        words: the fitted vectoriser; its rows have length 1, so that a product of two is their cosine.
        criteria: those of the training split.
    """

    def __init__(self, words: Any, criteria: Sequence[str]) -> None:
        self._words = words
        self._blocks = {name: place for place, name in enumerate(criteria)} if len(criteria) <= MOST_CROSSED else {}

    def transform(self, records: Records) -> Any:
        """Sparse ``[N, 2 V + 1 + K V]`` of V tokens and K criteria; a criterion that is new has no block of its own."""
        from scipy.sparse import csr_matrix, hstack

        texts, text_of = _unique(records.texts)
        criteria, criterion_of = _unique(_criteria(records))
        left = self._words.transform(texts)[text_of]
        right = self._words.transform(criteria)[criterion_of]
        cosine = csr_matrix(left.multiply(right).sum(axis=1))
        blocks = np.array([self._blocks.get(name, -1) for name in criteria])[criterion_of]
        return hstack([left, right, cosine, _shifted(left, blocks, len(self._blocks))]).tocsr()


def _shifted(rows: Any, blocks: NDArray[np.int64], count: int) -> Any:
    """Each row of ``[N, V]`` put into its block of ``[N, count V]``; one with the block -1 is left empty."""
    from scipy.sparse import csr_matrix

    counts = np.diff(rows.indptr)
    kept = np.repeat(blocks >= 0, counts)
    columns = (rows.indices + np.repeat(blocks, counts) * rows.shape[1])[kept]
    ends = np.concatenate([[0], np.cumsum(np.where(blocks >= 0, counts, 0))])
    return csr_matrix((rows.data[kept], columns, ends), shape=(rows.shape[0], count * rows.shape[1]))


def _unique(values: Sequence[str]) -> tuple[list[str], NDArray[np.int64]]:
    """The different values in the order of their first place, and the place of each among them, ``[N]``."""
    places: dict[str, int] = {}
    found = np.array([places.setdefault(value, len(places)) for value in values], np.int64)
    return list(places), found
