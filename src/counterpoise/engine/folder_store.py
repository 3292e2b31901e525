"""A folder as a store. Others may write to it: only regular files count, and nothing goes through a link."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from fsspec.callbacks import NoOpCallback
from fsspec.implementations.local import LocalFileSystem

from counterpoise.files import link_error, open_regular
from counterpoise.jsonio import remove

_BLOCK = 1 << 20


class FolderStore(LocalFileSystem):  # type: ignore[misc]
    """What :class:`~counterpoise.engine.remote.Remote` calls, below one folder.

    The folder itself may be reached through links. What lies in it may not: a link there could name any file of this
    machine, to be read into a run or to be written over.

    Args:
        place: the folder.
    """

    def __init__(self, place: str, **options: Any) -> None:
        super().__init__(auto_mkdir=True, **options)
        self.place = Path(place)

    def _within(self, path: str) -> Path:
        """A path below the folder, none of whose parts is a link. Raises ``OSError``."""
        full = Path(self._strip_protocol(path))
        at = self.place
        for part in full.relative_to(self.place).parts:
            at = at / part
            if at.is_symlink():
                raise link_error(at)
        return full

    def cat_file(self, path: str, start: int | None = None, end: int | None = None, **_: Any) -> bytes:
        """The bytes of a regular file from ``start`` to ``end``."""
        with open_regular(self._within(path)) as file:
            file.seek(start or 0)
            return file.read(-1 if end is None else end - (start or 0))

    def _open(self, path: str, mode: str = "rb", block_size: int | None = None, **_: Any) -> BinaryIO:
        if mode != "rb":
            raise ValueError(f"mode {mode!r} is not used here")
        return open_regular(self._within(path))

    def info(self, path: str, **_: Any) -> dict[str, Any]:
        """Size and kind; of a link itself, not of what it names."""
        if not Path(self._strip_protocol(path)).is_relative_to(self.place):
            return dict(super().info(path))
        found = os.lstat(self._within(path))
        kind = "directory" if Path(path).is_dir() else "file"
        return {"name": str(path), "size": found.st_size, "type": kind}

    def pipe_file(self, path: str, value: bytes, **_: Any) -> None:
        """Write a file whole."""
        with self._written(path) as file:
            file.write(value)

    def put_file(self, source: str, path: str, callback: Any = None, **_: Any) -> None:
        """Copy a file of this machine into the store."""
        callback = callback or NoOpCallback()
        with open_regular(Path(source)) as file, self._written(path) as copy:
            while block := file.read(_BLOCK):
                copy.write(block)
                callback.relative_update(len(block))

    @contextmanager
    def _written(self, path: str) -> Iterator[BinaryIO]:
        full = self._within(path)
        full.parent.mkdir(parents=True, exist_ok=True)
        if full.exists() and not full.is_file():
            raise OSError(errno.EEXIST, "something else than a file stands there", str(full))
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | getattr(os, "O_NOFOLLOW", 0)
        with os.fdopen(os.open(full, flags, 0o666), "wb") as file:
            yield file

    def mv(self, source: str, target: str, **_: Any) -> None:
        """Rename a file, over what is there."""
        self._within(source).replace(self._within(target))

    def remove_tree(self, path: str) -> None:
        """Remove a folder with all in it; of a link, the link alone."""
        full = Path(self._strip_protocol(path))
        self._within(str(full.parent))
        remove(full)
