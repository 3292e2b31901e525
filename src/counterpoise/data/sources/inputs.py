"""What a user hands to a finished model: tables of texts, files that are one text each, or the standard input."""

from __future__ import annotations

import codecs
import sys
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from counterpoise.data.records import Records
from counterpoise.data.sources.formats import format_of, read_sheet
from counterpoise.data.sources.paths import existing
from counterpoise.data.sources.reading import Collector, Column, check_sheet, text
from counterpoise.data.sources.sheet import DAMAGED, SHORTEN, Fault, damaged, not_utf8, opened
from counterpoise.errors import Problem, UserError, escape_control, fail

STANDARD_INPUT = "-"
TOO_LONG = "Shorten it, or cut it up: a finished run takes texts as long as its own might be (data.max_record_bytes)."
_OTHERWISE = {"criterion": "add criterion=... to the command", "id": "leave id_column out"}
"""What else helps a text without a column than a table that has it."""


@dataclass
class Inputs:
    """Records of several inputs, one after the other."""

    origins: list[str] = field(default_factory=list)
    """The input of each, as it was named."""
    rows: list[int] = field(default_factory=list)
    """Which record of its input each is, from 0."""
    columns: dict[str, list[Any]] = field(default_factory=dict)
    """By name: ``text``, and those that were asked for."""
    used: set[str] = field(default_factory=set)
    """Names of ``given`` that were put into some input."""

    def add(self, origin: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Take the records of one input in."""
        count = len(columns["text"])
        self.origins += [escape_control(origin)] * count
        self.rows += range(count)
        for name, values in columns.items():
            self.columns.setdefault(name, []).extend(values)

    def records(self, classes: Sequence[str]) -> Records:
        """As records, their ``row`` running over all inputs; without labels all have the label 0."""
        known = {name: values for name, values in self.columns.items() if name in ("text", "criterion", "group")}
        labels = self.columns.get("label", [0] * len(self.rows))
        return Records.from_columns({"row": range(len(self.rows)), "label": labels, **known}, classes)


def read_inputs(
    names: Sequence[str],
    columns: Mapping[str, Column],
    max_bytes: int,
    given: Mapping[str, str] | None = None,
    *,
    named: Collection[str] = (),
) -> Inputs:
    """Read them all.

    Args:
        names: files; one whose name does not end as a table's is one text. ``-`` is the standard input, one text too.
        columns: those of a table, ``text`` among them; each is checked.
        max_bytes: longest text.
        given: columns beside the text of what is one text, and of tables that have no such column.
        named: those of ``given`` that every table must have nevertheless, since the user said what they are called.

    Raises:
        UserError: with every problem that could be seen, in all of them.
    """
    found, problems, beside = Inputs(), list[Problem](), dict(given or {})
    for name in names:
        try:
            path = None if name == STANDARD_INPUT else existing(name, "input", folder=False)
            if path is not None and format_of(path) is not None:
                kept = {key: value for key, value in beside.items() if key not in named}
                found.add(name, _table(path, columns, max_bytes, kept, found.used))
                continue
            _refuse_missing(name, sorted(set(columns) - {"text", *beside}))
            found.add(name, {"text": [_one_text(path, max_bytes)], **{key: [value] for key, value in beside.items()}})
            found.used.update(beside)
        except UserError as error:
            problems += [replace(one, remedy=TOO_LONG) if one.remedy == SHORTEN else one for one in error.problems]
    if problems:
        raise UserError(problems)
    return found


def _refuse_missing(name: str, missing: Sequence[str]) -> None:
    """A text alone has no further columns."""
    if not missing:
        return
    known = all(column in _OTHERWISE for column in missing)
    otherwise = f", or {' and '.join(_OTHERWISE[column] for column in missing)}" if known else ""
    what = f"is one text, which has no {' and no '.join(missing)}."
    raise fail(name, what, f"Put it into a table{otherwise}.")


def _table(
    path: Path, columns: Mapping[str, Column], max_bytes: int, given: Mapping[str, str], used: set[str]
) -> dict[str, list[Any]]:
    sheet = read_sheet(path, [column.name for column in columns.values()], max_bytes)
    rows = [entry for _, entry in sheet.entries if isinstance(entry, dict)]
    held = {*sheet.names, *(name for row in rows for name in row)}
    lacking = {name: value for name, value in given.items() if columns[name].name not in held}
    collector = Collector("error")
    checked = check_sheet(sheet, {name: each for name, each in columns.items() if name not in lacking}, collector)
    collector.check()
    used.update(lacking)
    return {**checked.values, **{name: [value] * len(checked.rows) for name, value in lacking.items()}}


def _one_text(path: Path | None, max_bytes: int) -> str:
    where = "standard input" if path is None else str(path)
    longest = len(codecs.BOM_UTF8) + max_bytes + 1
    try:
        if path is None:
            content = sys.stdin.buffer.read(longest)
        else:
            with opened(path) as stream:
                content = stream.read(longest)
    except DAMAGED as error:
        raise UserError(damaged(where, error)) from error
    except OSError as error:
        raise fail(where, f"cannot be read: {error.strerror or error}.") from error
    if len(content) == longest:
        raise fail(where, f"'the text' has more than the {max_bytes:,} bytes that are allowed.", TOO_LONG)
    try:
        value = text("the text", max_bytes)(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        value = not_utf8(content, error)
    if isinstance(value, Fault):
        raise fail(where, value.message, value.remedy)
    return str(value)
