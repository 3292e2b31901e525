"""Commands over finished runs: ``key=value`` on the command line, checked against a dataclass."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException

from counterpoise.config.schema import field_types, parse
from counterpoise.errors import Problem, UserError, nearest

T = TypeVar("T")


def read_settings(schema: type[T], arguments: Sequence[str]) -> T:
    """Settings from ``key=value`` arguments, values written as for ``train.py``.

    Args:
        schema: their dataclass.
        arguments: as given.

    Raises:
        UserError: with every problem: unknown keys, values of the wrong type, what is missing.
    """
    known = field_types(schema)  # type: ignore[arg-type]
    problems: list[Problem] = []
    node: dict[str, Any] = {}
    for argument in arguments:
        key, equals, value = argument.partition("=")
        if not equals:
            hint = nearest(argument, known) or f"Keys: {', '.join(known)}."
            problems.append(Problem("command line", f"expected key=value, got {argument!r}.", hint))
        elif known.get(key) is str:
            node[key] = value.strip("'\"")
        else:
            node[key] = _parsed(argument, value, problems)
    settings = parse(schema, node, "", problems)
    if problems:
        raise UserError(problems)
    return settings


def _parsed(argument: str, value: str, problems: list[Problem]) -> Any:
    try:
        return OverridesParser.create().parse_override(argument).value()
    except (HydraException, ValueError):
        if any(character in value for character in "[]{}"):
            problems.append(Problem(argument, "cannot be read.", "A list is written [a,b]; quote it for the shell."))
        return value
