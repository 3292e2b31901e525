"""Out of memory: a model that raises above a size, against a run that began at the small size."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from engine_kit import Recorder, Setup, ToyModel, ToySplit, assert_same_bits, final_state
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from counterpoise.allocation import is_out_of_memory
from counterpoise.data.loader import Group, Loader
from counterpoise.engine.evaluation import SplitBatches
from counterpoise.engine.loaders import ForeignLoader, split_batch
from counterpoise.engine.memory import MemoryPlan
from counterpoise.engine.trainer import Trainer
from counterpoise.errors import OutOfMemoryError
from counterpoise.models.base import ModelOutput

CUDA = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class HungryModel(ToyModel):
    """Has memory for ``room`` samples when it trains, and for ``evaluation_room`` when it does not."""

    def __init__(
        self, room: int, evaluation_room: int = 10**6, at: int = 1, error: Exception = CUDA, **changes: Any
    ) -> None:
        super().__init__(**changes)
        self.room, self.evaluation_room, self.at, self.error = room, evaluation_room, at, error
        self.calls = 0
        self.failures: list[int] = []

    def forward(self, ids: Tensor, lengths: Tensor) -> ModelOutput:
        self.calls += self.training
        room = self.room if self.training else self.evaluation_room
        if len(ids) > room and (self.calls >= self.at or not self.training):
            self.failures.append(len(ids))
            raise type(self.error)(*self.error.args)
        return super().forward(ids, lengths)


def run(folder: Path | None, model: ToyModel, *observers: Any, **changes: Any) -> Trainer:
    setup = Setup(folder=folder, samples=40, epochs=2, **changes)
    trainer = setup.trainer(*observers, model=model)
    trainer.fit(setup.loader(), ToySplit(15, 1))
    return trainer


# 8 samples at once fail from the first (or a later) update on, 4 fail too, 2 fit.
@pytest.mark.parametrize("at", [1, 3])
@pytest.mark.parametrize("prefetch", [0, 2])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_same_weights_as_a_run_that_began_small(at: int, prefetch: int, weighted: bool) -> None:
    changes = {"dropout": 0.3, "penalty": 0.1}
    settings = {"weighted": weighted, "prefetch": prefetch}
    hungry = HungryModel(2, at=at, **changes)
    halved = run(None, hungry, batch_size=8, accumulation=2, **settings)
    assert hungry.failures == [8, 4]
    assert halved.state.memory.micro_batch == 2
    if at == 1:
        small = run(None, ToyModel(**changes), batch_size=2, accumulation=8, **settings)
        assert_same_bits(final_state(small), final_state(halved))
    assert halved.position.update == 2 * 3  # 40 samples, 16 an update


# Without dropout even the updates before the failure are those of the small run, up to rounding.
def test_the_effective_batch_and_the_order_stay() -> None:
    halved = run(None, HungryModel(2, at=3), batch_size=8, accumulation=2, precision="fp64")
    small = run(None, ToyModel(), batch_size=2, accumulation=8, precision="fp64")
    for name, value in small.module.state_dict().items():
        torch.testing.assert_close(halved.module.state_dict()[name], value, rtol=1e-9, atol=1e-11)


CPU_ERRORS = {
    "PyTorch's allocator": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
        "you tried to allocate 613941248 bytes. Error code 12 (Cannot allocate memory)"
    ),
    "C++": RuntimeError("std::bad_alloc"),
    "oneDNN": RuntimeError("could not create a primitive"),
    "NumPy and Python": MemoryError("Unable to allocate 7.45 GiB"),
    "a system call": OSError(errno.ENOMEM, "Cannot allocate memory"),
}


@pytest.mark.parametrize("kind", CPU_ERRORS)
def test_a_cpu_is_halved_for_as_a_gpu_is(kind: str, caplog: pytest.LogCaptureFixture) -> None:
    hungry = HungryModel(2, error=CPU_ERRORS[kind])
    halved = run(None, hungry, batch_size=8, accumulation=2)
    small = run(None, ToyModel(), batch_size=2, accumulation=8)
    assert hungry.failures == [8, 4]
    assert_same_bits(final_state(small), final_state(halved))
    evaluated = run(None, HungryModel(100, evaluation_room=4, error=CPU_ERRORS[kind]))
    assert evaluated.state.memory.evaluation_batch == 4
    assert "alloc_cpu.cpp" not in caplog.text
    with pytest.raises(OutOfMemoryError, match="cannot be made smaller"):
        run(None, HungryModel(0, error=CPU_ERRORS[kind]), batch_size=4)


def test_another_error_is_none_of_memory() -> None:
    with pytest.raises(RuntimeError, match="mat1 and mat2"):
        run(None, HungryModel(2, error=RuntimeError("mat1 and mat2 shapes cannot be multiplied")), batch_size=4)


def test_a_real_allocation_that_fails_is_seen_as_one() -> None:
    for allocate in (
        lambda: torch.empty(2**59),
        lambda: np.empty(2**59),
        lambda: bytearray(2**61),
        lambda: pa.allocate_buffer(2**59),
    ):
        with pytest.raises((RuntimeError, MemoryError)) as caught:
            allocate()
        assert is_out_of_memory(caught.value), repr(caught.value)


def test_an_odd_batch() -> None:
    hungry = HungryModel(2)
    halved = run(None, hungry, batch_size=5)
    assert hungry.failures == [5, 3]
    assert halved.state.memory.micro_batch == 2


def test_the_size_is_remembered_over_a_resume(tmp_path: Path) -> None:
    whole = run(tmp_path / "whole", HungryModel(2, dropout=0.2), batch_size=8)
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "killed", HungryModel(2, dropout=0.2), Recorder(fail_at=4), batch_size=8)
    again = HungryModel(2, dropout=0.2)
    resumed = run(tmp_path / "killed", again, batch_size=8)
    assert again.failures == []
    assert_same_bits(final_state(whole), final_state(resumed))


def test_one_sample_that_does_not_fit() -> None:
    with pytest.raises(OutOfMemoryError, match=r"cannot be made smaller: CUDA out of memory\..*encoding.max_length"):
        run(None, HungryModel(0), batch_size=4)


def test_evaluation_is_halved_too(caplog: pytest.LogCaptureFixture) -> None:
    hungry = HungryModel(100, evaluation_room=4, seed=1)
    trainer = run(None, hungry)
    assert trainer.state.memory.evaluation_batch == 4
    assert hungry.failures == [15, 8]  # all at once, then 8, in the first epoch only
    plain = run(None, ToyModel(seed=1))
    for one, other in zip(trainer.history.epochs, plain.history.epochs, strict=True):
        assert one["valid"]["loss"] == pytest.approx(other["valid"]["loss"], rel=1e-6)
    assert "going on with 8" in caplog.text
    hungry.failures.clear()
    trainer.evaluate(SplitBatches(ToySplit(15, 1), 64))  # the last measurement too
    assert hungry.failures == []


def test_a_users_own_loader_is_split() -> None:
    x, y = torch.randn(24, 20, generator=torch.Generator().manual_seed(0)), torch.arange(24) % 2

    class Hungry(nn.Linear):
        limit = 3

        def forward(self, given: Tensor) -> Tensor:
            if self.training and len(given) > self.limit:
                raise torch.OutOfMemoryError("no")
            return super().forward(given)

    def train(limit: int, size: int, accumulation: int) -> Tensor:
        torch.manual_seed(0)
        model = Hungry(20, 2)
        model.limit = limit
        loader = DataLoader(TensorDataset(x, y), batch_size=size)
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), epochs=2, accumulation=accumulation)
        trainer.fit(loader, loader)
        return model.weight.detach()

    assert torch.equal(train(3, 12, 1), train(99, 3, 4))


def test_a_batch_that_cannot_be_split_says_why() -> None:
    x = torch.zeros(7, 3)
    batch = next(iter(ForeignLoader([({"nodes": x, "labels": torch.zeros(4).long()})]).groups(0))).batches[0]
    with pytest.raises(OutOfMemoryError, match=r"\(7, 3\)\) does not have the 4 samples first"):
        split_batch(batch, 2)


class Long(nn.Module):
    """Has memory for so many tokens, padding aside."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.failures: list[int] = []
        self.sizes: list[int] = []
        self.linear = nn.Linear(1, 2)

    def forward(self, ids: Tensor, lengths: Tensor) -> ModelOutput:
        tokens = int(lengths.sum())
        if tokens > self.room:
            self.failures.append(tokens)
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        self.sizes.append(tokens)
        return ModelOutput(self.linear(lengths[:, None].float()))


# Where tokens bound micro-batches, tokens are halved: short samples still go together after long ones did not fit.
def test_tokens_are_halved_where_they_bound_batches(caplog: pytest.LogCaptureFixture) -> None:
    split = ToySplit(40, 1)
    total, longest = int(split.lengths.sum()), int(split.lengths.max())
    model = Long(total // 8)
    assert longest < model.room
    loader = Loader(split, batch_size=40, batch_tokens=total)
    (group,) = loader.groups(0)
    memory = MemoryPlan()

    def attempt(group: Group) -> int:
        for batch in group.batches:
            model(**batch.inputs)  # type: ignore[arg-type]
        return len(group.batches)

    batches = memory.train(group, loader, attempt)
    assert model.failures[0] == total
    assert all(tokens <= model.room for tokens in model.sizes)
    assert batches < 40, "samples still share batches"
    assert "tokens at once in training" in caplog.text
    before = len(model.failures)
    memory.train(next(iter(loader.groups(1))), loader, attempt)
    assert len(model.failures) == before
    memory.evaluate(SplitBatches(split, 40, total), lambda found: [model(**b.inputs) for _, b in found])
    assert memory.evaluation_batch is not None
    assert longest <= memory.evaluation_batch <= model.room
    with pytest.raises(OutOfMemoryError):
        memory.evaluate(SplitBatches(split, 40, total), lambda found: [Long(1)(**b.inputs) for _, b in found])
    model.room = 1
    with pytest.raises(OutOfMemoryError):
        memory.train(group, loader, attempt)
