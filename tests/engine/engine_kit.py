"""A tiny task, model and trainer for the tests of the engine, and for the scripts that they kill."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from counterpoise.data.encode.base import Batch
from counterpoise.data.loader import Loader
from counterpoise.data.ragged import Ragged
from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.engine.precision import make_fabric
from counterpoise.engine.trainer import Trainer
from counterpoise.events import BaseObserver, EpochEvent, UpdateEvent
from counterpoise.guards.early_stopping import EarlyStopping, EarlyStoppingConfig
from counterpoise.losses import CrossEntropy, CrossEntropyConfig, Loss, LossContext
from counterpoise.metrics import Objective, ObjectiveConfig
from counterpoise.models.base import ModelOutput, padding_mask
from counterpoise.optim import schedules
from counterpoise.optim.adamw import AdamW, AdamWConfig

VOCABULARY = 20


class ToySplit:
    """Random sequences whose label depends on their tokens."""

    def __init__(self, n: int, seed: int = 0, n_classes: int = 2) -> None:
        rng = np.random.default_rng(seed)
        items = [rng.integers(1, VOCABULARY, size=rng.integers(1, 9)) for _ in range(n)]
        self.ids = Ragged.from_items(items)
        self.labels = np.array([int(item.sum()) % n_classes for item in items], np.int64)

    @property
    def lengths(self) -> np.ndarray:
        return self.ids.lengths

    def batch(self, indices: np.ndarray) -> Batch:
        ids = torch.from_numpy(self.ids.gather(indices, 0)).long()
        inputs = {"ids": ids, "lengths": torch.from_numpy(self.lengths[indices])}
        return Batch(inputs, torch.from_numpy(self.labels[indices]), torch.from_numpy(np.asarray(indices)))


class ToyModel(nn.Module):
    """Mean of embeddings → tanh → linear. ``trace`` keeps what it was trained on, in order."""

    def __init__(self, n_classes: int = 2, dropout: float = 0.0, penalty: float = 0.0, seed: int = 1) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.encoder = nn.Sequential(nn.Embedding(VOCABULARY, 6), nn.Dropout(dropout))
        self.hidden = nn.Linear(6, 5)
        self.norm = nn.LayerNorm(5)
        self.head = nn.Linear(5, n_classes)
        self.penalty = penalty
        self.trace: list[int] = []

    def forward(self, ids: Tensor, lengths: Tensor) -> ModelOutput:
        if self.training:
            self.trace.append(int((ids * torch.arange(1, ids.shape[1] + 1)).sum()))
        mask = padding_mask(lengths, ids.shape[1])[:, :, None]
        states = self.encoder(ids) * mask
        pooled = states.sum(1) / lengths[:, None]
        hidden = self.norm(torch.tanh(self.hidden(pooled)))
        penalty = self.penalty * hidden.square().sum(1).mean() if self.penalty else None
        return ModelOutput(self.head(hidden), penalty)


class Recorder(BaseObserver):
    """Keeps every event, and can raise at an update."""

    def __init__(self, fail_at: int | None = None) -> None:
        self.fail_at = fail_at
        self.updates: dict[int, UpdateEvent] = {}
        self.epochs: list[EpochEvent] = []
        self.calls: list[str] = []

    def on_start(self, plan: Any) -> None:
        self.calls.append("start")
        self.plan = dict(plan)

    def on_update(self, event: UpdateEvent) -> None:
        self.calls.append("update")
        self.updates[event.update] = event
        if event.update == self.fail_at:
            raise KeyboardInterrupt(f"killed at update {event.update}")

    def on_epoch(self, event: EpochEvent) -> None:
        self.calls.append("epoch")
        self.epochs.append(event)

    def on_finish(self, verdict: Any) -> None:
        self.calls.append("finish")
        self.verdict = verdict


@dataclass
class Setup:
    """Everything that a training run of these tests depends on."""

    folder: Path | None = None
    schedule: str = "linear_warmup"
    precision: str = "fp32"
    batch_size: int = 4
    accumulation: int = 1
    samples: int = 37
    epochs: int = 3
    dropout: float = 0.2
    weighted: bool = False
    prefetch: int = 0
    checkpoint_updates: int = 3
    log_every: int = 1
    patience: int = 9
    penalty: float = 0.0
    warmup_ratio: float = 0.3
    n_classes: int = 2
    lr: float = 0.01
    clip_norm: float | None = 1.0
    judges: list[Any] = field(default_factory=list)
    rescue: Any = None

    def loss(self) -> Loss:
        counts = np.arange(1, self.n_classes + 1)
        names = tuple(map(str, range(self.n_classes)))
        weights = np.linspace(0.7, 1.6, self.n_classes).astype(np.float32)
        return CrossEntropy(CrossEntropyConfig(label_smoothing=0.1), LossContext(counts, names, weights))

    def loader(self, rank: int = 0, processes: int = 1) -> Loader:
        split = ToySplit(self.samples, 0, self.n_classes)
        weights = (split.labels + 1) / (split.labels + 1).sum() if self.weighted else None
        return Loader(
            split,
            batch_size=self.batch_size,
            accumulation=self.accumulation,
            seed=5,
            sample_weights=weights,
            rank=rank,
            processes=processes,
        )

    def trainer(
        self, *observers: Any, devices: int = 1, loss: Loss | None = None, model: ToyModel | None = None
    ) -> Trainer:
        model = model or ToyModel(self.n_classes, self.dropout, self.penalty)
        config = AdamWConfig(lr=self.lr, lr_factors={"head": 2.0}, weight_decay=0.1)
        objective = Objective(ObjectiveConfig(metric="log_loss"))
        fabric = make_fabric("cpu", self.precision, devices=devices)  # type: ignore[arg-type]
        if self.precision == "fp64":
            model.double()
        optimizer = AdamW(config, model, self.lr)
        per_epoch = math.ceil(self.samples / (self.batch_size * self.accumulation * devices))
        horizon = schedules.Horizon(per_epoch * self.epochs, self.warmup_ratio, objective.maximise)
        return Trainer(
            model,
            optimizer,
            loss or self.loss(),
            epochs=self.epochs,
            schedule=make_schedule(self.schedule, optimizer, horizon),
            objective=objective,
            fabric=fabric,
            clip_norm=self.clip_norm,
            seed=11,
            log_every=self.log_every,
            prefetch=self.prefetch,
            observers=observers,
            judges=[EarlyStopping(EarlyStoppingConfig(patience=self.patience), objective), *self.judges],
            rescue=self.rescue,
            checkpoints=CheckpointStore(self.folder) if self.folder is not None else None,
            checkpoint_updates=self.checkpoint_updates,
        )

    def valid(self) -> Any:
        return ToySplit(15, 1, self.n_classes)

    def fit(self, *observers: Any) -> Trainer:
        trainer = self.trainer(*observers)
        trainer.fit(self.loader(), self.valid())
        return trainer


SCHEDULES = {
    "constant": schedules.Constant,
    "linear_warmup": schedules.LinearWarmup,
    "cosine_warmup": schedules.CosineWarmup,
    "one_cycle": schedules.OneCycle,
    "plateau": schedules.Plateau,
    "step": schedules.Step,
}
PER_EPOCH = {"plateau": {"patience": 0, "factor": 0.5}, "step": {"every": 1, "factor": 0.5}}


def make_schedule(name: str, optimizer: Any, horizon: schedules.Horizon) -> schedules.Schedule:
    kind = SCHEDULES[name]
    return kind(kind.Config(**PER_EPOCH.get(name, {})), optimizer, horizon)  # type: ignore[call-arg]


def leaves(value: Any, where: str = "") -> Iterator[tuple[str, Any]]:
    """All tensors and plain values of nested containers, by path."""
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from leaves(item, f"{where}[{index}]")
    else:
        yield where, value


def final_state(trainer: Trainer) -> dict[str, Any]:
    """All that two runs must agree on, wall time aside."""
    history = asdict(trainer.history)
    for epoch in history["epochs"]:
        epoch.pop("seconds")
    return {
        "model": dict(trainer.module.state_dict()),
        "optimizer": trainer.optimizer.state_dict(),
        "schedule": trainer.schedule.state_dict() if trainer.schedule is not None else None,
        "history": history,
        "position": asdict(trainer.position),
    }


def assert_same_bits(one: Any, other: Any) -> None:
    """Every leaf equal, tensors bit for bit."""
    first, second = dict(leaves(one)), dict(leaves(other))
    assert first.keys() == second.keys()
    for where, value in first.items():
        if isinstance(value, Tensor):
            assert torch.equal(value, second[where]), where
        elif isinstance(value, float) and math.isnan(value):
            assert math.isnan(second[where]), where
        else:
            assert value == second[where], where
