"""Values out of JSON that may hold anything: what is missing or of another type is ``None``, ``null`` is NaN."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from counterpoise.jsonio import read_json


def find(node: object, *keys: str) -> tuple[bool, Any]:
    """Whether nested mappings hold these keys, and what stands there."""
    for key in keys:
        if not isinstance(node, Mapping) or key not in node:
            return False, None
        node = node[key]
    return True, node


def number(node: object, *keys: str) -> float | None:
    """A number; NaN for ``null``, which is what :mod:`counterpoise.jsonio` makes of NaN and infinities."""
    there, value = find(node, *keys)
    if there and value is None:
        return math.nan
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return None


def finite(value: float | None) -> TypeGuard[float]:
    """Whether there is a number, neither NaN nor infinite."""
    return value is not None and math.isfinite(value)


def whole(node: object, *keys: str) -> int | None:
    """A whole number that fits into 64 bits."""
    _, value = find(node, *keys)
    return value if isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63 else None


def word(node: object, *keys: str) -> str:
    """A string, its white space as single blanks; empty if there is none."""
    _, value = find(node, *keys)
    return " ".join(value.split()) if isinstance(value, str) else ""


def section(node: object, *keys: str) -> Mapping[str, Any]:
    """A mapping; empty if there is none."""
    _, value = find(node, *keys)
    return value if isinstance(value, Mapping) else {}


def items(node: object, *keys: str) -> list[Mapping[str, Any]]:
    """The mappings in a list; empty if there is none."""
    _, value = find(node, *keys)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def load(path: Path, problems: list[str]) -> Mapping[str, Any]:
    """The object in a JSON file; empty if the file is missing, or damaged, which ``problems`` is then told."""
    try:
        content = read_json(path)
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        problems.append(f"{path.name} cannot be read: {_reason(error)}.")
        return {}
    if not isinstance(content, Mapping):
        problems.append(f"{path.name} cannot be read: it holds no JSON object.")
        return {}
    return content


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "it is nested too deeply" if isinstance(error, RecursionError) else f"no JSON ({error})"
