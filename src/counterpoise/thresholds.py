"""The threshold from which class 1 of two is predicted: the best one on a split, and whether it is better than 0.5.

The best of many thresholds looks better on the rows that it was chosen on than on others. So the gain over 0.5 is
measured by cross-fitting: each row is predicted by a threshold that was tuned without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise.metrics import Floats, Ints

DEFAULT_THRESHOLD: Final = 0.5
AS_GOOD: Final = 1e-12
"""Scores that differ by no more are equal."""
CONFIDENCE: Final = 0.95
"""Of the interval of a gain."""
FOLDS, REPEATS = 10, 5
"""Of the cross-fitting; the folds are drawn anew in each repeat."""
LARGE: Final = 20_000
"""Rows from which one repeat is enough: how the folds are drawn hardly matters."""
KEPT: Final = "kept at 0.5"
"""How a note on a threshold begins that was not tuned, though it was asked for."""
FEWEST: Final = 5
"""Rows of a class, or groups with such rows, below which no gain can be judged."""
RESAMPLES: Final = 2000
MOST_DRAWN: Final = 20_000_000
"""Groups times resamples."""


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


class Fitted(NamedTuple):
    """A number found on the validation split."""

    value: float
    note: str = ""
    """Why it could not be found, or is only a bound; empty where all is well."""


class Gain(NamedTuple):
    """What tuning a threshold gains over 0.5 on rows that it was not tuned on, with its interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        interval = f"{CONFIDENCE:.0%} interval {self.low:+.4f} to {self.high:+.4f}".replace("%", " %", 1)
        return f"gain {self.mean:+.4f} on validation, {interval}"


class Tuned(NamedTuple):
    """The result of tuning."""

    threshold: float
    """0.5 where the tuned one is not better beyond chance."""
    gain: Gain | None = None
    """``None`` where it cannot be judged."""
    note: str = ""
    """What is to be known of it; empty where all is well."""


def tune(
    labels: ArrayLike, probabilities: ArrayLike, weights: Mapping[str, float], groups: NDArray[Any] | None = None
) -> Tuned:
    """The threshold with the largest sum of weighted metrics, if it gains more than chance over 0.5; else 0.5.

    The gain is cross-fitted, and its interval is a bootstrap over the rows, or over their groups. The tuned threshold
    is taken where the whole interval lies above 0. The same input gives the same answer.

    Args:
        labels: 0 or 1, ``[N]``.
        probabilities: ``[N, 2]``, calibrated.
        weights: by metric, of :data:`TUNABLE`.
        groups: of each row, ``[N]``, where rows of one group are no independent draws.
    """
    truth, table = np.asarray(labels), np.asarray(probabilities, np.float64)
    found = tune_threshold(truth, table, weights)
    if found.value == DEFAULT_THRESHOLD:
        why = found.note and f"{KEPT}: {found.note}"
        return Tuned(DEFAULT_THRESHOLD, note=why or f"{KEPT}: no other is better on validation")
    units = np.arange(len(truth)) if groups is None else np.unique(groups, return_inverse=True)[1].reshape(-1)
    fewest = min(len(np.unique(units[truth == c])) for c in (0, 1))
    if fewest < FEWEST:
        of = "rows" if groups is None else "groups with rows"
        why = f"validation has {fewest} {of} of a class, and {FEWEST} are needed to judge a threshold"
        return Tuned(DEFAULT_THRESHOLD, note=f"{KEPT}: {why}")
    gain = _gain(truth, table, weights, units, min(FOLDS, fewest))
    if gain.low <= 0:
        return Tuned(DEFAULT_THRESHOLD, gain, f"{KEPT}: {found.value:.4g} has a {gain}, within chance")
    return Tuned(found.value, gain, found.note)


def _gain(truth: NDArray[Any], table: Floats, weights: Mapping[str, float], units: Ints, folds: int) -> Gain:
    """Cross-fitted, with the interval of a bootstrap over ``units``, ``[N]``: the numbers of rows or of groups."""
    rng = np.random.default_rng(0)
    plain = table[:, 1] > DEFAULT_THRESHOLD
    repeats = REPEATS if len(truth) < LARGE else 1
    crossed = [_cross_fitted(truth, table, weights, _folds(truth, units, folds, rng)) for _ in range(repeats)]
    # Rows with the same label and the same predictions are alike: a resample is a count of each kind of row.
    kinds = np.sum([column.astype(np.int64) << bit for bit, column in enumerate((truth, plain, *crossed))], axis=0)
    codes, kind = np.unique(kinds, return_inverse=True)
    drawn = _drawn(kind.reshape(-1), codes & 1, units, rng)
    score = _scored(weights, (codes & 1) == 1)
    before = score(drawn, (codes >> 1 & 1) == 1)
    gains = np.mean([score(drawn, (codes >> bit & 1) == 1) - before for bit in range(2, 2 + repeats)], axis=0)
    low, high = np.quantile(gains[1:], [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return Gain(float(gains[0]), float(low), float(high))


def _folds(truth: NDArray[Any], units: Ints, count: int, rng: np.random.Generator) -> Ints:
    """The fold of each row, ``[N]``; units with rows of class 1, and those without, are spread evenly."""
    positive = np.bincount(units, weights=truth == 1) > 0
    fold_of = np.empty(len(positive), np.int64)
    for members in (np.flatnonzero(positive), np.flatnonzero(~positive)):
        fold_of[rng.permutation(members)] = np.arange(len(members)) % count
    return fold_of[units]


def _cross_fitted(truth: NDArray[Any], table: Floats, weights: Mapping[str, float], fold: Ints) -> NDArray[np.bool_]:
    """Whether each row is predicted as class 1 by the threshold that is tuned on the other folds, ``[N]``."""
    answer = np.empty(len(truth), np.bool_)
    for number in np.unique(fold):
        inside = fold == number
        threshold = tune_threshold(truth[~inside], table[~inside], weights).value
        scores = table[inside, 1]
        answer[inside] = scores > threshold if threshold == DEFAULT_THRESHOLD else scores >= threshold
    return answer


def _drawn(kind: Ints, label: Ints, units: Ints, rng: np.random.Generator) -> Floats:
    """How often each kind of row occurs in the split itself, and in each resample: ``[1 + B, kinds]``.

    Rows are drawn within their class, as in a report's bootstrap; groups as a whole.
    """
    counts = np.bincount(kind, minlength=len(label))
    groups = int(units.max()) + 1
    if groups == len(kind):
        drawn = np.zeros((1 + RESAMPLES, len(label)))
        for value in (0, 1):
            place = np.flatnonzero(label == value)
            total = int(counts[place].sum())
            drawn[1:, place] = rng.multinomial(total, counts[place] / total, RESAMPLES)
    else:
        held = np.zeros((groups, len(label)))
        np.add.at(held, (units, kind), 1)
        size = max(200, min(RESAMPLES, MOST_DRAWN // groups))
        drawn = np.zeros((1 + size, len(label)))
        drawn[1:] = rng.multinomial(groups, np.full(groups, 1 / groups), size) @ held
    drawn[0] = counts
    return drawn


def _scored(weights: Mapping[str, float], positive: NDArray[np.bool_]) -> Callable[[Floats, NDArray[np.bool_]], Floats]:
    """The weighted sum of metrics of ``[T, kinds]`` counts of rows, by which kinds are predicted as class 1."""

    def score(drawn: Floats, predicted: NDArray[np.bool_]) -> Floats:
        cells = (predicted & positive, predicted & ~positive, ~predicted & positive, ~predicted & ~positive)
        counts = Counts(*(drawn @ cell.astype(np.float64) for cell in cells))
        return _value(counts, weights)

    return score


def _value(counts: Counts, weights: Mapping[str, float]) -> Floats:
    value: Floats = np.sum([weight * TUNABLE[name](counts) for name, weight in weights.items()], axis=0)
    return value


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
    value = _value(counts, weights)
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
