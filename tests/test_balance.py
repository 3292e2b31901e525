"""Weights against the published figures and against limits; what is refused and what is warned about."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.balance import (
    Balance,
    BalanceConfig,
    check_stacked,
    effective_number,
    focal_alpha,
    inverse_frequency,
    pos_weight,
    stacked,
)
from counterpoise.config.schema import field_types, parse
from counterpoise.errors import UserError

CONF = Path(__file__).parents[1] / "conf" / "balance"
COUNTS = st.lists(st.integers(1, 10**7), min_size=2, max_size=8)


def test_inverse_frequency_of_the_published_example() -> None:
    assert inverse_frequency([11_836, 10_018]) == pytest.approx([0.9232, 1.0907], abs=5e-5)


def test_inverse_frequency_of_three_classes() -> None:
    assert inverse_frequency([3000, 1350, 550]) == pytest.approx([4900 / 9000, 4900 / 4050, 4900 / 1650])


@given(COUNTS)
@settings(deadline=None)
def test_inverse_frequency_gives_every_class_the_same_total(counts: list[int]) -> None:
    weights = inverse_frequency(counts)
    assert weights * counts == pytest.approx(np.full(len(counts), sum(counts) / len(counts)))


@pytest.mark.parametrize(("beta", "ratio"), [(0.999, 1.34), (0.9999, 5.73), (0.99999, 9.18)])
def test_effective_number_of_the_published_example(beta: float, ratio: float) -> None:
    positive, negative = effective_number([1_381, 13_459], beta)
    assert positive / negative == pytest.approx(ratio, abs=5e-3)


@given(COUNTS, st.floats(0, 1))
@settings(deadline=None)
def test_effective_number_sums_to_c_and_never_favours_the_larger_class(counts: list[int], beta: float) -> None:
    weights = effective_number(counts, beta)
    assert weights.sum() == pytest.approx(len(counts))
    assert (np.diff(weights[np.argsort(counts)]) <= 1e-12).all()


def test_effective_number_limits() -> None:
    counts = [3000, 1350, 550]
    inverse = inverse_frequency(counts)
    assert effective_number(counts, 0).tolist() == [1, 1, 1]
    for beta in (np.nextafter(1, 0), 1.0):
        assert effective_number(counts, float(beta)) == pytest.approx(inverse * 3 / inverse.sum(), rel=1e-9)
    with pytest.raises(ValueError, match="beta"):
        effective_number(counts, 1.1)


def test_pos_weight_is_negatives_per_positive() -> None:
    assert pos_weight([900, 100]) == 9


def test_focal_alpha_rules() -> None:
    counts = [13_459, 1_381]
    alpha = focal_alpha(counts, "inverse_frequency")
    assert alpha * 1_381 == pytest.approx((1 - alpha) * 13_459)  # both classes weigh the same in total
    squared = focal_alpha(counts, "positive_frequency")
    assert (1 - squared) * 13_459 / (squared * 1_381) == pytest.approx(95, abs=0.1)
    assert focal_alpha(counts, 0.25) == 0.25


@pytest.mark.parametrize("rule", [pos_weight, lambda counts: focal_alpha(counts, "inverse_frequency")])
def test_binary_rules_refuse_three_classes(rule: object) -> None:
    with pytest.raises(ValueError, match="two classes"):
        rule([1, 2, 3])  # type: ignore[operator]


@pytest.mark.parametrize("rule", ["none", "inverse_frequency", "effective_number", (1.0, 2.0, 3.0)])
def test_a_class_without_training_samples_is_an_error_that_names_it(rule: object) -> None:
    balance = Balance(BalanceConfig(class_weights=rule))  # type: ignore[arg-type]
    with pytest.raises(UserError, match="'mature'"):
        balance.class_weights([5, 3, 0], ["general", "teen", "mature"])


@pytest.mark.parametrize("counts", [[], [3], [[1, 2]], [1, -1], [1, float("nan")]])
def test_counts_that_make_no_sense(counts: object) -> None:
    with pytest.raises(ValueError, match="samples"):
        inverse_frequency(counts)  # type: ignore[arg-type]


def test_balance_gives_float32_weights_by_its_rule() -> None:
    counts, classes = [300, 100], ["a", "b"]
    by_rule = {
        "inverse_frequency": inverse_frequency(counts),
        "effective_number": effective_number(counts, 0.99),
        (1.0, 3.0): np.array([1.0, 3.0]),
    }
    for rule, expected in by_rule.items():
        weights = Balance(BalanceConfig(class_weights=rule, beta=0.99)).class_weights(counts, classes)  # type: ignore[arg-type]
        assert weights is not None
        assert weights.dtype == np.float32
        assert weights == pytest.approx(expected)
    assert Balance(BalanceConfig()).class_weights(counts, classes) is None


def test_weights_by_hand_must_be_one_per_class() -> None:
    with pytest.raises(UserError, match="2 weights for 3 classes") as caught:
        Balance(BalanceConfig(class_weights=(1.0, 3.0))).class_weights([5, 3, 2], ["a", "b", "c"])
    assert caught.value.problems[0].where == "balance.class_weights"


@given(st.lists(st.integers(0, 3), max_size=60).map(lambda extra: np.array([0, 1, 2, 3, *extra])))
@settings(deadline=None)
def test_sampler_makes_classes_equally_likely(labels: np.ndarray) -> None:
    weights = Balance(BalanceConfig(sampler=True)).sample_weights(labels, 4)
    assert weights is not None
    assert np.bincount(labels, weights=weights) == pytest.approx(np.full(4, 0.25))


def test_sampler_off_and_sampler_with_an_absent_class() -> None:
    labels = np.array([0, 0, 2])
    assert Balance(BalanceConfig()).sample_weights(labels, 3) is None
    with pytest.raises(UserError, match="'teen'"):
        Balance(BalanceConfig(sampler=True)).sample_weights(labels, 3, ["general", "teen", "mature"])


def test_one_correction_is_silent_and_equal_weights_are_none() -> None:
    assert check_stacked(BalanceConfig(sampler=True), []) is None
    assert check_stacked(BalanceConfig(), ["focal alpha"]) is None
    assert stacked(BalanceConfig(class_weights=(2.0, 2.0)), ["pos_weight"]) == ["pos_weight"]


def test_two_corrections_need_permission_and_are_warned_about() -> None:
    config = {"class_weights": "inverse_frequency", "sampler": True}
    with pytest.raises(UserError) as caught:
        check_stacked(parse(BalanceConfig, config), ["focal alpha"])
    for expected in ("sampler and class weights and focal alpha", "loss.alpha=null", "balance.allow_stacked=true"):
        assert expected in str(caught.value)
    warning = check_stacked(parse(BalanceConfig, config | {"allow_stacked": True}), ["focal alpha"])
    assert warning is not None
    assert "sampler and class weights and focal alpha" in warning


@pytest.mark.parametrize(
    "values",
    [
        {"class_weights": "inverse"},
        {"class_weights": [1.0, 0.0]},
        {"class_weights": [1.0, float("inf")]},
        {"beta": 1.0},
        {"beta": -0.1},
        {"sampler": "yes"},
    ],
)
def test_config_refuses(values: dict[str, object]) -> None:
    with pytest.raises(UserError) as caught:
        parse(BalanceConfig, values, "balance")
    assert caught.value.problems[0].where == f"balance.{next(iter(values))}"


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_option_lists_all_fields(path: Path) -> None:
    node = yaml.safe_load(path.read_text())
    assert path.read_text().startswith("# ")
    assert node["_target_"] == "counterpoise.balance.Balance"
    assert set(node) == {"_target_", *field_types(BalanceConfig)}
    if path.stem == "manual":
        assert node["class_weights"] == "???"  # no weights are right for everyone
        node["class_weights"] = [1.0, 3.0]
    config = parse(BalanceConfig, node)
    in_force = {"none": [], "sampler": ["sampler"]}.get(path.stem, ["class weights"])
    assert stacked(config, []) == in_force


def test_neither_balance_nor_metrics_nor_baselines_import_torch_or_sklearn() -> None:
    code = (
        "import sys, counterpoise.balance, counterpoise.metrics, counterpoise.baselines;"
        "assert not {'torch', 'sklearn'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
