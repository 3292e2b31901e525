"""The non-finite guard: aborts on what is no number, but lets a gradient scaler look for its scale."""

from __future__ import annotations

from dataclasses import replace

import pytest

from counterpoise.events import Decision, EpochEvent, UpdateEvent
from counterpoise.guards.non_finite import NonFiniteConfig, NonFiniteGuard

NAN, INF = float("nan"), float("inf")


def update(loss: float = 1.0, norm: float = 1.0, skipped: int = 0) -> UpdateEvent:
    return UpdateEvent(update=7, epoch=0, loss=loss, lr=0.1, grad_norm=norm, samples=8, seconds=1.0, skipped=skipped)


def epoch(train: float, valid: float) -> EpochEvent:
    return EpochEvent(0, 1, train, 1.0, 0.1, {"loss": valid}, 0.5, False, 1.0)


@pytest.mark.parametrize(("loss", "norm"), [(NAN, 1.0), (INF, 1.0), (1.0, NAN), (1.0, INF)])
def test_aborts(loss: float, norm: float) -> None:
    verdict = NonFiniteGuard(NonFiniteConfig()).after_update(update(loss, norm))
    assert verdict.decision == Decision.ABORT
    assert "update 7" in verdict.reason
    assert "optimizer.lr" in verdict.reason
    off = NonFiniteGuard(NonFiniteConfig(non_finite=False))
    assert off.after_update(update(loss, norm)).decision == Decision.CONTINUE


def test_finite_figures_pass() -> None:
    guard = NonFiniteGuard(NonFiniteConfig())
    assert guard.after_update(update()).decision == Decision.CONTINUE
    assert guard.after_epoch(epoch(1.0, 2.0)).decision == Decision.CONTINUE


@pytest.mark.parametrize(("train", "valid"), [(NAN, 1.0), (1.0, NAN), (INF, 1.0)])
def test_epochs(train: float, valid: float) -> None:
    assert NonFiniteGuard(NonFiniteConfig()).after_epoch(epoch(train, valid)).decision == Decision.ABORT


def test_an_epoch_that_never_stepped_is_judged_by_validation_alone() -> None:
    guard = NonFiniteGuard(NonFiniteConfig())
    assert guard.after_epoch(replace(epoch(NAN, 1.0), stepped=0)).decision == Decision.CONTINUE
    assert guard.after_epoch(replace(epoch(NAN, NAN), stepped=0)).decision == Decision.ABORT


def test_an_overflow_that_was_skipped_is_no_fault() -> None:
    guard = NonFiniteGuard(NonFiniteConfig())
    assert guard.after_update(update(norm=INF, skipped=1)).decision == Decision.CONTINUE
    again = NonFiniteGuard(NonFiniteConfig())
    again.load_state_dict(guard.state_dict())
    for one in (guard, again):  # nothing was skipped since: now it is one, also after a resume
        assert one.after_update(update(norm=INF, skipped=1)).decision == Decision.ABORT
