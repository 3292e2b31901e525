"""The training loop.

In order: draw the group's micro-batches → weight of the group → forward and backward per micro-batch → norm, clip,
step if loss and norm are finite → schedule → observers → verdict. The loop reads nothing from the device between two
logged updates, save one number per update in fp16, whether the gradient scaler skipped the step, or for an optimizer
without a fused step, whether it may step; and a model may read for itself, as BiLSTM does. Checkpoints are written at
update boundaries only, and everything random is a function of (seed, epoch, update), so a resumed run continues with
the same bits, an update that ran out of memory is done again as it was, and a rescue goes back without a trace of what
it left.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import MixedPrecision
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn
from torch.optim import Optimizer

from counterpoise.data.encode.base import EncodedSplit
from counterpoise.data.loader import Group, Loader, prefetch
from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.engine.council import Council
from counterpoise.engine.criteria import as_loss
from counterpoise.engine.evaluation import IndexedBatches, Predictions, SplitBatches, predict
from counterpoise.engine.keeper import Keeper
from counterpoise.engine.lifeline import Lifeline
from counterpoise.engine.loaders import ForeignBatches, ForeignLoader, GroupSource
from counterpoise.engine.precision import make_fabric
from counterpoise.engine.progress import History, Position
from counterpoise.engine.rng import seed_update
from counterpoise.engine.state import RunState
from counterpoise.engine.update import Updater, UpdateResult, scaled_rates
from counterpoise.events import Decision, EpochEvent, Health, Judge, Observer, UpdateEvent, Verdict
from counterpoise.guards.rescue import RescueConfig
from counterpoise.losses import Loss
from counterpoise.metrics import Objective, ObjectiveConfig
from counterpoise.optim.adamw import components
from counterpoise.optim.schedules import Schedule

__all__ = ["History", "Position", "Trainer"]


class Trainer:
    """Trains any classifier that maps inputs to logits; see ``docs/trainer.md`` for use with your own pieces.

    Args:
        model: returns logits ``[B, C]`` or a :class:`~counterpoise.models.base.ModelOutput`.
        optimizer: over the model's parameters.
        loss: a :class:`~counterpoise.losses.Loss`, or a criterion of PyTorch without class weights (see
            :class:`~counterpoise.engine.criteria.MeanLoss`).
        epochs: how many to train at most.
        classes: class names; the metrics are named by them. By default their numbers.
        schedule: stepped per update or per epoch, as it says.
        objective: the validation metric that decides; ``macro_f1`` by default.
        fabric: device, precision and processes; by default this machine's CPU in fp32.
        accumulation: micro-batches per update, for a loader that is not this package's :class:`Loader`.
        clip_norm: largest gradient norm; ``None`` does not clip.
        seed: what dropout draws from, with the update's number, and a loader that uses global generators.
        log_every: updates between two readings of loss and norm.
        evaluation_batch: samples per batch when an encoded split is validated on.
        evaluation_tokens: most tokens of such a batch; ``None`` does not look at them.
        prefetch: groups that a thread draws ahead from a :class:`Loader`; other loaders have workers of their own.
        observers: told of every logged update and every epoch.
        judges: asked after them; the strongest verdict is obeyed.
        rescue: how a run is brought back when a judge says roll back; ``None`` ends it then.
        checkpoints: where to keep state, or who keeps it through a disk that fails; ``None`` keeps none.
        checkpoint_updates: updates between two checkpoints; 0 saves at the end of epochs only.
        checkpoint_seconds: seconds between two checkpoints, beside those; 0 for none. With several processes looked
            at after logged updates only.
        compile: run the model through ``torch.compile``.
    """

    model: _FabricModule
    """As wrapped by Fabric."""
    module: nn.Module
    """As it was given; the same parameters."""

    def __init__(
        self,
        model: nn.Module,
        optimizer: Optimizer,
        loss: Loss | nn.Module,
        *,
        epochs: int,
        classes: Sequence[str] | None = None,
        schedule: Schedule | None = None,
        objective: Objective | None = None,
        fabric: Fabric | None = None,
        accumulation: int = 1,
        clip_norm: float | None = 1.0,
        seed: int = 0,
        log_every: int = 10,
        evaluation_batch: int = 64,
        evaluation_tokens: int | None = None,
        prefetch: int = 0,
        observers: Sequence[Observer] = (),
        judges: Sequence[Judge] = (),
        rescue: RescueConfig | None = None,
        checkpoints: CheckpointStore | Keeper | None = None,
        checkpoint_updates: int = 0,
        checkpoint_seconds: float = 0.0,
        compile: bool = False,
    ) -> None:
        self.fabric = fabric or make_fabric("cpu", "fp32")
        self.module = model
        self.optimizer = optimizer
        self.model, _ = self.fabric.setup(_compiled(model) if compile else model, optimizer)
        self.loss = as_loss(loss).to(self.fabric.device)
        self.updater = Updater(self.fabric, self.model, optimizer, self.loss, clip_norm, components(model))
        self.epochs = epochs
        self.classes = None if classes is None else tuple(classes)
        self.schedule = schedule
        self.objective = objective or Objective(ObjectiveConfig())
        self.accumulation = accumulation
        self.seed = seed
        self.log_every = log_every
        self.evaluation_batch = evaluation_batch
        self.evaluation_tokens = evaluation_tokens
        self.prefetch = prefetch
        self.observers = list(observers)
        self.judges = list(judges)
        names = [judge.name for judge in self.judges]
        if len(set(names)) < len(names):
            raise ValueError(f"each judge needs a `name` of its own, its state is kept under it, but they have {names}")
        self.checkpoints = checkpoints
        self.checkpoint_updates = checkpoint_updates
        self.checkpoint_seconds = checkpoint_seconds
        known = None if self.classes is None else len(self.classes)
        self.state = RunState(self.fabric, model, self.updater, schedule, self.judges, checkpoints, known)
        self.lifeline = Lifeline(rescue, self.state)
        self.council = Council(self.fabric, self.observers, self.judges, lambda: self.lifeline.target is not None)

    @property
    def position(self) -> Position:
        """Where the run stands."""
        return self.state.position

    @property
    def history(self) -> History:
        """What it went through."""
        return self.state.history

    def fit(self, train: Loader | Iterable[Any], valid: EncodedSplit | Iterable[Any]) -> History:
        """Train, validating after every epoch, from the newest checkpoint where there is one.

        Args:
            train: a :class:`Loader`, or any sized iterable of batches.
            valid: an encoded split, or any iterable of batches.

        Raises:
            UserError: if checkpoints are there, but none is whole, or they are another data set's or model's.
            StorageError: if a disk that failed has not come back at the end; what was whole is, and can be resumed.
        """
        source = self._source(train)
        is_split = hasattr(valid, "lengths") and hasattr(valid, "batch")
        batches: IndexedBatches = (
            SplitBatches(valid, self.evaluation_batch, self.evaluation_tokens)  # type: ignore[arg-type]
            if is_split
            else ForeignBatches(valid)  # type: ignore[arg-type]
        )
        self.state.resume()
        self.optimizer.zero_grad()
        verdict = Verdict(Decision.ABORT, "error", "an exception ended it")
        try:
            self._start(source)
            while self.history.verdict.decision < Decision.STOP and self.position.epoch < self.epochs:
                self._train_epoch(source)
                if self.history.verdict.decision < Decision.STOP:
                    self._finish_epoch(batches)
                elif self.history.verdict.decision < Decision.ROLL_BACK:
                    self._save()
                if self.history.verdict.decision == Decision.ROLL_BACK:
                    self._roll_back(source)
            verdict = self.history.verdict
            self.state.settle(aborted=verdict.decision == Decision.ABORT)
        finally:
            self.council.tell(lambda observer: observer.on_finish(verdict))
        return self.history

    def evaluate(self, batches: IndexedBatches) -> Predictions:
        """Predictions for every sample, in batches of a size that has been found to fit into memory."""
        return self.state.memory.evaluate(
            batches, lambda fitting: predict(self.model, fitting, self.loss, self.fabric.device)
        )

    def _source(self, train: Loader | Iterable[Any]) -> GroupSource:
        if isinstance(train, Loader | ForeignLoader):
            return train
        return ForeignLoader(train, self.accumulation, self.seed, self.fabric.world_size)

    def _start(self, source: GroupSource) -> None:
        self._started = self._last_save = self._epoch_started = time.monotonic()
        self._samples = 0
        plan = self._plan(source)
        self.council.tell(lambda observer: observer.on_start(plan))
        if self.lifeline.holds and self.position.update == 0:
            self.state.save(healthy=True)  # there must be something to go back to

    def _plan(self, source: GroupSource) -> dict[str, Any]:
        return {
            "epochs": self.epochs,
            "updates_per_epoch": source.updates_per_epoch,
            "total_updates": source.updates_per_epoch * self.epochs,
            "position": self.position.state_dict(),
            "history": self.history.epochs,
            "alarms": self.history.alarms,
            "rescues": self.history.rescues,
        }

    # One epoch

    def _train_epoch(self, source: GroupSource) -> None:
        self.model.train()
        self._epoch_started = time.monotonic()
        groups = self._pinned(source.groups(self.position.epoch, self.position.consumed))
        ahead = self.prefetch if isinstance(source, Loader) else 0
        remaining = source.updates_per_epoch - (self.position.update - self.history.updates)
        with closing(prefetch(groups, ahead)) as drawn:
            for group in drawn:
                remaining -= 1
                self._one_update(group, source, last=remaining == 0)
                if self.history.verdict.decision >= Decision.STOP:
                    return

    def _pinned(self, groups: Iterator[Group]) -> Iterator[Group]:
        if self.fabric.device.type != "cuda":
            return groups
        return (replace(group, batches=[batch.pin() for batch in group.batches]) for group in groups)

    def _one_update(self, group: Group, source: GroupSource, *, last: bool) -> None:
        self.state.tally.lr = self.state.next_lr
        logged = last or (self.position.update + 1) % self.log_every == 0
        figures = self._gradients(group, source)
        with scaled_rates(self.optimizer, self.state.rate_factor):
            result = self.updater.step(*figures, watch_components=logged)
        self.position.update += 1
        self.position.consumed += group.samples
        self._samples += sum(len(batch) for batch in group.batches)
        if result.stepped:
            self.state.tally.add(result.figures)
            if self.schedule is not None and self.schedule.per == "update":
                self.schedule.step()
        else:
            self.position.skipped += 1
        if logged:
            self._tell_update(result)
        self.council.between_updates(self.history)
        if not last and self._save_is_due(logged):
            self._save()

    def _gradients(self, group: Group, source: GroupSource) -> tuple[Tensor, Tensor]:
        """Of the group; done again in smaller micro-batches where it runs out of memory."""

        def attempt(group: Group) -> tuple[Tensor, Tensor]:
            self.updater.discard()
            seed_update(self.seed, self.fabric.global_rank, self.position.update, self.fabric.device)
            return self.updater.gradients(group)

        if self.fabric.world_size > 1:  # the others would wait for ever for a process that begins anew
            return attempt(group)
        return self.state.memory.train(group, source, attempt)

    def _tell_update(self, result: UpdateResult) -> None:
        total, weight, norm = result.figures.tolist()
        norms = self.updater.component_norms
        event = UpdateEvent(
            update=self.position.update,
            epoch=self.position.epoch + 1,
            loss=total / weight if weight else float("nan"),
            lr=self.state.tally.lr,
            grad_norm=norm,
            samples=self._samples,
            seconds=time.monotonic() - self._started,
            skipped=self.position.skipped,
            component_grad_norms=dict(zip(norms, torch.stack([*norms.values()]).tolist(), strict=True)),
            half_precision=isinstance(self.fabric.strategy.precision, MixedPrecision),
            **vars(self.updater.watch.read()),
        )
        self.council.after_update(event, self.history)

    def _finish_epoch(self, batches: IndexedBatches) -> None:
        predictions = self.evaluate(batches.at(self.position.epoch) if isinstance(batches, SplitBatches) else batches)
        valid = predictions.metrics(self.classes or predictions.numbered_classes)
        # A model that gives NaN leaves nothing to score: never the best, and for a judge to see.
        score = float(self.objective.score(valid)) if "accuracy" in valid else float("nan")
        event, verdicts = self.council.judged(self._epoch_event(valid, score))
        standing = self.objective.standing_of(score, valid)
        is_best = self.history.best.weigh(event.epoch, standing, Health.of(event.health))
        event = replace(event, is_best=is_best)
        if self.schedule is not None and self.schedule.per == "epoch":
            self.schedule.step(score)
        self.history.epochs.append(asdict(event))
        self.council.after_epoch(event, verdicts, self.history)
        self.position.epoch += 1
        self.position.consumed = 0
        self.state.new_epoch()
        if self.history.verdict.decision < Decision.ROLL_BACK:
            if event.is_best:
                self.state.save_best()
            self.council.between_updates(self.history)
            self._save(healthy=self.lifeline.config is not None and self.council.health == Health.SOUND)

    def _epoch_event(self, valid: Mapping[str, Any], score: float) -> EpochEvent:
        train_loss, grad_norm, stepped = self.state.tally.read()
        return EpochEvent(
            epoch=self.position.epoch + 1,
            update=self.position.update,
            train_loss=train_loss,
            grad_norm=grad_norm,
            lr=self.state.tally.lr,
            valid=valid,
            score=score,
            is_best=False,  # whether it is, depends on what the judges say of it
            seconds=time.monotonic() - self._epoch_started,
            component_grad_norms={name: float(norm) for name, norm in self.updater.component_norms.items()},
            stepped=stepped,
        )

    # Rescue

    def _roll_back(self, source: GroupSource) -> None:
        rescue = self.lifeline.pull(source.updates_per_epoch * self.epochs)
        if rescue is not None:
            self._last_save = time.monotonic()
            plan = self._plan(source)
            self.council.tell(lambda observer: observer.on_rescue(rescue, plan))

    # Checkpoints

    def _save_is_due(self, logged: bool) -> bool:
        due = bool(self.checkpoint_updates) and self.position.update % self.checkpoint_updates == 0
        if self.checkpoint_seconds and not due:
            due = time.monotonic() - self._last_save >= self.checkpoint_seconds
            if self.fabric.world_size > 1:
                due = logged and self.fabric.broadcast(due)  # clocks differ
        return due and self.history.verdict.decision < Decision.STOP

    def _save(self, *, healthy: bool = False) -> None:
        self.state.save(healthy=healthy)
        self._last_save = time.monotonic()


def _compiled(model: nn.Module) -> nn.Module:
    compiled: Any = torch.compile(model, dynamic=True)
    return compiled  # type: ignore[no-any-return]
