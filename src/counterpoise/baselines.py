"""The bars that any network must clear: the majority class, and words (or types of nodes) with logistic regression.

An F1 or an accuracy says little alone; beside these two it says whether anything was learnt. scikit-learn is imported
only when the second is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.graphs import Graphs
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


def baseline_metrics(dataset: Dataset) -> dict[str, dict[str, dict[str, Any]]]:
    """The figures of both baselines on the validation split and, where there is one, the test split.

    Returns:
        ``{"majority": {"valid": {...}, "test": {...}}, "tfidf_logistic": {...}}``, the innermost being those of
        :func:`counterpoise.metrics.classification_metrics`. A split without records is left out. Of graphs that came as
        such the second is ``type_counts_logistic``.
    """
    train = dataset.train
    splits = {name: split for name, split in dataset.splits().items() if name != "train" and len(split)}
    learnt = type_counts_logistic if train.are_graphs else tfidf_logistic
    answers = {
        "majority": {name: majority(train.labels, len(train.classes), len(split)) for name, split in splits.items()},
        learnt.__name__: learnt(train, splits),
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
