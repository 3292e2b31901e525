"""Opening files whose place others may have written to: only regular files are read, and no link is written through.

A FIFO or a device in the place of a file would stop a command for ever, and a link in the place of a file or a folder
that a run writes would change something elsewhere. Both are an ``OSError`` here, as a file that cannot be opened is.

A run, a multirun and a report keep their files below one folder of their own, which may be reached through links: the
user chose that. Below it :func:`own_folder` makes every folder.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable
from io import BufferedReader, FileIO
from pathlib import Path

_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_NO_FOLLOW, _NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)


class NotRegularError(OSError):
    """Something stands in the place of a file that is none: a link where something is written, a FIFO, a device."""


def open_regular(path: Path) -> BufferedReader:
    """A regular file, or a link to one, for reading; never waits for a writer.

    Raises:
        OSError: if it cannot be opened, or is a folder, a FIFO, a socket or a device.
    """
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | _NO_WAIT)
    try:
        _check_regular(handle, path)
        return os.fdopen(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: Path) -> bytes:
    """The content of a regular file. Raises as :func:`open_regular`."""
    with open_regular(path) as file:
        return file.read()


def read_text(path: Path, errors: str = "strict") -> str:
    """The same as UTF-8 text, line ends as they stand. Raises ``ValueError`` too, where that is not what it holds."""
    return read_bytes(path).decode("utf-8", errors)


def open_to_append(path: Path) -> FileIO:
    """A regular file, made if it is not there, to be written at its end.

    Raises:
        OSError: if it cannot be opened, or is a link or no regular file. Nothing is written then.
    """
    if path.is_symlink():
        raise link_error(path)
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | _NO_FOLLOW | _NO_WAIT
    handle = os.open(path, flags, 0o666)
    try:
        _check_regular(handle, path)
        return FileIO(handle, "ab")
    except BaseException:
        os.close(handle)
        raise


def own_folder(home: Path, *names: str) -> Path:
    """The folder ``home/names[0]/...``, made with every folder on the way to it that is not there.

    Args:
        home: of a run, a multirun or a report; it may be a link, as may any folder above it.
        names: of the folders below it, from the outermost.

    Raises:
        OSError: if it cannot be made, or if a folder below ``home`` is a link or no folder.
    """
    home.mkdir(parents=True, exist_ok=True)
    folder = home
    for name in names:
        folder = folder / name
        try:
            folder.mkdir()
        except FileExistsError:
            _check_folder(folder)
    return folder


def check_own_folders(home: Path, names: Iterable[str]) -> None:
    """Make sure that the folders in ``home`` that are there are folders, and so is every folder below them.

    Raises:
        OSError: for the first one that is a link or no folder.
    """
    for name in names:
        if os.path.lexists(home / name):
            _check_folder(home / name)
            for place, folders, _ in os.walk(home / name):
                for folder in folders:
                    _check_folder(Path(place, folder))


def check_own_files(home: Path, names: Iterable[str], folders: Iterable[str] = ()) -> None:
    """Make sure that the files in ``home`` that are there are regular files, before anything is written.

    Args:
        home: of a run or a multirun.
        names: of its files; those that are not there are not missed.
        folders: names of its folders, all of whose files are checked too.

    Raises:
        OSError: for the first file that is a link, a folder, or no regular file.
    """
    inside = (Path(place, name) for folder in folders for place, _, files in os.walk(home / folder) for name in files)
    for path in (*(home / name for name in names), *inside):
        if path.is_symlink():
            raise link_error(path)
        if path.exists():
            check_regular(path)


def check_regular(path: Path) -> Path:
    """``path``, for readers that take no open file.

    Raises:
        OSError: as :func:`open_regular`.
    """
    open_regular(path).close()
    return path


def _check_folder(folder: Path) -> None:
    if folder.is_symlink():
        raise link_error(folder)
    if not folder.is_dir():
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder))


def link_error(path: Path) -> OSError:
    """The error for a link in the place of something that is written."""
    return NotRegularError(errno.ELOOP, "it is a link, through which nothing is written", str(path))


def special_kind(path: Path) -> str | None:
    """``a FIFO``, ``a socket`` or ``a device``; ``None`` for files, folders, and what is not there.

    Raises:
        OSError: if it cannot be looked up.
    """
    try:
        return _special(path.stat().st_mode)
    except FileNotFoundError:
        return None


def _special(mode: int) -> str | None:
    return next((name for is_kind, name in _KINDS if is_kind(mode)), None)


def _check_regular(handle: int, path: Path) -> None:
    mode = os.fstat(handle).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = _special(mode) or "no regular file"
        raise NotRegularError(errno.EINVAL, f"it is {kind}, and only regular files are read or written", str(path))
