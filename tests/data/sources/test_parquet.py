"""Parquet files whose texts are long, repeated, missing or no texts, against Arrow's own reading of the whole."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterpoise.data.sources import parquet
from counterpoise.data.sources.sheet import Fault, Sheet
from counterpoise.errors import UserError

LIMIT = 40
LONG = ["long " * 20, "é" * 21, "x" * LIMIT]


def _read(path: Path, limit: int = LIMIT) -> list[dict[str, Any] | Fault]:
    sheet = Sheet(str(path), by_row=True)
    parquet.read_parquet(path, sheet, ["text", "label", "absent"], limit)
    assert [place for place, _ in sheet.entries] == list(range(1, len(sheet.entries) + 1))
    return [row for _, row in sheet.entries]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(
        st.none() | st.text(max_size=12) | st.sampled_from(["long " * 20, "é" * 21, "x" * LIMIT]), max_size=30
    ),
    rows=st.integers(1, 40),
    coded=st.booleans(),
    dictionary=st.booleans(),
    kind=st.sampled_from([pa.string(), pa.large_string()]),
    budget=st.sampled_from([1, 100, 64 << 20]),
)
def test_gives_what_arrow_gives_but_for_texts_that_are_too_long(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    texts: list[str | None],
    rows: int,
    coded: bool,
    dictionary: bool,
    kind: pa.DataType,
    budget: int,
) -> None:
    monkeypatch.setattr(parquet, "MOST_BYTES", budget)
    monkeypatch.setattr(parquet, "OVERHEAD", 1000)  # rows this short have more overhead than text
    column: pa.Array = pa.array([t if t is None else t.encode("utf-8", "replace").decode() for t in texts], kind)
    table = pa.table({"label": list(range(len(texts))), "text": column.dictionary_encode() if coded else column})
    path = tmp_path / "a.parquet"
    pq.write_table(table, path, row_group_size=rows, use_dictionary=dictionary)
    expected = [
        "too long" if (t or "") and len(t.encode()) > LIMIT else {"text": t, "label": label}
        for label, t in enumerate(column.to_pylist())
    ]
    found = _read(path)
    assert ["too long" if isinstance(row, Fault) else row for row in found] == expected
    assert all(row.reason == "record too long" for row in found if isinstance(row, Fault))


def test_a_group_of_texts_that_must_be_too_long_is_refused_without_being_read(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": [f"{n} {'y' * 5000}" for n in range(4)], "label": [0, 1, 0, 1]}), path)
    with pytest.raises(UserError, match=r"holds 20,\d+ bytes in 4 values of 'text'; at most 40 are"):
        _read(path)


BOMBS = {
    "different texts": "pa.array([str(n) + big for n in range(20)])",
    "one text": "pa.array([big] * 20)",
    "one text, as a dictionary of many rows": "pa.DictionaryArray.from_arrays([0] * 100_000, [big])",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_small_file_of_enormous_texts_fits_into_little_memory(tmp_path: Path, kind: str) -> None:
    """A gigabyte or more of text, which took three to read, in one: every record is refused, or the file is."""
    write = f"""
        import sys, pyarrow as pa, pyarrow.parquet as pq
        big = "x" * 50_000_000
        texts = {BOMBS[kind]}
        pq.write_table(pa.table({{"text": texts, "label": ["a"] * len(texts)}}), sys.argv[1])
    """
    read = """
        import resource, sys
        from pathlib import Path
        from counterpoise.data.sources.formats import read_sheet
        import pyarrow.parquet, pyarrow.compute
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2)
        sheet = read_sheet(Path(sys.argv[1]), ["text", "label"], 8_000_000)
        reasons = {row.reason for _, row in sheet.entries}
        print(*(reasons or {problem.message for problem in sheet.problems}))
    """
    path = tmp_path / "bomb.parquet"
    for script in (write, read):
        command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
        # Arrow's own pool reserves addresses by the gigabyte, which the limit would count.
        environment = {**os.environ, "ARROW_DEFAULT_MEMORY_POOL": "system"}
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=environment)
    assert path.stat().st_size < 60_000_000
    assert "too long" in answer.stdout or "row group 1 holds 1,000,000," in answer.stdout
