"""Graphs of words near each other: what is a node, what is an edge, for any text at all."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.data.windows import KINDS, window_graphs
from counterpoise.data.words import UNSPACED

TEXT = st.text(st.sampled_from("aAb1é_. \n\t,漢İß"), max_size=30) | st.text(max_size=20)


def slow(text: str, window: int, max_nodes: int) -> tuple[list[tuple[str, str, int]], set[tuple[int, int, str]], int]:
    """Nodes (kind, token, line), edges and the number of tokens, written the plain way."""
    nodes = []
    for number, line in enumerate(text.split("\n"), 1):
        spaced = re.sub(rf"([{UNSPACED}])", r" \1 ", line)
        for token in re.findall(r"[^\W\d]\w*|\d\w*|[^\w\s]", spaced):
            kind = "punctuation" if not (token[0].isalnum() or token[0] == "_") else "word"
            nodes.append(("number" if re.match(r"\d", token) else kind, token.lower(), number))
    count = len(nodes)
    nodes = nodes[:max_nodes]
    edges = {(i, i + d, f"next {d}") for d in range(1, window + 1) for i in range(len(nodes) - d)}
    for i, node in enumerate(nodes):
        later = [j for j in range(i + 1, len(nodes)) if nodes[j][1] == node[1]]
        if later and node[0] != "punctuation":
            edges.add((i, later[0], "same word"))
    return nodes or [("empty", "", 1)], edges, max(count, 1)


@settings(max_examples=150, deadline=None)
@given(st.lists(TEXT, max_size=4), st.integers(1, 4), st.integers(1, 9))
def test_any_text(texts: list[str], window: int, max_nodes: int) -> None:
    named = window_graphs(texts, window=window, max_nodes=max_nodes)
    assert len(named.graphs) == len(named.nodes_before_cut) == len(named.parse_errors) == len(texts)
    assert not named.parse_errors.any()
    for index, text in enumerate(texts):
        nodes, edges, count = slow(text, window, max_nodes)
        graph = named.graphs.take(np.array([index]))
        assert [named.type_names[kind] for kind in graph.node_types] == [node[0] for node in nodes]
        assert graph.lines.tolist() == [node[2] for node in nodes]
        assert [named.token_names[token] for token in graph.token_ids] == [node[1] for node in nodes if node[1]]
        assert graph.token_counts.tolist() == [int(bool(node[1])) for node in nodes]
        names = [named.edge_names[kind] for kind in graph.edge_types]
        found = list(zip(graph.sources.tolist(), graph.targets.tolist(), names, strict=True))
        assert len(found) == len(set(found))
        assert set(found) == edges
        assert named.nodes_before_cut[index] == count


@settings(deadline=None, max_examples=50)
@given(st.lists(TEXT, max_size=3))
def test_graphs_are_whole(texts: list[str]) -> None:
    graphs = window_graphs(texts, window=2, max_nodes=5).graphs
    assert type(graphs).from_arrow(graphs.to_arrow()).sizes.tolist() == graphs.sizes.tolist()
    assert graphs.sizes.min(initial=1) >= 1
    assert graphs.sizes.max(initial=0) <= 5


@pytest.mark.parametrize("text", ["", " \n\t ", "\n"])
def test_nothing_to_read_is_one_node(text: str) -> None:
    named = window_graphs([text], window=3, max_nodes=9)
    assert [KINDS[kind] for kind in named.graphs.node_types] == ["empty"]
    assert len(named.graphs.sources) == 0
    assert named.nodes_before_cut.tolist() == [1]


def test_a_sentence() -> None:
    named = window_graphs(["The cat saw\nthe dog 7 times."], window=1, max_nodes=100)
    graph = named.graphs
    tokens = [named.token_names[token] for token in graph.token_ids]
    assert tokens == ["the", "cat", "saw", "the", "dog", "7", "times", "."]
    assert graph.lines.tolist() == [1, 1, 1, 2, 2, 2, 2, 2]
    assert [KINDS[kind] for kind in graph.node_types] == [*["word"] * 5, "number", "word", "punctuation"]
    pairs = zip(graph.sources.tolist(), graph.targets.tolist(), graph.edge_types.tolist(), strict=True)
    assert [pair[:2] for pair in pairs if named.edge_names[pair[2]] == "same word"] == [(0, 3)]
