"""A content-addressed cache on disk: a folder per fingerprint, built once, checked whenever it is opened.

Several processes may ask for the same entry at once: one builds it in a temporary folder under a lock and renames it
into place, the others wait and open it. Every file's checksum stands in the entry's manifest, and so does the key; an
entry that is damaged, or another key's, is rebuilt with a warning. One that holds for a while is rebuilt afterwards.
"""

from __future__ import annotations

import errno
import hashlib
import inspect
import logging
import os
import shutil
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import pyarrow as pa
from filelock import FileLock

from counterpoise.allocation import is_out_of_memory
from counterpoise.config.targets import PACKAGE, Component
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError, fail
from counterpoise.files import open_regular
from counterpoise.jsonio import dumps, read_sealed, remove, write_sealed

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_CHUNK = 1 << 20
_UNREADABLE = (OSError, ValueError, LookupError, TypeError, AttributeError, OverflowError, pa.ArrowException)
"""What a reader raises over content that is not what it should be."""
T = TypeVar("T")
_DISK = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.EFBIG, errno.ENOLCK}
"""What a full, broken or unsuitable disk says, often without naming a file."""


class _HashSink:
    """A file-like object that keeps nothing but the hash of what is written to it."""

    closed = False

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=16)

    def write(self, data: Any) -> int:
        self.hash.update(data)
        return len(data)

    def flush(self) -> None: ...

    def close(self) -> None: ...


def records_fingerprint(records: Records) -> str:
    """Hash of every row, text, label and class name; independent of how Arrow happens to chunk the table."""
    sink = _HashSink()
    sink.write(dumps(list(records.classes)).encode())
    table = records.table.select(sorted(records.table.column_names))
    # Taken anew: a slice would drag bits of its neighbours along.
    table = table.take(pa.array(range(len(records)), pa.int64())).combine_chunks().replace_schema_metadata(None)
    with pa.PythonFile(sink, mode="w") as file, pa.ipc.new_stream(file, table.schema) as writer:
        writer.write_table(table)
    return sink.hash.hexdigest()


def dataset_fingerprint(dataset: Dataset) -> str:
    """Hash of all splits."""
    return fingerprint({name: records_fingerprint(split) for name, split in dataset.splits().items()})


def fingerprint(key: Mapping[str, Any]) -> str:
    """Hash of a JSON-ready mapping, independent of the order of its keys."""
    return hashlib.blake2b(_canonical(key).encode(), digest_size=16).hexdigest()


def component_key(component: Component) -> dict[str, Any]:
    """A component's class and config; of a class from elsewhere, whose code changes without a version, its file too."""
    target = component.target
    key = {"class": f"{target.__module__}.{target.__qualname__}", "config": asdict(component.config)}
    if not target.__module__.startswith(f"{PACKAGE}."):
        key["source"] = file_checksum(Path(inspect.getfile(target)))
    return key


def _canonical(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{dumps(k)}:{_canonical(value[k])}" for k in sorted(value)) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_canonical(item) for item in value) + "]"
    return dumps(value, indent=None)


def checksum(content: Any) -> str:
    """blake2b of bytes, or of an array's."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


def file_checksum(path: Path) -> str:
    """blake2b of a file's content."""
    digest = hashlib.blake2b(digest_size=16)
    with open_regular(path) as file:
        while block := file.read(_CHUNK):
            digest.update(block)
    return digest.hexdigest()


def folder_checksums(folder: Path) -> dict[str, str]:
    """Checksum of every file below ``folder`` by relative name, the manifest aside."""
    return {name: file_checksum(folder / name) for name in _files(folder)}


def _files(folder: Path) -> list[str]:
    """All that is no folder: a FIFO in the place of a file, or beside the files, is damage."""
    files = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir())
    return sorted(name for name in files if name != MANIFEST)


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Seal a folder: ``facts``, the checksum of every file in it, and one of the manifest itself."""
    write_sealed(folder / MANIFEST, {**facts, "checksums": folder_checksums(folder)})


def read_manifest(folder: Path) -> dict[str, Any]:
    """What :func:`write_manifest` wrote. Raises ``OSError``, or ``ValueError`` if it is damaged."""
    return read_sealed(folder / MANIFEST)


def damage(folder: Path, *, files: Collection[str] | None = None, exact: bool = False) -> str | None:
    """What is wrong with a folder that carries a manifest of checksums; ``None`` if nothing is.

    Args:
        folder: as written with its manifest.
        files: what the manifest has to list, no more and no less; ``None`` for anything.
        exact: a file that the manifest does not list is damage too.
    """
    try:
        expected = read_manifest(folder)["checksums"]
        if not isinstance(expected, Mapping) or not expected:
            return "its manifest lists no files"
        if files is not None and set(expected) != set(files):
            return f"its manifest lists {', '.join(sorted(expected))} rather than {', '.join(sorted(files))}"
        for name, checksum in expected.items():
            if not (folder / name).is_file():
                return f"{name} is missing"
            if file_checksum(folder / name) != checksum:
                return f"{name} does not match its checksum"
        for name in _files(folder) if exact else ():
            if name not in expected:
                return f"{name} does not belong to it"
    except (OSError, ValueError, KeyError, TypeError) as error:
        if is_out_of_memory(error):
            raise
        return f"{MANIFEST}: {error}" if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
    return None


@dataclass(frozen=True)
class _Flaw:
    """Why an entry is not used."""

    text: str
    level: int = logging.WARNING


def _flaw(folder: Path, key: Mapping[str, Any], hours: float | None) -> _Flaw | None:
    """What is wrong with an entry; ``None`` if it is whole, this key's, and not too old."""
    damaged = damage(folder, exact=True)
    if damaged is not None:
        return _Flaw(f"damaged ({damaged})")
    manifest = read_manifest(folder)
    if fingerprint({"key": manifest.get("key")}) != fingerprint({"key": key}):
        return _Flaw("another key's")
    if hours is None:
        return None
    built_at = manifest.get("built_at")
    if not isinstance(built_at, int | float):
        return _Flaw("of unknown age")
    age = (time.time() - built_at) / 3600
    return None if 0 <= age < hours else _Flaw(f"{age:.1f} hours old", logging.INFO)


class Cache:
    """Entries below one folder.

    Args:
        root: where they are kept; made when first needed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.entries: list[Path] = []
        """Those that were asked for and are there, in this order."""

    def entry(
        self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None], *, hours: float | None = None
    ) -> Path:
        """The folder for ``key``, built by ``build(folder)`` if it is not there, damaged, another key's or too old.

        Args:
            kind: first part of the folder's name, for people.
            key: everything that the content depends on, JSON-ready.
            build: fills an empty folder.
            hours: how long an entry holds; ``None`` is for ever.

        Raises:
            UserError: if the cache's folder cannot be written. Any other error of ``build`` is passed on as it is.
        """
        final = self._entry(kind, key, build, hours)
        self.entries.append(final)
        return final

    def _entry(self, kind: str, key: Mapping[str, Any], build: Callable[[Path], None], hours: float | None) -> Path:
        name = f"{kind}-{fingerprint(key)}"
        final = self.root / name
        try:
            if final.exists() and _flaw(final, key, hours) is None:
                return final  # entries come whole by renaming: reading needs no lock, nor a folder that can be written
            self.root.mkdir(parents=True, exist_ok=True)
            with FileLock(self.root / f"{name}.lock"):
                if os.path.lexists(final):  # whatever it is: a link that leads nowhere is in the way too
                    flaw = _flaw(final, key, hours)
                    if flaw is None:
                        return final
                    log.log(flaw.level, "The cache entry %s is %s; it is built again.", final, flaw.text)
                    remove(final)
                self._build(final, key, build)
        except OSError as error:
            if not self._is_ours(error):
                raise
            raise self._unusable(error) from error
        return final

    def try_out(self) -> None:
        """Find out whether entries can be made; nothing is left behind.

        Raises:
            UserError: if the cache's folder cannot be written. One with entries may be read-only: they can be read.
        """
        trial, missing = self.root / ".trial", list[Path]()
        try:
            missing += [folder for folder in (self.root, *self.root.parents) if not folder.exists()]
            self.root.mkdir(parents=True, exist_ok=True)
            if not any(self.root.iterdir()):
                trial.write_bytes(b"trial")
        except OSError as error:
            raise self._unusable(error) from error
        finally:
            with suppress(OSError):
                trial.unlink(missing_ok=True)
                for folder in missing:
                    folder.rmdir()

    def _unusable(self, error: OSError) -> UserError:
        remedy = "Free some space, or name another folder with paths.cache=..."
        return fail("paths.cache", f"the cache folder {self.root} cannot be used: {error}.", remedy)

    def read(
        self,
        kind: str,
        key: Mapping[str, Any],
        build: Callable[[Path], None],
        read: Callable[[Path], T],
        *,
        hours: float | None = None,
    ) -> T:
        """What ``read`` makes of an entry; one that it cannot read, whatever its checksums say, is built again.

        Args:
            kind: as for :meth:`entry`, as are the others.
            key: everything that the content depends on.
            build: fills an empty folder.
            read: takes the entry's folder, and raises for what should not be in it.
            hours: how long an entry holds.

        Raises:
            UserError: as :meth:`entry`.
        """
        folder = self.entry(kind, key, build, hours=hours)
        try:
            return read(folder)
        except _UNREADABLE as error:
            if is_out_of_memory(error):  # Arrow's own is among them
                raise
            problem = (str(error) or type(error).__name__).splitlines()[0]
            log.warning("The cache entry %s cannot be read (%s); it is built again.", folder, problem)
            with FileLock(self.root / f"{folder.name}.lock"):
                remove(folder)
        return read(self.entry(kind, key, build, hours=hours))

    def _is_ours(self, error: OSError) -> bool:
        """Whether it tells of the cache's folder, rather than of something that ``build`` reads elsewhere."""
        if is_out_of_memory(error):
            return False
        if error.filename is None:
            # NumPy's own error of a disk that is full has neither a number nor a kind.
            return error.errno in _DISK or (type(error) is OSError and error.errno is None)
        path, root = Path(os.fsdecode(error.filename)).absolute(), self.root.absolute()
        return path.is_relative_to(root) or root.is_relative_to(path)

    def _build(self, final: Path, key: Mapping[str, Any], build: Callable[[Path], None]) -> None:
        building = final.with_name(f".{final.name}.building")  # the lock is held, so one name is enough
        remove(building)
        building.mkdir()
        try:
            build(building)
            write_manifest(building, {"key": key, "built_at": time.time()})
            building.rename(final)
        finally:
            shutil.rmtree(building, ignore_errors=True)
