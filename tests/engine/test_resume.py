"""A run that is cut off anywhere and taken up again ends with the same bits as one that was not."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from engine_kit import SCHEDULES, Recorder, Setup, assert_same_bits, final_state
from torch.utils.data import DataLoader, TensorDataset

from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.engine.trainer import Trainer
from counterpoise.events import BaseJudge, Decision, UpdateEvent, Verdict


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)


def cut_and_resume(setup: Setup, cuts: list[int]) -> tuple[Trainer, Recorder, list[int]]:
    """Fit, failing at each of ``cuts`` in turn; returns the last trainer, all events and what was trained on."""
    merged, trace = Recorder(), {}
    for cut in [*cuts, None]:
        recorder = Recorder(cut)
        trainer = setup.trainer(recorder)
        try:
            trainer.fit(setup.loader(), setup.valid())
        except KeyboardInterrupt:
            assert recorder.calls[-1] == "finish"
        # Whatever is done again is done as before.
        start = recorder.plan["position"]["update"]
        for update, event in recorder.updates.items():
            known = merged.updates.setdefault(update, event)
            assert repr((known.loss, known.lr, known.grad_norm)) == repr((event.loss, event.lr, event.grad_norm))
        if setup.accumulation == 1:
            for number, content in enumerate(trainer.module.trace):
                assert trace.setdefault(start + number, content) == content
        merged.epochs = recorder.epochs
    return trainer, merged, [trace[update] for update in sorted(trace)]


def check(setup: Setup, cuts: list[int], folder: Path) -> None:
    whole_record = Recorder()
    whole = replace(setup, folder=folder / "whole").fit(whole_record)
    resumed, record, trace = cut_and_resume(replace(setup, folder=folder / "cut"), cuts)
    assert_same_bits(final_state(whole), final_state(resumed))
    assert [e.lr for e in whole_record.updates.values()] == [record.updates[u].lr for u in sorted(record.updates)]
    if setup.accumulation == 1:
        assert whole.module.trace == trace
    best = [CheckpointStore(folder / name).best() for name in ("whole", "cut")]
    assert best[0].manifest["checksums"] == best[1].manifest["checksums"]


@pytest.mark.parametrize("schedule", sorted(SCHEDULES))
def test_each_schedule(schedule: str, tmp_path: Path) -> None:
    check(Setup(schedule=schedule, checkpoint_updates=2), [7, 12, 25], tmp_path)


@pytest.mark.parametrize(
    ("changes", "cuts"),
    [
        ({}, [1]),  # before the first checkpoint
        ({}, [2, 4]),  # within the warm-up
        ({}, [10]),  # the epoch's last update, before its evaluation
        ({}, [11]),  # the next epoch's first
        ({}, [14, 16, 19]),  # three times in one epoch
        ({}, [30]),  # the run's last update
        ({"checkpoint_updates": 0}, [5, 15]),  # checkpoints at the end of epochs only
        ({"accumulation": 2}, [3, 8, 8]),
        ({"accumulation": 3, "prefetch": 2}, [4, 7]),
        ({"weighted": True, "prefetch": 2}, [6, 13]),
        ({"precision": "bf16"}, [6, 13]),
        ({"precision": "fp16"}, [6, 13]),
        ({"precision": "fp64", "penalty": 0.2}, [6, 13]),
        ({"log_every": 3}, [9, 18]),
    ],
)
def test_each_position(changes: dict[str, object], cuts: list[int], tmp_path: Path) -> None:
    check(replace(Setup(checkpoint_updates=1), **changes), cuts, tmp_path)


@pytest.mark.parametrize("seed", range(12))
def test_anywhere(seed: int, tmp_path: Path) -> None:
    rng = random.Random(seed)
    setup = Setup(
        schedule=rng.choice(sorted(SCHEDULES)),
        batch_size=rng.randint(2, 7),
        accumulation=rng.randint(1, 3),
        samples=rng.randint(9, 40),
        weighted=rng.random() < 0.5,
        prefetch=rng.choice([0, 2]),
        dropout=rng.choice([0.0, 0.3]),
        checkpoint_updates=rng.randint(1, 4),
    )
    total = 3 * setup.loader().updates_per_epoch
    check(setup, sorted(rng.randint(1, total) for _ in range(rng.randint(1, 3))), tmp_path)


class StopAt(BaseJudge):
    name = "stopper"

    def __init__(self, update: int, decision: Decision) -> None:
        self.update = update
        self.decision = decision

    def after_update(self, event: UpdateEvent) -> Verdict:
        return Verdict(self.decision if event.update == self.update else Decision.CONTINUE, self.name, "a test")


# Also at an epoch's last update, where nothing is left to train but the epoch is not yet evaluated.
@pytest.mark.parametrize("update", [4, 10, 17])
def test_a_preempted_run_goes_on_where_it_stopped(update: int, tmp_path: Path) -> None:
    whole = Setup(folder=tmp_path / "whole", checkpoint_updates=0).fit()
    setup = Setup(folder=tmp_path / "cut", checkpoint_updates=0)
    first = replace(setup, judges=[StopAt(update, Decision.PREEMPT)]).fit()
    assert first.position.update == update
    assert first.history.verdict.decision == Decision.PREEMPT
    assert_same_bits(final_state(whole), final_state(setup.fit()))


@pytest.mark.parametrize("update", [4, 10])
def test_a_stopped_run_stays_stopped(update: int, tmp_path: Path) -> None:
    setup = Setup(folder=tmp_path, judges=[StopAt(update, Decision.STOP)])
    first = setup.fit()
    second = replace(setup, judges=[]).fit()
    assert second.position.update == update
    assert second.history.verdict == first.history.verdict == Verdict(Decision.STOP, "stopper", "a test")
    assert second.module.trace == []


def test_early_stopping_counts_on(tmp_path: Path) -> None:
    setup = Setup(epochs=8, patience=2, lr=0.5)  # such a rate that it gets worse soon
    whole = replace(setup, folder=tmp_path / "whole").fit()
    assert whole.history.verdict.judge == "early_stopping"
    assert len(whole.history.epochs) < 8
    last = whole.position.update
    cut = replace(setup, folder=tmp_path / "cut")
    resumed, _, _ = cut_and_resume(cut, [last - 12, last - 2])
    assert_same_bits(final_state(whole), final_state(resumed))
    assert cut.fit().module.trace == []


def test_a_finished_run_is_not_trained_again(tmp_path: Path) -> None:
    setup = Setup(folder=tmp_path)
    first, second = setup.fit(), setup.fit()
    assert second.module.trace == []
    assert_same_bits(final_state(first), final_state(second))


# An ordinary shuffling DataLoader, with augmentation from the global generator.
class Noisy(TensorDataset):
    def __getitem__(self, index: int) -> tuple[torch.Tensor, ...]:
        x, y = super().__getitem__(index)
        return x + torch.randn(3) * random.random(), y


def foreign(folder: Path, fail_at: int | None = None) -> Trainer:
    torch.manual_seed(random.getrandbits(30))  # whatever happened before must not matter
    x = torch.linspace(-1, 1, 90).view(30, 3)
    data = DataLoader(Noisy(x, (x.sum(1) > 0).long()), batch_size=4, shuffle=True)
    generator = torch.Generator().manual_seed(3)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Dropout(0.3), torch.nn.Linear(4, 2))
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, generator=generator)
    trainer = Trainer(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9),
        torch.nn.CrossEntropyLoss(),
        epochs=3,
        accumulation=2,
        log_every=1,
        prefetch=2,
        observers=[Recorder(fail_at)],
        checkpoints=CheckpointStore(folder),
        checkpoint_updates=2,
    )
    trainer.fit(data, [(x, (x.sum(1) > 0).long())])
    return trainer


def test_a_foreign_loader_that_shuffles_resumes_exactly(tmp_path: Path) -> None:
    whole = foreign(tmp_path / "whole")
    for cut in (3, 7):
        with pytest.raises(KeyboardInterrupt):
            foreign(tmp_path / "cut", cut)
    assert_same_bits(final_state(whole), final_state(foreign(tmp_path / "cut")))
