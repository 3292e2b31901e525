"""Graphs of any text, where nothing parses it: words in their order, joined to the words near them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.graphs import Graphs, NamedGraphs
from counterpoise.data.ragged import positions
from counterpoise.data.words import UNSPACED

KINDS = ("word", "number", "punctuation", "empty")
"""Types of nodes; the last is the single node of a text without any token."""
_TOKEN = re.compile(rf"([^\W\d{UNSPACED}][^\W{UNSPACED}]*|(?![\W\d])[{UNSPACED}])|(\d[^\W{UNSPACED}]*)|([^\w\s])|(\n)")
_LINE = 4
"""The group that counts lines."""


def window_graphs(texts: Sequence[str], *, window: int, max_nodes: int) -> NamedGraphs:
    """A node for each word, number and punctuation mark; never fails.

    Its sub-token is what stands there, in lower case. An edge leads from each node to the next ``window`` ones, of a
    type for each distance (``next 1``, ``next 2``, ...), and one of the type ``same word`` to where the same word, or
    the same number, stands next.

    Args:
        texts: ``N`` of them.
        window: largest distance that is joined, at least one.
        max_nodes: of a longer text the first tokens are kept.

    Returns:
        ``N`` graphs with at least one node each; a text without any token is a node of type ``empty``.
    """
    names: dict[str, int] = {}
    sizes, before = np.empty(len(texts), np.int64), np.empty(len(texts), np.int64)
    kinds: list[int] = []
    lines: list[int] = []
    tokens: list[int] = []
    for index, text in enumerate(texts):
        first, line, found = len(kinds), 1, 0
        for match in _TOKEN.finditer(text):
            group = match.lastindex
            if group == _LINE:
                line += 1
                continue
            found += 1
            if found <= max_nodes:
                kinds.append((group or 1) - 1)
                lines.append(line)
                tokens.append(names.setdefault(match.group().lower(), len(names)))
        if not found:
            kinds.append(KINDS.index("empty"))
            lines.append(1)
            tokens.append(-1)
        sizes[index], before[index] = len(kinds) - first, max(found, 1)
    node_types, token_ids = np.array(kinds, np.int32), np.array(tokens, np.int32)
    offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    sources, targets, types, counts = _edges(offsets, node_types, token_ids, window)
    named = token_ids >= 0
    owners = np.repeat(np.arange(len(texts)), sizes)
    graphs = Graphs(
        offsets,
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([[0], np.cumsum(np.bincount(owners[named], minlength=len(texts)))]).astype(np.int64),
        node_types=node_types,
        lines=np.array(lines, np.int32),
        token_counts=named.astype(np.int32),
        token_ids=token_ids[named],
        sources=sources,
        targets=targets,
        edge_types=types,
    )
    edge_names = [*(f"next {distance}" for distance in range(1, window + 1)), "same word"]
    return NamedGraphs(graphs, KINDS, list(names), edge_names, before, np.zeros(len(texts), bool))


def _edges(
    offsets: NDArray[np.int64], kinds: NDArray[np.int32], tokens: NDArray[np.int32], window: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Sources and targets within their graph, types, all in the order of graphs, and edges of each graph."""
    sizes = np.diff(offsets)
    owners = np.repeat(np.arange(len(sizes)), sizes)
    parts = [_next(offsets, distance) for distance in range(1, window + 1)]
    parts.append(_same(owners, kinds, tokens))
    sources, targets = (np.concatenate([part[side] for part in parts]) for side in range(2))
    types = np.repeat(np.arange(window + 1), [len(part[0]) for part in parts])
    owner = owners[sources]
    order = np.argsort(owner, kind="stable")
    first = offsets[owner[order]]
    counts = np.bincount(owner, minlength=len(sizes))
    return sources[order] - first, targets[order] - first, types[order], counts


def _next(offsets: NDArray[np.int64], distance: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """All nodes that have one ``distance`` further on in their graph, and those."""
    ends = np.maximum(offsets[1:] - distance, offsets[:-1])
    both = np.stack([offsets[:-1], ends], axis=1).reshape(-1)
    sources, _ = positions(both, 2 * np.arange(len(ends)))
    return sources, sources + distance


def _same(
    owners: NDArray[np.int64], kinds: NDArray[np.int32], tokens: NDArray[np.int32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each word or number, and where the same one stands next in its graph."""
    wordy = np.flatnonzero(kinds <= KINDS.index("number"))
    order = wordy[np.lexsort((tokens[wordy], owners[wordy]))]  # stable: of the same word in the text's order
    joined = (owners[order][1:] == owners[order][:-1]) & (tokens[order][1:] == tokens[order][:-1])
    return order[:-1][joined], order[1:][joined]
