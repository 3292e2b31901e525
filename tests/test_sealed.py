"""Seals: what survives a round trip, and what shows."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.jsonio import parse_json, read_sealed, remove, sealed, unsealed, write_sealed

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
@settings(max_examples=60, deadline=None)
def test_what_is_sealed_comes_back_from_its_text(content: dict[str, object]) -> None:
    whole = sealed(content, "a.json")
    again = parse_json(json.dumps(whole, indent=3))
    assert unsealed(again, "a.json") == {key: value for key, value in whole.items() if key != "seal"}
    for other in ({**again, "more": 1}, {**again, "seal": None}, {key: again[key] for key in again if key != "seal"}):
        with pytest.raises(ValueError, match="its own checksum"):
            unsealed(other, "a.json")
    with pytest.raises(ValueError, match="its own checksum"):
        unsealed(again, "b.json")


@pytest.mark.parametrize("content", ["", "[]", "null", "3", '"x"', "{", "[" * 100_000, "{}"])
def test_what_was_never_sealed_is_a_value_error(content: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError):  # noqa: PT011 - JSON's own is one too
        read_sealed(tmp_path / "a.json")


def test_a_file_is_no_other_files(tmp_path: Path) -> None:
    write_sealed(tmp_path / "a.json", {"n": 1})
    (tmp_path / "a.json").rename(tmp_path / "b.json")
    with pytest.raises(ValueError, match="its own checksum"):
        read_sealed(tmp_path / "b.json")


def test_whatever_lies_there_is_removed_and_no_links_target(tmp_path: Path) -> None:
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "file").write_text("x")
    (tmp_path / "link").symlink_to("folder")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "nowhere").symlink_to("gone")
    for name in ("link", "loop", "nowhere", "gone"):
        remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "deep" / "file").exists()
    remove(tmp_path / "folder")
    assert not list(tmp_path.iterdir())
