"""A small schema over dataclasses: one walk turns a plain mapping into typed objects and lists every problem.

A component (model, loss, source, ...) is chosen by ``_target_`` in YAML. The class it names carries its
dataclass as ``Config``; that dataclass is the schema its YAML is checked against. Fields may be annotated with a
:class:`Range`::

    @dataclass(frozen=True, kw_only=True)
    class DropoutConfig:
        rate: Annotated[float, Range(ge=0, lt=1)] = 0.1
        \"\"\"Probability of zeroing an activation.\"\"\"

A dataclass may define ``problems(self) -> Iterable[Problem]`` for relations between its own fields; the ``where``
of these problems is relative to the dataclass.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache
from typing import Any, Literal, TypeVar, get_type_hints

from counterpoise.config.values import (
    ANY_INTEGER,
    AT_LEAST_ONE,
    INVALID,
    NON_NEGATIVE,
    POSITIVE,
    SEED,
    SHARE,
    Range,
    Refused,
    convert,
    describe,
    remedy,
    show,
)
from counterpoise.errors import Problem, UserError, nearest

__all__ = [
    "ANY_INTEGER",
    "AT_LEAST_ONE",
    "NON_NEGATIVE",
    "POSITIVE",
    "SEED",
    "SHARE",
    "Auto",
    "Range",
    "describe",
    "field_types",
    "join",
    "parse",
]

T = TypeVar("T")
Auto = Literal["auto"]
"""In place of a number that is derived from something else."""


def parse(schema: type[T], node: object, where: str = "", problems: list[Problem] | None = None) -> T:
    """Check ``node`` against the dataclass ``schema`` and build it.

    Args:
        schema: the dataclass.
        node: a plain mapping (an OmegaConf container must be resolved to plain types first).
        where: the dotted key of ``node``, for messages.
        problems: collects what is wrong instead of raising; the return value is only usable if it stayed empty.

    Raises:
        UserError: with every problem found, if ``problems`` is not given.
    """
    found: list[Problem] = []
    value = _dataclass(schema, node, where, found)
    if problems is None:
        if found:
            raise UserError(found)
    else:
        problems.extend(found)
    return value  # type: ignore[no-any-return]


def join(where: str, key: str) -> str:
    """``where.key``, without a leading dot."""
    return f"{where}.{key}" if where else key


@cache
def field_types(schema: type) -> dict[str, Any]:
    """Resolved annotations of a dataclass by field name, ``Annotated`` kept."""
    hints = get_type_hints(schema, include_extras=True)
    return {field.name: hints[field.name] for field in dataclasses.fields(schema)}


def _dataclass(schema: type, node: object, where: str, problems: list[Problem]) -> Any:
    if not isinstance(node, Mapping):
        problems.append(Problem(where or "config", f"expected a mapping, got {show(node)}."))
        return INVALID
    known = field_types(schema)
    for key in node:
        if key not in known and key != "_target_":
            problems.append(Problem(join(where, str(key) or "''"), "unknown key.", nearest(str(key), known)))
    values: dict[str, Any] = {}
    before = len(problems)
    for field in dataclasses.fields(schema):
        key = join(where, field.name)
        if field.name not in node:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                problems.append(Problem(key, f"missing; expected {describe(known[field.name])}."))
            continue
        values[field.name] = _value(known[field.name], node[field.name], key, problems)
    if len(problems) > before or any(value is INVALID for value in values.values()):
        return INVALID
    built = schema(**values)
    relations = getattr(built, "problems", None)
    if relations is not None:
        problems.extend(dataclasses.replace(p, where=join(where, p.where) if p.where else where) for p in relations())
    return built


def _value(kind: Any, value: object, where: str, problems: list[Problem]) -> Any:
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, where, problems)
    if value == "???":
        problems.append(
            Problem(where, f"must be given; expected {describe(kind)}.", f"Add {where}=... to the command.")
        )
        return INVALID
    converted = convert(kind, value)
    if isinstance(converted, Refused):
        message = converted.reason or f"expected {describe(kind)}, got {show(value)}."
        problems.append(Problem(where, message, remedy(kind, value, where)))
        return INVALID
    return converted
