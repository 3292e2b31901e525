"""What a graph network must do, whatever its convolution and readout."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from graph_kit import adjacency_of, context_of, graph_batches, inputs_of, pyg_batch, random_graphs, split_of
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch_geometric import nn as pyg

from counterpoise.data.graphs import Graphs, join
from counterpoise.data.loader import Loader
from counterpoise.engine.trainer import Trainer
from counterpoise.losses import CrossEntropy, CrossEntropyConfig, LossContext
from counterpoise.models.base import ModelContext, ModelOutput
from counterpoise.models.gnn import GNN, GNNConfig
from counterpoise.models.gnn.adjacency import Adjacency
from counterpoise.models.gnn.readout import Readout
from counterpoise.optim.adamw import AdamW, AdamWConfig, components

SMALL: dict[str, Any] = {"hidden_size": 8, "layers": 2, "heads": 2}
NETWORKS: dict[str, dict[str, Any]] = {
    **{conv: {"conv": conv} for conv in ("rgcn", "ggnn", "gin", "gat", "gcn")},
    "rgcn of bases": {"conv": "rgcn", "bases": 2},
    "rgcn without types": {"conv": "rgcn", "edge_types": False},
    "gat without types": {"conv": "gat", "edge_types": False},
    "gin as published": {
        "conv": "gin",
        "edge_types": False,
        "norm": "batch",
        "residual": False,
        "readout": "sum",
        "jumping_knowledge": "concat",
    },
    "gin without norm": {"conv": "gin", "norm": "none"},
    **{f"jumping {how}": {"jumping_knowledge": how} for how in ("concat", "max", "sum")},
    **{f"readout {how}": {"readout": how} for how in ("mean", "max", "sum", "attention")},
}
each_network = pytest.mark.parametrize("name", NETWORKS)
SIZES = [7, 1, 12, 3]


def build(name: str, context: ModelContext, seed: int = 0) -> GNN:
    torch.manual_seed(seed)
    return GNN(GNNConfig(**{**SMALL, **NETWORKS[name]}), context)


def telling(name: str, context: ModelContext) -> GNN:
    """Outside training, with a head that shows every difference."""
    model = build(name, context).double().eval()
    nn.init.normal_(model.head.weight)
    return model


@each_network
def test_a_graph_alone_is_the_same_graph_in_any_batch(name: str) -> None:
    graphs, reverse = random_graphs(1, SIZES, 2, 1.5, features=3)
    model = telling(name, context_of(graphs, reverse))
    with torch.no_grad():
        together = model(**inputs_of(graphs)).logits
        alone = torch.cat([model(**inputs_of(graphs, [index])).logits for index in range(4)])
        turned = model(**inputs_of(graphs, [2, 0, 2, 3, 1])).logits
    torch.testing.assert_close(together, alone, atol=1e-10, rtol=1e-10)
    torch.testing.assert_close(together[[2, 0, 2, 3, 1]], turned, atol=1e-10, rtol=1e-10)
    assert (together[0] - together[2]).abs().max() > 1e-3


# The order in which nodes happen to be numbered says nothing.
@each_network
def test_renumbering_nodes_changes_nothing(name: str) -> None:
    graphs, reverse = random_graphs(2, [9], 2, 1.5)
    inputs = inputs_of(graphs)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(0))
    place = order.argsort()
    sources, targets = place[inputs["sources"]], place[inputs["targets"]]
    edges = torch.tensor(np.lexsort([sources, inputs["edge_types"], targets]))
    tokens = inputs["sub_tokens"].split(inputs["sub_token_counts"].tolist())
    turned = {
        "sizes": inputs["sizes"],
        "node_types": inputs["node_types"][order],
        "sub_token_counts": inputs["sub_token_counts"][order],
        "sub_tokens": torch.cat([tokens[index] for index in order]),
        "sources": sources[edges],
        "targets": targets[edges],
        "edge_types": inputs["edge_types"][edges],
    }
    model = telling(name, context_of(graphs, reverse))
    torch.testing.assert_close(model(**inputs).logits, model(**turned).logits, atol=1e-10, rtol=1e-10)


@each_network
def test_starts_at_the_class_shares(name: str) -> None:
    graphs, reverse = random_graphs(3, [5] * 64, 2, 1.5)
    shares = (0.7, 0.2, 0.1)
    model = build(name, ModelContext(shares, context_of(graphs, reverse).encoding)).eval()
    with torch.no_grad():
        mean = model(**inputs_of(graphs)).logits.softmax(1).mean(0)
    torch.testing.assert_close(mean, torch.tensor(shares), atol=0.12, rtol=0)


@each_network
def test_every_parameter_learns(name: str) -> None:
    graphs, reverse = random_graphs(4, [9, 8, 7, 9], 2, 2.5, features=3)
    model = build(name, context_of(graphs, reverse)).train()
    torch.nn.functional.cross_entropy(model(**inputs_of(graphs)).logits, torch.tensor([0, 1, 0, 1])).backward()
    for where, parameter in model.named_parameters():
        assert parameter.grad is not None, where
        assert parameter.grad.isfinite().all(), where
        # A constant in front of a batch norm, or of a softmax, does nothing.
        idle = where == "readout.score.bias" or (name == "gin as published" and where.endswith((".0.bias", ".3.bias")))
        assert parameter.grad.abs().sum() > 0 or idle, where
    assert list(components(model)) == ["embedding", "layers", *(["readout"] if "attention" in name else []), "head"]


@each_network
@pytest.mark.parametrize(
    ("sizes", "density"), [([1], 0.0), ([1, 1], 0.0), ([1], 3.0), ([4, 2], 0.0), ([300, 2, 1], 4.0)]
)
def test_graphs_of_any_size(name: str, sizes: list[int], density: float) -> None:
    graphs, reverse = random_graphs(5, sizes, 2, density)
    model = build(name, context_of(graphs, reverse)).train()
    output = model(**inputs_of(graphs))
    assert isinstance(output, ModelOutput)
    assert output.logits.shape == (len(sizes), 2)
    assert output.logits.isfinite().all()
    output.logits.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())


@each_network
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast(name: str, dtype: torch.dtype) -> None:
    graphs, reverse = random_graphs(6, SIZES, 2, 1.5, features=2)
    model = build(name, context_of(graphs, reverse)).eval()
    nn.init.normal_(model.head.weight, std=0.3)
    inputs = inputs_of(graphs)
    exact = model(**inputs).logits
    exact.square().sum().backward()
    gradients = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    with torch.autocast("cpu", dtype=dtype):
        logits = model(**inputs).logits
    torch.testing.assert_close(logits.float(), exact, atol=0.15, rtol=0.1)
    logits.float().square().sum().backward()
    found = [parameter.grad.flatten() for parameter in model.parameters() if parameter.grad is not None]
    assert len(found) == len(gradients) == len(list(model.parameters()))
    assert torch.cosine_similarity(torch.cat(found), torch.cat(gradients), dim=0) > 0.95


@each_network
def test_features_are_what_the_head_reads(name: str) -> None:
    graphs, reverse = random_graphs(7, SIZES, 2, 1.5)
    model = telling(name, context_of(graphs, reverse))
    inputs = inputs_of(graphs)
    found = model.features(inputs, states=True)
    assert found.states is not None
    assert found.mask is not None
    torch.testing.assert_close(model(**inputs).logits, model.head(found.pooled))
    assert found.pooled.shape == (4, model.feature_size)
    assert found.states.shape == (4, 12, model.state_size)
    assert found.mask.sum(1).tolist() == SIZES
    assert not found.states[~found.mask].any()
    alone = model.features(inputs_of(graphs, [2]), states=True).states
    assert alone is not None
    torch.testing.assert_close(found.states[2], alone[0])
    assert model.features(inputs).states is None


def test_attention_of_the_readout_is_for_each_node() -> None:
    graphs, reverse = random_graphs(8, SIZES, 2, 1.5)
    model = telling("readout attention", context_of(graphs, reverse))
    attention = model(**inputs_of(graphs)).attention
    assert attention is not None
    torch.testing.assert_close(attention.sum(1), torch.ones(4).double())
    assert (attention > 0).sum(1).tolist() == SIZES
    assert model.train()(**inputs_of(graphs)).attention is None


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.lists(st.integers(1, 5), min_size=1, max_size=4))
def test_pooling_is_pytorch_geometrics(seed: int, sizes: list[int]) -> None:
    generator = torch.Generator().manual_seed(seed)
    owner = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    states = torch.randn(sum(sizes), 3, generator=generator, dtype=torch.float64, requires_grad=True)
    attention = Readout("attention", 3).double()
    assert attention.score is not None
    weighed = pyg.AttentionalAggregation(attention.score)
    weighed.gate_nn = attention.score  # building it has drawn the score anew
    pairs = {
        "mean": pyg.global_mean_pool,
        "sum": pyg.global_add_pool,
        "max": pyg.global_max_pool,
        "mean_max": lambda x, b: torch.cat([pyg.global_mean_pool(x, b), pyg.global_max_pool(x, b)], 1),
        "attention": weighed,
    }
    for name, theirs in pairs.items():
        readout = attention if name == "attention" else Readout(name, 3)  # type: ignore[arg-type]
        ours, _ = readout(states, torch.tensor(sizes))
        expected = theirs(states, owner)
        torch.testing.assert_close(ours, expected, atol=1e-10, rtol=1e-10)
        assert ours.shape[1] == readout.width
        direction = torch.randn(ours.shape, generator=generator, dtype=torch.float64)
        parameters = [states, *readout.parameters()]
        left = torch.autograd.grad(ours, parameters, direction)
        for one, other in zip(left, torch.autograd.grad(expected, parameters, direction), strict=True):
            torch.testing.assert_close(one, other, atol=1e-10, rtol=1e-10)


def test_a_batch_is_pytorch_geometrics() -> None:
    graphs, _ = random_graphs(9, [4, 1, 6, 2, 3], 3, 1.5, features=2)
    chosen = [3, 0, 3, 4]
    inputs, theirs = inputs_of(graphs, chosen), pyg_batch(graphs.take(np.array(chosen)))
    assert inputs["node_types"].tolist() == theirs.x.tolist()
    assert torch.stack([inputs["sources"], inputs["targets"]]).tolist() == theirs.edge_index.tolist()
    assert inputs["edge_types"].tolist() == theirs.edge_attr.tolist()
    assert inputs["sizes"].tolist() == theirs.ptr.diff().tolist() == theirs.batch.bincount().tolist()
    assert all(value.dtype == torch.int64 for name, value in inputs.items() if name != "node_features")
    nodes = np.concatenate([graphs.node_features[slice(*graphs.node_offsets[i : i + 2])] for i in chosen])  # type: ignore[index]
    assert inputs["node_features"].numpy().tolist() == nodes.tolist()


def test_a_batch_of_it_has_the_adjacency_that_it_needs() -> None:
    graphs, reverse = random_graphs(9, [4, 1, 6], 3, 1.5)
    adjacency = adjacency_of(graphs, reverse)
    assert isinstance(adjacency, Adjacency)
    key = (adjacency.targets * 6 + adjacency.types) * adjacency.nodes + adjacency.sources
    assert (key.diff() >= 0).all()
    untyped = adjacency.untyped()
    assert untyped.n_types == 1
    assert untyped.type_counts.flatten().tolist() == adjacency.degrees.tolist()


def rings(seed: int, count: int) -> tuple[Graphs, list[int]]:
    """Rings of two kinds of nodes, as many of each, that take turns or stand apart: the edges alone tell which."""
    rng = np.random.default_rng(seed)
    parts = []
    for index in range(count):
        half = int(rng.integers(3, 6))
        numbers = np.arange(2 * half)
        parts.append(
            Graphs(
                *(np.array([0, size]) for size in (2 * half, 2 * half, 0)),
                node_types=numbers % 2 if index % 2 else numbers // half,
                lines=0 * numbers,
                token_counts=0 * numbers,
                token_ids=numbers[:0],
                sources=numbers,
                targets=(numbers + 1) % (2 * half),
                edge_types=0 * numbers,
            )
        )
    return join(parts).mirrored([1, 0]), [1, 0]


@pytest.mark.parametrize("conv", ["rgcn", "ggnn", "gin", "gat", "gcn"])
def test_learns_what_only_the_edges_tell(conv: str) -> None:
    graphs, reverse = rings(0, 80)
    split = split_of(graphs)
    torch.manual_seed(0)
    model = GNN(GNNConfig(conv=conv, hidden_size=16, layers=2, dropout=0.0), context_of(graphs, reverse))  # type: ignore[arg-type]
    optimizer = AdamW(AdamWConfig(), model, 1e-2)
    loss = CrossEntropy(CrossEntropyConfig(), LossContext(np.array([40, 40]), ("apart", "in turn")))
    trainer = Trainer(model, optimizer, loss, epochs=8)
    valid = split_of(rings(1, 40)[0])
    history = trainer.fit(Loader(split, batch_size=16, seed=0), valid)
    assert history.epochs[-1]["valid"]["accuracy"] == 1.0


def test_the_same_seed_gives_the_same_bits() -> None:
    graphs, reverse = random_graphs(10, SIZES, 3, 2.0)
    for name in NETWORKS:
        found = []
        for _ in range(2):
            model = build(name, context_of(graphs, reverse)).train()
            torch.manual_seed(5)
            output = model(**inputs_of(graphs)).logits
            found.append(
                [output, *torch.autograd.grad(output.square().sum(), list(model.parameters()), allow_unused=True)]
            )
        for one, other in zip(*found, strict=True):
            assert (one is None and other is None) or torch.equal(one, other), name


def test_nodes_without_names_or_types_need_no_weights_for_them() -> None:
    graphs, reverse = random_graphs(11, [3, 2], 1, 1.0)
    context = context_of(graphs, reverse)
    bare = ModelContext(context.class_shares, {**context.encoding, "sub_tokens": 1})
    model = GNN(GNNConfig(**SMALL), bare)
    assert model.embedding.sub_tokens is None
    assert model.embedding.features is None
    assert model(**inputs_of(graphs)).logits.isfinite().all()


@pytest.mark.parametrize(
    ("values", "where"),
    [({"conv": "gat", "hidden_size": 30, "heads": 4}, "heads"), ({"conv": "gin", "bases": 2}, "bases")],
)
def test_relations_between_fields(values: dict[str, Any], where: str) -> None:
    assert [problem.where for problem in GNNConfig(**values).problems()] == [where]
    assert list(GNNConfig().problems()) == []
    assert list(GNNConfig(hidden_size=30).problems()) == []  # no heads to divide it


def sub_token_mean(model: GNN, inputs: dict[str, Tensor]) -> Tensor:
    assert model.embedding.sub_tokens is not None
    table, states = model.embedding.sub_tokens.weight, []
    start = 0
    for kind, count in zip(inputs["node_types"].tolist(), inputs["sub_token_counts"].tolist(), strict=True):
        tokens = inputs["sub_tokens"][start : start + count]
        mean = table[tokens].mean(0) if count else torch.zeros_like(table[0])
        states.append(model.embedding.types.weight[kind] + mean)
        start += count
    return torch.stack(states)


def test_a_node_begins_as_its_type_and_the_mean_of_its_sub_tokens() -> None:
    graphs, reverse = random_graphs(12, SIZES, 1, 1.0)
    model, inputs = build("gin without norm", context_of(graphs, reverse)), inputs_of(graphs)
    torch.testing.assert_close(model.embedding(inputs), sub_token_mean(model, inputs))


@pytest.mark.parametrize("conv", ["rgcn", "ggnn", "gin", "gat", "gcn"])
@given(case=graph_batches(n_types=3))
@settings(max_examples=15)
def test_types_that_are_not_told_apart_might_be_one(conv: str, case: tuple[Graphs, list[int]]) -> None:
    graphs, reverse = case
    one_type = replace(graphs, edge_types=np.zeros_like(graphs.edge_types)).by_target(1)
    results = []
    for these, types in ((graphs, reverse), (one_type, [0])):
        torch.manual_seed(0)
        config = GNNConfig(conv=conv, hidden_size=8, layers=2, heads=2, edge_types=False)
        model = GNN(config, context_of(these, types)).double().eval()
        nn.init.normal_(model.head.weight)
        logits = model(**inputs_of(these)).logits
        logits.square().sum().backward()
        gradients = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        results.append((logits, gradients))
    torch.testing.assert_close(results[0][0], results[1][0])
    for name, gradient in results[0][1].items():
        torch.testing.assert_close(gradient, results[1][1][name])
