"""Means over repetitions, how far they stray, and the interval of rows and seeds together."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit, ndtr, stdtr, stdtrit

Floats = NDArray[np.float64]
Interval = tuple[float, float]


def mean(values: Sequence[float]) -> float:
    """The arithmetic mean."""
    return math.fsum(values) / len(values)


def std(values: Sequence[float]) -> float | None:
    """The sample standard deviation (n − 1); ``None`` for fewer than two values."""
    if len(values) < 2:
        return None
    return math.dist(values, [mean(values)] * len(values)) / math.sqrt(len(values) - 1)


def variance_of_mean(values: Sequence[float]) -> tuple[float, float] | None:
    """``s² / n`` and its degrees of freedom; ``None`` for fewer than two values."""
    spread = std(values)
    return None if spread is None else (spread**2 / len(values), len(values) - 1)


def t_interval(values: Sequence[float], confidence: float) -> Interval | None:
    """Student's t interval of the mean (Student 1908, The Probable Error of a Mean); ``None`` for fewer than 2 values.

    It assumes that the values are drawn from a normal distribution, independently of each other.
    """
    spread = std(values)
    if spread is None:
        return None
    half = float(stdtrit(len(values) - 1, (1 + confidence) / 2)) * spread / math.sqrt(len(values))
    return mean(values) - half, mean(values) + half


def combined(parts: Sequence[tuple[float, float]]) -> tuple[float, float]:
    """The variance of a sum of independent estimates, and its degrees of freedom.

    ``v = sum v_i`` and ``v² / sum(v_i² / df_i)`` (Satterthwaite 1946, An Approximate Distribution of Estimates of
    Variance Components).

    Args:
        parts: variance and degrees of freedom of each, which may be infinite.
    """
    total = math.fsum(variance for variance, _ in parts)
    below = math.fsum(variance**2 / freedom for variance, freedom in parts)
    return total, total**2 / below if below > 0 else math.inf


def both_interval(
    centre: float, parts: Sequence[tuple[float, float]], confidence: float, bounds: Interval = (-math.inf, math.inf)
) -> Interval:
    """Interval of an estimate with several sources of chance, cut off at ``bounds``; ``parts`` as in :func:`combined`.

    The estimate is taken to be normal, and the sources to be independent. Variance over repetitions was measured on the
    same rows and includes what of the rows' chance differs between repetitions, which is thereby counted twice: the
    interval is rather too wide than too narrow.
    """
    variance, freedom = combined(parts)
    half = _quantile(freedom, (1 + confidence) / 2) * math.sqrt(variance)
    return max(bounds[0], centre - half), min(bounds[1], centre + half)


def both_p(difference: float, parts: Sequence[tuple[float, float]]) -> float:
    """Two-sided p value of a difference with several sources of chance, by a t test; ``parts`` as in :func:`combined`.

    1 for no difference at all, and 0 for one without any variance.
    """
    variance, freedom = combined(parts)
    if difference == 0:
        return 1.0
    if variance == 0:
        return 0.0
    statistic = -abs(difference) / math.sqrt(variance)
    return float(min(1.0, 2 * stdtr(min(freedom, _LARGE), statistic)))


_LARGE = 1e9
"""Degrees of freedom from which t is normal."""


def _quantile(freedom: float, share: float) -> float:
    return float(stdtrit(min(freedom, _LARGE), share))


def defined(draws: Floats) -> Floats:
    """The draws ``[B]`` that are numbers: a resample need not define a figure."""
    return draws[np.isfinite(draws)]


def percentile_interval(draws: Floats, confidence: float, size: int | None = None) -> Interval:
    """The expanded percentile interval of bootstrap draws ``[B]``.

    The percentile interval (Efron 1979, Bootstrap Methods) of n draws is too narrow by ``sqrt((n - 1) / n)``, and knows
    no Student's t; its tails are therefore moved to ``Φ(sqrt(n / (n - 1)) t_(α/2, n - 1))`` (Hesterberg 2015, What
    Teachers Should Know About the Bootstrap). For a mean of n values it is nearly their t interval.

    Args:
        draws: of the figure.
        confidence: share of intervals that shall hold the true figure.
        size: n, of what was drawn from; ``None`` for the plain percentile interval.
    """
    tail = (1 - confidence) / 2
    if size is not None:
        freedom = max(size, 2) - 1
        tail = float(ndtr(math.sqrt((freedom + 1) / freedom) * stdtrit(freedom, tail)))
    low, high = np.quantile(draws, [tail, 1 - tail])
    return float(low), float(high)


def log_odds_interval(centre: float, draws: Floats, confidence: float, size: int) -> Interval:
    """The interval of a figure between 0 and 1 by bootstrap draws ``[B]``, symmetric in its log odds.

    ``expit(logit(c) ± t s / (c (1 - c)))`` with ``s`` and the degrees of freedom of :func:`variance_over_rows`. An area
    under a curve is skewed near 1, where intervals by percentiles are too short (Pepe 2003, The Statistical Evaluation
    of Medical Tests; Qin and Hotilovac 2008, Comparison of Non-parametric Confidence Intervals for the Area under the
    ROC Curve).

    Args:
        centre: the figure itself, between 0 and 1 and neither of them.
        draws: of the figure.
        confidence: share of intervals that shall hold the true figure.
        size: of what was drawn from.
    """
    variance, freedom = variance_over_rows(draws, size)
    half = _quantile(freedom, (1 + confidence) / 2) * math.sqrt(variance) / (centre * (1 - centre))
    low, high = expit(logit(centre) - half), expit(logit(centre) + half)
    return float(low), float(high)


def variance_over_rows(draws: Floats, size: int) -> tuple[float, float]:
    """Variance of a figure over test sets by its bootstrap draws ``[B]``, and its degrees of freedom.

    Of n rows that were drawn from, bootstrap variance is too small by ``(n - 1) / n``, and has ``n - 1`` degrees.
    """
    freedom = max(size, 2) - 1
    return float(np.var(draws, ddof=1)) * (freedom + 1) / freedom, float(freedom)
