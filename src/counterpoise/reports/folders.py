"""Where the run folders are."""

from __future__ import annotations

import os
import re
from difflib import get_close_matches
from pathlib import Path

MARKS = ("training_metadata.json", "training_history.json", "result.json", "failure.json")
"""A folder that holds one of these is a run's."""
SUGGESTED = 3
"""Run folders that are named where a path is wrong."""


def find_runs(path: Path) -> list[Path]:
    """``path`` if it is a run folder, else all run folders below it, in natural order."""
    found = []
    for place, folders, files in os.walk(path):
        if any(mark in files for mark in MARKS):
            found.append(Path(place))
            folders.clear()  # a run holds no other run
    return sorted(found, key=lambda run: natural(str(run)))


def natural(text: str) -> list[tuple[bool, float, str]]:
    """Sort key by which ``seed_7`` stands before ``seed_42``, and ``lr_5e-05`` before ``lr_0.001``."""
    parts = re.split(r"([0-9]+(?:\.[0-9]+)?(?:e-?[0-9]+)?)", text)  # every second one is a number
    return [(not index % 2, float(part) if index % 2 else 0.0, part) for index, part in enumerate(parts)]


def runs_near(path: Path) -> list[Path]:
    """The run folders whose names come closest to a wrong ``path``, nearest first; never a walk through the whole
    working directory."""
    parent = next((parent for parent in path.parents if parent.is_dir()), Path())
    everywhere = parent.resolve() in (Path.cwd(), *Path.cwd().parents)
    roots = [Path("outputs"), Path("multirun")] if everywhere else [parent]
    runs = {str(run): run for root in roots for run in find_runs(root)}
    close = get_close_matches(str(path), runs, n=SUGGESTED, cutoff=0.0)
    return [runs[name] for name in close]
