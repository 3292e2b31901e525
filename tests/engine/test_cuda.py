"""What only a GPU can show; left out where there is none."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_kit import VOCABULARY, Recorder, Setup, ToySplit, assert_same_bits, final_state
from torch import Tensor, nn

from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.engine.keeper import Weights
from counterpoise.engine.precision import make_fabric
from counterpoise.engine.trainer import Trainer
from counterpoise.guards.causes import Circumstances
from counterpoise.guards.non_finite import NonFiniteConfig, NonFiniteGuard
from counterpoise.models.base import ModelOutput, padding_mask
from counterpoise.optim.adamw import AdamW, AdamWConfig

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


@pytest.fixture(autouse=True)
def _switches_as_before() -> Iterator[None]:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    yield
    torch.set_float32_matmul_precision(before[0])
    torch.backends.cudnn.allow_tf32 = before[1]


class Network(nn.Module):
    """Mean of embeddings with dropout → linear; gives NaN where ``spoilt`` is set."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.embedding = nn.Embedding(VOCABULARY, 16)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(16, 2)
        self.spoilt = False

    def forward(self, ids: Tensor, lengths: Tensor) -> ModelOutput:
        mask = padding_mask(lengths, ids.shape[1])[:, :, None]
        pooled = (self.dropout(self.embedding(ids)) * mask).sum(1) / lengths[:, None]
        logits = self.head(pooled)
        return ModelOutput(logits * math.nan if self.spoilt else logits)


RUN = Circumstances(classes=("0", "1"), weighted=True, precision="fp32", base_lr=0.01, recipe_lr=0.01)


def trainer(precision: Any, *observers: Any, folder: Path | None = None, **more: Any) -> Trainer:
    fabric = make_fabric("cuda", precision)
    model = Network()
    return Trainer(
        model,
        AdamW(AdamWConfig(), model, 0.01),
        Setup().loss(),
        epochs=3,
        fabric=fabric,
        seed=3,
        log_every=1,
        observers=observers,
        checkpoints=None if folder is None else CheckpointStore(folder),
        checkpoint_updates=3,
        **more,
    )


def fit(precision: Any, *observers: Any, **more: Any) -> Trainer:
    made = trainer(precision, *observers, **more)
    made.fit(Setup().loader(), ToySplit(15, 1))
    return made


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_each_precision_trains(precision: str) -> None:
    made = fit(precision, judges=[NonFiniteGuard(NonFiniteConfig(), "stop", RUN)])
    losses = [epoch["train_loss"] for epoch in made.history.epochs]
    assert len(losses) == 3
    assert losses[-1] < losses[0]
    assert all(parameter.dtype == torch.float32 for parameter in made.module.parameters())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gradient_that_is_not_finite_changes_nothing(precision: str) -> None:
    made = trainer(precision)
    groups = list(Setup().loader().groups(0))
    made.updater.run(groups[0])
    before = copy.deepcopy((made.module.state_dict(), made.optimizer.state_dict()))
    made.module.spoilt = True
    made.updater.run(groups[1])
    assert_same_bits(before, (made.module.state_dict(), made.optimizer.state_dict()))
    made.module.spoilt = False
    made.updater.run(groups[2])
    assert not torch.equal(before[0]["head.weight"], made.module.head.weight)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_an_update_waits_for_nothing(precision: str) -> None:
    made = trainer(precision)
    groups = list(made._pinned(Setup().loader().groups(0)))
    made.updater.run(groups[0])  # the first makes the optimizer's state
    torch.cuda.set_sync_debug_mode("error")
    try:
        made.updater.run(groups[1])
    finally:
        torch.cuda.set_sync_debug_mode("default")


def test_batches_drawn_ahead_are_pinned_and_the_same() -> None:
    group = next(trainer("fp32")._pinned(Setup().loader().groups(0)))
    assert all(value.is_pinned() for batch in group.batches for value in (*batch.inputs.values(), batch.labels))
    assert_same_bits(final_state(fit("fp32", prefetch=2)), final_state(fit("fp32", prefetch=0)))


@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_resumed_run_ends_with_the_same_bits(precision: str, tmp_path: Path) -> None:
    whole = fit(precision, folder=tmp_path / "whole")
    for cut in (4, 17):
        with pytest.raises(KeyboardInterrupt):
            fit(precision, Recorder(cut), folder=tmp_path / "cut")
        torch.rand(7, device="cuda")  # what happens in between must not matter
    assert_same_bits(final_state(whole), final_state(fit(precision, folder=tmp_path / "cut")))


def test_tf32_is_switched_both_ways() -> None:
    for tf32 in (True, False):
        make_fabric("cuda", "fp32", tf32=tf32)
        assert torch.backends.cuda.matmul.allow_tf32 is tf32
        assert torch.backends.cudnn.allow_tf32 is tf32


def test_best_weights_that_wait_for_the_disk_leave_the_device() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)}).cuda()
    model["b"].weight = model["a"].weight
    kept = Weights(model).state_dict()
    assert {tensor.device.type for tensor in kept.values()} == {"cpu"}
    assert kept["a.weight"].data_ptr() == kept["b.weight"].data_ptr()
    assert_same_bits(kept, {name: tensor.cpu() for name, tensor in model.state_dict().items()})
