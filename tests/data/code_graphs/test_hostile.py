"""Code that nobody writes: nested without end, or with as many variables, jumps and branches as it has words."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.data.code_graphs import data_flow, syntax
from counterpoise.data.code_graphs.build import GraphOptions, build_graphs
from counterpoise.data.code_graphs.syntax import climb

DEEP = 5000
HOSTILE: dict[str, Callable[[int], str]] = {
    "parentheses": lambda n: "int f(){return " + "(" * n + "a" + ")" * n + ";}",
    "open parentheses": lambda n: "int f(){return " + "(" * n,
    "braces": lambda n: "void f()" + "{" * n + "}" * n,
    "closing brackets": lambda n: ")]}" * n,
    "#if without end": lambda n: "void f(){" + "#if A\nx=1;\n" * n,
    "nested if": lambda n: "void f(){" + "if(a)" * n + ";}",
    "else if": lambda n: "void f(){" + "if(a);else " * n + ";}",
    "nested switch": lambda n: "void f(){" + "switch(a){case 1:" * n + "}" * n + "}",
    "cases within if": lambda n: "void f(){switch(a){" + "if(b){case 1:break;" * n + "}" * n + "}}",
    "labels of labels": lambda n: "void f(){" + "".join(f"L{i}:" for i in range(n)) + ";}",
    "goto far out": lambda n: (
        "void f(){" + "".join(f"if(a){{goto L{i};" for i in range(n)) + "".join(f"L{i}:;}}" for i in range(n)) + "}"
    ),
    "break far out": lambda n: "void f(){while(1){" + "if(a){break;" * n + "}" * n + "}}",
    "continue far out": lambda n: "void f(){while(1){" + "if(a){continue;" * n + "}" * n + "}}",
    "assignments": lambda n: "void f(){" + "a=" * n + "1;}",
    "scopes": lambda n: "void f(int x){" + "{int x=x+1;" * n + "}" * n + "}",
    "variables of scopes": lambda n: "void f(int x){" + "".join(f"{{int v{i}=x;" for i in range(n)) + "}" * n + "}",
    "calls": lambda n: "int f(){return " + "f(" * n + ")" * n + ";}",
    "namespaces": lambda n: "namespace a{" * n + "}" * n,
    "templates": lambda n: "A<" * n + ">" * n + " a;",
    "try": lambda n: "void f(){" + "try{" * n + "}catch(...){}" * n + "}",
    "lambdas": lambda n: "void f(){" + "auto a=[&]{if(b)return;" * n + "};" * n + "}",
}


@pytest.mark.parametrize("language", ["c", "cpp"])
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_is_nested_thousands_deep_becomes_a_graph(kind: str, language: Literal["c", "cpp"]) -> None:
    graphs = build_graphs([HOSTILE[kind](DEEP)], GraphOptions(language=language))
    assert 0 < len(graphs.node_types) <= 1000
    assert graphs.nodes_before_cut[0] > DEEP or graphs.parse_errors[0]


@pytest.mark.parametrize("language", ["c", "cpp"])
def test_depth_changes_no_edge(language: Literal["c", "cpp"], monkeypatch: pytest.MonkeyPatch) -> None:
    """The way for deep trees gives what the way for shallow ones gives."""
    texts = [code(n) for code in HOSTILE.values() for n in (1, 2, 5, 40)]
    options = GraphOptions(language=language, max_nodes=10**6)

    def built(levels: int) -> list[list[int]]:
        monkeypatch.setattr(syntax, "FEW_LEVELS", levels)
        monkeypatch.setattr(data_flow, "FEW_LEVELS", levels)
        graphs = build_graphs(texts, options)
        return [each.tolist() for each in (graphs.sources, graphs.targets, graphs.edge_types, graphs.edge_offsets)]

    assert built(0) == built(1) == built(10**6)


@settings(deadline=None)
@given(st.data(), st.integers(1, 30), st.integers(0, 40))
def test_climbing_by_hand(data: st.DataObject, size: int, levels: int) -> None:
    above = np.array([data.draw(st.integers(-1, node - 1)) for node in range(size)])
    stop = np.array(data.draw(st.lists(st.booleans(), min_size=size, max_size=size)))
    start = np.arange(-1, size)
    expected = []
    for node in start.tolist():
        while node >= 0 and not stop[node]:
            node = int(above[node])
        expected.append(node)
    before, syntax.FEW_LEVELS = syntax.FEW_LEVELS, levels
    try:
        assert climb(above, start, stop).tolist() == expected
    finally:
        syntax.FEW_LEVELS = before
