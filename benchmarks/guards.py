"""What watching costs: the collapse guard's counting on the device, and its judging, as a share of an update.

    python benchmarks/guards.py [--rounds 5] [--updates 300]

A small TextCNN and a small transformer (from scratch, 128 wide, one layer) on generated tokens, batch 32. Within one
process two trainers of the same model take turns, one with everything that guards need, one without, update by update;
the ratio is of medians. The second figure times the counting alone, against the same updates.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from counterpoise.data.encode.base import Batch
from counterpoise.data.loader import Group, Loader
from counterpoise.engine.trainer import Trainer
from counterpoise.engine.watch import Watch
from counterpoise.events import UpdateEvent
from counterpoise.guards.causes import Circumstances
from counterpoise.guards.collapse import CollapseConfig, CollapseGuard
from counterpoise.guards.non_finite import NonFiniteConfig, NonFiniteGuard
from counterpoise.losses import CrossEntropy, CrossEntropyConfig, LossContext
from counterpoise.models.base import Model, ModelContext
from counterpoise.models.textcnn import TextCNN, TextCNNConfig
from counterpoise.models.transformer import Transformer, TransformerConfig

VOCABULARY, LENGTH, BATCH, LOG_EVERY = 4096, 128, 32, 10
CONTEXT = ModelContext((0.5, 0.5), {"vocab_size": VOCABULARY, "pad_id": 0, "max_length": LENGTH})


class Tokens:
    """Random tokens, two classes."""

    def __init__(self, size: int) -> None:
        rng = np.random.default_rng(0)
        self.ids = torch.from_numpy(rng.integers(1, VOCABULARY, (size, LENGTH)))
        self.labels: NDArray[np.int64] = rng.integers(0, 2, size)
        self.lengths: NDArray[np.int64] = np.full(size, LENGTH)

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The samples at ``indices``."""
        lengths = torch.full((len(indices),), LENGTH)
        inputs = {"ids": self.ids[indices], "lengths": lengths}
        return Batch(inputs, torch.from_numpy(self.labels[indices]), torch.from_numpy(indices))


class Blind(Watch):
    """Counts nothing."""

    def begin(self) -> None:
        """Nothing."""

    def batch(self, logits: Tensor, labels: Tensor) -> None:
        """Nothing."""

    def update(self, total: Tensor, weight: Tensor, norm: Tensor, *, scaled: bool) -> None:
        """Nothing."""


def make(name: str) -> Model:
    """A small model."""
    torch.manual_seed(0)
    return Transformer(TransformerConfig(), CONTEXT) if name == "transformer" else TextCNN(TextCNNConfig(), CONTEXT)


def make_trainer(name: str, *, watched: bool) -> Trainer:
    """A trainer whose updates are counted, or not."""
    model = make(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    context = LossContext(np.array([50, 50]), ("no", "yes"))
    trainer = Trainer(model, optimizer, CrossEntropy(CrossEntropyConfig(), context), epochs=1)
    trainer.model.train()
    if not watched:
        trainer.updater.watch = Blind()
    return trainer


class Guards:
    """Both guards, fed as the loop feeds them."""

    def __init__(self) -> None:
        collapse = CollapseGuard(CollapseConfig(), "stop", CIRCUMSTANCES)
        self.judges = (collapse, NonFiniteGuard(NonFiniteConfig(), "stop", CIRCUMSTANCES))

    def look(self, trainer: Trainer, update: int, figures: Tensor) -> None:
        """A logged update: read the counts, and judge."""
        total, weight, norm = figures.tolist()
        reading = vars(trainer.updater.watch.read())
        event = UpdateEvent(update, 5, total / weight, 1e-3, norm, 0, 0.0, **reading)
        for judge in self.judges:
            judge.after_update(event)


CIRCUMSTANCES = Circumstances(classes=("no", "yes"), weighted=True, precision="fp32", base_lr=1e-3, recipe_lr=1e-3)


def groups(count: int) -> Iterator[Group]:
    """As many groups as asked for."""
    loader = Loader(Tokens(BATCH * 64), batch_size=BATCH, bucket=False)
    drawn = list(loader.groups(0))
    return (drawn[number % len(drawn)] for number in range(count))


def measure(name: str, updates: int) -> tuple[float, float, float]:
    """Median seconds of an update without, with counting, and mean seconds of counting and judging alone."""
    blind, watched, guards = make_trainer(name, watched=False), make_trainer(name, watched=True), Guards()
    times: dict[bool, list[float]] = {False: [], True: []}
    for number, group in enumerate(groups(updates), start=1):
        for trainer in (blind, watched) if number % 2 else (watched, blind):
            begin = time.perf_counter()
            result = trainer.updater.run(group)
            if trainer is watched and number % LOG_EVERY == 0:
                guards.look(watched, number, result.figures)
            times[trainer is watched].append(time.perf_counter() - begin)
    own = time_alone(guards, watched, updates)
    return statistics.median(times[False]), statistics.median(times[True]), own


def time_alone(guards: Guards, trainer: Trainer, updates: int) -> float:
    """Seconds per update of what guards add: counting at every one, reading and judging at every tenth."""
    watch, logits = trainer.updater.watch, torch.randn(BATCH, 2)
    labels, norm = torch.randint(0, 2, (BATCH,)), torch.tensor(1.0)
    loss, weight = torch.tensor(22.4), torch.tensor(float(BATCH))
    figures: Any = torch.tensor([22.4, 32.0, 1.0])
    begin = time.perf_counter()
    for number in range(1, updates + 1):
        watch.begin()
        watch.batch(logits, labels)
        watch.update(loss, weight, norm, scaled=False)
        if number % LOG_EVERY == 0:
            guards.look(trainer, number, figures)
    return (time.perf_counter() - begin) / updates


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--updates", type=int, default=300)
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in ("textcnn", "transformer"):
        rounds = [measure(name, options.updates) for _ in range(options.rounds)]
        without, with_guards, own = (statistics.median(column) for column in zip(*rounds, strict=True))
        shares = [one[2] / one[0] for one in rounds]
        print(
            f"{name:12} update {without * 1e3:.2f} ms, with guards {with_guards * 1e3:.2f} ms "
            f"(ratio {with_guards / without:.4f}); counting and judging alone {own * 1e6:.0f} µs = "
            f"{statistics.median(shares):.2%} of an update ({min(shares):.2%} to {max(shares):.2%})"
        )


if __name__ == "__main__":
    main()
