"""Cross-validation over any data set: all records dealt into parts, of which one is held out."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counterpoise.config.schema import SEED, Range
from counterpoise.data.cache import records_fingerprint
from counterpoise.data.fold_splits import fold_split
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import Problem, fail


@dataclass(frozen=True, kw_only=True)
class FoldsConfig:
    """How all records are dealt into folds; without effect where ``fold`` is null."""

    count: Annotated[int, Range(ge=2)] = 5
    """Parts of equal size, as far as groups allow, of which ``fold`` is held out."""
    by: Literal["auto", "group", "class"] = "auto"
    """``group``: no group in two parts, class shares as even as that allows. ``class``: class by class. ``auto``: by
    group where records have groups."""
    held_out: Literal["test", "valid"] = "test"
    """What the fold is for: ``test`` measures the chosen epoch, and validation is drawn from the rest; ``valid`` is
    looked at after every epoch, and there is no test split."""
    valid_share: Annotated[float, Range(gt=0, lt=1)] = 0.1
    """Share for validation of the records outside the fold."""
    seed: Annotated[int, SEED] = 0
    """Fixes the folds; apart from the run's ``seed``, so that runs of different seeds are measured on the same."""

    def problems(self) -> Iterator[Problem]:
        """Settings that contradict each other."""
        if self.held_out == "valid" and self.valid_share != FoldsConfig.valid_share:
            yield Problem("valid_share", "has no effect with folds.held_out=valid.", "Drop it: validation is the fold.")


def refold(dataset: Dataset, config: FoldsConfig, fold: int) -> Dataset:
    """Pool all records, whatever split their source put them into, and hold one part of them out.

    The parts depend on the records and on ``config`` alone, so that the folds of several runs fit together:
    ``notes["split"]`` has what must agree, and hashes of the pooled records and of their rows.

    Args:
        dataset: with the splits of its source.
        config: how many parts, of what kind.
        fold: the part that is held out, from 0.

    Raises:
        UserError: if a class has too few records or groups, or there are no groups to deal by.
    """
    if not 0 <= fold < config.count:
        raise ValueError(f"fold is {fold}, but there are {config.count}")
    pooled = pool(dataset)
    groups = _groups(pooled, config)
    share = config.valid_share if config.held_out == "test" else None
    labels, classes = pooled.labels, pooled.classes
    split = fold_split(labels, config.count, fold, share, config.seed, groups=groups, classes=classes)
    test = pooled.take(split.test) if len(split.test) else None
    facts: dict[str, Any] = {
        "kind": "folds",
        "by": "class" if groups is None else "group",
        "folds": config.count,
        "fold": fold,
        "held_out": config.held_out,
        "valid_share": share,
        "seed": config.seed,
        "records": len(pooled),
        "data": records_fingerprint(pooled),
        "rows": rows_fingerprint(pooled.rows),
    }
    notes = {**dataset.notes, "split": facts}
    return dataclasses.replace(
        dataset, train=pooled.take(split.train), valid=pooled.take(split.valid), test=test, notes=notes
    )


def pool(dataset: Dataset) -> Records:
    """The records of all splits, in the order of ``row``.

    Raises:
        ValueError: if two records have the same ``row``.
    """
    tables = [records.table for records in dataset.splits().values()]
    everything = Records(pa.concat_tables(tables, promote_options="default"), dataset.classes)
    order = np.argsort(everything.rows, kind="stable")
    if (np.diff(everything.rows[order]) == 0).any():
        raise ValueError(f"{dataset.name} has two records of the same row")
    return everything.take(order)


def rows_fingerprint(rows: NDArray[np.int64]) -> str:
    """Hash of a set of row numbers ``[N]``, whatever their order."""
    return hashlib.blake2b(np.sort(rows).astype("<i8").tobytes(), digest_size=16).hexdigest()


def describe_fold(dataset: Dataset) -> str:
    """For the console: which fold of what; empty for the splits of the source itself."""
    facts = dataset.notes.get("split", {})
    if facts.get("kind") != "folds":
        return ""
    how = "group by group" if facts["by"] == "group" else "class by class"
    what = f"fold {facts['fold']} of {facts['folds']} (from 0) held out for {facts['held_out']}"
    return f"; {what}, all {facts['records']:,} records dealt {how}"


def _groups(pooled: Records, config: FoldsConfig) -> list[str] | None:
    """The group of each record, ``[N]``; ``None`` for folds class by class."""
    if config.by == "class" or (config.by == "auto" and not pooled.has("group")):
        return None
    if not pooled.has("group"):
        remedy = "Name the column of groups (data.group_column of data=table), or use folds.by=class."
        raise fail("folds.by", "is group, but the records have no groups.", remedy)
    groups = pooled.table["group"]
    if groups.null_count:
        what = f"deals by group, but {groups.null_count:,} of {len(pooled):,} records have none."
        raise fail("folds.by", what, "Give each record a group, or use folds.by=class.")
    return groups.to_pylist()  # type: ignore[no-any-return]
