"""From files to checked columns: every record is either usable or a problem with its file and line."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from counterpoise.data.records import Records
from counterpoise.data.sources.formats import read_sheet
from counterpoise.data.sources.paths import near
from counterpoise.data.sources.sheet import SHORTEN, Fault, Sheet, short, too_long
from counterpoise.data.sources.spelling import plain
from counterpoise.errors import Problem, UserError, fail

log = logging.getLogger(__name__)
_KEPT = 20


class Collector:
    """Gathers what is wrong, so that the user sees it all at once.

    Bad records are problems, or counted and left out, by ``on_bad_record``; problems of a whole file always stop.
    """

    def __init__(self, on_bad_record: Literal["error", "skip"], *, keep: int = _KEPT) -> None:
        self._skip = on_bad_record == "skip"
        self._keep = keep
        self._fatal: list[Problem] = []
        self._bad: list[Problem] = []
        self._hidden = 0
        self.seen = 0
        """Records read so far, good and bad."""
        self.skipped = 0
        """Records left out."""
        self._reasons: Counter[str] = Counter()

    def fatal(self, *problems: Problem) -> None:
        """What no policy passes over."""
        self._fatal.extend(problems)

    def bad(self, where: str, faults: Sequence[Fault]) -> None:
        """One record that cannot be used, with all that is wrong with it."""
        self.skipped += self._skip
        for fault in faults:
            self._reasons[fault.reason] += 1
            problem = Problem(where, fault.message, fault.remedy)
            if self._skip:
                log.info("left out: %s", problem)
            elif len(self._bad) < self._keep:
                self._bad.append(problem)
            else:
                self._hidden += 1

    def check(self) -> None:
        """Stop here if anything was found that must not be passed over.

        Raises:
            UserError: with the problems of files first, then those of records in reading order.
        """
        if self._fatal or self._bad:
            raise UserError([*self._fatal, *self._bad], hidden=self._hidden)

    def notes(self) -> dict[str, Any]:
        """For ``Dataset.notes``: records left out, by reason; warns if there are any."""
        if self.skipped:
            reasons = ", ".join(f"{reason}: {count:,}" for reason, count in self._reasons.most_common())
            log.warning("left out %d of %d records that cannot be used (%s)", self.skipped, self.seen, reasons)
        return {"bad_records": {"left_out": self.skipped, "reasons": dict(self._reasons)}}


@dataclass(frozen=True)
class Column:
    """A column that a source needs."""

    name: str
    """Its name in the file."""
    check: Callable[[object], object]
    """From the value in the file to the value that is kept, or a ``Fault``."""
    key: str = ""
    """The dotted key that chooses the name; empty if the name is fixed."""


@dataclass
class Checked:
    """The usable records of one file."""

    sheet: Sheet
    rows: list[int]
    """Running number over the whole data set, bad records counted."""
    places: list[int]
    """Line (or row) in the file."""
    values: dict[str, list[Any]]

    def keep(self, mask: Sequence[bool]) -> Checked:
        """The records where ``mask`` is true."""

        def chosen(items: list[Any]) -> list[Any]:
            return [item for item, kept in zip(items, mask, strict=True) if kept]

        values = {name: chosen(items) for name, items in self.values.items()}
        return Checked(self.sheet, chosen(self.rows), chosen(self.places), values)

    def records(self, classes: Sequence[str]) -> Records:
        """As records; ``label`` must hold class indices by now."""
        return Records.from_columns({"row": self.rows, **self.values}, classes)


def read_checked(path: Path, columns: Mapping[str, Column], collector: Collector, max_record_bytes: int) -> Checked:
    """Read one file; what is wrong goes to ``collector``."""
    return check_sheet(read_sheet(path, [c.name for c in columns.values()], max_record_bytes), columns, collector)


def check_sheet(sheet: Sheet, columns: Mapping[str, Column], collector: Collector) -> Checked:
    """Check every record of ``sheet``; what is wrong goes to ``collector``."""
    collector.fatal(*sheet.problems)
    missing = _missing(sheet, columns)
    collector.fatal(*missing.values())
    if not (sheet.entries or sheet.problems):
        what = "has columns but no records." if sheet.names else "is empty."
        collector.fatal(Problem(sheet.source, what, "Every split needs records."))
    present = [(name, column) for name, column in columns.items() if column.name not in missing]
    found = Checked(sheet, [], [], {name: [] for name in columns})
    for place, entry in sheet.entries:
        row = collector.seen
        collector.seen += 1
        if isinstance(entry, Fault):
            collector.bad(sheet.where(place), [entry])
            continue
        values = {
            name: column.check(entry[column.name]) if column.name in entry else _absent(column.name)
            for name, column in present
        }
        faults = [value for value in values.values() if isinstance(value, Fault)]
        if faults:
            collector.bad(sheet.where(place), faults)
        if faults or missing:
            continue
        found.rows.append(row)
        found.places.append(place)
        for name, value in values.items():
            found.values[name].append(value)
    if sheet.entries and not (found.rows or sheet.problems or missing):
        what = f"has no usable record among {len(sheet.entries):,}."
        if collector.skipped:  # otherwise each of them is listed anyway
            collector.fatal(Problem(sheet.source, what, "See the log for what is wrong with them."))
    return found


def _missing(sheet: Sheet, columns: Mapping[str, Column]) -> dict[str, Problem]:
    """Columns that no record has: a wrong name, so one problem instead of one for each record."""
    if not sheet.names:
        return {}
    problems = {}
    for column in columns.values():
        rows = [entry for _, entry in sheet.entries if isinstance(entry, dict)]
        if any(column.name in row for row in rows) or (not rows and column.name in sheet.names):
            continue
        remedy = f"Set {column.key} to the name of the column." if column.key else ""
        what = f"has no column {column.name!r}. {near(column.name, sheet.names, 'Columns found')}"
        problems[column.name] = Problem(sheet.source, what, remedy)
    return problems


def _absent(name: str) -> Fault:
    return Fault("missing column", f"has no {name!r}, which other records have.")


def text(name: str, max_bytes: int, remedy: str = SHORTEN) -> Callable[[object], object]:
    """Check of a column of texts: a string with something to read in it; ``remedy`` is for one that is too long."""

    def check(value: object) -> object:
        if not isinstance(value, str):
            return _not_text(name, value)
        if not value.strip():
            return Fault("blank text", f"{name!r} is {'blank' if value else 'empty'}.")
        if "\0" in value:
            what = f"{name!r} has a NUL byte at character {value.index(chr(0)) + 1}."
            return Fault("NUL in text", what, "Is it text at all?")
        try:
            size = len(value) if value.isascii() else len(value.encode())
        except UnicodeEncodeError as error:
            half = error.object[error.start]
            what = f"{name!r} has half of a surrogate pair at character {error.start + 1}: {half!r}."
            return Fault("not Unicode", what, "Write the text as UTF-8 or with complete \\u pairs.")
        if size > max_bytes:
            return too_long(name, size, max_bytes, remedy)
        return value

    return check


def plain_text(name: str, max_bytes: int, remedy: str = SHORTEN) -> Callable[[object], object]:
    """Check of a column of texts that are compared by content, as criteria are; kept in one spelling."""
    as_text = text(name, max_bytes, remedy)

    def check(value: object) -> object:
        return as_text((plain(value) or (" " if value else "")) if isinstance(value, str) else value)

    return check


def _not_text(name: str, value: object) -> Fault:
    if value is None:
        return Fault("null text", f"{name!r} is null; expected a string.")
    return Fault("not a text", f"{name!r} is {short(value)}; expected a string.")


def identifier(name: str, max_bytes: int = 10_000) -> Callable[[object], object]:
    """Check of a column of names: a string or an integer, kept as a string."""
    as_text = text(name, max_bytes, "Shorten it.")

    def check(value: object) -> object:
        whole = isinstance(value, int) and not isinstance(value, bool)
        return str(value) if whole else as_text(value)

    return check


def check_classes(splits: Mapping[str, Records], where: str) -> None:
    """Every class must be there to learn from; one that only valid or test lacks is reported once all splits are made.

    Raises:
        UserError: if a split is empty, there is one class only, or the first of ``splits``, which is learnt from,
            lacks a class.
    """
    counts = {name: records.class_counts() for name, records in splits.items()}
    empty = [name for name, count in counts.items() if not count.any()]
    if empty:
        what = f"no usable record is left in {' and '.join(empty)}."
        raise fail(where, what, "See the log for what was left out.")
    total = np.sum(list(counts.values()), axis=0)
    first, *_ = splits
    classes = splits[first].classes
    if np.count_nonzero(total) < 2:
        only = classes[int(total.argmax())]
        raise fail(where, f"all {total.sum():,} records have the label {only!r}; two classes or more are needed.")
    for name, count in counts.items():
        absent = ", ".join(repr(classes[index]) for index in np.flatnonzero(count == 0))
        if absent and name == first:
            raise fail(where, f"{name} has no record of class {absent}, so it cannot be learnt.")
