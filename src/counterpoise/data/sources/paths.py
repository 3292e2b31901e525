"""Finding the files that a user names, and saying what is there instead."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path

from counterpoise.errors import Problem, UserError, fail
from counterpoise.files import special_kind
from counterpoise.paths import user_path

_SHOWN_NAMES = 12
_SHOWN_FILES = 3


def near(name: str, names: Iterable[str], title: str, most: int = _SHOWN_NAMES) -> str:
    """What is there instead of ``name``, and the closest of it; of more than ``most`` only those closest to it."""
    found = [str(item) for item in names]
    shown = found if len(found) <= most else get_close_matches(name, found, n=most, cutoff=0)
    listed = ", ".join(repr(item) for item in shown)
    more = f" and {len(found) - len(shown):,} more" if len(found) > len(shown) else ""
    close = get_close_matches(name, found, n=1, cutoff=0.6)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"{title}: {listed or 'none'}{more}.{hint}"


def existing(value: str, key: str, *, folder: bool | None = None) -> Path:
    """The path that the key names, ``~`` expanded; a ``folder`` (true), a file (false) or either (null).

    Raises:
        UserError: if it is not there, with the nearest name in its folder, or is the other kind.
    """
    kind = "folder" if folder else "file" if folder is False else "file or folder"
    try:
        path = user_path(value, key)
        is_file, is_folder = path.is_file(), path.is_dir()
        if not (is_file or is_folder):
            _refuse_special(path, key)
            parent = next(place for place in path.parents if place.is_dir())
            inside = sorted(item.name for item in parent.iterdir())
            there = near(path.relative_to(parent).parts[0], inside, f"Found in {parent}", _SHOWN_FILES)
            raise fail(key, f"there is no {kind} {value!r}. {there}")
    except (OSError, RuntimeError, ValueError, StopIteration) as error:
        raise fail(key, f"{value!r} cannot be looked up ({error}).") from None
    if folder is False and is_folder:
        raise fail(key, f"{value!r} is a folder; expected a file.")
    if folder and is_file:
        raise fail(key, f"{value!r} is a file; expected a folder.")
    return path


def _refuse_special(path: Path, key: str) -> None:
    """Raises ``UserError`` for a FIFO, as a shell's ``<(command)`` is one, a socket or a device."""
    kind = special_kind(path)
    if kind is not None:
        raise fail(key, f"{str(path)!r} is {kind}; expected a regular file.", "Write the content to a file first.")


def split_files(folder: Path, key: str, suffixes: Sequence[str]) -> dict[str, Path]:
    """The files named train, valid and test in ``folder``; test may be absent.

    Raises:
        UserError: if train or valid is missing, or a split has two files.
    """
    found: dict[str, Path] = {}
    problems = []
    names = sorted(item.name for item in folder.iterdir())
    for split in ("train", "valid", "test"):
        here = [name for name in names if name in {split + suffix for suffix in suffixes}]
        if len(here) > 1:
            problems.append(Problem(key, f"{folder} has {' and '.join(here)}; which is the {split} split?"))
        elif here:
            _refuse_special(folder / here[0], key)
            found[split] = folder / here[0]
        elif split != "test":
            listed = near(split, names, f"Found in {folder}", _SHOWN_FILES)
            what = f"there is no {split} split: expected a file {split}{' or '.join(suffixes[:3])}."
            problems.append(Problem(key, f"{what} {listed}"))
    if problems:
        raise UserError(problems)
    return found
