"""Tests of pairs of models and their correction, beside statsmodels and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats
from scipy.special import gamma
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestPower

from counterpoise.reports.statistics.pairs import (
    bootstrap_p,
    combined_p,
    effect_size,
    holm,
    mcnemar_p,
    pairs_needed,
)


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_is_statsmodels_exact_one(one: int, other: int) -> None:
    expected = mcnemar([[5, one], [other, 7]], exact=True).pvalue if one + other else 1.0
    assert mcnemar_p(one, other) == pytest.approx(expected)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 45])
def test_holm_is_statsmodels(size: int) -> None:
    values = np.round(np.random.default_rng(size).random(size) ** 3, 2).tolist()  # some are equal
    assert holm(values) == pytest.approx(multipletests(values, method="holm")[1].tolist())


def test_nothing_to_correct() -> None:
    assert holm([]) == []


@settings(deadline=None)
@given(st.floats(0.1, 4))
def test_pairs_needed_are_statsmodels_rounded_up(effect: float) -> None:
    needed = pairs_needed(effect)
    assert needed is not None
    power = TTestPower()
    assert power.power(effect, needed, 0.05) >= 0.8 - 1e-9
    assert needed == 2 or power.power(effect, needed - 1, 0.05) < 0.8
    if needed > 3:  # below, its solver does not converge
        assert needed == math.ceil(power.solve_power(effect, power=0.8, alpha=0.05) - 1e-6)


def test_no_number_of_pairs_finds_nothing() -> None:
    assert pairs_needed(0.0) is None
    assert pairs_needed(-0.5) == pairs_needed(0.5) == 34
    assert pairs_needed(1e6) == 2


def test_the_effect_is_cohens_with_hedges_correction() -> None:
    differences = [0.02, 0.05, 0.03, 0.07]
    cohen = np.mean(differences) / np.std(differences, ddof=1)
    correction = gamma(1.5) / (math.sqrt(1.5) * gamma(1.0))
    assert effect_size(differences) == pytest.approx(correction * cohen)
    assert correction == pytest.approx(1 - 3 / (4 * 3 - 1), abs=0.01), "the usual approximation"


@pytest.mark.parametrize("differences", [[0.1], [0.1, 0.2], [0.1, 0.1, 0.1]])
def test_an_effect_that_cannot_be_told(differences: list[float]) -> None:
    assert effect_size(differences) is None


def test_the_p_value_of_a_bootstrap_is_never_zero() -> None:
    assert bootstrap_p(np.full(999, 0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.full(999, -0.1)) == pytest.approx(2 / 1000)
    assert bootstrap_p(np.zeros(999)) == 1.0
    assert bootstrap_p(np.array([-1.0] * 50 + [1.0] * 949)) == pytest.approx(2 * 51 / 1000)


def test_the_p_value_of_a_bootstrap_is_near_that_of_a_z_test() -> None:
    draws = np.random.default_rng(0).normal(0.02, 0.01, 20_000)
    assert bootstrap_p(draws) == pytest.approx(2 * stats.norm.sf(2), rel=0.1)


def test_p_values_that_depend_on_each_other_are_twice_their_median() -> None:
    assert combined_p([0.01]) == 0.01
    assert combined_p([0.01, 0.02, 0.9]) == pytest.approx(0.04)
    assert combined_p([0.7, 0.8, 0.9]) == 1.0


def test_twice_the_median_keeps_its_level_for_tests_that_depend_on_each_other() -> None:
    random = np.random.default_rng(3)
    common = random.standard_normal((20_000, 1))
    for weight in (0.0, 0.5, 0.9, 1.0):
        scores = weight * common + math.sqrt(1 - weight**2) * random.standard_normal((20_000, 5))
        values = 2 * stats.norm.sf(np.abs(scores))
        rejected = np.mean([combined_p(row.tolist()) <= 0.05 for row in values[:4000]])
        assert rejected <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 4000)
