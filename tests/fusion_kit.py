"""Branches for the tests of fusion: graphs that are made in a moment, and a small model that reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from cli.cli_command import SMALL
from counterpoise.data.graphs import Graphs, NamedGraphs
from counterpoise.data.records import Records
from counterpoise.models.base import Backbone, Features, ModelContext, output_layer, padding_mask
from counterpoise.models.textcnn import TextCNNConfig

KINDS = ("word", "number", "mark")


def chains(records: Records, config: Any) -> NamedGraphs:
    """Each text's words as a chain; in place of ``make_graphs``."""
    names: dict[str, int] = {}
    types, tokens, sizes = [], [], []
    for text in records.texts:
        words = text.split()[: config.max_nodes]
        sizes.append(len(words))
        types += [0 if word[0].isalpha() else 1 if word[0].isdigit() else 2 for word in words]
        tokens += [names.setdefault(word, len(names)) for word in words]
    nodes = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    links = [max(size - 1, 0) for size in sizes]
    edges = np.concatenate([[0], np.cumsum(links)]).astype(np.int64)
    sources = np.concatenate([np.arange(count) for count in links] or [np.empty(0)]).astype(np.int32)
    graphs = Graphs(
        node_offsets=nodes,
        edge_offsets=edges,
        token_offsets=nodes,
        node_types=np.array(types, np.int32),
        lines=np.ones(len(types), np.int32),
        token_counts=np.ones(len(types), np.int32),
        token_ids=np.array(tokens, np.int32),
        sources=sources,
        targets=sources + 1,
        edge_types=np.zeros(len(sources), np.int32),
    )
    count = len(sizes)
    return NamedGraphs(graphs, KINDS, list(names), ("next",), np.array(sizes), np.zeros(count, np.bool_))


class WordGraph(Backbone):
    """Nodes beside the mean of their neighbours, at most over each graph."""

    Config: ClassVar[type] = TextCNNConfig
    encoding: ClassVar[str] = "graphs"
    family: ClassVar[str] = "gnn"

    def __init__(self, config: TextCNNConfig, context: ModelContext) -> None:
        super().__init__()
        width = config.embedding_size
        self.types = nn.Embedding(context.encoding["node_types"], width)
        self.words = nn.EmbeddingBag(context.encoding["sub_tokens"], width, include_last_offset=True)
        self.mix = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(config.dropout)
        self.feature_size = self.state_size = width
        self.head = output_layer(width, context)

    def features(self, inputs: Mapping[str, Tensor], *, states: bool = False) -> Features:
        offsets = nn.functional.pad(inputs["sub_token_counts"].cumsum(0), (1, 0))
        own = self.types(inputs["node_types"]) + self.words(inputs["sub_tokens"], offsets)
        summed = torch.zeros_like(own).index_add(0, inputs["targets"], own[inputs["sources"]])
        found = self.dropout(torch.relu(self.mix(torch.cat([own, summed], dim=1))))
        sizes = inputs["sizes"]
        width = int(sizes.max()) if len(sizes) else 0
        mask = padding_mask(sizes, width)
        padded = found.new_zeros(len(sizes), width, found.shape[1])
        padded[mask] = found
        pooled = padded.masked_fill(~mask[:, :, None], 0).sum(1) / sizes.clamp(min=1)[:, None]
        return Features(pooled, padded, mask) if states else Features(pooled)


GRAPH_RUN = (
    *(item for item in SMALL if not item.startswith("model=")),
    *("model=textcnn", "model._target_=fusion_kit.WordGraph", "extensions=[fusion_kit]"),
    *("encoding=graphs", "encoding.workers=0"),
)
"""Overrides for a graph branch; see :data:`cli.cli_command.SMALL`."""
FAST = ("optimizer.lr=0.01", "train.batch_size=8", "optimizer.scaling=none")
"""So that a branch has learnt something after a few epochs, but not everything."""
FUSION_RUN = (
    *("data=table", "data.path=tiny.csv", "model=fusion", "model.hidden_size=8", "train.epochs=2"),
    *("hardware=cpu", "hardware.precision=fp32", "extensions=[fusion_kit]", "encoding.graphs.workers=0"),
    "report.plots=false",
)
"""Overrides for a fusion of both, but for the branches themselves."""


def make_branches(folder: Path, quiet: Callable[..., Any]) -> Path:
    """Train both branches in ``folder``, as ``text`` and ``graph``; ``make_graphs`` is replaced already."""
    text, graph = "hydra.run.dir=text", "hydra.run.dir=graph"
    assert quiet(folder, *SMALL, "train.epochs=4", *FAST, text).code == 0
    assert quiet(folder, *GRAPH_RUN, "train.epochs=4", *FAST, graph).code == 0
    return folder
