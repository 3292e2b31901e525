"""The schema accepts what is meant, refuses all else, and lists every problem at once."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.config.schema import (
    ANY_INTEGER,
    AT_LEAST_ONE,
    POSITIVE,
    SEED,
    SHARE,
    Range,
    describe,
    field_types,
    parse,
)
from counterpoise.errors import Problem, UserError


@dataclass(frozen=True, kw_only=True)
class Inner:
    low: Annotated[float, SHARE] = 0.0
    high: Annotated[float, SHARE] = 1.0

    def problems(self) -> Iterator[Problem]:
        if self.low > self.high:
            yield Problem("low", f"is above high={self.high}.")


@dataclass(frozen=True, kw_only=True)
class Config:
    name: str
    count: Annotated[int, AT_LEAST_ONE] = 1
    size: Annotated[int | Literal["auto"], AT_LEAST_ONE] = "auto"
    rate: Annotated[float, POSITIVE] | None = None
    plain: float = 0.0
    flag: bool = False
    mode: Literal["off", "fast", "slow"] = "off"
    level: Literal[0, 1] = 0
    sizes: Annotated[tuple[int, ...], AT_LEAST_ONE] = ()
    betas: tuple[float, float] = (0.9, 0.999)
    weights: Annotated[dict[str, float], POSITIVE] = field(default_factory=dict)
    either: list[str | int] | None = None
    inner: Inner = Inner()
    anything: Any = None


def problems(**values: object) -> list[str]:
    with pytest.raises(UserError) as caught:
        parse(Config, {"name": "n", **values})
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("key", "given_value", "parsed"),
    [
        ("plain", 3, 3.0),
        ("rate", None, None),
        ("rate", 2, 2.0),
        ("mode", False, "off"),  # YAML 1.1 reads `off` as false
        ("mode", "fast", "fast"),
        ("size", "auto", "auto"),
        ("size", 4, 4),
        ("sizes", [1, 2], (1, 2)),
        ("betas", [0, 0.5], (0.0, 0.5)),
        ("weights", {"a": 1}, {"a": 1.0}),
        ("either", ["a", 1], ("a", 1)),
        ("inner", {"low": 0.5}, Inner(low=0.5)),
        ("anything", {"x": [None]}, {"x": [None]}),
    ],
)
def test_accepts(key: str, given_value: object, parsed: object) -> None:
    value = getattr(parse(Config, {"name": "n", key: given_value}), key)
    assert value == parsed
    assert type(value) is type(parsed)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("name", None, "expected a string, got null."),
        ("name", 3, "expected a string, got 3. Quote it: \"name='3'\"."),
        ("count", 1.0, "expected an integer >= 1, got 1.0."),
        ("count", True, "expected an integer >= 1, got true."),
        ("count", 0, "must be >= 1, but is 0."),
        ("size", "atuo", "expected an integer >= 1 or 'auto', got 'atuo'. Did you mean 'auto'?"),
        ("size", 0, "must be >= 1, but is 0."),
        ("rate", 0, "must be > 0, but is 0.0."),
        ("rate", "x", "expected a number > 0 or null, got 'x'."),
        ("plain", math.nan, "must be a finite number, but is nan."),
        ("plain", math.inf, "must be a finite number, but is inf."),
        ("plain", 10**400, "must be a finite number, but is 1"),
        ("plain", True, "expected a number, got true."),
        ("flag", 1, "expected true or false, got 1."),
        ("flag", "true", "expected true or false, got 'true'."),
        ("mode", True, "expected one of 'off', 'fast', 'slow', got true."),
        ("mode", "fats", "expected one of 'off', 'fast', 'slow', got 'fats'. Did you mean 'fast'?"),
        ("level", True, "expected one of 0, 1, got true."),
        ("level", 1.0, "expected one of 0, 1, got 1.0."),
        ("sizes", 3, "expected a list, each item an integer >= 1, got 3."),
        ("sizes", [1, 0], "must be >= 1, but is 0."),
        ("sizes", "ab", "expected a list, each item an integer >= 1, got 'ab'."),
        ("betas", [0.9], "expected a list of 2 items: a number, a number, got [0.9]."),
        ("weights", {"a": -1}, "must be > 0, but is -1.0."),
        ("weights", {1: 1}, "expected a mapping from a string to a number > 0, got {1: 1}."),
        ("weights", ["a"], "expected a mapping from a string to a number > 0, got ['a']."),
        ("either", [None], "expected a list, each item a string or an integer or null, got [None]."),
        ("inner", 3, "expected a mapping, got 3."),
        ("count", "???", "must be given; expected an integer >= 1. Add count=... to the command."),
        ("name", ["x" * 500], "expected a string, got ['xxx"),
    ],
)
def test_refuses(key: str, value: object, message: str) -> None:
    (problem,) = problems(**{key: value})
    assert problem.startswith(f"{key}: {message}")
    assert len(problem) < 200


def test_all_problems_at_once_by_dotted_key() -> None:
    with pytest.raises(UserError) as caught:
        parse(Config, {"nmae": 1, "count": "x", "inner": {"low": 2, "hihg": 1}, "flag": None}, "model")
    where = [problem.where for problem in caught.value.problems]
    assert where == ["model.nmae", "model.name", "model.count", "model.flag", "model.inner.hihg", "model.inner.low"]
    assert caught.value.problems[0].remedy == "Did you mean 'name'?"
    assert "missing; expected a string" in caught.value.problems[1].message
    assert caught.value.problems[4].remedy == "Did you mean 'high'?"


def test_relations_are_checked_once_the_fields_are_right() -> None:
    assert problems(inner={"low": 1, "high": 0}) == ["inner.low: is above high=0.0."]
    assert problems(inner={"low": 1, "high": -1}) == ["inner.high: must be >= 0 and <= 1, but is -1.0."]


def test_problems_are_collected_where_asked() -> None:
    found: list[Problem] = []
    parse(Config, {}, "a", found)
    parse(Config, [], "b", found)
    assert [problem.where for problem in found] == ["a.name", "b"]


def test_bounds_read_as_they_are_written() -> None:
    assert str(Range(ge=0, lt=2**32)) == ">= 0 and < 4294967296"
    assert 0.5 in SHARE
    assert 0 not in POSITIVE


def test_describes_every_kind_of_field() -> None:
    described = {name: describe(kind) for name, kind in field_types(Config).items()}
    assert described["size"] == "an integer >= 1 or 'auto'"
    assert described["rate"] == "a number > 0 or null"
    assert described["betas"] == "a list of 2 items: a number, a number"
    assert all(described.values())


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.just(10**400)
    | st.floats()
    | st.text(max_size=4)
    | st.sampled_from(["auto", "off", "???"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4) | st.integers(), inner, max_size=3),
    max_leaves=8,
)
NAMED = st.dictionaries(st.sampled_from([*field_types(Config), "low", "high", "_target_"]) | st.text(max_size=4), PLAIN)


@settings(max_examples=300, deadline=None)
@given(NAMED | PLAIN | st.builds(lambda a, b: {"name": "n", **a, "inner": b}, NAMED, NAMED))
def test_any_structure_gives_an_object_or_a_user_error(node: object) -> None:
    found: list[Problem] = []
    config = parse(Config, node, "", found)
    if found:
        assert all(problem.where and problem.message for problem in found)
    else:
        assert isinstance(config, Config)
        assert config.rate is None or config.rate > 0
        assert math.isfinite(config.plain)


def test_every_integer_has_a_bound_that_every_library_takes() -> None:
    assert parse(Config, {"name": "n", "count": 2**31 - 1}).count == 2**31 - 1
    for key, value in (("count", 2**31), ("size", 10**19), ("sizes", [1, 2**70]), ("either", [-(2**31)])):
        (problem,) = problems(**{key: value})
        assert problem.startswith(f"{key}: must be at ")
        assert "2,147,483,647" in problem


@pytest.mark.parametrize("seed", [0, 2**31, 2**32 - 1])
def test_a_range_with_an_upper_bound_decides_alone(seed: int) -> None:
    @dataclass(frozen=True, kw_only=True)
    class Seeded:
        seed: Annotated[int, SEED] = 0
        names: Annotated[list[str | int], ANY_INTEGER] | None = None

    assert parse(Seeded, {"seed": seed, "names": [10**30, -(10**30)]}).seed == seed
    with pytest.raises(UserError, match="must be >= 0 and < 4294967296, but is 4294967296"):
        parse(Seeded, {"seed": 2**32})
