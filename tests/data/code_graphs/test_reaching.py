"""Sets of bits against plain sets: reaching definitions as the textbook has them, on functions and on random ones."""

from __future__ import annotations

import random

import numpy as np
import pytest
from code_graph_checks import demo_functions, devign_functions
from hypothesis import example, given, settings
from hypothesis import strategies as st

from counterpoise.data.code_graphs import data_flow as module
from counterpoise.data.code_graphs.control_flow import ControlFlow, control_flow
from counterpoise.data.code_graphs.data_flow import data_flow
from counterpoise.data.code_graphs.grammar import grammar_of
from counterpoise.data.code_graphs.syntax import parse

Pairs = set[tuple[int, int]]


def by_sets(events: module._Events, flow: ControlFlow, kept: np.ndarray) -> Pairs:
    """Iterate over all statements until nothing changes; then go through the events of each in order."""
    rows = list(zip(*(part.tolist() for part in vars(events).values()), strict=True))
    statements: dict[int, list[tuple[int, int, int]]] = {}
    for node, statement, variable, kind in rows:
        statements.setdefault(statement, []).append((node, variable, kind))
    position = {node: at for at, node in enumerate(flow.nodes.tolist())}
    edges = [
        (position[begin], position[end])
        for begins, ends in ((flow.sources, flow.targets), (flow.lambda_sources, flow.lambda_targets))
        for begin, end in zip(begins.tolist(), ends.tolist(), strict=True)
    ]
    found: Pairs = set()

    def run(statement: int, live: Pairs) -> Pairs:
        for node, variable, kind in statements.get(statement, ()):
            if kind == module._USE:
                found.update((write, node) for name, write in live if name == variable and kept[write] and kept[node])
            elif kind == module._WRITE:
                live = {pair for pair in live if pair[0] != variable} | {(variable, node)}
            else:
                live = live | {(variable, node)}
        return live

    entering: dict[int, Pairs] = {at: set() for at in position.values()}
    changed = True
    while changed:
        changed = False
        leaving = {at: run(at, live) for at, live in entering.items()}
        for begin, end in edges:
            if not leaving[begin] <= entering[end]:
                entering[end] |= leaving[begin]
                changed = True
    return found


def both(texts: list[str], share_kept: float = 1.0) -> tuple[Pairs, Pairs]:
    """The data flow of all ``texts`` together, by sets and as built; nodes are cut away at random."""
    grammar = grammar_of("cpp")
    syntax = parse(texts, grammar, False)
    text_of = np.full(len(syntax.kind), -1)
    is_name = grammar.named(["identifier", "statement_identifier"])[syntax.kind]
    numbers: dict[bytes, int] = {}
    for node in np.flatnonzero(is_name).tolist():
        text_of[node] = numbers.setdefault(syntax.text[syntax.start[node] : syntax.end[node]], len(numbers))
    kept = np.random.default_rng(0).random(len(syntax.kind)) < share_kept
    flow = control_flow(syntax, grammar, text_of)
    events = module._Finder(syntax, grammar, text_of, flow).events()
    source, target = data_flow(syntax, grammar, text_of, flow, kept)
    return by_sets(events, flow, kept), set(zip(source.tolist(), target.tolist(), strict=True))


@pytest.mark.parametrize("share_kept", [1.0, 0.6])
def test_on_functions(share_kept: float) -> None:
    expected, found = both([*demo_functions(40), *devign_functions(25)], share_kept)
    assert len(expected) > 300
    assert found == expected


def block(rng: random.Random, depth: int) -> str:
    """Statements over four variables and four labels, without regard to sense."""
    name, other = rng.choice("abcd"), rng.choice("abcd")
    plain = [
        *(f"{name} = {other} + 1;", f"{name}[{other}] = 1;", f"g(&{name}, {other});", f"{name}++;", f"int {name};"),
        *(f"goto L{rng.randrange(4)};", "break;", "continue;", f"return {name};", f"L{rng.randrange(4)}: ;"),
        *(f"case {rng.randrange(9)}:;", "default:;", f"throw {name};"),
    ]
    if depth == 0 or rng.random() < 0.4:
        return rng.choice(plain)
    inner = [block(rng, depth - 1) for _ in range(rng.randrange(4))]
    body = "{ " + " ".join(inner) + " }"
    return rng.choice(
        [
            *(body, f"if ({name}) {body}", f"if ({name}) {body} else {body}", f"while ({name}--) {body}"),
            *(f"do {body} while ({name});", f"for ({name} = 0; {other}; {name}++) {body}", f"for (;;) {body}"),
            *(f"switch ({name}) {body}", f"try {body} catch (E {name}) {body}", f"{name} = ({body}) + {other};"),
            *(f"for (auto {name} : {other}) {body}", f"{name} = [&](int {other}) {body};", f"#if A\n {body}\n#endif\n"),
        ]
    )


@given(seed=st.integers(0, 1 << 40))
@example(seed=805_799_025_124)  # handlers of nested tries
@settings(max_examples=120, deadline=None)
def test_on_random_functions(seed: int) -> None:
    rng = random.Random(seed)
    text = "int f(int a, int b) { " + " ".join(block(rng, 4) for _ in range(6)) + " }"
    expected, found = both([text], rng.choice([1.0, 0.7]))
    assert found == expected
