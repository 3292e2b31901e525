"""Schedules against transformers', PyTorch's and closed forms; and what all of them promise."""

from __future__ import annotations

import io
import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from transformers import get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

from counterpoise.optim.schedules import (
    Constant,
    CosineWarmup,
    CosineWarmupConfig,
    Horizon,
    LinearWarmup,
    LinearWarmupConfig,
    OneCycle,
    OneCycleConfig,
    Plateau,
    PlateauConfig,
    Schedule,
    ScheduleConfig,
    Step,
    StepConfig,
)

KINDS: dict[str, tuple[type[Schedule], Any]] = {
    "constant": (Constant, ScheduleConfig()),
    "linear_warmup": (LinearWarmup, LinearWarmupConfig()),
    "cosine_warmup": (CosineWarmup, CosineWarmupConfig()),
    "one_cycle": (OneCycle, OneCycleConfig()),
    "plateau": (Plateau, PlateauConfig(patience=1)),
    "step": (Step, StepConfig(every=2)),
}
PER_UPDATE = [name for name, (kind, _) in KINDS.items() if kind.per == "update"]


def make_optimizer() -> torch.optim.Optimizer:
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in (1.0, 0.1, 2.0)]
    return torch.optim.SGD(groups, lr=1.0)


def build(name: str, horizon: Horizon, config: Any = None) -> tuple[torch.optim.Optimizer, Schedule]:
    optimizer = make_optimizer()
    kind, default = KINDS[name]
    return optimizer, kind(config or default, optimizer, horizon)  # type: ignore[call-arg]


def rates(optimizer: torch.optim.Optimizer, schedule: Any, count: int, scores: list[float] | None = None) -> list[Any]:
    found = []
    for number in range(count):
        found.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        if isinstance(schedule, Schedule):
            schedule.step(scores[number] if scores else 0.5)
        elif scores:
            schedule.step(scores[number])
        else:
            schedule.step()
    return found


# Theirs spend the first update on a learning rate of zero; ours is theirs with the warm-up one update ahead.
@pytest.mark.parametrize("name", ["linear_warmup", "cosine_warmup"])
@pytest.mark.parametrize(("total", "ratio"), [(40, 0.25), (7, 0.3), (10, 0.0), (3, 1.0)])
def test_against_transformers(name: str, total: int, ratio: float) -> None:
    horizon = Horizon(total, ratio)
    ours = [rate[0] for rate in rates(*build(name, horizon), total)]
    optimizer = make_optimizer()
    make = get_linear_schedule_with_warmup if name == "linear_warmup" else get_cosine_schedule_with_warmup
    theirs = [rate[0] for rate in rates(optimizer, make(optimizer, horizon.warmup_updates, total), total + 1)]
    warm = horizon.warmup_updates
    expected = [1.0 if update + 1 == warm else theirs[update + (update < warm)] for update in range(total)]
    assert ours == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize(("total", "warm"), [(40, 10), (40, 4), (9, 3), (20, 2)])
def test_one_cycle_against_pytorch(total: int, warm: int) -> None:
    config = OneCycleConfig(initial_divisor=10.0, final_divisor=100.0)
    ours = rates(*build("one_cycle", Horizon(total, warm / total), config), total)
    optimizer = make_optimizer()
    theirs = OneCycleLR(
        optimizer,
        max_lr=[1.0, 0.1, 2.0],
        total_steps=total + 1,
        pct_start=warm / (total + 1),
        div_factor=10.0,
        final_div_factor=100.0,
        cycle_momentum=False,
    )
    for one, other in zip(ours, rates(optimizer, theirs, total), strict=True):
        assert one == pytest.approx(other, rel=1e-9)


# 0.1 · 10 − 1 = 0: PyTorch's own divides by zero where the warm-up is one update.
@pytest.mark.parametrize(("total", "ratio"), [(9, 0.1), (4, 0.2), (1, 0.1), (1, 1.0), (2, 0.0)])
def test_one_cycle_of_any_length(total: int, ratio: float) -> None:
    found = [rate[0] for rate in rates(*build("one_cycle", Horizon(total, ratio)), total)]
    assert all(0 < rate <= 1 for rate in found)
    assert max(found) > 0.4


def test_cosine_ends_at_its_final_factor() -> None:
    optimizer, schedule = build("cosine_warmup", Horizon(50, 0.1), CosineWarmupConfig(final_factor=0.25))
    found = [rate[0] for rate in rates(optimizer, schedule, 50)]
    assert optimizer.param_groups[0]["lr"] == pytest.approx(0.25)
    assert found[30] == pytest.approx(0.25 + 0.75 * 0.5 * (1 + math.cos(math.pi * 25 / 45)))


@pytest.mark.parametrize("maximise", [True, False])
def test_plateau_against_pytorch(maximise: bool) -> None:
    scores = [0.1, 0.3, 0.3, 0.2, float("nan"), 0.5, 0.5, 0.1, 0.05, 0.4, 0.4, 0.4]
    found = rates(*build("plateau", Horizon(9, 0.0, maximise)), 12, scores)
    optimizer = make_optimizer()
    theirs = ReduceLROnPlateau(optimizer, "max" if maximise else "min", 0.5, 1, threshold_mode="abs", eps=0.0)
    assert found == rates(optimizer, theirs, 12, scores)
    assert found[-1] != found[0]


# A score below zero that stands still: with PyTorch's relative threshold it would count as improving for ever.
def test_plateau_on_scores_below_zero() -> None:
    found = rates(*build("plateau", Horizon(9, 0.0)), 8, [-0.5] * 8)
    assert found[-1][0] < found[0][0]


def test_plateau_ends_in_the_groups_own_proportions() -> None:
    """``min_lr`` is the highest group's; with one for all, that of 0.1 would never be cut at all."""
    found = rates(*build("plateau", Horizon(9, 0.0), PlateauConfig(patience=0, min_lr=0.3)), 9, [0.5] * 9)
    assert found[1] == [1.0, 0.1, 2.0], "the first score is the best"
    assert found[2] == [0.5, 0.05, 1.0]
    assert found[-1] == pytest.approx([0.15, 0.015, 0.3])
    alone = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    theirs = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=1.0)
    ours = Plateau(PlateauConfig(patience=0, min_lr=0.3), alone, Horizon(9, 0.0))
    pytorch = ReduceLROnPlateau(theirs, "max", 0.5, 0, min_lr=0.3, threshold_mode="abs", eps=0.0)
    assert rates(alone, ours, 9, [0.5] * 9) == rates(theirs, pytorch, 9, [0.5] * 9)


# Whatever a schedule does, and wherever it stops: the ratios of optimizer.lr_factors stay.
ENDS: list[tuple[str, Any]] = [
    ("constant", ScheduleConfig()),
    ("linear_warmup", LinearWarmupConfig()),
    ("cosine_warmup", CosineWarmupConfig(final_factor=0.3)),
    ("one_cycle", OneCycleConfig(initial_divisor=3.0, final_divisor=2.0)),
    ("plateau", PlateauConfig(patience=0, min_lr=0.3)),
    ("plateau", PlateauConfig(patience=0, min_lr=5.0)),
    ("step", StepConfig(every=1)),
]


@pytest.mark.parametrize(("name", "config"), ENDS)
def test_the_ratios_between_groups_stay_to_the_end(name: str, config: Any) -> None:
    for first, second, third in rates(*build(name, Horizon(12, 0.2), config), 12, [0.5] * 12):
        assert (second / first, third / first) == (pytest.approx(0.1), pytest.approx(2.0))


def test_a_part_at_rest_stays_at_rest_under_a_plateau() -> None:
    groups = [{"params": [nn.Parameter(torch.ones(1))], "lr": lr} for lr in (0.0, 0.0)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    found = rates(optimizer, Plateau(PlateauConfig(patience=0, min_lr=0.3), optimizer, Horizon(9, 0.0)), 3, [0.5] * 3)
    assert found == [[0.0, 0.0]] * 3


def test_step_against_pytorch() -> None:
    optimizer = make_optimizer()
    expected = rates(optimizer, StepLR(optimizer, 2, 0.5), 9)
    assert rates(*build("step", Horizon(9, 0.0)), 9) == expected


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None, max_examples=40)
@given(total=st.integers(1, 60), ratio=st.floats(0, 1), data=st.data())
def test_promises(name: str, total: int, ratio: float, data: st.DataObject) -> None:
    horizon = Horizon(total, ratio)
    scores = data.draw(st.lists(st.floats(0, 1), min_size=total, max_size=total))
    found = rates(*build(name, horizon), total, scores)
    for first, second, third in found:
        assert 0 < first <= 1 + 1e-12  # no update is spent on a rate of nothing, none exceeds the peak
        assert second == pytest.approx(0.1 * first, rel=1e-9)  # ratios between groups stay
        assert third == pytest.approx(2.0 * first, rel=1e-9)
    if name in PER_UPDATE and horizon.warmup_updates:
        first_rates = [rate[0] for rate in found]
        assert first_rates[horizon.warmup_updates - 1] == pytest.approx(1.0)
        assert first_rates == sorted(first_rates[: horizon.warmup_updates]) + first_rates[horizon.warmup_updates :]
        assert first_rates[horizon.warmup_updates :] == sorted(first_rates[horizon.warmup_updates :], reverse=True)


@pytest.mark.parametrize("name", KINDS)
@settings(deadline=None, max_examples=25)
@given(total=st.integers(2, 30), ratio=st.floats(0, 1), data=st.data())
def test_state_goes_through_a_file_and_continues(name: str, total: int, ratio: float, data: st.DataObject) -> None:
    horizon = Horizon(total, ratio)
    cut = data.draw(st.integers(0, total - 1))
    scores = data.draw(st.lists(st.floats(0, 1), min_size=total, max_size=total))
    whole = rates(*build(name, horizon), total, scores)
    optimizer, schedule = build(name, horizon)
    before = rates(optimizer, schedule, cut, scores)
    file = io.BytesIO()
    torch.save({"optimizer": optimizer.state_dict(), "schedule": schedule.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    optimizer, schedule = build(name, horizon)
    optimizer.load_state_dict(state["optimizer"])
    schedule.load_state_dict(state["schedule"])
    after = rates(optimizer, schedule, total - cut, scores[cut:])
    assert before + after == whole


def test_warmup_counts_whole_updates() -> None:
    assert Horizon(342 * 10, 0.1).warmup_updates == 342
    assert Horizon(10, 0.0).warmup_updates == 0


def test_epoch_schedules_have_no_warmup() -> None:
    for config in (PlateauConfig(warmup_ratio=0.1), StepConfig(warmup_ratio=0.1)):
        assert [problem.where for problem in config.problems()] == ["warmup_ratio"]
    for config in (PlateauConfig(), StepConfig()):
        assert list(config.problems()) == []
