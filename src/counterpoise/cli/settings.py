"""Commands over finished runs: ``key=value`` on the command line, checked against a dataclass."""

from __future__ import annotations

import re
from collections.abc import Sequence
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from counterpoise.config.credentials import check_arguments
from counterpoise.config.schema import field_types, parse
from counterpoise.errors import Problem, UserError, nearest

T = TypeVar("T")
_ITEM = re.compile(r"""(?:\s*+("[^"]*"|'[^']*')\s*+|([^,'"\[\]{}]++))(?:,|$)""")
"""An item of a list, up to the next comma; one within quotes is part of it. No character is tried twice."""


def read_settings(schema: type[T], arguments: Sequence[str]) -> T:
    """Settings from ``key=value`` arguments, values written as for ``train.py``.

    Args:
        schema: their dataclass.
        arguments: as given.

    Raises:
        UserError: with every problem: unknown keys, values of the wrong type, what is missing.
    """
    check_arguments(arguments, allowed=("criterion",))  # a text that is classified
    known = field_types(schema)  # type: ignore[arg-type]
    problems: list[Problem] = []
    node: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            hint = nearest(argument, known) or f"Keys: {', '.join(known)}."
            problems.append(Problem("command line", f"expected key=value, got {argument!r}.", hint))
        elif _is_text(known.get(key), value):
            node[key] = None if value == "null" and known[key] is not str else _unquoted(value)
        elif _lists_texts(known.get(key)) and (items := _items(value)) is not None:
            node[key] = items
        else:
            node[key] = _parsed(argument, value, problems)
    settings = parse(schema, node, "", problems)
    if problems:
        raise UserError(problems)
    return settings


def _items(value: str) -> list[str] | None:
    """The items of ``[a,b]`` as they stand, each perhaps in quotes; ``None`` for what is no such list."""
    if not (value.startswith("[") and value.endswith("]")):
        return None
    inside, items, place = value[1:-1].strip(), [], 0
    while place < len(inside):
        found = _ITEM.match(inside, place)
        if found is None:
            return None
        items.append(_unquoted(found[1]) if found[1] else found[2].strip() or found[2][-1:])
        place = found.end()
    return None if inside.endswith(",") else items


def _lists_texts(kind: Any) -> bool:
    """Whether a value may be a list of texts."""
    return any(get_origin(each) is tuple and get_args(each)[0] is str for each in _kinds(kind))


def _kinds(kind: Any) -> tuple[Any, ...]:
    return get_args(kind) if isinstance(kind, UnionType) else (kind,)


def _is_text(kind: Any, value: str) -> bool:
    """Whether a value is meant as it stands, whatever signs are in it: a path, or words."""
    kinds = _kinds(kind)
    lists = any(get_origin(each) is tuple for each in kinds)
    return str in kinds and not (lists and value.startswith("["))


def _unquoted(value: str) -> str:
    """Without one pair of quotes around the whole of it."""
    around, inner = value[:1], value[1:-1]
    quoted = len(value) > 1 and around in ("'", '"') and value[-1] == around and around not in inner
    return inner if quoted else value


def _parsed(argument: str, value: str, problems: list[Problem]) -> Any:
    try:
        return OverridesParser.create().parse_override(argument).value()
    except (HydraException, ValueError):
        if any(character in value for character in "[]{}"):
            problems.append(Problem(argument, "cannot be read.", "A list is written [a,b]; quote it for the shell."))
        return value
