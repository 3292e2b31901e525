"""Chunks read by themselves, attention over them: nothing but the document decides, and its account adds up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import BertConfig, BertModel, RobertaConfig, RobertaModel

from counterpoise.data.encode.chunks import ChunkSplit, Frame
from counterpoise.data.loader import Loader
from counterpoise.data.ragged import Ragged
from counterpoise.engine.precision import make_fabric
from counterpoise.engine.trainer import Trainer
from counterpoise.errors import UserError
from counterpoise.losses import CrossEntropy, CrossEntropyConfig, LossContext
from counterpoise.models import hierarchical
from counterpoise.models.base import ModelContext
from counterpoise.models.chunk_attention import Sinusoids
from counterpoise.models.hierarchical import Hierarchical, HierarchicalConfig, passes
from counterpoise.models.text_encoder import pool
from counterpoise.optim.adamw import AdamW, AdamWConfig

SHARES = (0.6, 0.3, 0.1)
WINDOW, MOST = 16, 6
PROPERTIES = {"vocab_size": 50, "pad_id": 0, "max_length": WINDOW, "window": WINDOW, "max_chunks": MOST}
SMALL: dict[str, Any] = {"hidden_size": 16, "heads": 2, "feed_forward_size": 24, "attention_size": 5}
KINDS: dict[str, dict[str, Any]] = {
    "additive": {},
    "no positions": {"positions": "none"},
    "sinusoidal, projected": {"positions": "sinusoidal", "chunk_size": 7},
    "transformer": {"attention": "transformer", "chunk_size": 16, "chunk_layers": 2, "chunk_heads": 2},
    "cls": {"pooling": "cls", "convolution": 0},
}
each_kind = pytest.mark.parametrize("kind", KINDS)
SIZES = [5, 70, 14, 0, 84, 30]
"""Tokens of the documents of a test, special ones aside."""


def split_of(sizes: list[int] = SIZES, seed: int = 0, pad_id: int = 0) -> ChunkSplit:
    rng = np.random.default_rng(seed)
    ids = Ragged.from_items([rng.integers(5, 50, size) for size in sizes])
    none = Ragged.from_items([[] for _ in sizes])
    labels = np.arange(len(sizes)) % 3
    return ChunkSplit(ids, none, labels, np.arange(len(sizes)), pad_id, Frame((3,), (4,)), WINDOW, overlap=0)


def inputs_of(indices: list[int] | None = None, split: ChunkSplit | None = None) -> dict[str, Tensor]:
    split = split or split_of()
    return dict(split.batch(np.arange(len(SIZES)) if indices is None else np.array(indices)).inputs)  # type: ignore[arg-type]


def build(kind: str = "additive", **values: Any) -> Hierarchical:
    """With a head that shows differences."""
    torch.manual_seed(0)
    config = HierarchicalConfig(**{**SMALL, **KINDS[kind], **values})
    model = Hierarchical(config, ModelContext(SHARES, PROPERTIES)).eval()
    nn.init.normal_(model.head.weight)
    return model


def plain(model: Hierarchical, inputs: dict[str, Tensor]) -> Tensor:
    """One document after the other, chunk by chunk, without any padding."""
    logits, start = [], 0
    for count in inputs["counts"].tolist():
        vectors = []
        for row in range(start, start + count):
            ids = inputs["ids"][row : row + 1, : int(inputs["lengths"][row])]
            mask = torch.ones_like(ids, dtype=torch.bool)
            states, local = model.encoder(ids, mask)
            parts = [pool(states, mask, model.pooling)] + ([] if local is None else [local.amax(1)])
            vectors.append(torch.cat(parts, 1))
        start += count
        chunks = torch.cat(vectors)[None]
        weighed = model.attention(chunks, torch.ones(1, count, dtype=torch.bool))
        values = weighed.values[0]
        attention = model.attention
        alpha = (
            torch.tanh(values @ attention.hidden.weight.T + attention.hidden.bias) @ attention.score.weight.T
        ).softmax(0)
        logits.append(model.head((alpha * values).sum(0)))
    return torch.stack(logits)


@each_kind
@torch.no_grad()
def test_a_batch_is_its_documents_one_by_one(kind: str) -> None:
    model, inputs = build(kind), inputs_of()
    logits = model(**inputs).logits
    torch.testing.assert_close(logits, plain(model, inputs), atol=1e-5, rtol=1e-5)
    assert logits.std(0).min() > 1e-2


@each_kind
@torch.no_grad()
def test_nothing_but_the_document_decides(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = build(kind), inputs_of()
    expected = model(**inputs).logits

    def same(logits: Tensor, order: list[int] | None = None) -> None:
        wanted = expected if order is None else expected[order]
        torch.testing.assert_close(logits, wanted, atol=1e-5, rtol=1e-5)

    padded = F.pad(inputs["ids"], (0, 23))
    same(model(**{**inputs, "ids": padded}).logits)
    columns = torch.arange(padded.shape[1])
    same(model(**{**inputs, "ids": padded.masked_fill(columns >= inputs["lengths"][:, None], 33)}).logits)
    order = [4, 0, 3, 5, 2, 1]
    same(model(**inputs_of(order)).logits, order)
    for index in range(len(SIZES)):
        same(model(**inputs_of([index])).logits, [index])
    for tokens in (1, 16, 40, 10_000):
        model.pass_tokens = tokens
        same(model(**inputs).logits)
    monkeypatch.setattr(hierarchical, "WIDTH_STEP", 1)  # no padding at all
    model.pass_tokens = 1
    same(model(**inputs).logits)


@each_kind
@torch.no_grad()
def test_attention_is_a_mean_over_real_chunks(kind: str) -> None:
    model, inputs = build(kind), inputs_of()
    attention = model(**inputs).attention
    counts = inputs["counts"]
    assert attention.shape == (len(SIZES), int(counts.max()))
    torch.testing.assert_close(attention.sum(1), torch.ones(len(SIZES)))
    outside = torch.arange(attention.shape[1]) >= counts[:, None]
    assert outside.any()
    assert (attention[outside] == 0).all()
    assert (attention[~outside] > 0).all()
    assert attention[counts > 1].amax(1).min() < 1


@each_kind
@torch.no_grad()
def test_contributions_add_up_to_the_logits(kind: str) -> None:
    model, inputs = build(kind), inputs_of()
    nn.init.normal_(model.head.bias)
    found, output = model.attribute(**inputs), model(**inputs)
    torch.testing.assert_close(found.contributions.sum((1, 2)) + found.rest, output.logits, atol=1e-5, rtol=1e-5)
    assert found.attention.shape == (len(SIZES), 1, output.attention.shape[1])
    torch.testing.assert_close(found.attention[:, 0], output.attention)
    assert (found.contributions[:, 0][output.attention == 0] == 0).all()
    features = model.features(inputs, states=True)
    assert features.states is not None
    again = torch.einsum("bl,blf,cf->blc", output.attention, features.states, model.head.weight)
    torch.testing.assert_close(found.contributions[:, 0], again, atol=1e-5, rtol=1e-5)


def test_only_real_chunks_are_read() -> None:
    model, inputs = build(pass_tokens=64), inputs_of()
    read: list[Tensor] = []
    model.encoder.register_forward_pre_hook(lambda module, given: read.append(given[1]))
    model(**inputs)
    assert sum(len(mask) for mask in read) == int(inputs["counts"].sum()) == len(inputs["ids"])
    assert sum(int(mask.sum()) for mask in read) == int(inputs["lengths"].sum())
    assert all(mask.numel() <= 64 for mask in read)


def test_passes_are_few_shapes_and_bounded() -> None:
    sizes = [512] * 37 + [500, 449, 300, 120, 3]
    found = list(passes(sizes, 4096, 512))
    assert [start for start, _, _ in found] == [0, *(end for _, end, _ in found[:-1])]
    assert found[-1][1] == len(sizes)
    for start, end, width in found:
        assert width >= sizes[start] == max(sizes[start:end])
        assert (end - start) * width <= 4096
        assert width % 64 == 0
    assert {width for _, _, width in passes([100, 99, 5], 1, 100)} == {100, 64}, "no wider than a chunk can be"
    assert len(list(passes([100, 99, 5], 1, 100))) == 3, "a pass holds at least one"


@pytest.mark.parametrize("checkpointing", [False, True])
def test_every_parameter_learns(checkpointing: bool) -> None:
    model = build("transformer", gradient_checkpointing=checkpointing).train()
    F.cross_entropy(model(**inputs_of()).logits, torch.arange(6) % 3).backward()
    for where, parameter in model.named_parameters():
        assert parameter.grad is not None, where
        assert parameter.grad.isfinite().all(), where
        assert parameter.grad.abs().sum() > 0, where


# Dropout is drawn again as it was.
@each_kind
def test_gradient_checkpointing_gives_the_same_gradients_and_reads_twice(kind: str) -> None:
    gradients, reads = [], []
    for checkpointing in (False, True):
        model = build(kind, dropout=0.2, gradient_checkpointing=checkpointing, pass_tokens=64).train()
        calls: list[int] = []
        layer: Any = model.encoder.layers
        layer[0].register_forward_pre_hook(lambda module, given, calls=calls: calls.append(1))
        torch.manual_seed(1)
        model(**inputs_of()).logits.square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
        reads.append(len(calls))
    assert reads[1] == 2 * reads[0]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_between_forward_and_backward_a_checkpointed_pass_keeps_its_vectors_alone() -> None:
    held = []
    for checkpointing in (False, True):
        model = build(gradient_checkpointing=checkpointing, pass_tokens=64, dropout=0.0).train()
        saved: list[int] = []

        def keep(tensor: Tensor, saved: list[int] = saved) -> Tensor:
            saved.append(tensor.numel())
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            model(**inputs_of())
        held.append(sum(saved))
    assert held[1] < held[0] / 3


def trainer_of(seed: int = 0) -> Trainer:
    model = build("transformer", dropout=0.0).double()
    weights = np.array([0.5, 1.0, 2.5], np.float32)
    loss = CrossEntropy(
        CrossEntropyConfig(label_smoothing=0.1), LossContext(np.array([6, 3, 1]), ("a", "b", "c"), weights)
    )
    return Trainer(model, AdamW(AdamWConfig(), model, 1e-3), loss, epochs=1, fabric=make_fabric("cpu", "fp64"))


# However an update's documents are cut into micro-batches by tokens, its gradient is that of one batch.
@pytest.mark.parametrize("tokens", [1, 100, 10_000])
def test_micro_batches_by_tokens_have_the_gradient_of_one_batch(tokens: int) -> None:
    split = split_of([*SIZES, 40, 3, 71, 9])
    found = []
    for most in (None, tokens):
        trainer = trainer_of()
        (group,) = Loader(split, batch_size=10, batch_tokens=most).groups(0)
        trainer.module.train()
        trainer.updater.gradients(group)
        found.append([parameter.grad.clone() for parameter in trainer.module.parameters()])  # type: ignore[union-attr]
        if most is not None:
            assert len(group.batches) == {1: 10, 100: len(group.batches), 10_000: 1}[tokens]
            for batch in group.batches:
                assert len(batch) == 1 or int(batch.inputs["lengths"].sum()) <= tokens  # type: ignore[call-overload]
    assert max((one - other).abs().max().item() for one, other in zip(*found, strict=True)) < 1e-10
    assert max(gradient.abs().max().item() for gradient in found[0]) > 1e-3


# E2: encoder and attention at the learning rate, the head at twice that; no decay on biases and norms.
def test_parameter_groups() -> None:
    model = build("transformer")
    config = AdamWConfig(lr_factors={"head": 2.0}, weight_decay=0.01)
    groups = {group["name"]: group for group in AdamW(config, model, 2e-5).param_groups}
    assert {name: group["lr"] for name, group in groups.items() if name.endswith(".decay")} == {
        "encoder.decay": 2e-5,
        "attention.decay": 2e-5,
        "head.decay": 4e-5,
    }
    assert groups["head.no_decay"]["lr"] == 4e-5
    plain = {id(p) for name, group in groups.items() if group["weight_decay"] == 0 for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in plain) == (name.endswith("bias") or "norm" in name), name
    assert all(group["weight_decay"] in (0, 0.01) for group in groups.values())


@each_kind
def test_bf16_autocast(kind: str) -> None:
    model = build(kind).train()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = model(**inputs_of())
    assert output.attention.dtype == torch.float32
    torch.testing.assert_close(output.attention.sum(1), torch.ones(len(SIZES)), atol=1e-5, rtol=0)
    output.logits.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_starts_at_the_class_shares() -> None:
    torch.manual_seed(0)
    model = Hierarchical(HierarchicalConfig(**SMALL), ModelContext(SHARES, PROPERTIES)).eval()
    with torch.no_grad():
        mean = model(**inputs_of()).logits.softmax(1).mean(0)
    torch.testing.assert_close(mean, torch.tensor(SHARES), atol=0.05, rtol=0)


def test_a_chunks_place_counts_where_it_is_told() -> None:
    forth = split_of([2 * (WINDOW - 2)])
    turned = Ragged(np.concatenate([forth.ids.values[14:], forth.ids.values[:14]]), forth.ids.offsets)
    back = ChunkSplit(turned, forth.characters, forth.labels, forth.rows, 0, forth.frame, WINDOW, 0)
    with torch.no_grad():
        for kind, told in (("additive", True), ("no positions", False), ("sinusoidal, projected", True)):
            model = build(kind)
            one, other = (model(**inputs_of([0], split)).logits for split in (forth, back))
            assert ((one - other).abs().max() > 1e-4) == told, kind


def test_sinusoids_are_those_of_the_paper() -> None:
    table = Sinusoids(7, 9)(torch.arange(7))
    for position in range(7):
        for column in range(9):
            angle = position / 10_000 ** (2 * (column // 2) / 9)
            assert table[position, column].item() == pytest.approx(
                np.cos(angle) if column % 2 else np.sin(angle), abs=1e-5
            )


# Pretrained encoders


POSITIONS = 18
SIZE: dict[str, Any] = {
    "vocab_size": 50,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": POSITIONS,
}


@pytest.fixture(scope="module", params=["bert", "roberta"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A tiny encoder and its padding id."""
    path = tmp_path_factory.mktemp(request.param)
    torch.manual_seed(0)
    if request.param == "bert":
        BertModel(BertConfig(pad_token_id=0, **SIZE)).save_pretrained(path)
        return path, 0
    RobertaModel(RobertaConfig(pad_token_id=1, bos_token_id=0, eos_token_id=2, **SIZE)).save_pretrained(path)
    return path, 1


def pretrained(folder: tuple[Path, int], window: int = WINDOW, **values: Any) -> Hierarchical:
    torch.manual_seed(0)
    path, pad = folder
    config = HierarchicalConfig(pretrained=str(path), **{"pooling": "cls", "dropout": 0.0, **values})
    properties = {**PROPERTIES, "pad_id": pad, "max_length": window, "window": window}
    model = Hierarchical(config, ModelContext(SHARES, properties)).eval()
    nn.init.normal_(model.head.weight)
    return model


# RoBERTa counts positions from behind its padding id: of 18 there are 16 left, which a full window needs to the last.
@torch.no_grad()
def test_a_pretrained_encoder_reads_each_chunk_as_transformers_would(folder: tuple[Path, int]) -> None:
    model, split = pretrained(folder, pass_tokens=40), split_of(pad_id=folder[1])
    inputs = inputs_of(split=split)
    kind = BertModel if folder[1] == 0 else RobertaModel
    reference = kind.from_pretrained(folder[0]).eval()
    vectors = [
        reference(input_ids=ids[None, :length]).last_hidden_state[0, 0]
        for ids, length in zip(inputs["ids"], inputs["lengths"], strict=True)
    ]
    logits = []
    for document in torch.stack(vectors).split(inputs["counts"].tolist()):
        states = document + model.attention.position(torch.arange(len(document)))  # type: ignore[misc]
        alpha = model.attention.score(torch.tanh(model.attention.hidden(states))).softmax(0)
        logits.append(model.head((alpha * states).sum(0)))
    torch.testing.assert_close(model(**inputs).logits, torch.stack(logits), atol=1e-5, rtol=1e-5)
    wider = F.pad(inputs["ids"], (0, 5), value=folder[1])
    torch.testing.assert_close(model(**{**inputs, "ids": wider}).logits, torch.stack(logits), atol=1e-5, rtol=1e-5)


def test_a_pretrained_encoder_is_fine_tuned_under_checkpointing(folder: tuple[Path, int]) -> None:
    gradients = []
    for checkpointing in (False, True):
        model = pretrained(folder, gradient_checkpointing=checkpointing, pass_tokens=40, freeze_embeddings=True).train()
        model(**inputs_of(split=split_of(pad_id=folder[1]))).logits.square().sum().backward()
        trained = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
        assert any("layer.1." in name for name in trained)
        gradients.append(trained)
    assert gradients[0].keys() == gradients[1].keys()
    for name, gradient in gradients[0].items():
        torch.testing.assert_close(gradient, gradients[1][name])


def test_a_window_that_the_encoder_cannot_read_is_refused(folder: tuple[Path, int]) -> None:
    longest = POSITIONS - (2 if folder[1] else 0)
    pretrained(folder, window=longest)
    with pytest.raises(UserError, match=rf"encoding\.window: must be at most {longest} for this encoder, but is"):
        pretrained(folder, window=longest + 1)


def test_heads_that_do_not_divide_a_chunk_are_refused(folder: tuple[Path, int]) -> None:
    with pytest.raises(UserError, match=r"model\.chunk_heads: must divide a chunk's width of 16 into even parts"):
        pretrained(folder, attention="transformer", chunk_heads=3)
    (problem,) = HierarchicalConfig(attention="transformer", chunk_size=10, chunk_heads=4).problems()
    assert problem.where == "chunk_heads"
