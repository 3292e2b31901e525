"""How many records each class has, which class is the positive one, and what so few records cannot tell."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:  # reports read these limits, and start without what reads data
    from counterpoise.data.records import Dataset

FEW: Final = 10
"""Records of a class below which a single one moves its recall by more than 10 points."""
MAJORITY: Final = 0.6
"""Share of class 1 from which figures of the positive class are those of the common one."""
_SHOWN = 6


def class_notes(dataset: Dataset) -> dict[str, Any]:
    """For ``Dataset.notes``: records by split and class; of two classes the positive one and its share in training."""
    classes = dataset.classes
    counts = {
        split: dict(zip(classes, records.class_counts().tolist(), strict=True))
        for split, records in dataset.splits().items()
    }
    few = {split: few_of(by_class) for split, by_class in counts.items()}
    notes: dict[str, Any] = {"counts": counts, "few": {split: found for split, found in few.items() if found}}
    if len(classes) == 2:
        train = counts["train"]
        notes |= {"positive": classes[1], "positive_share": train[classes[1]] / sum(train.values())}
    return notes


def few_of(counts: Mapping[str, int]) -> dict[str, int]:
    """The classes with fewer than :data:`FEW` records, but with some, the rarest first."""
    return {name: n for name, n in sorted(counts.items(), key=lambda item: item[1]) if 0 < n < FEW}


def describe_classes(dataset: Dataset) -> str:
    """For the console: shares in the training split, and of two classes which is the positive one."""
    counts = dataset.train.class_counts()
    shares = counts / counts.sum()
    shown = [f"{name!r} {share:.1%}" for name, share in zip(dataset.classes, shares.tolist(), strict=True)]
    if len(shown) == 2:
        return f"{shown[0]}, {shown[1]} (class 1, the positive one)"
    more = f" and {len(shown) - _SHOWN:,} more" if len(shown) > _SHOWN else ""
    return f"{len(shown):,}: {', '.join(shown[:_SHOWN])}{more}"


def class_warnings(dataset: Dataset, *, ordered_by_name: bool) -> list[str]:
    """What the class counts leave undecided, one sentence each, to be said before anything is trained.

    Args:
        dataset: with its splits.
        ordered_by_name: ``data.labels`` could set the order of the classes, and does not.
    """
    counts = class_notes(dataset)["counts"]
    found = [message for split, each in counts.items() for message in (_absent(split, each), _few(split, each))]
    if ordered_by_name:
        found.append(positive_majority(dataset.classes, counts["train"]))
    return [message for message in found if message]


def _absent(split: str, counts: Mapping[str, int]) -> str:
    absent, present = [name for name, n in counts.items() if not n], [name for name, n in counts.items() if n]
    if not absent:
        return ""
    only = ""
    if len(present) == 1:
        only = f": all are {present[0]!r}, so that always answering {present[0]!r} looks perfect there"
    return f"{split} has no record of class {_listed(absent)}{only}."


def _few(split: str, counts: Mapping[str, int]) -> str:
    found = few_of(counts)
    if not found:
        return ""
    listed = ", ".join(f"{name!r} ({n})" for name, n in list(found.items())[:_SHOWN])
    more = f" and {len(found) - _SHOWN:,} more" if len(found) > _SHOWN else ""
    rarest, least = next(iter(found.items()))
    if split == "train":
        return f"{split} has fewer than {FEW} records of {listed}{more}: too few to learn such a class from."
    why = f"one record moves the recall of {rarest!r} by {100 / least:.0f} points"
    return f"{split} has fewer than {FEW} records of {listed}{more}: {why}, and no figure about it means much."


def positive_majority(classes: Sequence[str], train: Mapping[str, int]) -> str:
    """What to say where the positive class is the common one; empty where it is not."""
    if len(classes) != 2 or train[classes[1]] < MAJORITY * sum(train.values()):
        return ""
    share = train[classes[1]] / sum(train.values())
    about = "F1, precision, recall, PR AUC and the threshold are about it"
    remedy = f"To make {classes[0]!r} the positive class: {turned(classes)}"
    return f"class 1 is {classes[1]!r}, {share:.1%} of the training records: {about}. {remedy}"


def turned(classes: Sequence[str]) -> str:
    """The override that reverses the order of the classes."""
    return f"data.labels=[{','.join(_written(name) for name in reversed(classes))}]"


def _written(name: str) -> str:
    """A label as an item of a list in an override: in quotes unless it is a plain word or an integer."""
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*|-?[1-9][0-9]*|0", name) and name.lower() not in ("null", "nan", "inf"):
        return name
    escaped = re.sub(r"(?<!\\)(\\*+)'", r"\1\1\'", name)  # Hydra reads a backslash before a quote only
    return f"'{escaped}'"


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(repr(name) for name in names[:_SHOWN]) + more
