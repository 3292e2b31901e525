"""The non-finite guard: judges what is no number, but lets a gradient scaler look for its scale."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from guard_kit import RUN, epoch, update

from counterpoise.events import Decision, Health, UpdateEvent
from counterpoise.guards.non_finite import NonFiniteConfig, NonFiniteGuard

NAN, INF = float("nan"), float("inf")
BOTH = {"no": 40, "yes": 24}


def guard(policy: Any = "stop", **changes: Any) -> NonFiniteGuard:
    return NonFiniteGuard(NonFiniteConfig(**changes), policy, RUN)


def broken(total: int, row: int, number: int = 10, **changes: Any) -> UpdateEvent:
    return update(number, loss=NAN, non_finite=total, non_finite_in_a_row=row, **changes)


@pytest.mark.parametrize(
    ("policy", "decision"), [("stop", Decision.ABORT), ("rescue", Decision.ROLL_BACK), ("warn", Decision.CONTINUE)]
)
def test_patience_updates_in_a_row_are_judged_by_the_policy(policy: str, decision: Decision) -> None:
    verdict = guard(policy).after_update(broken(3, 3))
    assert verdict.decision == decision
    assert verdict.alarm is not None
    assert (verdict.alarm.kind, verdict.alarm.severity) == ("non_finite", "stop")
    assert "3 updates in a row" in verdict.alarm.message
    assert verdict.alarm.cause == "lr_too_high"
    assert verdict.alarm.override == "optimizer.lr=0.0005"  # half of what the config has, not of what it came to


def test_fewer_in_a_row_are_told_once_and_forgiven() -> None:
    one = guard()
    first = one.after_update(broken(2, 2, number=10))
    assert first.decision == Decision.CONTINUE
    assert first.alarm is not None
    assert first.alarm.severity == "warning"
    assert one.health == Health.ALARMED
    assert one.after_update(broken(3, 1, number=20)).alarm is None  # told already
    assert one.after_update(update(30, non_finite=3)).alarm is None
    assert one.health == Health.SOUND


def test_figures_of_an_update_that_was_left_out_need_not_be_logged() -> None:
    verdict = guard().after_update(update(10, non_finite=4, non_finite_in_a_row=4))  # the tenth itself was fine
    assert verdict.decision == Decision.ABORT


def test_half_precision_is_the_suspect_where_it_is_used() -> None:
    one = NonFiniteGuard(NonFiniteConfig(), "rescue", replace(RUN, precision="fp16"))
    alarm = one.after_update(broken(5, 5, half_precision=True)).alarm
    assert alarm is not None
    assert (alarm.cause, alarm.override) == ("precision", "hardware.precision=fp32")


@pytest.mark.parametrize("loss", [NAN, INF])
def test_a_validation_loss_that_is_no_number(loss: float) -> None:
    one = guard()
    assert one.after_epoch(epoch(1, BOTH, BOTH, loss)).decision == Decision.ABORT
    assert one.health == Health.ALARMED
    assert guard().after_epoch(epoch(1, BOTH, BOTH)).decision == Decision.CONTINUE


# The scaler overflows in search of its scale: 16 updates from 65,536 to 1.
def test_overflows_are_no_finding_until_they_do_not_end() -> None:
    one = guard(scaler_patience=40)
    for number in (10, 20, 30):
        overflow = update(number, grad_norm=INF, largest_grad_norm=INF, skipped=number)
        assert one.after_update(overflow).decision == Decision.CONTINUE
        assert one.health == Health.SOUND
    again = guard(scaler_patience=40)
    again.load_state_dict(one.state_dict())
    for judge in (one, again):  # also after a resume
        verdict = judge.after_update(update(40, grad_norm=INF, skipped=40))
        assert verdict.decision == Decision.ABORT
        assert verdict.alarm is not None
        assert verdict.alarm.kind == "scaler"


def test_a_step_between_overflows_begins_a_new_row() -> None:
    one = guard(scaler_patience=20)
    for number, skipped in ((10, 10), (20, 19), (30, 29), (39, 38)):
        assert one.after_update(update(number, skipped=skipped)).decision == Decision.CONTINUE


# With the policy warn such a run goes on: one alarm for the row, not one for every logged update.
def test_a_lasting_row_is_told_once() -> None:
    one = guard("warn")
    alarms = [one.after_update(broken(10 * n, 10, number=10 * n)).alarm for n in range(1, 6)]
    assert [alarm is not None for alarm in alarms] == [True] + [False] * 4
    assert one.after_update(update(60, non_finite=50)).alarm is None
    assert one.after_update(broken(60, 10, number=70)).alarm is not None
