"""The cache on disk: built once, checked, rebuilt; and what its names depend on."""

from __future__ import annotations

import errno
import logging
import multiprocessing
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.data.cache import (
    Cache,
    damage,
    dataset_fingerprint,
    fingerprint,
    read_manifest,
    records_fingerprint,
    write_manifest,
)
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError
from counterpoise.jsonio import read_json, write_sealed


def build(folder: Path) -> None:
    with (folder.parent.parent / "builds").open("a") as file:
        file.write("x")
    (folder / "a.txt").write_text("content")
    (folder / "deep").mkdir()
    (folder / "deep" / "b.txt").write_text("more")


def builds(root: Path) -> int:
    return len((root.parent / "builds").read_text())


def slow_build(folder: Path) -> None:
    time.sleep(0.3)
    build(folder)


def ask(root: Path) -> None:
    assert (Cache(root).entry("kind", {"a": 1}, slow_build) / "a.txt").read_text() == "content"


def test_processes_that_ask_at_once_build_once(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    processes = [context.Process(target=ask, args=(tmp_path / "cache",)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * 4
    assert builds(tmp_path / "cache") == 1


def test_a_built_entry_is_opened_and_keys_are_told_apart(tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    one = cache.entry("kind", {"a": 1, "b": [1, 2]}, build)
    assert cache.entry("kind", {"b": [1, 2], "a": 1}, build) == one
    assert builds(tmp_path / "cache") == 1
    assert cache.entry("kind", {"a": 1, "b": [2, 1]}, build) != one
    assert damage(one, exact=True) is None


def spoil_content(folder: Path) -> None:
    (folder / "deep" / "b.txt").write_text("MORE")


def truncate(folder: Path) -> None:
    (folder / "a.txt").write_text("cont")


def remove(folder: Path) -> None:
    (folder / "a.txt").unlink()


def add(folder: Path) -> None:
    (folder / "deep" / "c.txt").write_text("extra")


def spoil_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"checksums": {')


def empty_manifest(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"checksums": {}}')


def no_manifest(folder: Path) -> None:
    (folder / "manifest.json").unlink()


@pytest.mark.parametrize("harm", [spoil_content, truncate, remove, add, spoil_manifest, empty_manifest, no_manifest])
def test_a_damaged_entry_is_built_again(tmp_path: Path, harm, caplog: pytest.LogCaptureFixture) -> None:
    cache = Cache(tmp_path / "cache")
    harm(cache.entry("kind", {"a": 1}, build))
    with caplog.at_level(logging.WARNING):
        folder = cache.entry("kind", {"a": 1}, build)
    assert "damaged" in caplog.text
    assert builds(tmp_path / "cache") == 2
    assert damage(folder, exact=True) is None
    assert not (folder / "deep" / "c.txt").exists()


def test_a_build_that_is_cut_off_leaves_nothing_used(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        (folder / "a.txt").write_text("half")
        raise KeyboardInterrupt

    cache = Cache(tmp_path / "cache")
    with pytest.raises(KeyboardInterrupt):
        cache.entry("kind", {"a": 1}, fail)
    # a killed process cannot even clean up
    name = f".kind-{fingerprint({'a': 1})}.building"
    (tmp_path / "cache" / name).mkdir()
    (tmp_path / "cache" / name / "a.txt").write_text("half")
    folder = cache.entry("kind", {"a": 1}, build)
    assert (folder / "a.txt").read_text() == "content"
    assert not (tmp_path / "cache" / name).exists()


def test_a_folder_that_cannot_be_used_is_the_users_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"paths\.cache") as caught:
        Cache(tmp_path / "file" / "cache").entry("kind", {}, build)
    assert "another folder" in str(caught.value)


def test_a_built_entry_needs_no_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = Cache(tmp_path / "cache")
    folder = cache.entry("kind", {}, build)

    def refuse(*args: object, **named: object) -> None:
        raise OSError(errno.EROFS, "read-only file system")

    monkeypatch.setattr("counterpoise.data.cache.FileLock", refuse)
    assert cache.entry("kind", {}, build) == folder
    with pytest.raises(UserError, match="read-only"):
        cache.entry("kind", {"other": 1}, build)


@pytest.mark.parametrize(
    ("error", "ours"),
    [
        (OSError(errno.ENOSPC, "no space left"), True),
        (PermissionError(errno.EACCES, "denied", "{cache}/kind/a.arrow"), True),
        (FileNotFoundError(errno.ENOENT, "no such file", "/data/train.jsonl"), False),
        (ConnectionRefusedError(errno.ECONNREFUSED, "refused"), False),
        (TimeoutError("the hub does not answer"), False),
    ],
)
def test_only_the_caches_own_errors_are_blamed_on_it(tmp_path: Path, error: OSError, ours: bool) -> None:
    root = tmp_path / "cache"
    if error.filename is not None:
        error.filename = error.filename.format(cache=root)

    def fail(folder: Path) -> None:
        raise error

    with pytest.raises(UserError if ours else type(error)) as caught:
        Cache(root).entry("kind", {}, fail)
    assert ("paths.cache" in str(caught.value)) == ours
    assert not list(root.glob(".*.building"))


# Fingerprints

TEXTS = st.lists(st.text(st.characters(codec="utf-8"), max_size=8), min_size=1, max_size=8)


def records(texts: list[str], labels: list[int], **more: list[object]) -> Records:
    columns = {"row": list(range(len(texts))), "text": texts, "label": labels, **more}
    return Records.from_columns(columns, ("safe", "vulnerable"))


@settings(deadline=None)
@given(texts=TEXTS, data=st.data())
def test_chunks_do_not_matter_and_content_does(texts: list[str], data: st.DataObject) -> None:
    labels = data.draw(st.lists(st.integers(0, 1), min_size=len(texts), max_size=len(texts)))
    groups = data.draw(st.lists(st.none() | st.text("ab", max_size=2), min_size=len(texts), max_size=len(texts)))
    one = records(texts, labels, group=groups)
    base = records_fingerprint(one)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(texts)), max_size=3)))
    edges = [0, *cuts, len(texts)]
    parts = [one.table.slice(a, b - a) for a, b in pairwise(edges)]
    chunked = Records(pa.concat_tables(parts), one.classes)
    assert records_fingerprint(chunked) == base
    padded = records(["before", *texts, "after"], [0, *labels, 1], group=["x", *groups, None])
    rows = pa.array(range(len(texts)), pa.int64())
    table = padded.table.slice(1, len(texts))
    window = Records(table.set_column(table.column_names.index("row"), "row", rows), one.classes)
    assert records_fingerprint(window) == base
    names = one.table.column_names[::-1]
    assert records_fingerprint(Records(one.table.select(names), one.classes)) == base

    at = data.draw(st.integers(0, len(texts) - 1))
    changed = [*texts]
    changed[at] += "x"
    assert records_fingerprint(records(changed, labels, group=groups)) != base
    flipped = [*labels]
    flipped[at] = 1 - flipped[at]
    assert records_fingerprint(records(texts, flipped, group=groups)) != base
    assert records_fingerprint(Records(one.table, ("safe", "Vulnerable"))) != base
    assert records_fingerprint(one.take(np.arange(len(texts) - 1))) != base


def test_an_entry_that_holds_for_a_while_is_built_again_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cache = Cache(tmp_path / "cache")
    now = time.time()
    for hours_later, expected in ((0.0, 1), (1.9, 1), (2.0, 2), (3.9, 2), (1.0, 3)):  # the last: a clock was set back
        monkeypatch.setattr("counterpoise.data.cache.time.time", lambda at=now + 3600 * hours_later: at)
        cache.entry("kind", {"a": 1}, build, hours=2)
        assert builds(tmp_path / "cache") == expected, hours_later
    cache.entry("kind", {"a": 1}, build)
    assert builds(tmp_path / "cache") == 3, "for ever, where nothing else is said"
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


@pytest.mark.parametrize("change", [{"key": {"a": 2}}, {"key": None}, {"built_at": "yesterday"}, {"built_at": None}])
def test_another_keys_entry_and_one_of_unknown_age_are_built_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, change: dict[str, object]
) -> None:
    cache = Cache(tmp_path / "cache")
    manifest = cache.entry("kind", {"a": 1}, build) / "manifest.json"
    whole = read_json(manifest)
    write_sealed(manifest, {**whole, **change})
    cache.entry("kind", {"a": 1}, build, hours=1)
    assert builds(tmp_path / "cache") == 2
    assert ("another key's" if "key" in change else "of unknown age") in caplog.text
    assert read_json(manifest)["key"] == {"a": 1}


def test_where_a_text_ends_matters() -> None:
    assert records_fingerprint(records(["ab", "c"], [0, 1])) != records_fingerprint(records(["a", "bc"], [0, 1]))


def test_every_split_counts() -> None:
    a, b, c = (records([text], [0]) for text in "abc")
    prints = {
        dataset_fingerprint(Dataset("d", *splits)) for splits in ((a, b, None), (a, b, c), (b, a, None), (a, c, b))
    }
    assert len(prints) == 4


@given(key=st.dictionaries(st.text(max_size=3), st.integers() | st.lists(st.integers(), max_size=2), max_size=5))
def test_the_order_of_keys_does_not_matter(key: dict[str, object]) -> None:
    turned = dict(reversed(key.items()))
    assert fingerprint({"a": key}) == fingerprint({"a": turned})
    assert fingerprint({"a": key}) != fingerprint({"a": {**key, "new key": 1}})


@pytest.mark.parametrize("kind", ["file", "loop", "dangling", "folder"])
def test_whatever_lies_in_the_place_of_an_entry_is_replaced(kind: str, tmp_path: Path) -> None:
    cache = Cache(tmp_path / "cache")
    entry = cache.root / f"kind-{fingerprint({'a': 1})}"
    cache.root.mkdir()
    if kind == "file":
        entry.write_text("x")
    elif kind == "folder":
        (entry / "deep").mkdir(parents=True)
    else:
        entry.symlink_to(entry.name if kind == "loop" else "nowhere")
    assert damage(cache.entry("kind", {"a": 1}, build), exact=True) is None
    assert not entry.is_symlink()


def test_an_entry_that_its_reader_refuses_is_built_again_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def read(folder: Path) -> str:
        text = (folder / "a.txt").read_text()
        if text != "content":
            raise KeyError(text)
        return text

    cache = Cache(tmp_path / "cache")
    folder = cache.entry("kind", {"a": 1}, build)
    (folder / "a.txt").write_text("other")
    write_manifest(folder, read_manifest(folder))
    assert cache.read("kind", {"a": 1}, build, read) == "content"
    assert builds(tmp_path / "cache") == 2
    assert "cannot be read ('other'); it is built again." in caplog.text
    with pytest.raises(ZeroDivisionError):
        cache.read("kind", {"a": 1}, build, lambda folder: 1 / 0)


@pytest.mark.parametrize(
    "error", [MemoryError(), pa.ArrowMemoryError("malloc of size 64 failed"), OSError(errno.ENOMEM, "")]
)
def test_memory_that_runs_out_is_no_damage(tmp_path: Path, error: Exception) -> None:
    """An entry is not thrown away, nor the cache's folder blamed, where there was no memory to read it with."""

    def read(folder: Path) -> str:
        raise error

    def fail(folder: Path) -> None:
        raise error

    cache = Cache(tmp_path / "cache")
    folder = cache.entry("kind", {"a": 1}, build)
    with pytest.raises(type(error)):
        cache.read("kind", {"a": 1}, build, read)
    assert damage(folder, exact=True) is None
    with pytest.raises(type(error)):
        cache.entry("kind", {"a": 2}, fail)
