"""The graph convolutions: each computes what PyTorch Geometric's layer of that name computes, with edge types.

All are built from ``(width, n_types)`` and take states ``[n, D]`` and the batch's adjacency to states ``[n, D]``.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn

from counterpoise.models.gnn.adjacency import (
    Adjacency,
    common_dtype,
    edge_attention,
    neighbour_sum,
    relational_product,
    weighted_sum,
)

Norm = Literal["none", "layer", "batch"]


class Relational(nn.Module):
    """R-GCN (Schlichtkrull et al. 2018): the mean of the neighbours of each edge type, times a matrix of that type.

    ``RGCNConv`` of PyTorch Geometric.

    Args:
        width: ``D``.
        n_types: edge types, both directions counted.
        bases: matrices that those of the types are combinations of; ``None`` for one of its own each.
    """

    def __init__(self, width: int, n_types: int, bases: int | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(bases or n_types, width, width))
        self.mixture = nn.Parameter(torch.empty(n_types, bases)) if bases else None
        self.root = nn.Linear(width, width)
        for parameter in (self.weight, self.mixture, self.root.weight):
            if parameter is not None:
                _glorot(parameter)
        nn.init.zeros_(self.root.bias)

    def forward(self, states: Tensor, adjacency: Adjacency) -> Tensor:
        """States ``[n, D]`` to states ``[n, D]``."""
        weight: Tensor = self.weight
        if self.mixture is not None:
            weight = (self.mixture @ weight.flatten(1)).view(-1, *weight.shape[1:])
        neighbours = relational_product(states, weight, adjacency, mean=True)
        return self.root(states) + neighbours  # type: ignore[no-any-return]


class Gated(nn.Module):
    """Gated graph network (Li et al. 2016): the neighbours, times a matrix of each edge's type, feed a GRU.

    One step of PyTorch Geometric's ``GatedGraphConv``, which has a single matrix for all types.
    """

    def __init__(self, width: int, n_types: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(n_types, width, width))
        self.gru = nn.GRUCell(width, width)
        _glorot(self.weight)

    def forward(self, states: Tensor, adjacency: Adjacency) -> Tensor:
        """States ``[n, D]`` to states ``[n, D]``."""
        messages = relational_product(states, self.weight, adjacency, mean=False)
        result: Tensor = self.gru(*common_dtype(messages, states))
        return result


class Isomorphism(nn.Module):
    """GIN (Xu et al. 2019): a small network on the sum of a node and its neighbours.

    ``GINConv`` of PyTorch Geometric with ε = 0. Where edges have types, a vector of its type is added to each
    neighbour.
    """

    def __init__(self, width: int, n_types: int, norm: Norm) -> None:
        super().__init__()
        self.type_embedding = nn.Parameter(torch.zeros(n_types, width)) if n_types > 1 else None
        self.network = nn.Sequential(
            nn.Linear(width, width), normalisation(norm, width), nn.ReLU(), nn.Linear(width, width)
        )
        if self.type_embedding is not None:
            _glorot(self.type_embedding)

    def forward(self, states: Tensor, adjacency: Adjacency) -> Tensor:
        """States ``[n, D]`` to states ``[n, D]``."""
        total = states + neighbour_sum(states, adjacency)
        if self.type_embedding is not None:
            total = total + adjacency.type_counts.to(self.type_embedding.dtype) @ self.type_embedding
        return self.network(total)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """GAT (Veličković et al. 2018): each head weighs a node's neighbours, and the node itself, by a softmax.

    ``GATConv`` of PyTorch Geometric with the type of an edge, one-hot, as its ``edge_attr``: a type adds a number of
    its own to each head's score.

    Args:
        width: ``D``, shared out among the heads.
        n_types: edge types, both directions counted; with one of them scores are by the nodes alone.
        heads: how many.
    """

    def __init__(self, width: int, n_types: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.linear = nn.Linear(width, width, bias=False)
        self.of_source = nn.Parameter(torch.empty(heads, width // heads))
        self.of_target = nn.Parameter(torch.empty(heads, width // heads))
        self.of_type = nn.Parameter(torch.empty(n_types, heads)) if n_types > 1 else None
        self.bias = nn.Parameter(torch.zeros(width))
        for parameter in (self.linear.weight, self.of_source, self.of_target, self.of_type):
            if parameter is not None:
                _glorot(parameter)

    def forward(self, states: Tensor, adjacency: Adjacency) -> Tensor:
        """States ``[n, D]`` to states ``[n, D]``."""
        values = self.linear(states).view(len(states), self.heads, -1)
        exact = values.to(self.of_source.dtype)  # the softmax is over scores in full precision
        of_source, of_target = ((exact * vector).sum(-1) for vector in (self.of_source, self.of_target))
        weights, own = edge_attention(of_source, of_target, self.of_type, adjacency)
        by_head = values.transpose(0, 1)
        attended: Tensor = weighted_sum(by_head, weights, adjacency) + own.t()[:, :, None] * by_head
        return attended.transpose(0, 1).flatten(1) + self.bias


class Normalised(nn.Module):
    """GCN (Kipf and Welling 2017): neighbours and the node itself, each weighed by ``1 / sqrt(degree · degree)``.

    ``GCNConv`` of PyTorch Geometric. Edges of all types are alike.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear = nn.Linear(width, width, bias=False)
        self.bias = nn.Parameter(torch.zeros(width))
        _glorot(self.linear.weight)

    def forward(self, states: Tensor, adjacency: Adjacency) -> Tensor:
        """States ``[n, D]`` to states ``[n, D]``."""
        values: Tensor = self.linear(states)
        # Each node has one edge to itself, whatever there is of them already.
        loops = adjacency.loop_counts
        factor = (adjacency.degrees - loops + 1).to(self.bias.dtype).rsqrt()[:, None]
        scaled = (values * factor).to(values.dtype)
        total = neighbour_sum(scaled, adjacency) + scaled * (1 - loops)[:, None]
        return total * factor + self.bias


class BatchNorm(nn.BatchNorm1d):
    """Batch normalisation over nodes; a batch of a single node, which has no variance, uses the running figures."""

    def forward(self, input: Tensor) -> Tensor:
        """``[n, D]`` to ``[n, D]``."""
        if self.training and len(input) == 1:
            return nn.functional.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


def normalisation(norm: Norm, width: int) -> nn.Module:
    """The norm of this name over states ``[n, width]``."""
    if norm == "layer":
        return nn.LayerNorm(width)
    return BatchNorm(width) if norm == "batch" else nn.Identity()


def _glorot(parameter: Tensor) -> None:
    """Uniform by fan-in and fan-out of the last two dimensions (Glorot and Bengio 2010); of each type by itself."""
    bound = (6 / (parameter.shape[-2] + parameter.shape[-1])) ** 0.5
    nn.init.uniform_(parameter, -bound, bound)
