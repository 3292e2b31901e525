"""What the training loop tells the world: value types that engine, guards and trackers share.

The loop calls every observer and asks every judge after each update and each epoch, obeys the strongest verdict, and
knows none of them by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Protocol


class Decision(IntEnum):
    """What the loop shall do, weakest first: the strongest of all judges wins."""

    CONTINUE = 0
    STOP = 1
    ROLL_BACK = 2
    PRUNE = 3
    PREEMPT = 4
    ABORT = 5


@dataclass(frozen=True)
class Verdict:
    """A judge's decision with its reason, which is shown to the user and kept in the result."""

    decision: Decision
    judge: str = ""
    reason: str = ""


CONTINUE = Verdict(Decision.CONTINUE)


def strongest(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict the loop obeys; the first of equals, ``CONTINUE`` where there is none."""
    return max(verdicts, key=lambda verdict: verdict.decision, default=CONTINUE)


@dataclass(frozen=True)
class UpdateEvent:
    """One optimizer update. Only every ``log_every``-th update is read from the device and told."""

    update: int
    """Updates done since the start of the run, this one included."""
    epoch: int
    """Zero-based."""
    loss: float
    """Training loss of this update: the weighted mean over its effective batch, penalty included."""
    lr: float
    """Learning rate that this update used (first parameter group)."""
    grad_norm: float
    """Total gradient norm before clipping."""
    samples: int
    """Samples this process has trained on since the run, or its resumption, began."""
    seconds: float
    """Wall time since the run, or its resumption, began."""
    skipped: int = 0
    """Updates that the gradient scaler skipped so far."""

    @property
    def samples_per_second(self) -> float:
        """Training throughput of this process so far."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class EpochEvent:
    """One finished epoch with its validation figures. JSON-ready by ``dataclasses.asdict``."""

    epoch: int
    """Zero-based."""
    update: int
    train_loss: float
    """Weighted mean over all samples of the epoch."""
    grad_norm: float
    """Mean over the epoch's updates, before clipping."""
    lr: float
    """Learning rate of the epoch's last update (first parameter group)."""
    valid: Mapping[str, Any]
    """Validation metrics, ``loss`` and ``per_class`` included (predicted and actual share of every class)."""
    score: float
    """The metric that decides, as it comes (see ``Objective`` for its direction)."""
    is_best: bool
    seconds: float
    """Wall time of this epoch, evaluation included. Differs from run to run; nothing decides by it."""
    component_grad_norms: Mapping[str, float] = field(default_factory=dict)
    """Gradient norm per model component at the epoch's last logged update."""
    stepped: int = 1
    """Updates of this epoch that the gradient scaler did not skip. Without any, ``train_loss`` and ``grad_norm`` are
    NaN though nothing is wrong."""


class Observer(Protocol):
    """Watches; never changes what the loop does. Every method may be left as inherited from ``BaseObserver``."""

    def on_start(self, plan: Mapping[str, Any]) -> None: ...
    def on_update(self, event: UpdateEvent) -> None: ...
    def on_epoch(self, event: EpochEvent) -> None: ...
    def on_finish(self, verdict: Verdict) -> None: ...


class BaseObserver:
    """An observer that does nothing: inherit and override what is needed."""

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Training begins or resumes; ``plan`` holds total updates, epochs, position."""

    def on_update(self, event: UpdateEvent) -> None:
        """A logged update."""

    def on_epoch(self, event: EpochEvent) -> None:
        """An epoch has been trained and validated."""

    def on_finish(self, verdict: Verdict) -> None:
        """Training has ended, for whatever reason."""


class Judge(Protocol):
    """Looks at updates and epochs and says how to go on. Its state is part of every checkpoint."""

    name: str

    def after_update(self, event: UpdateEvent) -> Verdict: ...
    def after_epoch(self, event: EpochEvent) -> Verdict: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class BaseJudge:
    """A judge that always says continue and keeps no state."""

    name = "judge"

    def after_update(self, event: UpdateEvent) -> Verdict:
        """Asked after every logged update."""
        return CONTINUE

    def after_epoch(self, event: EpochEvent) -> Verdict:
        """Asked after every epoch."""
        return CONTINUE

    def state_dict(self) -> dict[str, Any]:
        """Plain values only: they must load with ``weights_only=True``."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up ``state_dict``'s answer again."""
