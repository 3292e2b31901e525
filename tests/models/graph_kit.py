"""Random graphs, their batches, and the same as PyTorch Geometric's own."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch, Data

from counterpoise.data.encode.graphs import GraphSplit
from counterpoise.data.graphs import Graphs
from counterpoise.models.base import ModelContext
from counterpoise.models.gnn.adjacency import Adjacency

NODE_TYPES, SUB_TOKENS = 7, 11


def random_graphs(
    seed: int, sizes: list[int], n_types: int, density: float, *, features: int = 0, symmetric: bool = False
) -> tuple[Graphs, list[int]]:
    """Graphs with edges in both directions, in rows by target, and the reverse of each type.

    Args:
        seed: of everything.
        sizes: nodes of each graph.
        n_types: kinds of edges; each has a reverse of its own, unless ``symmetric``.
        density: edges per node; some of them lead from a node to itself, some stand twice.
        features: numbers of each node.
        symmetric: types are their own reverses.
    """
    rng = np.random.default_rng(seed)
    counts = np.array([rng.poisson(density * size) for size in sizes], np.int64)
    owner = np.repeat(sizes, counts)
    sources, targets = (rng.integers(0, owner) if len(owner) else owner.astype(np.int64) for _ in range(2))
    types = rng.integers(0, n_types, len(owner))
    again = rng.random(len(owner)) < 0.2  # the same edge as the one before it, where that is of the same graph
    first = np.concatenate([[0], np.cumsum(counts)])[:-1]
    again[first[first < len(owner)]] = False
    for values in (sources, targets, types):
        values[1:][again[1:]] = values[:-1][again[1:]]
    tokens = rng.integers(0, 3, sum(sizes))
    graphs = Graphs(
        np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64),
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([[0], np.cumsum([part.sum() for part in np.split(tokens, np.cumsum(sizes)[:-1])])]),
        node_types=rng.integers(0, NODE_TYPES, sum(sizes)),
        lines=np.zeros(sum(sizes), np.int64),
        token_counts=tokens,
        token_ids=rng.integers(0, SUB_TOKENS, tokens.sum()),
        sources=sources,
        targets=targets,
        edge_types=types,
        node_features=rng.normal(size=(sum(sizes), features)).astype(np.float32) if features else None,
    )
    if symmetric:
        both, reverse = graphs.mirrored([*range(n_types, 2 * n_types), *range(n_types)]), list(range(n_types))
        folded = Graphs(**{**vars(both), "edge_types": both.edge_types % n_types})
        return folded.by_target(n_types), reverse
    reverse = [*range(n_types, 2 * n_types), *range(n_types)]
    return graphs.mirrored(reverse), reverse


@st.composite
def graph_batches(draw: st.DrawFn, **fixed: Any) -> tuple[Graphs, list[int]]:
    """A few random graphs: of one node, without edges, with edges that stand twice or lead back."""
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=4))
    options = {
        "n_types": draw(st.integers(1, 3)),
        "density": draw(st.sampled_from([0.0, 0.3, 1.0, 3.0])),
        "symmetric": draw(st.booleans()),
        **fixed,
    }
    return random_graphs(draw(st.integers(0, 10_000)), sizes, **options)


def split_of(graphs: Graphs) -> GraphSplit:
    """As the encoding hands it on; labels 0, 1, 0, ..."""
    return GraphSplit(graphs, np.arange(len(graphs)) % 2, np.arange(len(graphs)))


def inputs_of(graphs: Graphs, indices: list[int] | None = None) -> dict[str, Tensor]:
    """A batch of all graphs, or of those at ``indices``."""
    chosen = np.arange(len(graphs)) if indices is None else np.array(indices)
    return dict(split_of(graphs).batch(chosen).inputs)


def adjacency_of(graphs: Graphs, reverse: list[int], device: str = "cpu") -> Adjacency:
    """Of a batch of all graphs."""
    inputs = {name: value.to(device) for name, value in inputs_of(graphs).items()}
    edges = inputs["sources"], inputs["targets"], inputs["edge_types"]
    return Adjacency(len(inputs["node_types"]), *edges, torch.tensor(reverse, device=device))


def context_of(graphs: Graphs, reverse: list[int], classes: int = 2) -> ModelContext:
    """What a model is told of these graphs."""
    encoding = {
        "node_types": NODE_TYPES,
        "sub_tokens": SUB_TOKENS,
        "edge_types": len(reverse),
        "reverse_edge_types": reverse,
        "node_features": 0 if graphs.node_features is None else graphs.node_features.shape[1],
    }
    return ModelContext(tuple(1 / classes for _ in range(classes)), encoding)


def pyg_batch(graphs: Graphs) -> Batch:
    """The same batch, put together by PyTorch Geometric from single graphs."""
    items = []
    for index in range(len(graphs)):
        nodes = slice(*graphs.node_offsets[index : index + 2])
        edges = slice(*graphs.edge_offsets[index : index + 2])
        items.append(
            Data(
                x=torch.from_numpy(graphs.node_types[nodes].astype(np.int64)),
                edge_index=torch.from_numpy(np.stack([graphs.sources[edges], graphs.targets[edges]]).astype(np.int64)),
                edge_attr=torch.from_numpy(graphs.edge_types[edges].astype(np.int64)),
            )
        )
    return Batch.from_data_list(items)
