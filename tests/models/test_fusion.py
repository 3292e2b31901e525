"""What a fusion knows at first, what reaches its logits, and what it trains."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from counterpoise.config.schema import parse
from counterpoise.errors import UserError
from counterpoise.models.base import Backbone, Features, ModelContext
from counterpoise.models.bilstm import BiLSTM, BiLSTMConfig
from counterpoise.models.fusion import Fusion, FusionConfig, named, stretches
from counterpoise.models.gnn import GNN, GNNConfig
from counterpoise.models.textcnn import TextCNN, TextCNNConfig
from counterpoise.models.transformer import Transformer, TransformerConfig
from counterpoise.optim.adamw import AdamW, AdamWConfig, parameter_groups
from fusion_kit import WordGraph

SHARES = (0.7, 0.2, 0.1)
TOKENS = {"vocab_size": 50, "pad_id": 0, "max_length": 64}
GRAPHS = {"node_types": 5, "sub_tokens": 20, "edge_types": 2, "reverse_edge_types": [1, 0], "node_features": 0}
SMALL = TransformerConfig(hidden_size=16, heads=2, layers=1, feed_forward_size=24)
CNN = TextCNNConfig(embedding_size=8, filters=4)
LAYERS = ("concat", "gated", "cross_attention")
each_layer = pytest.mark.parametrize("layer", LAYERS)


def text_branch(kind: str = "cnn", seed: int = 1) -> Backbone:
    torch.manual_seed(seed)
    context = ModelContext(SHARES, TOKENS)
    made: Backbone = {
        "cnn": lambda: TextCNN(CNN, context),
        "lstm": lambda: BiLSTM(BiLSTMConfig(embedding_size=8, hidden_size=6), context),
        "transformer": lambda: Transformer(SMALL, context),
    }[kind]()
    nn.init.normal_(made.head.weight)  # it has learnt something
    return made.eval()


def graph_branch(kind: str = "words", seed: int = 2) -> Backbone:
    torch.manual_seed(seed)
    context = ModelContext(SHARES, GRAPHS)
    small = GNNConfig(hidden_size=8, layers=2)
    made: Backbone = GNN(small, context) if kind == "gnn" else WordGraph(CNN, context)
    nn.init.normal_(made.head.weight)
    return made.eval()


def build(text: Backbone | None = None, graph: Backbone | None = None, seed: int = 0, **changes: Any) -> Fusion:
    """A fusion; branches that are not given are fresh."""
    torch.manual_seed(seed)
    branches = {"transformer": text, "gnn": graph}
    given = {name: branch for name, branch in branches.items() if branch is not None}
    fields = {"hidden_size": 8, "heads": 2, "fresh_transformer": SMALL, "fresh_gnn": GNNConfig(hidden_size=8, layers=1)}
    config = FusionConfig(**fields, **dict.fromkeys(given, "a run"), **changes)
    return Fusion(config, ModelContext(SHARES, {"tokens": TOKENS, "graphs": GRAPHS}, given))


def batch(lengths: list[int], sizes: list[int], width: int | None = None, seed: int = 0) -> dict[str, Tensor]:
    """Texts of these lengths and chains of these sizes; a sample's content depends on its place alone."""
    ids = torch.zeros(len(lengths), width or max(lengths), dtype=torch.long)
    types, words, sources, targets, edge_types = [], [], [], [], []
    first = 0
    for row, (length, size) in enumerate(zip(lengths, sizes, strict=True)):
        generator = torch.Generator().manual_seed(100 * seed + row)
        ids[row, :length] = torch.randint(1, 50, (length,), generator=generator)
        types.append(torch.randint(0, 5, (size,), generator=generator))
        words.append(torch.randint(0, 20, (size,), generator=generator))
        links = [
            (target, kind, source)
            for source, target, kind in [
                *((i, i + 1, 0) for i in range(size - 1)),
                *((i + 1, i, 1) for i in range(size - 1)),
            ]
        ]
        for target, kind, source in sorted(links):
            sources.append(first + source)
            targets.append(first + target)
            edge_types.append(kind)
        first += size
    return {
        "ids": ids,
        "lengths": torch.tensor(lengths),
        "sizes": torch.tensor(sizes),
        "node_types": torch.cat(types),
        "sub_tokens": torch.cat(words),
        "sub_token_counts": torch.ones(first, dtype=torch.long),
        "sources": torch.tensor(sources, dtype=torch.long),
        "targets": torch.tensor(targets, dtype=torch.long),
        "edge_types": torch.tensor(edge_types, dtype=torch.long),
    }


LENGTHS, SIZES = [7, 1, 12, 3], [4, 9, 1, 6]


def one(row: int) -> dict[str, Tensor]:
    """The same sample alone."""
    whole = batch(LENGTHS, SIZES)
    begin = sum(SIZES[:row])
    nodes = slice(begin, begin + SIZES[row])
    edges = (whole["targets"] >= begin) & (whole["targets"] < begin + SIZES[row])
    return {
        "ids": whole["ids"][row : row + 1, : LENGTHS[row]],
        **{name: whole[name][row : row + 1] for name in ("lengths", "sizes")},
        **{name: whole[name][nodes] for name in ("node_types", "sub_tokens", "sub_token_counts")},
        **{name: whole[name][edges] - begin for name in ("sources", "targets")},
        "edge_types": whole["edge_types"][edges],
    }


def loud(model: Fusion) -> Fusion:
    """With a correction that shows."""
    nn.init.normal_(model.fusion.output.weight)
    return model


def features_of(model: Fusion, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for name in model.branches:
        found |= named(name, model.branch_features(name, inputs))
    return found


@each_layer
@pytest.mark.parametrize(("text", "graph"), [("cnn", "words"), ("lstm", "gnn"), ("transformer", "gnn")])
def test_features_give_the_logits_of_their_inputs(layer: str, text: str, graph: str) -> None:
    model = loud(build(text_branch(text), graph_branch(graph), layer=layer, max_states=5)).eval()
    inputs = batch(LENGTHS, SIZES)
    with torch.no_grad():
        features = features_of(model, inputs)
        torch.testing.assert_close(model(**features).logits, model(**inputs).logits, atol=1e-6, rtol=1e-5)
    assert ("gnn_states" in features) == (layer == "cross_attention")
    if layer == "cross_attention":
        assert features["gnn_states"].shape[1] == 5


@each_layer
@pytest.mark.parametrize("max_states", [4, 64])
def test_neither_padding_nor_the_rest_of_a_batch_reaches_a_logit(layer: str, max_states: int) -> None:
    model = loud(build(text_branch("transformer"), graph_branch("gnn"), layer=layer, max_states=max_states)).eval()
    with torch.no_grad():
        together = model(**batch(LENGTHS, SIZES)).logits
        loose = model(**batch(LENGTHS, SIZES, width=30)).logits
        alone = torch.cat([model(**one(row)).logits for row in range(4)])
        features = features_of(model, batch(LENGTHS, SIZES))
        for name in [name for name in features if name.endswith("_states")]:
            wide = torch.full((4, 90, features[name].shape[2]), 7.0)
            wide[:, : features[name].shape[1]] = features[name]
            for row, length in enumerate(features[name.replace("states", "lengths")].tolist()):
                wide[row, length:] = 7.0
            features[name] = wide
        dirty = model(**features).logits
    for other in (loose, alone, dirty):
        torch.testing.assert_close(together, other, atol=1e-5, rtol=1e-5)
    assert (together[0] - together[2]).abs().max() > 1e-2


@each_layer
def test_it_starts_at_the_mean_of_its_branches_log_probabilities(layer: str) -> None:
    text, graph = text_branch(), graph_branch()
    model = build(text, graph, layer=layer).eval()
    inputs = batch(LENGTHS, SIZES)
    with torch.no_grad():
        expected = (text(**inputs_of(text, inputs)).logits.log_softmax(1) + graph(**inputs).logits.log_softmax(1)) / 2
        found = model(**inputs).logits
    torch.testing.assert_close(found.softmax(1), expected.softmax(1), atol=0.02, rtol=0)
    assert (found.softmax(1)[0] - found.softmax(1)[1]).abs().max() > 0.1


def inputs_of(branch: Backbone, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: inputs[name] for name in ("ids", "lengths")} if branch.encoding == "tokens" else inputs


@each_layer
def test_it_starts_at_the_class_shares_where_it_is_told_to_or_knows_nothing(layer: str) -> None:
    inputs = batch(LENGTHS, SIZES)
    for model in (build(text_branch(), graph_branch(), layer=layer, start="prior"), build(layer=layer)):
        with torch.no_grad():
            found = model.eval()(**inputs).logits.softmax(1)
        torch.testing.assert_close(found, torch.tensor(SHARES).expand(4, 3), atol=0.06, rtol=0)


def test_one_branch_of_a_run_answers_alone_at_first() -> None:
    text = text_branch()
    model = build(text, None).eval()
    inputs = batch(LENGTHS, SIZES)
    with torch.no_grad():
        expected = text(ids=inputs["ids"], lengths=inputs["lengths"]).logits.softmax(1)
        torch.testing.assert_close(model(**inputs).logits.softmax(1), expected, atol=0.02, rtol=0)


@each_layer
@pytest.mark.parametrize("start", ["branches", "prior"])
@pytest.mark.parametrize("given", [(True, True), (True, False), (False, True), (False, False)])
def test_everything_that_is_trained_learns(layer: str, start: str, given: tuple[bool, bool]) -> None:
    text, graph = text_branch() if given[0] else None, graph_branch() if given[1] else None
    model = loud(build(text, graph, layer=layer, start=start)).train()
    cross_entropy(model(**batch(LENGTHS, SIZES)).logits, torch.tensor([0, 1, 2, 0])).backward()
    for where, parameter in model.named_parameters():
        assert (parameter.grad is not None) == parameter.requires_grad, where


def test_frozen_branches_stay_as_they_are() -> None:
    model = build(text_branch(), graph_branch(), mode="frozen")
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.train()
    assert not model.transformer.training
    assert not any(part.training for part in model.gnn.modules())
    assert model.fusion.training
    config = AdamWConfig(lr_factors={"transformer": 0.1, "gnn": 0.5, "fusion": 1.0})
    optimizer = AdamW(config, model, 0.1)
    assert {group["name"].split(".")[0] for group in optimizer.param_groups} == {"fusion"}
    cross_entropy(model(**batch(LENGTHS, SIZES)).logits, torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith("fusion.") for name in changed)
    assert Fusion.frozen_epochs(FusionConfig(transformer="a", gnn="b", mode="frozen")) == float("inf")


def test_every_part_has_its_own_rate() -> None:
    model = build(text_branch(), graph_branch())
    groups = parameter_groups(model, lr=2.0, weight_decay=0.1, factors={"transformer": 0.1, "gnn": 0.5, "fusion": 1.0})
    assert {group["name"].split(".")[0]: group["lr"] for group in groups} == {
        "transformer": 0.2,
        "gnn": 1.0,
        "fusion": 2.0,
    }


def test_a_branch_is_copied_and_not_changed() -> None:
    text, graph = text_branch(), graph_branch()
    model = build(text, graph)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert text.head.weight.abs().sum() > 0
    build(text, graph, mode="frozen")
    assert all(parameter.requires_grad for parameter in text.parameters())


@pytest.mark.parametrize("mode", ["frozen", "staged"])
@pytest.mark.parametrize("fresh", ["transformer", "gnn"])
def test_what_is_fresh_is_not_frozen(mode: str, fresh: str) -> None:
    node = {"transformer": "a", "gnn": "b", "mode": mode, fresh: "fresh"}
    with pytest.raises(UserError, match=rf"model\.{fresh}: must be the folder of a finished run with mode={mode}"):
        parse(FusionConfig, node, "model")


def test_heads_divide_the_width_where_there_are_any() -> None:
    node = {"hidden_size": 10, "heads": 4, "layer": "cross_attention"}
    with pytest.raises(UserError, match=r"model\.heads: must divide hidden_size=10"):
        parse(FusionConfig, node, "model")
    assert parse(FusionConfig, {**node, "layer": "gated"}, "model").hidden_size == 10


class Stateless(TextCNN):
    def features(self, inputs: Any, *, states: bool = False) -> Features:
        return super().features(inputs)


def test_a_branch_without_states_is_told() -> None:
    model = build(Stateless(CNN, ModelContext(SHARES, TOKENS)), graph_branch(), layer="cross_attention")
    with pytest.raises(UserError, match=r"model\.layer: cross_attention reads single states, but Stateless gives none"):
        model(**batch(LENGTHS, SIZES))


@each_layer
def test_an_empty_graph_does_no_harm(layer: str) -> None:
    model = loud(build(text_branch(), graph_branch(), layer=layer)).eval()
    with torch.no_grad():
        some = model(**batch([5, 6], [3, 0])).logits
        none = model(**batch([5, 6], [0, 0])).logits
    assert some.isfinite().all()
    torch.testing.assert_close(some[1], none[1], atol=1e-5, rtol=1e-5)


def test_a_gate_weighs_the_two_feature_by_feature() -> None:
    model = loud(build(text_branch(), graph_branch(), layer="gated", start="prior")).eval()
    layer, inputs = model.fusion, batch(LENGTHS, SIZES)
    with torch.no_grad():
        text, graph = (
            nn.functional.layer_norm(model.branch_features(name, inputs).pooled, [width])
            for name, width in (("transformer", 12), ("gnn", 8))
        )
        gate = torch.sigmoid(layer.gate(torch.cat([text, graph], 1)))
        first, second = torch.tanh(layer.projections[0](text)), torch.tanh(layer.projections[1](graph))
        expected = layer.output(gate * first + (1 - gate) * second)
        torch.testing.assert_close(model(**inputs).logits, expected)


def reference(states: Tensor, length: int, most: int) -> Tensor:
    """The mean of each stretch, by its definition."""
    if length <= most:
        return states[:length]
    owner = [place * most // length for place in range(length)]
    parts = [states[[p for p in range(length) if owner[p] == number]].mean(0) for number in range(most)]
    return torch.stack(parts)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 23), min_size=1, max_size=4), st.integers(1, 9), st.integers(0, 5))
def test_long_sequences_become_the_means_of_equal_stretches(lengths: list[int], most: int, spare: int) -> None:
    states = torch.randn(len(lengths), max(lengths) + spare, 3, dtype=torch.float64)
    found, left = stretches(states, torch.tensor(lengths), most)
    assert found.shape == (len(lengths), min(most, max(lengths) + spare), 3)
    assert left.tolist() == [min(length, most) for length in lengths]
    for row, length in enumerate(lengths):
        torch.testing.assert_close(found[row, : left[row]], reference(states[row], length, most))
        assert not found[row, left[row] :].any()


@given(st.integers(1, 500), st.integers(1, 64))
def test_stretches_are_equal_and_none_is_empty(length: int, most: int) -> None:
    sizes = torch.bincount(torch.arange(length) * most // length, minlength=most) if length > most else torch.ones(1)
    assert sizes.min() >= 1
    assert sizes.max() - sizes.min() <= 1


def test_a_fusion_reads_what_its_config_says() -> None:
    config = FusionConfig(max_states=7)
    assert config.states_read == 0
    assert replace(config, layer="cross_attention").states_read == 7
