"""Early stopping: counts epochs without improvement, in the objective's direction."""

from __future__ import annotations

from typing import Any

import pytest

from counterpoise.events import Decision, EpochEvent
from counterpoise.guards.early_stopping import EarlyStopping, EarlyStoppingConfig
from counterpoise.metrics import Objective, ObjectiveConfig


def event(score: float, *, health: str = "sound", **valid: float) -> EpochEvent:
    return EpochEvent(1, 1, 0.5, 1.0, 0.1, {"loss": 0.5, **valid}, score, False, 1.0, health=health)


def judge(metric: str = "f1", **values: Any) -> EarlyStopping:
    return EarlyStopping(EarlyStoppingConfig(**values), Objective(ObjectiveConfig(metric=metric)))


def epochs_until_stop(guard: EarlyStopping, scores: list[float]) -> int | None:
    for number, score in enumerate(scores, 1):
        if guard.after_epoch(event(score)).decision == Decision.STOP:
            return number
    return None


NAN = float("nan")


@pytest.mark.parametrize(
    ("metric", "values", "scores", "stop"),
    [
        ("f1", {"patience": 2}, [0.1, 0.2, 0.2, 0.2], 4),
        ("f1", {"patience": 2}, [0.1, 0.2, 0.15, 0.3, 0.29, 0.1], 6),
        ("f1", {"patience": 1}, [0.1, 0.1005], 2),  # less than min_delta
        ("f1", {"patience": 1, "min_delta": 0.0}, [0.1, 0.1005, 0.1005], 3),
        ("f1", {"patience": 2}, [0.1, 0.1009, 0.1018], None),  # slow, but beyond min_delta in the end
        ("log_loss", {"patience": 1}, [0.9, 0.5, 0.6], 3),
        ("f1", {"patience": 2}, [NAN, NAN], 2),
        ("f1", {"patience": 2}, [NAN, 0.1, NAN, 0.2], None),
        ("f1", {"patience": 1, "enabled": False}, [0.3, 0.2, 0.1], None),
    ],
)
def test_when(metric: str, values: dict[str, Any], scores: list[float], stop: int | None) -> None:
    assert epochs_until_stop(judge(metric, **values), scores) == stop


def test_equal_scores_wait_for_the_ranking() -> None:
    """F1 of a rare class is 0 at first, while its ranking improves already."""
    areas, guard = [0.47, 0.55, 0.6, 0.6, 0.58], judge(patience=2)
    verdicts = [guard.after_epoch(event(0.0, pr_auc=area, specificity=1.0)) for area in areas]
    assert [verdict.decision for verdict in verdicts] == [Decision.CONTINUE] * 4 + [Decision.STOP]


def test_of_more_than_two_classes_the_loss_decides_ties() -> None:
    losses, guard = [1.0, 0.9, 0.8999], judge("accuracy", patience=1)
    verdicts = [guard.after_epoch(event(0.5, log_loss=loss)) for loss in losses]
    assert [verdict.decision for verdict in verdicts] == [Decision.CONTINUE, Decision.CONTINUE, Decision.STOP]


def test_a_collapsed_epoch_is_none_to_beat() -> None:
    """Always answering "yes" has a high F1 where the classes are even."""
    guard = judge(patience=2)
    for score, health in ((0.66, "collapsed"), (0.5, "sound"), (0.55, "sound"), (0.6, "sound")):
        verdict = guard.after_epoch(event(score, health=health))
    assert (verdict.decision, guard.best.standing.value) == (Decision.CONTINUE, 0.6)


def test_says_why() -> None:
    guard = judge(patience=1)
    guard.after_epoch(event(0.25))
    verdict = guard.after_epoch(event(0.2))
    assert verdict.judge == "early_stopping"
    assert verdict.reason == "f1 has not risen above 0.2500 for 1 epochs"


def test_counts_on_from_its_state() -> None:
    one, other = judge(patience=3), judge(patience=3)
    for score in (0.5, 0.4, 0.3):
        one.after_epoch(event(score))
    other.load_state_dict(one.state_dict())
    assert other.after_epoch(event(0.45)).decision == Decision.STOP
    fresh = judge(patience=1)
    fresh.load_state_dict({})
    assert epochs_until_stop(fresh, [0.1, 0.1]) == 2
