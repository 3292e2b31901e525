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
import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from counterpoise.errors import Problem, UserError, nearest

T = TypeVar("T")
_INVALID: Any = object()


@dataclass(frozen=True)
class Range:
    """Bounds of a number, or of the numbers in a list; ``None`` is unbounded."""

    ge: float | None = None
    gt: float | None = None
    le: float | None = None
    lt: float | None = None

    def __contains__(self, value: float) -> bool:
        return not (
            (self.ge is not None and value < self.ge)
            or (self.gt is not None and value <= self.gt)
            or (self.le is not None and value > self.le)
            or (self.lt is not None and value >= self.lt)
        )

    def __str__(self) -> str:
        bounds = [(">=", self.ge), (">", self.gt), ("<=", self.le), ("<", self.lt)]
        return " and ".join(f"{sign} {bound:g}" for sign, bound in bounds if bound is not None)


POSITIVE = Range(gt=0)
NON_NEGATIVE = Range(ge=0)
SHARE = Range(ge=0, le=1)
AT_LEAST_ONE = Range(ge=1)


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
        problems.append(Problem(where or "config", f"expected a mapping, got {_show(node)}."))
        return _INVALID
    known = field_types(schema)
    for key in node:
        if key not in known and key != "_target_":
            problems.append(Problem(join(where, str(key)), "unknown key.", nearest(str(key), known)))
    values: dict[str, Any] = {}
    before = len(problems)
    for field in dataclasses.fields(schema):
        key = join(where, field.name)
        if field.name not in node:
            if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
                problems.append(Problem(key, f"missing; expected {describe(known[field.name])}."))
            continue
        values[field.name] = _value(known[field.name], node[field.name], key, problems)
    if len(problems) > before or any(value is _INVALID for value in values.values()):
        return _INVALID
    built = schema(**values)
    relations = getattr(built, "problems", None)
    if relations is not None:
        problems.extend(dataclasses.replace(p, where=join(where, p.where)) for p in relations())
    return built


def _value(kind: Any, value: object, where: str, problems: list[Problem]) -> Any:
    bounds: list[Range] = []
    if get_origin(kind) is Annotated:
        kind, *extras = get_args(kind)
        bounds = [extra for extra in extras if isinstance(extra, Range)]
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return _dataclass(kind, value, where, problems)
    if value == "???":
        problems.append(
            Problem(where, f"must be given; expected {describe(kind)}.", f"Add {where}=... to the command.")
        )
        return _INVALID
    converted = _convert(kind, value)
    if converted is _INVALID:
        options = [str(option) for option in _literals(kind)]
        hint = nearest(str(value), options) if options and isinstance(value, str) else ""
        problems.append(Problem(where, f"expected {describe(kind)}, got {_show(value)}.", hint))
        return _INVALID
    for bound in bounds:
        for number in _numbers(converted):
            if math.isnan(number) or number not in bound:
                problems.append(Problem(where, f"must be {bound}, but is {_show(number)}."))
                return _INVALID
    return converted


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, bool) or value is None:
        return
    if isinstance(value, int | float):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, Mapping):
        yield from _numbers(list(value.values()))


def _convert(kind: Any, value: object) -> Any:
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        return _convert(get_args(kind)[0], value)
    if origin in (Union, types.UnionType):
        results = [_convert(option, value) for option in get_args(kind)]
        return next((result for result in results if result is not _INVALID), _INVALID)
    if origin is Literal:
        # YAML reads `off`, `on`, `no` as booleans, and 1 == True: compare types too.
        if value is False and "off" in get_args(kind):
            return "off"
        return value if any(value == o and type(value) is type(o) for o in get_args(kind)) else _INVALID
    if kind is type(None):
        return None if value is None else _INVALID
    if origin in (list, tuple):
        if not isinstance(value, list | tuple):
            return _INVALID
        items = [_convert(get_args(kind)[0], item) for item in value]
        return _INVALID if any(item is _INVALID for item in items) else tuple(items)
    if origin is dict or origin is Mapping:
        if not isinstance(value, Mapping):
            return _INVALID
        key_kind, item_kind = get_args(kind)
        pairs = {_convert(key_kind, k): _convert(item_kind, v) for k, v in value.items()}
        return _INVALID if _INVALID in pairs or any(v is _INVALID for v in pairs.values()) else pairs
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind in (int, float) and isinstance(value, bool):
        return _INVALID
    return value if isinstance(kind, type) and isinstance(value, kind) else _INVALID


def _literals(kind: Any) -> list[Any]:
    if get_origin(kind) is Literal:
        return list(get_args(kind))
    if get_origin(kind) in (Union, types.UnionType):
        return [literal for option in get_args(kind) for literal in _literals(option)]
    return []


def describe(kind: Any) -> str:
    """A type as a user reads it: ``an integer >= 1``, ``one of 'sum', 'mean'``."""
    origin = get_origin(kind)
    if origin is Annotated:
        inner, *extras = get_args(kind)
        return " ".join([describe(inner), *(str(extra) for extra in extras if isinstance(extra, Range))])
    if origin is Literal:
        return "one of " + ", ".join(repr(option) for option in get_args(kind))
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in get_args(kind))
    if origin in (list, tuple):
        return f"a list, each item {describe(get_args(kind)[0])}"
    if origin is dict or origin is Mapping:
        key, item = get_args(kind)
        return f"a mapping from {describe(key)} to {describe(item)}"
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a string", type(None): "null"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
