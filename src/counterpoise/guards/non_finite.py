"""Abort a run whose loss or gradient is no longer a number: nothing that follows could be."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

from counterpoise.events import CONTINUE, BaseJudge, Decision, EpochEvent, UpdateEvent, Verdict


@dataclass(frozen=True, kw_only=True)
class NonFiniteConfig:
    """Whether to watch for NaN and infinities."""

    non_finite: bool = True
    """Abort when a logged update's loss, or an epoch's, is NaN or infinite."""


class NonFiniteGuard(BaseJudge):
    """Says abort on a loss that is NaN or infinite; the checkpoint before it stays the newest.

    A gradient norm that is not finite aborts too, unless a gradient scaler skipped that step: it looks for its scale by
    overflowing now and then.
    """

    Config: ClassVar[type] = NonFiniteConfig
    name = "non_finite"

    def __init__(self, config: NonFiniteConfig) -> None:
        self.config = config
        self._skipped = 0

    def after_update(self, event: UpdateEvent) -> Verdict:
        """Look at a logged update."""
        overflowed, self._skipped = event.skipped > self._skipped, event.skipped
        finite = math.isfinite(event.loss) and (overflowed or math.isfinite(event.grad_norm))
        return self._judge(finite, f"at update {event.update} the loss is {event.loss}, the gradient {event.grad_norm}")

    def after_epoch(self, event: EpochEvent) -> Verdict:
        """Look at an epoch's training and validation loss; there is none of training if every step was skipped."""
        losses = [event.train_loss] * (event.stepped > 0) + [float(event.valid["loss"])]
        finite = all(map(math.isfinite, losses))
        return self._judge(finite, f"in epoch {event.epoch + 1} training and validation losses are {losses}")

    def state_dict(self) -> dict[str, Any]:
        """How many skipped updates it has seen."""
        return {"skipped": self._skipped}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up ``state_dict``'s answer again."""
        self._skipped = state.get("skipped", 0)

    def _judge(self, finite: bool, seen: str) -> Verdict:
        if finite or not self.config.non_finite:
            return CONTINUE
        return Verdict(Decision.ABORT, self.name, f"{seen}; try a smaller optimizer.lr, or hardware.precision=fp32")
