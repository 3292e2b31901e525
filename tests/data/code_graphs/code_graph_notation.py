"""The notation of the flow tests: edges by line, both as written by hand and as read off a graph."""

from __future__ import annotations

from collections import defaultdict
from typing import Literal

import numpy as np

from counterpoise.data.code_graphs import EDGE_TYPES, GraphOptions, RawGraphs, build_graphs

Edges = set[tuple[str, str]]


def graph_of(source: str, language: Literal["c", "cpp"] = "c", comments: bool = False) -> RawGraphs:
    """The uncut graph of one text."""
    return build_graphs([source], GraphOptions(language=language, max_nodes=100_000, comments=comments))


def edges_of(graph: RawGraphs, kind: str) -> list[tuple[int, int]]:
    """The edges of one type of the only graph."""
    chosen = graph.edge_types == EDGE_TYPES.index(kind)
    return list(zip(graph.sources[chosen].tolist(), graph.targets[chosen].tolist(), strict=True))


def flow_edges(source: str, language: Literal["c", "cpp"] = "c", comments: bool = False) -> Edges:
    """Control flow by line; several nodes of one line get letters."""
    graph = graph_of(source, language, comments)
    edges = edges_of(graph, "control_flow")
    assert len(set(edges)) == len(edges)
    on_line = defaultdict(list)
    for node in sorted({node for edge in edges for node in edge}):
        on_line[int(graph.lines[node])].append(node)
    names = {
        node: f"{line}{chr(ord('a') + at)}" if len(nodes) > 1 else str(line)
        for line, nodes in on_line.items()
        for at, node in enumerate(nodes)
    }
    return {(names[begin], names[end]) for begin, end in edges}


def data_edges(source: str, language: Literal["c", "cpp"] = "c", comments: bool = False) -> Edges:
    """Data flow by name, line and ordinal among the identifiers of that name on the line."""
    graph = graph_of(source, language, comments)
    edges = edges_of(graph, "data_flow")
    assert len(set(edges)) == len(edges)
    begins = np.append(0, np.cumsum(graph.token_counts))
    same = defaultdict(list)
    for node in np.flatnonzero(graph.node_types == graph.type_names.index("identifier")).tolist():
        name = "_".join(graph.token_names[token] for token in graph.token_ids[begins[node] : begins[node + 1]])
        same[name, int(graph.lines[node])].append(node)
    names = {
        node: f"{name} {line}.{at + 1}" if len(nodes) > 1 else f"{name} {line}"
        for (name, line), nodes in same.items()
        for at, node in enumerate(nodes)
    }
    return {(names[begin], names[end]) for begin, end in edges}


def parse_flow(text: str) -> Edges:
    """``1>2 2>3``."""
    pairs = [edge.split(">") for edge in text.split()]
    return {(begin, end) for begin, end in pairs}


def parse_data(text: str) -> Edges:
    """``a: 1>2 1>3.2; b: 2>3``."""
    found = set()
    for part in filter(str.strip, text.split(";")):
        name, edges = part.split(":")
        found |= {(f"{name.strip()} {begin}", f"{name.strip()} {end}") for begin, end in parse_flow(edges)}
    return found
