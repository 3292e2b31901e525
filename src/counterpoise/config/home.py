"""``~`` on a command line that Hydra reads."""

from __future__ import annotations

import re
from collections.abc import Sequence

from counterpoise.paths import user_path

CONFIG_DIR = ("--config-dir", "-cd")
_ELEMENT = re.compile(r"""(?:^|(?<=[,\[(]))(\s*)([^,\[\](){'"\s][^,\[\]()'"]*~[^,\[\]()'"]*|~[^,\[\]()'"]*)""")
"""A whole value, or an item of a list, that holds a ``~`` and no quotes."""


def as_typed(arguments: Sequence[str]) -> list[str]:
    """The arguments as Hydra can read them: its grammar knows no ``~`` in a value, and it looks for a folder of that
    name.

    Values are quoted and not expanded: what a run keeps of its command line holds on another machine too.
    """
    found: list[str] = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if found and found[-1] in CONFIG_DIR:
            found.append(str(user_path(argument, found[-1])))
        elif key in CONFIG_DIR and equals:
            found.append(f"{key}={user_path(value, key)}")
        elif equals and not argument.startswith(("-", "~")):
            found.append(f"{key}={_ELEMENT.sub(_quoted, value)}")
        else:
            found.append(argument)
    return found


def _quoted(match: re.Match[str]) -> str:
    return f"{match[1]}'{match[2]}'"
