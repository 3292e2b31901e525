"""The collapse guard: a model that answers with one class, or gets no gradient any more, is seen and judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, SHARE, Range
from counterpoise.events import CONTINUE, BaseJudge, EpochEvent, Health, UpdateEvent, Verdict
from counterpoise.guards.causes import Circumstances
from counterpoise.guards.guard import Alarms, Policy, Window

BY_UPDATE = ("zero_gradients", "exploding", "constant_predictions")
"""Findings that are counted by logged updates; the others are counted by epochs."""
FITTED = 1e-3
"""A training loss below this is one that has nothing left to teach: gradients of zero are right then."""


@dataclass(frozen=True, kw_only=True)
class CollapseConfig:
    """When predictions or gradients have collapsed. Every class is watched."""

    first_epoch: Annotated[int, AT_LEAST_ONE] = 3
    """The first epoch (one-based) whose predictions count: a model that has just begun may favour one class."""
    first_update: Annotated[int, NON_NEGATIVE] = 100
    """The first update whose predictions count: on small data three epochs are next to nothing."""
    zero_grad_norm: Annotated[float, NON_NEGATIVE] = 1e-7
    """A gradient norm below this is zero."""
    explosion: Annotated[float, Range(gt=1)] = 3.0
    """A training loss of this many times what it was in the beginning has exploded."""
    window: Annotated[int, AT_LEAST_ONE] = 5
    """Logged updates that are looked at together."""
    patience: Annotated[int, AT_LEAST_ONE] = 3
    """Logged updates in a row with a finding before it counts."""
    window_support: Annotated[int, AT_LEAST_ONE] = 20
    """Samples of other classes than the largest that a window must hold before its predictions or its loss count: with
    fewer, both are chance."""
    minimum_support: Annotated[int, AT_LEAST_ONE] = 5
    """A class with fewer validation samples than this is not judged."""
    sure_support: Annotated[int, AT_LEAST_ONE] = 10
    """A class with fewer validation samples than this may be missed by chance: it must be for ``share_patience`` epochs
    in a row."""
    warn_share: Annotated[float, SHARE] = 0.3
    """A class that is predicted less often than this part of its share is warned about."""
    stop_share: Annotated[float, SHARE] = 0.2
    """Below this part of its share, for ``share_patience`` epochs in a row, it has collapsed."""
    share_patience: Annotated[int, AT_LEAST_ONE] = 3
    """Epochs in a row."""


class CollapseGuard(BaseJudge):
    """Watches predicted classes and gradients, per logged update and per epoch.

    Args:
        config: thresholds.
        policy: what happens when something counts.
        run: what the likely cause depends on.
    """

    Config: ClassVar[type] = CollapseConfig
    name = "collapse"

    def __init__(self, config: CollapseConfig, policy: Policy, run: Circumstances) -> None:
        self.config = config
        self.window = Window(config.window)
        self.alarms = Alarms(self.name, policy, run, self.window)
        self._rows: dict[str, int] = {}
        """Findings in a row: those of ``BY_UPDATE``, and ``share.<class>`` by epoch."""
        self._never: list[str] = []
        """Classes that the last epoch never predicted, counted or not."""
        self._rare: list[str] = []
        """Classes below the warning's share."""
        self._gone: list[str] = []
        """Classes that have collapsed."""
        self._lost = False
        """Whether the last epoch's validation loss was that of an exploded model."""

    @property
    def health(self) -> Health:
        """Findings count here from the first update on: nothing is gone back to that had one."""
        if self._gone:
            return Health.COLLAPSED
        if self._never:
            return Health.DOUBTFUL
        found = self._rare or self._lost or any(map(self._row, BY_UPDATE))
        return Health.ALARMED if found else Health.SOUND

    def after_update(self, event: UpdateEvent) -> Verdict:
        """Look at a logged update: at the gradients always, at the predictions from the first epoch that counts on."""
        self.window.add(event)
        zero = event.largest_grad_norm < self.config.zero_grad_norm and not abs(event.loss) < FITTED
        if self._count("zero_gradients", zero) == self.config.patience:
            seen = (
                f"no gradient norm was above {self.config.zero_grad_norm:g} for {self.config.patience} logged updates"
            )
            return self._update_alarm("zero_gradients", seen, event)
        exploded = self._is_judged() and self.window.loss > self.config.explosion * self.window.first_loss
        if self._count("exploding", exploded) == self.config.patience:
            seen = f"the training loss is {self.window.loss:.4g}, in the beginning it was {self.window.first_loss:.4g}"
            return self._update_alarm("exploding", seen, event)
        only = self._only_class() if self._has_begun(event) else None
        if self._count("constant_predictions", only is not None) == self.config.patience:
            seen = f"every training sample of the last {self.config.window} logged updates was predicted as {only!r}"
            return self._update_alarm("constant_predictions", seen, event)
        return CONTINUE

    def _has_begun(self, event: UpdateEvent | EpochEvent) -> bool:
        return event.epoch >= self.config.first_epoch and event.update >= self.config.first_update

    def _is_judged(self) -> bool:
        """Whether the window is full, and holds enough samples of others than its largest class."""
        if not self.window.full or not all(event.predicted for event in self.window.events):
            return False
        _, actual = self.window.counts()
        return sum(actual) - max(actual) >= self.config.window_support

    def _only_class(self) -> str | None:
        """The one class that the window predicts although it holds enough samples of others."""
        if not self._is_judged():
            return None
        predicted, _ = self.window.counts()
        present = [index for index, count in enumerate(predicted) if count]
        return self.alarms.run.classes[present[0]] if len(present) == 1 else None

    def _update_alarm(self, kind: str, seen: str, event: UpdateEvent) -> Verdict:
        message = f"at update {event.update} (epoch {event.epoch}) {seen}"
        return self.alarms.give(kind, "stop", message, update=event.update, epoch=event.epoch)

    def after_epoch(self, event: EpochEvent) -> Verdict:
        """Look at the predicted share of every class of the validation split."""
        judged = {
            name: figures
            for name, figures in event.valid.get("per_class", {}).items()
            if figures["support"] >= self.config.minimum_support
        }
        self._never = [name for name, figures in judged.items() if not figures["predicted"]]
        self._rare = [name for name, figures in judged.items() if _part(figures) < self.config.warn_share]
        self._gone = []
        self._lost = event.valid["loss"] > self.config.explosion * self.window.first_loss
        return self._judge_shares(judged, event) if self._has_begun(event) else CONTINUE

    def _judge_shares(self, judged: Mapping[str, Mapping[str, float]], event: EpochEvent) -> Verdict:
        patience, part = self.config.share_patience, self.config.stop_share
        rows = {name: self._count(f"share.{name}", _part(judged[name]) < part) for name in judged}
        lasting = [name for name, row in rows.items() if row >= patience]
        sure = [name for name in self._never if judged[name]["support"] >= self.config.sure_support]
        if sure:
            self._gone = sure
            return self._epoch_alarm("never_predicted", "stop", sure, "never predicted", event)
        if lasting:
            self._gone = lasting
            seen = f"predicted less than {part:.0%} of their share for {patience} epochs"
            return self._epoch_alarm("under_predicted", "stop", lasting, seen, event)
        if self._rare:
            seen = f"predicted less than {self.config.warn_share:.0%} of their share"
            return self._epoch_alarm("under_predicted", "warning", self._rare, seen, event)
        return CONTINUE

    def _epoch_alarm(self, kind: str, severity: Any, names: list[str], seen: str, event: EpochEvent) -> Verdict:
        figures = event.valid["per_class"]
        shares = ", ".join(
            f"{name!r} ({figures[name]['predicted_share']:.1%} of {figures[name]['actual_share']:.1%})"
            for name in names
        )
        predicted, actual = (
            {name: float(each[key]) for name, each in figures.items()} for key in ("predicted_share", "actual_share")
        )
        message = f"in epoch {event.epoch} {shares} {seen}"
        return self.alarms.give(
            kind, severity, message, update=event.update, epoch=event.epoch, shares=(predicted, actual)
        )

    def _row(self, name: str) -> int:
        return self._rows.get(name, 0)

    def _count(self, name: str, found: bool) -> int:
        self._rows[name] = self._row(name) + 1 if found else 0
        return self._rows[name]

    def state_dict(self) -> dict[str, Any]:
        """The window, the rows, and the last epoch's findings."""
        found = {"never": self._never, "rare": self._rare, "gone": self._gone, "lost": self._lost}
        return {"window": self.window.state_dict(), "rows": self._rows, **found}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up ``state_dict``'s answer again."""
        if state:
            self.window.load_state_dict(state["window"])
            self._rows, self._lost = dict(state["rows"]), bool(state["lost"])
            self._never, self._rare, self._gone = (list(state[name]) for name in ("never", "rare", "gone"))


def _part(figures: Mapping[str, float]) -> float:
    """Predicted share as a part of the actual one; infinite for a class that is not there."""
    return figures["predicted_share"] / figures["actual_share"] if figures["actual_share"] else math.inf
