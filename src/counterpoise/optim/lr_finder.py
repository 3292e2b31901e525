"""Which learning rate the curve of a range test speaks for: pure functions of learning rates and losses."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray

from counterpoise.config.schema import NON_NEGATIVE, POSITIVE, Range
from counterpoise.errors import Problem

Method = Literal["steepest", "valley"]
Ended = Literal["complete", "diverged", "not_finite"]
Verdict = Literal["usable", "flat", "diverging"]

FEWEST = 10
"""Losses without which a curve says nothing: the running mean of fewer is noise."""
SIGNIFICANT = 4.0
"""Standard errors that a fall of the loss must have to be one."""
SMALLEST_FALL = 0.01
"""Share of the loss; a smaller fall is none, however certain."""
STEPS = 50
"""Steps that the whole fall is divided into before the valley is looked for: a plateau that sinks a little is none."""


@dataclass(frozen=True, kw_only=True)
class LRRangeTestConfig:
    """The LR range test (Smith 2017): the learning rate rises exponentially from update to update."""

    method: Method = "valley"
    """What is read off the curve: where it falls most steeply over log LR, or the middle of its fall, which noise moves
    less."""
    updates: Annotated[int, Range(ge=2 * FEWEST)] = 100
    """Updates of the test."""
    start: Annotated[float, POSITIVE] = 1e-7
    """Learning rate of its first update."""
    end: Annotated[float, POSITIVE] = 1.0
    """Learning rate of its last update."""
    smoothing: Annotated[float, Range(ge=0, lt=1)] = 0.98
    """Decay of the running mean of losses."""
    diverged: Annotated[float, Range(gt=1)] = 4.0
    """The test ends once the running mean is so many times its smallest."""
    cache_hours: Annotated[float, NON_NEGATIVE] = 168.0
    """How long a curve is used again for the same model, data and settings; 0 measures anew."""
    range: Annotated[tuple[float, float], POSITIVE] | None = None
    """Smallest and largest sensible learning rate at ``base_batch``, the model's own; null does not clip."""
    recipe: Annotated[float, POSITIVE] | None = None
    """The model's own learning rate at ``base_batch``: what ``optimizer.lr=auto`` falls back on."""

    def problems(self) -> Iterable[Problem]:
        """Relations between the fields."""
        if self.start >= self.end:
            yield Problem("end", f"must be above start={self.start}, but is {self.end}.")
        if self.range is not None and self.range[0] > self.range[1]:
            yield Problem("range", f"must be [smallest, largest], but is {list(self.range)}.")

    def rates(self) -> NDArray[np.float64]:
        """The learning rate of each update, ``[updates]``, equally spaced on a log scale."""
        return np.geomspace(self.start, self.end, self.updates)


@dataclass(frozen=True)
class Curve:
    """What a range test measured. JSON-ready by ``dataclasses.asdict``."""

    lrs: tuple[float, ...]
    """Learning rate of each update."""
    losses: tuple[float, ...]
    """Training loss of each update's samples, before its step; all finite."""
    ended: Ended

    @classmethod
    def of(cls, config: LRRangeTestConfig, losses: Sequence[float], ended: Ended) -> Curve:
        """The curve of a test that got as far as ``losses``."""
        return cls(tuple(config.rates()[: len(losses)].tolist()), tuple(map(float, losses)), ended)

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Curve:
        """From what JSON made of one. Raises ``KeyError``, ``TypeError`` or ``ValueError`` if it is none."""
        curve = cls(tuple(map(float, plain["lrs"])), tuple(map(float, plain["losses"])), plain["ended"])
        if len(curve.lrs) != len(curve.losses) or not all(map(math.isfinite, curve.lrs + curve.losses)):
            raise ValueError("not a curve")
        return curve


@dataclass(frozen=True)
class Suggestion:
    """The learning rate that a curve speaks for, or the one that stands in for it. JSON-ready."""

    lr: float
    """For the effective batch that the curve was measured at."""
    verdict: Verdict
    """What the curve is; only a usable one was asked for a learning rate."""
    how: str
    """How it came about, in words."""
    clipped_from: float | None = None
    """What the curve spoke for, where that is outside the model's range."""
    range: tuple[float, float] | None = None
    """The model's range at this batch."""


def suggest(curve: Curve, config: LRRangeTestConfig, *, factor: float, otherwise: float) -> Suggestion:
    """The learning rate that a curve speaks for, clipped to the model's range.

    Multiplying all losses by a number changes nothing.

    Args:
        curve: as measured.
        config: method, smoothing and the range at ``base_batch``.
        factor: how a learning rate follows the batch, for the range.
        otherwise: the learning rate in place of a curve that says nothing.
    """
    bounds = None if config.range is None else (rounded(config.range[0] * factor), rounded(config.range[1] * factor))
    verdict = judge(curve, config.smoothing)
    if verdict != "usable":
        reason = "before it diverges" if verdict == "diverging" else "beyond its noise"
        return Suggestion(otherwise, verdict, f"the loss never falls {reason}", range=bounds)
    lr = read_off(curve, config.method, config.smoothing)
    how = f"{'steepest descent' if config.method == 'steepest' else 'middle of the descent'} at {lr:.1e}"
    if bounds is None or bounds[0] <= lr <= bounds[1]:
        return Suggestion(lr, verdict, how, range=bounds)
    clipped = min(max(lr, bounds[0]), bounds[1])
    return Suggestion(clipped, verdict, f"{how}, clipped to {bounds[0]:.1e} .. {bounds[1]:.1e}", lr, bounds)


def read_off(curve: Curve, method: Method, smoothing: float) -> float:
    """The learning rate that a usable curve speaks for, within those that it tried, to two significant digits."""
    fall = smooth_fall(curve.losses, smoothing)
    lrs = np.asarray(curve.lrs[: len(fall)])
    index = steepest(lrs, fall) if method == "steepest" else valley(fall)
    return min(max(rounded(float(lrs[index])), curve.lrs[0]), curve.lrs[-1])


def judge(curve: Curve, smoothing: float) -> Verdict:
    """Whether the loss falls beyond its noise before the curve ends.

    The first and the last fifth of its fall must differ by ``SIGNIFICANT`` standard errors, the noise being told from
    differences between neighbours, and by ``SMALLEST_FALL`` of the loss.
    """
    failed: Verdict = "flat" if curve.ended == "complete" else "diverging"
    if len(curve.losses) < 2 * FEWEST:
        return failed
    fall = np.asarray(curve.losses[: bottom(curve.losses, smoothing) + 1])
    few = max(FEWEST // 2, len(fall) // 5)
    before, after = fall[:few].mean(), fall[-few:].mean()
    noise = math.sqrt(np.square(np.diff(fall)).mean() / 2)
    smallest = max(SIGNIFICANT * noise * math.sqrt(2 / few), SMALLEST_FALL * abs(before))
    return "usable" if before - after > smallest else failed


def smooth(losses: Sequence[float] | NDArray[np.float64], smoothing: float) -> NDArray[np.float64]:
    """Exponential running mean ``[N]``, its first values corrected for having little behind them."""
    mean, found = 0.0, []
    for number, loss in enumerate(losses, start=1):
        mean = smoothing * mean + (1 - smoothing) * float(loss)
        found.append(mean / (1 - smoothing**number))
    return np.asarray(found)


def smooth_both_ways(losses: Sequence[float] | NDArray[np.float64], smoothing: float) -> NDArray[np.float64]:
    """The running mean of the running mean from the other end, ``[N]``.

    A running mean alone lags: at 0.98 over 100 updates its steepest descent lies near the lowest loss, a decade too
    high, and the noise of its first values is steeper than any. Both ways there is no lag. Each way has the square of
    ``smoothing``, so that together they even out noise as much as one way at ``smoothing`` would.
    """
    return smooth(smooth(losses, smoothing**2)[::-1], smoothing**2)[::-1]


def bottom(losses: Sequence[float], smoothing: float) -> int:
    """Where the running mean is lowest, its noisy beginning left out: what comes after is no descent."""
    first = min(FEWEST, len(losses) - 1)
    return first + int(smooth(losses, smoothing)[first:].argmin())


def smooth_fall(losses: Sequence[float], smoothing: float) -> NDArray[np.float64]:
    """The smooth curve up to its bottom."""
    return smooth_both_ways(losses[: bottom(losses, smoothing) + 1], smoothing)


def has_diverged(losses: Sequence[float], smoothing: float, times: float) -> bool:
    """Whether the running mean is more than so many times its smallest value, ."""
    smoothed = smooth(losses, smoothing)
    return bool(smoothed[-1] > times * smoothed.min())


def steepest(lrs: NDArray[np.float64], losses: NDArray[np.float64]) -> int:
    """Index of the steepest descent over log LR; over LR itself, where small rates lie close, noise would win.

    A tenth at either end is left out: the mean has least to go by there.
    """
    edge = len(losses) // 10
    slopes = np.gradient(losses, np.log(lrs))
    return edge + int(slopes[edge : len(slopes) - edge].argmin())


def valley(losses: NDArray[np.float64]) -> int:
    """Index of the middle of the longest decreasing subsequence, the losses taken in ``STEPS`` steps."""
    steps = np.round((losses - losses.min()) / max(float(np.ptp(losses)), 1e-300) * STEPS)
    length, before = np.ones(len(steps), np.int64), np.full(len(steps), -1)
    for index in range(1, len(steps)):
        longer = np.where(steps[:index] > steps[index], length[:index], 0)
        if longer.max() > 0:
            before[index] = longer.argmax()
            length[index] = longer.max() + 1
    found = [int(length.argmax())]
    while before[found[-1]] >= 0:
        found.append(int(before[found[-1]]))
    return found[len(found) // 2]


def rounded(lr: float) -> float:
    """Two significant digits: what is shown is what is used, and can be typed."""
    return float(f"{lr:.1e}")
