"""What sources share that split their records themselves: by shares, or by folds."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from counterpoise.config.schema import NON_NEGATIVE, Range
from counterpoise.data.records import Records
from counterpoise.data.sources.base import SourceConfig
from counterpoise.data.splits import Shares, fold_split, stratified
from counterpoise.errors import Problem

LISTED = 20
"""Problems of one kind that are told one by one."""
MOST_EDGE_TYPES = 500
"""A relational layer has weights for each type, so that more of them are hardly meant as types."""


@dataclass(frozen=True, kw_only=True)
class SplitConfig(SourceConfig):
    """How records are split, class by class."""

    valid_share: Annotated[float, Range(gt=0, lt=1)] = 0.1
    """Share of the records; with ``folds`` of those outside the fold."""
    test_share: Annotated[float, Range(ge=0, lt=1)] = 0.1
    """Share of the records; 0 for no test split. Without effect with ``folds``."""
    folds: Annotated[int, Range(ge=2)] | None = None
    """Parts of equal size, of which one is held out; null splits by shares."""
    fold: Annotated[int, NON_NEGATIVE] | None = None
    """Which of them, from 0; ``-m 'data.fold=range(0,10)'`` runs ten."""
    held_out: Literal["test", "valid"] = "test"
    """What the fold is for: ``test`` measures the chosen epoch, and validation is drawn from the rest; ``valid`` is
    looked at after every epoch, and there is no test split."""
    split_seed: Annotated[int, NON_NEGATIVE] = 0
    """Fixes the split; apart from ``seed``, so that runs of different seeds are measured on the same records."""

    def problems(self) -> Iterable[Problem]:
        """Settings that contradict each other."""
        if self.folds is None:
            if self.fold is not None:
                yield Problem("fold", "needs data.folds, the number of folds.", "Add data.folds=10.")
            if self.held_out != SplitConfig.held_out:
                yield Problem("held_out", "has no effect without data.folds.", "Add data.folds=10 data.fold=0.")
            if self.valid_share + self.test_share >= 1:
                total = self.valid_share + self.test_share
                yield Problem("valid_share", f"and data.test_share add up to {total:g}; nothing is left to train on.")
        else:
            if self.fold is None:
                what = f"must be given with data.folds={self.folds}: which of them is held out."
                yield Problem("fold", what, f"Add data.fold=0, or -m 'data.fold=range(0,{self.folds})' for all.")
            elif self.fold >= self.folds:
                yield Problem("fold", f"is {self.fold}; with data.folds={self.folds} the last is {self.folds - 1}.")
            if self.test_share != SplitConfig.test_share:
                yield Problem("test_share", "has no effect with data.folds.", "Drop it: the fold is the test split.")


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
    if config.folds is None:
        shares = Shares(config.valid_share, config.test_share)
        split = stratified(records.labels, shares, config.split_seed, classes=records.classes)
    else:
        assert config.fold is not None
        share = config.valid_share if config.held_out == "test" else None
        split = fold_split(records.labels, config.folds, config.fold, share, config.split_seed, classes=records.classes)
    named = {name: records.take(getattr(split, name)) for name in ("train", "valid", "test")}
    return {name: part for name, part in named.items() if name != "test" or len(part)}


def split_notes(config: SplitConfig) -> dict[str, Any]:
    """For ``Dataset.notes``."""
    if config.folds is None:
        return {"kind": "stratified", "seed": config.split_seed}
    facts = {"folds": config.folds, "fold": config.fold, "held_out": config.held_out}
    return {"kind": "folds", "seed": config.split_seed, **facts}
