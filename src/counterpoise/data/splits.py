"""Which records are learnt from and which are measured on.

Both ways of splitting give every class to every split where it has enough records; scikit-learn's splitters do not (a
class of five records is absent from most splits of 10 %), so shares are dealt out class by class here.
"""

from __future__ import annotations

from collections.abc import Sequence
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


def stratified_folds(
    labels: NDArray[np.int64], folds: int, seed: int, *, classes: Sequence[str] | None = None
) -> Indices:
    """Deal the records of each class out to ``folds`` parts; the parts' sizes, and each class's, differ by one at most.

    Args:
        labels: class indices, ``[N]``.
        folds: how many parts.
        seed: fixes them.
        classes: names for messages; a class without any record is then an error too.

    Returns:
        the fold of each record, ``[N]``.

    Raises:
        UserError: naming each class with fewer records than there are folds.
    """
    counts = np.bincount(labels, minlength=len(classes or ()))
    few = [label for label, count in enumerate(counts) if count < folds and (count or classes)]
    if few:
        raise UserError(
            Problem(
                "data.folds",
                f"class {_name(label, classes)} has {counts[label]} records; each of the {folds} folds needs one.",
                f"Use data.folds={counts[label]} at most, add records, or merge the class with another."
                if counts[label] > 1
                else "Add records, or merge the class with another.",
            )
            for label in few
        )
    generator = np.random.default_rng(seed)
    found = np.empty(len(labels), np.int64)
    start = 0
    for label in np.flatnonzero(counts):
        members = generator.permutation(np.flatnonzero(labels == label))
        found[members] = (start + np.arange(len(members))) % folds
        start += len(members)  # the next class goes on where this one ended, so that no fold gets all the odd ones
    return found


def fold_split(
    labels: NDArray[np.int64],
    folds: int,
    fold: int,
    valid_share: float | None,
    seed: int,
    *,
    classes: Sequence[str] | None = None,
) -> Split:
    """One of :func:`stratified_folds` is held out.

    Args:
        labels: class indices, ``[N]``.
        folds: how many there are.
        fold: the one that is held out, from 0.
        valid_share: the fold is the test split, and this share of the rest is for validation; ``None``: the fold is
            the validation split, and there is no test split.
        seed: fixes the split.
        classes: names for messages; a class without any record is then an error too.

    Raises:
        UserError: naming each class with too few records.
    """
    chosen = stratified_folds(labels, folds, seed, classes=classes) == fold
    held_out, rest = np.flatnonzero(chosen), np.flatnonzero(~chosen)
    if valid_share is None:
        return Split(rest, held_out, held_out[:0])
    inner = stratified(labels[rest], Shares(valid_share, 0), seed, classes=classes)
    return Split(rest[inner.train], rest[inner.valid], held_out)


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
    members = pa.array(groups).dictionary_encode().indices.to_numpy()
    counts = np.zeros((members.max(initial=-1) + 1, max(labels.max(initial=-1) + 1, len(classes or ()))), np.int64)
    np.add.at(counts, (members, labels), 1)
    _require((counts > 0).sum(axis=0), splits, "groups", classes, present_only=classes is None)
    wanted = (1 - shares.valid - shares.test, shares.valid, shares.test)[:splits]
    chosen = _deal(counts, np.asarray(wanted), np.random.default_rng(seed))
    have = np.stack([counts[chosen == split].sum(axis=0) for split in range(splits)])
    short = np.flatnonzero(((have == 0) & (counts.sum(axis=0) > 0)).any(axis=0))
    if len(short):
        names = ", ".join(_name(int(label), classes) for label in short)
        what = f"class {names} could not be put into every split without cutting a group."
        raise UserError(Problem("data.split", what, "Use smaller groups, or another data.split_seed."))
    of_record = chosen[members]
    return Split(*(np.flatnonzero(of_record == split) for split in range(3)))


def _deal(counts: NDArray[np.int64], shares: NDArray[np.float64], generator: np.random.Generator) -> NDArray[np.int64]:
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
            Problem("data.split", f"class {_name(label, classes)} has {counts[label]} {unit}; {needed}", remedy)
            for label in few
        )


def _name(label: int, classes: Sequence[str] | None) -> str:
    return repr(classes[label]) if classes else str(label)
