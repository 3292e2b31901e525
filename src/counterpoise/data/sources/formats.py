"""Files as rows with their line numbers: JSON lines, CSV and Parquet, the first two also compressed with gzip.

A record that cannot be read becomes a ``Fault`` in its place. What makes the rest of a file unreadable (damaged
compression, a quote that is never closed) becomes a problem of the whole ``Sheet``.
"""

from __future__ import annotations

import csv
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Literal

from counterpoise.data.sources.parquet import read_parquet
from counterpoise.data.sources.sheet import DAMAGED, Fault, Row, Sheet, Stream, damaged, lines, not_utf8, opened, short
from counterpoise.data.sources.spelling import plain
from counterpoise.errors import Problem, UserError, fail

log = logging.getLogger(__name__)
FORMATS = {
    ".jsonl": "json",
    ".ndjson": "json",
    ".json": "json",
    ".csv": "csv",
    ".tsv": "tsv",
    ".parquet": "parquet",
}
SUFFIXES = tuple(suffix + end for suffix, kind in FORMATS.items() for end in ("", ".gz")[: 2 - (kind == "parquet")])
SUFFIXES_SHOWN = ".jsonl, .json, .ndjson, .csv, .tsv (all of them also with .gz) or .parquet"
_MAX_NAMES = 200
_SHOWN = 3


def format_of(path: Path) -> str | None:
    """``json``, ``csv``, ``tsv`` or ``parquet`` by suffix; ``None`` for anything else."""
    name = path.name.lower()
    kind = FORMATS.get(Path(name.removesuffix(".gz")).suffix)
    return None if kind == "parquet" and name.endswith(".gz") else kind


def bare_name(path: Path) -> str:
    """The name of a table without what says its format."""
    name = path.name
    end = next((suffix for suffix in sorted(SUFFIXES, key=len)[::-1] if name.lower().endswith(suffix)), "")
    return name[: len(name) - len(end)]


def read_sheet(path: Path, wanted: Sequence[str], max_record_bytes: int) -> Sheet:
    """Read the ``wanted`` columns of every record.

    Nothing is raised for what stands in the file: see ``Sheet.entries`` and ``Sheet.problems``.
    """
    kind = format_of(path)
    sheet = Sheet(str(path), by_row=kind == "parquet")
    # JSON may spell one byte of text with six, and a record has other columns too.
    limit = 8 * max_record_bytes + (1 << 20)
    try:
        if kind is None:
            raise fail(str(path), "is in no known format.", f"The name must end with {SUFFIXES_SHOWN}.")
        if kind == "parquet":
            read_parquet(path, sheet, wanted, max_record_bytes)
        else:
            with opened(path) as stream:
                if kind == "json":
                    _read_json(stream, sheet, wanted, limit)
                else:
                    _read_csv(stream, sheet, wanted, limit, "\t" if kind == "tsv" else ",")
    except UserError as error:
        sheet.problems.extend(error.problems)
    except DAMAGED as error:
        sheet.problems.append(damaged(sheet.where(sheet.line + 1), error))
    except OSError as error:
        sheet.problems.append(Problem(str(path), f"cannot be read: {error.strerror or error}."))
    return sheet


def _read_json(stream: Stream, sheet: Sheet, wanted: Sequence[str], limit: int) -> None:
    for raw in lines(stream, sheet, limit):
        value = raw if isinstance(raw, Fault) else _parse_json(raw)
        if isinstance(raw, bytes) and sheet.line == 1 and (raw.strip() in (b"[", b"{") or raw[:2] == b"[{"):
            what = "holds one JSON document; expected one object per line."
            raise fail(sheet.where(1), what, "A list can be converted with: jq -c '.[]' FILE > NEW.jsonl.")
        if isinstance(value, dict):
            if len(sheet.names) < _MAX_NAMES:
                sheet.names.update(dict.fromkeys(value))
            sheet.entries.append((sheet.line, {name: value[name] for name in wanted if name in value}))
        elif value is not None:
            sheet.entries.append((sheet.line, value))


def _parse_json(raw: bytes) -> Row | Fault | None:
    """One line; ``None`` for a blank one."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        return not_utf8(raw, error)
    if not text.strip():
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        what = "nested too deeply" if isinstance(error, RecursionError) else getattr(error, "msg", str(error))
        what = what.removesuffix(" at")  # the place follows
        place = f" at column {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        cut = "" if raw.endswith(b"\n") else "The file ends within this line: was it cut off?"
        return Fault("bad JSON", f"is not valid JSON ({what}{place}).", cut)
    if not isinstance(value, dict):
        return Fault("not an object", f"expected a JSON object, got {short(value)}.")
    return value


def _read_csv(stream: Stream, sheet: Sheet, wanted: Sequence[str], limit: int, delimiter: str) -> None:
    table = _Table(sheet, wanted)
    before = csv.field_size_limit(limit)
    try:
        physical = _decoded(stream, sheet, limit, table.broken)
        if delimiter == "\t":
            held = list(physical)
            table.quoting = _tab_quoting(held, sheet)
            physical = _counted(held, sheet)
        else:
            physical = _kept(physical, table)
        reader = csv.reader(physical, delimiter=delimiter, strict=True, quoting=table.quoting)
        _take_records(_csv_records(reader, sheet), table)
    finally:
        csv.field_size_limit(before)


@dataclass
class _Table:
    """A CSV or TSV file while it is read."""

    sheet: Sheet
    wanted: Sequence[str]
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL
    broken: dict[int, Fault] = field(default_factory=dict)
    """Lines that are not UTF-8, by number."""
    recent: dict[int, str] = field(default_factory=dict)
    """The lines of the current CSV record, by number."""
    joined: list[tuple[int, int, list[list[str]]]] = field(default_factory=list)
    """Records of several lines, each of which has as many fields as the header: first and last line, and the fields."""


def _take_records(records: Iterator[tuple[int, int, list[str]]], table: _Table) -> None:
    sheet, broken = table.sheet, table.broken
    header: list[str] | None = None
    picked: list[tuple[str, int]] = []
    remedy = "Put quotes around a field that holds a separator."
    if table.quoting == csv.QUOTE_NONE:
        remedy = "Replace tabs and line ends within a field by blanks."
    for first, last, fields in records:
        # A record may span several lines: name the one that holds the bad byte.
        bad = next((n for n in range(first, last + 1) if n in broken), None) if broken else None
        if header is None:
            header = _header(fields, sheet, table.wanted, first, None if bad is None else broken[bad])
            picked = [(name, header.index(name)) for name in table.wanted if name in header]
        elif bad is not None:
            sheet.entries.append((bad, broken[bad]))
        elif len(fields) != len(header):
            what = f"has {len(fields)} fields, but the header has {len(header)}."
            sheet.entries.append((first, Fault("wrong number of fields", what, remedy)))
        else:
            sheet.entries.append((first, {name: fields[index] for name, index in picked}))
            alone = [line.rstrip("\r\n").split(",") for n, line in table.recent.items() if n >= first]
            if len(alone) > 1 and all(len(each) == len(header) for each in alone):
                table.joined.append((first, last, alone))
        table.recent.clear()
    if table.joined:
        _warn_of_joined(table, picked)


def _kept(physical: Iterator[str], table: _Table) -> Iterator[str]:
    """The lines, each of them also in ``table.recent`` by its number."""
    for line in physical:
        table.recent[table.sheet.line] = line
        yield line


def _warn_of_joined(table: _Table, picked: Sequence[tuple[str, int]]) -> None:
    """Say where lines became one record though each of them has a value, such as a label, of other records."""
    rows = [row for _, row in table.sheet.entries if isinstance(row, dict)]
    known = {index: {row[name] for row in rows} for name, index in picked}
    places = [
        f"{first} to {last}"
        for first, last, alone in table.joined
        if any(all(fields[index] in values for fields in alone) for index, values in known.items())
    ]
    if places:
        shown = ", ".join(places[:_SHOWN]) + (f" and {len(places) - _SHOWN:,} more" if len(places) > _SHOWN else "")
        what = "quotes join lines to one record, though each of them looks like a record"
        remedy = 'If the quote is text, write it twice in a field in quotes: "a ""b"" c".'
        log.warning("%s: %s (lines %s). %s", table.sheet.source, what, shown, remedy)


def _counted(physical: Sequence[str], sheet: Sheet) -> Iterator[str]:
    """The lines of a file that was read whole, counted anew as they are taken."""
    for number, line in enumerate(physical, 1):
        sheet.line = number
        yield line


def _tab_quoting(physical: Sequence[str], sheet: Sheet) -> Literal[0, 3]:
    """Whether quotes mean anything in a TSV file.

    Some programs put a field in quotes that holds a tab, a line end or a quote; others know no quoting. Quotes are text
    in the whole file where one of them, taken as quoting, breaks a line that is whole without, or joins lines that are.
    """
    place = _quote_as_text(physical)
    if place is None:
        return csv.QUOTE_MINIMAL
    what = "a quote here does not enclose a field: in this file quotes are read as text"
    log.warning("%s: %s.", sheet.where(place + 1), what)
    return csv.QUOTE_NONE


def _quote_as_text(physical: Sequence[str]) -> int | None:
    """Position of the first line of a TSV file that shows that quotes are text in it; ``None`` if none does."""
    content = (line for line in physical if line.strip("\r\n"))
    width = next(content, "").count("\t")
    position = 0
    while position < len(physical):
        if '"' not in physical[position]:
            position += 1
            continue
        reader = csv.reader(islice(physical, position, None), delimiter="\t", strict=True)
        try:
            fields = next(reader)
            end = position + reader.line_num
        except csv.Error:
            return position if physical[position].count("\t") == width else None
        whole = all(line.count("\t") == width for line in physical[position:end])
        if whole and (end - position > 1 or len(fields) != width + 1):
            return position
        position = end
    return None


def _decoded(stream: Stream, sheet: Sheet, limit: int, broken: dict[int, Fault]) -> Iterator[str]:
    for raw in lines(stream, sheet, limit):
        if isinstance(raw, Fault):
            raise fail(sheet.where(sheet.line), raw.message, raw.remedy)
        try:
            yield raw.decode()
        except UnicodeDecodeError as error:
            broken[sheet.line] = not_utf8(raw, error)
            yield raw.decode(errors="replace")


def _csv_records(reader: Iterator[list[str]], sheet: Sheet) -> Iterator[tuple[int, int, list[str]]]:
    """First line, last line and fields of each record that is not blank.

    Raises:
        UserError: where the quoting is broken; where the next record begins is a guess from there on.
    """
    last = 0
    while True:
        try:
            fields = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            known = {
                "unexpected end of data": "a quoted field that begins in this record is never closed.",
                "new-line": "a carriage return stands outside quotes; lines must end with \\n or \\r\\n.",
                "field larger": f"a field is too long ({error}); perhaps its quote is never closed.",
            }
            what = next((text for start, text in known.items() if str(error).startswith(start)), "")
            what = what or f"the quoting is broken ({error})."
            raise fail(sheet.where(last + 1), what, "A quote inside a quoted field is written twice.") from None
        first, last = last + 1, sheet.line
        if fields:
            yield first, last, fields


def _header(fields: list[str], sheet: Sheet, wanted: Sequence[str], line: int, bad: Fault | None) -> list[str]:
    if bad is not None:
        raise fail(sheet.where(line), f"the header {bad.message}", bad.remedy)
    if len(fields) == 1 and any(sign in fields[0] for sign in ";\t|,"):
        what = f"the header is one single column, {short(fields[0])}."
        raise fail(sheet.where(line), what, "Separate columns by commas in .csv files and by tabs in .tsv files.")
    fields = [name if name in wanted else plain(name) for name in fields]
    twice = [name for name in wanted if fields.count(name) > 1]
    if twice:
        raise fail(sheet.where(line), f"the header has the column {short(twice[0])} more than once.")
    sheet.names = dict.fromkeys(fields)
    return fields
