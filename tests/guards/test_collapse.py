"""The collapse guard: thresholds of every finding, per update and per epoch, against cases written out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from guard_kit import RUN, epoch, update
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.events import Alarm, Decision, Health, Verdict
from counterpoise.guards.collapse import CollapseConfig, CollapseGuard
from counterpoise.jsonio import dumps

ACTUAL = {"no": 60, "yes": 40}
NOBODY = {"no": 100, "yes": 0}
ONE_CLASS: dict[str, Any] = {"predicted": (64, 0), "actual": (40, 24)}


def guard(policy: Any = "stop", classes: tuple[str, ...] = RUN.classes, **changes: Any) -> CollapseGuard:
    """A guard that takes a class for ranked at chance as soon as there are samples enough."""
    config = CollapseConfig(**{"chance_updates": 1, **changes})
    return CollapseGuard(config, policy, replace(RUN, classes=classes))


def at_chance(**changes: Any) -> CollapseGuard:
    """A guard of a model that has predicted every class so far, but ranks at chance."""
    judge = guard(**changes)
    share = (64 // len(judge.ranking.classes),) * len(judge.ranking.classes)
    zero = (0.0,) * len(share)
    for number in range(1, 11):
        judge.after_update(update(number, 1, predicted=share, actual=share, separation=zero))
    return judge


def alarm_of(verdict: Verdict) -> Alarm:
    assert verdict.alarm is not None
    return verdict.alarm


def feed(judge: CollapseGuard, count: int, epoch: int = 5, start: int = 100, **changes: Any) -> list[Verdict]:
    return [judge.after_update(update(start + 10 * number, epoch, **changes)) for number in range(1, count + 1)]


# Per update


@pytest.mark.parametrize(
    ("policy", "decision"), [("stop", Decision.ABORT), ("rescue", Decision.ROLL_BACK), ("warn", Decision.CONTINUE)]
)
def test_constant_predictions_count_after_a_window_and_three_in_a_row(policy: str, decision: Decision) -> None:
    verdicts = feed(guard(policy), 9, **ONE_CLASS)
    assert [verdict.alarm is not None for verdict in verdicts] == [False] * 6 + [True] + [False] * 2
    assert verdicts[6].decision == decision
    alarm = alarm_of(verdicts[6])
    assert (alarm.kind, alarm.update, alarm.shares_of) == ("constant_predictions", 170, "training")
    assert alarm.predicted_share == {"no": 1.0, "yes": 0.0}
    assert alarm.actual_share == {"no": 0.625, "yes": 0.375}
    assert "'no'" in alarm.message


def test_predictions_do_not_count_before_the_first_epoch() -> None:
    judge = guard(first_epoch=3)
    assert not any(verdict.alarm for verdict in feed(judge, 20, epoch=2, **ONE_CLASS))
    assert any(verdict.alarm for verdict in feed(judge, 3, epoch=3, start=300, **ONE_CLASS))


def test_predictions_do_not_count_before_the_first_update() -> None:
    judge = guard(first_update=200)
    assert not any(verdict.alarm for verdict in feed(judge, 9, **ONE_CLASS))
    assert judge.after_epoch(epoch(1, NOBODY, ACTUAL)).alarm is None
    early, late = at_chance(first_update=500), at_chance(first_update=400)
    assert early.after_epoch(epoch(4, NOBODY, ACTUAL)).alarm is None
    assert early.health == Health.DOUBTFUL
    assert late.after_epoch(epoch(4, NOBODY, ACTUAL)).alarm is not None


# 4 samples of another class in a window say nothing about a model that predicts none of them.
def test_too_few_samples_of_other_classes_are_no_finding() -> None:
    assert not any(verdict.alarm for verdict in feed(guard(), 20, predicted=(64, 0), actual=(61, 3)))
    assert any(verdict.alarm for verdict in feed(guard(), 20, predicted=(64, 0), actual=(60, 4)))


def test_one_other_prediction_in_the_window_is_enough() -> None:
    judge = guard()
    feed(judge, 6, **ONE_CLASS)
    judge.after_update(update(170, predicted=(63, 1), actual=(40, 24)))
    assert judge.health == Health.SOUND
    assert not any(verdict.alarm for verdict in feed(judge, 4, **ONE_CLASS))


@pytest.mark.parametrize(("norm", "found"), [(0.0, True), (9.9e-8, True), (1.1e-7, False), (float("nan"), False)])
def test_zero_gradients(norm: float, found: bool) -> None:
    judge = guard()
    verdicts = feed(judge, 3, epoch=1, largest_grad_norm=norm, grad_norm=norm)
    assert [verdict.decision for verdict in verdicts] == [Decision.CONTINUE] * 2 + [
        Decision.ABORT if found else Decision.CONTINUE
    ]
    if found:
        assert alarm_of(verdicts[2]).kind == "zero_gradients"


def test_a_fitted_model_may_have_no_gradient() -> None:
    assert not any(verdict.alarm for verdict in feed(guard(), 9, loss=1e-5, largest_grad_norm=0.0))


def test_an_exploding_loss_counts_from_the_start() -> None:
    judge = guard()
    assert not any(verdict.alarm for verdict in feed(judge, 7, epoch=1, loss=0.7))
    verdicts = feed(judge, 9, epoch=1, loss=4.0)
    found = [index for index, verdict in enumerate(verdicts) if verdict.alarm]
    assert len(found) == 1
    alarm = alarm_of(verdicts[found[0]])
    assert (alarm.kind, alarm.cause, alarm.override) == ("exploding", "lr_too_high", "optimizer.lr=0.0005")
    assert judge.health == Health.ALARMED
    assert not any(verdict.alarm for verdict in feed(guard(), 20, loss=0.01))  # a small loss that is fitted is none


# Per epoch


@pytest.mark.parametrize("number", range(1, 6))
def test_a_class_that_is_never_predicted(number: int) -> None:
    judge = at_chance()
    verdict = judge.after_epoch(epoch(number, NOBODY, ACTUAL))
    if number < 3:
        assert verdict.alarm is None
        assert judge.health == Health.DOUBTFUL
        return
    assert verdict.decision == Decision.ABORT
    assert judge.health == Health.COLLAPSED
    alarm = alarm_of(verdict)
    assert (alarm.kind, alarm.epoch, alarm.shares_of) == ("never_predicted", number, "validation")
    assert alarm.predicted_share == {"no": 1.0, "yes": 0.0}
    assert "'yes' (0.0% of 40.0%) never predicted; 'yes' is ranked at chance" in alarm.message


def test_every_class_is_watched_not_only_the_positive_one() -> None:
    actual = {"a": 50, "b": 30, "c": 20}
    for missing in actual:
        predicted = {name: 0 if name == missing else 50 for name in actual}
        verdict = at_chance(classes=tuple(actual)).after_epoch(epoch(3, predicted, actual))
        assert repr(missing) in alarm_of(verdict).message


def test_a_class_with_too_few_samples_is_not_judged() -> None:
    assert at_chance().after_epoch(epoch(3, {"no": 100, "yes": 0}, {"no": 96, "yes": 4})).alarm is None
    assert at_chance().after_epoch(epoch(3, {"no": 100, "yes": 0}, {"no": 95, "yes": 5})).alarm is not None
    assert at_chance().after_epoch(epoch(3, {"no": 100, "yes": 0}, {"no": 100, "yes": 0})).alarm is None  # not present


# Of seven samples a sound model may miss all, once or twice.
def test_a_small_class_must_be_missed_for_three_epochs() -> None:
    few, none = {"no": 93, "yes": 7}, {"no": 100, "yes": 0}
    judge = at_chance()
    verdicts = [judge.after_epoch(epoch(number, none, few)) for number in (3, 4, 5)]
    assert [verdict.decision for verdict in verdicts] == [Decision.CONTINUE] * 2 + [Decision.ABORT]
    assert [alarm_of(verdict).severity for verdict in verdicts] == ["warning", "warning", "stop"]
    assert judge.health == Health.COLLAPSED
    early = at_chance()
    early.after_epoch(epoch(3, none, few))
    assert early.health == Health.DOUBTFUL  # the best epoch only while there is no sound one


# A calibrated model that has learnt nothing but the prior: its loss moves with the number of positives drawn.
@pytest.mark.parametrize("share", [0.3, 0.093, 0.05, 0.03, 0.01])
def test_chance_is_no_explosion(share: float) -> None:
    rng, alarms = np.random.default_rng(0), 0
    for _ in range(100):
        judge = guard()
        for number in range(1, 61):
            positives = rng.binomial(16, share, size=10)
            losses = -(positives * np.log(share) + (16 - positives) * np.log(1 - share)) / 16
            actual = (160 - int(positives.sum()), int(positives.sum()))
            event = update(10 * number, 0, loss=losses[-1], mean_loss=losses.mean(), predicted=(160, 0), actual=actual)
            alarms += judge.after_update(event).alarm is not None
    assert alarms == 0


# 40 % actual: a warning below 12 %, a finding below 8 %.
@pytest.mark.parametrize(("share", "warned", "stopped"), [(13, False, False), (12, False, False), (11, True, False)])
def test_shares_below_the_warning(share: int, warned: bool, stopped: bool) -> None:
    judge = at_chance()
    for number in range(3, 9):
        verdict = judge.after_epoch(epoch(number, {"no": 100 - share, "yes": share}, ACTUAL))
        assert (verdict.alarm is not None) == warned
        assert (verdict.decision == Decision.ABORT) == stopped


def test_three_epochs_below_the_second_threshold_stop() -> None:
    few, some = {"no": 93, "yes": 7}, {"no": 90, "yes": 10}
    judge = at_chance()
    decisions = [
        judge.after_epoch(epoch(number, each, ACTUAL)).decision
        for number, each in enumerate([few, few, some, few, few, few], start=3)
    ]
    assert decisions == [Decision.CONTINUE] * 5 + [Decision.ABORT]


def test_epochs_before_the_first_do_not_add_up() -> None:
    judge = at_chance()
    few = {"no": 93, "yes": 7}
    decisions = [judge.after_epoch(epoch(number, few, ACTUAL)).decision for number in range(1, 6)]
    assert decisions == [Decision.CONTINUE] * 4 + [Decision.ABORT]


def test_a_validation_loss_of_an_exploded_model_is_none_to_go_back_to() -> None:
    judge = guard()
    feed(judge, 5, loss=0.7)
    judge.after_epoch(epoch(1, ACTUAL, ACTUAL, loss=2.5))
    assert judge.health == Health.ALARMED
    judge.after_epoch(epoch(2, ACTUAL, ACTUAL, loss=0.6))
    assert judge.health == Health.SOUND


def test_an_epoch_without_figures_is_for_the_non_finite_guard() -> None:
    judge = guard()
    nothing = epoch(4, ACTUAL, ACTUAL)
    nothing.valid.clear()  # type: ignore[attr-defined]
    nothing.valid["loss"] = float("nan")  # type: ignore[index]
    assert judge.after_epoch(nothing).alarm is None


# Ranking: a model that tells its samples apart has not collapsed, whatever it predicts.


def test_a_class_that_is_ranked_above_chance_on_validation_is_not_judged_by_what_is_predicted() -> None:
    judge = at_chance()
    verdicts = [judge.after_epoch(epoch(number, NOBODY, ACTUAL, area=0.88)) for number in range(3, 9)]
    assert not any(verdict.alarm for verdict in verdicts)
    assert judge.health == Health.ALARMED  # none to come back to, but the best epoch if its score is


# By the standard error of an area at chance: of 40 and 60 rows 0.059, of 5 and 95 rows 0.133.
@pytest.mark.parametrize(("rows", "area", "stopped"), [(40, 0.69, False), (40, 0.66, True), (5, 0.69, True)])
def test_how_far_above_chance_depends_on_the_rows(rows: int, area: float, stopped: bool) -> None:
    judge, actual = at_chance(), {"no": 100 - rows, "yes": rows}
    verdicts = [judge.after_epoch(epoch(number, NOBODY, actual, area=area)) for number in (3, 4, 5)]
    assert any(verdict.decision == Decision.ABORT for verdict in verdicts) == stopped


def test_constant_predictions_of_a_model_that_ranks_its_training_samples_are_a_threshold_that_is_off() -> None:
    judge = guard()
    assert not any(verdict.alarm for verdict in feed(judge, 40, **ONE_CLASS, separation=(0.9, 0.9)))
    assert judge.after_epoch(epoch(5, NOBODY, ACTUAL)).alarm is None


def test_evidence_takes_updates_and_samples() -> None:
    """100 updates at chance for what was learnt, 300 for what never was, and never without samples of the class."""

    def stops_at(shown: bool, yes: int, patience: int = 100) -> int | None:
        judge = guard(chance_updates=patience)
        judge.after_update(update(10, separation=(1.5, 1.5) if shown else (0.0, 0.0)))
        for number in range(2, 60):
            judge.after_update(update(10 * number, predicted=(64, 0), actual=(64 - yes, yes)))
            verdict = judge.after_epoch(epoch(3, NOBODY, ACTUAL, at=10 * number))
            if verdict.decision == Decision.ABORT:
                return 10 * number
        return None

    assert stops_at(shown=True, yes=24) == 110
    assert stops_at(shown=False, yes=24) == 310
    assert stops_at(shown=True, yes=2) == 340  # 33 readings of 2 among 64 before a ranking would have shown
    assert stops_at(shown=True, yes=0) is None


def test_updates_while_the_learning_rate_rises_do_not_count() -> None:
    judge = guard()
    for number in range(1, 60):
        judge.after_update(update(10 * number, lr=1e-5 * number, predicted=(64, 0)))
        assert judge.after_epoch(epoch(4, NOBODY, ACTUAL, at=10 * number)).alarm is None


def of_three(separation: tuple[float, ...], number: int) -> Any:
    return update(10 * number, 4, predicted=(32, 32, 0), actual=(24, 20, 20), separation=separation)


def test_a_class_that_is_not_learnt_yet_is_warned_about_while_others_are_learnt() -> None:
    judge = guard(classes=("a", "b", "c"))
    actual, predicted = {"a": 40, "b": 30, "c": 30}, {"a": 60, "b": 40, "c": 0}
    verdicts = []
    for number in range(1, 30):
        judge.after_update(of_three((0.9, 0.8, 0.0), number))
        verdicts.append(judge.after_epoch(epoch(4, predicted, actual, at=10 * number)))
    assert {alarm_of(verdict).severity for verdict in verdicts if verdict.alarm} == {"warning"}
    assert "'c' (0.0% of 30.0%)" in alarm_of(verdicts[-1]).message


def test_a_class_that_was_lost_stops_a_run_that_still_ranks_the_others() -> None:
    judge = guard(classes=("a", "b", "c"), chance_updates=100)
    actual, predicted = {"a": 40, "b": 30, "c": 30}, {"a": 60, "b": 40, "c": 0}
    judge.after_update(of_three((0.9, 0.8, 0.9), 1))
    decisions = []
    for number in range(2, 20):
        judge.after_update(of_three((0.9, 0.8, 0.0), number))
        decisions.append(judge.after_epoch(epoch(4, predicted, actual, at=10 * number)).decision)
    assert decisions.index(Decision.ABORT) == 9  # update 110


# State: a guard that is resumed in between says the same.


events = st.builds(
    lambda one, loss, norm: {
        "predicted": (64, 0) if one else (30, 34),
        "actual": (40, 24),
        "loss": loss,
        "largest_grad_norm": norm,
    },
    st.booleans(),
    st.sampled_from([0.5, 0.6, 5.0]),
    st.sampled_from([1.0, 0.0]),
)


@given(st.lists(events, max_size=25), st.integers(0, 25))
def test_a_resumed_guard_says_the_same(changes: list[dict[str, Any]], cut: int) -> None:
    whole, before, after = guard(), guard(), guard()
    for number, change in enumerate(changes):
        if number == cut:
            after.load_state_dict(before.state_dict())
        expected = whole.after_update(update(10 * number, **change))
        given_verdict = (before if number < cut else after).after_update(update(10 * number, **change))
        assert dumps(given_verdict) == dumps(expected)
        if number % 5 == 4:
            share = {"no": 95, "yes": 5} if change["predicted"][1] else NOBODY
            event = epoch(number // 5 + 1, share, ACTUAL)
            assert dumps((before if number < cut else after).after_epoch(event)) == dumps(whole.after_epoch(event))
