"""The collapse guard: a model that answers with one class, or gets no gradient any more, is seen and judged."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypedDict

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, SHARE, Range
from counterpoise.events import CONTINUE, BaseJudge, EpochEvent, Health, UpdateEvent, Verdict
from counterpoise.guards.causes import Circumstances
from counterpoise.guards.guard import Alarms, Policy, Window
from counterpoise.guards.ranking import RankingEvidence
from counterpoise.typed import Count, checked

BY_UPDATE = ("zero_gradients", "exploding", "constant_predictions")
"""Findings that are counted by logged updates; the others are counted by epochs."""
_NONE = ("", "")
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
    chance_updates: Annotated[int, AT_LEAST_ONE] = 100
    """Updates in which a class that was ranked above chance shows no ranking any more, before its predictions count;
    three times as many for one that never was. Updates in which the learning rate rises do not count, and the others
    must hold enough of its samples for a ranking to show."""


class CollapseState(TypedDict):
    """What a checkpoint keeps of the guard."""

    window: dict[str, Any]
    ranking: dict[str, Any]
    rows: dict[str, Count]
    never: list[str]
    rare: list[str]
    gone: list[str]
    lost: bool


class CollapseGuard(BaseJudge):
    """Watches predicted classes and gradients, per logged update and per epoch.

    Predictions count only where the ranking of a class that is missing is at chance, which takes updates and samples to
    tell (:class:`~counterpoise.guards.ranking.RankingEvidence`): if it is above chance the model has not collapsed, its
    threshold is off. A class that was never learnt, while others are, is warned about.

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
        self.ranking = RankingEvidence(run.classes, config.chance_updates)
        self._rows: dict[str, int] = {}
        """Findings in a row: those of ``BY_UPDATE``, and ``share.<class>`` by epoch."""
        self._never: list[str] = []
        """Classes that the last epoch never predicted, and that are not known to be ranked above chance."""
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
        self.ranking.add_update(event)
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
        only, missing = self._only_class() if self._has_begun(event) else _NONE
        if self._count("constant_predictions", bool(only)) == self.config.patience:
            window = f"the last {self.config.window} logged updates"
            seen = f"every training sample of {window} was predicted as {only!r}; {self.ranking.words(missing)}"
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

    def _only_class(self) -> tuple[str, str]:
        """The one class that the window predicts, and one of the others that is ranked at chance; else two empty names.

        No class may be ranked above chance, and the window must hold enough samples of the others.
        """
        if not self._is_judged() or self.ranking.is_any_above_chance:
            return _NONE
        counts = zip(self.alarms.run.classes, *self.window.counts(), strict=True)
        predicted = [name for name, count, _ in counts if count]
        others = [name for name in self.alarms.run.classes if name not in predicted]
        at_chance = [name for name in others if self.ranking.is_at_chance(name)]
        return (predicted[0], at_chance[0]) if len(predicted) == 1 and at_chance else _NONE

    def _update_alarm(self, kind: str, seen: str, event: UpdateEvent) -> Verdict:
        message = f"at update {event.update} (epoch {event.epoch}) {seen}"
        return self.alarms.give(kind, "stop", message, update=event.update, epoch=event.epoch)

    def after_epoch(self, event: EpochEvent) -> Verdict:
        """Look at the predicted share of every class of the validation split."""
        self.ranking.add_epoch(event)
        judged = {
            name: figures
            for name, figures in event.valid.get("per_class", {}).items()
            if figures["support"] >= self.config.minimum_support
        }
        never = [name for name, figures in judged.items() if not figures["predicted"]]
        self._never = [name for name in never if not self.ranking.is_above_chance(name)]
        self._rare = [name for name, figures in judged.items() if _part(figures) < self.config.warn_share]
        self._gone = []
        self._lost = event.valid["loss"] > self.config.explosion * self.window.first_loss
        return self._judge_shares(judged, event) if self._has_begun(event) else CONTINUE

    def _judge_shares(self, judged: Mapping[str, Mapping[str, float]], event: EpochEvent) -> Verdict:
        patience, part = self.config.share_patience, self.config.stop_share
        rows = {name: self._count(f"share.{name}", _part(judged[name]) < part) for name in judged}
        at_chance = [name for name in judged if self.ranking.is_at_chance(name)]
        learns = self.ranking.is_any_above_chance
        lost = [name for name in at_chance if not learns or self.ranking.was_lost(name)]
        lasting = [name for name in lost if rows[name] >= patience]
        sure = [name for name in lost if name in self._never and judged[name]["support"] >= self.config.sure_support]
        if sure:
            self._gone = sure
            seen = f"never predicted; {self.ranking.words(sure[0])}"
            return self._epoch_alarm("never_predicted", "stop", sure, seen, event)
        if lasting:
            self._gone = lasting
            seen = (
                f"predicted less than {part:.0%} of their share for {patience} epochs; {self.ranking.words(lasting[0])}"
            )
            return self._epoch_alarm("under_predicted", "stop", lasting, seen, event)
        rare = [name for name in at_chance if name in self._rare]
        if rare:
            seen = f"predicted less than {self.config.warn_share:.0%} of their share; {self.ranking.words(rare[0])}"
            return self._epoch_alarm("under_predicted", "warning", rare, seen, event)
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
        evidence = {"window": self.window.state_dict(), "ranking": self.ranking.state_dict()}
        return {**evidence, "rows": self._rows, **found}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up ``state_dict``'s answer again."""
        if state:
            found = checked(CollapseState, state, self.name)
            self.window.load_state_dict(found["window"])
            self.ranking.load_state_dict(found["ranking"])
            self._rows, self._lost = dict(found["rows"]), found["lost"]
            self._never, self._rare, self._gone = list(found["never"]), list(found["rare"]), list(found["gone"])


def _part(figures: Mapping[str, float]) -> float:
    """Predicted share as a part of the actual one; infinite for a class that is not there."""
    return figures["predicted_share"] / figures["actual_share"] if figures["actual_share"] else math.inf
