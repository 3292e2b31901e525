"""The non-finite guard: NaN and infinities in loss or gradient."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypedDict

from counterpoise.config.schema import AT_LEAST_ONE
from counterpoise.events import CONTINUE, BaseJudge, EpochEvent, Health, UpdateEvent, Verdict
from counterpoise.guards.causes import Circumstances
from counterpoise.guards.guard import Alarms, Policy, Window
from counterpoise.typed import Count, checked

WINDOW = 5
"""Logged updates whose losses are shown with an alarm."""


@dataclass(frozen=True, kw_only=True)
class NonFiniteConfig:
    """When NaN and infinities count. An update that has one is left out and counted in any case."""

    patience: Annotated[int, AT_LEAST_ONE] = 3
    """Such updates in a row, logged or not, before it counts."""
    scaler_patience: Annotated[int, AT_LEAST_ONE] = 40
    """Updates in a row that the gradient scaler of fp16 may skip in search of its scale."""


class NonFiniteState(TypedDict):
    """What a checkpoint keeps of the guard."""

    window: dict[str, Any]
    seen: dict[str, Count]
    alarmed: bool
    grave: bool


class NonFiniteGuard(BaseJudge):
    """Counts updates whose loss or gradient was not finite, and looks at every epoch's validation loss.

    An overflow that the gradient scaler answers by a smaller scale is no finding: it looks for its scale that way. But
    from 65,536 down to 1 takes it 16 updates; one that finds none in ``scaler_patience`` never will.

    Args:
        config: thresholds.
        policy: what happens when something counts.
        run: what the likely cause depends on.
    """

    Config: ClassVar[type] = NonFiniteConfig
    name = "non_finite"

    def __init__(self, config: NonFiniteConfig, policy: Policy, run: Circumstances) -> None:
        self.config = config
        self.window = Window(WINDOW)
        self.alarms = Alarms(self.name, policy, run, self.window)
        self._seen = {"update": 0, "skipped": 0, "non_finite": 0, "overflows": 0}
        self._alarmed = False
        self._grave = False
        """Whether the row that counts was told already."""

    @property
    def health(self) -> Health:
        """Alarmed while the newest logged updates, or the last epoch, held anything that is not finite."""
        return Health.ALARMED if self._alarmed else Health.SOUND

    def after_update(self, event: UpdateEvent) -> Verdict:
        """Look at what happened since the last logged update."""
        self.window.add(event)
        new = event.non_finite - self._seen["non_finite"]
        overflows = self._overflows(event)
        self._seen |= {"update": event.update, "skipped": event.skipped, "non_finite": event.non_finite}
        warned, self._alarmed = self._alarmed, new > 0 or overflows >= self.config.scaler_patience
        grave, self._grave = self._grave, event.non_finite_in_a_row >= self.config.patience
        if self._grave and not grave:
            seen = f"loss or gradient was not finite in {event.non_finite_in_a_row} updates in a row"
            return self._alarm("non_finite", "stop", seen, event)
        if overflows >= self.config.scaler_patience:
            self._seen["overflows"] = 0
            return self._alarm("scaler", "stop", f"the gradient scaler skipped {overflows} updates in a row", event)
        if new and not warned and not self._grave:
            return self._alarm("non_finite", "warning", f"{new} updates left out: loss or gradient not finite", event)
        return CONTINUE

    def _overflows(self, event: UpdateEvent) -> int:
        """Updates in a row that the scaler skipped, counted over stretches in which it skipped all."""
        skipped, updates = event.skipped - self._seen["skipped"], event.update - self._seen["update"]
        self._seen["overflows"] = self._seen["overflows"] + skipped if skipped and skipped == updates else 0
        return self._seen["overflows"]

    def _alarm(self, kind: str, severity: Any, seen: str, event: UpdateEvent) -> Verdict:
        message = f"up to update {event.update} (epoch {event.epoch}) {seen}"
        return self.alarms.give(kind, severity, message, update=event.update, epoch=event.epoch, broken=True)

    def after_epoch(self, event: EpochEvent) -> Verdict:
        """Look at the validation loss, which nothing leaves out."""
        loss = float(event.valid["loss"])
        if math.isfinite(loss):
            return CONTINUE
        self._alarmed = True
        message = f"in epoch {event.epoch} the validation loss is {loss}"
        return self.alarms.give("non_finite", "stop", message, update=event.update, epoch=event.epoch, broken=True)

    def state_dict(self) -> dict[str, Any]:
        """The window and what was counted."""
        told = {"alarmed": self._alarmed, "grave": self._grave}
        return {"window": self.window.state_dict(), "seen": self._seen, **told}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up ``state_dict``'s answer again."""
        if state:
            found = checked(NonFiniteState, state, self.name)
            if found["seen"].keys() != self._seen.keys():
                raise ValueError(f"{self.name}.seen: expected {', '.join(self._seen)}")
            self.window.load_state_dict(found["window"])
            self._seen = dict(found["seen"])
            self._alarmed, self._grave = found["alarmed"], found["grave"]
