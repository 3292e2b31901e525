"""Sums over neighbours, in both directions, from one adjacency in compressed rows.

A batch holds every edge and its reverse, ordered by target. The sum over the edges that *leave* a node, which the
backward pass needs, is therefore the sum over the edges that *enter* it, each with the type of its reverse: the same
rows serve both, nothing is transposed and nothing is scattered. Sums are ``embedding_bag``, which reads each row where
it stands; gathering a row per edge first takes ten times as long. All of it is deterministic, on CUDA too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

NEGATIVE_SLOPE = 0.2
"""Of the leaky ReLU in front of the attention's softmax (Veličković et al. 2018)."""
_CHUNK = 4096
"""Edges whose rows are gathered at once where that cannot be avoided; more no longer fit a core's cache."""


@dataclass(frozen=True)
class Adjacency:
    """The edges of a batch, and what is derived from them once for all layers.

    Every edge's reverse is among them, as often as the edge itself.
    """

    nodes: int
    """``n``."""
    sources: Tensor
    """``[e]``, int64."""
    targets: Tensor
    """``[e]``, ascending."""
    types: Tensor
    """``[e]``, ascending within a target; of equal ones sources are."""
    reverse_types: Tensor
    """The type of the reverse of each type, ``[R]``."""
    typed: Adjacency | None = None
    """Of one without types: the one with them, by which its edges are still ordered."""

    @property
    def n_types(self) -> int:
        """``R``."""
        return len(self.reverse_types)

    @cached_property
    def pointers(self) -> Tensor:
        """Where the edges of each target begin, and where the last one's end, ``[n + 1]``."""
        return pointers(self.targets, self.nodes)

    @cached_property
    def degrees(self) -> Tensor:
        """Edges that enter each node, ``[n]``."""
        return self.pointers.diff()

    @cached_property
    def rows(self) -> Tensor:
        """Target and type of each edge as one number, ``[e]``, ascending."""
        return self.targets * self.n_types + self.types

    @cached_property
    def row_pointers(self) -> Tensor:
        """Where the edges of each (target, type) begin, and where the last one's end, ``[n * R + 1]``."""
        return pointers(self.rows, self.nodes * self.n_types)

    @cached_property
    def type_counts(self) -> Tensor:
        """Edges of each type that enter each node, ``[n, R]``."""
        return self.row_pointers.diff().view(self.nodes, self.n_types)

    @cached_property
    def reverse_rows(self) -> Tensor:
        """Target and type of each edge's reverse as one number, ``[e]``."""
        return self.sources * self.n_types + self.reverse_types[self.types]

    @cached_property
    def reverse_edges(self) -> Tensor:
        """The number of each edge's reverse, ``[e]``; of equal edges each has one of its own."""
        if self.typed is not None:
            return self.typed.reverse_edges
        # The edges stand in the order of (target, type, source); by (source, reverse type, target) their reverses do.
        return torch.sort(self.reverse_rows, stable=True).indices

    @cached_property
    def loops(self) -> Tensor:
        """Which edges lead from a node to itself, ``[e]``."""
        return self.sources == self.targets

    @cached_property
    def loop_counts(self) -> Tensor:
        """Edges from each node to itself, ``[n]``."""
        return torch.zeros_like(self.pointers[1:]).index_add_(0, self.targets, self.loops.long())

    @cached_property
    def numbers(self) -> Tensor:
        """``0 .. e - 1``."""
        return torch.arange(len(self.sources), device=self.sources.device)

    @cached_property
    def type_shares(self) -> Tensor:
        """Share of each type among the edges that enter each node from others, float64 ``[n, R]``; zero without any."""
        counts = torch.zeros_like(self.row_pointers[1:]).index_add_(0, self.rows, (~self.loops).long())
        counts = counts.view(self.nodes, self.n_types)
        return counts.double() / counts.sum(1, keepdim=True).clamp(min=1)

    def sum_of_edges(self, values: Tensor) -> Tensor:
        """Sums of ``values [e, H]`` over the edges that enter each node, ``[n, H]``."""
        return bag(values, self.numbers, self.pointers)

    def of_heads(self, heads: int) -> tuple[Tensor, Tensor]:
        """Sources ``[H * e]`` and pointers ``[H * n + 1]`` of as many copies of the graph, one after the other."""
        if heads not in self._of_heads:
            copies = torch.arange(heads, device=self.sources.device)[:, None]
            sources = (self.sources + copies * self.nodes).flatten()
            ends = (self.pointers[1:] + copies * len(self.sources)).flatten()
            self._of_heads[heads] = sources, F.pad(ends, (1, 0))
        return self._of_heads[heads]

    @cached_property
    def _of_heads(self) -> dict[int, tuple[Tensor, Tensor]]:
        return {}

    @cached_property
    def by_type(self) -> list[TypedEdges]:
        """The edges of each type on its own, ``R`` of them. On CUDA the host would have to wait for it."""
        return list(_by_type(self))

    def untyped(self) -> Adjacency:
        """The same edges without their types."""
        return Adjacency(
            self.nodes,
            self.sources,
            self.targets,
            torch.zeros_like(self.types),
            torch.zeros_like(self.reverse_types[:1]),
            typed=self,
        )


class TypedEdges(NamedTuple):
    """The edges of one type, and the nodes that they enter, ``n_r`` of them."""

    targets: Tensor
    """Those nodes, ascending, ``[n_r]``."""
    sources: Tensor
    """Nodes that the edges leave, by target, ``[e_r]``."""
    pointers: Tensor
    """Where the edges of each target begin, and where the last one's end, ``[n_r + 1]``."""
    opposite: Tensor
    """Where each source stands among the targets of the reverse type, ``[e_r]``."""


def _by_type(adjacency: Adjacency) -> Iterator[TypedEdges]:
    n_types, nodes = adjacency.n_types, adjacency.nodes
    small = adjacency.types.to(torch.uint8) if n_types <= 256 else adjacency.types
    order = torch.sort(small, stable=True).indices
    types, targets, sources = (values[order] for values in (adjacency.types, adjacency.targets, adjacency.sources))
    place = types * nodes + targets
    first = torch.ones_like(place, dtype=torch.bool)
    torch.ne(place[1:], place[:-1], out=first[1:])
    starts = first.nonzero().flatten()
    of_type = types[starts]
    edge_ends = torch.bincount(types, minlength=n_types).cumsum(0).tolist()
    row_ends = torch.bincount(of_type, minlength=n_types).cumsum(0).tolist()
    # The place of a target among those of its type, found by its type and number.
    rank = torch.empty(n_types * nodes, dtype=torch.int64, device=place.device)
    rank[place[starts]] = torch.arange(len(starts), device=place.device)
    reverse = adjacency.reverse_types
    opposite = rank[reverse[types] * nodes + sources]
    reversed_type = reverse.tolist()
    edge_begin = row_begin = 0
    for kind, (edge_end, row_end) in enumerate(zip(edge_ends, row_ends, strict=True)):
        rows, edges = slice(row_begin, row_end), slice(edge_begin, edge_end)
        before = row_ends[reversed_type[kind] - 1] if reversed_type[kind] else 0
        ends = F.pad(starts[rows] - edge_begin, (0, 1), value=edge_end - edge_begin)
        yield TypedEdges(targets[starts[rows]], sources[edges], ends, opposite[edges] - before)
        edge_begin, row_begin = edge_end, row_end


def pointers(ascending: Tensor, count: int) -> Tensor:
    """Where each number below ``count`` begins in ``ascending [e]``, and where the last one ends, ``[count + 1]``."""
    found = torch.zeros(count + 1, dtype=torch.int64, device=ascending.device)
    # Not bincount: on CUDA the host would wait for its result. The sums are of integers, so their order is no matter.
    found.scatter_add_(0, ascending + 1, torch.ones_like(ascending))
    return found.cumsum(0)


def bag(rows: Tensor, indices: Tensor, offsets: Tensor, weights: Tensor | None = None, *, mode: str = "sum") -> Tensor:
    """Sums (or means) of ``rows`` at ``indices [e]``, from each of the ``offsets [k + 1]`` to the next, ``[k, D]``."""
    return F.embedding_bag(
        indices, rows, offsets, mode=mode, include_last_offset=True, per_sample_weights=weights
    )  # empty bags are zero


def apply(function: Any, *arguments: Any) -> Any:
    """``function.apply``, which PyTorch leaves untyped."""
    return function.apply(*arguments)


def common_dtype(*values: Tensor) -> tuple[Tensor, ...]:
    """The values in the dtype that a matrix product would have here: autocast's, where that is on."""
    kind = values[0].device.type
    dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else values[0].dtype
    return tuple(value.to(dtype) for value in values)


def neighbour_sum(states: Tensor, adjacency: Adjacency) -> Tensor:
    """``Σ states[source]`` over the edges that enter each node, ``[n, D]``."""
    result: Tensor = apply(_NeighbourSum, *common_dtype(states), adjacency)
    return result


class _NeighbourSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, states: Tensor, adjacency: Adjacency) -> Tensor:
        ctx.adjacency = adjacency
        return bag(states.contiguous(), adjacency.sources, adjacency.pointers)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return bag(gradient.contiguous(), ctx.adjacency.sources, ctx.adjacency.pointers), None


def relational_product(states: Tensor, weight: Tensor, adjacency: Adjacency, *, mean: bool) -> Tensor:
    """``Σ_r aggregate(states[source] over the edges of type r) @ weight[r]`` for each node, ``[n, D']``.

    Args:
        states: ``[n, D]``.
        weight: ``[R, D, D']``.
        adjacency: the edges.
        mean: of the neighbours of each type; else their sum.
    """
    if adjacency.n_types == 1:
        total = neighbour_sum(states @ weight[0], adjacency)
        return total / adjacency.degrees.clamp(min=1)[:, None] if mean else total
    product = _GroupedProduct if states.device.type == "cpu" else _DenseProduct
    result: Tensor = apply(product, *common_dtype(states, weight), adjacency, mean)
    return result


class _GroupedProduct(torch.autograd.Function):
    """Type by type, for those nodes only that an edge of the type enters: few do, and the rows stay in the cache.

    What the neighbours of each type come to is not kept for the backward pass: summing again is quicker than memory.
    """

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, adjacency: Adjacency, mean: bool) -> Tensor:
        states = states.contiguous()
        ctx.adjacency, ctx.mode = adjacency, "mean" if mean else "sum"
        ctx.save_for_backward(states, weight)
        result = states.new_zeros(adjacency.nodes, weight.shape[2])
        for edges, matrix in zip(adjacency.by_type, weight, strict=True):
            if len(edges.targets):
                collected = bag(states, edges.sources, edges.pointers, mode=ctx.mode)
                result.index_add_(0, edges.targets, collected @ matrix)  # each target once: no order to depend on
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        states, weight = ctx.saved_tensors
        by_type = ctx.adjacency.by_type
        of_states, of_weight = torch.zeros_like(states), torch.zeros_like(weight)
        for kind, reverse in enumerate(ctx.adjacency.reverse_types.tolist()):
            edges, back = by_type[kind], by_type[reverse]
            if not len(edges.targets):
                continue
            collected = bag(states, edges.sources, edges.pointers, mode=ctx.mode)
            arrived = gradient.index_select(0, edges.targets)
            torch.mm(collected.t(), arrived, out=of_weight[kind])
            arrived = arrived @ weight[kind].t()
            if ctx.mode == "mean":
                arrived /= edges.pointers.diff()[:, None]
            of_states.index_add_(0, back.targets, bag(arrived, back.opposite, back.pointers))
        return of_states, of_weight, None, None


class _DenseProduct(torch.autograd.Function):
    """All types in one product over ``[n, R * D]``, most of which is zero: no size has to be known to the host."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, weight: Tensor, adjacency: Adjacency, mean: bool) -> Tensor:
        states = states.contiguous()
        ctx.adjacency, ctx.mode = adjacency, "mean" if mean else "sum"
        ctx.save_for_backward(states, weight)
        return _collected(states, adjacency, ctx.mode) @ weight.flatten(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        (states, weight), adjacency = ctx.saved_tensors, ctx.adjacency
        of_weight = (_collected(states, adjacency, ctx.mode).t() @ gradient).view_as(weight)
        arrived = (gradient @ weight.flatten(0, 1).t()).view(-1, states.shape[1])
        if ctx.mode == "mean":
            arrived /= adjacency.type_counts.clamp(min=1).view(-1, 1)
        return bag(arrived, adjacency.reverse_rows, adjacency.pointers), of_weight, None, None


def _collected(states: Tensor, adjacency: Adjacency, mode: str) -> Tensor:
    rows = bag(states, adjacency.sources, adjacency.row_pointers, mode=mode)
    return rows.view(adjacency.nodes, adjacency.n_types * states.shape[1])


def edge_attention(
    of_source: Tensor, of_target: Tensor, of_type: Tensor | None, adjacency: Adjacency
) -> tuple[Tensor, Tensor]:
    """Attention of each node over the edges that enter it and over itself, softmax behind a leaky ReLU.

    Edges from a node to itself have none. A node attends to itself as over an edge of its other edges' mean type.

    Args:
        of_source: what a node adds as a source to the score of each head, ``[n, H]``.
        of_target: the same as a target, ``[n, H]``.
        of_type: what a type adds, ``[R, H]``, if types are told apart.
        adjacency: the edges.

    Returns:
        the weights of edges ``[e, H]`` and of each node for itself ``[n, H]``, which add up to one at each node.
    """
    result: tuple[Tensor, Tensor] = apply(_EdgeAttention, of_source, of_target, of_type, adjacency)
    return result


class _EdgeAttention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, of_source: Tensor, of_target: Tensor, of_type: Tensor | None, adjacency: Adjacency
    ) -> tuple[Tensor, Tensor]:
        ctx.adjacency, ctx.typed = adjacency, of_type is not None
        scores = of_source.index_select(0, adjacency.sources) + of_target.index_select(0, adjacency.targets)
        own = of_source + of_target
        if of_type is not None:
            scores += of_type.index_select(0, adjacency.types)
            own = own + adjacency.type_shares.to(own.dtype) @ of_type
        leaks, own_leaks = scores < 0, own < 0
        scores, own = (F.leaky_relu(value, NEGATIVE_SLOPE) for value in (scores, own))
        scores.masked_fill_(adjacency.loops[:, None], float("-inf"))
        highest = torch.segment_reduce(scores, "max", offsets=adjacency.pointers, unsafe=True) if len(scores) else own
        highest = torch.maximum(highest, own)
        scores = (scores - highest.index_select(0, adjacency.targets)).exp_()
        own = (own - highest).exp_()
        total = adjacency.sum_of_edges(scores) + own
        scores /= total.index_select(0, adjacency.targets)
        own /= total
        ctx.save_for_backward(scores, own, leaks, own_leaks)
        return scores, own

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor, own_gradient: Tensor) -> tuple[Tensor, Tensor, Tensor | None, None]:
        (weights, own, leaks, own_leaks), adjacency = ctx.saved_tensors, ctx.adjacency
        mean = adjacency.sum_of_edges(weights * gradient) + own * own_gradient
        edges = weights * (gradient - mean.index_select(0, adjacency.targets))
        edges = torch.where(leaks, edges * NEGATIVE_SLOPE, edges)
        nodes = own * (own_gradient - mean)
        nodes = torch.where(own_leaks, nodes * NEGATIVE_SLOPE, nodes)
        of_source = bag(edges, adjacency.reverse_edges, adjacency.pointers) + nodes
        of_target = adjacency.sum_of_edges(edges) + nodes
        if not ctx.typed:
            return of_source, of_target, None, None
        by_row = bag(edges, adjacency.numbers, adjacency.row_pointers)
        of_type = by_row.view(adjacency.nodes, adjacency.n_types, -1).sum(0)
        return of_source, of_target, of_type + adjacency.type_shares.to(nodes.dtype).t() @ nodes, None


def weighted_sum(values: Tensor, weights: Tensor, adjacency: Adjacency) -> Tensor:
    """``Σ weight[edge, head] * values[head, source]`` over the edges that enter each node, ``[H, n, C]``.

    Args:
        values: ``[H, n, C]``.
        weights: ``[e, H]``.
        adjacency: the edges.
    """
    result: Tensor = apply(_WeightedSum, values, weights.to(values.dtype), adjacency)
    return result


class _WeightedSum(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, weights: Tensor, adjacency: Adjacency) -> Tensor:
        values = values.contiguous()
        ctx.adjacency = adjacency
        ctx.save_for_backward(values, weights)
        return _weighted_bags(values, weights, adjacency)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        (values, weights), adjacency = ctx.saved_tensors, ctx.adjacency
        gradient = gradient.contiguous()
        of_values = _weighted_bags(gradient, weights.index_select(0, adjacency.reverse_edges), adjacency)
        of_weights = torch.empty_like(weights)
        size = _CHUNK if values.device.type == "cpu" else max(len(weights), 1)
        for start in range(0, len(weights), size):
            chunk = slice(start, start + size)
            arrived = gradient.index_select(1, adjacency.targets[chunk])
            left = values.index_select(1, adjacency.sources[chunk])
            of_weights[chunk] = (arrived * left).sum(-1).t()
        return of_values, of_weights, None


def _weighted_bags(values: Tensor, weights: Tensor, adjacency: Adjacency) -> Tensor:
    sources, offsets = adjacency.of_heads(len(values))
    return bag(values.flatten(0, 1), sources, offsets, weights.t().flatten()).view_as(values)
