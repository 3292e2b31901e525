"""What a user hands to a finished model: tables of texts, files that are one text each, or the standard input."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from counterpoise.data.records import Records
from counterpoise.data.sources.formats import format_of
from counterpoise.data.sources.paths import existing
from counterpoise.data.sources.reading import Collector, Column, read_checked, text
from counterpoise.data.sources.sheet import Fault, not_utf8, opened
from counterpoise.errors import Problem, UserError, fail

STANDARD_INPUT = "-"


@dataclass
class Inputs:
    """Records of several inputs, one after the other."""

    origins: list[str] = field(default_factory=list)
    """The input of each, as it was named."""
    rows: list[int] = field(default_factory=list)
    """Which record of its input each is, from 0."""
    columns: dict[str, list[Any]] = field(default_factory=dict)
    """By name: ``text``, and those that were asked for."""

    def add(self, origin: str, columns: Mapping[str, Sequence[Any]]) -> None:
        """Take the records of one input in."""
        count = len(columns["text"])
        self.origins += [origin] * count
        self.rows += range(count)
        for name, values in columns.items():
            self.columns.setdefault(name, []).extend(values)

    def records(self, classes: Sequence[str]) -> Records:
        """As records, their ``row`` running over all inputs; without labels all have the label 0."""
        known = {name: values for name, values in self.columns.items() if name in ("text", "criterion", "group")}
        labels = self.columns.get("label", [0] * len(self.rows))
        return Records.from_columns({"row": range(len(self.rows)), "label": labels, **known}, classes)


def read_inputs(
    names: Sequence[str], columns: Mapping[str, Column], max_bytes: int, given: Mapping[str, str] | None = None
) -> Inputs:
    """Read them all.

    Args:
        names: files; one whose name does not end as a table's is one text. ``-`` is the standard input, one text too.
        columns: those of a table, ``text`` among them; each is checked.
        max_bytes: longest text.
        given: columns beside the text of what is one text.

    Raises:
        UserError: with every problem that could be seen, in all of them.
    """
    found, problems, beside = Inputs(), list[Problem](), dict(given or {})
    for name in names:
        try:
            path = None if name == STANDARD_INPUT else existing(name, "input", folder=False)
            if path is not None and format_of(path) is not None:
                found.add(name, _table(path, columns, max_bytes))
                continue
            missing = sorted(set(columns) - {"text", *beside})
            if missing:
                what = f"is one text, which has no {' and no '.join(missing)}."
                raise fail(name, what, f"Put it into a table, or add {missing[0]}=... to the command.")
            found.add(name, {"text": [_one_text(path, max_bytes)], **{key: [value] for key, value in beside.items()}})
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    return found


def _table(path: Path, columns: Mapping[str, Column], max_bytes: int) -> dict[str, list[Any]]:
    collector = Collector("error")
    checked = read_checked(path, columns, collector, max_bytes)
    collector.check()
    return checked.values


def _one_text(path: Path | None, max_bytes: int) -> str:
    where = "standard input" if path is None else str(path)
    try:
        if path is None:
            content = sys.stdin.buffer.read(max_bytes + 1)
        else:
            with opened(path) as stream:
                content = stream.read(max_bytes + 1)
    except OSError as error:
        raise fail(where, f"cannot be read: {error.strerror or error}.") from error
    try:
        value = text("the text", max_bytes)(content.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        value = not_utf8(content, error)
    if isinstance(value, Fault):
        raise fail(where, value.message, value.remedy)
    return str(value)
