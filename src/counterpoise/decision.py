"""From a model's probabilities to its answer: a temperature that calibrates them, and a threshold that decides.

Both are found on the validation split of a finished training, stored beside the best weights, and applied wherever the
model is used. The test split decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise.config.schema import Range, parse
from counterpoise.errors import Problem, UserError, fail, nearest
from counterpoise.jsonio import read_sealed, write_sealed
from counterpoise.metrics import METRICS, Floats, Ints, ObjectiveConfig, predicted_classes, undefined_metrics

DECISION: Final = "decision.json"
"""Name of the file beside the weights."""
DEFAULT_THRESHOLD: Final = 0.5
COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature."""
AS_GOOD: Final = 1e-12
"""Scores that differ by no more are equal."""
_HALVINGS = 60


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.zeros(len(below)), where=below != 0)


class Counts(NamedTuple):
    """Confusion counts of class 1 for many thresholds at once, ``[T]`` each."""

    tp: Floats
    fp: Floats
    fn: Floats
    tn: Floats

    def turned(self) -> Counts:
        """Those of class 0."""
        return Counts(self.tn, self.fn, self.fp, self.tp)

    def precision(self) -> Floats:
        """Hits among what is predicted; 0 where nothing is."""
        return _ratio(self.tp, self.tp + self.fp)

    def recall(self) -> Floats:
        """Hits among what there is."""
        return _ratio(self.tp, self.tp + self.fn)

    def f1(self) -> Floats:
        """Harmonic mean of the two."""
        return _ratio(2 * self.tp, 2 * self.tp + self.fp + self.fn)

    def mcc(self) -> Floats:
        """Matthews correlation; 0 where labels or predictions are constant."""
        spread = (self.tp + self.fp) * (self.tp + self.fn) * (self.tn + self.fp) * (self.tn + self.fn)
        return _ratio(self.tp * self.tn - self.fp * self.fn, np.sqrt(spread))


def _mean(one: Floats, other: Floats) -> Floats:
    return (one + other) / 2


def _weighted_f1(counts: Counts) -> Floats:
    positives, negatives = counts.tp + counts.fn, counts.tn + counts.fp
    return _ratio(positives * counts.f1() + negatives * counts.turned().f1(), positives + negatives)


TUNABLE: Final = {
    "accuracy": lambda c: _ratio(c.tp + c.tn, c.tp + c.tn + c.fp + c.fn),
    "f1": Counts.f1,
    "precision": Counts.precision,
    "recall": Counts.recall,
    "sensitivity": Counts.recall,
    "specificity": lambda c: c.turned().recall(),
    "macro_f1": lambda c: _mean(c.f1(), c.turned().f1()),
    "weighted_f1": _weighted_f1,
    "macro_precision": lambda c: _mean(c.precision(), c.turned().precision()),
    "macro_recall": lambda c: _mean(c.recall(), c.turned().recall()),
    "mcc": Counts.mcc,
}
"""The metrics that depend on the threshold, all better when larger, as :mod:`counterpoise.metrics` defines them."""


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """How probabilities become an answer. These keys stand at the top of the config."""

    threshold: Annotated[float | Literal["tune"], Range(gt=0, lt=1)] = DEFAULT_THRESHOLD
    """Probability from which class 1 of two is predicted; tune finds it on the validation split."""
    threshold_metric: str | None = None
    """What threshold=tune makes largest; null takes the objective's."""
    calibration: Literal["temperature", "none"] = "temperature"
    """temperature divides the logits by one number that is fitted on the validation split, which changes no ranking."""

    def problems(self) -> Iterator[Problem]:
        """A metric that is unknown, idle, or not one of the threshold."""
        name = self.threshold_metric
        if name is None:
            return
        if name in METRICS and name not in TUNABLE:
            yield Problem("threshold_metric", f"{name} does not depend on the threshold.", f"Choose {_listed()}.")
        elif name not in TUNABLE:
            yield Problem("threshold_metric", f"unknown metric {name!r}.", nearest(name, TUNABLE))
        elif self.threshold != "tune":
            message = f"has no effect with threshold={self.threshold}."
            yield Problem("threshold_metric", message, "Add threshold=tune, or drop it.")

    def problems_with(self, objective: ObjectiveConfig) -> Iterator[Problem]:
        """An objective that cannot stand in for the metric of the threshold."""
        if self.threshold == "tune" and not self.tuned_for(objective)[1]:
            message = f"must be given: objective.metric={objective.metric} does not depend on the threshold."
            yield Problem("threshold_metric", message, "Example: threshold_metric=f1.")

    def check_classes(self, classes: int) -> None:
        """Raises ``UserError`` for a threshold over more than two classes."""
        if self.threshold != DEFAULT_THRESHOLD and classes != 2:
            what = f"is {self.threshold}, but there are {classes} classes, of which the most probable is predicted."
            raise fail("threshold", what, "Leave it out.")

    def check_labels(self, counts: ArrayLike, classes: Sequence[str]) -> None:
        """Raises ``UserError`` where the threshold is to be tuned on a validation split that says nothing about it.

        Args:
            counts: records of each class in the validation split, ``[C]``.
            classes: the C class names.
        """
        if self.threshold != "tune":
            return
        own = {} if self.threshold_metric is None else {"threshold_metric": self.threshold_metric}
        problems = list(undefined_metrics(own, counts, classes, "validation"))
        if not problems and np.count_nonzero(counts) < 2:
            what = "cannot be tuned: the validation split has records of one class only."
            problems = [Problem("threshold", what, "Give it records of every class, or give a number.")]
        if problems:
            raise UserError(problems)

    def tuned_for(self, objective: ObjectiveConfig) -> tuple[str, dict[str, float]]:
        """Name, and weight by metric, of what threshold=tune makes largest; no weights where nothing depends on it."""
        name = self.threshold_metric or objective.metric
        given = objective.weights if name == "custom" else {name: 1.0}
        return name, {metric: weight for metric, weight in given.items() if metric in TUNABLE}


def _listed() -> str:
    *most, last = TUNABLE
    return f"{', '.join(most)} or {last}"


@dataclass(frozen=True, kw_only=True)
class Decision:
    """How one model's probabilities become its answer. The default is what a model does by itself."""

    threshold: Annotated[float, Range(gt=0, le=1)] = DEFAULT_THRESHOLD
    """For two classes, the probability from which class 1 is predicted; 0.5 predicts the more probable one."""
    tuned: bool = False
    """Whether the threshold was found on the validation split."""
    metric: str | None = None
    """What it was found for."""
    temperature: Annotated[float, Range(ge=COLDEST, le=HOTTEST)] = 1.0
    """What the logits are divided by."""
    notes: tuple[str, ...] = ()
    """What was in the way of finding them."""

    def calibrated(self, raw: ArrayLike) -> Floats:
        """The model's own probabilities ``[N, C]`` with its logits divided by the temperature."""
        return _tempered(raw, 1 / self.temperature)

    def raw(self, calibrated: ArrayLike) -> Floats:
        """The reverse of :meth:`calibrated`, up to rounding."""
        return _tempered(calibrated, self.temperature)

    def predicted(self, calibrated: ArrayLike) -> Ints:
        """The predicted class of each row of ``[N, C]``, ``[N]``."""
        return predicted_classes(calibrated, None if self.threshold == DEFAULT_THRESHOLD else self.threshold)

    def save(self, folder: Path, weights: str) -> None:
        """Write :data:`DECISION` beside the weights of that checksum."""
        write_sealed(folder / DECISION, {**asdict(self), "weights": weights})

    def __str__(self) -> str:
        how = f" (tuned for {self.metric})" if self.tuned else ""
        return f"threshold {self.threshold:.4g}{how}, temperature {self.temperature:.4g}"

    @classmethod
    def load(cls, folder: Path, weights: str) -> Decision:
        """What :meth:`save` wrote.

        Raises:
            OSError: if it is not there.
            ValueError: if it is damaged, or belongs to other weights.
        """
        content = read_sealed(folder / DECISION)
        if content.pop("weights", None) != weights:
            raise ValueError("it belongs to other weights")
        return cls.read(content)

    @classmethod
    def read(cls, content: object) -> Decision:
        """From plain values as ``result.json`` holds them. Raises ``ValueError`` for what is no decision."""
        try:
            return parse(cls, content)
        except UserError as error:
            raise ValueError(str(error.problems[0])) from error


def _tempered(probabilities: ArrayLike, power: float) -> Floats:
    """``softmax(power · log p)`` by rows; a probability of zero stays zero, and a power of 1 changes no bit."""
    table = np.asarray(probabilities, np.float64)
    if power == 1:
        return table
    with np.errstate(divide="ignore"):
        logits = np.log(table) * power
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    tempered: Floats = powers / powers.sum(axis=1, keepdims=True)
    return tempered


class Fitted(NamedTuple):
    """A number found on the validation split."""

    value: float
    note: str = ""
    """Why it could not be found, or is only a bound; empty where all is well."""


def fit_temperature(labels: ArrayLike, probabilities: ArrayLike) -> Fitted:
    """The temperature ``T`` with the least log loss of ``softmax(log(p) / T)`` (Guo et al. 2017, temperature scaling).

    The log loss is convex in ``1 / T``, so its derivative is halved in; from 0.05 to 20. Zeros count as 2.2e-308. It is
    1, with a note, where the labels say nothing about it: all of one class, every row predicted rightly (the smaller
    ``T`` the better, without end), or probabilities that are not finite.

    Args:
        labels: class indices, ``[N]``.
        probabilities: ``[N, C]``, the model's own.
    """
    truth, table = np.asarray(labels), np.asarray(probabilities, np.float64)
    if not np.isfinite(table).all():
        return Fitted(1.0, "not calibrated: some probabilities of the validation split are not finite")
    if len(np.unique(truth)) < 2:
        return Fitted(1.0, "not calibrated: all labels of the validation split are the same")
    logits = np.log(np.maximum(table, np.finfo(np.float64).tiny))
    own = np.take_along_axis(logits, truth[:, None], axis=1)
    if (np.sort(logits, axis=1)[:, -2] < own[:, 0]).all():
        return Fitted(1.0, "not calibrated: every record of the validation split is predicted rightly")

    def slope(power: float) -> float:
        """Derivative of the log loss with respect to ``1 / T``."""
        shares = np.exp(power * (logits - logits.max(axis=1, keepdims=True)))
        expected = (shares * logits).sum(axis=1) / shares.sum(axis=1)
        return float((expected - own[:, 0]).mean())

    low, high = math.log(1 / HOTTEST), math.log(1 / COLDEST)
    if slope(math.exp(low)) >= 0:
        return Fitted(HOTTEST, f"the temperature is at its bound {HOTTEST:g}")
    if slope(math.exp(high)) <= 0:
        return Fitted(COLDEST, f"the temperature is at its bound {COLDEST:g}")
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if slope(math.exp(middle)) > 0 else (middle, high)
    return Fitted(math.exp(-(low + high) / 2))


def tune_threshold(labels: ArrayLike, probabilities: ArrayLike, weights: Mapping[str, float]) -> Fitted:
    """The threshold with the largest sum of weighted metrics, over all that predict differently.

    It stands in the middle between two neighbouring probabilities; of several that are as good, it is the one nearest
    to 0.5, and 0.5 itself where that is among them.

    Args:
        labels: 0 or 1, ``[N]``.
        probabilities: ``[N, 2]``, calibrated.
        weights: by metric, of :data:`TUNABLE`.
    """
    truth, table = np.asarray(labels), np.asarray(probabilities, np.float64)
    if not np.isfinite(table).all():
        return Fitted(DEFAULT_THRESHOLD, "no threshold: some probabilities of the validation split are not finite")
    scores, place = np.unique(table[:, 1], return_inverse=True)
    counts = _counts(truth, place, len(scores))
    value = np.sum([weight * TUNABLE[name](counts) for name, weight in weights.items()], axis=0)
    thresholds, usable = _candidates(scores)
    best = np.flatnonzero(usable & (value >= value[usable].max() - AS_GOOD))
    chosen = best[np.abs(thresholds[best] - DEFAULT_THRESHOLD).argmin()]
    predicts = int(counts.tp[chosen] + counts.fp[chosen])
    only = {0: "0", len(truth): "1"}.get(predicts)
    note = (
        "" if only is None else f"with this threshold every record of the validation split is predicted as class {only}"
    )
    return Fitted(float(thresholds[chosen]), note)


def _counts(truth: NDArray[Any], place: NDArray[np.intp], distinct: int) -> Counts:
    """Of the cuts in front of each of the distinct scores, and behind the last, ``[distinct + 1]``."""
    below = [np.concatenate([[0], np.cumsum(np.bincount(place[truth == c], minlength=distinct))]) for c in (0, 1)]
    negatives, positives = (each.astype(np.float64) for each in below)
    return Counts(positives[-1] - positives, negatives[-1] - negatives, positives, negatives)


def _candidates(scores: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """A threshold for each of those cuts, and whether there is one: none lies above 1, or at 0.

    0.5 cuts behind every score of 0.5, as the more probable class does.
    """
    lower, upper = np.concatenate([[0.0], scores]), np.concatenate([scores, [1.0]])
    middle = lower + (upper - lower) / 2
    thresholds = np.where(middle > lower, middle, upper)
    usable = thresholds > lower
    half = int(np.searchsorted(scores, DEFAULT_THRESHOLD, side="right"))
    usable &= thresholds != DEFAULT_THRESHOLD
    thresholds[half], usable[half] = DEFAULT_THRESHOLD, True
    return thresholds, usable


def decide(config: DecisionConfig, objective: ObjectiveConfig, labels: ArrayLike, probabilities: ArrayLike) -> Decision:
    """Find temperature and threshold.

    Args:
        config: what is to be found.
        objective: in place of a metric of the threshold, where none is given.
        labels: of the validation split, ``[N]``.
        probabilities: the model's own for it, ``[N, C]``.
    """
    temperature = fit_temperature(labels, probabilities) if config.calibration == "temperature" else Fitted(1.0)
    notes = [temperature.note]
    decision = Decision(temperature=temperature.value)
    threshold, tuned, metric = config.threshold, config.threshold == "tune", None
    if threshold == "tune":
        metric, weights = config.tuned_for(objective)
        threshold, note = tune_threshold(labels, decision.calibrated(probabilities), weights)
        notes.append(note)
    return Decision(
        threshold=threshold,
        tuned=tuned,
        metric=metric,
        temperature=temperature.value,
        notes=tuple(note for note in notes if note),
    )
