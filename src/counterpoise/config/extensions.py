"""Modules of a user's own: imported by the names that ``extensions`` lists, from where they are installed or from the
folder in which the command runs.

That folder is never on ``sys.path``. It may hold anything, and a file that is called like an optional package of some
library (``triton``, ``hydra_plugins``) would run in every command. A finder behind all others looks into it for named
modules alone, at any time: an extension may import itself late, or in another process.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from pathlib import Path
from types import ModuleType
from typing import Any

from counterpoise.errors import Problem

SAFE_PATH = "PYTHONSAFEPATH"
"""With it no process that Python starts has the current folder on its path."""


class _NamedModules(MetaPathFinder):
    """Finds the modules that were named, in one folder; what is installed comes first."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self.names: set[str] = set()
        """Top-level modules; what is below one is found by its own path."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if self.folder is None or path is not None or fullname not in self.names:
            return None
        return PathFinder.find_spec(fullname, [str(self.folder)], target)


_finder = _NamedModules()


def look_in(folder: Path) -> None:
    """Find extensions in ``folder``, and in no folder that was looked in before.

    Processes that are started from here on, of launchers and pools, leave the current folder off their path too.
    """
    os.environ[SAFE_PATH] = "1"
    _finder.folder, _finder.names = folder.absolute(), set()
    if _finder not in sys.meta_path:
        sys.meta_path.append(_finder)


def admit(names: Iterable[str]) -> None:
    """Let these modules, and what is below them, be found in the folder."""
    _finder.names |= {name.partition(".")[0] for name in names}
    importlib.invalidate_caches()  # one may have been written a moment ago


def admitted() -> dict[str, Any]:
    """What another process needs to find the same modules, JSON-ready: see :func:`admit_again`."""
    return {"folder": None if _finder.folder is None else str(_finder.folder), "names": sorted(_finder.names)}


def admit_again(what: Mapping[str, Any]) -> None:
    """In another process, find what :func:`admitted` says."""
    if what["folder"] is not None:
        look_in(Path(what["folder"]))
        admit(what["names"])


def name_problems(names: Iterable[str]) -> Iterator[Problem]:
    """Names that no extension can have."""
    for name in names:
        if not is_name(name):
            yield Problem("extensions", f"{name!r} is no name of a module.", "Expected one such as my_models.")
        elif name.partition(".")[0] in sys.stdlib_module_names:
            message = f"{name} is a module of Python itself, which holds no component."
            yield Problem("extensions", message, "Leave it out; a module of your own needs another name.")


def hidden(name: str) -> str:
    """A hint where the folder holds a module that an installed one of the same name hides; else empty."""
    top = name.partition(".")[0]
    if _finder.folder is None or top not in _finder.names:
        return ""
    own = [_finder.folder / f"{top}.py", _finder.folder / top / "__init__.py"]
    here = next((path for path in own if path.is_file()), None)
    found = getattr(sys.modules.get(top), "__file__", None)
    if here is None or found is None or Path(found).resolve() == here.resolve():
        return ""
    return f"The installed {top} comes before {here.relative_to(_finder.folder)} of this folder: rename that."


def not_named(wanted: Iterable[str], given: Sequence[str]) -> tuple[str, str] | None:
    """What is said of a run whose modules the command line does not name, and what to do; ``None`` where it does.

    What is loaded decides nothing about what code runs: every command that opens a run holds to this.

    Args:
        wanted: the modules that the run folder names.
        given: those of the command line.
    """
    lacking = [name for name in dict.fromkeys(wanted) if name not in given]
    if not lacking:
        return None
    what = f"was trained with modules of your own: {', '.join(lacking)}."
    override = f"extensions=[{','.join([*given, *lacking])}]"
    return what, f"If you trust them, add {shlex.quote(override)}."


def is_name(value: object) -> bool:
    """Whether a value can be the name of a module."""
    return isinstance(value, str) and re.fullmatch(r"\w+(\.\w+)*", value) is not None
