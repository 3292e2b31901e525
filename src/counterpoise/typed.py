"""Plain JSON values held against a type: what a file that others may have written is made of, before it is used.

A type is any that a ``TypedDict`` is annotated with: ``str``, ``int``, ``float``, ``bool``, ``None``, ``Any``, a union,
``Literal``, ``list``, ``Mapping``, another ``TypedDict``, or one of these with a :class:`Range` or :data:`FINITE`::

    class Result(TypedDict):
        best_epoch: Annotated[int, Range(ge=1)] | None
        test: NotRequired[Figures]

Keys that a ``TypedDict`` does not name may hold anything: later versions add some.
"""

from __future__ import annotations

import dataclasses
import math
import types
from collections.abc import Mapping, Sequence
from functools import cache
from typing import (
    Annotated,
    Any,
    Final,
    NotRequired,
    Required,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
    is_typeddict,
)

from counterpoise.config.values import Range, Refused, convert, describe, show

T = TypeVar("T")

FINITE: Final = "numbers that are finite and fit into 64 bits"
"""As an annotation of any type: all numbers in its values are so."""
NUMBER: Final = "a number, finite or not"
"""As an annotation of ``Any``, in place of ``float``."""
LARGEST: Final = 2**63
"""Integers are below it, unless a ``Range`` says otherwise."""

Count = Annotated[int, Range(ge=0, lt=LARGEST)]
"""A number of things, or a place among them."""
Positive = Annotated[int, Range(ge=1, lt=LARGEST)]
"""A size, or a number that counts from 1."""
Plain = Annotated[Any, FINITE]
"""Any value whose numbers can be shown and reckoned with."""
Real = Annotated[Any, NUMBER]
"""A number that may be NaN or infinite, which JSON cannot hold."""
Figures = Mapping[str, Plain]
"""Metrics by name; what is not defined is null."""


def checked(kind: type[T], value: object, where: str = "") -> T:
    """``value``, which is of this type.

    Args:
        kind: a ``TypedDict``, or any other type of the above.
        value: as JSON gives it.
        where: the dotted key of ``value``, for the message.

    Raises:
        ValueError: naming the key, and what was expected there.
    """
    _check(kind, value, where)
    return value  # type: ignore[return-value]


def built(kind: type[T], value: object, where: str = "") -> T:
    """A dataclass from plain values of its fields: what ``dataclasses.asdict`` made of it. Numbers need not be finite.

    Args:
        kind: the dataclass.
        value: a mapping with its fields; those with a default may be missing.
        where: the dotted key of ``value``, for the message.

    Raises:
        ValueError: naming the key, and what was expected there.
    """
    content = _expected(Mapping, value, where, "an object")
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = [key for key in content if key not in fields]
    if unknown:
        raise ValueError(f"{_joined(where, unknown[0])}: unknown key")
    for name, of in _field_types(cast(Any, kind)).items():
        field = fields[name]
        if name in content:
            _check(of, content[name], _joined(where, name))
        elif field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING:
            raise ValueError(f"{_joined(where, name)}: missing, expected {_words(of)}")
    tuples = {name for name, of in get_type_hints(kind).items() if get_origin(of) is tuple}
    return kind(**{name: tuple(item) if name in tuples else item for name, item in content.items()})


@cache
def _field_types(kind: Any) -> Mapping[str, Any]:
    return {name: _plain_type(of) for name, of in get_type_hints(kind).items()}


def _plain_type(kind: Any) -> Any:
    """What plain values of a type are: tuples are lists, and numbers need not be finite."""
    origin, inner = get_origin(kind), get_args(kind)
    listed: Any = list
    named: Any = Mapping
    if kind is float:
        return Real
    if origin in (tuple, Sequence, list):
        return listed[_plain_type(inner[0])]
    if origin in (Mapping, dict):
        return named[inner[0], _plain_type(inner[1])]
    if origin in (Union, types.UnionType):
        return Union[tuple(map(_plain_type, inner))]  # noqa: UP007 - of types that are not known before
    return kind


def _check(kind: Any, value: object, where: str) -> None:
    origin = get_origin(kind)
    if is_typeddict(kind):
        _check_keys(kind, value, where)
    elif origin in (Union, types.UnionType):
        _check_options(get_args(kind), value, where)
    elif origin is list:
        for place, item in enumerate(_expected(list | tuple, value, where, "a list")):
            _check(get_args(kind)[0], item, f"{where}[{place}]")
    elif origin is Mapping or origin is dict:
        for key, item in _expected(Mapping, value, where, "an object").items():
            _check(get_args(kind)[1], item, _joined(where, key))
    elif origin is Annotated:
        _check_annotated(kind, value, where)
    else:
        _check_scalar(kind, value, where)


def _check_keys(kind: Any, value: object, where: str) -> None:
    content = _expected(Mapping, value, where, "an object")
    for key, (of, required) in _keys(kind).items():
        if key in content:
            _check(of, content[key], _joined(where, key))
        elif required:
            raise ValueError(f"{_joined(where, key)}: missing, expected {_words(of)}")


@cache
def _keys(kind: Any) -> Mapping[str, tuple[Any, bool]]:
    """The type of each key, and whether it must be there."""
    found = {}
    for key, of in get_type_hints(kind, include_extras=True).items():
        own = get_origin(of)
        # Under postponed annotations a class itself does not see which of its keys are ``NotRequired``.
        required = own is not NotRequired and (own is Required or key in kind.__required_keys__)
        found[key] = (get_args(of)[0] if own in (NotRequired, Required) else of, required)
    return found


def _check_options(options: tuple[Any, ...], value: object, where: str) -> None:
    """One of several types; where all but one cannot hold such a value at all, its own message is the better one."""
    errors = []
    for option in options:
        try:
            _check(option, value, where)
        except ValueError as error:
            errors.append((option, error))
        else:
            return
    containers = [error for option, error in errors if isinstance(value, Mapping | list) and _is_container(option)]
    if len(containers) == 1:
        raise containers[0]
    raise _wrong(" or ".join(_words(option) for option in options), value, where)


def _check_annotated(kind: Any, value: object, where: str) -> None:
    inner, *extras = get_args(kind)
    _check(inner, value, where)
    if FINITE in extras:
        _check_numbers(value, where)
    if NUMBER in extras:
        _check_number(value, where)
    for bounds in (extra for extra in extras if isinstance(extra, Range)):
        if isinstance(value, int | float) and value not in bounds:
            raise ValueError(f"{where}: must be {bounds}, but is {show(value)}")


def _check_scalar(kind: Any, value: object, where: str) -> None:
    if kind is Any:
        return
    found = convert(kind, value, bounded=False)
    if isinstance(found, Refused):
        if found.reason:
            raise ValueError(f"{where}: {found.reason.rstrip('.')}")
        raise _wrong(_words(kind), value, where)
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise ValueError(f"{where}: does not fit into 64 bits")


def _check_number(value: object, where: str) -> None:
    if not isinstance(value, int | float) or isinstance(value, bool):
        raise _wrong(describe(float), value, where)
    if isinstance(value, int) and abs(value) >= LARGEST:
        raise ValueError(f"{where}: does not fit into 64 bits")


def _check_numbers(value: object, where: str) -> None:
    """Without recursion: values may be nested as deeply as JSON can be read."""
    waiting = [(where, value)]
    while waiting:
        place, node = waiting.pop()
        if isinstance(node, Mapping):
            waiting += [(_joined(place, key), item) for key, item in node.items()]
        elif isinstance(node, list | tuple):
            waiting += [(f"{place}[{index}]", item) for index, item in enumerate(node)]
        elif isinstance(node, float) and not math.isfinite(node):
            raise ValueError(f"{place}: must be a finite number, but is {show(node)}")
        elif isinstance(node, int) and abs(node) >= LARGEST:
            raise ValueError(f"{place}: does not fit into 64 bits")


def _expected(kind: Any, value: object, where: str, words: str) -> Any:
    if not isinstance(value, kind):
        raise _wrong(words, value, where)
    return value


def _wrong(expected: str, value: object, where: str) -> ValueError:
    return ValueError(f"{where or 'the content'}: expected {expected}, got {show(value)}")


def _is_container(kind: Any) -> bool:
    origin = get_origin(kind)
    return (
        is_typeddict(kind)
        or origin in (list, dict, Mapping)
        or (origin is Annotated and _is_container(kind.__origin__))
    )


def _words(kind: Any) -> str:
    """A type as a reader knows it."""
    origin = get_origin(kind)
    if origin is Annotated:
        return (
            _words(get_args(kind)[0])
            if is_typeddict(get_args(kind)[0]) or FINITE in kind.__metadata__
            else describe(kind)
        )
    if origin in (Union, types.UnionType):
        return " or ".join(map(_words, get_args(kind)))
    if is_typeddict(kind) or origin in (dict, Mapping):
        return "an object"
    return "a list" if origin is list else "a value" if kind is Any else describe(kind)


def _joined(where: str, key: object) -> str:
    return f"{where}.{key}" if where else str(key)
