"""The layout of a run in object storage: whole at every moment, whatever is cut off.

Below ``<mirror.url>/<run folder>``::

    mirror.json                          the pointer: every file by its name in the run folder, place, size, checksum
    last-00000120-1f00ba47/...           the newest checkpoint and the small files that belong to it
    best-00000100-c0ffee00/...           the best epoch's weights
    first-..., healthy-...               what a rescue goes back to, with guard=rescue

Files are uploaded into folders that nothing points to, named by update and content; then the pointer is replaced, which
a store does at once; then older folders are deleted. Nothing is believed before its checksum was seen.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from counterpoise.config.values import show
from counterpoise.data.cache import file_checksum
from counterpoise.engine.folder_store import FolderStore
from counterpoise.engine.pointer import FORMAT, GENERATION, LARGEST_POINTER, POINTER, Pointer, parse_pointer
from counterpoise.engine.snapshot import Entry, Snapshot
from counterpoise.engine.store import Deadline, Store, TooLargeError
from counterpoise.errors import Problem, UserError, fail
from counterpoise.files import NotRegularError
from counterpoise.jsonio import SEAL, dumps, parse_json, sealed, to_plain, unsealed
from counterpoise.tracking.folder import differences

log = logging.getLogger(__name__)

TRIAL = ".trial"
_NO_FOLDERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss"}
"""Object stores, where a put replaces a file at once and nothing has to be renamed."""


NO_FILE = (IsADirectoryError, NotADirectoryError, NotRegularError)
"""What a folder as a store says of something else in the place of a file."""


class DamagedError(UserError):
    """What a store holds is not whole. It is never used, and may be replaced by something whole."""


class Remote(Store):
    """One run's place in a store.

    Args:
        url: of that place.
        timeout: seconds that a connection may take to answer, where the store's client has a setting for it.
        where: the key that names it, for messages.

    Raises:
        UserError: if the URL is none of a store, or the package for it is not installed.
    """

    def __init__(self, url: str, timeout: float, where: str = "mirror.url") -> None:
        super().__init__(url, timeout, where)

    def pointer(self) -> Pointer | None:
        """What is there; ``None`` if nothing is.

        Raises:
            DamagedError: if the pointer cannot be read, or names what no run writes.
            UserError: if another version wrote it. Errors of the store's client are passed on.
        """
        self.fs.invalidate_cache()
        try:
            content = self.read(POINTER, LARGEST_POINTER)
        except FileNotFoundError:
            return None
        if len(content) > LARGEST_POINTER:
            raise self._damaged(f"{POINTER} is larger than {LARGEST_POINTER:,} bytes")
        try:
            found = parse_json(content)
            if SEAL in found or found["format"] == FORMAT:
                found = unsealed(found, POINTER)
            other = found["format"] if found["format"] != FORMAT else None
            if other is None:
                return parse_pointer(found)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise self._damaged(f"{POINTER} cannot be read ({type(error).__name__}: {error})") from error
        message = f"{self.url} has format {show(other)}, but this version reads {FORMAT}."
        raise fail(self.where, message, "Resume with the version that wrote it.")

    def _damaged(self, problem: str) -> DamagedError:
        remedy = "Remove it there, or choose another place, to start over."
        return DamagedError(Problem(self.where, f"{self.url} is damaged: {problem}.", remedy))

    def publish(self, snapshot: Snapshot, folder: str, deadline: Deadline) -> int:
        """Make ``snapshot`` what the store holds; returns the bytes that were sent.

        Raises:
            OSError: if a file arrived cut off; whatever the store's client raises is passed on.
        """
        pointer = Pointer(folder, snapshot.update, snapshot.entries())
        sent = 0
        for name, entry in pointer.files.items():
            deadline.check()
            if not self._has(entry):
                self._send(snapshot, name, entry, deadline)
                sent += entry.size
                if not self._has(entry):
                    raise OSError(f"{entry.at} arrived cut off")
        deadline.check()
        self._replace_pointer(dumps(sealed({"format": FORMAT, **asdict(pointer)}, POINTER)).encode())
        self._delete_but(pointer.generations, deadline)
        return sent

    def _has(self, entry: Entry) -> bool:
        """Whether a file of that size is there; its place is named by its content."""
        self.fs.invalidate_cache()
        try:
            return int(self.fs.info(self.at(entry.at))["size"]) == entry.size
        except FileNotFoundError:
            return False

    def _send(self, snapshot: Snapshot, name: str, entry: Entry, deadline: Deadline) -> None:
        if name == "metrics.jsonl":  # the link grows with the file
            self.fs.pipe_file(self.at(entry.at), snapshot.content(name))
        else:
            self.fs.put_file(str(snapshot.home / name), self.at(entry.at), callback=deadline)

    def _replace_pointer(self, content: bytes) -> None:
        if self.scheme in ("file", "local"):
            self.fs.pipe_file(self.at(f".{POINTER}.new"), content)
            self.fs.mv(self.at(f".{POINTER}.new"), self.at(POINTER))
        else:
            self.fs.pipe_file(self.at(POINTER), content)

    def _delete_but(self, kept: set[str], deadline: Deadline) -> None:
        """Remove older generations; what cannot be removed in time is tried again after the next upload."""
        self.fs.invalidate_cache()
        try:
            found = [str(path).rstrip("/") for path in self.fs.ls(self.root, detail=False)]
            for path in found:
                name = path.rsplit("/", 1)[-1]
                if GENERATION.fullmatch(name) and name not in kept:
                    self._delete(path, deadline)
                elif name == TRIAL:  # of a process that was cut off
                    self.fs.rm_file(path)
        except Exception as error:
            log.info("Older checkpoints in %s are left there: %s", self.url, self.said(error))

    def _delete(self, folder: str, deadline: Deadline) -> None:
        """File by file: a recursive removal would take brackets in a name for a pattern."""
        deadline.check()
        if isinstance(self.fs, FolderStore):
            self.fs.remove_tree(folder)
            return
        found = self.fs.find(folder, withdirs=True, detail=True)
        for path, info in sorted(found.items(), reverse=True):
            deadline.check()
            if info["type"] != "directory":
                self.fs.rm_file(path)
            elif self.scheme not in _NO_FOLDERS:
                with suppress(FileNotFoundError):  # a folder in name only
                    self.fs.rmdir(path)
        if self.scheme not in _NO_FOLDERS:
            with suppress(FileNotFoundError):
                self.fs.rmdir(folder)

    def try_out(self) -> None:
        """Write a small file and remove it: raises whatever stands against that."""
        self.fs.pipe_file(self.at(TRIAL), b"counterpoise")
        self.fs.rm_file(self.at(TRIAL))

    def fetch(self, pointer: Pointer, home: Path, deadline: Deadline | None = None) -> None:
        """Download into ``home``, which nothing believes in before all of it is verified.

        Args:
            pointer: what is there.
            home: a folder of this machine.
            deadline: of all files together; the timeout of the store where none is given.

        Raises:
            DamagedError: if a file is missing there, or is not what the pointer says.
            UserError: if the disk has no space for it. Errors of the store's client are passed on.
        """
        deadline = deadline or Deadline(self._timeout)
        home.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(home).free
        if pointer.size > free:
            what = f"{self.url} holds {pointer.size:,} bytes of a run, but the disk of {home} has {free:,} free."
            raise fail(self.where, what, "Free some space, or choose another place.")
        for name, entry in pointer.files.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.download(entry.at, path, entry.size, deadline)
            except FileNotFoundError as error:
                raise self._damaged(f"{entry.at} is missing") from error
            except NO_FILE as error:
                raise self._damaged(f"{entry.at}: {error.strerror}") from error
            except TooLargeError as error:
                raise self._damaged(f"{entry.at} is larger than its {entry.size:,} bytes") from error
            if not path.is_file() or path.stat().st_size != entry.size or file_checksum(path) != entry.checksum:
                raise self._damaged(f"{entry.at} does not match its checksum")

    def read_json(self, pointer: Pointer, name: str) -> dict[str, Any]:
        """A JSON object of the run, verified; raises as :meth:`fetch`."""
        entry = pointer.files.get(name)
        if entry is None:
            raise self._damaged(f"{POINTER} does not name {name}")
        try:
            content = self.read(entry.at, entry.size)
        except FileNotFoundError as error:
            raise self._damaged(f"{entry.at} is missing") from error
        except NO_FILE as error:
            raise self._damaged(f"{entry.at}: {error.strerror}") from error
        if hashlib.blake2b(content, digest_size=16).hexdigest() != entry.checksum:
            raise self._damaged(f"{entry.at} does not match its checksum")
        try:
            found = parse_json(content)
            to_plain(found)  # what is nested too deeply for it is of no use either
            return dict(found)
        except (ValueError, TypeError, RecursionError) as error:
            raise self._damaged(f"{entry.at} holds no JSON object") from error

    def foreign(self, pointer: Pointer, ours: Mapping[str, Any]) -> list[Problem]:
        """What tells the run in the store from ours.

        Args:
            pointer: what is there.
            ours: our metadata: ``config``, ``plan`` and ``data_fingerprint`` count.

        Raises:
            DamagedError: if the metadata there are.
        """
        theirs, mine = self.read_json(pointer, "training_metadata.json"), to_plain(ours)
        problems = differences(theirs.get("config"), mine.get("config"))
        for name in ("plan", "data_fingerprint"):
            problems += differences(theirs.get(name), mine.get(name), name)
        return problems
