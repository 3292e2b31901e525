"""Where a run stands and what it went through: plain values that every checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from counterpoise.events import CONTINUE, Decision, Verdict


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
    best_epoch: int | None = None
    best_score: float | None = None
    verdict: Verdict = CONTINUE
    """Why training ended; ``CONTINUE`` means that it ran all its epochs."""

    @property
    def updates(self) -> int:
        """Updates of all finished epochs."""
        return int(self.epochs[-1]["update"]) if self.epochs else 0

    def state_dict(self) -> dict[str, Any]:
        """Plain values only."""
        verdict = [int(self.verdict.decision), self.verdict.judge, self.verdict.reason]
        best = [self.best_epoch, self.best_score]
        return {"epochs": plain(self.epochs), "best": best, "verdict": verdict}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> History:
        """From ``state_dict``'s answer; a run that was preempted goes on, one that stopped stays stopped."""
        decision, judge, reason = state["verdict"]
        verdict = CONTINUE if decision == Decision.PREEMPT else Verdict(Decision(decision), judge, reason)
        best_epoch, best_score = state["best"]
        return cls(list(state["epochs"]), best_epoch, best_score, verdict)


@dataclass
class Tally:
    """An epoch's running figures."""

    sums: Tensor
    """Losses, weights and gradient norms, ``[3]``: on the device, so that adding waits for nothing."""
    lr: float
    """Learning rate of the newest update."""
    stepped: int = 0
    """Updates that are in the sums: a step that the scaler skipped is not, its loss or norm may be infinite."""

    def add(self, figures: Tensor) -> None:
        """Count an update that stepped."""
        self.sums += figures
        self.stepped += 1

    def means(self) -> tuple[float, float]:
        """Training loss and gradient norm; NaN where there is nothing to take a mean of."""
        total, weight, norms = self.sums.tolist()
        nan = float("nan")
        return total / weight if weight else nan, norms / self.stepped if self.stepped else nan

    def state_dict(self) -> dict[str, Any]:
        """Its fields, on the CPU."""
        return {"sums": self.sums.cpu(), "lr": self.lr, "stepped": self.stepped}


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
