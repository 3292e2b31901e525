"""A split whose form depends on the epoch: features first, inputs later, with nothing else to tell the difference."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_kit import Recorder, Setup, ToyModel, ToySplit, assert_same_bits, final_state
from test_lifeline import Doctor, Listener
from test_resume import check
from torch import Tensor

from counterpoise.data.encode.base import Batch, StagedSplit, at_epoch
from counterpoise.data.loader import Loader
from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.engine.evaluation import SplitBatches, predict
from counterpoise.engine.trainer import Trainer
from counterpoise.guards.rescue import RescueConfig
from counterpoise.models.base import ModelOutput, padding_mask

PER_EPOCH = 10
"""Updates: 37 samples in batches of 4."""


class EitherForm(ToyModel):
    """Takes tokens, or the pooled states that its encoder makes of them."""

    forms: list[str]

    def pooled(self, ids: Tensor, lengths: Tensor) -> Tensor:
        states = self.encoder(ids) * padding_mask(lengths, ids.shape[1])[:, :, None]
        return states.sum(1) / lengths[:, None]

    def forward(self, **inputs: Tensor) -> ModelOutput:  # type: ignore[override]
        features = "pooled" in inputs
        if self.training:
            self.trace.append(int(inputs["marks"].sum()))
            self.forms = [*getattr(self, "forms", []), "features" if features else "inputs"]
        found = inputs["pooled"] if features else self.pooled(inputs["ids"], inputs["lengths"])
        return ModelOutput(self.head(self.norm(torch.tanh(self.hidden(found)))))


class Marked(ToySplit):
    """With a number that tells which samples a batch holds, whatever its form."""

    def batch(self, indices: np.ndarray) -> Batch:
        plain = super().batch(indices)
        marks = (torch.from_numpy(np.asarray(indices)) + 1) * torch.arange(1, len(indices) + 1)
        return Batch({**plain.inputs, "marks": marks}, plain.labels, plain.rows)


class Pooled:
    """The same samples as features of the encoder as it is at first."""

    def __init__(self, split: Marked) -> None:
        self.split, self.labels, self.lengths = split, split.labels, split.lengths
        model = EitherForm(seed=1).eval()
        whole = split.batch(np.arange(len(split.labels)))
        with torch.no_grad():
            self.pooled = model.pooled(whole.inputs["ids"], whole.inputs["lengths"])

    def batch(self, indices: np.ndarray) -> Batch:
        plain = self.split.batch(indices)
        inputs = {"pooled": self.pooled[torch.from_numpy(np.asarray(indices))], "marks": plain.inputs["marks"]}
        return Batch(inputs, plain.labels, plain.rows)


def staged(samples: int, seed: int, epochs: int) -> StagedSplit:
    split = Marked(samples, seed)
    return StagedSplit(Pooled(split), split, epochs)


@dataclass
class Staged(Setup):
    """A training whose first ``stage`` epochs are fed with features."""

    stage: int = 1

    def loader(self, rank: int = 0, processes: int = 1) -> Loader:
        split = staged(self.samples, 0, self.stage)
        weights = (split.labels + 1) / (split.labels + 1).sum() if self.weighted else None
        sizes = {"batch_size": self.batch_size, "accumulation": self.accumulation}
        return Loader(split, **sizes, seed=5, sample_weights=weights, rank=rank, processes=processes)

    def valid(self) -> StagedSplit:
        return staged(15, 1, self.stage)

    def trainer(self, *observers: Any, **named: Any) -> Trainer:
        return super().trainer(*observers, **{**named, "model": EitherForm(dropout=self.dropout)})


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)


def test_the_epoch_alone_decides_the_form() -> None:
    split = staged(9, 0, 2)
    assert [at_epoch(split, epoch) is split.first for epoch in range(4)] == [True, True, False, False]
    assert at_epoch(split.then, 0) is split.then
    batch = split.batch(np.array([3, 1]))
    assert "ids" in batch.inputs


@pytest.mark.parametrize("changes", [{}, {"weighted": True, "accumulation": 2}, {"batch_size": 7}])
def test_the_order_of_samples_does_not_depend_on_the_form(changes: dict[str, Any]) -> None:
    rows = []
    for stage in (0, 2):
        loader = replace(Staged(stage=stage), **changes).loader()
        rows.append([b.rows.tolist() for epoch in range(3) for g in loader.groups(epoch) for b in g.batches])
    assert rows[0] == rows[1]


def test_every_epoch_is_trained_and_validated_in_its_form(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[list[str]] = []

    def watched(model: Any, batches: SplitBatches, *rest: Any) -> Any:
        seen.append([next(iter(batch.inputs)) for _, batch in batches])
        return predict(model, batches, *rest)

    monkeypatch.setattr("counterpoise.engine.trainer.predict", watched)
    trainer = Staged(stage=2, prefetch=2).fit()
    assert trainer.module.forms == ["features"] * 2 * PER_EPOCH + ["inputs"] * PER_EPOCH
    assert [set(forms) for forms in seen] == [{"pooled"}, {"pooled"}, {"ids"}]


def test_a_group_is_split_in_its_own_form() -> None:
    loader = Staged(stage=1).loader()
    for epoch, name in ((0, "pooled"), (1, "ids")):
        group = next(iter(loader.groups(epoch)))
        parts = loader.split(group, 1)
        assert [len(batch) for batch in parts.batches] == [1] * 4
        assert all(name in batch.inputs for batch in parts.batches)


def test_what_rests_is_left_alone_until_its_stage_begins(tmp_path: Path) -> None:
    class AtTheSwitch(Recorder):
        def on_epoch(self, event: Any) -> None:
            super().on_epoch(event)
            if event.epoch == 2:
                self.weight = trainer.module.encoder[0].weight.detach().clone()
                self.state = {id(parameter) for parameter in trainer.optimizer.state}

    recorder = AtTheSwitch()
    trainer = Staged(stage=2).trainer(recorder)  # AdamW with a weight decay of 0.1
    first = trainer.module.encoder[0].weight.detach().clone()
    trainer.fit(Staged(stage=2).loader(), Staged(stage=2).valid())
    embedding = trainer.module.encoder[0].weight
    assert torch.equal(recorder.weight, first), "neither a step nor weight decay"
    assert id(embedding) not in recorder.state
    assert not torch.equal(embedding, first)
    assert trainer.optimizer.state[embedding]["step"].item() == PER_EPOCH
    assert trainer.optimizer.state[trainer.module.head.weight]["step"].item() == 3 * PER_EPOCH
    norms = [event.component_grad_norms for event in recorder.updates.values()]
    assert set(norms[0]) == {"hidden", "norm", "head"}, "what rests has no gradient, rather than one of zero"
    assert set(norms[-1]) == {"encoder", "hidden", "norm", "head"}


# Before the switch, at its last update, at the first behind it, after it; once across all of them.
@pytest.mark.parametrize("cuts", [[7], [20], [21], [26], [3, 19, 20, 21, 29]], ids=str)
@pytest.mark.parametrize(
    "changes",
    [{}, {"weighted": True, "prefetch": 2}, {"precision": "bf16", "schedule": "one_cycle"}, {"checkpoint_updates": 0}],
    ids=str,
)
def test_a_run_that_is_cut_off_ends_with_the_same_bits(
    cuts: list[int], changes: dict[str, Any], tmp_path: Path
) -> None:
    check(replace(Staged(stage=2, checkpoint_updates=2), **changes), cuts, tmp_path)


def test_accumulation_across_the_switch(tmp_path: Path) -> None:
    check(Staged(stage=1, accumulation=3, checkpoint_updates=1), [4, 5], tmp_path)


def treated(folder: Path, after: int, *observers: Any) -> Trainer:
    """Rescued at an update; from the epoch before, where the form may have been the other."""
    config = RescueConfig(attempts=4, lr_factor=0.5, warmup_ratio=0.1)
    setup = Staged(stage=2, folder=folder, rescue=config, schedule="constant", warmup_ratio=0.0)
    return replace(setup, judges=[Doctor(limit=0.006, after=after)]).trainer(*observers)


def test_a_rescue_goes_back_across_the_switch(tmp_path: Path) -> None:
    listener = Listener()
    trainer = treated(tmp_path / "whole", 21, listener)  # the second stage's first update
    trainer.fit(Staged(stage=2).loader(), Staged(stage=2).valid())
    (rescue,) = listener.rescues
    assert (rescue.from_update, rescue.to_epoch) == (21, rescue.to_update // PER_EPOCH + 1)
    assert rescue.to_update < 20, "back in the first stage"
    again = 20 - rescue.to_update
    forms = ["features"] * 20 + ["inputs"] + ["features"] * again + ["inputs"] * 10
    assert trainer.module.forms == forms
    assert len(trainer.history.epochs) == 3


@pytest.mark.parametrize("cut", [15, 21, 23])
def test_a_rescued_run_that_is_cut_off_ends_with_the_same_bits(cut: int, tmp_path: Path) -> None:
    whole = treated(tmp_path / "whole", 21)
    whole.fit(Staged(stage=2).loader(), Staged(stage=2).valid())
    first = treated(tmp_path / "cut", 21, Recorder(cut))
    with pytest.raises(KeyboardInterrupt):
        first.fit(Staged(stage=2).loader(), Staged(stage=2).valid())
    second = treated(tmp_path / "cut", 21)
    second.fit(Staged(stage=2).loader(), Staged(stage=2).valid())
    assert_same_bits(final_state(whole), final_state(second))


def test_both_forms_measure_the_same(tmp_path: Path) -> None:
    trainer = Staged(stage=3, folder=tmp_path).fit()  # the encoder is what it was
    best = CheckpointStore(tmp_path).best()
    assert best is not None
    best.load_model(trainer.module)
    batches = SplitBatches(staged(15, 1, 3), 4)
    features, inputs = (trainer.evaluate(batches.at(epoch)) for epoch in (0, 3))
    np.testing.assert_allclose(features.probabilities, inputs.probabilities, atol=1e-6)
    assert features.rows.tolist() == inputs.rows.tolist()
