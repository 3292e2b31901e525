"""Two models on the same rows: tests, their correction for many comparisons, and how large a difference is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np
from numpy.typing import NDArray
from scipy.special import bdtr, gammaln, nctdtr, stdtrit

from counterpoise.reports.statistics.spread import mean, std

Floats = NDArray[np.float64]

POWER, SIGNIFICANCE = 0.8, 0.05
MOST_PAIRS = 100_000
"""Seeds beyond which nobody goes: a difference that needs more is not told how many."""
_ROUNDING = 1e-12
"""Relative deviation of values that are the same."""
_FAR = 30.0
"""Standard errors beyond the critical value at which the power is 1, and the noncentral t distribution no number."""


def bootstrap_p(differences: Floats) -> float:
    """Two-sided p value of bootstrap draws ``[B]`` of a difference: how often they lie on the other side of zero.

    ``2 min(#(d ≤ 0) + 1, #(d ≥ 0) + 1) / (B + 1)``, at most 1. The one that is added makes it a valid p value, never 0
    (Davison and Hinkley 1997, Bootstrap Methods and their Application).
    """
    fewer = min(int((differences <= 0).sum()), int((differences >= 0).sum()))
    return min(1.0, 2 * (fewer + 1) / (len(differences) + 1))


def mcnemar_p(only_first: int, only_second: int) -> float:
    """Exact McNemar test (McNemar 1947; binomial), two-sided.

    Args:
        only_first: rows that only the first predicts right.
        only_second: rows that only the second predicts right.
    """
    total = only_first + only_second
    return min(1.0, 2 * float(bdtr(min(only_first, only_second), total, 0.5))) if total else 1.0


def combined_p(values: Sequence[float]) -> float:
    """Twice the median, at most 1: a p value however the tests depend on each other.

    Rüger 1978, Das maximale Signifikanzniveau des Tests "Lehne H0 ab, wenn k unter n gegebenen Tests zur Ablehnung
    führen"; Meinshausen, Meier and Bühlmann 2009, p-Values for High-Dimensional Regression. A single value stays as it
    is.
    """
    return values[0] if len(values) == 1 else min(1.0, 2 * median(values))


def holm(values: Sequence[float]) -> list[float]:
    """p values corrected for being several (Holm 1979, A Simple Sequentially Rejective Multiple Test Procedure)."""
    order = sorted(range(len(values)), key=lambda index: values[index])
    corrected, largest = [0.0] * len(values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, values[index] * (len(values) - place)))
        corrected[index] = largest
    return corrected


def effect_size(differences: Sequence[float]) -> float | None:
    """Cohen's d of paired differences with Hedges' exact correction for few of them.

    ``mean / std`` (d_z; Cohen 1988, Statistical Power Analysis) times ``Γ(m/2) / (√(m/2) Γ((m−1)/2))`` with
    ``m = n − 1`` (Hedges 1981, Distribution Theory for Glass's Estimator of Effect Size); ``None`` if they do not vary,
    and for fewer than three differences: of two the correction is 0.
    """
    spread, centre = std(differences), mean(differences)
    freedom = len(differences) - 1
    if spread is None or spread <= _ROUNDING * abs(centre) or freedom < 2:
        return None
    correction = math.exp(gammaln(freedom / 2) - gammaln((freedom - 1) / 2)) / math.sqrt(freedom / 2)
    return correction * centre / spread


def pairs_needed(effect: float) -> int | None:
    """Pairs from which a two-sided paired t test at 0.05 finds a standardised difference with power 0.8.

    By the noncentral t distribution (Cohen 1988, Statistical Power Analysis); ``None`` beyond 100,000.
    """
    low, high = 1, 2  # power is too little at `low`
    while _power(effect, high) < POWER:
        low, high = high, 2 * high
        if low > MOST_PAIRS:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if _power(effect, middle) >= POWER else (middle, high)
    return high


def _power(effect: float, pairs: int) -> float:
    freedom, shift = pairs - 1, abs(effect) * math.sqrt(pairs)
    critical = float(stdtrit(freedom, 1 - SIGNIFICANCE / 2))
    if shift > critical + _FAR:
        return 1.0
    return float(1 - nctdtr(freedom, shift, critical) + nctdtr(freedom, shift, -critical))
