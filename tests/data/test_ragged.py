"""Ragged columns against plain loops."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.data.ragged import Ragged

ITEMS = st.lists(st.lists(st.integers(-5, 5), max_size=7), max_size=8)


@given(items=ITEMS, data=st.data(), width=st.none() | st.integers(0, 9))
def test_gather_against_a_loop(items: list[list[int]], data: st.DataObject, width: int | None) -> None:
    ragged = Ragged.from_items(items)
    indices = data.draw(st.lists(st.integers(0, len(items) - 1), max_size=6)) if items else []
    found = ragged.gather(np.array(indices, np.int64), fill=99, width=width)
    longest = max((len(items[i]) for i in indices), default=0) if width is None else width
    expected = [(items[i] + [99] * longest)[:longest] for i in indices]
    assert found.tolist() == expected
    assert found.shape == (len(indices), longest)
    assert found.dtype == np.int32


@given(items=ITEMS)
def test_items_lengths_and_arrow(items: list[list[int]]) -> None:
    ragged = Ragged.from_items(items)
    assert [ragged[i].tolist() for i in range(len(ragged))] == items
    assert ragged.lengths.tolist() == [len(item) for item in items]
    back = Ragged.from_arrow(ragged.to_arrow())
    assert [back[i].tolist() for i in range(len(back))] == items
    assert ragged.to_arrow().to_pylist() == items


def test_a_slice_of_a_column() -> None:
    column = Ragged.from_items([[1, 2], [], [3], [4, 5, 6]]).to_arrow().slice(1, 3)
    assert Ragged.from_arrow(column).gather(np.arange(3), 0).tolist() == [[0, 0, 0], [3, 0, 0], [4, 5, 6]]


def test_no_copies(tmp_path: Path) -> None:
    ragged = Ragged.from_items([np.arange(100_000), np.arange(7)])
    column = ragged.to_arrow()
    assert np.shares_memory(Ragged.from_arrow(column).values, ragged.values)
    table = pa.table({"ids": column})
    path = tmp_path / "column.arrow"
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    before = pa.total_allocated_bytes()
    with pa.memory_map(str(path)) as file:
        mapped = Ragged.from_arrow(pa.ipc.open_file(file).read_all()["ids"].chunk(0))
    assert pa.total_allocated_bytes() - before < 10_000
    assert not mapped.values.flags.owndata
    assert not mapped.values.flags.writeable
    assert mapped.gather(np.array([1, 1]), 0).tolist() == [list(range(7))] * 2
