"""How log records become lines: no text in a record can begin a line of its own, move a terminal's cursor, or hold the
password of an address."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from copy import copy
from pathlib import PurePath

from counterpoise.addresses import without_credentials
from counterpoise.errors import escape_control

INDENT = "    "
"""Before every line of a record but its first."""


class Lines(str):
    """An argument of a log call that has several lines, such as a traceback."""

    __slots__ = ()


class LineFormatter(logging.Formatter):
    """One line per record, with control characters shown as escapes, and addresses without their credentials.

    Text in the arguments is one line, the ends of lines escaped too. Messages of exceptions, tracebacks and
    :class:`Lines` keep their lines, and all but the first of a record are indented.
    """

    def format(self, record: logging.LogRecord) -> str:
        """The record as it is written."""
        record = copy(record)
        if isinstance(record.args, Mapping):
            record.args = {key: _one_line(value) for key, value in record.args.items()}
        elif record.args:
            record.args = tuple(map(_one_line, record.args))
        first, *others = without_credentials(super().format(record)).rstrip("\n").split("\n")
        return "\n".join([escape_control(first), *(f"{INDENT}{escape_control(line)}" for line in others)])


def _one_line(value: object) -> object:
    if isinstance(value, PurePath):
        return escape_control(str(value))
    return escape_control(value) if isinstance(value, str) and not isinstance(value, Lines) else value
