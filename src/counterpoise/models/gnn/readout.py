"""From the states of a graph's nodes to one vector."""

from __future__ import annotations

from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from counterpoise.models.gnn.adjacency import apply, bag

Pooling = Literal["mean", "max", "sum", "mean_max", "attention"]


class Readout(nn.Module):
    """Pools the nodes of each graph. Sums are in float32 at least, so that large graphs lose nothing.

    Args:
        pooling: ``attention`` is the mean weighed by a softmax over a learnt score of each node (Li et al. 2016).
        width: of a node's state.
    """

    def __init__(self, pooling: Pooling, width: int) -> None:
        super().__init__()
        self.pooling = pooling
        self.width = 2 * width if pooling == "mean_max" else width
        self.score = nn.Linear(width, 1) if pooling == "attention" else None

    def forward(self, states: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor | None]:
        """States ``[n, D]`` of graphs with ``sizes [B]`` nodes to vectors ``[B, width]``.

        With ``attention`` also the weight of each node ``[n]``; a graph's add up to one.
        """
        exact = states if states.dtype == torch.float64 else states.float()
        offsets = F.pad(sizes.cumsum(0), (1, 0))
        if self.score is not None:
            weights = _graph_softmax(self.score(states).to(exact.dtype), sizes, offsets)
            return apply(_GraphSum, exact * weights, sizes, offsets), weights.flatten()
        found = []
        if self.pooling in ("mean", "sum", "mean_max"):
            total = apply(_GraphSum, exact, sizes, offsets)
            found.append(total if self.pooling == "sum" else total / sizes[:, None])
        if self.pooling in ("max", "mean_max"):
            found.append(apply(_GraphMax, exact, offsets))
        return torch.cat(found, dim=1), None


def _graph_softmax(scores: Tensor, sizes: Tensor, offsets: Tensor) -> Tensor:
    """Softmax of ``scores [n, 1]`` within each graph."""
    with torch.no_grad():
        highest = torch.segment_reduce(scores, "max", offsets=offsets, unsafe=True)
        owner = _owners(sizes, len(scores))
    powers = (scores - highest.index_select(0, owner)).exp()
    total = apply(_GraphSum, powers, sizes, offsets)
    of_nodes: Tensor = apply(_OfNodes, total, sizes, offsets, len(scores))
    return powers / of_nodes


def _owners(sizes: Tensor, nodes: int) -> Tensor:
    """The graph of each node, ``[n]``."""
    return torch.arange(len(sizes), device=sizes.device).repeat_interleave(sizes, output_size=nodes)


class _GraphSum(torch.autograd.Function):
    """Sums over the nodes of each graph, ``[n, D]`` to ``[B, D]``."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, sizes: Tensor, offsets: Tensor) -> Tensor:
        ctx.sizes, ctx.nodes = sizes, len(states)
        return bag(states.contiguous(), torch.arange(len(states), device=states.device), offsets)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient.index_select(0, _owners(ctx.sizes, ctx.nodes)), None, None


class _OfNodes(torch.autograd.Function):
    """What each graph has, for each of its nodes, ``[B, D]`` to ``[n, D]``: the opposite of :class:`_GraphSum`."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, sizes: Tensor, offsets: Tensor, nodes: int) -> Tensor:
        ctx.offsets = offsets
        return values.index_select(0, _owners(sizes, nodes))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None, None]:
        numbers = torch.arange(len(gradient), device=gradient.device)
        return bag(gradient.contiguous(), numbers, ctx.offsets), None, None, None


class _GraphMax(torch.autograd.Function):
    """The largest of each feature over the nodes of each graph, ``[n, D]`` to ``[B, D]``; the first of equals."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, offsets: Tensor) -> Tensor:
        numbers = torch.arange(len(states), device=states.device)
        highest, _, _, where = torch.embedding_bag(
            states.contiguous(), numbers, offsets, mode=2, include_last_offset=True
        )
        ctx.shape = states.shape
        ctx.save_for_backward(where)
        return highest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        (where,) = ctx.saved_tensors
        return gradient.new_zeros(ctx.shape).scatter_(0, where, gradient), None
