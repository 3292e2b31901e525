"""What a checkpoint holds beside the weights: gathered, written and taken up again."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.nn.utils import get_total_norm

from counterpoise.allocation import is_out_of_memory
from counterpoise.engine.checkpoints import BEST, Checkpoint, CheckpointStore
from counterpoise.engine.keeper import Keeper
from counterpoise.engine.memory import MemoryPlan
from counterpoise.engine.precision import exact_dtype, switch_precision
from counterpoise.engine.progress import History, Position, Tally, plain
from counterpoise.engine.rng import random_state, set_random_state
from counterpoise.engine.state_format import check_alike, check_optimizer, checked_state
from counterpoise.engine.update import Updater
from counterpoise.errors import StorageError, fail
from counterpoise.events import Judge, Rescue
from counterpoise.optim.schedules import Schedule

log = logging.getLogger(__name__)


class RunState:
    """Everything that changes while a run trains.

    Args:
        fabric: device, precision and processes.
        module: the model as the user gave it.
        updater: with optimizer and gradient scaler.
        schedule: of the learning rate; ``None`` where it is constant.
        judges: whose state is kept.
        checkpoints: where to keep it; ``None`` keeps nothing.
        classes: of the model; ``None`` where that is not known.
    """

    def __init__(
        self,
        fabric: Fabric,
        module: nn.Module,
        updater: Updater,
        schedule: Schedule | None,
        judges: Sequence[Judge],
        checkpoints: CheckpointStore | Keeper | None,
        classes: int | None = None,
    ) -> None:
        self.fabric = fabric
        self.module = module
        self.updater = updater
        self.schedule = schedule
        self.judges = judges
        self.classes = classes
        self.checkpoints = Keeper(checkpoints) if isinstance(checkpoints, CheckpointStore) else checkpoints
        self.memory = MemoryPlan()
        self.position = Position()
        self.history = History()
        self.new_epoch()

    @property
    def rate_factor(self) -> float:
        """What rescues make of the coming update's scheduled learning rate."""
        return Rescue(**self.history.rescues[-1]).scale(self.position.update) if self.history.rescues else 1.0

    @property
    def next_lr(self) -> float:
        """Learning rate of the coming update (first parameter group)."""
        return float(self.updater.optimizer.param_groups[0]["lr"]) * self.rate_factor

    def new_epoch(self) -> None:
        """Begin to count anew."""
        sums = torch.zeros(4, dtype=exact_dtype(self.fabric.device), device=self.fabric.device)
        self.tally = Tally(sums, self.next_lr)

    def save(self, *, healthy: bool = False) -> None:
        """Write a checkpoint of this moment, unless something in it is not finite any more.

        Args:
            healthy: whether a rescue may come back to it.
        """
        if self.checkpoints is None:
            return
        if self.fabric.is_global_zero:
            if self._finite():
                self.checkpoints.save_last(self.module, self.state_dict, self.position.state_dict, healthy=healthy)
            else:
                self.checkpoints.skip_last()
        self.fabric.barrier()

    def save_best(self) -> None:
        """Keep the weights of this moment as the best so far."""
        if self.checkpoints is not None and self.fabric.is_global_zero:
            self.checkpoints.save_best(self.module, self.position.state_dict())

    def settle(self, *, aborted: bool = False) -> None:
        """At the end of training, write what a failing disk has refused so far.

        Args:
            aborted: this moment is none to resume from; only the best weights are written.

        Raises:
            StorageError: in every process, if the disk still refuses it.
        """
        failed: StorageError | None = None
        if self.checkpoints is not None and self.fabric.is_global_zero:
            if aborted:
                self.checkpoints.skip_last()
            try:
                self.checkpoints.settle()
            except StorageError as error:
                failed = error
        if self.fabric.world_size > 1:
            failed = self.fabric.broadcast(failed)
        if failed is not None:
            raise failed

    def _finite(self) -> bool:
        """Whether figures and weights are: a fault may have spoilt either alone, and no judge have seen it yet."""
        if bool(self.tally.sums.isfinite().all() & get_total_norm(list(self.module.parameters())).isfinite()):
            return True
        log.warning("No checkpoint after update %d: loss, gradient or weights are not finite.", self.position.update)
        return False

    def state_dict(self) -> dict[str, Any]:
        """All state but the model's, as plain values and tensors."""
        scaler = self.updater.scaler
        return {
            "position": self.position.state_dict(),
            "history": self.history.state_dict(),
            "epoch": {**self.tally.state_dict(), "component_norms": plain(self.updater.component_norms)},
            "watch": plain(self.updater.watch.state_dict()),
            "memory": self.memory.state_dict(),
            "optimizer": self.updater.optimizer.state_dict(),
            "schedule": self.schedule.state_dict() if self.schedule is not None else None,
            "scaler": scaler.state_dict() if scaler is not None else None,
            "judges": {judge.name: plain(judge.state_dict()) for judge in self.judges},
            "random": random_state(),
        }

    def resume(self) -> None:
        """Continue from the newest checkpoint, where there is one.

        Raises:
            UserError: if none is whole, or the best epoch's weights are not: then the run could not end.
        """
        checkpoint = self.checkpoints.newest() if self.checkpoints is not None else None
        if self.checkpoints is None or checkpoint is None:
            return
        self.load(checkpoint)
        if self.history.best_epoch is not None and self.checkpoints.best() is None:
            message = f"the weights of the best epoch, {self.history.best_epoch}, are gone."
            where = str(checkpoint.folder.with_name(BEST))
            raise fail(where, message, "Bring them back, or remove the run folder to start over.")

    def load(self, checkpoint: Checkpoint) -> None:
        """Continue from ``checkpoint``: weights, optimizer, schedule, scaler, judges, randomness and position.

        Raises:
            UserError: if it holds something else.
        """
        try:
            self._load(checkpoint)
        except (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, RuntimeError) as error:
            if is_out_of_memory(error):
                raise
            reason = (str(error) or type(error).__name__).splitlines()[0]
            message = f"holds no state that this run can go on from: {type(error).__name__}: {reason}."
            raise fail(str(checkpoint.folder), message, "Start a new run folder.") from error

    def _load(self, checkpoint: Checkpoint) -> None:
        state = checked_state(checkpoint.load_state(), self.classes)
        if state["position"] != checkpoint.manifest["position"]:
            raise ValueError(f"it is of {state['position']}, its manifest of {checkpoint.manifest['position']}")
        if len(state["history"]["epochs"]) != state["position"]["epoch"]:
            raise ValueError(f"history.epochs: expected {state['position']['epoch']} of them")
        steps = state["position"]["update"] - state["position"]["skipped"]
        check_optimizer(state["optimizer"], self.updater.optimizer, steps)
        checkpoint.load_model(self.module)
        self.position = Position(**state["position"])
        self.history = History.from_state(state["history"])
        epoch = state["epoch"]
        self.tally = Tally(epoch["sums"].to(self.tally.sums), epoch["lr"])
        self.updater.component_norms = dict(epoch["component_norms"])
        self.updater.watch.load_state_dict(state["watch"])
        self.memory.load_state_dict(state["memory"])
        self._use_precision()
        self.updater.optimizer.load_state_dict(dict(state["optimizer"]))
        self._load_schedule(state["schedule"])
        if self.updater.scaler is not None and state["scaler"] is not None:
            check_alike(state["scaler"], self.updater.scaler.state_dict(), "scaler")
            self.updater.scaler.load_state_dict(state["scaler"])
        for judge in self.judges:
            judge.load_state_dict(state["judges"].get(judge.name, {}))
        set_random_state(state["random"])

    def _load_schedule(self, state: dict[str, Any] | None) -> None:
        if self.schedule is None:
            return
        if state is None:
            raise ValueError("schedule: missing")
        if type(self.schedule).state_dict is Schedule.state_dict:  # PyTorch's own, which it takes up unseen
            check_alike(state, self.schedule.state_dict(), "schedule")
        self.schedule.load_state_dict(state)

    def roll_back(self, checkpoint: Checkpoint, rescue: Rescue) -> None:
        """Continue from ``checkpoint`` as ``rescue`` says; alarms, rescues and the best epoch are not forgotten."""
        before = self.history
        self.load(checkpoint)
        self.history = replace(
            self.history,
            alarms=before.alarms,
            rescues=[*before.rescues, asdict(rescue)],
            best=before.best,
        )
        self._use_precision()
        self.tally.lr = self.next_lr
        self.save(healthy=True)

    def _use_precision(self) -> None:
        chosen = [rescue["precision"] for rescue in self.history.rescues if rescue["precision"]]
        if chosen:
            switch_precision(self.fabric, chosen[-1])
