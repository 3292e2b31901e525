"""A run's files at one moment, set aside for an upload."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from counterpoise.data.cache import MANIFEST, read_manifest
from counterpoise.engine.checkpoints import BEST, FIRST, HEALTHY, LAST, MODEL, STATE

_WHOLE = (MODEL, STATE, MANIFEST)
CHECKPOINT_FILES = {FIRST: _WHOLE, HEALTHY: _WHOLE, BEST: (MODEL, MANIFEST), LAST: _WHOLE}
"""Checkpoints that a resumed run needs, the one that makes it a run last; the two of a rescue are not always there."""
RUN_FILES = ("training_metadata.json", "training_history.json", "metrics.jsonl")
"""What a resumed run needs beside checkpoints and ``.hydra``."""
HYDRA_FILES = tuple(f".hydra/{name}.yaml" for name in ("config", "hydra", "overrides"))
"""Those of Hydra; another file beside them is none of the run's."""


@dataclass(frozen=True)
class Entry:
    """A file of the run in the store."""

    at: str
    """Below the run's place there."""
    size: int
    checksum: str


@dataclass(frozen=True)
class Snapshot:
    """Files of a run at one moment, hard-linked aside so that nothing that is saved later can change them."""

    home: Path
    update: int
    sizes: Mapping[str, int]
    """By name in the run folder; of ``metrics.jsonl``, which grows, that many bytes count."""

    @classmethod
    def take(cls, run: Path, home: Path, update: int) -> Snapshot:
        """Link all that a resumed run needs. Raises ``OSError``, leaving nothing."""
        sizes = {}
        try:
            for name in _present(run):
                copy = home / name
                copy.parent.mkdir(parents=True, exist_ok=True)
                try:
                    os.link(run / name, copy)
                except OSError:  # a file system without hard links
                    shutil.copyfile(run / name, copy)
                sizes[name] = copy.stat().st_size
        except OSError:
            shutil.rmtree(home, ignore_errors=True)
            raise
        return cls(home, update, sizes)

    def remove(self) -> None:
        """Give the disk space back."""
        shutil.rmtree(self.home, ignore_errors=True)

    def entries(self) -> dict[str, Entry]:
        """Where each file goes: by its content, so that what is there already is found again."""
        sums = {name: self._checksum(name) for name in self.sizes}
        groups: dict[str, list[str]] = {}
        for name in sorted(sums):
            kind = name.split("/")[1] if name.startswith("checkpoints/") else LAST
            groups.setdefault(kind, []).append(name)
        answer = {}
        for kind, names in groups.items():
            digest = hashlib.blake2b("".join(sums[name] for name in names).encode(), digest_size=4).hexdigest()
            update = self.update if kind == LAST else self._update_of(kind)
            for name in names:
                answer[name] = Entry(f"{kind}-{update:08d}-{digest}/{name}", self.sizes[name], sums[name])
        return answer

    def content(self, name: str) -> bytes:
        """A small file, as it was at that moment."""
        with (self.home / name).open("rb") as file:
            return file.read(self.sizes[name])

    def _checksum(self, name: str) -> str:
        path = self.home / name
        if path.name in (MODEL, STATE):  # the manifest knows it
            return str(read_manifest(path.parent)["checksums"][path.name])
        return hashlib.blake2b(self.content(name), digest_size=16).hexdigest()

    def _update_of(self, kind: str) -> int:
        manifest = read_manifest(self.home / "checkpoints" / kind)
        return int(manifest.get("position", {}).get("update", 0))


def _present(run: Path) -> Iterable[str]:
    names = [f"checkpoints/{kind}/{name}" for kind, files in CHECKPOINT_FILES.items() for name in files]
    return [name for name in (*HYDRA_FILES, *names, *RUN_FILES) if (run / name).is_file()]
