"""Labels as they stand in files, turned into class indices."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence

from counterpoise.data.sources.reading import Checked, Collector, identifier, text
from counterpoise.data.sources.sheet import Fault, short
from counterpoise.data.sources.spelling import FRACTION, INTEGER, label_spelling, look_alikes
from counterpoise.errors import Problem, nearest

log = logging.getLogger(__name__)
_FEW_RECORDS = 20
_SHOWN = 5
_LIST_IT = "If it is a class, list all classes in data.labels."


def any_label(name: str) -> Callable[[object], object]:
    """Check of a column of labels that are not known beforehand; the one spelling of each is kept."""
    as_text = text(name, 10_000)

    def check(value: object) -> object:
        if value is None:
            return Fault("null label", f"{name!r} is null; expected a label.")
        label = label_spelling(value)
        if label == "":
            return Fault("empty label", f"{name!r} is empty; expected a label.")
        if isinstance(value, str) and isinstance(fault := as_text(value), Fault):
            return fault
        named = label is not None and (isinstance(value, str | int) or _is_integer(label))
        if label is None or not named or FRACTION.fullmatch(label):
            return Fault("bad label", f"{name!r} is {_json(value)}; expected an integer or a string.", _LIST_IT)
        if label.lower() == "nan":
            return Fault("null label", f"{name!r} is {label!r}, a missing value; expected a label.", _LIST_IT)
        return label

    return check


def label_of(name: str, classes: Sequence[str]) -> Callable[[object], object]:
    """Check of a column of labels that must be among ``classes``; the index is kept."""
    known = {label_spelling(label): index for index, label in enumerate(classes)}
    exact = {label: index for index, label in enumerate(classes)}
    as_label = any_label(name)

    def check(value: object) -> object:
        label = label_spelling(value)
        index = exact[value] if isinstance(value, str) and value in exact else known.get(label)
        if index is not None:
            return index
        fault = as_label(value)
        if isinstance(fault, Fault):
            return fault
        what = f"{name!r} is {_json(value)}, which is none of the labels."
        return Fault("unknown label", what, nearest(str(label), exact))

    return check


def label_or_number(name: str, classes: Sequence[str]) -> Callable[[object], object]:
    """Check of a column of labels among ``classes``, where a whole number stands for the class of that index too,
    unless classes are called by numbers; the index is kept. Of two classes, false is the first and true the second.
    """
    as_label = label_of(name, classes)
    known = {label_spelling(label) for label in classes}
    numbers = {} if any(INTEGER.fullmatch(str(each)) for each in known) else {str(n): n for n in range(len(classes))}
    words = {"false": 0, "true": 1} if numbers and len(classes) == 2 else {}
    indices = {label: index for label, index in (numbers | words).items() if label not in known}

    def check(value: object) -> object:
        label = label_spelling(value)
        return indices[label] if label in indices else as_label(value)

    return check


def group_of(name: str) -> Callable[[object], object]:
    """Check of a column of groups: a string or an integer, in one spelling, so that no group stands in two splits."""
    as_identifier = identifier(name)

    def check(value: object) -> object:
        group = label_spelling(value)
        if isinstance(value, str):
            fault = as_identifier(value if group else "")
            return fault if isinstance(fault, Fault) else group
        whole = group is not None and not isinstance(value, bool) and _is_integer(group)
        return group if whole else as_identifier(value)

    return check


def zero_or_one(name: str) -> Callable[[object], object]:
    """Check of a column of binary labels: 0 or 1, or false or true."""
    indices = {"0": 0, "false": 0, "1": 1, "true": 1}

    def check(value: object) -> object:
        label = label_spelling(value)
        if label in indices:
            return indices[label]
        return Fault("unknown label", f"{name!r} is {_json(value)}; expected 0 or 1.")

    return check


def index_labels(
    parts: Mapping[str, Checked], collector: Collector, where: str
) -> tuple[tuple[str, ...], dict[str, Checked]]:
    """Find the classes in all splits together and replace each label by its index.

    Labels are integers, sorted by number, if more than half of them are (``"1"`` is as good as ``1``); any other is
    then a bad record. Otherwise they are strings, sorted as such. Classes that look alike are warned about.
    """
    values = [value for part in parts.values() for value in part.values["label"]]
    as_numbers = 2 * sum(_is_integer(value) for value in values) > len(values)
    if as_numbers:
        parts = {split: _integers_only(part, collector) for split, part in parts.items()}
        classes = [str(n) for n in sorted({int(v) for part in parts.values() for v in part.values["label"]})]
    else:
        classes = sorted(set(values))
    if len(values) >= _FEW_RECORDS and 2 * len(classes) > len(values):
        what = f"there are {len(classes):,} different labels in {len(values):,} records."
        collector.fatal(Problem(where, what, "Name the column that holds the class."))
    else:
        _warn_of_look_alikes(Counter(values), classes, where)
    index = {label: number for number, label in enumerate(classes)}
    for part in parts.values():
        part.values["label"] = [index[value] for value in part.values["label"]]
    return tuple(classes), dict(parts)


def _warn_of_look_alikes(counts: Mapping[str, int], classes: Sequence[str], where: str) -> None:
    for names in look_alikes(classes)[:_SHOWN]:
        listed = " and ".join(f"{short(name)} ({counts[name]:,} records)" for name in names)
        what = "look alike, but are classes of their own. If they are one, spell them alike."
        log.warning("%s: %s %s", where, listed, what)


def _integers_only(part: Checked, collector: Collector) -> Checked:
    mask = [_is_integer(value) for value in part.values["label"]]
    for kept, place, value in zip(mask, part.places, part.values["label"], strict=True):
        if not kept:
            what = f"the label is {short(value)}; expected an integer, as most labels are."
            collector.bad(part.sheet.where(place), [Fault("not an integer", what, _LIST_IT)])
    return part if all(mask) else part.keep(mask)


def _is_integer(label: str) -> bool:
    return bool(INTEGER.fullmatch(label))


def _json(value: object) -> str:
    """As it stands in the file: ``true``, not ``True``."""
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else short(value)
