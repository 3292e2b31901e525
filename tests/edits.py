"""Edits of a JSON file by somebody who makes its checksum again: every value replaced by values of other types."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from counterpoise.jsonio import SEAL, _checksum

GONE: Any = object()
"""In place of a value: the key is removed."""
OTHERS: tuple[Any, ...] = (
    *(GONE, None, True, -1, 0, 0.5, 2**63, 10**400, math.inf, math.nan),
    *("", "x", "../../x", "\x1b[31m\n", [], [None], ["x", "x"], {}, {"x": {"x": [{}]}}),
)
"""What stands in the place of a value, literals that strict JSON has not among them."""

Path_ = tuple[str | int, ...]


def places(node: Any, at: Path_ = ()) -> Iterator[Path_]:
    """The path of every value; of a list its first item's."""
    if at:
        yield at
    if isinstance(node, dict):
        for key, value in node.items():
            if (*at, key) != (SEAL,):
                yield from places(value, (*at, key))
    elif isinstance(node, list) and node:
        yield from places(node[0], (*at, 0))


def edits(content: Any, most: int) -> Iterator[tuple[str, Any]]:
    """About ``most`` edits, spread evenly over all: what was done, in words, and the edited content."""
    content = {"": content} if not isinstance(content, dict) else content
    every = [(at, value) for at in places(content) for value in OTHERS if not (value is GONE and at[-1] == 0)]
    share = max(1, len(every) // most) | 1  # odd, so that every value comes up
    for at, value in every[::share]:
        edited = copy.deepcopy(content)
        node: Any = edited
        for key in at[:-1]:
            node = node[key]
        if value is GONE:
            del node[at[-1]]
        else:
            node[at[-1]] = value
        shown = "removed" if value is GONE else f"= {str(value)[:40]!r}"
        yield f"{'.'.join(map(str, at))} {shown}", edited.get("") if list(content) == [""] else edited


def write_edited(path: Path, content: Any) -> None:
    """Write a file as it was edited, literals such as ``Infinity`` and all; sealed anew, if it was sealed."""
    if isinstance(content, dict) and SEAL in content:
        plain = {key: value for key, value in content.items() if key != SEAL}
        content = {**plain, SEAL: _checksum(plain, path.name)}
    path.unlink(missing_ok=True)  # one of several links, perhaps
    path.write_text(json.dumps(content))
