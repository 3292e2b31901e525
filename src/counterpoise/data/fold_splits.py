"""Which records are learnt from and which are measured on: parts of equal size, each of which is held out once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.splits import Indices, Shares, Split, by_group, check_dealt, deal, grouped, name_of, stratified
from counterpoise.errors import Problem, UserError


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
    _require_folds(counts, folds, "records", classes)
    generator = np.random.default_rng(seed)
    found = np.empty(len(labels), np.int64)
    start = 0
    for label in np.flatnonzero(counts):
        members = generator.permutation(np.flatnonzero(labels == label))
        found[members] = (start + np.arange(len(members))) % folds
        start += len(members)  # the next class goes on where this one ended, so that no fold gets all the odd ones
    return found


def grouped_folds(
    groups: Sequence[str],
    labels: NDArray[np.int64],
    folds: int,
    seed: int,
    *,
    classes: Sequence[str] | None = None,
) -> Indices:
    """Deal whole groups out to ``folds`` parts, as :func:`grouped` does to splits: every class stands in every part.

    Args:
        groups: the group of each record, ``[N]``.
        labels: class indices, ``[N]``.
        folds: how many parts.
        seed: fixes the order among equals.
        classes: names for messages; a class without any record is then an error too.

    Returns:
        the fold of each record, ``[N]``.

    Raises:
        UserError: naming each class that stands in fewer groups than there are folds.
    """
    members, counts = by_group(groups, labels, classes)
    _require_folds((counts > 0).sum(axis=0), folds, "groups", classes)
    chosen = deal(counts, np.full(folds, 1 / folds), np.random.default_rng(seed))
    remedy = "Use smaller groups, fewer folds, or another folds.seed."
    check_dealt(counts, chosen, folds, classes, Problem("folds.count", "every fold", remedy))
    found: Indices = chosen[members]
    return found


def fold_split(
    labels: NDArray[np.int64],
    folds: int,
    fold: int,
    valid_share: float | None,
    seed: int,
    *,
    groups: Sequence[str] | None = None,
    classes: Sequence[str] | None = None,
) -> Split:
    """One of :func:`stratified_folds`, or with groups of :func:`grouped_folds`, is held out.

    Args:
        labels: class indices, ``[N]``.
        folds: how many there are.
        fold: the one that is held out, from 0.
        valid_share: the fold is the test split, and this share of the rest is for validation; ``None``: the fold is
            the validation split, and there is no test split.
        seed: fixes the split.
        groups: the group of each record, ``[N]``, none of which may be cut.
        classes: names for messages; a class without any record is then an error too.

    Raises:
        UserError: naming each class with too few records or groups.
    """
    if groups is None:
        dealt = stratified_folds(labels, folds, seed, classes=classes)
    else:
        dealt = grouped_folds(groups, labels, folds, seed, classes=classes)
    held_out, rest = np.flatnonzero(dealt == fold), np.flatnonzero(dealt != fold)
    if valid_share is None:
        return Split(rest, held_out, held_out[:0])
    shares = Shares(valid_share, 0)
    try:
        if groups is None:
            inner = stratified(labels[rest], shares, seed, classes=classes)
        else:
            inner = grouped([groups[index] for index in rest.tolist()], labels[rest], shares, seed, classes=classes)
    except UserError as error:
        remedy = "Add records, merge the class with another, or use folds.held_out=valid."
        raise UserError(
            Problem(f"fold={fold}", f"outside the fold {p.message}", remedy) for p in error.problems
        ) from None
    return Split(rest[inner.train], rest[inner.valid], held_out)


def _require_folds(counts: NDArray[np.int64], folds: int, unit: str, classes: Sequence[str] | None) -> None:
    few = [label for label, count in enumerate(counts) if count < folds and (count or classes)]
    if few:
        most = min(int(counts[label]) for label in few)
        fewer = f"use folds.count={most} at most, " if most > 1 else ""
        remedy = f"{fewer}add {unit}, or merge the class with another."
        raise UserError(
            Problem(
                "folds.count",
                f"class {name_of(label, classes)} has {counts[label]} {unit}; each of the {folds} folds needs one.",
                remedy[0].upper() + remedy[1:],
            )
            for label in few
        )
