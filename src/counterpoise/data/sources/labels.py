"""Labels as they stand in files, turned into class indices."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence

from counterpoise.data.sources.reading import Checked, Collector, text
from counterpoise.data.sources.sheet import Fault, short
from counterpoise.errors import Problem, nearest

_INTEGER = re.compile(r"-?(0|[1-9][0-9]{0,17})")
_FEW_RECORDS = 20


def any_label(name: str) -> Callable[[object], object]:
    """Check of a column of labels that are not known beforehand: integers or strings."""
    as_text = text(name, 10_000)

    def check(value: object) -> object:
        if isinstance(value, str):
            return as_text(value) if value.strip() else Fault("empty label", f"{name!r} is empty; expected a label.")
        if isinstance(value, float) and value.is_integer():
            return int(value)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if value is None:
            return Fault("null label", f"{name!r} is null; expected a label.")
        return Fault("bad label", f"{name!r} is {_json(value)}; expected an integer or a string.")

    return check


def label_of(name: str, classes: Sequence[str]) -> Callable[[object], object]:
    """Check of a column of labels that must be among ``classes``; the index is kept."""
    known = {label: index for index, label in enumerate(classes)}
    as_label = any_label(name)

    def check(value: object) -> object:
        label = as_label(value)
        if isinstance(label, Fault):
            return label
        index = known.get(str(label))
        if index is None:
            what = f"{name!r} is {short(label)}, which is none of the labels."
            return Fault("unknown label", what, nearest(str(label), known))
        return index

    return check


def label_or_number(name: str, classes: Sequence[str]) -> Callable[[object], object]:
    """Check of a column of labels among ``classes``, where a whole number stands for the class of that index too,
    unless classes are called by numbers; the index is kept.
    """
    as_label = label_of(name, classes)
    indices = range(0 if any(map(_INTEGER.fullmatch, classes)) else len(classes))

    def check(value: object) -> object:
        number = int(value) if isinstance(value, str) and _INTEGER.fullmatch(value) else value
        return int(number) if isinstance(number, bool | int) and number in indices else as_label(value)

    return check


def zero_or_one(name: str) -> Callable[[object], object]:
    """Check of a column of binary labels: 0 or 1, or false or true."""

    def check(value: object) -> object:
        if isinstance(value, bool | int | float) and value in (0, 1):
            return int(value)
        return Fault("unknown label", f"{name!r} is {_json(value)}; expected 0 or 1.")

    return check


def index_labels(
    parts: Mapping[str, Checked], collector: Collector, where: str
) -> tuple[tuple[str, ...], dict[str, Checked]]:
    """Find the classes in all splits together and replace each label by its index.

    Labels are integers, sorted by number, if more than half of them are (``"1"`` is as good as ``1``); any other is
    then a bad record. Otherwise they are strings, sorted as such.
    """
    values = [value for part in parts.values() for value in part.values["label"]]
    as_numbers = 2 * sum(_is_integer(value) for value in values) > len(values)
    if as_numbers:
        parts = {split: _integers_only(part, collector) for split, part in parts.items()}
        classes = [str(n) for n in sorted({int(v) for part in parts.values() for v in part.values["label"]})]
    else:
        classes = sorted({str(value) for value in values})
    if len(values) >= _FEW_RECORDS and 2 * len(classes) > len(values):
        what = f"there are {len(classes):,} different labels in {len(values):,} records."
        collector.fatal(Problem(where, what, "Name the column that holds the class."))
    index = {label: number for number, label in enumerate(classes)}
    for part in parts.values():
        part.values["label"] = [index[str(value)] for value in part.values["label"]]
    return tuple(classes), dict(parts)


def _integers_only(part: Checked, collector: Collector) -> Checked:
    mask = [_is_integer(value) for value in part.values["label"]]
    for kept, place, value in zip(mask, part.places, part.values["label"], strict=True):
        if not kept:
            what = f"the label is {short(value)}; expected an integer, as most labels are."
            remedy = "If it is a class, list all classes in data.labels."
            collector.bad(part.sheet.where(place), [Fault("not an integer", what, remedy)])
    return part if all(mask) else part.keep(mask)


def _is_integer(value: int | str) -> bool:
    return isinstance(value, int) or bool(_INTEGER.fullmatch(value))


def _json(value: object) -> str:
    """As it stands in the file: ``true``, not ``True``."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else short(value)
