"""Plain values against types: what fits is returned as it is, what does not is named."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pytest

from counterpoise.config.values import Range
from counterpoise.typed import Count, Figures, Plain, Positive, checked


class Inner(TypedDict):
    score: float | None
    kind: NotRequired[Literal["a", "b"]]


class Outer(TypedDict):
    name: str
    inner: Inner
    rows: NotRequired[list[Inner]]
    maybe: NotRequired[Inner | None]
    count: NotRequired[Count]


class Wider(Outer):
    more: Mapping[str, Inner]


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (str, ""),
        (float, 3),
        (float | None, None),
        (int, -(2**62)),
        (bool, False),
        (Any, {"x": [1e400]}),
        (list[int], []),
        (dict[str, list[int]], {"a": [1], "b": []}),
        (Literal["a", "b"], "b"),
        (Positive, 1),
        (Annotated[float, Range(gt=0, le=1)], 1),
        (Figures, {"a": None, "b": {"c": [1.5, "x", True]}}),
        (Outer, {"name": "n", "inner": {"score": None, "another": 1}}),
        (Outer, {"name": "n", "inner": {"score": 1}, "rows": [{"score": 2.0}], "maybe": None, "count": 0}),
        (Wider, {"name": "n", "inner": {"score": 1}, "more": {"x": {"score": 1, "kind": "a"}}}),
    ],
)
def test_what_fits_is_returned_as_it_is(kind: Any, value: Any) -> None:
    assert checked(kind, value) is value


@pytest.mark.parametrize(
    ("kind", "value", "message"),
    [
        (str, None, "the content: expected a string, got null"),
        (bool, 1, "the content: expected true or false, got 1"),
        (int, True, "the content: expected an integer, got true"),
        (int, 1.0, "the content: expected an integer, got 1.0"),
        (float, "1", "the content: expected a number, got '1'"),
        (float, float("nan"), "must be a finite number, but is nan"),
        (float, 10**400, "must be a finite number"),
        (int, 2**63, "does not fit into 64 bits"),
        (float, -(2**63), "does not fit into 64 bits"),
        (Positive, 0, "must be >= 1 and < 9223372036854775808, but is 0"),
        (Literal["a", "b"], "c", "expected one of 'a', 'b', got 'c'"),
        (list[int], {}, "expected a list, got {}"),
        (list[int], [1, "x"], "[1]: expected an integer, got 'x'"),
        (dict[str, int], [], "expected an object, got []"),
        (Figures, {"a": {"b": [0, float("inf")]}}, "a.b[1]: must be a finite number, but is inf"),
        (Figures, {"a": [[2**63]]}, "a[0][0]: does not fit into 64 bits"),
        (Plain, float("nan"), "must be a finite number"),
        (Outer, None, "the content: expected an object, got null"),
        (Outer, {"inner": {"score": 1}}, "name: missing, expected a string"),
        (Outer, {"name": "n", "inner": {}}, "inner.score: missing, expected a number or null"),
        (Outer, {"name": "n", "inner": {"score": "x"}}, "inner.score: expected a number or null, got 'x'"),
        (Outer, {"name": "n", "inner": {"score": 1, "kind": 3}}, "inner.kind: expected one of 'a', 'b', got 3"),
        (Outer, {"name": "n", "inner": {"score": 1}, "rows": [{}]}, "rows[0].score: missing"),
        (Outer, {"name": "n", "inner": {"score": 1}, "maybe": {"score": []}}, "maybe.score: expected a number or null"),
        (Outer, {"name": "n", "inner": {"score": 1}, "maybe": 3}, "maybe: expected an object or null, got 3"),
        (Wider, {"name": "n", "inner": {"score": 1}, "more": {"x": 1}}, "more.x: expected an object, got 1"),
        (Wider, {"name": "n", "inner": {"score": 1}}, "more: missing, expected an object"),
    ],
)
def test_what_does_not_fit_is_named(kind: Any, value: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is looked at below
        checked(kind, value)
    assert message in str(caught.value)
