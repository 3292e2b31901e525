"""What sources of ready-made graphs share: a split by shares, and how many types of edges there may be."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

from counterpoise.config.schema import SEED, Range
from counterpoise.data.records import Records
from counterpoise.data.sources.base import SourceConfig
from counterpoise.data.splits import Shares, stratified
from counterpoise.errors import Problem

LISTED = 20
"""Problems of one kind that are told one by one."""
MOST_EDGE_TYPES = 500
"""A relational layer has weights for each type, so that more of them are hardly meant as types."""


@dataclass(frozen=True, kw_only=True)
class SplitConfig(SourceConfig):
    """How records are split, class by class."""

    valid_share: Annotated[float, Range(gt=0, lt=1)] = 0.1
    """Share of the records for validation."""
    test_share: Annotated[float, Range(ge=0, lt=1)] = 0.1
    """Share of the records for the test; 0 for no test split."""
    split_seed: Annotated[int, SEED] = 0
    """Fixes the split; apart from ``seed``, so that runs of different seeds are measured on the same records."""

    def problems(self) -> Iterable[Problem]:
        """Shares that leave nothing."""
        if self.valid_share + self.test_share >= 1:
            total = self.valid_share + self.test_share
            yield Problem("valid_share", f"and data.test_share add up to {total:g}; nothing is left to train on.")


def edge_type_problems(where: str, what: str, count: int) -> Iterable[Problem]:
    """Whether ``count`` different values of ``what`` are too many to be types of edges."""
    if count > MOST_EDGE_TYPES:
        message = f"{what} has {count:,} different values; at most {MOST_EDGE_TYPES} types of edges are read."
        yield Problem(
            where, message, "It looks like a distance or an id rather than a type: sort it into few, or omit it."
        )


def split_records(records: Records, config: SplitConfig) -> dict[str, Records]:
    """The splits that there are, by name.

    Raises:
        UserError: if a class has too few records.
    """
    shares = Shares(config.valid_share, config.test_share)
    split = stratified(records.labels, shares, config.split_seed, classes=records.classes)
    named = {name: records.take(getattr(split, name)) for name in ("train", "valid", "test")}
    return {name: part for name, part in named.items() if name != "test" or len(part)}


def split_notes(config: SplitConfig) -> dict[str, Any]:
    """For ``Dataset.notes``."""
    return {"kind": "stratified", "seed": config.split_seed}
