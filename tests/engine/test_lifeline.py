"""Rescue in the loop: back to the healthy checkpoint, gentler from there, and exact under every interruption."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from engine_kit import Recorder, Setup, ToySplit, assert_same_bits, final_state

from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.engine.trainer import Trainer
from counterpoise.events import (
    CONTINUE,
    Alarm,
    BaseJudge,
    Decision,
    EpochEvent,
    Health,
    Rescue,
    UpdateEvent,
    Verdict,
)
from counterpoise.guards.rescue import RescueConfig
from counterpoise.metrics import Standing

PER_EPOCH = 10
"""Updates: 37 samples in batches of 4."""


class Doctor(BaseJudge):
    """Alarmed by a learning rate above ``limit`` from an update on: what a halved one heals."""

    name = "doctor"

    def __init__(self, limit: float, after: int, by: str = "update", cause: str = "lr_too_high") -> None:
        self.limit, self.after, self.by, self.cause = limit, after, by, cause
        self.seen = 0
        self.ill = False

    @property
    def health(self) -> Health:
        return Health.ALARMED if self.ill else Health.SOUND

    def _judge(self, update: int, epoch: int, lr: float) -> Verdict:
        self.seen += 1
        self.ill = lr > self.limit and update >= self.after - 4
        if not (lr > self.limit and update >= self.after):
            return CONTINUE
        alarm = Alarm("test", "stop", update, epoch, f"lr {lr}", cause=self.cause)
        return Verdict(Decision.ROLL_BACK, self.name, f"lr {lr}", alarm)

    def after_update(self, event: UpdateEvent) -> Verdict:
        return self._judge(event.update, event.epoch, event.lr) if self.by == "update" else CONTINUE

    def after_epoch(self, event: EpochEvent) -> Verdict:
        return self._judge(event.update, event.epoch, event.lr) if self.by == "epoch" else CONTINUE

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "ill": self.ill}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen, self.ill = state["seen"], state["ill"]


class Listener(Recorder):
    def __init__(self, fail_at: int | None = None) -> None:
        super().__init__(fail_at)
        self.alarms: list[tuple[int, str]] = []
        self.rescues: list[Rescue] = []
        self.rates: list[tuple[int, float]] = []

    def on_update(self, event: UpdateEvent) -> None:
        self.rates.append((event.update, event.lr))
        super().on_update(event)

    def on_alarm(self, alarm: Alarm, action: str) -> None:
        self.alarms.append((alarm.update, action))

    def on_rescue(self, rescue: Rescue, plan: Any) -> None:
        assert plan["position"]["update"] == rescue.to_update
        assert plan["rescues"][-1]["number"] == rescue.number
        self.rescues.append(rescue)


def make(folder: Path | None, *observers: Any, attempts: int = 3, **changes: Any) -> Trainer:
    judge = {name: changes.pop(name) for name in ("after", "limit", "by", "cause") if name in changes}
    setup = Setup(
        folder=folder,
        **{"schedule": "constant", "warmup_ratio": 0.0, "lr": 0.01, "epochs": 4, **changes},
        judges=[Doctor(**{"limit": 0.006, "after": 25, **judge})],
        rescue=RescueConfig(attempts=attempts, lr_factor=0.5, warmup_ratio=0.1),
    )
    return setup.trainer(*observers)


def fit(trainer: Trainer, **changes: Any) -> Trainer:
    trainer.fit(Setup(**changes).loader(), ToySplit(15, 1))
    return trainer


def test_back_to_the_last_healthy_epoch_at_half_the_rate(tmp_path: Path) -> None:
    listener = Listener()
    trainer = fit(make(tmp_path, listener))
    assert trainer.history.verdict.decision == Decision.CONTINUE
    assert listener.alarms == [(25, "rescued")]
    (rescue,) = listener.rescues
    # Update 20 ended the second epoch; the judge was alarmed from 21 on.
    assert (rescue.from_update, rescue.to_update, rescue.to_epoch, rescue.warmup_updates) == (25, 20, 3, 2)
    assert [update for update, _ in listener.rates] == [*range(1, 26), *range(21, 41)]
    again = dict(listener.rates[25:])
    assert again[21] == pytest.approx(0.01 * 0.5 / 2)
    assert again[22] == pytest.approx(0.005)
    assert trainer.optimizer.param_groups[0]["lr"] == 0.01  # the schedule's own is left alone
    assert [epoch["epoch"] for epoch in trainer.history.epochs] == [1, 2, 3, 4]
    assert trainer.position.update == 4 * PER_EPOCH  # it ends when it would have ended


# From the checkpoint on it is the run of someone who resumed there with half the rate.
def test_what_follows_is_the_run_from_that_checkpoint(tmp_path: Path) -> None:
    trainer = fit(make(tmp_path / "rescued"))
    other = make(tmp_path / "other", Listener(fail_at=21), limit=1.0)
    with pytest.raises(KeyboardInterrupt):
        fit(other)
    by_hand = make(tmp_path / "other", limit=1.0)
    by_hand.state.resume()
    assert by_hand.position.update == 20
    by_hand.history.rescues.append(trainer.history.rescues[0])
    by_hand.state.save()
    fit(by_hand)
    assert_same_bits(dict(trainer.module.state_dict()), dict(by_hand.module.state_dict()))


def test_an_alarmed_epoch_is_never_gone_back_to(tmp_path: Path) -> None:
    # Alarmed from 16 on, so the checkpoint of the second epoch's end (20) is not healthy: back to the first's.
    listener = Listener()
    fit(make(tmp_path, listener, after=20, by="update"))
    assert [(rescue.from_update, rescue.to_update) for rescue in listener.rescues] == [(20, 10)]


def test_a_verdict_at_an_epochs_end(tmp_path: Path) -> None:
    listener = Listener()
    trainer = fit(make(tmp_path, listener, by="epoch", after=30))
    assert [(rescue.from_update, rescue.to_update) for rescue in listener.rescues] == [(30, 20)]
    assert len(trainer.history.epochs) == 4


def test_a_checkpoint_that_failed_once_is_not_trusted_again(tmp_path: Path) -> None:
    # 0.01 and 0.005 are too much, 0.0025 is not; after the first rescue the judge is ill at once.
    listener = Listener()
    trainer = fit(make(tmp_path, listener, limit=0.003, after=15))
    assert [(rescue.from_update, rescue.to_update) for rescue in listener.rescues] == [(15, 10), (15, 0)]
    assert [rescue.lr_factor for rescue in listener.rescues] == [0.5, 0.25]
    assert trainer.history.verdict.decision == Decision.CONTINUE


def test_after_the_last_attempt_the_run_is_stopped(tmp_path: Path) -> None:
    listener = Listener()
    trainer = fit(make(tmp_path, listener, limit=0.0, attempts=2))
    assert [action for _, action in listener.alarms] == ["rescued", "rescued", "stopped"]
    assert trainer.history.verdict.decision == Decision.ABORT
    assert trainer.history.verdict.reason.endswith("(after 2 rescues)")
    assert listener.verdict.decision == Decision.ABORT


def test_without_checkpoints_or_attempts_it_is_an_abort() -> None:
    listener = Listener()
    trainer = fit(make(None, listener))
    assert trainer.history.verdict.decision == Decision.ABORT
    assert listener.alarms == [(25, "stopped")]


@pytest.mark.parametrize("schedule", ["linear_warmup", "one_cycle", "plateau", "step"])
def test_every_schedule_keeps_its_course(schedule: str, tmp_path: Path) -> None:
    plain, rescued = Listener(), Listener()
    fit(make(tmp_path / "plain", plain, schedule=schedule, limit=9.0, warmup_ratio=0.2))
    fit(make(tmp_path / "rescued", rescued, schedule=schedule, limit=0.0, attempts=1, after=25, warmup_ratio=0.2))
    if schedule == "plateau":  # it follows the scores, which differ
        return
    before, after = dict(plain.rates), dict(rescued.rates[25:])
    # One attempt, stopped again at 25: the updates in between have half the scheduled rate, two of them warm up.
    assert {n: after[n] for n in range(22, 26)} == {n: pytest.approx(before[n] / 2) for n in range(22, 26)}


def test_precision_is_the_suspect(tmp_path: Path) -> None:
    trainer = make(tmp_path, precision="bf16", cause="precision")
    seen: list[torch.dtype] = []
    trainer.module.head.register_forward_hook(lambda module, given, output: seen.append(output.dtype))
    fit(trainer)
    assert trainer.history.rescues[0]["precision"] == "fp32"
    assert seen[0] == torch.bfloat16
    assert seen[-1] == torch.float32
    resumed = make(tmp_path, precision="bf16", cause="precision")
    resumed.state.resume()
    assert resumed.updater.scaler is None
    resumed.module.head.register_forward_hook(lambda module, given, output: seen.append(output.dtype))
    resumed.updater.run(next(iter(Setup().loader().groups(0))))
    assert seen[-1] == torch.float32


# Killed anywhere, before, between and after two rescues, the run ends in the same bits.
@pytest.mark.parametrize("kill", [3, 9, 12, 14, 17, 22, 33])
@pytest.mark.parametrize("checkpoint_updates", [3, 0])
def test_a_rescued_run_resumes_exactly(kill: int, checkpoint_updates: int, tmp_path: Path) -> None:
    changes: dict[str, Any] = {"limit": 0.003, "after": 14, "checkpoint_updates": checkpoint_updates, "dropout": 0.2}
    whole = fit(make(tmp_path / "whole", **changes))
    assert len(whole.history.rescues) == 2

    class Killer(Recorder):
        told = 0

        def on_update(self, event: UpdateEvent) -> None:
            self.told += 1
            if self.told == kill:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(make(tmp_path / "killed", Killer(), **changes))
    resumed = fit(make(tmp_path / "killed", **changes))
    assert_same_bits(final_state(whole), final_state(resumed))


# A kill between the renaming of ``last`` and the linking of ``healthy`` must not send a rescue further back.
def test_a_link_that_a_kill_left_out_is_made_up_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = fit(make(tmp_path / "whole"))
    real, calls = CheckpointStore._keep_healthy, iter(range(100))

    def killed(self: CheckpointStore, checkpoint: Path) -> None:
        if next(calls) == 2:  # of the second epoch's end
            raise KeyboardInterrupt
        real(self, checkpoint)

    monkeypatch.setattr(CheckpointStore, "_keep_healthy", killed)
    with pytest.raises(KeyboardInterrupt):
        fit(make(tmp_path / "killed"))
    monkeypatch.undo()
    resumed = fit(make(tmp_path / "killed"))
    assert resumed.history.rescues[0]["to_update"] == 20
    assert_same_bits(final_state(whole), final_state(resumed))


def test_a_damaged_healthy_checkpoint_is_not_used(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Vandal(Listener):
        def on_update(self, event: UpdateEvent) -> None:
            super().on_update(event)
            if event.update == 24:
                for path in (tmp_path / "healthy").iterdir():
                    path.unlink()
                    path.write_bytes(b"junk")

    listener = Vandal()
    trainer = fit(make(tmp_path, listener))
    assert [rescue.to_update for rescue in listener.rescues] == [0]
    assert "damaged" in caplog.text
    assert trainer.history.verdict.decision == Decision.CONTINUE


class Sentence(BaseJudge):
    """Throws an epoch away that would have been the best."""

    name = "sentence"

    def __init__(self, decision: Decision, at: int) -> None:
        self.decision, self.at = decision, at
        self.given = False

    def after_epoch(self, event: EpochEvent) -> Verdict:
        if event.epoch != self.at or self.given:
            return CONTINUE
        self.given = True
        return Verdict(self.decision, self.name, "given")


# Its weights are never written: a history that speaks of them could not be measured.
@pytest.mark.parametrize("decision", [Decision.ABORT, Decision.ROLL_BACK])
def test_an_epoch_that_is_thrown_away_is_not_the_best(
    decision: Decision, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Standing, "beats", lambda *_: True)  # each epoch would be the best
    setup = Setup(folder=tmp_path, epochs=3, lr=0.01, judges=[Sentence(decision, 2)], rescue=RescueConfig())
    trainer = setup.trainer()
    trainer.fit(setup.loader(), ToySplit(15, 1))
    best = CheckpointStore(tmp_path).best()
    assert best is not None
    assert trainer.history.best_epoch == (1 if decision == Decision.ABORT else 3)
    assert best.manifest["position"]["epoch"] == trainer.history.best_epoch


def test_two_judges_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"name.*'sentence', 'sentence'"):
        Setup(judges=[Sentence(Decision.STOP, 1), Sentence(Decision.STOP, 2)]).trainer()
