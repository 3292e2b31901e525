"""A disk that fails at the nth thing that is written below a folder: once, or from then on."""

from __future__ import annotations

import builtins
import errno
import io
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from counterpoise.engine import checkpoints
from counterpoise.tracking import appending

KINDS = (errno.ENOSPC, errno.EROFS, errno.EACCES, errno.EIO)
FOREVER = 10**9


class Disk:
    """Counts writes below ``folder`` and fails those from the ``first`` on, ``count`` of them.

    Opening for writing, writes to an open file, making, renaming and removing, links, fsync of a file, and
    PyTorch's and safetensors' savers each count as one.
    """

    def __init__(self, folder: Path, first: int = FOREVER, count: int = 1, code: int = errno.ENOSPC) -> None:
        self.folder = str(folder)
        self.first, self.count, self.code = first, count, code
        self.calls = 0
        self.failed: list[str] = []

    def touch(self, what: str, path: Any) -> None:
        if not self._is_below(path):
            return
        self.calls += 1
        if self.first <= self.calls < self.first + self.count:
            self.failed.append(what)
            raise OSError(self.code, os.strerror(self.code), str(path))

    def _is_below(self, path: Any) -> bool:
        if isinstance(path, int):
            path = Path(f"/proc/self/fd/{path}").readlink()
        return isinstance(path, str | os.PathLike) and str(path).startswith(self.folder)

    def guard(self, what: str, real: Callable[..., Any], at: int = 0) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            folder = named.get("dir_fd")
            path = arguments[at]
            if folder is not None:
                path = Path(f"/proc/self/fd/{folder}").readlink() / path
            self.touch(what, path)
            return real(*arguments, **named)

        return call

    def opener(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(path: Any, mode: str = "r", *arguments: Any, **named: Any) -> Any:
            if not set(mode) & set("wax+"):
                return real(path, mode, *arguments, **named)
            self.touch("open", path)
            return Writer(real(path, mode, *arguments, **named), self, path)

        return call


class Writer:
    """An open file whose first two writes count, and some of the many that PyTorch makes."""

    def __init__(self, file: Any, disk: Disk, path: Any) -> None:
        self._file, self._disk, self._path = file, disk, path
        self._writes = 0

    def write(self, data: Any) -> int:
        self._writes += 1
        try:
            if self._writes <= 2 or self._writes % 60 == 0:
                self._disk.touch("write", self._path)
        except OSError:
            self._file.write(data[: len(data) // 2])  # a full disk takes what fits
            raise
        return int(self._file.write(data))

    def __enter__(self) -> Writer:
        self._file.__enter__()
        return self

    def __exit__(self, *reason: Any) -> Any:
        return self._file.__exit__(*reason)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


class FileWriter(io.FileIO):
    """The same for the unbuffered files of ``tracking.appending``."""

    disk: Disk

    def __init__(self, path: Any, mode: str) -> None:
        self.disk.touch("open", path)
        super().__init__(path, mode)

    def write(self, data: Any) -> int:
        try:
            self.disk.touch("append", self.name)
        except OSError:
            super().write(data[: len(data) // 2])
            raise
        return super().write(data)


@contextmanager
def failing(disk: Disk) -> Iterator[Disk]:
    """While inside, this process writes to ``disk``."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("mkdir", "rename", "replace", "unlink", "rmdir", "link", "fsync"):
            patch.setattr(os, name, disk.guard(name, getattr(os, name)))
        patch.setattr(io, "open", disk.opener(io.open))
        patch.setattr(builtins, "open", disk.opener(builtins.open))
        patch.setattr(checkpoints, "save_model", disk.guard("save_model", checkpoints.save_model, 1))
        patch.setattr(appending, "FileIO", type("FileWriter", (FileWriter,), {"disk": disk}))
        yield disk
