"""A graph neural network over typed edges: convolutions between nodes, pooled over each graph."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.config.schema import AT_LEAST_ONE, Range
from counterpoise.errors import Problem
from counterpoise.models.base import Backbone, Features, ModelContext, ModelOutput, output_layer, padding_mask
from counterpoise.models.gnn.adjacency import Adjacency
from counterpoise.models.gnn.convolutions import (
    Attention,
    Gated,
    Isomorphism,
    Norm,
    Normalised,
    Relational,
    normalisation,
)
from counterpoise.models.gnn.readout import Pooling, Readout

Knowledge = Literal["last", "concat", "max", "sum"]


@dataclass(frozen=True, kw_only=True)
class GNNConfig:
    """Kind and size of the network."""

    conv: Literal["rgcn", "ggnn", "gin", "gat", "gcn"] = "rgcn"
    """Relational, gated, isomorphism, attention or plain convolution; all but gcn tell types of edges apart."""
    hidden_size: Annotated[int, AT_LEAST_ONE] = 64
    """Width of a node's state."""
    layers: Annotated[int, AT_LEAST_ONE] = 4
    """Steps along edges that a node sees."""
    edge_types: bool = True
    """Whether edges of different types are; false takes all of them for one."""
    bases: Annotated[int, AT_LEAST_ONE] | None = None
    """Matrices that those of the edge types are combinations of; null for one of its own each (conv=rgcn only)."""
    heads: Annotated[int, AT_LEAST_ONE] = 4
    """Heads that share the hidden size (conv=gat only)."""
    norm: Norm = "layer"
    """Behind the embedding and each convolution, and within those of conv=gin."""
    residual: bool = True
    """Add a layer's input to its output; for conv=ggnn, whose gates do so themselves, without effect."""
    jumping_knowledge: Knowledge = "last"
    """A node's final state: of the last layer, or of all (embedding included) one beside the other, their largest or
    their sum (Xu et al. 2018)."""
    readout: Pooling = "mean_max"
    """How the states of a graph's nodes become one vector; attention weighs them, and tells how."""
    dropout: Annotated[float, Range(ge=0, lt=1)] = 0.1
    """Probability of zeroing a feature behind each layer and before the head."""

    def problems(self) -> Iterable[Problem]:
        """Relations between the fields."""
        if self.conv == "gat" and self.hidden_size % self.heads:
            yield Problem("heads", f"is {self.heads}, which does not divide hidden_size={self.hidden_size}.")
        if self.conv != "rgcn" and self.bases is not None:
            yield Problem("bases", f"has no effect with conv={self.conv}.", "Only conv=rgcn has bases.")


class GNN(Backbone):
    """Embedding of nodes → convolutions along edges → readout of each graph → linear.

    A batch is one graph of disjoint parts, so that nothing is padded; see
    :meth:`counterpoise.data.encode.graphs.GraphSplit.batch` for its inputs.
    """

    Config: ClassVar[type] = GNNConfig
    encoding: ClassVar[str] = "graphs"
    family: ClassVar[str] = "gnn"
    reverse_types: Tensor

    def __init__(self, config: GNNConfig, context: ModelContext) -> None:
        super().__init__()
        reverse = list(context.encoding["reverse_edge_types"]) or [0]  # data without any edge have no type of them
        self.register_buffer("reverse_types", torch.tensor(reverse), persistent=False)
        self.typed = config.edge_types
        self.embedding = NodeEmbedding(config.hidden_size, config.norm, context.encoding)
        self.layers = GraphLayers(config, len(reverse) if config.edge_types else 1)
        self.state_size = self.layers.width
        self.readout = Readout(config.readout, self.state_size)
        self.dropout = nn.Dropout(config.dropout)
        self.feature_size = self.readout.width
        self.head = output_layer(self.feature_size, context)

    def features(self, inputs: Mapping[str, Tensor], *, states: bool = False) -> Features:
        """A batch of graphs to one vector per graph; ``states`` are those of the nodes, in the graph's order."""
        nodes, sizes = self._nodes(inputs), inputs["sizes"]
        pooled, _ = self.readout(nodes, sizes)
        if not states:
            return Features(pooled)
        padded, mask = pad_nodes(nodes, sizes)
        return Features(pooled, padded, mask)

    def forward(self, **inputs: Tensor) -> ModelOutput:
        """A batch of graphs to logits ``[B, C]``; outside training also the attention of the readout, ``[B, L]``."""
        nodes, sizes = self._nodes(inputs), inputs["sizes"]
        pooled, weights = self.readout(nodes, sizes)
        attention = None
        if weights is not None and not self.training:
            attention = pad_nodes(weights[:, None], sizes)[0].squeeze(-1)
        return ModelOutput(self.head(self.dropout(pooled)), attention=attention)

    def _nodes(self, inputs: Mapping[str, Tensor]) -> Tensor:
        # No two batches have as many nodes. On a CPU a half-precision product is compiled for every new shape, which
        # takes longer than the product itself, and is kept: full precision is several times faster there.
        kind = inputs["node_types"].device.type
        with torch.autocast(kind, enabled=False) if kind == "cpu" else nullcontext():
            return self.layers(self.embedding(inputs), self._adjacency(inputs))  # type: ignore[no-any-return]

    def _adjacency(self, inputs: Mapping[str, Tensor]) -> Adjacency:
        edges = inputs["sources"], inputs["targets"], inputs["edge_types"]
        adjacency = Adjacency(len(inputs["node_types"]), *edges, self.reverse_types)
        return adjacency if self.typed else adjacency.untyped()


class NodeEmbedding(nn.Module):
    """What a node begins with: its type, the mean of its sub-tokens, and the numbers it came with."""

    def __init__(self, width: int, norm: Norm, encoding: Mapping[str, Any]) -> None:
        super().__init__()
        self.types = nn.Embedding(encoding["node_types"], width)
        named = encoding["sub_tokens"] > 1  # the first stands for unknown ones: alone, it tells nothing
        self.sub_tokens = nn.EmbeddingBag(encoding["sub_tokens"], width, include_last_offset=True) if named else None
        numbers = encoding["node_features"]
        self.features = nn.Linear(numbers, width) if numbers else None
        self.norm = normalisation(norm, width)

    def forward(self, inputs: Mapping[str, Tensor]) -> Tensor:
        """The inputs of a batch to states ``[n, D]``."""
        states: Tensor = self.types(inputs["node_types"])
        if self.sub_tokens is not None:
            offsets = F.pad(inputs["sub_token_counts"].cumsum(0), (1, 0))
            states = states + self.sub_tokens(inputs["sub_tokens"], offsets)
        if self.features is not None:
            states = states + self.features(inputs["node_features"].to(states.dtype))
        return self.norm(states)  # type: ignore[no-any-return]


class GraphLayers(nn.Module):
    """Convolutions, each with norm, ReLU, dropout and residual; and what becomes of the states of all layers."""

    def __init__(self, config: GNNConfig, n_types: int) -> None:
        super().__init__()
        self.gated = config.conv == "ggnn"
        self.residual = config.residual and not self.gated
        self.knowledge = config.jumping_knowledge
        self.width = config.hidden_size * (config.layers + 1 if self.knowledge == "concat" else 1)
        self.convolutions = nn.ModuleList(_convolution(config, n_types) for _ in range(config.layers))
        self.norms = nn.ModuleList(normalisation(config.norm, config.hidden_size) for _ in range(config.layers))
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: Tensor, adjacency: Adjacency) -> Tensor:
        """States ``[n, D]`` to states ``[n, width]``."""
        found = [states]
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            changed = norm(convolution(states, adjacency))
            changed = self.dropout(changed if self.gated else changed.relu())
            states = states + changed if self.residual else changed
            if self.knowledge == "last":
                found.clear()
            found.append(states)
        if self.knowledge == "concat":
            return torch.cat(found, dim=1)
        if self.knowledge == "max":
            return torch.stack(found).amax(0)
        return found[0] if self.knowledge == "last" else torch.stack(found).sum(0)


def _convolution(config: GNNConfig, n_types: int) -> nn.Module:
    width = config.hidden_size
    match config.conv:
        case "rgcn":
            return Relational(width, n_types, config.bases)
        case "ggnn":
            return Gated(width, n_types)
        case "gin":
            return Isomorphism(width, n_types, config.norm)
        case "gat":
            return Attention(width, n_types, config.heads)
        case "gcn":
            return Normalised(width)


def pad_nodes(values: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Values of nodes ``[n, D]`` by graph, ``[B, L, D]``, and true where there are any, ``[B, L]``."""
    width = int(sizes.max())
    mask = padding_mask(sizes, width)
    padded = values.new_zeros(len(sizes) * width, values.shape[1])
    where = _places(sizes, width, len(values))
    return padded.index_copy(0, where, values).view(len(sizes), width, -1), mask


def _places(sizes: Tensor, width: int, nodes: int) -> Tensor:
    """Where each node stands in a padded batch, ``[n]``."""
    begins = sizes.cumsum(0) - sizes
    gaps = torch.arange(len(sizes), device=sizes.device) * width - begins
    return torch.arange(nodes, device=sizes.device) + gaps.repeat_interleave(sizes, output_size=nodes)
