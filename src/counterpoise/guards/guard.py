"""What the guards share: the policy, the window of figures they look back on, and the alarm they give."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from typing import Any, Literal, TypedDict

from counterpoise.events import Alarm, Decision, UpdateEvent, Verdict
from counterpoise.guards.causes import Circumstances, Evidence, likely_cause
from counterpoise.typed import Real, built, checked

Policy = Literal["off", "warn", "stop", "rescue"]

DECISIONS = {"warn": Decision.CONTINUE, "stop": Decision.ABORT, "rescue": Decision.ROLL_BACK}
"""What a policy makes of an alarm that is bad enough to act on."""

FIRST_WINDOWS = 3
"""Windows that tell the loss in the beginning."""


class WindowState(TypedDict):
    """What a checkpoint keeps of a window."""

    events: list[dict[str, Any]]
    first_losses: list[float]
    best_loss: Real
    peak_lr: float


class Window:
    """The last logged updates, and what has to be remembered of all before them.

    Args:
        size: logged updates that are kept.
    """

    def __init__(self, size: int) -> None:
        self.events: deque[UpdateEvent] = deque(maxlen=size)
        self.first_losses: list[float] = []
        """Means over the first full windows: what a model that knows nothing yet has."""
        self.best_loss = math.inf
        """The smallest mean over a full window so far."""
        self.peak_lr = 0.0

    def add(self, event: UpdateEvent) -> None:
        """Take up a logged update."""
        self.events.append(event)
        self.peak_lr = max(self.peak_lr, event.lr)
        if self.full and math.isfinite(self.loss):
            self.best_loss = min(self.best_loss, self.loss)
            if len(self.first_losses) < FIRST_WINDOWS:
                self.first_losses.append(self.loss)

    @property
    def full(self) -> bool:
        """Whether as many updates as it holds have been logged."""
        return len(self.events) == self.events.maxlen

    @property
    def losses(self) -> tuple[float, ...]:
        """Oldest first."""
        return tuple(event.loss for event in self.events)

    @property
    def loss(self) -> float:
        """Mean over all updates of the window, logged or not; NaN while it is empty."""
        return sum(event.mean_loss for event in self.events) / len(self.events) if self.events else math.nan

    @property
    def first_loss(self) -> float:
        """The largest mean over one of the first full windows; NaN before."""
        return max(self.first_losses, default=math.nan)

    def counts(self) -> tuple[list[int], list[int]]:
        """Samples predicted as, and of, each class, over the window."""
        columns = [(event.predicted, event.actual) for event in self.events if event.predicted]
        predicted, actual = ([sum(column) for column in zip(*side, strict=True)] for side in zip(*columns, strict=True))
        return predicted, actual

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        events = [dict(vars(event)) for event in self.events]
        means = {"first_losses": self.first_losses, "best_loss": self.best_loss}
        return {"events": events, **means, "peak_lr": self.peak_lr}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up ``state_dict``'s answer again. Raises ``ValueError`` for what is none."""
        content = checked(WindowState, state, "window")
        events = [built(UpdateEvent, event, f"window.events[{place}]") for place, event in enumerate(content["events"])]
        if len({len(side) for event in events if event.predicted for side in (event.predicted, event.actual)}) > 1:
            raise ValueError("window.events: they count other numbers of classes")
        self.events.clear()
        self.events.extend(events)
        self.first_losses = list(content["first_losses"])
        self.best_loss, self.peak_lr = content["best_loss"], content["peak_lr"]


class Alarms:
    """Turns what a guard saw into a verdict by the policy.

    Args:
        judge: the guard's name.
        policy: ``warn``, ``stop`` or ``rescue``.
        run: what the causes depend on.
        window: the guard's own.
    """

    def __init__(self, judge: str, policy: Policy, run: Circumstances, window: Window) -> None:
        self.judge = judge
        self.policy = policy
        self.run = run
        self.window = window

    def give(
        self,
        kind: str,
        severity: Literal["warning", "stop"],
        message: str,
        *,
        update: int,
        epoch: int,
        shares: tuple[Mapping[str, float], Mapping[str, float]] | None = None,
        broken: bool = False,
    ) -> Verdict:
        """The verdict for something seen.

        ``kind`` to ``epoch`` are the alarm's; ``shares`` are the predicted and actual ones of the validation split, or
        the window's where there are none; ``broken`` says that loss or gradient was not finite.
        """
        last = self.window.events[-1] if self.window.events else None
        predicted, actual = shares or self._training_shares()
        evidence = self._evidence(actual, broken)
        cause = likely_cause(evidence, self.run)
        alarm = Alarm(
            kind=kind,
            severity=severity,
            update=update,
            epoch=epoch,
            message=message,
            cause=cause.name,
            explanation=cause.explanation,
            override=cause.override,
            loss_window=self.window.losses,
            lr=evidence.lr,
            grad_norm=evidence.grad_norm,
            component_grad_norms=dict(last.component_grad_norms) if last else {},
            predicted_share=predicted,
            actual_share=actual,
            shares_of="training" if shares is None else "validation",
        )
        decision = DECISIONS[self.policy] if severity == "stop" else Decision.CONTINUE
        return Verdict(decision, self.judge, message, alarm)

    def _training_shares(self) -> tuple[dict[str, float], dict[str, float]]:
        if not any(event.predicted for event in self.window.events):
            return {}, {}
        predicted, actual = self.window.counts()
        total = max(1, sum(actual))
        names = self.run.classes
        return (
            {name: count / total for name, count in zip(names, predicted, strict=True)},
            {name: count / total for name, count in zip(names, actual, strict=True)},
        )

    def _evidence(self, actual: Mapping[str, float], broken: bool) -> Evidence:
        events = list(self.window.events)
        last = events[-1] if events else None
        return Evidence(
            loss=self.window.loss,
            first_loss=self.window.first_loss,
            best_loss=self.window.best_loss,
            lr=last.lr if last else math.nan,
            peak_lr=self.window.peak_lr,
            grad_norm=last.grad_norm if last else math.nan,
            largest_grad_norm=max((event.largest_grad_norm for event in events), default=math.nan),
            components=dict(last.component_grad_norms) if last else {},
            one_label=self._one_label(),
            one_label_by_chance=self._one_label_by_chance(),
            half_precision=last.half_precision if last else False,
            majority_share=max(actual.values(), default=0.0),
            broken=broken,
        )

    def _one_label_by_chance(self) -> float:
        """The share of updates that hold one class when samples are drawn at random: the sum of every share^B."""
        events = list(self.window.events)
        if len(events) < 2 or not events[-1].actual:
            return 0.0
        _, actual = self.window.counts()
        updates, total = events[-1].update - events[0].update, sum(sum(event.actual) for event in events[1:])
        size = total / max(1, updates)
        return float(sum((count / max(1, sum(actual))) ** size for count in actual))

    def _one_label(self) -> float:
        events = list(self.window.events)
        if len(events) < 2:
            return 0.0
        updates = events[-1].update - events[0].update  # the first event's own updates began before the window
        return min(1.0, sum(event.one_label for event in events[1:]) / max(1, updates))
