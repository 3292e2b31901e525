"""What a store holds of a run: its pointer, none of which is believed before its values are what a run writes."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from counterpoise.config.values import show
from counterpoise.data.cache import MANIFEST
from counterpoise.engine.checkpoints import BEST, FIRST, HEALTHY, LAST, MODEL, STATE
from counterpoise.engine.snapshot import HYDRA_FILES, RUN_FILES, Entry

FORMAT = 2
"""Raised whenever the layout changes."""
POINTER = "mirror.json"
LARGEST_POINTER = 1 << 20
"""Bytes; what is larger is no pointer of ours."""
LARGEST_SMALL = 1 << 26
"""Bytes of a file that is read as a whole; of ``.hydra`` and manifests, which are smaller still."""
LARGEST = 1 << 40
"""Bytes of any other file."""
NAME = re.compile(
    rf"checkpoints/({LAST}|{FIRST}|{HEALTHY})/({MODEL}|{STATE}|{MANIFEST})|checkpoints/{BEST}/({MODEL}|{MANIFEST})"
    rf"|{'|'.join(re.escape(name) for name in (*HYDRA_FILES, *RUN_FILES))}"
)
GENERATION = re.compile(rf"({LAST}|{BEST}|{FIRST}|{HEALTHY})-[0-9]{{8,20}}-[0-9a-f]{{8}}")
_CHECKSUM = re.compile("[0-9a-f]{32}")
_MOST_UPDATES = 1 << 53


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

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.files.values())


def parse_pointer(found: Mapping[str, Any]) -> Pointer:
    """A pointer from JSON.

    Only names that a run writes are taken: nothing from a store decides where on this machine a file goes.

    Raises:
        ValueError: for anything that no run writes; also KeyError, TypeError or AttributeError for other shapes.
    """
    folder, update = found["folder"], found["update"]
    if not isinstance(folder, str):
        raise ValueError(f"folder is {show(folder)}")
    if not _is_count(update, _MOST_UPDATES):
        raise ValueError(f"update is {show(update)}")
    files = {}
    for name, node in found["files"].items():
        entry = Entry(**node)
        _check(name, entry)
        files[str(name)] = entry
    return Pointer(folder, update, files)


def _check(name: str, entry: Entry) -> None:
    if not isinstance(entry.at, str):
        raise ValueError(f"it names {show(name)} at {show(entry.at)}")
    generation, _, rest = entry.at.partition("/")
    if not (NAME.fullmatch(name) and GENERATION.fullmatch(generation) and rest == name):
        raise ValueError(f"it names {show(name)} at {show(entry.at)}, which no run writes")
    small = name.endswith((".json", ".yaml"))
    if not _is_count(entry.size, LARGEST_SMALL if small else LARGEST):
        raise ValueError(f"the size of {name} is {show(entry.size)}")
    if not (isinstance(entry.checksum, str) and _CHECKSUM.fullmatch(entry.checksum)):
        raise ValueError(f"the checksum of {name} is {show(entry.checksum)}")


def _is_count(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most
