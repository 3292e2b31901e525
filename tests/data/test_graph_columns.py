"""Graphs as columns: every gather against a plain loop, and every damage that a file can have."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.data.graphs import BY_EDGE, BY_NODE, Graphs, join

unhurried = settings(deadline=None, max_examples=60)  # the first example imports what the others use
N_TYPES = 3
Edge = tuple[int, int, int]


class Plain(NamedTuple):
    """A graph as Python has it."""

    nodes: list[tuple[int, int, list[int], tuple[float, float]]]
    """Type, line, sub-tokens and features of each."""
    edges: list[Edge]
    """Source, target and type."""


@st.composite
def plain_graphs(draw: st.DrawFn, *, least: int = 0) -> list[Plain]:
    count = draw(st.integers(least, 4))
    found = []
    for _ in range(count):
        size = draw(st.integers(0, 4))
        end = st.integers(0, size - 1)
        edges = draw(st.lists(st.tuples(end, end, st.integers(0, N_TYPES - 1)), max_size=6)) if size else []
        node = st.tuples(
            st.integers(0, 300),
            st.integers(0, 70_000),
            st.lists(st.integers(0, 9), max_size=3),
            st.tuples(st.sampled_from([0.5, -1.0]), st.just(2.0)),
        )
        found.append(Plain(draw(st.lists(node, min_size=size, max_size=size)), edges))
    return found


def built(items: list[Plain], *, features: bool = False) -> Graphs:
    nodes, edges = [n for g in items for n in g.nodes], [e for g in items for e in g.edges]

    def offsets(lengths: list[int]) -> Any:
        return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    def column(values: list[int]) -> Any:
        return np.array(values, np.int64)

    return Graphs(
        offsets([len(g.nodes) for g in items]),
        offsets([len(g.edges) for g in items]),
        offsets([sum(len(n[2]) for n in g.nodes) for g in items]),
        node_types=column([n[0] for n in nodes]),
        lines=column([n[1] for n in nodes]),
        token_counts=column([len(n[2]) for n in nodes]),
        token_ids=column([t for n in nodes for t in n[2]]),
        sources=column([e[0] for e in edges]),
        targets=column([e[1] for e in edges]),
        edge_types=column([e[2] for e in edges]),
        node_features=np.array([n[3] for n in nodes], np.float32).reshape(-1, 2) if features else None,
    )


def plain(graphs: Graphs) -> list[Plain]:
    found, token = [], 0
    for index in range(len(graphs)):
        nodes = []
        for node in range(*graphs.node_offsets[index : index + 2]):
            count = int(graphs.token_counts[node])
            tokens = [int(value) for value in graphs.token_ids[token : token + count]]
            token += count
            numbers = (0.0, 0.0) if graphs.node_features is None else tuple(graphs.node_features[node].tolist())
            nodes.append((int(graphs.node_types[node]), int(graphs.lines[node]), tokens, numbers))
        edges = range(*graphs.edge_offsets[index : index + 2])
        columns = [getattr(graphs, name) for name in BY_EDGE]
        found.append(Plain(nodes, [tuple(int(column[edge]) for column in columns) for edge in edges]))  # type: ignore[misc]
    return found


def without_features(items: list[Plain]) -> list[Plain]:
    return [Plain([(*node[:3], (0.0, 0.0)) for node in item.nodes], item.edges) for item in items]


@unhurried
@given(plain_graphs(least=1), st.lists(st.integers(0, 100), max_size=5), st.booleans())
def test_take_is_indexing(items: list[Plain], chosen: list[int], features: bool) -> None:
    indices = [index % len(items) for index in chosen]
    taken = built(items, features=features).take(np.array(indices, np.int64))
    expected = [items[index] for index in indices]
    assert plain(taken) == (expected if features else without_features(expected))
    assert taken.sizes.tolist() == [len(item.nodes) for item in expected]
    assert taken.edge_counts.tolist() == [len(item.edges) for item in expected]


@unhurried
@given(plain_graphs())
def test_in_one_numbers_nodes_through_all_graphs(items: list[Plain]) -> None:
    sources, targets = built(items).in_one()
    first = np.cumsum([0, *(len(item.nodes) for item in items)]).tolist()
    pairs = [(first[i] + s, first[i] + t) for i, item in enumerate(items) for s, t, _ in item.edges]
    assert list(zip(sources.tolist(), targets.tolist(), strict=True)) == pairs


@unhurried
@given(plain_graphs())
def test_by_target_sorts_the_edges_of_each_graph(items: list[Plain]) -> None:
    ordered = plain(built(items).by_target(N_TYPES))
    for found, item in zip(ordered, items, strict=True):
        assert found.edges == sorted(item.edges, key=lambda edge: (edge[1], edge[2], edge[0]))


# Types 0 and 1 get reverses of their own; type 2 stands in both directions already.
@unhurried
@given(plain_graphs())
def test_mirrored_adds_the_reverse_of_each_edge(items: list[Plain]) -> None:
    reverse = [3, 4, 2, 0, 1]
    found = plain(built(items).mirrored(reverse))
    for both, item in zip(found, items, strict=True):
        expected = item.edges + [(target, source, reverse[kind]) for source, target, kind in item.edges if kind != 2]
        assert both.edges == sorted(expected, key=lambda edge: (edge[1], edge[2], edge[0]))
        assert [node[:3] for node in both.nodes] == [node[:3] for node in item.nodes]


@unhurried
@given(plain_graphs())
def test_symmetric_graphs(items: list[Plain]) -> None:
    def symmetric(edges: list[Edge]) -> bool:
        return sorted(edges) == sorted((target, source, kind) for source, target, kind in edges)

    assert built(items).is_symmetric() == all(symmetric(item.edges) for item in items)
    doubled = [Plain(i.nodes, i.edges + [(t, s, k) for s, t, k in i.edges]) for i in items]
    assert built(doubled).is_symmetric()


@unhurried
@given(plain_graphs(), st.data())
def test_where_edges_keeps_those(items: list[Plain], data: st.DataObject) -> None:
    total = sum(len(item.edges) for item in items)
    keep = data.draw(st.lists(st.booleans(), min_size=total, max_size=total))
    found = plain(built(items).where_edges(np.array(keep, bool)))
    flags = iter(keep)
    for left, item in zip(found, items, strict=True):
        assert left.edges == [edge for edge in item.edges if next(flags)]


@unhurried
@given(plain_graphs(), st.booleans())
def test_arrow_and_back(items: list[Plain], features: bool) -> None:
    graphs = built(items, features=features)
    table = graphs.to_arrow()
    assert table.num_rows == len(items)
    back = Graphs.from_arrow(table)
    assert plain(back) == plain(graphs)
    assert (back.node_features is None) == (graphs.node_features is None)
    for name in (*BY_NODE, *BY_EDGE, "token_ids"):
        assert getattr(back, name).dtype.itemsize <= 4  # the smallest that holds the values
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    reread = Graphs.from_arrow(pa.ipc.open_file(pa.py_buffer(sink.getvalue())).read_all())
    assert plain(reread) == plain(graphs)


def test_columns_are_as_wide_as_their_values() -> None:
    graphs = built([Plain([(300, 70_000, [], (0.0, 0.0)), (1, 0, [9], (0.0, 0.0))], [(0, 1, 2)])])
    back = Graphs.from_arrow(graphs.to_arrow())
    kinds = {name: getattr(back, name).dtype.name for name in ("node_types", "lines", "token_ids", "sources")}
    assert kinds == {"node_types": "uint16", "lines": "int32", "token_ids": "uint8", "sources": "uint8"}


@unhurried
@given(plain_graphs(least=1), plain_graphs(least=1), st.booleans())
def test_join_is_one_after_the_other(first: list[Plain], second: list[Plain], features: bool) -> None:
    joined = join([built(first, features=features), built(second, features=features)])
    expected = first + second
    assert plain(joined) == (expected if features else without_features(expected))
    assert plain(join([built(first)])) == without_features(first)


TWO = [
    Plain([(1, 1, [4], (0.5, 2.0)), (2, 1, [], (0.5, 2.0)), (3, 2, [5, 6], (0.5, 2.0))], [(0, 1, 0), (2, 0, 1)]),
    Plain([(1, 1, [7], (0.5, 2.0))], []),
]


def changed(name: str, rows: list[Any]) -> pa.Table:
    table = built(TWO, features=True).to_arrow()
    at = table.column_names.index(name)
    return table.set_column(at, name, pa.array(rows, table.schema.field(name).type))


DAMAGE: dict[str, tuple[str, list[Any], str]] = {
    "a node more": ("node_types", [[1, 2, 3, 4], [1]], "does not belong"),
    "a line less": ("lines", [[1, 1], [1]], "lines does not belong"),
    "a line in the other graph": ("lines", [[1, 1], [2, 1]], "lines does not belong"),
    "a target less": ("targets", [[1], []], "targets does not belong"),
    "an edge type more": ("edge_types", [[0, 1, 1], []], "edge_types does not belong"),
    "a source out of its graph": ("sources", [[0, 3], []], "leads out of its graph"),
    "a target out of its graph": ("targets", [[1, 200], []], "leads out of its graph"),
    "a sub-token less": ("token_ids", [[4, 5], [7]], "do not add up"),
    "a sub-token in the other graph": ("token_ids", [[4, 5], [6, 7]], "do not add up"),
    "a count more": ("token_counts", [[1, 1, 2], [1]], "do not add up"),
    "a row of features less": ("node_features", [[[0.5, 2.0]] * 2, [[0.5, 2.0]]], "node_features does not belong"),
}


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_refused(name: str) -> None:
    column, rows, message = DAMAGE[name]
    with pytest.raises(ValueError, match=message):
        Graphs.from_arrow(changed(column, rows))


def test_rows_of_features_in_the_wrong_graph_are_refused() -> None:
    with pytest.raises(ValueError, match="node_features does not belong"):
        Graphs.from_arrow(changed("node_features", [[[0.5, 2.0]] * 2, [[0.5, 2.0]] * 2]))


@pytest.mark.parametrize("name", [*BY_NODE, *BY_EDGE, "token_ids"])
def test_a_column_that_is_missing_is_refused(name: str) -> None:
    with pytest.raises(KeyError):
        Graphs.from_arrow(built(TWO).to_arrow().drop_columns([name]))


def test_offsets_that_lead_outside_are_refused() -> None:
    table = built(TWO).to_arrow()
    column = table["sources"].chunk(0)
    broken = pa.LargeListArray.from_buffers(
        column.type, 2, [None, pa.py_buffer(np.array([0, 5, 2], np.int64))], children=[column.values]
    )
    table = table.set_column(table.column_names.index("sources"), "sources", broken)
    with pytest.raises((ValueError, pa.ArrowInvalid)):
        Graphs.from_arrow(table)


def test_negative_ends_are_refused() -> None:
    table = built(TWO).to_arrow()
    signed = pa.array([[0, -1], []], pa.large_list(pa.int32()))
    table = table.set_column(table.column_names.index("sources"), "sources", signed)
    with pytest.raises(ValueError, match="leads out of its graph"):
        Graphs.from_arrow(table)


@unhurried
@given(plain_graphs())
def test_two_batches_of_the_same_graphs_are_the_same(items: list[Plain]) -> None:
    graphs = built(items).by_target(N_TYPES)
    everything = graphs.take(np.arange(len(items)))
    for name in (*BY_NODE, *BY_EDGE, "token_ids", "node_offsets", "edge_offsets", "token_offsets"):
        np.testing.assert_array_equal(getattr(everything, name), getattr(graphs, name))


# Each column is stored as small as its values allow: a reverse edge has to hold both ends.
@pytest.mark.parametrize("nodes", [300, 66_000])
def test_reverses_of_edges_from_low_to_high_numbers(nodes: int) -> None:
    leaves = np.arange(1, nodes)
    star = Graphs(
        node_offsets=np.array([0, nodes]),
        edge_offsets=np.array([0, nodes - 1]),
        token_offsets=np.array([0, 0]),
        node_types=np.zeros(nodes, np.int64),
        lines=np.zeros(nodes, np.int64),
        token_counts=np.zeros(nodes, np.int64),
        token_ids=np.zeros(0, np.int64),
        sources=np.zeros(nodes - 1, np.int64),
        targets=leaves,
        edge_types=np.zeros(nodes - 1, np.int64),
    ).compact()
    assert star.sources.dtype != star.targets.dtype
    both = star.mirrored([1, 0])
    back = both.edge_types == 1
    assert both.sources[back].tolist() == leaves.tolist()
    assert not both.targets[back].any()
    assert both.targets[~back].tolist() == leaves.tolist()
