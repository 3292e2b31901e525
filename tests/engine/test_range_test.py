"""The range test measures what it says, and leaves nothing behind: complete states before and after are the same."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from engine_kit import Setup, ToySplit, assert_same_bits, final_state
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from counterpoise.engine.precision import make_fabric
from counterpoise.engine.range_test import range_test
from counterpoise.engine.rng import random_state, seed_update
from counterpoise.engine.trainer import Trainer
from counterpoise.optim.lr_finder import LRRangeTestConfig

CONFIG = LRRangeTestConfig(updates=30, end=10.0)


def complete_state(trainer: Trainer) -> dict[str, Any]:
    """All that training changes, copied."""
    module, scaler = trainer.module, trainer.updater.scaler
    state = {
        **final_state(trainer),
        "buffers": dict(module.named_buffers()),
        "gradients": [parameter.grad for parameter in module.parameters()],
        "modes": [part.training for part in module.modules()],
        "loss": dict(trainer.loss.named_buffers()),
        "scaler": scaler.state_dict() if scaler is not None else None,
        "random": random_state(),
        "tally": trainer.state.tally.state_dict(),
        "norms": dict(trainer.updater.component_norms),
        "judges": [judge.state_dict() for judge in trainer.judges],
    }
    copied: dict[str, Any] = torch.utils._pytree.tree_map(
        lambda v: v.clone() if isinstance(v, torch.Tensor) else v, state
    )
    return copied


CHANGES: list[dict[str, Any]] = [
    {},
    {"accumulation": 2, "weighted": True, "dropout": 0.5},
    {"precision": "bf16", "schedule": "one_cycle"},
    {"precision": "fp16", "schedule": "plateau"},
    {"precision": "fp64", "penalty": 0.3, "clip_norm": None},
]


@pytest.mark.parametrize("changes", CHANGES, ids=str)
@pytest.mark.parametrize("fitted", [False, True])
def test_everything_is_as_it_was(changes: dict[str, Any], fitted: bool) -> None:
    setup = replace(Setup(epochs=1), **changes)
    trainer = setup.fit() if fitted else setup.trainer()
    trainer.module.eval()
    trainer.module.head.train()
    random.seed(3)
    np.random.seed(4)
    torch.manual_seed(5)
    before, identities = complete_state(trainer), [id(p) for p in trainer.module.parameters()]
    weights = trainer.module.head.weight.detach().clone()
    seen: list[torch.Tensor] = []
    hook = trainer.module.head.register_forward_hook(
        lambda *_: seen.append(trainer.module.head.weight.detach().clone())
    )
    curve = range_test(trainer, setup.loader(), CONFIG)
    hook.remove()
    assert len(curve.losses) > 10
    assert not torch.equal(seen[-1], weights), "it did train"
    assert_same_bits(before, complete_state(trainer))
    assert [id(p) for p in trainer.module.parameters()] == identities
    assert bool(trainer.optimizer.state) == fitted


def test_what_comes_after_has_the_same_bits_as_without_it() -> None:
    setup = Setup(accumulation=2, weighted=True, dropout=0.5)
    plain = setup.fit()
    tested = setup.trainer()
    range_test(tested, setup.loader(), CONFIG)
    tested.fit(setup.loader(), ToySplit(15, 1))
    assert_same_bits(final_state(plain), final_state(tested))


def test_an_update_that_raises_leaves_everything_too(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Setup().trainer()
    gradients, calls = trainer.updater.gradients, []

    def fail_later(*args: Any, **named: Any) -> Any:
        calls.append(1)
        if len(calls) == 7:
            raise RuntimeError("a fault")
        return gradients(*args, **named)

    monkeypatch.setattr(trainer.updater, "gradients", fail_later)
    before = complete_state(trainer)
    with pytest.raises(RuntimeError, match="a fault"):
        range_test(trainer, Setup().loader(), CONFIG)
    assert_same_bits(before, complete_state(trainer))


class Counting(nn.Module):
    """Batch normalisation, and a buffer that is put anew at each forward pass."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(4)
        self.head = nn.Linear(4, 2)
        self.register_buffer("calls", torch.zeros(1), persistent=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls = self.calls + 1
        return self.head(self.norm(x))


def test_buffers_gradients_and_a_loaders_own_generator_are_as_they_were() -> None:
    torch.manual_seed(0)
    model = Counting()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), epochs=1)
    model(torch.ones(3, 4)).sum().backward()
    data = TensorDataset(torch.randn(40, 4), torch.arange(40) % 2)
    loader = DataLoader(data, batch_size=4, shuffle=True, generator=torch.Generator().manual_seed(9))
    before, generator = complete_state(trainer), loader.generator.get_state()
    calls = model.calls
    range_test(trainer, loader, CONFIG)
    assert_same_bits(before, complete_state(trainer))
    assert model.calls is calls
    assert torch.equal(loader.generator.get_state(), generator)


def by_hand(setup: Setup, config: LRRangeTestConfig) -> list[float]:
    """The same losses from a loop written out."""
    trainer, loader = setup.trainer(), setup.loader()
    trainer.model.train()
    groups = [group for epoch in range(config.updates) for group in loader.groups(epoch)]
    losses = []
    for number, lr in enumerate(np.geomspace(config.start, config.end, config.updates)):
        for settings in trainer.optimizer.param_groups:
            settings["lr"] = lr * (2.0 if settings["name"].startswith("head") else 1.0)
        seed_update(11, 0, number, torch.device("cpu"))
        total, weight, _ = trainer.updater.run(groups[number]).figures.tolist()
        losses.append(total / weight)
    return losses


def test_the_losses_are_those_of_a_loop_written_out_over_several_epochs() -> None:
    setup = Setup(accumulation=2, weighted=True)
    config = LRRangeTestConfig(updates=40, start=1e-5, end=0.1)
    assert setup.loader().updates_per_epoch < config.updates
    curve = range_test(setup.trainer(), setup.loader(), config)
    assert curve.ended == "complete"
    assert curve.lrs == pytest.approx(np.geomspace(1e-5, 0.1, 40))
    assert curve.losses == pytest.approx(by_hand(setup, config), rel=1e-12)


def test_group_ratios_stay_whatever_the_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = Setup(schedule="linear_warmup", warmup_ratio=0.5).trainer()
    groups = trainer.optimizer.param_groups
    run, seen = trainer.updater.run, []

    def watch(group: Any) -> Any:
        seen.append([settings["lr"] for settings in groups])
        return run(group)

    monkeypatch.setattr(trainer.updater, "run", watch)
    curve = range_test(trainer, Setup().loader(), CONFIG)
    factors = [2.0 if settings["name"].startswith("head") else 1.0 for settings in groups]
    for lr, rates in zip(curve.lrs, seen, strict=False):
        assert rates == pytest.approx([lr * factor for factor in factors])


def exploding(after: float, to: float) -> Trainer:
    """One weight whose loss is ``to`` as soon as it has moved by ``after``."""

    class Cliff(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(2))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            loud = to if float(self.weight.detach().abs().max()) > after else 1.0
            return (x[:, :2] * 0 + self.weight) * loud

    model = Cliff()
    return Trainer(model, torch.optim.SGD(model.parameters(), lr=1.0), nn.CrossEntropyLoss(), epochs=1, clip_norm=None)


def one_class() -> DataLoader[Any]:
    return DataLoader(TensorDataset(torch.randn(8, 3), torch.ones(8).long()), batch_size=4)


def test_a_loss_that_is_not_finite_ends_it_and_is_no_part_of_the_curve() -> None:
    curve = range_test(exploding(0.1, float("inf")), one_class(), CONFIG)
    assert curve.ended == "not_finite"
    assert 0 < len(curve.losses) < CONFIG.updates
    assert np.isfinite(curve.losses).all()


def test_a_loss_that_diverges_ends_it() -> None:
    curve = range_test(exploding(0.1, -1e6), one_class(), CONFIG)
    assert curve.ended == "diverged"
    assert len(curve.losses) < CONFIG.updates


def test_a_loader_that_is_used_up_ends_it() -> None:
    class Once:
        def __init__(self) -> None:
            self.items = iter([(torch.randn(4, 4), torch.arange(4) % 2)] * 5)

        def __len__(self) -> int:
            return 5

        def __iter__(self) -> Any:
            return self.items

    trainer = Trainer(model := Counting(), torch.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss(), epochs=1)
    assert len(range_test(trainer, Once(), CONFIG).losses) == 5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_everything_is_as_it_was_on_a_gpu(precision: Any) -> None:
    setup = Setup(dropout=0.5)
    trainer = setup.trainer()
    model = trainer.module
    moved = Trainer(
        model,
        torch.optim.AdamW(model.parameters(), lr=0.01, fused=True),
        setup.loss(),
        epochs=1,
        fabric=make_fabric("cuda", precision),
    )
    before = complete_state(moved)
    assert len(range_test(moved, setup.loader(), CONFIG).losses) > 10
    assert_same_bits(before, complete_state(moved))
