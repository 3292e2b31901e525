"""Graph networks: this package's batches and layers beside PyTorch Geometric's, training and evaluation.

    python benchmarks/graphs.py [--conv rgcn gin gat ggnn gcn] [--device cuda] [--data FOLDER]

Both train the same network from the same weights on the same graphs in the same batches, which the benchmark makes sure
of before the clock runs: logits and gradients must agree. They take turns, round after round; what is printed are
medians, in graphs a second, and the median of the rounds' ratios.

Ours: ``Loader`` over the encoded split, ``GNN``. Theirs: ``torch_geometric.loader.DataLoader`` over ``Data``, and
``RGCNConv``, ``GINConv``, ``GATConv``, ``GatedGraphConv`` or ``GCNConv`` between the same embedding, norm, dropout,
pooling and head. ``GatedGraphConv`` knows one type of edges only, ``GINConv`` and ``GCNConv`` none: so do ours, there.

Graphs are random ones shaped like those of code: about 300 nodes, 10 kinds of edges and their reverses, 8 of them into
each node; or, with --data, those of CodeXGLUE-style JSON lines in a folder.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_geometric import nn as pyg
from torch_geometric.data import Data
from torch_geometric.loader import DataLoader

from counterpoise.data.cache import Cache
from counterpoise.data.encode.graphs import GraphEncoding, GraphsConfig, GraphSplit
from counterpoise.data.graphs import Graphs
from counterpoise.data.loader import Loader
from counterpoise.data.sources.codexglue import CodeXGlue, CodeXGlueConfig
from counterpoise.models.base import ModelContext
from counterpoise.models.gnn import GNN, GNNConfig
from counterpoise.models.gnn.convolutions import Attention, Gated, Isomorphism, Normalised, Relational

CONVS = ("rgcn", "gin", "gat", "ggnn", "gcn")
UNTYPED = ("gin", "ggnn", "gcn")
BATCH = 64
KINDS, NODES, IN_EDGES = 10, 300, 8
NODE_TYPES, SUB_TOKENS = 120, 4096


def random_graphs(count: int, seed: int = 0) -> tuple[GraphSplit, dict[str, Any]]:
    """Graphs shaped like those of code, and the properties that a model is told."""
    rng = np.random.default_rng(seed)
    sizes = np.clip(rng.lognormal(np.log(NODES) - 0.18, 0.6, count), 5, 2000).astype(np.int64)
    edges = sizes * IN_EDGES // 2
    owner = np.repeat(sizes, edges)
    targets = rng.integers(0, owner)
    sources = np.clip(targets + rng.integers(-20, 21, len(owner)), 0, owner - 1)  # most are near, as in a text
    named = rng.random(sizes.sum()) < 0.4
    tokens = np.where(named, rng.integers(1, 4, len(named)), 0)
    graphs = Graphs(
        np.concatenate([[0], np.cumsum(sizes)]),
        np.concatenate([[0], np.cumsum(edges)]),
        np.concatenate([[0], np.cumsum(np.add.reduceat(tokens, np.cumsum(sizes) - sizes))]),
        node_types=rng.integers(0, NODE_TYPES, sizes.sum()),
        lines=np.zeros(sizes.sum(), np.int64),
        token_counts=tokens,
        token_ids=rng.integers(0, SUB_TOKENS, tokens.sum()),
        sources=sources,
        targets=targets,
        edge_types=rng.integers(0, KINDS, len(owner)),
    )
    reverse = [*range(KINDS, 2 * KINDS), *range(KINDS)]
    properties = {
        "node_types": NODE_TYPES,
        "sub_tokens": SUB_TOKENS,
        "edge_types": 2 * KINDS,
        "reverse_edge_types": reverse,
        "node_features": 0,
    }
    return GraphSplit(graphs.mirrored(reverse), np.arange(count) % 2, np.arange(count)), properties


def code_graphs(folder: str, count: int) -> tuple[GraphSplit, dict[str, Any]]:
    """The first functions of a folder's training split."""
    dataset = CodeXGlue(CodeXGlueConfig(path=folder)).load()
    encoded = GraphEncoding(GraphsConfig()).encode(dataset, Cache(Path(".cache/counterpoise")))
    split = encoded.splits["train"]
    assert isinstance(split, GraphSplit)
    keep = np.arange(min(count, len(split.labels)))
    return GraphSplit(split.graphs.take(keep), split.labels[keep], split.rows[keep]), dict(encoded.properties)


def as_data(split: GraphSplit) -> list[Data]:
    """Each graph as PyTorch Geometric has it."""
    items = []
    for index in range(len(split.labels)):
        graph = split.graphs.take(np.array([index]))

        def long(values: NDArray[Any]) -> Tensor:
            return torch.from_numpy(values.astype(np.int64))

        item = Data(
            x=long(graph.node_types),
            edge_index=torch.stack([long(graph.sources), long(graph.targets)]),
            edge_attr=long(graph.edge_types),
            y=torch.tensor([int(split.labels[index])]),
        )
        item.sub_tokens, item.sub_token_counts = long(graph.token_ids), long(graph.token_counts)
        items.append(item)
    return items


class Theirs(nn.Module):
    """The same network of PyTorch Geometric's layers, with our weights."""

    def __init__(self, ours: GNN, conv: str) -> None:
        super().__init__()
        self.conv, self.ours = conv, ours
        self.n_types = len(ours.reverse_types)
        self.convolutions = nn.ModuleList(self._layer(layer) for layer in ours.layers.convolutions)

    def _layer(self, layer: nn.Module) -> nn.Module:
        """A layer of theirs that shares what it can with ours, and copies the rest."""
        with torch.no_grad():
            match layer:
                case Relational():
                    width = layer.weight.shape[1]
                    found = pyg.RGCNConv(width, width, self.n_types)
                    found.weight, found.bias = layer.weight, layer.root.bias
                    found.root.copy_(layer.root.weight.t())
                case Isomorphism():
                    found = pyg.GINConv(nn.Identity())
                    found.nn = layer.network
                case Attention():
                    width, each = layer.heads * layer.of_source.shape[1], layer.of_source.shape[1]
                    found = pyg.GATConv(width, each, layer.heads, edge_dim=self.n_types)
                    found.lin.weight, found.bias = layer.linear.weight, layer.bias
                    found.att_src.copy_(layer.of_source)
                    found.att_dst.copy_(layer.of_target)
                    assert layer.of_type is not None
                    found.att_edge.fill_(1.0)
                    found.lin_edge.weight.copy_(layer.of_type.t().repeat_interleave(each, 0) / each)
                case Gated():
                    found = pyg.GatedGraphConv(layer.weight.shape[1], 1)
                    found.weight, found.rnn = layer.weight, layer.gru
                case Normalised():
                    found = pyg.GCNConv(layer.linear.in_features, layer.linear.out_features)
                    found.lin.weight, found.bias = layer.linear.weight, layer.bias
        result: nn.Module = found
        return result

    def forward(self, batch: Any) -> Tensor:
        """A batch of ``Data`` to logits."""
        embedding, layers = self.ours.embedding, self.ours.layers
        assert embedding.sub_tokens is not None
        offsets = F.pad(batch.sub_token_counts.cumsum(0), (1, 0))
        states = embedding.norm(embedding.types(batch.x) + embedding.sub_tokens(batch.sub_tokens, offsets))
        more: list[Tensor] = []
        if self.conv == "rgcn":
            more = [batch.edge_attr]
        elif self.conv == "gat":
            more = [F.one_hot(batch.edge_attr, self.n_types).to(states.dtype)]
        for convolution, norm in zip(self.convolutions, layers.norms, strict=True):
            changed = norm(convolution(states, batch.edge_index, *more))
            changed = layers.dropout(changed if layers.gated else changed.relu())
            states = states + changed if layers.residual else changed
        size = batch.num_graphs
        pooled = [pool(states, batch.batch, size) for pool in (pyg.global_mean_pool, pyg.global_max_pool)]
        return self.ours.head(self.ours.dropout(torch.cat(pooled, dim=1)))  # type: ignore[no-any-return]


class Contest:
    """One kind of network, and both ways to run it."""

    def __init__(self, conv: str, split: GraphSplit, properties: dict[str, Any], options: argparse.Namespace) -> None:
        self.split, self.device = split, torch.device(options.device)
        self.items = as_data(split)
        torch.manual_seed(0)
        config = GNNConfig(conv=conv, hidden_size=options.width, edge_types=conv not in UNTYPED)  # type: ignore[arg-type]
        self.ours = GNN(config, ModelContext((0.5, 0.5), properties)).to(self.device)
        nn.init.normal_(self.ours.head.weight)
        self.theirs = Theirs(self.ours, conv).to(self.device)
        self.loader = Loader(split, batch_size=BATCH, seed=0)
        self._check()
        self.train()

    def train(self, mode: bool = True) -> None:
        """Dropout on, or off."""
        self.theirs.train(mode)

    def our_batches(self) -> Iterator[tuple[Callable[[], Tensor], Tensor]]:
        """How to get the logits of each batch, and its labels."""
        for group in self.loader.groups(0):
            batch = group.batches[0].to(self.device)
            assert isinstance(batch.inputs, dict)
            yield partial(self._ours, batch.inputs), batch.labels

    def _ours(self, inputs: dict[str, Tensor]) -> Tensor:
        return self.ours(**inputs).logits  # type: ignore[no-any-return]

    def their_batches(self) -> Iterator[tuple[Callable[[], Tensor], Tensor]]:
        """The same graphs in the same batches."""
        order = self.loader.order(0)
        chosen = [order[start : start + BATCH].tolist() for start in range(0, len(order), BATCH)]
        for batch in DataLoader(self.items, batch_sampler=chosen):
            batch = batch.to(self.device)
            yield partial(self.theirs, batch), batch.y

    def _check(self) -> None:
        """Both must have the same logits, losses and gradients. Raises ``AssertionError`` otherwise."""
        self.train(False)
        (ours, labels), (theirs, same) = next(self.our_batches()), next(self.their_batches())
        assert torch.equal(labels, same)
        found = []
        for logits in (ours(), theirs()):
            loss = F.cross_entropy(logits, labels)
            found.append((logits, loss, torch.autograd.grad(loss, [*self.ours.embedding.parameters()])))
        torch.testing.assert_close(found[0], found[1], atol=2e-4, rtol=2e-3)

    def step(self, batches: Iterator[tuple[Callable[[], Tensor], Tensor]]) -> None:
        """An epoch of forward and backward passes; no optimizer, which would be the same for both."""
        for logits, labels in batches:
            loss: Any = F.cross_entropy(logits(), labels)
            loss.backward()
            self.theirs.zero_grad()
        self._wait()

    def evaluate(self, batches: Iterator[tuple[Callable[[], Tensor], Tensor]]) -> None:
        """An epoch of forward passes."""
        with torch.no_grad():
            for logits, _ in batches:
                logits()
        self._wait()

    def _wait(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def load_only(batches: Iterator[tuple[Callable[[], Tensor], Tensor]]) -> None:
    """An epoch of batches that nobody looks at."""
    for _ in batches:
        pass


def compete(contest: Contest, task: Callable[[Any], None], rounds: int) -> str:
    """Both in turn; medians and their ratio."""
    seconds: dict[str, list[float]] = {"ours": [], "theirs": []}
    for number in range(rounds + 1):
        for name, batches in (("ours", contest.our_batches), ("theirs", contest.their_batches)):
            started = time.perf_counter()
            task(batches())
            if number:  # the first round fills caches
                seconds[name].append(time.perf_counter() - started)
    speeds = [len(contest.items) / median(values) for values in seconds.values()]
    ratio = median(theirs / ours for ours, theirs in zip(*seconds.values(), strict=True))
    return f"{speeds[0]:9.0f} {speeds[1]:9.0f} {ratio:6.2f}"


def main() -> None:
    """Parse, compete, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--conv", nargs="+", choices=CONVS, default=CONVS)
    parser.add_argument("--graphs", type=int, default=256)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--data", metavar="FOLDER", help="CodeXGLUE-style JSON lines: train, valid and test")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    split, properties = code_graphs(options.data, options.graphs) if options.data else random_graphs(options.graphs)
    nodes, edges = len(split.graphs.node_types), len(split.graphs.sources)
    print(
        f"{len(split.labels)} graphs, {nodes / len(split.labels):.0f} nodes each, {edges / nodes:.1f} edges into each"
    )
    print(f"batches of {BATCH}, width {options.width}, 4 layers, {options.threads} threads, {options.device}; graphs/s")
    print(f"{'':<16}{'ours':>9} {'PyG':>9}  ratio")
    for conv in options.conv:
        contest = Contest(conv, split, properties, options)
        if conv == options.conv[0]:
            print(f"{'batches alone':<16}{compete(contest, load_only, options.rounds)}", flush=True)
        print(f"{conv + ', training':<16}{compete(contest, contest.step, options.rounds)}", flush=True)
        contest.train(False)
        print(f"{conv + ', forward':<16}{compete(contest, contest.evaluate, options.rounds)}", flush=True)


if __name__ == "__main__":
    main()
