"""Graphs as columns of varying length: every node, edge and sub-token of a split, one after the other, with offsets.

Nothing here knows where the graphs come from. A batch of them is a few gathers, whatever its size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counterpoise.data.ragged import Ragged, positions

Offsets = NDArray[np.int64]
Ids = NDArray[np.integer[Any]]

BY_NODE = ("node_types", "lines", "token_counts")
BY_EDGE = ("sources", "targets", "edge_types")


@dataclass(frozen=True)
class Graphs:
    """``N`` graphs with ``n`` nodes, ``e`` edges and ``t`` sub-tokens in all."""

    node_offsets: Offsets
    """Where each graph's nodes begin, and where the last one's end, ``[N + 1]``."""
    edge_offsets: Offsets
    """The same for edges."""
    token_offsets: Offsets
    """The same for sub-tokens."""
    node_types: Ids
    """``[n]``."""
    lines: Ids
    """Line of the text at which a node begins, from 1; 0 where there is no text. ``[n]``."""
    token_counts: Ids
    """Sub-tokens of each node, ``[n]``."""
    token_ids: Ids
    """Sub-tokens of each node, in the nodes' order, ``[t]``."""
    sources: Ids
    """Node that an edge leaves, numbered within its graph, ``[e]``."""
    targets: Ids
    """Node that it enters, ``[e]``."""
    edge_types: Ids
    """``[e]``."""
    node_features: NDArray[np.float32] | None = None
    """Numbers that came with each node, ``[n, F]``."""

    def __len__(self) -> int:
        return len(self.node_offsets) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Nodes of each graph, ``[N]``."""
        return np.diff(self.node_offsets)

    @property
    def edge_counts(self) -> NDArray[np.int64]:
        """Edges of each graph, ``[N]``."""
        return np.diff(self.edge_offsets)

    def take(self, indices: NDArray[np.integer[Any]]) -> Graphs:
        """The graphs at ``indices [B]``, in this order, by one gather a column."""
        (nodes, node_offsets), (edges, edge_offsets), (tokens, token_offsets) = (
            positions(offsets, indices) for offsets in (self.node_offsets, self.edge_offsets, self.token_offsets)
        )
        return Graphs(
            node_offsets,
            edge_offsets,
            token_offsets,
            **{name: getattr(self, name)[nodes] for name in BY_NODE},
            **{name: getattr(self, name)[edges] for name in BY_EDGE},
            token_ids=self.token_ids[tokens],
            node_features=None if self.node_features is None else self.node_features[nodes],
        )

    def in_one(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``sources`` and ``targets`` numbered through all graphs, as for one graph of ``n`` nodes, ``[e]`` each."""
        first = np.repeat(self.node_offsets[:-1], self.edge_counts)
        return self.sources + first, self.targets + first

    def where_edges(self, keep: NDArray[np.bool_]) -> Graphs:
        """The same with those edges only where ``keep [e]`` is true."""
        before = np.concatenate([[0], np.cumsum(keep)])
        columns = {name: getattr(self, name)[keep] for name in BY_EDGE}
        return replace(self, edge_offsets=before[self.edge_offsets], **columns)

    def by_target(self, n_edge_types: int) -> Graphs:
        """The same with the edges of each graph ordered by target, type and source: an adjacency in compressed rows.

        Args:
            n_edge_types: types are below it.
        """
        sources, targets = self.in_one()
        nodes = max(len(self.node_types), 1)
        # One number an edge: far quicker to sort than three keys. 64 bits hold it for 10^8 nodes and 100 types.
        assert nodes * n_edge_types * nodes < 2**63
        order = np.argsort((targets * n_edge_types + self.edge_types) * nodes + sources, kind="stable")
        return replace(self, **{name: getattr(self, name)[order] for name in BY_EDGE})

    def mirrored(self, reverse_types: Sequence[int]) -> Graphs:
        """Every edge and its reverse, in rows by target.

        Args:
            reverse_types: the type of the reverse of each type ``[R]``. A type that is its own reverse is not doubled:
                its edges stand in both directions already.
        """
        mapping = np.asarray(reverse_types)
        doubled = mapping[self.edge_types] != self.edge_types
        owner = np.repeat(np.arange(len(self)), self.edge_counts)
        order = np.argsort(np.concatenate([owner, owner[doubled]]), kind="stable")
        offsets = np.zeros(len(self) + 1, np.int64)
        np.cumsum(self.edge_counts + np.bincount(owner[doubled], minlength=len(self)), out=offsets[1:])

        def joined(there: Ids, back: Ids) -> Ids:
            return np.concatenate([there, back[doubled]])[order]  # in a type that holds both

        both = replace(
            self,
            edge_offsets=offsets,
            sources=joined(self.sources, self.targets),
            targets=joined(self.targets, self.sources),
            edge_types=joined(self.edge_types, mapping[self.edge_types]),
        )
        return both.by_target(len(mapping))

    def is_symmetric(self) -> bool:
        """Whether every edge stands in both directions with the same type."""
        sources, targets = self.in_one()
        nodes = max(len(self.node_types), 1)
        types = self.edge_types.astype(np.int64)
        there = (types * nodes + sources) * nodes + targets
        back = (types * nodes + targets) * nodes + sources
        return bool(np.array_equal(np.sort(there), np.sort(back)))

    def compact(self) -> Graphs:
        """The same in the smallest integers that hold the values: of code graphs, 5 bytes an edge."""
        columns: dict[str, Any] = {name: _compact(getattr(self, name)) for name in (*BY_NODE, *BY_EDGE, "token_ids")}
        return replace(self, **columns)

    def to_arrow(self) -> pa.Table:
        """A row per graph, a list column per column; the smallest integers that hold the values."""
        small = self.compact()
        columns = {
            **{name: Ragged(getattr(small, name), self.node_offsets) for name in BY_NODE},
            **{name: Ragged(getattr(small, name), self.edge_offsets) for name in BY_EDGE},
            "token_ids": Ragged(small.token_ids, self.token_offsets),
        }
        arrays: dict[str, Any] = {name: column.to_arrow() for name, column in columns.items()}
        if self.node_features is not None:
            width = self.node_features.shape[1]
            rows = pa.FixedSizeListArray.from_arrays(pa.array(self.node_features.ravel()), width)
            arrays["node_features"] = pa.LargeListArray.from_arrays(pa.array(self.node_offsets), rows)
        return pa.table(arrays)

    @classmethod
    def from_arrow(cls, table: pa.Table) -> Graphs:
        """View :meth:`to_arrow`'s table without copying it; it may be memory-mapped.

        Raises:
            ValueError: if columns do not belong together, or an edge leads out of its graph.
        """
        table.validate(full=True)  # offsets that lead outside would be read as they are
        found = {name: _ragged(table[name]) for name in (*BY_NODE, *BY_EDGE, "token_ids")}
        for name, column in found.items():
            if not np.issubdtype(column.values.dtype, np.integer):
                raise ValueError(f"the column {name} holds {column.values.dtype}")
        features, offsets = _features(table["node_features"]) if "node_features" in table.column_names else (None, None)
        graphs = cls(
            found["node_types"].offsets,
            found["sources"].offsets,
            found["token_ids"].offsets,
            **{name: column.values for name, column in found.items()},
            node_features=features,
        )
        graphs._check(found)
        if offsets is not None and not np.array_equal(offsets, graphs.node_offsets):
            raise ValueError("the column node_features does not belong to the others")
        return graphs

    def _check(self, columns: Mapping[str, Ragged]) -> None:
        for names, offsets in ((BY_NODE, self.node_offsets), (BY_EDGE, self.edge_offsets)):
            for name in names:
                if not np.array_equal(columns[name].offsets, offsets):
                    raise ValueError(f"the column {name} does not belong to the others")
        if self.node_features is not None and len(self.node_features) != len(self.node_types):
            raise ValueError("the column node_features does not belong to the others")
        tokens = np.add.reduceat(np.append(self.token_counts, 0), self.node_offsets[:-1], dtype=np.int64)
        tokens[self.sizes == 0] = 0
        if not np.array_equal(tokens, np.diff(self.token_offsets)):
            raise ValueError("token_counts do not add up to the sub-tokens")
        sizes = np.repeat(self.sizes, self.edge_counts)
        for ends in (self.sources, self.targets):
            if ((ends < 0) | (ends >= sizes)).any():
                raise ValueError("an edge leads out of its graph")
        if any(getattr(self, name).min(initial=0) < 0 for name in (*BY_NODE, "edge_types", "token_ids")):
            raise ValueError("a column holds a number below zero")

    @property
    def is_by_target(self) -> bool:
        """Whether the edges are in the order of :meth:`by_target`, their sources aside."""
        _, targets = self.in_one()
        types = self.edge_types.astype(np.int64)
        later = np.diff(targets)
        return bool(((later > 0) | ((later == 0) & (np.diff(types) >= 0))).all())


@dataclass(frozen=True)
class NamedGraphs:
    """Graphs as they were made, before a vocabulary numbers their node types and sub-tokens."""

    graphs: Graphs
    """Edges in one direction each, in any order."""
    type_names: Sequence[str]
    """``node_types`` are indices into them."""
    token_names: Sequence[str]
    """``token_ids`` are indices into them."""
    edge_names: Sequence[str]
    """``edge_types`` are indices into them."""
    nodes_before_cut: NDArray[np.int64]
    """Nodes that each text has, ``[N]``; more than it has here where it was cut."""
    parse_errors: NDArray[np.bool_]
    """Texts that could not be parsed as a whole, ``[N]``."""


def join(parts: Sequence[Graphs]) -> Graphs:
    """The graphs of all ``parts``, one part after the other."""

    def offsets(name: str) -> Offsets:
        lengths = [np.diff(getattr(part, name)) for part in parts]
        return np.concatenate([[0], np.cumsum(np.concatenate(lengths))]).astype(np.int64)

    features = [part.node_features for part in parts if part.node_features is not None]
    return Graphs(
        offsets("node_offsets"),
        offsets("edge_offsets"),
        offsets("token_offsets"),
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in (*BY_NODE, *BY_EDGE, "token_ids")},
        node_features=np.concatenate(features) if features else None,
    )


def _compact(values: Ids) -> Ids:
    """The same numbers, none of them negative, in the smallest type."""
    highest = int(values.max(initial=0))
    for kind in (np.uint8, np.uint16, np.int32):
        if highest <= np.iinfo(kind).max:
            return values.astype(kind, copy=False)
    return values.astype(np.int64, copy=False)


def _ragged(column: pa.ChunkedArray) -> Ragged:
    if column.num_chunks > 1 or column.null_count or not pa.types.is_large_list(column.type):
        raise ValueError(f"a column is {column.type}, or in pieces, or has gaps")
    return Ragged.from_arrow(column.chunk(0)) if column.num_chunks else Ragged.from_items([])


def _features(column: pa.ChunkedArray) -> tuple[NDArray[np.float32], Offsets]:
    """The rows of all graphs ``[n, F]``, and where each graph's begin and the last one's end ``[N + 1]``."""
    width = column.type.value_type.list_size
    if not column.num_chunks:
        return np.empty((0, width), np.float32), np.zeros(1, np.int64)
    chunk = column.chunk(0)
    values = chunk.values.flatten().to_numpy(zero_copy_only=True)
    if column.num_chunks > 1 or column.null_count or values.dtype != np.float32:
        raise ValueError(f"the column node_features is {column.type}, or in pieces, or has gaps")
    return values.reshape(-1, width), chunk.offsets.to_numpy()
