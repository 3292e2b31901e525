"""Values as a schema reads them: strict conversion to a type, ranges, and both in a user's words."""

from __future__ import annotations

import math
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from counterpoise.errors import closest

LONGEST_SHOWN = 80


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
        return " and ".join(f"{sign} {bound}" for sign, bound in bounds if bound is not None and math.isfinite(bound))


POSITIVE = Range(gt=0)
NON_NEGATIVE = Range(ge=0)
SHARE = Range(ge=0, le=1)
AT_LEAST_ONE = Range(ge=1)
SEED = Range(ge=0, lt=2**32)
LARGEST_INTEGER = 2**31 - 1
"""Of a field whose own range has no upper bound: what every library below takes for an integer."""
ANY_INTEGER = Range(ge=-math.inf, le=math.inf)
"""For integers that are names rather than numbers, such as labels."""


@dataclass(frozen=True)
class Refused:
    """In place of a value that cannot be used."""

    reason: str = ""
    """Empty where the expected type says it all."""


INVALID: Any = Refused()


def remedy(kind: Any, value: object, where: str) -> str:
    """What to write instead of a ``value`` that is no ``kind``; empty if that is not known."""
    options = [str(option) for option in _literals(kind)]
    if options and isinstance(value, str):
        return closest(value, options)
    if isinstance(value, int | float) and isinstance(convert(kind, str(value)), str) and not options:
        return f"Quote it: \"{where}='{show(value)}'\"."
    return ""


def convert(kind: Any, value: object, *, bounded: bool = True) -> Any:
    """``value`` as ``kind``, or why not.

    Args:
        kind: the type, with its ``Range`` where it has one.
        value: as the config has it.
        bounded: refuse integers beyond :data:`LARGEST_INTEGER`; a ``Range`` with an upper bound of its own decides
            instead.
    """
    origin = get_origin(kind)
    if kind is Any:
        return value
    if origin is Annotated:
        inner, *extras = get_args(kind)
        ranges = [extra for extra in extras if isinstance(extra, Range)]
        own = any(each.le is not None or each.lt is not None for each in ranges)
        return _within(ranges, convert(inner, value, bounded=bounded and not own))
    if origin in (Union, types.UnionType):
        results = [convert(option, value, bounded=bounded) for option in get_args(kind)]
        good = [result for result in results if not isinstance(result, Refused)]
        reasons = [result for result in results if isinstance(result, Refused) and result.reason]
        return next(iter(good or reasons), INVALID)
    if origin is Literal:
        # YAML reads `off`, `on`, `no` as booleans, and 1 == True: compare types too.
        if value is False and "off" in get_args(kind):
            return "off"
        return value if any(value == o and type(value) is type(o) for o in get_args(kind)) else INVALID
    if origin in (list, tuple):
        return _items(get_args(kind), value, bounded)
    if origin is dict or origin is Mapping:
        key_kind, item_kind = get_args(kind)
        return _pairs(key_kind, item_kind, value, bounded)
    return _scalar(kind, value, bounded)


def _within(bounds: list[Range], value: Any) -> Any:
    wrong = [(bound, n) for bound in bounds for n in _numbers(value) if n not in bound]
    return Refused(f"must be {wrong[0][0]}, but is {show(wrong[0][1])}.") if wrong else value


def _numbers(value: object) -> Iterator[float]:
    if isinstance(value, int | float) and not isinstance(value, bool):
        yield value
    elif isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, Mapping):
        yield from _numbers(tuple(value.values()))


def _items(kinds: tuple[Any, ...], value: object, bounded: bool) -> Any:
    """A list, or a tuple of so many items as there are ``kinds``."""
    if not isinstance(value, list | tuple):
        return INVALID
    if len(kinds) > 1 and kinds[1] is not Ellipsis:
        if len(value) != len(kinds):
            return INVALID
        items = [convert(kind, item, bounded=bounded) for kind, item in zip(kinds, value, strict=True)]
    else:
        items = [convert(kinds[0], item, bounded=bounded) for item in value]
    return next((item for item in items if isinstance(item, Refused)), tuple(items))


def _pairs(key_kind: Any, item_kind: Any, value: object, bounded: bool) -> Any:
    if not isinstance(value, Mapping):
        return INVALID
    pairs = [
        (convert(key_kind, key, bounded=bounded), convert(item_kind, item, bounded=bounded))
        for key, item in value.items()
    ]
    return next((part for pair in pairs for part in pair if isinstance(part, Refused)), dict(pairs))


def _scalar(kind: Any, value: object, bounded: bool) -> Any:
    if kind is type(None):
        return None if value is None else INVALID
    if kind in (int, float) and isinstance(value, bool):
        return INVALID
    if kind is float and isinstance(value, int | float):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        return number if math.isfinite(number) else Refused(f"must be a finite number, but is {show(value)}.")
    if kind is int and isinstance(value, int) and bounded and abs(value) > LARGEST_INTEGER:
        bound = f"at most {LARGEST_INTEGER:,}" if value > 0 else f"at least -{LARGEST_INTEGER:,}"
        return Refused(f"must be {bound}, but is {show(value)}.")
    return value if isinstance(kind, type) and isinstance(value, kind) else INVALID


def _literals(kind: Any) -> list[Any]:
    if get_origin(kind) is Annotated:
        return _literals(get_args(kind)[0])
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
        return _bounded(inner, " ".join(str(extra) for extra in extras if isinstance(extra, Range)))
    if origin is Literal:
        options = [repr(option) for option in get_args(kind)]
        return options[0] if len(options) == 1 else f"one of {', '.join(options)}"
    if origin in (Union, types.UnionType):
        return " or ".join(describe(option) for option in get_args(kind))
    if origin in (list, tuple):
        items = [item for item in get_args(kind) if item is not Ellipsis]
        if len(items) > 1:
            return f"a list of {len(items)} items: {', '.join(map(describe, items))}"
        return f"a list, each item {describe(items[0])}"
    if origin is dict or origin is Mapping:
        key, item = get_args(kind)
        return f"a mapping from {describe(key)} to {describe(item)}"
    names = {int: "an integer", float: "a number", bool: "true or false", str: "a string", type(None): "null"}
    return names.get(kind, getattr(kind, "__name__", str(kind)))


def _bounded(kind: Any, bounds: str) -> str:
    """The bounds stand after what has them, not after the words that are possible instead."""
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_bounded(option, bounds) for option in get_args(kind))
    return describe(kind) if get_origin(kind) is Literal or not bounds else f"{describe(kind)} {bounds}"


def show(value: object) -> str:
    """A value as YAML would write it, cut where it is long."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # an integer of more digits than Python prints; a list within itself
        text = f"a very long {type(value).__name__}"
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."
