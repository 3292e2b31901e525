"""From a model's probabilities to its answer: a temperature that calibrates them, and a threshold that decides.

Both are found on the validation split of a finished training, stored beside the best weights, and applied wherever the
model is used. The test split decides nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise.config.schema import Range, parse
from counterpoise.errors import Problem, UserError, fail, nearest
from counterpoise.jsonio import read_sealed, write_sealed
from counterpoise.metrics import METRICS, Floats, Ints, ObjectiveConfig, predicted_classes, undefined_metrics
from counterpoise.thresholds import DEFAULT_THRESHOLD, KEPT, TUNABLE, Fitted, Gain, tune

DECISION: Final = "decision.json"
"""Name of the file beside the weights."""
COLDEST, HOTTEST = 0.05, 20.0
"""Bounds of the temperature."""
_HALVINGS = 60


@dataclass(frozen=True, kw_only=True)
class DecisionConfig:
    """How probabilities become an answer. These keys stand at the top of the config."""

    threshold: Annotated[float | Literal["tune"], Range(gt=0, lt=1)] = DEFAULT_THRESHOLD
    """Probability from which class 1 of two is predicted; tune finds it on the validation split, and keeps 0.5 where
    the gain is within chance."""
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
    """Whether the threshold was found on the validation split, and kept."""
    metric: str | None = None
    """What it was tuned for; also where 0.5 was kept."""
    gain: float | None = None
    """Of that metric, by tuning, on validation rows that the threshold was not tuned on; null where not judged."""
    gain_interval: tuple[float, float] | None = None
    """Of that gain, at 95 %."""
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

    def tuned_on(
        self,
        metric: str,
        weights: Mapping[str, float],
        labels: ArrayLike,
        calibrated: ArrayLike,
        groups: NDArray[Any] | None = None,
    ) -> Decision:
        """The same with a threshold that is tuned on these rows, as :func:`counterpoise.thresholds.tune` does it.

        Args:
            metric: the name of what is made largest.
            weights: its metrics.
            labels: 0 or 1, ``[N]``.
            calibrated: probabilities, ``[N, 2]``.
            groups: of each row, ``[N]``.
        """
        found = tune(labels, calibrated, weights, groups)
        return replace(
            self,
            threshold=found.threshold,
            tuned=found.threshold != DEFAULT_THRESHOLD,
            metric=metric,
            gain=None if found.gain is None else found.gain.mean,
            gain_interval=None if found.gain is None else (found.gain.low, found.gain.high),
            notes=(*self.notes, found.note) if found.note else self.notes,
        )

    def save(self, folder: Path, weights: str) -> None:
        """Write :data:`DECISION` beside the weights of that checksum."""
        write_sealed(folder / DECISION, {**asdict(self), "weights": weights})

    def __str__(self) -> str:
        how = f" ({self.tuning})" if self.tuning else ""
        return f"threshold {self.threshold:.4g}{how}, temperature {self.temperature:.4g}"

    @property
    def tuning(self) -> str:
        """The result of tuning the threshold, with the gain or why 0.5 was kept; empty where it was not asked for."""
        if self.metric is None:
            return ""
        if not self.tuned:
            return next((note for note in self.notes if note.startswith(KEPT)), KEPT)
        gain = None if self.gain is None or self.gain_interval is None else Gain(self.gain, *self.gain_interval)
        return f"tuned for {self.metric}{'' if gain is None else f': {gain}'}"

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


def decide(
    config: DecisionConfig,
    objective: ObjectiveConfig,
    labels: ArrayLike,
    probabilities: ArrayLike,
    groups: NDArray[Any] | None = None,
) -> Decision:
    """Find temperature and threshold.

    Args:
        config: what is to be found.
        objective: in place of a metric of the threshold, where none is given.
        labels: of the validation split, ``[N]``.
        probabilities: the model's own for it, ``[N, C]``.
        groups: of each row, ``[N]``, where rows of one group are no independent draws.
    """
    temperature = fit_temperature(labels, probabilities) if config.calibration == "temperature" else Fitted(1.0)
    decision = Decision(temperature=temperature.value, notes=(temperature.note,) if temperature.note else ())
    if config.threshold != "tune":
        return replace(decision, threshold=config.threshold)
    return decision.tuned_on(*config.tuned_for(objective), labels, decision.calibrated(probabilities), groups)


def tuning_lines(node: object) -> list[str]:
    """The result of tuning the threshold, by ``decision`` of a ``result.json``; empty where it was not asked for."""
    try:
        decision = Decision.read(node)
    except ValueError:
        return []
    if decision.metric is None:
        return []
    threshold = f"{decision.threshold:.4g}, " if decision.tuned else ""
    return [f"Threshold {threshold}{decision.tuning}."]
