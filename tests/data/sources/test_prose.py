"""The grammar that generated texts are drawn from, exact shares, and spans."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.data.sources.prose.counts import apportion, long_tailed, poisson
from counterpoise.data.sources.prose.grammar import Grammar, compile_template, tidy
from counterpoise.data.sources.prose.layout import Layout


def drawn(rules: dict[str, tuple[str, ...]], rule: str = "s", **bound: str) -> set[str]:
    grammar = Grammar(rules, tuple(bound))
    return {grammar.draw(rule, Random(seed), bound) for seed in range(300)}


def test_alternatives_nest_and_may_be_empty() -> None:
    assert drawn({"s": ("x[ [big|small] b| c|]",)}) == {"X", "X c", "X big b", "X small b"}


def test_numbered_placeholders_are_drawn_once_and_others_each_time() -> None:
    rules = {"s": ("<n1> <n1> <n>",), "n": ("p", "q")}
    assert drawn(rules) == {"P p p", "P p q", "Q q p", "Q q q"}


def test_what_is_bound_comes_before_rules() -> None:
    assert drawn({"s": ("<n> <who>",), "n": ("p",)}, who="Ada", n="z") == {"Z Ada"}


def test_a_passage_uses_no_template_twice_and_keeps_what_is_drawn_once() -> None:
    grammar = Grammar({"s": ("one <n1>.", "two <n1>."), "n": ("p", "q")})
    found = {grammar.passage(("s", "s", "s"), Random(seed)) for seed in range(100)}
    assert found == {"One p. Two p.", "One q. Two q.", "Two p. One p.", "Two q. One q."}


@pytest.mark.parametrize("broken", ["a [b", "a ] b", "a | b", "[a|[b]"])
def test_unbalanced_templates_are_refused(broken: str) -> None:
    with pytest.raises(ValueError, match="template"):
        compile_template(broken)


def test_unknown_placeholders_and_empty_rules_are_refused() -> None:
    with pytest.raises(ValueError, match=r"'s'.*nowhere"):
        Grammar({"s": ("[a|<nowhere>]",)})
    with pytest.raises(ValueError, match="'s'"):
        Grammar({"s": ()})


@pytest.mark.parametrize(
    ("raw", "tidied"),
    [
        ("a owl and a  hour , a union , a one-eyed cat .", "An owl and an hour, a union, a one-eyed cat."),
        ("it fell. she left.", "It fell. She left."),
        ('"it fell." she left.', '"It fell." She left.'),
        ('"did it fall?" asked she.', '"Did it fall?" asked she.'),
        ('"coward!" they shouted.', '"Coward!" they shouted.'),
    ],
)
def test_sentences_are_tidied(raw: str, tidied: str) -> None:
    assert tidy(raw) == tidied


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=12), st.integers(0, 10_000))
def test_parts_add_up_and_are_within_one_of_their_share(weights: list[float], count: int) -> None:
    parts = apportion(weights, count)
    assert sum(parts) == count
    assert all(
        abs(part - count * weight / sum(weights)) < 1 + 1e-9 for part, weight in zip(parts, weights, strict=True)
    )


def test_counts_and_lengths_are_distributed_as_they_say() -> None:
    rng = Random(0)
    counts = np.array([poisson(3.5, rng) for _ in range(5000)])
    assert counts.mean() == pytest.approx(3.5, abs=0.1)
    assert counts.var() == pytest.approx(3.5, abs=0.3)
    logs = np.log([long_tailed(200, 0.5, rng, (1, 1e9)) for _ in range(5000)])
    assert logs.mean() == pytest.approx(np.log(200), abs=0.03)
    assert logs.std() == pytest.approx(0.5, abs=0.03)
    assert {long_tailed(200, 2.0, rng, (199, 201)) for _ in range(50)} >= {199, 201}


@given(st.lists(st.one_of(st.none(), st.text(min_size=1, max_size=8)), max_size=20))
def test_spans_point_at_what_was_added(items: list[str | None]) -> None:
    layout, spans = Layout(), []
    for item in items:
        if item is None:
            layout.end_paragraph()
        else:
            spans.append((item, layout.add(item)))
    assert all(layout.text[start:end] == item for item, (start, end) in spans)
