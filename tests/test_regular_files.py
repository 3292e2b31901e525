"""Files in whose place something else lies."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from counterpoise.files import open_regular, open_to_append, read_bytes, read_text


def _irregular(folder: Path, kind: str) -> Path:
    path = folder / kind
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(os.path.relpath(path))
    elif kind == "device":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    return path


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder"])
def test_only_regular_files_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=kind) as caught:
        open_regular(_irregular(tmp_path, kind))
    assert caught.value.filename.endswith(kind)


@pytest.mark.parametrize("kind", ["fifo", "socket", "device", "folder"])
def test_only_regular_files_are_appended_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OSError, match=kind):
        open_to_append(_irregular(tmp_path, kind))


def test_what_is_regular_is_read_through_a_link_too(tmp_path: Path) -> None:
    (tmp_path / "there").write_bytes("é\r\n".encode())
    (tmp_path / "link").symlink_to("there")
    assert read_bytes(tmp_path / "link") == b"\xc3\xa9\r\n"
    assert read_text(tmp_path / "link") == "é\r\n"
    (tmp_path / "there").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="utf-8"):
        read_text(tmp_path / "there")


def test_nothing_is_appended_through_a_link(tmp_path: Path) -> None:
    (tmp_path / "start_file").write_text("before\n")
    (tmp_path / "link").symlink_to("start_file")
    (tmp_path / "dangling").symlink_to("new")
    for name in ("link", "dangling"):
        with pytest.raises(OSError, match="link"):
            open_to_append(tmp_path / name)
    assert (tmp_path / "start_file").read_text() == "before\n"
    assert not (tmp_path / "new").exists()


def test_a_file_that_is_appended_to_keeps_what_it_holds(tmp_path: Path) -> None:
    for text in (b"one\n", b"two\n"):
        with open_to_append(tmp_path / "log") as file:
            file.write(text)
    assert (tmp_path / "log").read_bytes() == b"one\ntwo\n"
