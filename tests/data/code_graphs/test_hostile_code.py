"""Code that nobody writes: nested without end, or with as many variables, jumps and branches as it has words."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.data.code_graphs import data_flow, syntax
from counterpoise.data.code_graphs.build import GraphOptions, build_graphs
from counterpoise.data.code_graphs.syntax import climb
from hostile_code import HOSTILE

DEEP = 5000


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
