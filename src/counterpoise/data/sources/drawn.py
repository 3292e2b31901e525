"""What the demo sets share: records drawn by a generator, from a config and nothing else."""

from __future__ import annotations

import copy
import dataclasses
from abc import abstractmethod
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Annotated, ClassVar, TypeVar

from counterpoise.config.schema import SHARE, Range
from counterpoise.data.records import Dataset
from counterpoise.data.sources.base import Source, SourceConfig
from counterpoise.errors import Problem, UserError

T = TypeVar("T")

KEPT = 2
"""Data sets that a process keeps, for the next run on them."""
_MOST_ATTEMPTS = 50


@dataclass(frozen=True, kw_only=True)
class DrawnConfig(SourceConfig):
    """What can be chosen for any demo set."""

    valid_share: Annotated[float, Range(gt=0, lt=1)] = 0.1
    """Share for validation."""
    test_share: Annotated[float, Range(ge=0, lt=1)] = 0.2
    """Share for the test; 0 leaves no test split."""
    label_noise: Annotated[float, SHARE] = 0.0
    """Share of the training labels that are exchanged; validation and test stay clean, and so does the evidence."""
    data_seed: int = 0
    """Decides every record; apart from the run's seed, so that runs of different seeds share their data."""

    @property
    def shares(self) -> dict[str, float]:
        """Of each split that exists, by name."""
        shares = {"train": 1 - self.valid_share - self.test_share, "valid": self.valid_share}
        return shares | ({"test": self.test_share} if self.test_share else {})

    def share_problems(self) -> Iterator[Problem]:
        """Shares that leave nothing to train on."""
        if self.valid_share + self.test_share >= 1:
            what = f"with valid_share={self.valid_share} and test_share={self.test_share} nothing is left to train on."
            yield Problem("test_share", what)

    @abstractmethod
    def problems(self) -> Iterator[Problem]:
        """What cannot be generated."""


class DrawnSource(Source):
    """Records from a generator. What is drawn is kept for the process: jobs of a multirun share it.

    Args:
        config: what to generate.

    Raises:
        UserError: if nothing usable can be generated from ``config``.
    """

    _drawn: ClassVar[OrderedDict[str, Dataset]] = OrderedDict()

    def __init__(self, config: DrawnConfig) -> None:
        found = list(config.problems())
        if found:
            raise UserError(found)
        self.config = config

    def load(self) -> Dataset:
        """All splits; the same characters for the same config, anywhere."""
        key = f"{type(self).__module__}.{type(self).__qualname__} {self.config!r}"
        if key not in self._drawn:
            self._drawn[key] = self.draw()
        self._drawn.move_to_end(key)
        while len(self._drawn) > KEPT:
            self._drawn.popitem(last=False)
        dataset = self._drawn[key]
        return dataclasses.replace(dataset, notes=copy.deepcopy(dataset.notes))

    @abstractmethod
    def draw(self) -> Dataset:
        """Generate all splits."""

    def random(self, *what: object) -> Random:
        """The random numbers for one thing: a row, a plan, noise."""
        return Random("/".join(map(str, (self.config.data_seed, *what))))


def first_unseen(draw: Callable[[int], T], keys: Callable[[T], set[str]], seen: set[str]) -> T | None:
    """What ``draw`` gives at its first attempt, counted from 0, none of whose keys was seen before, and mark them.

    Returns:
        ``None`` if there are only repetitions.
    """
    for attempt in range(_MOST_ATTEMPTS):
        drawn = draw(attempt)
        own = keys(drawn)
        if seen.isdisjoint(own):
            seen |= own
            return drawn
    return None
