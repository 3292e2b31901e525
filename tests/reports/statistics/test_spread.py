"""Means, deviations and intervals, beside SciPy and by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from scipy.special import logit

from counterpoise.reports.statistics.spread import (
    both_interval,
    both_p,
    combined,
    log_odds_interval,
    mean,
    percentile_interval,
    std,
    t_interval,
)

VALUES = st.lists(st.floats(-1, 1), min_size=2, max_size=8)


@given(VALUES, st.sampled_from([0.9, 0.95, 0.99]))
def test_the_t_interval_is_scipys(values: list[float], confidence: float) -> None:
    assert mean(values) == pytest.approx(np.mean(values), abs=1e-12)
    assert std(values) == pytest.approx(np.std(values, ddof=1), abs=1e-12)
    low, high = t_interval(values, confidence) or (math.nan, math.nan)
    error = np.std(values, ddof=1) / math.sqrt(len(values))
    expected = stats.t.interval(confidence, len(values) - 1, loc=np.mean(values), scale=error if error else 1e-300)
    assert (low, high) == pytest.approx(expected, abs=1e-9)


def test_one_value_has_neither_deviation_nor_interval() -> None:
    assert std([0.5]) is None
    assert t_interval([0.5], 0.95) is None


def test_satterthwaite_is_welchs_for_two_means() -> None:
    one, other = [0.61, 0.64, 0.6, 0.67], [0.5, 0.58, 0.52]
    parts = [(np.var(values, ddof=1) / len(values), len(values) - 1) for values in (one, other)]
    expected = stats.ttest_ind(one, other, equal_var=False)
    assert combined(parts)[1] == pytest.approx(expected.df)
    difference = mean(one) - mean(other)
    assert both_p(difference, parts) == pytest.approx(expected.pvalue)
    interval = expected.confidence_interval(0.95)
    assert both_interval(difference, parts, 0.95) == pytest.approx((interval.low, interval.high))


def test_of_rows_alone_it_is_the_normal_interval() -> None:
    low, high = both_interval(0.5, [(0.01, math.inf)], 0.95)
    assert (low, high) == pytest.approx(stats.norm.interval(0.95, 0.5, 0.1), abs=1e-6)
    assert both_p(0.2, [(0.01, math.inf)]) == pytest.approx(2 * stats.norm.sf(2), abs=1e-6)


def test_bounds_cut_an_interval_off() -> None:
    assert both_interval(0.99, [(0.01, math.inf)], 0.95, (0.0, 1.0))[1] == 1.0


@pytest.mark.parametrize(("difference", "variance", "expected"), [(0.0, 0.0, 1.0), (0.1, 0.0, 0.0), (0.0, 0.1, 1.0)])
def test_p_values_at_the_edge(difference: float, variance: float, expected: float) -> None:
    assert both_p(difference, [(variance, 2)]) == expected


def test_percentiles() -> None:
    assert percentile_interval(np.arange(1001) / 1000, 0.95) == pytest.approx((0.025, 0.975))


def test_an_interval_in_log_odds_is_the_delta_methods() -> None:
    draws = np.random.default_rng(0).normal(0.9, 0.02, 20_000)
    low, high = log_odds_interval(0.9, draws, 0.95, 10**6)
    half = 1.96 * 0.02 / (0.9 * 0.1)
    assert (logit(low), logit(high)) == pytest.approx((logit(0.9) - half, logit(0.9) + half), rel=0.01)
    low, high = log_odds_interval(0.99, draws, 0.95, 5)
    assert 0 < low < 0.99 < high <= 1
