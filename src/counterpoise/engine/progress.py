"""Where a run stands and what it went through: plain values that every checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from counterpoise.events import CONTINUE, Decision, Verdict
from counterpoise.metrics import BestEpoch


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

    def state_dict(self) -> dict[str, int]:
        """Its fields."""
        return asdict(self)


@dataclass
class History:
    """What training went through, and how it ended."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    """One :class:`~counterpoise.events.EpochEvent` per epoch, as a dictionary."""
    best: BestEpoch = field(default_factory=BestEpoch)
    verdict: Verdict = CONTINUE
    """Why training ended; ``CONTINUE`` means that it ran all its epochs."""
    alarms: list[dict[str, Any]] = field(default_factory=list)
    """Every :class:`~counterpoise.events.Alarm` as a dictionary, with the ``action`` taken; a rescue forgets none."""
    rescues: list[dict[str, Any]] = field(default_factory=list)
    """Every :class:`~counterpoise.events.Rescue` as a dictionary."""

    @property
    def best_epoch(self) -> int | None:
        """One-based; ``None`` where no epoch can be the best."""
        return self.best.epoch

    @property
    def best_score(self) -> float | None:
        """Its score, as it comes."""
        return self.best.standing.value

    @property
    def updates(self) -> int:
        """Updates of all finished epochs."""
        return int(self.epochs[-1]["update"]) if self.epochs else 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values only."""
        verdict = [int(self.verdict.decision), self.verdict.judge, self.verdict.reason]
        events = {"alarms": plain(self.alarms), "rescues": plain(self.rescues)}
        return {"epochs": plain(self.epochs), "best": self.best.state_dict(), "verdict": verdict, **events}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> History:
        """From ``state_dict``'s answer; a run that was preempted goes on, one that stopped stays stopped."""
        decision, judge, reason = state["verdict"]
        verdict = CONTINUE if decision == Decision.PREEMPT else Verdict(Decision(decision), judge, reason)
        events = list(state["alarms"]), list(state["rescues"])
        return cls(list(state["epochs"]), BestEpoch.from_state(state["best"]), verdict, *events)


@dataclass
class Tally:
    """An epoch's running figures."""

    sums: Tensor
    """Losses, weights, gradient norms and number of updates, ``[4]``: on the device, so that adding waits for nothing.
    What is not finite is left out: such an update changed nothing."""
    lr: float
    """Learning rate of the newest update."""

    def add(self, figures: Tensor) -> None:
        """Count an update by its three figures."""
        one = figures.new_ones(1)
        self.sums += torch.where(figures.sum().isfinite(), torch.cat((figures, one)), 0.0)

    def read(self) -> tuple[float, float, int]:
        """Training loss, mean gradient norm, and the updates counted; NaN where there is nothing to take a mean of."""
        total, weight, norms, updates = self.sums.tolist()
        nan = float("nan")
        return total / weight if weight else nan, norms / updates if updates else nan, int(updates)

    def state_dict(self) -> dict[str, Any]:
        """Its fields, on the CPU."""
        return {"sums": self.sums.cpu(), "lr": self.lr}


def plain(value: Any) -> Any:
    """Containers, numbers and tensors of built-in types only: what ``weights_only`` loading takes."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray):
        return torch.from_numpy(value.copy())
    if isinstance(value, Tensor):
        return value.detach().cpu()
    return value.item() if isinstance(value, np.generic) else value
