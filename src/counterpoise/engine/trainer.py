"""The training loop.

In order: draw the group's micro-batches → weight of the group → forward and backward per micro-batch → norm, clip, step
→ schedule → observers → verdict. Nothing is read from the device between two logged updates. Checkpoints are written at
update boundaries only, and everything random is a function of (seed, epoch, update), so a resumed run continues with
the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn
from torch.optim import Optimizer

from counterpoise.data.encode.base import EncodedSplit
from counterpoise.data.loader import Group, Loader, prefetch
from counterpoise.engine.checkpoints import Checkpoint, CheckpointStore
from counterpoise.engine.evaluation import IndexedBatches, SplitBatches, predict
from counterpoise.engine.loaders import ForeignBatches, ForeignLoader, GroupSource
from counterpoise.engine.precision import make_fabric, scaler_of
from counterpoise.engine.rng import random_state, seed_update, set_random_state
from counterpoise.engine.update import Updater, UpdateResult
from counterpoise.events import CONTINUE, Decision, EpochEvent, Judge, Observer, UpdateEvent, Verdict, strongest
from counterpoise.losses import Loss
from counterpoise.metrics import Objective, ObjectiveConfig
from counterpoise.optim.adamw import components
from counterpoise.optim.schedules import Schedule


@dataclass
class Position:
    """Where a run stands. All of it is in every checkpoint."""

    epoch: int = 0
    """The epoch being trained, zero-based; equal to the number of epochs when all are done."""
    consumed: int = 0
    """Samples of this epoch that have been trained on, over all processes."""
    update: int = 0
    """Optimizer updates since the start of the run."""
    skipped: int = 0
    """Updates whose step the gradient scaler skipped."""


@dataclass
class History:
    """What training went through, and how it ended."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    """One :class:`~counterpoise.events.EpochEvent` per epoch, as a dictionary."""
    best_epoch: int | None = None
    best_score: float | None = None
    verdict: Verdict = CONTINUE
    """Why training ended; ``CONTINUE`` means that it ran all its epochs."""


class Trainer:
    """Trains any classifier that maps inputs to logits; see ``docs/trainer.md`` for use with your own pieces.

    Args:
        model: returns logits ``[B, C]`` or a :class:`~counterpoise.models.base.ModelOutput`.
        optimizer: over the model's parameters.
        loss: a :class:`~counterpoise.losses.Loss`.
        epochs: how many to train at most.
        classes: class names; the metrics are named by them.
        schedule: stepped per update or per epoch, as it says.
        objective: the validation metric that decides; ``f1`` by default.
        fabric: device, precision and processes; by default this machine's CPU in fp32.
        accumulation: micro-batches per update, for a loader that is not this package's :class:`Loader`.
        clip_norm: largest gradient norm; ``None`` does not clip.
        seed: what dropout draws from, with the update's number.
        log_every: updates between two readings of loss and norm.
        evaluation_batch: samples per batch when an encoded split is validated on.
        prefetch: groups that a thread draws ahead.
        observers: told of every logged update and every epoch.
        judges: asked after them; the strongest verdict is obeyed.
        checkpoints: where to keep state; ``None`` keeps none.
        checkpoint_updates: updates between two checkpoints; 0 saves at the end of epochs only.
        checkpoint_seconds: seconds between two checkpoints, beside those; 0 for none.
        compile: run the model through ``torch.compile``.
    """

    model: _FabricModule
    """As wrapped by Fabric."""
    module: nn.Module
    """As it was given; the same parameters."""
    position: Position
    history: History

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        loss: Loss,
        *,
        epochs: int,
        classes: Sequence[str] = ("0", "1"),
        schedule: Schedule | None = None,
        objective: Objective | None = None,
        fabric: Fabric | None = None,
        accumulation: int = 1,
        clip_norm: float | None = 1.0,
        seed: int = 0,
        log_every: int = 10,
        evaluation_batch: int = 64,
        prefetch: int = 0,
        observers: Sequence[Observer] = (),
        judges: Sequence[Judge] = (),
        checkpoints: CheckpointStore | None = None,
        checkpoint_updates: int = 0,
        checkpoint_seconds: float = 0.0,
        compile: bool = False,
    ) -> None:
        self.fabric = fabric or make_fabric("cpu", "fp32")
        self.module = model
        self.optimizer = optimizer
        self.model, wrapped = self.fabric.setup(_compiled(model) if compile else model, optimizer)
        self.loss = loss.to(self.fabric.device)
        self.updater = Updater(self.fabric, self.model, wrapped, self.loss, clip_norm, components(model))
        self.epochs = epochs
        self.classes = tuple(classes)
        self.schedule = schedule
        self.objective = objective or Objective(ObjectiveConfig())
        self.accumulation = accumulation
        self.seed = seed
        self.log_every = log_every
        self.evaluation_batch = evaluation_batch
        self.prefetch = prefetch
        self.observers = list(observers)
        self.judges = list(judges)
        self.checkpoints = checkpoints
        self.checkpoint_updates = checkpoint_updates
        self.checkpoint_seconds = checkpoint_seconds
        self.position = Position()
        self.history = History()
        self._reset_epoch()

    def fit(self, train: Loader | Iterable[Any], valid: EncodedSplit | Iterable[Any]) -> History:
        """Train, validating after every epoch, from the newest checkpoint where there is one.

        Args:
            train: a :class:`Loader`, or any sized iterable of batches.
            valid: an encoded split, or any iterable of batches.

        Raises:
            UserError: if checkpoints are there, but none is whole.
        """
        source: GroupSource = train if isinstance(train, Loader) else ForeignLoader(train, self.accumulation)
        is_split = hasattr(valid, "lengths") and hasattr(valid, "batch")
        batches: IndexedBatches = (
            SplitBatches(valid, self.evaluation_batch) if is_split else ForeignBatches(valid)  # type: ignore[arg-type]
        )
        self._resume()
        self._start(source)
        while self.history.verdict.decision < Decision.STOP and self.position.epoch < self.epochs:
            self._train_epoch(source)
            if self.history.verdict.decision < Decision.STOP:
                self._finish_epoch(batches)
            elif self.history.verdict.decision < Decision.ABORT:
                self.save()
        for observer in self.observers:
            observer.on_finish(self.history.verdict)
        return self.history

    def _start(self, source: GroupSource) -> None:
        self._started = self._last_save = time.monotonic()
        self._samples = 0
        self._epoch_started = time.monotonic()
        plan = {
            "epochs": self.epochs,
            "updates_per_epoch": source.updates_per_epoch,
            "total_updates": source.updates_per_epoch * self.epochs,
            "position": asdict(self.position),
            "history": self.history.epochs,
        }
        for observer in self.observers:
            observer.on_start(plan)

    # One epoch

    def _train_epoch(self, source: GroupSource) -> None:
        self.model.train()
        self._epoch_started = time.monotonic()
        first = self.position.consumed
        remaining = source.updates_per_epoch - (self.position.update - self._updates_before_epoch())
        with closing(prefetch(self._pinned(source.groups(self.position.epoch, first)), self.prefetch)) as groups:
            for group in groups:
                remaining -= 1
                self._one_update(group, last=remaining == 0)
                if self.history.verdict.decision >= Decision.STOP:
                    return

    def _pinned(self, groups: Iterable[Group]) -> Any:
        if self.fabric.device.type != "cuda":
            yield from groups
            return
        for group in groups:
            yield Group([batch.pin() for batch in group.batches], group.samples, group.idle)

    def _one_update(self, group: Group, *, last: bool) -> None:
        seed_update(self.seed, self.fabric.global_rank, self.position.update, self.fabric.device)
        lr = self.optimizer.param_groups[0]["lr"]
        result = self.updater.run(group, watch_components=last)
        if result.stepped and self.schedule is not None and self.schedule.per == "update":
            self.schedule.step()
        self.position.update += 1
        self.position.consumed += group.samples
        self.position.skipped += not result.stepped
        self._samples += sum(len(batch) for batch in group.batches)
        self._sums += torch.stack([result.total, result.weight, result.grad_norm.to(result.total.dtype)])
        self._lr = lr
        if last or self.position.update % self.log_every == 0:
            self._tell_update(result, lr)
        if not last:
            self._save_if_due()

    def _tell_update(self, result: UpdateResult, lr: float) -> None:
        total, weight, norm = torch.stack(
            [result.total, result.weight, result.grad_norm.to(result.total.dtype)]
        ).tolist()
        event = UpdateEvent(
            update=self.position.update,
            epoch=self.position.epoch,
            loss=total / weight if weight else float("nan"),
            lr=lr,
            grad_norm=norm,
            samples=self._samples,
            seconds=time.monotonic() - self._started,
            skipped=self.position.skipped,
        )
        for observer in self.observers:
            observer.on_update(event)
        self.history.verdict = strongest([judge.after_update(event) for judge in self.judges])

    def _finish_epoch(self, batches: IndexedBatches) -> None:
        valid = predict(self.model, batches, self.loss, self.fabric.device).metrics(self.classes)
        # A model that gives NaN leaves nothing to score: never the best, and for a judge to see.
        score = float(self.objective.score(valid)) if "accuracy" in valid else float("nan")
        is_best = self._is_best(score)
        event = self._epoch_event(valid, score, is_best)
        if self.schedule is not None and self.schedule.per == "epoch":
            self.schedule.step(score)
        self.history.epochs.append(asdict(event))
        if is_best:
            self.history.best_epoch, self.history.best_score = event.epoch, score
        self.history.verdict = strongest([judge.after_epoch(event) for judge in self.judges])
        self.position.epoch += 1
        self.position.consumed = 0
        self._reset_epoch()
        if is_best and self.checkpoints is not None and self.fabric.is_global_zero:
            self.checkpoints.save_best(self.module, asdict(self.position))
        self.save()
        for observer in self.observers:
            observer.on_epoch(event)

    def _updates_before_epoch(self) -> int:
        return int(self.history.epochs[-1]["update"]) if self.history.epochs else 0

    def _is_best(self, score: float) -> bool:
        if math.isnan(score):
            return False
        return self.history.best_score is None or self.objective.better(score, self.history.best_score)

    def _epoch_event(self, valid: Mapping[str, Any], score: float, is_best: bool) -> EpochEvent:
        total, weight, norms = self._sums.tolist()
        updates = self.position.update - self._updates_before_epoch()
        return EpochEvent(
            epoch=self.position.epoch,
            update=self.position.update,
            train_loss=total / weight if weight else float("nan"),
            grad_norm=norms / updates,
            lr=self._lr,
            valid=valid,
            score=score,
            is_best=is_best,
            seconds=time.monotonic() - self._epoch_started,
            component_grad_norms={name: float(norm) for name, norm in self.updater.component_norms.items()},
        )

    def _reset_epoch(self) -> None:
        exact = torch.float32 if self.fabric.device.type == "mps" else torch.float64
        self._sums: Tensor = torch.zeros(3, dtype=exact, device=self.fabric.device)
        self._lr = self.optimizer.param_groups[0]["lr"]

    # Checkpoints

    def _save_if_due(self) -> None:
        by_count = self.checkpoint_updates and self.position.update % self.checkpoint_updates == 0
        by_time = self.checkpoint_seconds and time.monotonic() - self._last_save >= self.checkpoint_seconds
        if by_count or by_time:
            self.save()

    def save(self) -> None:
        """Write a checkpoint of this moment."""
        if self.checkpoints is None:
            return
        if self.fabric.is_global_zero:
            self.checkpoints.save_last(self.module, self.state_dict(), asdict(self.position))
        self.fabric.barrier()
        self._last_save = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """All state but the model's, as plain values and tensors."""
        scaler = scaler_of(self.fabric)
        verdict = self.history.verdict
        return {
            "position": asdict(self.position),
            "epochs": _plain(self.history.epochs),
            "best": [self.history.best_epoch, self.history.best_score],
            "verdict": [int(verdict.decision), verdict.judge, verdict.reason],
            "sums": self._sums.cpu(),
            "optimizer": self.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule is not None else None,
            "scaler": scaler.state_dict() if scaler is not None else None,
            "judges": {judge.name: judge.state_dict() for judge in self.judges},
            "random": random_state(),
        }

    def _resume(self) -> None:
        checkpoint = self.checkpoints.newest() if self.checkpoints is not None else None
        if checkpoint is not None:
            self.load(checkpoint)

    def load(self, checkpoint: Checkpoint) -> None:
        """Continue from ``checkpoint``: weights, optimizer, schedule, scaler, judges, randomness and position."""
        checkpoint.load_model(self.module)
        state = checkpoint.load_state()
        self.position = Position(**state["position"])
        best_epoch, best_score = state["best"]
        decision, judge, reason = state["verdict"]
        # A run that was preempted is resumed to go on; one that stopped stays stopped.
        verdict = CONTINUE if decision == Decision.PREEMPT else Verdict(Decision(decision), judge, reason)
        self.history = History(state["epochs"], best_epoch, best_score, verdict)
        self._sums = state["sums"].to(self._sums)
        self.optimizer.load_state_dict(state["optimizer"])
        if self.schedule is not None:
            self.schedule.load_state_dict(state["schedule"])
        scaler = scaler_of(self.fabric)
        if scaler is not None and state["scaler"] is not None:
            scaler.load_state_dict(state["scaler"])
        for judge_ in self.judges:
            judge_.load_state_dict(state["judges"].get(judge_.name, {}))
        set_random_state(state["random"])
        self._lr = self.optimizer.param_groups[0]["lr"]


def _compiled(model: nn.Module) -> nn.Module:
    compiled: Any = torch.compile(model)
    return compiled  # type: ignore[no-any-return]


def _plain(value: Any) -> Any:
    """Containers and numbers of built-in types only: what ``weights_only`` loading takes."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value.item() if hasattr(value, "item") else value
