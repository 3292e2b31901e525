"""How good predictions are: one flat, JSON-ready dictionary from labels and probabilities, and the objective in it.

NumPy only, so that reports can use it without torch. Every count-based figure comes from one confusion matrix.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise.config.schema import POSITIVE
from counterpoise.errors import Problem, fail, nearest
from counterpoise.events import Health
from counterpoise.typed import Positive, Real, checked

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

METRICS: Final[dict[str, Literal["maximise", "minimise"]]] = {
    "accuracy": "maximise",
    "f1": "maximise",
    "precision": "maximise",
    "recall": "maximise",
    "sensitivity": "maximise",
    "specificity": "maximise",
    "macro_f1": "maximise",
    "weighted_f1": "maximise",
    "macro_precision": "maximise",
    "macro_recall": "maximise",
    "mcc": "maximise",
    "roc_auc": "maximise",
    "pr_auc": "maximise",
    "log_loss": "minimise",
    "calibration_error": "minimise",
}
"""The metrics that can be an objective, and their direction. ``sensitivity`` and ``specificity``: two classes only."""

MOST_CRITERIA: Final = 100
"""Most different criteria for which a result has figures one by one."""
CALIBRATION_BINS: Final = 15
"""Of the expected calibration error."""
SAME_SCORE: Final = 1e-9
"""Scores that differ by no more than this are tied: the order of a sum alone can make such a difference."""
_LEAST = 1e-12
"""Probabilities below this are taken for it, where their logarithm is wanted."""
_SUM_TOLERANCE = 0.01  # generous: probabilities may have been kept in half precision


def predicted_classes(probabilities: ArrayLike, threshold: float | None = None) -> Ints:
    """The predicted class of each sample, ``[N]``: the most probable one, the lowest index winning ties.

    With a threshold (two classes only) it is class 1 where its probability is at least the threshold.

    Raises:
        ValueError: for a threshold with more or fewer than two classes.
    """
    table = np.asarray(probabilities)
    if threshold is None:
        most_probable: Ints = np.argmax(table, axis=1)
        return most_probable
    if table.shape[1] != 2:
        raise ValueError(f"a threshold needs two classes, got {table.shape[1]}")
    return (table[:, 1] >= threshold).astype(np.int64)


def classification_metrics(
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    threshold: float | None = None,
    *,
    predicted: ArrayLike | None = None,
) -> dict[str, Any]:
    """All figures of one split.

    For two classes ``f1``, ``precision``, ``recall`` (also named ``sensitivity``), ``roc_auc`` and ``pr_auc`` are those
    of class 1, and ``specificity`` is the recall of class 0. For more classes the former are macro averages, the areas
    one class against the rest, and there is no sensitivity or specificity. Averages run over all of ``classes``.

    A ratio with nothing below the line is 0, as with scikit-learn's ``zero_division=0``. An area that the labels do not
    define is NaN: ``roc_auc`` where all labels agree, ``pr_auc`` without positives; a macro area is the mean over the
    classes that define one. ``calibration_error`` is the expected calibration error with 15 bins of equal width
    (Guo et al. 2017, On Calibration of Modern Neural Networks), over the probability of the predicted class;
    ``log_loss`` is natural, per sample, with probabilities clipped at 2.2e-16.

    Args:
        labels: class indices, ``[N]``.
        probabilities: ``[N, C]``, each row summing to 1.
        classes: the C class names.
        threshold: for two classes, the probability from which class 1 is predicted; ``None`` for the more probable.
        predicted: the predicted classes ``[N]``, where they were decided already, each row perhaps by its own
            threshold.

    Returns:
        the metrics above by name; ``confusion_matrix`` as nested lists, rows being the actual classes; ``per_class``,
        by class name: precision, recall, f1, support, predicted (both counts), predicted_share, actual_share, and
        roc_auc of the class against the rest.

    Raises:
        ValueError: for no samples, shapes that do not fit, labels or predicted classes outside 0..C-1, rows that are no
            probabilities (NaN, infinite, negative, not summing to 1), or both a threshold and what is predicted.
    """
    truth, table = _checked(labels, probabilities, len(classes))
    chosen = predicted_classes(table, threshold) if predicted is None else _checked_classes(predicted, table)
    if predicted is not None and threshold is not None:
        raise ValueError("give a threshold, or what is predicted, not both")
    matrix = confusion_matrix(truth, chosen, len(classes))
    return {
        **_from_confusion(matrix),
        **_areas(truth, table),
        "calibration_error": calibration_error(truth, chosen, table),
        "log_loss": _log_loss(truth, table),
        "per_class": _per_class(matrix, classes, _class_areas(truth, table)),
        "confusion_matrix": matrix.tolist(),
    }


def metrics_by(
    criteria: Sequence[str],
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    *,
    predicted: ArrayLike | None = None,
) -> dict[str, dict[str, float]]:
    """The figures of each criterion by itself.

    Args:
        criteria: the criterion of each sample, ``[N]``.
        labels: class indices, ``[N]``.
        probabilities: ``[N, C]``, each row summing to 1.
        classes: the C class names.
        predicted: as for :func:`classification_metrics`.

    Returns:
        by criterion, in alphabetical order: ``n`` samples, and ``f1``, ``precision``, ``recall``, ``roc_auc`` as
        :func:`classification_metrics` defines them (NaN where the labels of a criterion all agree); of two classes also
        ``positives``, the samples of class 1.

    Raises:
        ValueError: as :func:`classification_metrics`, or without a criterion for each sample.
    """
    truth, table = _checked(labels, probabilities, len(classes))
    if len(criteria) != len(truth):
        raise ValueError(f"needs a criterion for each of {len(truth)} samples, got {len(criteria)}")
    chosen = predicted_classes(table) if predicted is None else _checked_classes(predicted, table)
    members: dict[str, list[int]] = {}
    for position, criterion in enumerate(criteria):
        members.setdefault(criterion, []).append(position)
    found: dict[str, dict[str, float]] = {}
    for criterion in sorted(members):
        own = members[criterion]
        own_truth = truth[own]
        all_figures = classification_metrics(own_truth, table[own], classes, predicted=chosen[own])
        positives = {"positives": int((own_truth == 1).sum())} if len(classes) == 2 else {}
        figures = {name: all_figures[name] for name in ("f1", "precision", "recall", "roc_auc")}
        found[criterion] = {"n": len(own_truth), **positives, **figures}
    return found


def by_criterion(
    criteria: Sequence[str],
    labels: ArrayLike,
    probabilities: ArrayLike,
    classes: Sequence[str],
    *,
    predicted: ArrayLike | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """:func:`metrics_by` under the name ``criteria``; nothing where there are more than :data:`MOST_CRITERIA`."""
    if len(set(criteria)) > MOST_CRITERIA:
        return {}
    return {"criteria": metrics_by(criteria, labels, probabilities, classes, predicted=predicted)}


def confusion_matrix(labels: Ints, predicted: Ints, n_classes: int) -> Ints:
    """Counts ``[C, C]``, rows the actual and columns the predicted classes, from two ``[N]``."""
    return np.bincount(labels * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)


def _checked(labels: ArrayLike, probabilities: ArrayLike, n_classes: int) -> tuple[Ints, Floats]:
    truth, table = np.asarray(labels), np.asarray(probabilities, dtype=np.float64)
    if n_classes < 2:
        raise ValueError(f"needs at least two classes, got {n_classes}")
    if truth.ndim != 1 or not len(truth):
        raise ValueError(f"needs labels [N] with N > 0, got shape {truth.shape}")
    if table.shape != (len(truth), n_classes):
        raise ValueError(f"expected probabilities [{len(truth)}, {n_classes}], got {list(table.shape)}")
    if not np.issubdtype(truth.dtype, np.integer) or truth.min() < 0 or truth.max() >= n_classes:
        raise ValueError(f"labels must be integers from 0 to {n_classes - 1}")
    # NaN fails every comparison, so this also finds it.
    if not (table.min() >= 0 and np.abs(table.sum(axis=1) - 1).max() <= _SUM_TOLERANCE):
        raise ValueError("every row of probabilities must be finite, not negative, and sum to 1")
    return truth.astype(np.int64, copy=False), table


def _checked_classes(predicted: ArrayLike, table: Floats) -> Ints:
    classes = np.asarray(predicted)
    if classes.shape != (len(table),) or not np.issubdtype(classes.dtype, np.integer):
        raise ValueError(f"expected predicted classes [{len(table)}], got {classes.dtype} {list(classes.shape)}")
    if classes.min() < 0 or classes.max() >= table.shape[1]:
        raise ValueError(f"predicted classes must be integers from 0 to {table.shape[1] - 1}")
    return classes.astype(np.int64, copy=False)


def _rates(matrix: Ints) -> tuple[Floats, Floats, Floats]:
    """Precision, recall and F1 of every class, each ``[C]``."""
    hits, actual, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    return _ratio(hits, predicted), _ratio(hits, actual), _ratio(2 * hits, actual + predicted)


def _ratio(above: Ints, below: Ints) -> Floats:
    return np.divide(above, below, out=np.zeros(len(below)), where=below != 0)


def _from_confusion(matrix: Ints) -> dict[str, float]:
    precision, recall, f1 = _rates(matrix)
    macro = {
        "macro_f1": float(f1.mean()),
        "macro_precision": float(precision.mean()),
        "macro_recall": float(recall.mean()),
    }
    if len(matrix) == 2:
        one = {"f1": float(f1[1]), "precision": float(precision[1]), "recall": float(recall[1])}
        one |= {"sensitivity": one["recall"], "specificity": float(recall[0])}
    else:
        one = {name.removeprefix("macro_"): value for name, value in macro.items()}
    return {
        "accuracy": float(np.trace(matrix) / matrix.sum()),
        **one,
        **macro,
        "weighted_f1": float(np.average(f1, weights=matrix.sum(axis=1))),
        "mcc": _mcc(matrix),
    }


def _mcc(matrix: Ints) -> float:
    """Matthews correlation for C classes (Gorodkin 2004); 0 where labels or predictions are constant."""
    counts = matrix.astype(np.float64)  # the products below overflow int64 from about a million samples on
    actual, predicted, total = counts.sum(axis=1), counts.sum(axis=0), counts.sum()
    spread = (total**2 - actual @ actual) * (total**2 - predicted @ predicted)
    if spread == 0:
        return 0.0
    return float((np.trace(counts) * total - actual @ predicted) / math.sqrt(spread))


def _areas(truth: Ints, table: Floats) -> dict[str, float]:
    """``roc_auc`` and ``pr_auc``: of class 1 of two, or the macro average of each class against the rest."""
    columns = [1] if table.shape[1] == 2 else range(table.shape[1])
    pairs = [_roc_and_pr(truth == c, table[:, c]) for c in columns]
    roc, pr = ([value for value in values if not math.isnan(value)] for values in zip(*pairs, strict=True))
    return {"roc_auc": _mean(roc), "pr_auc": _mean(pr)}


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _roc_and_pr(positive: NDArray[np.bool_], scores: Floats) -> tuple[float, float]:
    """Area under the ROC curve, and average precision, of one class; both ``[N]``."""
    order = np.argsort(-scores)
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf))  # tied samples enter the curve together
    hits = np.cumsum(positive[order])[ends]
    alarms = ends + 1 - hits
    n_positive, n_negative = int(hits[-1]), int(alarms[-1])
    if not n_positive:
        return math.nan, math.nan
    precision = hits / (ends + 1)
    average_precision = float(np.diff(hits, prepend=0) @ precision) / n_positive
    if not n_negative:
        return math.nan, average_precision
    trapezes = np.diff(alarms, prepend=0) @ (hits + np.concatenate(([0], hits[:-1])))
    return float(trapezes) / (2 * n_positive * n_negative), average_precision


def calibration_error(truth: Ints, predicted: Ints, table: Floats) -> float:
    """``sum_b |correct_b - confidence_b| / N`` over bins ``(b/15, (b+1)/15]`` of the confidence.

    Args:
        truth: class indices, ``[N]``.
        predicted: predicted classes, ``[N]``; the confidence is that in them.
        table: probabilities ``[N, C]``.
    """
    confidence = table[np.arange(len(truth)), predicted]
    edges = np.arange(1, CALIBRATION_BINS) / CALIBRATION_BINS
    gap = (predicted == truth) - confidence
    per_bin = np.bincount(np.searchsorted(edges, confidence), weights=gap)
    return float(np.abs(per_bin).sum() / len(truth))


def _log_loss(truth: Ints, table: Floats) -> float:
    chosen = table[np.arange(len(truth)), truth]
    return float(-np.log(np.clip(chosen, np.finfo(np.float64).eps, 1)).mean())


def _class_areas(truth: Ints, table: Floats) -> Floats:
    """Area under the ROC curve of each class against the rest, ``[C]``; NaN where one of both has no samples.

    Log odds that agree to three decimals count as equal: a model that answers everything alike must not seem to rank
    because of rounding.
    """
    scores = np.round(np.log(np.clip(table, _LEAST, 1)) - np.log(np.clip(1 - table, _LEAST, 1)), 3)
    if table.shape[1] == 2:
        return np.full(2, _roc_and_pr(truth == 1, scores[:, 1])[0])
    return np.array([_roc_and_pr(truth == c, scores[:, c])[0] for c in range(table.shape[1])])


def _per_class(matrix: Ints, classes: Sequence[str], areas: Floats) -> dict[str, dict[str, float]]:
    support, predicted, total = matrix.sum(axis=1), matrix.sum(axis=0), int(matrix.sum())
    columns = {
        **dict(zip(("precision", "recall", "f1"), _rates(matrix), strict=True)),
        "support": support,
        "predicted": predicted,
        "predicted_share": predicted / total,
        "actual_share": support / total,
        "roc_auc": areas,
    }
    return {name: {key: column[i].item() for key, column in columns.items()} for i, name in enumerate(classes)}


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """The one figure that early stopping, the best checkpoint and sweeps go by."""

    metric: str = "macro_f1"
    """A metric's name, or ``custom`` for the weighted sum below."""
    weights: Annotated[dict[str, float], POSITIVE] = field(default_factory=dict)
    """For ``custom``: weight by metric, e.g. accuracy 0.3, weighted_f1 0.3, macro_f1 0.4. The sum is maximised, so
    a metric that is better when small counts negatively."""

    def problems(self) -> Iterator[Problem]:
        """Unknown names, and weights that are missing or idle."""
        names = [*METRICS, "custom"]
        if self.metric not in names:
            yield Problem("metric", f"unknown metric {self.metric!r}.", nearest(self.metric, names))
        if self.metric == "custom" and not self.weights:
            yield Problem("weights", "must not be empty with metric=custom.", "Example: {accuracy: 0.3, f1: 0.7}.")
        if self.metric in METRICS and self.weights:
            yield Problem("weights", f"have no effect with metric={self.metric}.", "Use metric=custom, or drop them.")
        for name in self.weights:
            if name not in METRICS:
                yield Problem(f"weights.{name}", "unknown metric.", nearest(name, METRICS))


class Objective:
    """Scores a dictionary of metrics, and compares scores."""

    Config: ClassVar[type[ObjectiveConfig]] = ObjectiveConfig

    def __init__(self, config: ObjectiveConfig) -> None:
        self.config = config

    @property
    def name(self) -> str:
        """The metric's name, or ``custom``."""
        return self.config.metric

    @property
    def metrics(self) -> dict[str, str]:
        """The metrics that it is made of, by the key of the config that names each."""
        if self.name != "custom":
            return {"objective.metric": self.name}
        return {f"objective.weights.{name}": name for name in self.config.weights}

    @property
    def maximise(self) -> bool:
        """Whether larger is better."""
        return METRICS.get(self.name, "maximise") == "maximise"

    def score(self, metrics: Mapping[str, Any]) -> float:
        """The objective's value; NaN if a metric it needs is.

        Raises:
            UserError: if these metrics lack one that is needed (``specificity`` with three classes).
        """
        if self.name != "custom":
            return _get(metrics, self.name)
        signs = {"maximise": 1, "minimise": -1}
        return sum(signs[METRICS[name]] * w * _get(metrics, name) for name, w in self.config.weights.items())

    def better(self, a: float, b: float, min_delta: float = 0.0) -> bool:
        """Whether score ``a`` beats ``b`` by more than ``min_delta``. NaN beats nothing and loses to every number."""
        if math.isnan(a) or math.isnan(b):
            return math.isnan(b) and not math.isnan(a)
        return (a - b if self.maximise else b - a) > min_delta

    def tie_breaker(self, metrics: Mapping[str, Any]) -> str:
        """The metric that chooses among equal scores: see :func:`tie_breaker`."""
        return tie_breaker(self.name, two_classes="specificity" in metrics)

    def standing(self, metrics: Mapping[str, Any]) -> Standing:
        """What an epoch or a run with these metrics is chosen by.

        Raises:
            UserError: as :meth:`score`.
        """
        return self.standing_of(self.score(metrics), metrics)

    def standing_of(self, score: float, metrics: Mapping[str, Any]) -> Standing:
        """The same, of a score that is known already. Metrics without the tie breaker leave it undefined."""
        name = self.tie_breaker(metrics)
        return standing(score, metrics.get(name), maximise=self.maximise, tie_breaker=name)


@dataclass(frozen=True)
class Standing:
    """What an epoch, a run or a model is chosen by: its score, and among equal scores the tie breaker.

    Both are turned so that larger is better; what is not defined is minus infinity.
    """

    score: float = -math.inf
    tie_breaker: float = -math.inf
    maximise: bool = True
    """Whether the score as it comes is better when it is larger."""

    @property
    def is_defined(self) -> bool:
        """Whether there is a score at all."""
        return self.score > -math.inf

    @property
    def value(self) -> float | None:
        """The score as it comes; ``None`` where it is not defined."""
        return None if not self.is_defined else self.score if self.maximise else -self.score

    def ties(self, other: Standing) -> bool:
        """Whether the scores are equal, the tie breaker aside."""
        return self.is_defined and other.is_defined and abs(self.score - other.score) <= SAME_SCORE

    def beats(self, other: Standing, min_delta: float = 0.0) -> bool:
        """Whether this is better by more than ``min_delta``: in the score, or in the tie breaker of equal scores."""
        if not self.is_defined:
            return False
        if self.ties(other):
            return self.tie_breaker - other.tie_breaker > max(min_delta, SAME_SCORE)
        return self.score - other.score > min_delta

    @property
    def order(self) -> tuple[float, float]:
        """A key to sort by, the best last; what ties to nine decimals is ordered by the tie breaker."""
        return round(self.score, 9) if self.is_defined else self.score, self.tie_breaker


@dataclass
class BestEpoch:
    """The best epoch so far, by its standing and by what the guards say of the model then."""

    epoch: int | None = None
    """One-based; ``None`` before there is one."""
    standing: Standing = field(default_factory=Standing)
    doubtful: bool = False
    """A class was never predicted in it, so early that it does not count; any sound epoch is better."""

    def weigh(self, epoch: int, standing: Standing, health: Health, min_delta: float = 0.0) -> bool:
        """Take an epoch for the best if it is, by more than ``min_delta``; whether it was.

        A collapsed epoch never is, and the first of them also ends the reign of a doubtful one: what was taken for a
        beginning was the collapse already.
        """
        if health == Health.COLLAPSED:
            if self.doubtful:
                self.epoch, self.standing, self.doubtful = None, Standing(), False
            return False
        doubtful = health == Health.DOUBTFUL
        if not standing.is_defined or not self._is_beaten(standing, doubtful, min_delta):
            return False
        self.epoch, self.standing, self.doubtful = epoch, standing, doubtful
        return True

    def _is_beaten(self, standing: Standing, doubtful: bool, min_delta: float) -> bool:
        if self.epoch is None:
            return True
        return standing.beats(self.standing, min_delta) if doubtful == self.doubtful else self.doubtful

    def state_dict(self) -> list[Any]:
        """Plain values."""
        standing = self.standing
        return [self.epoch, self.doubtful, standing.score, standing.tie_breaker, standing.maximise]

    @classmethod
    def from_state(cls, state: Sequence[Any]) -> BestEpoch:
        """From ``state_dict``'s answer. Raises ``ValueError`` for what is none."""
        kinds: Sequence[Any] = (Positive | None, bool, Real, Real, bool)
        for place, (kind, value) in enumerate(zip(kinds, checked(list[Any], state, "best"), strict=True)):
            checked(kind, value, f"best[{place}]")
        epoch, doubtful, *standing = state
        return cls(epoch, Standing(*standing), doubtful)


def standing(score: float | None, tie_value: object, *, maximise: bool, tie_breaker: str) -> Standing:
    """The standing of a score and the value of its tie breaker, both as they come."""
    return Standing(_turned(score, maximise), _turned(tie_value, METRICS.get(tie_breaker) != "minimise"), maximise)


def _turned(value: object, maximise: bool) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return -math.inf
    return float(value) if maximise else -float(value)


def tie_breaker(metric: str, *, two_classes: bool) -> str:
    """The metric that chooses among runs or epochs with the same score: one that no threshold has a part in.

    That is the area under the precision-recall curve for two classes, and the log loss for more; another one where the
    objective is that metric itself.
    """
    preferred = ("pr_auc", "log_loss") if two_classes else ("log_loss", "pr_auc")
    return preferred[metric == preferred[0]]


def undefined_metrics(
    names: Mapping[str, str], counts: ArrayLike, classes: Sequence[str], split: str
) -> Iterator[Problem]:
    """Metrics that the labels of a split leave undefined, or the same for all predictions.

    Args:
        names: metric by the key of the config that asks for it.
        counts: samples of each class in the split, ``[C]``.
        classes: the C class names.
        split: its name, for messages.
    """
    table = np.asarray(counts)
    for key, metric in names.items():
        lacking = ", ".join(repr(classes[index]) for index in _lacking(metric, table))
        if lacking:
            where = f"none of the {table.sum():,} records of the {split} split"
            what = f"{metric} is undefined: {where} is of class {lacking}."
            remedy = "Give that split records of every class, or choose a metric such as accuracy or log_loss."
            yield Problem(key, what, remedy)


def _lacking(metric: str, counts: Ints) -> list[int]:
    """The absent classes without which a metric says nothing."""
    absent: list[int] = np.flatnonzero(counts == 0).tolist()
    if metric in ("roc_auc", "pr_auc", "mcc"):
        return absent if len(counts) - len(absent) < 2 else []
    if len(counts) > 2:
        return []
    needed = {"specificity": 0} | dict.fromkeys(("f1", "precision", "recall", "sensitivity"), 1)
    return [index for index in absent if index == needed.get(metric)]


def _get(metrics: Mapping[str, Any], name: str) -> float:
    if name not in metrics:
        known = [key for key in METRICS if key in metrics]
        raise fail("objective", f"{name!r} is not defined for this data.", f"Choose one of: {', '.join(known)}.")
    return float(metrics[name])
