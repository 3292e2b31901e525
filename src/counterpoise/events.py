"""What the training loop tells the world: value types that engine, guards and trackers share.

The loop calls every observer and asks every judge after each update and each epoch, obeys the strongest verdict, and
knows none of them by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any, Literal, Protocol


class Decision(IntEnum):
    """What the loop shall do, weakest first: the strongest of all judges wins."""

    CONTINUE = 0
    STOP = 1
    PRUNE = 2
    PREEMPT = 3
    ROLL_BACK = 4
    ABORT = 5


class Health(IntEnum):
    """What a judge thinks of the model just now, best first: the worst of all judges counts."""

    SOUND = 0
    ALARMED = 1
    """Something looks wrong: a checkpoint of this moment is none to go back to."""
    DOUBTFUL = 2
    """A class was never predicted, but it is too early, or the class too small, for that to count: the best epoch only
    while there is no sound one."""
    COLLAPSED = 3
    """Never the best epoch."""

    @property
    def word(self) -> str:
        """As it stands in files."""
        return self.name.lower()

    @classmethod
    def of(cls, word: str) -> Health:
        """The health that a word stands for; sound where it is none."""
        return next((health for health in cls if health.word == word), cls.SOUND)


@dataclass(frozen=True)
class Alarm:
    """Something wrong that a guard saw. JSON-ready by ``dataclasses.asdict``: an event of ``collapse_report.json``."""

    kind: str
    """What was seen, e.g. ``never_predicted`` or ``non_finite``."""
    severity: Literal["warning", "stop"]
    """``stop``: bad enough for the policy to act on."""
    update: int
    epoch: int
    """One-based."""
    message: str
    cause: str = ""
    """Likely cause, e.g. ``lr_too_high``."""
    explanation: str = ""
    """What speaks for that cause."""
    override: str = ""
    """What to try, as it is typed on the command line."""
    loss_window: Sequence[float] = ()
    """Losses of the last logged updates, oldest first."""
    lr: float = float("nan")
    """Learning rate of the last logged update."""
    grad_norm: float = float("nan")
    """Gradient norm of the last logged update, before clipping."""
    component_grad_norms: Mapping[str, float] = field(default_factory=dict)
    predicted_share: Mapping[str, float] = field(default_factory=dict)
    """By class, over what ``shares_of`` says."""
    actual_share: Mapping[str, float] = field(default_factory=dict)
    shares_of: Literal["training", "validation"] = "training"
    """Training: the samples of the window. Validation: the epoch's."""


@dataclass(frozen=True)
class Verdict:
    """A judge's decision with its reason, which is shown to the user and kept in the result."""

    decision: Decision
    judge: str = ""
    reason: str = ""
    alarm: Alarm | None = None
    """Told to every observer and kept, whatever the decision."""


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
    """One-based."""
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
    non_finite: int = 0
    """Updates left out so far because loss or gradient was NaN or infinite."""
    mean_loss: float = float("nan")
    """Training loss over all updates since the last logged one, this one included; those that were left out aside."""
    non_finite_in_a_row: int = 0
    """The longest row of them since the last logged update, this one included."""
    largest_grad_norm: float = float("nan")
    """Largest gradient norm since the last logged update, this one included; NaN ones aside."""
    predicted: tuple[int, ...] = ()
    """Samples predicted as each class since the last logged update, in training mode."""
    actual: tuple[int, ...] = ()
    """Samples of each class among them."""
    separation: tuple[float, ...] = ()
    """How far each class's probability is higher for its own samples than for others, among those samples: the
    difference of the means in standard deviations (Cohen's d); NaN where a class has no samples, or all."""
    one_label: int = 0
    """Updates since the last logged one whose samples were all of one class."""
    component_grad_norms: Mapping[str, float] = field(default_factory=dict)
    """Gradient norm of this update per model component, before clipping."""
    half_precision: bool = False
    """Whether it was computed in bf16 or fp16."""

    @property
    def samples_per_second(self) -> float:
        """Training throughput of this process so far."""
        return self.samples / self.seconds if self.seconds > 0 else 0.0


@dataclass(frozen=True)
class Rescue:
    """A return to a healthy checkpoint. JSON-ready by ``dataclasses.asdict``."""

    number: int
    """One-based."""
    from_update: int
    to_update: int
    to_epoch: int
    """One-based epoch that training goes on with."""
    lr_factor: float
    """On every scheduled learning rate from here on; all rescues so far together."""
    warmup_updates: int
    """Updates over which the learning rate rises again."""
    precision: str | None
    """The number format from here on, where it was the suspect."""
    judge: str
    reason: str

    def scale(self, update: int) -> float:
        """Factor on the scheduled learning rate of the update after ``update`` updates."""
        rise = (update - self.to_update + 1) / self.warmup_updates if self.warmup_updates else 1.0
        return self.lr_factor * min(1.0, rise)


@dataclass(frozen=True)
class EpochEvent:
    """One finished epoch with its validation figures. JSON-ready by ``dataclasses.asdict``."""

    epoch: int
    """One-based, as on the console."""
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
    """Gradient norm per model component at the epoch's last update."""
    stepped: int = 1
    """Updates of this epoch that the gradient scaler did not skip. Without any, ``train_loss`` and ``grad_norm`` are
    NaN though nothing is wrong."""
    health: str = Health.SOUND.word
    """What the judges think of the model at its end, as :attr:`Health.word`; a judge that is asked sees what those
    asked before it said."""


class Observer(Protocol):
    """Watches; never changes what the loop does. Every method may be left as inherited from ``BaseObserver``."""

    def on_start(self, plan: Mapping[str, Any]) -> None: ...
    def on_update(self, event: UpdateEvent) -> None: ...
    def on_epoch(self, event: EpochEvent) -> None: ...
    def on_alarm(self, alarm: Alarm, action: str) -> None: ...
    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None: ...
    def on_finish(self, verdict: Verdict) -> None: ...


class BaseObserver:
    """An observer that does nothing: inherit and override what is needed."""

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Training begins or resumes; ``plan`` holds total updates, epochs, position, and what happened before."""

    def on_update(self, event: UpdateEvent) -> None:
        """A logged update."""

    def on_epoch(self, event: EpochEvent) -> None:
        """An epoch has been trained and validated."""

    def on_alarm(self, alarm: Alarm, action: str) -> None:
        """A guard saw something wrong; ``action`` is warned, stopped or rescued."""

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """Training goes on from a healthy checkpoint; ``plan`` is as in ``on_start``, for the position of then."""

    def on_finish(self, verdict: Verdict) -> None:
        """Training has ended, for whatever reason."""


class Judge(Protocol):
    """Looks at updates and epochs and says how to go on. Its state is part of every checkpoint."""

    name: str

    @property
    def health(self) -> Health: ...
    def between_updates(self) -> Verdict: ...
    def after_update(self, event: UpdateEvent) -> Verdict: ...
    def after_epoch(self, event: EpochEvent) -> Verdict: ...
    def state_dict(self) -> dict[str, Any]: ...
    def load_state_dict(self, state: dict[str, Any]) -> None: ...


class BaseJudge:
    """A judge that always says continue and keeps no state."""

    name = "judge"

    @property
    def health(self) -> Health:
        """What it thinks of the model, as the newest updates and the last epoch showed it."""
        return Health.SOUND

    def between_updates(self) -> Verdict:
        """Asked after every update, logged or not: nothing may be read from the device here."""
        return CONTINUE

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
