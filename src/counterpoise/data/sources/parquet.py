"""Parquet files as rows: what is too long for a record is measured before it becomes a Python object.

A file of a few megabytes can hold gigabytes of text, since equal values are stored once and compressed. Rows are
decoded in batches of bounded size, and where a row group repeats long values, without repeating them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterpoise.allocation import is_out_of_memory
from counterpoise.data.sources.sheet import SHORTEN, Fault, Sheet, not_utf8, short, too_long
from counterpoise.errors import fail

MOST_ROWS = 4096
"""Rows that are decoded at once."""
MOST_BYTES = 64 << 20
"""Bytes that are decoded at once, as far as the file tells."""
OVERHEAD = 16
"""Bytes that a value may take beside its text: its length, its place in a dictionary, whether it is there at all."""


def read_parquet(path: Path, sheet: Sheet, wanted: Sequence[str], max_bytes: int) -> None:
    """Read the ``wanted`` columns of every record into ``sheet``.

    Args:
        path: of the file.
        sheet: takes names and records.
        wanted: names of columns.
        max_bytes: a longer text becomes a ``Fault`` without being decoded.

    Raises:
        UserError: if it is no Parquet file, or has a wanted column twice. ``OSError`` is passed on.
    """
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            twice = [name for name in wanted if names.count(name) > 1]
            if twice:
                raise fail(str(path), f"has the column {short(twice[0])} more than once.")
            sheet.names = dict.fromkeys(names)
            picked = [name for name in wanted if name in sheet.names]
            texts = [name for name in picked if _is_text(file.schema_arrow.field(name).type)]
        for batch in _batches(path, picked, texts, max_bytes):
            columns = [_values(name, batch.column(name), max_bytes) for name in picked]
            for values in zip(*columns, strict=True):
                fault = next((value for value in values if isinstance(value, Fault)), None)
                row = fault or dict(zip(picked, values, strict=True))
                sheet.entries.append((len(sheet.entries) + 1, row))
    except (pa.ArrowException, ValueError, OverflowError) as error:
        if is_out_of_memory(error):
            raise
        raise fail(str(path), f"is not a readable Parquet file ({error}).", "Write or copy it again.") from None


def _is_text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        return _is_text(kind.value_type)
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _batches(path: Path, picked: list[str], texts: list[str], max_bytes: int) -> Iterator[pa.RecordBatch]:
    """The picked columns, row group by row group; texts as dictionaries where a group repeats long ones."""
    with pq.ParquetFile(path) as file:
        groups = [file.metadata.row_group(group) for group in range(file.num_row_groups)]
    for group, facts in enumerate(groups):
        stored = {name: _stored(facts, name) for name in picked}
        for name in texts:
            most = max(facts.num_rows, 1) * (max_bytes + OVERHEAD)
            if stored[name] > most:  # one of them must be too long: none is decoded
                what = f"row group {group + 1} holds {stored[name]:,} bytes in {facts.num_rows:,} values of {name!r}"
                raise fail(str(path), f"{what}; at most {max_bytes:,} are allowed in each.", SHORTEN)
        rows = max(1, min(facts.num_rows, MOST_ROWS))
        coded = [name for name in texts if rows * stored[name] > MOST_BYTES and _has_dictionary(facts, name)]
        # Dictionaries cost five times the time of plain texts that differ: they are asked for where they are needed.
        repeats = bool(coded) and rows * _longest_repeated(path, group, coded) > MOST_BYTES
        fitting = MOST_BYTES * facts.num_rows // max(sum(stored.values()), 1)
        at_once = rows if repeats else max(1, min(rows, fitting))
        with pq.ParquetFile(path, read_dictionary=coded if repeats else None) as file:
            yield from file.iter_batches(batch_size=at_once, row_groups=[group], columns=picked)


def _chunks(facts: pq.RowGroupMetaData, name: str) -> Iterator[pq.ColumnChunkMetaData]:
    """What a row group says of a column, of each part where it is nested."""
    for place in range(facts.num_columns):
        chunk = facts.column(place)
        if chunk.path_in_schema.split(".")[0] == name:
            yield chunk


def _stored(facts: pq.RowGroupMetaData, name: str) -> int:
    return sum(chunk.total_uncompressed_size for chunk in _chunks(facts, name))


def _has_dictionary(facts: pq.RowGroupMetaData, name: str) -> bool:
    return any(chunk.has_dictionary_page for chunk in _chunks(facts, name))


def _longest_repeated(path: Path, group: int, texts: list[str]) -> int:
    """Bytes of the longest value that a row group stores once for all of its rows."""
    with pq.ParquetFile(path, read_dictionary=texts) as file:
        batches = file.iter_batches(batch_size=1, row_groups=[group], columns=texts)
        columns = [column for batch in islice(batches, 1) for column in batch.columns]
        longest = [pc.max(pc.binary_length(each.dictionary)).as_py() or 0 for each in columns]
        batches.close()  # it holds what it has unpacked
    return max(longest, default=0)


def _values(name: str, column: pa.Array, max_bytes: int) -> list[Any]:
    """The values as Python objects, equal ones of a dictionary the same; a ``Fault`` for each text that is too long."""
    if pa.types.is_dictionary(column.type):
        distinct = _values(name, column.dictionary, max_bytes)
        return [None if place is None else distinct[place] for place in column.indices.to_pylist()]
    if not _is_text(column.type):
        return column.to_pylist()  # type: ignore[no-any-return]
    sizes = pc.binary_length(column)
    if (pc.max(sizes).as_py() or 0) <= max_bytes:
        return _decoded(column)
    fitting = pc.if_else(pc.greater(sizes, max_bytes), pa.scalar(None, column.type), column)
    values = zip(_decoded(fitting), sizes.to_pylist(), strict=True)
    return [too_long(name, size, max_bytes) if (size or 0) > max_bytes else value for value, size in values]


def _decoded(column: pa.Array) -> list[Any]:
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except UnicodeDecodeError:
        values: list[object] = []
        for raw in column.cast(pa.large_binary()).to_pylist():
            try:
                values.append(raw if raw is None else raw.decode())
            except UnicodeDecodeError as error:
                values.append(not_utf8(raw, error))
        return values
