"""Each convolution is PyTorch Geometric's layer of that name: same weights, same values, same gradients."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from graph_kit import adjacency_of, graph_batches, pyg_batch, random_graphs
from hypothesis import given, settings
from torch import Tensor, nn
from torch_geometric import nn as pyg

from counterpoise.data.graphs import Graphs
from counterpoise.models.gnn import adjacency as sums
from counterpoise.models.gnn.adjacency import Adjacency, edge_attention, neighbour_sum, relational_product, weighted_sum
from counterpoise.models.gnn.convolutions import (
    Attention,
    BatchNorm,
    Gated,
    Isomorphism,
    Normalised,
    Relational,
)

WIDTH = 4
Batches = tuple[Graphs, list[int]]
few = settings(max_examples=25, deadline=None)


def states_of(adjacency: Adjacency, width: int = WIDTH, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(adjacency.nodes, width, generator=generator, dtype=torch.float64, requires_grad=True)


def same(
    ours: Callable[[Tensor], Tensor], theirs: Callable[[Tensor], Tensor], pairs: list[tuple[Tensor, Tensor]], x: Tensor
) -> None:
    """Equal values, and equal gradients of the states and of each pair of weights (ours, theirs in our shape)."""
    found, expected = ours(x), theirs(x)
    torch.testing.assert_close(found, expected, atol=1e-9, rtol=1e-9)
    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1), dtype=found.dtype)
    left = torch.autograd.grad(found, [x, *(pair[0] for pair in pairs)], direction, allow_unused=True)
    right = torch.autograd.grad(expected, [x, *(pair[1] for pair in pairs)], direction, allow_unused=True)
    for one, other in zip(left, right, strict=True):
        if one is None or other is None:  # PyTorch Geometric skips what no edge reaches
            assert not any(value is not None and value.any() for value in (one, other))
        else:
            torch.testing.assert_close(one.reshape(other.shape), other, atol=1e-9, rtol=1e-9)


@pytest.fixture(params=["grouped", "dense"])
def product(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both ways of the product over edge types; the second is CUDA's."""
    if request.param == "dense":
        monkeypatch.setattr(sums, "_GroupedProduct", sums._DenseProduct)


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize("bases", [None, 2])
def test_relational_is_rgcn(bases: int | None) -> None:
    @given(graph_batches())
    @few
    def check(batch: Batches) -> None:
        graphs, reverse = batch
        adjacency = adjacency_of(graphs, reverse)
        ours = Relational(WIDTH, len(reverse), bases).double()
        theirs = pyg.RGCNConv(WIDTH, WIDTH, len(reverse), num_bases=bases).double()
        pairs = [(ours.weight, theirs.weight), (ours.root.bias, theirs.bias)]
        if bases:
            assert ours.mixture is not None
            pairs.append((ours.mixture, theirs.comp))
        with torch.no_grad():
            nn.init.normal_(ours.root.bias)
            theirs.root.copy_(ours.root.weight.t())
            for one, other in pairs:
                other.copy_(one)
        edges = pyg_batch(graphs)
        x = states_of(adjacency)
        same(lambda x: ours(x, adjacency), lambda x: theirs(x, edges.edge_index, edges.edge_attr), pairs, x)

    check()


@pytest.mark.usefixtures("product")
def test_gated_of_one_type_is_a_step_of_gated_graph_conv() -> None:
    @given(graph_batches(n_types=1, symmetric=True))
    @few
    def check(batch: Batches) -> None:
        graphs, reverse = batch
        adjacency = adjacency_of(graphs, reverse)
        ours = Gated(WIDTH, 1).double()
        theirs = pyg.GatedGraphConv(WIDTH, 1).double()
        theirs.rnn.load_state_dict(ours.gru.state_dict())
        with torch.no_grad():
            theirs.weight.copy_(ours.weight)
        edges = pyg_batch(graphs)
        pairs = [(ours.weight, theirs.weight), (ours.gru.weight_ih, theirs.rnn.weight_ih)]
        same(lambda x: ours(x, adjacency), lambda x: theirs(x, edges.edge_index), pairs, states_of(adjacency))

    check()


@pytest.mark.usefixtures("product")
def test_gated_has_a_matrix_for_each_type() -> None:
    @given(graph_batches())
    @few
    def check(batch: Batches) -> None:
        graphs, reverse = batch
        adjacency = adjacency_of(graphs, reverse)
        layer = Gated(WIDTH, len(reverse)).double()

        def slow(x: Tensor) -> Tensor:
            messages = [torch.zeros(WIDTH, dtype=x.dtype) for _ in range(adjacency.nodes)]
            edges = zip(adjacency.sources.tolist(), adjacency.targets.tolist(), adjacency.types.tolist(), strict=True)
            for source, target, kind in edges:
                messages[target] = messages[target] + x[source] @ layer.weight[kind]
            return layer.gru(torch.stack(messages), x)

        same(lambda x: layer(x, adjacency), slow, [(layer.weight, layer.weight)], states_of(adjacency))

    check()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_isomorphism_is_gin(norm: str) -> None:
    @given(graph_batches(n_types=1, symmetric=True))
    @few
    def check(batch: Batches) -> None:
        graphs, reverse = batch
        adjacency = adjacency_of(graphs, reverse)
        ours = Isomorphism(WIDTH, 1, norm).double()  # type: ignore[arg-type]
        middle = nn.BatchNorm1d(WIDTH) if norm == "batch" else nn.Identity()
        network = nn.Sequential(nn.Linear(WIDTH, WIDTH), middle, nn.ReLU(), nn.Linear(WIDTH, WIDTH)).double()
        theirs = pyg.GINConv(network)
        network.load_state_dict(ours.network.state_dict())
        edges = pyg_batch(graphs)
        if adjacency.nodes == 1 and norm == "batch":  # which PyTorch refuses
            ours.eval(), theirs.eval()
        pairs = [(ours.network[0].weight, network[0].weight), (ours.network[3].bias, network[3].bias)]
        same(lambda x: ours(x, adjacency), lambda x: theirs(x, edges.edge_index), pairs, states_of(adjacency))

    check()


@given(graph_batches(n_types=2))
@few
def test_isomorphism_adds_the_vector_of_an_edges_type(batch: Batches) -> None:
    graphs, reverse = batch
    adjacency = adjacency_of(graphs, reverse)
    layer = Isomorphism(WIDTH, len(reverse), "none").double()
    vectors = layer.type_embedding
    assert vectors is not None

    def slow(x: Tensor) -> Tensor:
        total = list(x)
        edges = zip(adjacency.sources.tolist(), adjacency.targets.tolist(), adjacency.types.tolist(), strict=True)
        for source, target, kind in edges:
            total[target] = total[target] + x[source] + vectors[kind]
        return layer.network(torch.stack(total))

    same(lambda x: layer(x, adjacency), slow, [(vectors, vectors)], states_of(adjacency))


@pytest.mark.parametrize("heads", [1, 2])
@pytest.mark.parametrize("typed", [True, False])
def test_attention_is_gat(heads: int, typed: bool) -> None:
    @given(graph_batches(n_types=2) if typed else graph_batches(n_types=1, symmetric=True))
    @few
    def check(batch: Batches) -> None:
        graphs, reverse = batch
        adjacency = adjacency_of(graphs, reverse)
        each = WIDTH // heads
        ours = Attention(WIDTH, len(reverse), heads).double()
        theirs = pyg.GATConv(WIDTH, each, heads, edge_dim=len(reverse) if typed else None).double()
        pairs = [(ours.linear.weight, theirs.lin.weight), (ours.bias, theirs.bias)]
        pairs += [(ours.of_source, theirs.att_src), (ours.of_target, theirs.att_dst)]
        edges = pyg_batch(graphs)
        one_hot = torch.nn.functional.one_hot(edges.edge_attr, len(reverse)).double()
        with torch.no_grad():
            nn.init.normal_(ours.bias)
            for one, other in pairs:
                other.copy_(one.view_as(other))
            if typed:
                # An edge's score is its one-hot type through two linear maps: the second picks the first's sum.
                assert ours.of_type is not None
                theirs.att_edge.fill_(1.0)
                theirs.lin_edge.weight.copy_(ours.of_type.t().repeat_interleave(each, 0) / each)
        call = (lambda x: theirs(x, edges.edge_index, one_hot)) if typed else (lambda x: theirs(x, edges.edge_index))
        same(lambda x: ours(x, adjacency), call, pairs, states_of(adjacency))
        if typed:
            x = states_of(adjacency)
            direction = torch.randn(x.shape, generator=torch.Generator().manual_seed(2), dtype=x.dtype)
            (mine,) = torch.autograd.grad(ours(x, adjacency), [ours.of_type], direction)
            yours = torch.autograd.grad(call(x), [theirs.lin_edge.weight], direction, allow_unused=True)[0]
            expected = torch.zeros_like(mine) if yours is None else yours.view(heads, each, -1).mean(1).t()
            torch.testing.assert_close(mine, expected, atol=1e-9, rtol=1e-9)

    check()


@given(graph_batches())
@few
def test_normalised_is_gcn(batch: Batches) -> None:
    graphs, reverse = batch
    adjacency = adjacency_of(graphs, reverse)
    ours, theirs = Normalised(WIDTH).double(), pyg.GCNConv(WIDTH, WIDTH).double()
    nn.init.normal_(ours.bias)
    pairs = [(ours.linear.weight, theirs.lin.weight), (ours.bias, theirs.bias)]
    with torch.no_grad():
        for one, other in pairs:
            other.copy_(one)
    edges = pyg_batch(graphs)
    same(lambda x: ours(x, adjacency), lambda x: theirs(x, edges.edge_index), pairs, states_of(adjacency))


@given(graph_batches())
@few
def test_what_is_derived_from_the_edges(batch: Batches) -> None:
    graphs, reverse = batch
    adjacency = adjacency_of(graphs, reverse)
    edges = list(zip(adjacency.sources.tolist(), adjacency.targets.tolist(), adjacency.types.tolist(), strict=True))
    assert edges == sorted(edges, key=lambda edge: (edge[1], edge[2], edge[0]))
    assert adjacency.degrees.tolist() == [sum(e[1] == node for e in edges) for node in range(adjacency.nodes)]
    counts = [[sum(e[1:] == (n, kind) for e in edges) for kind in range(len(reverse))] for n in range(adjacency.nodes)]
    assert adjacency.type_counts.tolist() == counts
    assert adjacency.loop_counts.tolist() == [sum(e[:2] == (n, n) for e in edges) for n in range(adjacency.nodes)]
    back = adjacency.reverse_edges.tolist()
    assert sorted(back) == list(range(len(edges)))
    for (source, target, kind), other in zip(edges, back, strict=True):
        assert edges[other] == (target, source, reverse[kind])


def test_gradients_are_those_of_finite_differences() -> None:
    graphs, reverse = random_graphs(3, [4, 1, 3], 2, 1.5)
    adjacency = adjacency_of(graphs, reverse)
    generator = torch.Generator().manual_seed(0)

    def drawn(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator, dtype=torch.float64, requires_grad=True)

    nodes, edges, kinds = adjacency.nodes, len(adjacency.sources), len(reverse)
    x, weight = drawn(nodes, 3), drawn(kinds, 3, 2)
    assert torch.autograd.gradcheck(lambda x: neighbour_sum(x, adjacency), (x,))
    for mean in (True, False):
        for kind in (sums._GroupedProduct, sums._DenseProduct):
            assert torch.autograd.gradcheck(lambda x, w, k=kind, m=mean: k.apply(x, w, adjacency, m), (x, weight))
        assert torch.autograd.gradcheck(lambda x, w, m=mean: relational_product(x, w, adjacency, mean=m), (x, weight))
    scores = drawn(nodes, 2), drawn(nodes, 2), drawn(kinds, 2)
    assert torch.autograd.gradcheck(lambda s, t, k: edge_attention(s, t, k, adjacency), scores)
    values = drawn(2, nodes, 3), drawn(edges, 2)
    assert torch.autograd.gradcheck(lambda v, w: weighted_sum(v, w, adjacency), values)


def test_attention_adds_up_to_one_even_at_huge_scores() -> None:
    graphs, reverse = random_graphs(0, [9, 3], 1, 2.0)
    adjacency = adjacency_of(graphs, reverse)
    scores = [1e4 * torch.randn(adjacency.nodes, 2, generator=torch.Generator().manual_seed(i)) for i in range(2)]
    weights, own = edge_attention(scores[0], scores[1], None, adjacency)
    torch.testing.assert_close(adjacency.sum_of_edges(weights) + own, torch.ones(adjacency.nodes, 2))
    assert not weights[adjacency.loops].any()


def test_more_edges_than_are_gathered_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    graphs, reverse = random_graphs(5, [30, 20], 2, 3.0)
    adjacency = adjacency_of(graphs, reverse)
    layer = Attention(WIDTH, len(reverse), 2).double()
    found = []
    for size in (4096, 7):
        monkeypatch.setattr(sums, "_CHUNK", size)
        x = states_of(adjacency)
        found.append(torch.autograd.grad(layer(x, adjacency).square().sum(), [x, *layer.parameters()]))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


# PyTorch refuses the variance of one value; the last batch of an epoch may hold one graph of one node.
def test_batch_norm_of_a_single_node_uses_the_running_figures() -> None:
    norm = BatchNorm(3)
    norm(torch.randn(50, 3) * 2 + 1)
    before = norm.running_mean.clone()  # type: ignore[union-attr]
    one = torch.randn(1, 3)
    found = norm(one)
    torch.testing.assert_close(found, norm.eval()(one))
    torch.testing.assert_close(norm.running_mean, before)
    several = torch.randn(5, 3)
    plain = nn.BatchNorm1d(3)
    torch.testing.assert_close(BatchNorm(3)(several), plain(several))


LAYERS: dict[str, Callable[[int], nn.Module]] = {
    "relational": lambda kinds: Relational(16, kinds, None),
    "relational of bases": lambda kinds: Relational(16, kinds, 2),
    "gated": lambda kinds: Gated(16, kinds),
    "isomorphism": lambda kinds: Isomorphism(16, kinds, "layer"),
    "attention": lambda kinds: Attention(16, kinds, 4),
    "normalised": lambda kinds: Normalised(16),
}


@pytest.mark.usefixtures("product")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", LAYERS)
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    graphs, reverse = random_graphs(6, [7, 1, 12, 3], 2, 1.5)
    adjacency = adjacency_of(graphs, reverse)
    torch.manual_seed(0)
    layer = LAYERS[name](len(reverse))
    states = torch.randn(adjacency.nodes, 16, requires_grad=True)
    direction = torch.randn(adjacency.nodes, 16)
    exact = layer(states, adjacency)
    expected = torch.autograd.grad(exact, [states, *layer.parameters()], direction)
    with torch.autocast("cpu", dtype=dtype):
        found = layer(states, adjacency)
    torch.testing.assert_close(found.float(), exact, atol=0.1, rtol=0.05)
    gradients = torch.autograd.grad(found, [states, *layer.parameters()], direction.to(found.dtype))
    for one, other in zip(gradients, expected, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() <= 0.1 * other.norm() + 0.05
