"""Which records are learnt from and which are measured on: one split, by shares.

Both ways of splitting give every class to every split where it has enough records; scikit-learn's splitters do not (a
class of five records is absent from most splits of 10 %), so shares are dealt out class by class here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counterpoise.errors import Problem, UserError

Indices = NDArray[np.int64]
_NAMES = ("train", "valid", "test")


class Shares(NamedTuple):
    """Shares of the records; what is left is for training."""

    valid: float
    test: float
    """0 for no test split."""


class Split(NamedTuple):
    """Positions of the records of each split, ascending; ``test`` may be empty."""

    train: Indices
    valid: Indices
    test: Indices


def stratified(labels: NDArray[np.int64], shares: Shares, seed: int, *, classes: Sequence[str] | None = None) -> Split:
    """Deal the records of each class out by ``shares``, at random but the same for the same seed.

    Args:
        labels: class indices, ``[N]``.
        shares: of valid and test.
        seed: fixes the split.
        classes: names for messages; a class without any record is then an error too.

    Raises:
        UserError: naming each class with fewer records than there are splits.
    """
    splits = 3 if shares.test else 2
    counts = np.bincount(labels, minlength=len(classes or ()))
    _require(counts, splits, "records", classes, present_only=classes is None)
    generator = np.random.default_rng(seed)
    parts: tuple[list[Indices], ...] = ([], [], [])
    for label in np.flatnonzero(counts):
        members = generator.permutation(np.flatnonzero(labels == label))
        test = min(_quota(len(members), shares.test), len(members) - 2) if shares.test else 0
        valid = min(_quota(len(members), shares.valid), len(members) - 1 - test)
        for part, chosen in zip(parts, np.split(members, [-(valid + test), len(members) - test]), strict=True):
            part.append(chosen)
    return Split(*(np.sort(np.concatenate(part)) for part in parts))


def grouped(
    groups: Sequence[str],
    labels: NDArray[np.int64],
    shares: Shares,
    seed: int,
    *,
    classes: Sequence[str] | None = None,
) -> Split:
    """Deal whole groups out so that no group stands in two splits and class shares stay close.

    Greedy, in the order of iterative stratification (Sechidis et al., 2011): the groups of the rarest class first, of
    them the largest first. Each goes where it most reduces the chi-square distance from the wanted records, every class
    weighing the same. Once only as many groups of a class are left as there are splits without it, those
    splits get them.

    Args:
        groups: the group of each record, ``[N]``.
        labels: class indices, ``[N]``.
        shares: of valid and test.
        seed: fixes the order among equals.
        classes: names for messages; a class without any record is then an error too.

    Raises:
        UserError: naming each class that stands in too few groups to be in every split.
    """
    splits = 3 if shares.test else 2
    members, counts = by_group(groups, labels, classes)
    _require((counts > 0).sum(axis=0), splits, "groups", classes, present_only=classes is None)
    wanted = (1 - shares.valid - shares.test, shares.valid, shares.test)[:splits]
    chosen = deal(counts, np.asarray(wanted), np.random.default_rng(seed))
    remedy = "Use smaller groups, or another data.split_seed."
    check_dealt(counts, chosen, splits, classes, Problem("data.split", "every split", remedy))
    of_record = chosen[members]
    return Split(*(np.flatnonzero(of_record == split) for split in range(3)))


def by_group(
    groups: Sequence[str], labels: NDArray[np.int64], classes: Sequence[str] | None
) -> tuple[Indices, NDArray[np.int64]]:
    """The number of each record's group ``[N]``, and records by group and class ``[G, C]``."""
    members = pa.array(groups).dictionary_encode().indices.to_numpy()
    counts = np.zeros((members.max(initial=-1) + 1, max(labels.max(initial=-1) + 1, len(classes or ()))), np.int64)
    np.add.at(counts, (members, labels), 1)
    return members, counts


def check_dealt(
    counts: NDArray[np.int64], chosen: Indices, parts: int, classes: Sequence[str] | None, problem: Problem
) -> None:
    """Raise ``problem``, whose message is what each class should stand in, if some class does not."""
    have = np.stack([counts[chosen == part].sum(axis=0) for part in range(parts)])
    short = np.flatnonzero(((have == 0) & (counts.sum(axis=0) > 0)).any(axis=0))
    if len(short):
        names = ", ".join(name_of(int(label), classes) for label in short)
        what = f"class {names} could not be put into {problem.message} without cutting a group."
        raise UserError(replace(problem, message=what))


def deal(counts: NDArray[np.int64], shares: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
    """The split of each group, ``[G]``, from records by group and class ``[G, C]`` and shares ``[S]``."""
    totals = np.maximum(counts.sum(axis=0), 1)
    need = shares[:, None] * totals  # [S, C]
    has = np.zeros(need.shape, bool)
    chosen = np.full(len(counts), -1)
    order = generator.permutation(len(counts))
    size = (counts / totals).sum(axis=1)
    for label in np.argsort(totals, kind="stable"):
        free = order[(chosen[order] < 0) & (counts[order, label] > 0)]
        free = free[np.argsort(-size[free], kind="stable")]
        for position, group in enumerate(free):
            lacking = np.flatnonzero(~has[:, label])
            must = len(lacking) > 0 and len(free) - position <= len(lacking)
            options = lacking if must else np.arange(len(shares))
            less = ((2 * need[options] - counts[group]) * counts[group] / totals**2).sum(axis=1) / shares[options]
            chosen[group] = best = options[less.argmax()]
            need[best] -= counts[group]
            has[best] |= counts[group] > 0
    return chosen


def _quota(records: int, share: float) -> int:
    return max(1, round(records * share))


def _require(
    counts: NDArray[np.int64], splits: int, unit: str, classes: Sequence[str] | None, *, present_only: bool
) -> None:
    few = [label for label, count in enumerate(counts) if count < splits and (count or not present_only)]
    if few:
        needed = f"{', '.join(_NAMES[: splits - 1])} and {_NAMES[splits - 1]} need one each."
        remedy = "Add records, merge the class with another" + (", or set data.test_share=0." if splits == 3 else ".")
        raise UserError(
            Problem("data.split", f"class {name_of(label, classes)} has {counts[label]} {unit}; {needed}", remedy)
            for label in few
        )


def name_of(label: int, classes: Sequence[str] | None) -> str:
    return repr(classes[label]) if classes else str(label)
