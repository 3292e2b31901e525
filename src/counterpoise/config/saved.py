"""The overrides that a run saved, and what they may decide when it is resumed.

A run folder may come from anyone. What it saved may describe the training, and nothing else: no code that is imported,
no value that is read from the environment, no server that is sent anything. Those are for the command line.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ListExtensionOverrideValue, Override
from omegaconf import OmegaConf

from counterpoise.config.extensions import is_name, not_named
from counterpoise.config.yaml_files import read_yaml
from counterpoise.errors import Problem, UserError, fail

EXTENSIONS = "extensions"
LOCAL = ("file", "local", "memory", "sqlite")
"""Schemes of addresses on this machine."""
_INTERPOLATION = re.compile(r"(?<!\\)(?:\\\\)*\$\{")
"""One that is not escaped: an odd number of backslashes before it makes it text."""
_ADDRESS = re.compile(r"([\w.+-]*)://[^\s'\",}\]]*")
_ANEW = "Start the run again without resume."


@dataclass(frozen=True)
class Given:
    """What the command line says beside ``resume=``."""

    overrides: tuple[Override, ...] = ()
    url: str | None = None
    """Of the mirror that the run was fetched from; what lies there may go back there."""

    @classmethod
    def parse(cls, texts: Sequence[str], url: str | None = None) -> Given:
        """Overrides as they were typed; those that cannot be read are explained later, by Hydra's errors."""
        return cls(tuple(each for each in map(_parsed, texts) if each is not None), url)

    @property
    def extensions(self) -> list[str]:
        """The modules that it names."""
        found = [each for each in self.overrides if each.key_or_group == EXTENSIONS]
        return _names(found[-1]) or [] if found else []

    def replaces(self, saved: Override) -> bool:
        """Whether it says something else in the place of an override: of the same key, or of one above it."""
        key = saved.key_or_group
        return any(key == each.key_or_group or key.startswith(f"{each.key_or_group}.") for each in self.overrides)


def saved_overrides(folder: Path) -> list[str]:
    """The overrides that the run in this folder was started with, as they were typed.

    Raises:
        UserError: if it is no run folder, or its file of overrides is damaged or none that a run writes.
    """
    saved = overrides_file(folder)
    if not saved.is_file():
        raise fail("resume", f"{str(folder)!r} is no run folder: it has no .hydra/overrides.yaml.", runs_near(folder))
    try:
        items: Any = OmegaConf.to_container(read_yaml(saved), resolve=False)  # as they were typed
    except (OSError, ValueError) as error:
        raise fail(str(saved), f"cannot be read: {' '.join(str(error).split())}.", _ANEW) from error
    if not (isinstance(items, list) and all(isinstance(item, str) for item in items)):
        raise fail(str(saved), "is not a list of overrides.", _ANEW)
    strange = next((item for item in items if _is_of_hydra(item)), None)
    if strange is not None:
        raise fail(str(saved), f"holds {strange!r}, which no run saves.", _ANEW)
    return items


def overrides_file(folder: Path) -> Path:
    """Where a run keeps its overrides."""
    return folder / ".hydra" / "overrides.yaml"


def runs_near(folder: Path) -> str:
    """The newest runs below the closest folder that exists; never a walk through the working directory."""
    parent = next((parent for parent in folder.parents if parent.is_dir()), Path())
    root = parent if parent != Path() else Path("outputs")
    found = sorted(root.glob("*/*/*/.hydra") if root.name == "outputs" else root.glob("**/.hydra"))[-3:]
    return f"Runs there: {', '.join(str(path.parent) for path in found)}." if found else ""


def overrides_to_resume(folder: Path, given: Given) -> list[str]:
    """The saved overrides that a resumed run takes over.

    Those that only the command line may decide are left out where it does, and refused where it does not.

    Raises:
        UserError: as :func:`saved_overrides`; and with each override that must be given again.
    """
    kept, problems = [], list[Problem]()
    for text in saved_overrides(folder):
        problem = _problem(text, given)
        if problem is None:
            kept.append(text)
        elif not _given_again(text, given):
            problems.append(problem)
    if problems:
        raise UserError(problems)
    return kept


def needed_again(folder: Path) -> list[str]:
    """What must stand beside ``resume=`` of this run, as a shell reads it; empty where nothing can be said."""
    try:
        found = [text for text in saved_overrides(folder) if _problem(text, Given()) is not None]
    except UserError:
        return []
    return [shlex.quote(text) for text in found]


def _is_of_hydra(text: str) -> bool:
    """Hydra's own overrides, and options: they decide what is imported and what is written where."""
    bare = text.lstrip("+~")
    override = _parsed(text)
    package = override.package or "" if override is not None else bare.partition("=")[0].partition("@")[2]
    return bare.startswith("-") or re.match(r"hydra\b", bare) is not None or "hydra" in package.split(".")


def _problem(text: str, given: Given) -> Problem | None:
    """Why a saved override is not taken over; ``None`` where it is."""
    override = _parsed(text)
    if override is None:  # Hydra refuses it
        return None
    if override.key_or_group.partition(".")[0] == EXTENSIONS:
        names = _names(override)
        if names is None:
            return Problem("resume", f"the run was started with {text}, which does not say which modules.", _ANEW)
        lacking = not_named(names, given.extensions)
        return Problem("resume", f"the run {lacking[0]}", lacking[1]) if lacking else None
    key = override.get_key_element()
    texts = [text, *_texts(override.value())]
    if any(_INTERPOLATION.search(each) for each in texts):
        what = f"the run was started with {text}, and a saved override may hold no interpolation."
        return Problem("resume", what, f"Add {key}=... with the value that is meant.")
    foreign = [url for url in _addresses(texts) if not _may_follow(url, given.url)]
    if foreign or (key.lstrip("+").startswith("mirror") and "::" in text):
        what = f"the run was started with {key}=..., an address that only the command line may give."
        remedy = f"Add {shlex.quote(text)}, if you trust it, or {key}=null."
        if any("@" in url or "?" in url for url in foreign):  # there may be a password in it, which is not shown
            remedy = f"Add {key}=... as in .hydra/overrides.yaml, if you trust it, or {key}=null."
        return Problem("resume", what, remedy)
    return None


def _given_again(text: str, given: Given) -> bool:
    """Whether the command line says what holds instead of a saved override that is not taken over."""
    override = _parsed(text)
    return override is not None and not override.key_or_group.startswith(EXTENSIONS) and given.replaces(override)


def _names(override: Override) -> list[str] | None:
    """The modules that an override of ``extensions`` names; ``None`` where that cannot be said."""
    if override.is_delete():
        return []
    if override.key_or_group != EXTENSIONS or override.is_sweep_override():
        return None
    value: Any = override.value()
    items: Any = value.values if isinstance(value, ListExtensionOverrideValue) else value
    return list(items) if isinstance(items, list) and all(is_name(item) for item in items) else None


def _texts(value: Any) -> Iterator[str]:
    """All strings in a value as it goes into the config, where no character is escaped any more."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from (each for item in (*value, *value.values()) for each in _texts(item))
    elif isinstance(value, list):
        yield from (each for item in value for each in _texts(item))
    elif isinstance(value, ListExtensionOverrideValue):
        yield from _texts(value.values)


def _addresses(texts: Iterable[str]) -> Iterator[str]:
    """The addresses in an override that do not lie on this machine."""
    for found in (each for text in texts for each in _ADDRESS.finditer(text)):
        if found[1].partition("+")[0].lower() not in LOCAL:
            yield found[0]


def _may_follow(address: str, url: str | None) -> bool:
    """Whether a run that was fetched from ``url`` lies at an address, so that the user has named it."""
    return url is not None and f"{url.rstrip('/')}/".startswith(f"{address.rstrip('/')}/")


def _parsed(text: str) -> Override | None:
    try:
        return OverridesParser.create().parse_override(text)
    except Exception:  # the grammar's own errors
        return None
