"""What holds for every graph, whatever the text, and a slow reference for its nodes."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import tree_sitter_c
import tree_sitter_cpp
from tree_sitter import Language, Node, Parser

from counterpoise.data.code_graphs import EDGE_TYPES, GraphOptions, RawGraphs
from counterpoise.data.sources.demo_code import DemoCode, DemoCodeConfig

DEVIGN = Path(__file__).resolve().parents[4] / "shared" / "data" / "devign" / "valid.jsonl.gz"
PARSERS = {
    "c": Parser(Language(tree_sitter_c.language())),
    "cpp": Parser(Language(tree_sitter_cpp.language())),
}


@dataclass(frozen=True)
class Item:
    """One graph, taken out of its columns."""

    types: list[str]
    lines: list[int]
    tokens: list[list[str]]
    edges: dict[str, list[tuple[int, int]]]
    before_cut: int
    parse_error: bool


def item(graphs: RawGraphs, index: int) -> Item:
    """Graph ``index``, by loops."""
    begin, end = graphs.node_offsets[index : index + 2].tolist()
    at = int(graphs.token_offsets[index])
    tokens = []
    for count in graphs.token_counts[begin:end].tolist():
        tokens.append([graphs.token_names[token] for token in graphs.token_ids[at : at + count]])
        at += count
    assert at == graphs.token_offsets[index + 1]
    edges: dict[str, list[tuple[int, int]]] = {name: [] for name in EDGE_TYPES}
    low, high = graphs.edge_offsets[index : index + 2].tolist()
    for source, target, kind in zip(
        graphs.sources[low:high].tolist(),
        graphs.targets[low:high].tolist(),
        graphs.edge_types[low:high].tolist(),
        strict=True,
    ):
        edges[EDGE_TYPES[kind]].append((source, target))
    return Item(
        types=[graphs.type_names[number] for number in graphs.node_types[begin:end]],
        lines=graphs.lines[begin:end].tolist(),
        tokens=tokens,
        edges=edges,
        before_cut=int(graphs.nodes_before_cut[index]),
        parse_error=bool(graphs.parse_errors[index]),
    )


@dataclass(frozen=True)
class Reference:
    """The uncut nodes of a text by a plain walk over tree-sitter's nodes."""

    kinds: list[str]
    """Without the operator that a type may carry."""
    lines: list[int]
    parents: list[int]
    levels: list[int]
    has_error: bool


def reference(text: str, options: GraphOptions) -> Reference:
    """Walk the tree with a stack: named and missing nodes, in source order."""
    root = PARSERS[options.language].parse(text.encode("utf-8", "replace")).root_node
    found = Reference([], [], [], [], root.has_error)
    stack: list[tuple[Node, int, int]] = [(root, -1, 0)]
    while stack:
        node, parent, level = stack.pop()
        if not (node.is_named or node.is_missing) or (node.type == "comment" and not options.comments):
            continue
        number = len(found.kinds)
        found.kinds.append(f"MISSING {node.type}" if node.is_missing else node.type)
        found.lines.append(node.start_point.row + 1)
        found.parents.append(parent)
        found.levels.append(level)
        stack += [(child, number, level + 1) for child in reversed(node.children)]
    return found


def check_whole(graphs: RawGraphs, count: int, options: GraphOptions) -> None:
    """The invariants of the columns together."""
    for offsets, size in (
        (graphs.node_offsets, len(graphs.node_types)),
        (graphs.edge_offsets, len(graphs.edge_types)),
        (graphs.token_offsets, len(graphs.token_ids)),
    ):
        assert offsets.dtype == np.int64
        assert len(offsets) == count + 1
        assert offsets[0] == 0
        assert offsets[-1] == size
        assert (np.diff(offsets) >= 0).all()
    for name in ("node_types", "lines", "token_counts", "token_ids", "sources", "targets", "edge_types"):
        assert getattr(graphs, name).dtype == np.int32
    sizes = np.diff(graphs.node_offsets)
    assert (sizes == np.minimum(graphs.nodes_before_cut, options.max_nodes)).all()
    assert (sizes >= 1).all()
    owner = np.repeat(np.arange(count), np.diff(graphs.edge_offsets))
    for ends in (graphs.sources, graphs.targets):
        assert (ends >= 0).all()
        assert (ends < sizes[owner]).all()
    first_of_types, first_of_tokens = (
        list(dict.fromkeys(ids.tolist())) for ids in (graphs.node_types, graphs.token_ids)
    )
    assert first_of_types == list(range(len(graphs.type_names)))
    assert first_of_tokens == list(range(len(graphs.token_names)))
    assert len(set(graphs.type_names)) == len(graphs.type_names)
    assert len(set(graphs.token_names)) == len(graphs.token_names)
    key = np.stack([owner, graphs.edge_types, graphs.sources, graphs.targets])
    order = np.lexsort(key[::-1])
    assert (order == np.arange(len(order))).all()
    assert not (np.diff(key, axis=1) == 0).all(axis=0).any()


def check_item(one: Item, text: str, options: GraphOptions) -> None:
    """A graph against the plain walk."""
    expected = reference(text, options)
    order = sorted(range(len(expected.kinds)), key=lambda node: (expected.levels[node], node))
    kept = sorted(order[: options.max_nodes])
    new = {old: number for number, old in enumerate(kept)}
    assert one.before_cut == len(expected.kinds)
    assert one.parse_error == expected.has_error
    for name, old in zip(one.types, kept, strict=True):
        assert name == expected.kinds[old] or name.startswith(expected.kinds[old] + " ")
    assert one.lines == [expected.lines[old] for old in kept]
    child = [(expected.parents[old], old) for old in range(1, len(expected.kinds))]
    rows: dict[int, list[int]] = {}
    for parent, node in child:
        rows.setdefault(parent, []).append(node)
    leaves = [node for node in range(len(expected.kinds)) if node not in rows]
    siblings = [pair for row in rows.values() for pair in pairwise(row)]
    for name, edges in (
        ("child", child),
        ("next_sibling", siblings),
        ("next_token", list(pairwise(leaves))),
    ):
        between = sorted((new[begin], new[end]) for begin, end in edges if begin in new and end in new)
        assert one.edges[name] == between
    assert sorted(end for _, end in one.edges["child"]) == list(range(1, len(kept)))
    assert {one.types[end].split()[0] for pair in one.edges["data_flow"] for end in pair} <= {"identifier"}
    assert all(one.tokens[begin] == one.tokens[end] for begin, end in one.edges["data_flow"])


def demo_functions(count: int) -> list[str]:
    """Functions of the demo set."""
    splits = DemoCode(DemoCodeConfig(size=max(count, 40), long_share=0.1)).load().splits().values()
    return [text for records in splits for text in records.texts][:count]


def devign_functions(count: int) -> list[str]:
    """Real functions; none where they are not at hand."""
    if not DEVIGN.exists():
        return []
    with gzip.open(DEVIGN, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["func"] for line, _ in zip(lines, range(count), strict=False)]
