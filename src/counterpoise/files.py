"""Opening files whose place others may have written to: only regular files are read, and no link is written through.

A FIFO or a device in the place of a file would stop a command for ever, and a link in the place of a file that a run
writes would change a file elsewhere. Both are an ``OSError`` here, as a file that cannot be opened is.
"""

from __future__ import annotations

import errno
import os
import stat
from io import FileIO
from pathlib import Path
from typing import BinaryIO

_KINDS = (
    (stat.S_ISFIFO, "a FIFO"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)
_NO_FOLLOW, _NO_WAIT = getattr(os, "O_NOFOLLOW", 0), getattr(os, "O_NONBLOCK", 0)


def open_regular(path: Path) -> BinaryIO:
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


def link_error(path: Path) -> OSError:
    """The error for a link in the place of something that is written."""
    return OSError(errno.ELOOP, "it is a link, through which nothing is written", str(path))


def _check_regular(handle: int, path: Path) -> None:
    mode = os.fstat(handle).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(mode):
        kind = next((name for is_kind, name in _KINDS if is_kind(mode)), "no regular file")
        raise OSError(errno.EINVAL, f"it is {kind}, and only regular files are read or written", str(path))
