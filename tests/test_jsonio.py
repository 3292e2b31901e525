"""JSON never fails on what training produces, and files are whole or absent."""

from __future__ import annotations

import dataclasses
import enum
import json
import math
import stat
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.jsonio import dumps, parse_json, read_json, to_plain, write_atomically, write_json
from hostile_names import NAMES, hidden


@dataclasses.dataclass
class Point:
    x: object
    y: object = None


class Kind(enum.Enum):
    A = "a"


class Mute:
    def __str__(self) -> str:
        raise RuntimeError("no")


class Broken(Mapping[str, int]):
    def __repr__(self) -> str:
        return "<Broken>"

    def __getitem__(self, key: str) -> int:
        raise RuntimeError("no")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no")

    def __len__(self) -> int:
        return 1


TENSORS: list[tuple[object, object]] = [
    (torch.tensor(1.5), 1.5),
    (torch.tensor([1.5], dtype=torch.bfloat16), [1.5]),
    (torch.tensor([1.5], dtype=torch.float16, requires_grad=True), [1.5]),
    (torch.tensor([[1, 2]]), [[1, 2]]),
    (torch.tensor(True), True),
    (torch.tensor([math.nan, math.inf, 1.0]), [None, None, 1.0]),
    (torch.tensor(1 + 2j), "(1+2j)"),
    (torch.tensor([0.0, 2.0]).to_sparse(), [0.0, 2.0]),
    (torch.nn.Parameter(torch.ones(1)), [1.0]),
    (torch.empty(0), []),
    (torch.tensor([1.5]).to(torch.float8_e4m3fn), [1.5]),
]
ARRAYS: list[tuple[object, object]] = [
    (np.float32(0.5), 0.5),
    (np.float64("nan"), None),
    (np.int64(3), 3),
    (np.bool_(True), True),
    (np.str_("x"), "x"),
    (np.array([[1.0, np.inf]]), [[1.0, None]]),
    (np.array(["a", None], dtype=object), ["a", None]),
    (np.longdouble(1), "1.0"),
    (np.datetime64("2026-01-02"), "2026-01-02"),
    (np.array([(1, 2.0)], dtype=[("a", int), ("b", float)]), [[1, 2.0]]),
]
OTHERS: list[tuple[object, object]] = [
    (Path("a/b"), "a/b"),
    (Point(1, Point(math.nan)), {"x": 1, "y": {"x": None, "y": None}}),
    (Kind.A, "a"),
    ({3, 1, 2}, [1, 2, 3]),
    (frozenset({"b", "a"}), ["a", "b"]),
    (b"ab", "b'ab'"),
    (Mute(), "<Mute>"),
    (Broken(), "<Broken>"),
    (Decimal("1.5"), "1.5"),
    (datetime(2026, 1, 2), "2026-01-02T00:00:00"),
    ({1: "a", None: "b", Kind.A: "c", 2.5: "d"}, {"1": "a", "None": "b", "a": "c", "2.5": "d"}),
    (range(3), [0, 1, 2]),
    (10**5000, hex(10**5000)),
    (-math.inf, None),
]


@pytest.mark.parametrize(("value", "plain"), [*TENSORS, *ARRAYS, *OTHERS], ids=lambda value: type(value).__name__)
def test_turns_into_plain_values(value: object, plain: object) -> None:
    assert to_plain(value) == plain
    assert json.loads(dumps([value])) == [plain]


def test_a_tensor_without_data_is_told_by_name() -> None:
    assert "meta" in to_plain(torch.empty(2, device="meta"))


def test_what_contains_itself_is_cut_off() -> None:
    inner: list[Any] = []
    inner.extend([inner, inner, {"again": inner}])
    assert to_plain(inner) == ["<list>", "<list>", {"again": "<list>"}]


def test_depth_is_bounded() -> None:
    nested: Any = 0
    for _ in range(100_000):
        nested = [nested]
    json.loads(dumps(nested))


def test_the_same_object_twice_is_no_recursion() -> None:
    shared = [1]
    assert to_plain([shared, shared]) == [[1], [1]]


LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(5000, 6000).map(lambda power: 10**power)
    | st.floats()
    | st.text(st.characters())
    | st.binary(max_size=5)
    | st.complex_numbers()
    | st.builds(Path, st.just("x"))
    | st.sampled_from([Kind.A, Mute(), Broken(), object(), int, len, torch.ones(2), np.zeros(2)])
    | st.floats(width=32).map(np.float32)
    | st.lists(st.floats(), max_size=3).map(torch.tensor)
)
JUNK = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.tuples(inner, inner)
        | st.dictionaries(st.text() | st.integers() | st.booleans() | st.none() | st.floats(), inner, max_size=3)
        | st.builds(Point, inner, inner)
        | st.frozensets(st.integers() | st.text(), max_size=3)
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(JUNK)
def test_anything_becomes_strict_json(value: object) -> None:
    def refuse(literal: str) -> None:
        raise AssertionError(f"not strict JSON: {literal}")

    json.loads(dumps(value).encode("utf-8"), parse_constant=refuse)


@settings(max_examples=100, deadline=None)
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(), lambda i: st.lists(i) | st.dictionaries(st.text(), i)
    )
)
def test_plain_values_come_back_as_they_were(value: object) -> None:
    assert json.loads(dumps(value)) == value


def test_writes_and_reads(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "x.json"
    write_json(path, {"ü": [1, math.nan], "lone": "\udcff"})
    assert read_json(path) == {"ü": [1, None], "lone": "\udcff"}
    assert [item.name for item in path.parent.iterdir()] == ["x.json"]


def test_a_failing_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    write_json(path, "old")

    def half(file: IO[bytes]) -> None:
        file.write(b"new, but only ha")
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError, match="disk full"):
        write_atomically(path, half)
    assert read_json(path) == "old"
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]


def test_a_target_that_cannot_be_replaced_leaves_no_temporary_file(tmp_path: Path) -> None:
    (tmp_path / "x.json" / "inside").mkdir(parents=True)
    with pytest.raises(OSError, match=r"x\.json"):
        write_json(tmp_path / "x.json", 1)
    assert [item.name for item in tmp_path.iterdir()] == ["x.json"]


def test_a_folder_that_cannot_be_made_is_an_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_json(tmp_path / "file" / "x.json", 1)


def test_files_have_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "usual").write_text("")
    write_json(tmp_path / "x.json", 1)
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("usual", "x.json")}
    assert len(modes) == 1


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
@pytest.mark.parametrize("indent", [None, 2])
def test_a_terminal_can_show_json_and_a_parser_gets_all_of_it(name: str, indent: int | None) -> None:
    content = {name: [name, {"a": f"\U000e0041{name}"}], "b": "\ud800\x7f"}
    text = dumps(content, indent=indent)
    assert json.loads(text) == content
    assert not hidden(text)


@pytest.mark.parametrize(
    "text", ["[" * 202 + "]" * 202, '{"a":' * 202 + "0" + "}" * 202, "[" * 100_000, '{"a":[' * 150]
)
def test_what_is_nested_more_deeply_than_anything_that_is_written_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested too deeply|Expecting"):
        parse_json(text)


def test_what_is_written_is_never_nested_too_deeply() -> None:
    value: Any = 0
    for _ in range(300):
        value = [value, {"x": 1}]
    assert parse_json(dumps(value)) is not None
