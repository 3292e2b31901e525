"""Likely causes: one case of figures per cause, and an order from the surest sign to the vaguest."""

from __future__ import annotations

from dataclasses import replace

import pytest
from guard_kit import RUN

from counterpoise.guards.causes import Circumstances, Evidence, likely_cause

CALM = Evidence(
    loss=0.33,
    first_loss=0.5,
    best_loss=0.32,
    lr=1e-3,
    peak_lr=2e-3,
    grad_norm=0.5,
    largest_grad_norm=1.0,
    components={"encoder": 0.3, "head": 0.4},
    one_label=0.0,
    one_label_by_chance=0.1,
    half_precision=False,
    majority_share=0.6,
    broken=False,
)
HALF = replace(RUN, precision="fp16")


@pytest.mark.parametrize(
    ("evidence", "run", "cause", "override"),
    [
        (replace(CALM, one_label=0.6, broken=True, half_precision=True), HALF, "labels_constant", "train.bucket=false"),
        (replace(CALM, broken=True, half_precision=True), HALF, "precision", "hardware.precision=fp32"),
        (replace(CALM, broken=True), RUN, "lr_too_high", "optimizer.lr=0.0005"),
        (replace(CALM, lr=1e-7), RUN, "scheduler", "scheduler=constant"),
        (replace(CALM, loss=0.6), RUN, "lr_too_high", "optimizer.lr=0.0005"),
        (replace(CALM, largest_grad_norm=80.0), RUN, "lr_too_high", "optimizer.lr=0.0005"),
        (replace(CALM, components={"encoder": 0.0, "head": 0.4}), RUN, "lr_too_high", "optimizer.lr=0.0005"),
        (replace(CALM, loss=0.499, best_loss=0.498, lr=1e-7, peak_lr=1e-7), RUN, "lr_too_low", "optimizer.lr=0.01"),
        (replace(CALM, majority_share=0.9), RUN, "no_class_weights", "balance.class_weights=inverse_frequency"),
        (replace(CALM, majority_share=0.9), replace(RUN, weighted=True), "lr_too_high", "optimizer.lr=0.0005"),
        (replace(CALM, majority_share=0.9, loss=0.9), RUN, "lr_too_high", "optimizer.lr=0.0005"),
        (CALM, RUN, "lr_too_high", "optimizer.lr=0.0005"),
        (replace(CALM, peak_lr=0.0, lr=0.0), RUN, "unclear", "train.log_every=1"),
    ],
)
def test_causes(evidence: Evidence, run: Circumstances, cause: str, override: str) -> None:
    found = likely_cause(evidence, run)
    assert (found.name, found.override) == (cause, override)
    assert found.explanation


@pytest.mark.parametrize(
    ("lr", "recipe", "override"),
    [(1e-3, 1e-3, "0.0005"), (3e-3, 1e-3, "0.0015"), (1e30, 1e-3, "0.001"), (0.1, 2e-5, "2e-05")],
)
def test_a_rate_far_above_the_recipes_is_given_up_for_it(lr: float, recipe: float, override: str) -> None:
    found = likely_cause(replace(CALM, broken=True), replace(RUN, base_lr=lr, recipe_lr=recipe))
    assert found.override == f"optimizer.lr={override}"


def test_a_rate_far_below_the_recipes_too() -> None:
    still = replace(CALM, loss=0.499, best_loss=0.498, lr=1e-9, peak_lr=1e-9)
    assert likely_cause(still, replace(RUN, base_lr=1e-9)).override == "optimizer.lr=0.001"
    assert likely_cause(still, replace(RUN, base_lr=5e-4)).override == "optimizer.lr=0.005"


def test_batches_of_one_class_are_no_cause_where_chance_makes_them() -> None:
    rare = replace(CALM, one_label=0.85, one_label_by_chance=0.72, majority_share=0.99)
    assert likely_cause(rare, RUN).name == "no_class_weights"
    assert likely_cause(replace(rare, one_label=1.0), RUN).name == "labels_constant"


# After a rescue has gone on in fp32, half precision is no suspect any more.
def test_precision_is_that_of_the_update_not_of_the_plan() -> None:
    assert likely_cause(replace(CALM, broken=True), HALF).name == "lr_too_high"
