"""What is read off a range test's curve, on curves whose answer is known."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.config.schema import parse
from counterpoise.errors import UserError
from counterpoise.optim.lr_finder import (
    Curve,
    LRRangeTestConfig,
    has_diverged,
    judge,
    read_off,
    smooth,
    smooth_both_ways,
    steepest,
    suggest,
    valley,
)

CONFIG = LRRangeTestConfig()
RATES = CONFIG.rates()
METHODS = ("steepest", "valley")


def measured(losses: Any) -> Curve:
    """These losses as a range test would have seen them: cut where it ends."""
    for number in range(1, len(losses) + 1):
        if not math.isfinite(losses[number - 1]):
            return Curve.of(CONFIG, losses[: number - 1], "not_finite")
        if has_diverged(losses[:number], CONFIG.smoothing, CONFIG.diverged):
            return Curve.of(CONFIG, losses[:number], "diverged")
    return Curve.of(CONFIG, losses, "complete")


def falling(best: float, *, width: float = 0.25, drop: float = 0.5, noise: float = 0.0, seed: int = 0) -> Curve:
    """A fall in the shape of a logistic function of log LR, steepest at ``best``; it explodes 1.5 decades later."""
    decades = np.log10(RATES / best)
    explosion = np.where(decades > 1.5, 0.7 * (10 ** (decades - 1.5) - 1), 0)
    noises = np.random.default_rng(seed).normal(0, noise, len(RATES))
    return measured(0.7 - drop / (1 + np.exp(-decades / width)) + explosion + noises)


def plateau(noise: float = 0.02, seed: int = 0, explodes: bool = True) -> Curve:
    """A loss that stands still, then explodes at 1e-2."""
    decades = np.log10(RATES / 1e-2)
    explosion = np.where(decades > 0, 0.7 * (10**decades - 1), 0) * explodes
    return measured(0.7 + explosion + np.random.default_rng(seed).normal(0, noise, len(RATES)))


@pytest.mark.parametrize("best", [1e-5, 3e-4, 1e-2])
@pytest.mark.parametrize("noise", [0.0, 0.02, 0.05])
@pytest.mark.parametrize("method", METHODS)
def test_the_known_best_is_found_within_a_factor_of_three(best: float, noise: float, method: Any) -> None:
    for seed in range(10):
        curve = falling(best, noise=noise, seed=seed)
        assert judge(curve, 0.98) == "usable"
        found = read_off(curve, method, 0.98)
        assert 1 / 3 < found / best < 3, (seed, found)


def test_steepest_descent_is_taken_over_log_lr_since_noise_wins_over_lr_itself() -> None:
    # The example that fails: at 3e-4 a grid of 100 rates from 1e-7 to 1 has steps of 5e-5, at its start of 2e-8, so a
    # tremor of the loss there is a steeper slope over LR than all of the descent.
    curve = falling(3e-4, noise=0.02)
    over_lr = RATES[np.gradient(np.asarray(curve.losses), RATES[: len(curve.losses)]).argmin()]
    assert over_lr < 1e-6
    assert 1e-4 < read_off(curve, "steepest", 0.98) < 1e-3


def test_a_running_mean_alone_would_lag_by_most_of_a_decade() -> None:
    losses = falling(1e-3, width=0.4).losses
    one_way = RATES[np.gradient(smooth(losses, 0.98), np.log(RATES[: len(losses)]))[10:].argmin() + 10]
    assert one_way > 4e-3
    assert read_off(falling(1e-3, width=0.4), "steepest", 0.98) < 2e-3


def test_smoothing_is_the_running_mean_with_bias_correction() -> None:
    losses = np.random.default_rng(0).normal(1, 0.3, 50)
    weights = 0.98 ** np.arange(50)[::-1]
    expected = [np.average(losses[: n + 1], weights=weights[-n - 1 :]) for n in range(50)]
    assert smooth(losses, 0.98) == pytest.approx(expected)
    assert smooth(losses, 0.0) == pytest.approx(losses)
    assert smooth_both_ways(np.full(9, 2.5), 0.98) == pytest.approx(np.full(9, 2.5))


def test_smoothing_both_ways_does_not_shift_a_symmetric_curve() -> None:
    losses = np.abs(np.linspace(-1, 1, 41))
    smoothed = smooth_both_ways(losses, 0.9)
    assert abs(int(smoothed.argmin()) - 20) <= 1


def test_both_ways_even_out_noise_as_one_way_does() -> None:
    noise = np.random.default_rng(0).normal(0, 1, 20_000)
    one_way, both = (f(noise, 0.9)[500:-500].std() for f in (smooth, smooth_both_ways))
    assert both == pytest.approx(one_way, rel=0.15)


def test_the_valley_is_the_middle_of_the_longest_decreasing_subsequence() -> None:
    assert valley(np.array([5.0, 9.0, 4.0, 8.0, 3.0, 2.0, 9.0, 1.0])) in (4, 5)
    # A plateau that sinks by next to nothing is no part of it: half of the fall is at index 15.
    losses = np.concatenate([1 - 1e-9 * np.arange(10), np.linspace(1, 0, 11)])
    assert valley(losses) == pytest.approx(15, abs=1)


def test_the_steepest_point_of_a_polygon() -> None:
    lrs = np.geomspace(1e-6, 1, 60)
    losses = np.interp(np.arange(60), [0, 30, 35, 59], [1.0, 0.9, 0.5, 0.4])
    assert 30 <= steepest(lrs, losses) <= 35


@pytest.mark.parametrize("noise", [0.0, 0.005, 0.05])
def test_a_loss_that_stands_still_says_nothing(noise: float) -> None:
    for seed in range(50):
        assert judge(plateau(noise, seed), 0.98) == "diverging"
        assert judge(plateau(noise, seed, explodes=False), 0.98) == "flat"


def test_a_fall_within_the_noise_is_none_and_one_beyond_it_is_one() -> None:
    assert judge(falling(1e-3, drop=0.02, noise=0.05), 0.98) == "diverging"
    assert judge(falling(1e-3, drop=0.05, noise=0.005), 0.98) == "usable"
    assert judge(falling(1e-3, drop=0.003, noise=0.0), 0.98) == "diverging", "less than a hundredth of the loss"


@pytest.mark.parametrize("losses", [[], [0.7], [math.nan] * 100, [0.7] * 9 + [math.inf]])
def test_a_curve_that_ends_at_once_is_diverging(losses: list[float]) -> None:
    curve = measured(losses)
    assert suggest(replace(curve, ended="not_finite"), CONFIG, factor=1.0, otherwise=0.5).lr == 0.5
    assert judge(replace(curve, ended="not_finite"), 0.98) == "diverging"


def test_the_test_ends_at_four_times_the_best_running_mean() -> None:
    assert not has_diverged([1.0, 3.9], 0.0, 4.0)
    assert has_diverged([1.0, 4.1], 0.0, 4.0)
    assert not has_diverged([1.0] * 50 + [40.0], 0.98, 4.0), "one outlier is not the mean"


@settings(max_examples=40, deadline=None)
@given(
    scale=st.floats(1e-6, 1e6),
    best=st.floats(1e-6, 1e-1),
    noise=st.floats(0, 0.1),
    seed=st.integers(0, 2**31),
    method=st.sampled_from(METHODS),
)
def test_the_scale_of_the_loss_does_not_matter(scale: float, best: float, noise: float, seed: int, method: Any) -> None:
    config = replace(CONFIG, method=method)
    curve = falling(best, noise=noise, seed=seed)
    # By a power of two, so that not even rounding differs.
    scaled = replace(curve, losses=tuple(loss * 2.0 ** round(math.log2(scale)) for loss in curve.losses))
    one, other = (suggest(c, config, factor=1.0, otherwise=1e-3) for c in (curve, scaled))
    assert one == other


@settings(max_examples=60, deadline=None)
@given(losses=st.lists(st.floats(0, 1e6), min_size=0, max_size=100), method=st.sampled_from(METHODS))
def test_what_is_suggested_was_tried_whatever_the_curve(losses: list[float], method: Any) -> None:
    curve = measured(losses)
    found = suggest(curve, replace(CONFIG, method=method), factor=1.0, otherwise=7.0)
    if found.verdict == "usable":
        assert curve.lrs[0] <= found.lr <= curve.lrs[-1]
    else:
        assert found.lr == 7.0


def test_what_is_found_is_clipped_to_the_range_as_the_batch_scales_it() -> None:
    curve = falling(1e-2)
    free = suggest(curve, CONFIG, factor=2.0, otherwise=1.0)
    assert (free.clipped_from, free.range) == (None, None)
    config = replace(CONFIG, range=(1e-5, 5e-5))
    high = suggest(curve, config, factor=2.0, otherwise=1.0)
    assert (high.lr, high.clipped_from, high.range) == (1e-4, free.lr, (2e-5, 1e-4))
    assert "clipped to 2.0e-05 .. 1.0e-04" in high.how
    low = suggest(curve, replace(CONFIG, range=(0.1, 0.5)), factor=1.0, otherwise=1.0)
    assert (low.lr, low.clipped_from) == (0.1, free.lr)
    inside = suggest(curve, replace(CONFIG, range=(1e-4, 1.0)), factor=1.0, otherwise=1.0)
    assert (inside.lr, inside.clipped_from) == (free.lr, None)


def test_what_stands_in_for_a_useless_curve_is_not_clipped() -> None:
    found = suggest(plateau(), replace(CONFIG, range=(1e-5, 5e-5)), factor=1.0, otherwise=0.123)
    assert (found.lr, found.verdict, found.clipped_from) == (0.123, "diverging", None)
    assert found.how == "the loss never falls before it diverges"


def test_what_is_found_can_be_typed() -> None:
    found = suggest(falling(3.3333e-4, noise=0.01), CONFIG, factor=1.0, otherwise=1.0).lr
    assert float(f"{found:.1e}") == found


def test_rates_are_equally_spaced_on_a_log_scale() -> None:
    assert (RATES[0], RATES[-1], len(RATES)) == (pytest.approx(1e-7), pytest.approx(1.0), 100)
    assert np.diff(np.log(RATES)) == pytest.approx(np.log(10) * 7 / 99)


@pytest.mark.parametrize("curve", [falling(1e-3, noise=0.02), plateau(), measured([])])
def test_a_curve_survives_json_and_half_of_one_is_refused(curve: Curve) -> None:
    plain = {"lrs": list(curve.lrs), "losses": list(curve.losses), "ended": curve.ended}
    assert Curve.from_plain(plain) == curve
    with pytest.raises((ValueError, KeyError, TypeError)):
        Curve.from_plain({**plain, "lrs": [*plain["lrs"], None]})


@pytest.mark.parametrize(
    ("node", "problem"),
    [
        ({"start": 1.0, "end": 1e-3}, "lr.end: must be above start=1.0, but is 0.001."),
        ({"range": [2.0, 1.0]}, "lr.range: must be [smallest, largest], but is [2.0, 1.0]."),
        ({"range": [1.0]}, "lr.range: expected a list of 2 items"),
        ({"range": [0.0, 1.0]}, "lr.range: must be > 0, but is 0.0."),
        ({"method": "flattest"}, "lr.method: expected one of 'steepest', 'valley'"),
        ({"updates": 5}, "lr.updates: must be >= 20, but is 5."),
        ({"smoothing": 1.0}, "lr.smoothing: must be >= 0 and < 1, but is 1.0."),
    ],
)
def test_settings_that_make_no_sense_are_refused(node: dict[str, Any], problem: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(LRRangeTestConfig, node, "lr")
    assert str(caught.value).startswith(problem)
