"""Whether a model still ranks the samples of a class above the others, apart from what it predicts.

Predictions alone do not say that a model has collapsed: one that never predicts a rare class may rank its samples well,
with a threshold that is off, and on small data predictions swing from epoch to epoch. A collapsed model ranks at
chance. So the probability of each class is compared between its own samples and the others, over as many training
samples as it takes to tell.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, TypedDict

from counterpoise.events import EpochEvent, UpdateEvent
from counterpoise.typed import Count, built, checked

ABOVE_CHANCE: Final = 3.0
"""Standard errors above chance from which a ranking is one: 1 in 700 looks at a collapsed model shows as much."""
USEFUL: Final = 0.54
"""Separation (Cohen's d) of a weak ranking, with an area under the ROC curve of 0.65."""
ENOUGH: Final = ((ABOVE_CHANCE + 1.28) / USEFUL) ** 2
"""Samples, as the harmonic mean of a class and the others halved, among which such a ranking shows 9 times in 10."""


@dataclass
class _Class:
    """What is known of one class."""

    since: int = 0
    """The update from which on it has shown no ranking."""
    shown: bool = False
    """Whether it had shown one then."""
    total: float = 0.0
    """Sum of separations times weights since then."""
    weight: float = 0.0

    @property
    def score(self) -> float:
        """The pooled separation in standard errors."""
        return self.total / math.sqrt(self.weight) if self.weight else 0.0

    @property
    def separation(self) -> tuple[float, float]:
        """The pooled separation and its standard error."""
        return (self.total / self.weight, 1 / math.sqrt(self.weight)) if self.weight else (0.0, math.inf)

    def add(self, separation: float, weight: float, update: int) -> None:
        """Take up a reading; one that is not finite says nothing."""
        if not math.isfinite(separation) or not weight:
            return
        self.total += separation * weight
        self.weight += weight
        if max(self.score, separation * math.sqrt(weight)) >= ABOVE_CHANCE:
            self.begin(update, shown=True)

    def begin(self, update: int, *, shown: bool) -> None:
        """Count anew from ``update`` on."""
        self.since, self.shown, self.total, self.weight = update, shown, 0.0, 0.0


UNLEARNT: Final = 3
"""Times the patience with a class that was never ranked above chance: it may just not be learnt yet."""


class RankingState(TypedDict):
    """What a checkpoint keeps of it."""

    update: Count
    lr: float
    classes: dict[str, dict[str, Any]]


class RankingEvidence:
    """What is known of the ranking of each class since it was last above chance.

    Each reading of the training loop gives a separation ``d`` with a standard error of ``1 / sqrt(w)``, where ``w`` is
    ``n m / (n + m)`` of ``n`` samples of the class and ``m`` others; readings are pooled with these weights. Updates
    in which the learning rate still rises do not count.

    Args:
        classes: class names.
        patience: updates without a sign of a ranking before a class counts as at chance, if it was ranked above chance
            before; ``UNLEARNT`` times as many if not.
    """

    def __init__(self, classes: Sequence[str], patience: int) -> None:
        self.patience = patience
        self._update = 0
        self._lr = 0.0
        self._classes = {name: _Class() for name in classes}

    def add_update(self, event: UpdateEvent) -> None:
        """Take up a logged update."""
        self._update = event.update
        rising, self._lr = event.lr > self._lr, event.lr
        total = sum(event.actual)
        for one, own, separation in zip(self._classes.values(), event.actual, event.separation, strict=False):
            if rising:
                one.begin(event.update, shown=one.shown)
            one.add(separation, own * (total - own) / max(1, total), event.update)

    def add_epoch(self, event: EpochEvent) -> None:
        """Take up the validation split's areas under the ROC curve, by class."""
        self._update = event.update
        figures = event.valid.get("per_class", {})
        rows = sum(of_class["support"] for of_class in figures.values())
        for name, one in self._classes.items():
            if name in figures and _is_above_chance(figures[name], rows):
                one.begin(event.update, shown=True)

    def is_above_chance(self, name: str) -> bool:
        """Whether the class was ranked above chance within the last ``patience`` updates."""
        one = self._classes[name]
        return one.shown and self._update - one.since < self.patience

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self._classes)

    @property
    def is_any_above_chance(self) -> bool:
        """Whether some class is: then the model tells its samples apart."""
        return any(map(self.is_above_chance, self._classes))

    def was_lost(self, name: str) -> bool:
        """Whether the class was ranked above chance once and no longer is."""
        return self._classes[name].shown and self.is_at_chance(name)

    def is_at_chance(self, name: str) -> bool:
        """Whether a ranking would have shown by now, in samples and in updates, and none has."""
        one = self._classes[name]
        patience = self.patience * (1 if one.shown else UNLEARNT)
        return one.weight >= ENOUGH and self._update - one.since >= patience

    def words(self, name: str) -> str:
        """What speaks for that, for messages."""
        separation, error = self._classes[name].separation
        updates = self._update - self._classes[name].since
        return f"{name!r} is ranked at chance (separation {separation:.2f} ± {error:.2f} over {updates} updates)"

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        classes = {name: asdict(one) for name, one in self._classes.items()}
        return {"update": self._update, "lr": self._lr, "classes": classes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up ``state_dict``'s answer again."""
        found = checked(RankingState, state, "ranking")
        if found["classes"].keys() != self._classes.keys():
            raise ValueError(f"ranking.classes: expected {', '.join(self._classes)}")
        self._update, self._lr = found["update"], found["lr"]
        classes = {name: built(_Class, found["classes"][name], f"ranking.classes.{name}") for name in self._classes}
        if not all(one.weight >= 0 and math.isfinite(one.weight + one.total) for one in classes.values()):
            raise ValueError("ranking.classes: expected weights of zero or more, and sums that are finite")
        self._classes = classes


def _is_above_chance(figures: Mapping[str, Any], rows: int) -> bool:
    """By the standard error of the area at chance, ``sqrt((n + m + 1) / (12 n m))`` (Mann and Whitney 1947)."""
    own, area = figures["support"], figures.get("roc_auc", math.nan)
    others = rows - own
    if not own or not others or not math.isfinite(area):
        return False
    return bool(area - 0.5 >= ABOVE_CHANCE * math.sqrt((rows + 1) / (12 * own * others)))
