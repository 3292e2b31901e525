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
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from counterpoise.data.cache import MANIFEST, file_checksum
from counterpoise.engine.checkpoints import BEST, FIRST, HEALTHY, LAST, MODEL, STATE
from counterpoise.engine.snapshot import RUN_FILES, Entry, Snapshot
from counterpoise.engine.store import Deadline, open_store
from counterpoise.errors import Problem, UserError, fail
from counterpoise.jsonio import SEAL, dumps, parse_json, sealed, to_plain, unsealed
from counterpoise.tracking.folder import differences

log = logging.getLogger(__name__)

FORMAT = 2
"""Raised whenever the layout changes."""
POINTER, TRIAL = "mirror.json", ".trial"
LARGEST_POINTER = 1 << 20
"""Bytes; what is larger is no pointer of ours."""
_NAME = re.compile(
    rf"checkpoints/({LAST}|{FIRST}|{HEALTHY})/({MODEL}|{STATE}|{MANIFEST})|checkpoints/{BEST}/({MODEL}|{MANIFEST})"
    rf"|\.hydra/\w+\.yaml|{'|'.join(map(re.escape, RUN_FILES))}"
)
_GENERATION = re.compile(rf"({LAST}|{BEST}|{FIRST}|{HEALTHY})-\d{{8,}}-[0-9a-f]{{8}}")
_NO_FOLDERS = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oci", "oss"}
"""Object stores, where a put replaces a file at once and nothing has to be renamed."""


class DamagedError(UserError):
    """What a store holds is not whole. It is never used, and may be replaced by something whole."""


@dataclass(frozen=True)
class Pointer:
    """What the store holds of a run."""

    folder: str
    """The run folder, as it was given to the run."""
    update: int
    files: Mapping[str, Entry]
    """By name in the run folder."""

    @property
    def generations(self) -> set[str]:
        """The folders that it points into."""
        return {entry.at.split("/")[0] for entry in self.files.values()}


class Remote:
    """One run's place in a store.

    Args:
        url: of that place, for messages.
        timeout: seconds that a connection may take to answer, where the store's client can be told.

    Raises:
        UserError: if the protocol is unknown, or its package not installed.
    """

    def __init__(self, url: str, timeout: float, where: str = "mirror.url") -> None:
        self.url = url.rstrip("/")
        self.where = where
        self.fs, root = open_store(url, timeout, where)
        self.root = str(root).rstrip("/")

    def _at(self, name: str) -> str:
        return f"{self.root}/{name}"

    def pointer(self) -> Pointer | None:
        """What is there; ``None`` if nothing is.

        Raises:
            DamagedError: if the pointer cannot be read.
            UserError: if another version wrote it. Whatever the store's client raises is passed on.
        """
        self.fs.invalidate_cache()
        try:
            content = self.fs.cat_file(self._at(POINTER), start=0, end=LARGEST_POINTER)
        except FileNotFoundError:
            return None
        try:
            found = parse_json(content)
            if SEAL in found or found["format"] == FORMAT:
                found = unsealed(found, POINTER)
            if found["format"] != FORMAT:
                message = f"{self.url} has format {found['format']!r}, but this version reads {FORMAT}."
                raise fail(self.where, message, "Resume with the version that wrote it.")
            files = {str(name): Entry(**entry) for name, entry in found["files"].items()}
            pointer = Pointer(str(found["folder"]), int(found["update"]), files)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise self._damaged(f"{POINTER} cannot be read ({type(error).__name__}: {error})") from error
        for name, entry in files.items():
            self._check_name(name, entry)
        return pointer

    def _check_name(self, name: str, entry: Entry) -> None:
        """Only names that a run writes: nothing from a store decides where on this machine a file goes."""
        generation, _, rest = str(entry.at).partition("/")
        if not (_NAME.fullmatch(name) and _GENERATION.fullmatch(generation) and rest == name):
            raise self._damaged(f"{POINTER} names {name!r} at {entry.at!r}, which no run writes")

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
        self._delete_but(pointer.generations)
        return sent

    def _has(self, entry: Entry) -> bool:
        """Whether a file of that size is there; its place is named by its content."""
        self.fs.invalidate_cache()
        try:
            return int(self.fs.info(self._at(entry.at))["size"]) == entry.size
        except FileNotFoundError:
            return False

    def _send(self, snapshot: Snapshot, name: str, entry: Entry, deadline: Deadline) -> None:
        if name == "metrics.jsonl":  # the link grows with the file
            self.fs.pipe_file(self._at(entry.at), snapshot.content(name))
        else:
            self.fs.put_file(str(snapshot.home / name), self._at(entry.at), callback=deadline)

    def _replace_pointer(self, content: bytes) -> None:
        if self._protocols & {"file", "local"}:
            self.fs.pipe_file(self._at(f".{POINTER}.new"), content)
            self.fs.mv(self._at(f".{POINTER}.new"), self._at(POINTER))
        else:
            self.fs.pipe_file(self._at(POINTER), content)

    @property
    def _protocols(self) -> set[str]:
        protocol = self.fs.protocol
        return {protocol} if isinstance(protocol, str) else set(protocol)

    def _delete_but(self, kept: set[str]) -> None:
        """Remove older generations; what cannot be removed is tried again after the next upload."""
        self.fs.invalidate_cache()
        try:
            found = [str(path).rstrip("/") for path in self.fs.ls(self.root, detail=False)]
            for path in found:
                name = path.rsplit("/", 1)[-1]
                if _GENERATION.fullmatch(name) and name not in kept:
                    self._delete(path)
                elif name == TRIAL:  # of a process that was cut off
                    self.fs.rm_file(path)
        except Exception as error:
            log.info("Older checkpoints in %s are left there: %s", self.url, error)

    def _delete(self, folder: str) -> None:
        """File by file: a recursive removal would take brackets in a name for a pattern."""
        found = self.fs.find(folder, withdirs=True, detail=True)
        for path, info in sorted(found.items(), reverse=True):
            if info["type"] != "directory":
                self.fs.rm_file(path)
            elif not self._protocols & _NO_FOLDERS:
                with suppress(FileNotFoundError):  # a folder in name only
                    self.fs.rmdir(path)
        if not self._protocols & _NO_FOLDERS:
            with suppress(FileNotFoundError):
                self.fs.rmdir(folder)

    def try_out(self) -> None:
        """Write a small file and remove it: raises whatever stands against that."""
        self.fs.pipe_file(self._at(TRIAL), b"counterpoise")
        self.fs.rm_file(self._at(TRIAL))

    def fetch(self, pointer: Pointer, home: Path) -> None:
        """Download into ``home``, which nothing believes in before all of it is verified.

        Raises:
            DamagedError: if a file is missing there, or is not what the pointer says. Whatever the store's client
                raises is passed on.
        """
        for name, entry in pointer.files.items():
            path = home / name
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                self.fs.get_file(self._at(entry.at), str(path))
            except FileNotFoundError as error:
                raise self._damaged(f"{entry.at} is missing") from error
            if path.stat().st_size != entry.size or file_checksum(path) != entry.checksum:
                raise self._damaged(f"{entry.at} does not match its checksum")

    def read(self, pointer: Pointer, name: str) -> dict[str, Any]:
        """A JSON object of the run, verified; raises as :meth:`fetch`."""
        entry = pointer.files.get(name)
        if entry is None:
            raise self._damaged(f"{POINTER} does not name {name}")
        try:
            content = self.fs.cat_file(self._at(entry.at))
        except FileNotFoundError as error:
            raise self._damaged(f"{entry.at} is missing") from error
        if hashlib.blake2b(content, digest_size=16).hexdigest() != entry.checksum:
            raise self._damaged(f"{entry.at} does not match its checksum")
        try:
            return dict(parse_json(content))
        except (ValueError, TypeError) as error:
            raise self._damaged(f"{entry.at} holds no JSON object") from error

    def foreign(self, pointer: Pointer, ours: Mapping[str, Any]) -> list[Problem]:
        """What tells the run in the store from ours.

        Args:
            pointer: what is there.
            ours: our metadata: ``config``, ``plan`` and ``data_fingerprint`` count.

        Raises:
            DamagedError: if the metadata there are.
        """
        theirs, mine = self.read(pointer, "training_metadata.json"), to_plain(ours)
        problems = differences(theirs.get("config"), mine.get("config"))
        for name in ("plan", "data_fingerprint"):
            problems += differences(theirs.get(name), mine.get(name), name)
        return problems
