"""What every network must do, and what is special to one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from counterpoise.models.base import Model, ModelContext, ModelOutput
from counterpoise.models.bilstm import BiLSTM, BiLSTMConfig
from counterpoise.models.encoder import attention, rotary_angles, rotate
from counterpoise.models.textcnn import TextCNN, TextCNNConfig
from counterpoise.models.transformer import Transformer, TransformerConfig

SHARES = (0.7, 0.2, 0.1)
CONTEXT = ModelContext(SHARES, {"vocab_size": 50, "pad_id": 0, "max_length": 64})
SMALL: dict[str, Any] = {"hidden_size": 16, "heads": 2, "layers": 2, "feed_forward_size": 24}
NETWORKS: dict[str, tuple[type[Model], Any]] = {
    "textcnn": (TextCNN, TextCNNConfig(embedding_size=8, filters=6, kernel_sizes=(2, 3, 4, 5))),
    "bilstm": (BiLSTM, BiLSTMConfig(embedding_size=8, hidden_size=6)),
    "bilstm 2 layers": (BiLSTM, BiLSTMConfig(embedding_size=8, hidden_size=6, layers=2)),
    **{
        f"transformer {pooling}": (Transformer, TransformerConfig(**SMALL, pooling=pooling))
        for pooling in ("mean", "max", "cls", "mean_max")
    },
    "transformer without convolution": (Transformer, TransformerConfig(**SMALL, convolution=0)),
}
each_network = pytest.mark.parametrize("name", NETWORKS)


def build(name: str, seed: int = 0) -> Model:
    torch.manual_seed(seed)
    kind, config = NETWORKS[name]
    return kind(config, CONTEXT)


def batch(lengths: list[int], width: int | None = None, seed: int = 0) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.zeros(len(lengths), width or max(lengths), dtype=torch.long)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, 50, (length,), generator=generator)
    return {"ids": ids, "lengths": torch.tensor(lengths)}


@each_network
def test_padding_never_reaches_a_logit(name: str) -> None:
    model = build(name).eval()
    nn.init.normal_(model.head.weight)  # so that a difference would show
    lengths = [7, 1, 12, 3]
    with torch.no_grad():
        tight, loose = model(**batch(lengths)).logits, model(**batch(lengths, 40)).logits
        alone = torch.cat([model(**{k: v[i : i + 1] for k, v in batch(lengths).items()}).logits for i in range(4)])
        garbage = batch(lengths, 40)
        for row, length in enumerate(lengths):
            garbage["ids"][row, length:] = 33
        dirty = model(**garbage).logits
    for other in (loose, alone, dirty):
        torch.testing.assert_close(tight, other, atol=1e-5, rtol=1e-5)
    assert (tight[0] - tight[2]).abs().max() > 1e-3


@each_network
def test_starts_at_the_class_shares(name: str) -> None:
    model = build(name).eval()
    lengths = np.random.default_rng(0).integers(1, 30, 64).tolist()
    with torch.no_grad():
        mean = model(**batch(lengths)).logits.softmax(1).mean(0)
    torch.testing.assert_close(mean, torch.tensor(SHARES), atol=0.12, rtol=0)


@each_network
def test_every_parameter_learns(name: str) -> None:
    model = build(name).train()
    output = model(**batch([9, 5, 2]))
    torch.nn.functional.cross_entropy(output.logits, torch.tensor([0, 1, 2])).backward()
    for where, parameter in model.named_parameters():
        assert parameter.grad is not None, where
        assert parameter.grad.isfinite().all(), where
        assert parameter.grad.abs().sum() > 0 or where.endswith(("bias_hh_l0",)), where


@each_network
@pytest.mark.parametrize("lengths", [[1], [1, 1], [64], [700, 3]])
def test_short_and_long_sequences(name: str, lengths: list[int]) -> None:
    model = build(name)
    output = model(**batch(lengths))
    assert isinstance(output, ModelOutput)
    assert output.logits.shape == (len(lengths), 3)
    assert output.logits.isfinite().all()


@each_network
def test_bf16_autocast(name: str) -> None:
    model = build(name)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = model(**batch([9, 1, 30])).logits
    assert logits.isfinite().all()
    logits.float().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_gradient_checkpointing_gives_the_same_gradients() -> None:
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        config = TransformerConfig(**SMALL, dropout=0.2, gradient_checkpointing=checkpointing)
        model = Transformer(config, CONTEXT).train()
        torch.manual_seed(1)
        model(**batch([9, 4])).logits.square().sum().backward()
        gradients.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_frozen_parts_stay() -> None:
    model = Transformer(TransformerConfig(**SMALL, freeze_embeddings=True, freeze_layers=1), CONTEXT)
    frozen = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert frozen == {
        name for name, _ in model.named_parameters() if name.startswith(("encoder.embedding.", "encoder.layers.0."))
    }
    model(**batch([5, 2])).logits.sum().backward()
    assert all((parameter.grad is None) == (name in frozen) for name, parameter in model.named_parameters())


# Su et al. 2021: the product of two rotated vectors depends on their distance only.
def test_rotary_positions_are_relative() -> None:
    torch.manual_seed(0)
    query, key = torch.randn(8).double(), torch.randn(8).double()
    cosine, sine = (part.double() for part in rotary_angles(40, 8, torch.device("cpu")))
    queries, keys = (rotate(v.expand(40, 8), (cosine, sine)) for v in (query, key))
    products = queries @ keys.T
    for distance in (-7, 0, 1, 12):
        diagonal = products.diagonal(distance)
        torch.testing.assert_close(diagonal, diagonal[0].expand_as(diagonal), atol=1e-5, rtol=1e-5)
    assert (products[0] - products[0, 0]).abs().max() > 0.1
    torch.testing.assert_close(queries.norm(dim=1), query.norm().expand(40), atol=1e-6, rtol=1e-6)


def test_attention_is_pytorchs_own() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, 2, 7, 8, requires_grad=True) for _ in range(3))
    mask = torch.arange(7) < torch.tensor([7, 1, 4])[:, None]
    ours = attention(query, key, value, mask)
    theirs = torch.nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
    torch.testing.assert_close(ours, theirs, atol=1e-6, rtol=1e-5)
    parts = [torch.autograd.grad(result.square().sum(), (query, key, value)) for result in (ours, theirs)]
    for one, other in zip(*parts, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_word_order_matters_to_a_transformer() -> None:
    model = build("transformer without convolution").eval()
    nn.init.normal_(model.head.weight)
    inputs = batch([6])
    turned = {**inputs, "ids": inputs["ids"].flip(1)}
    with torch.no_grad():
        assert (model(**inputs).logits - model(**turned).logits).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("values", "where"),
    [({"hidden_size": 30, "heads": 4}, "heads"), ({"convolution": 4}, "convolution"), ({"freeze_layers": 3}, "freeze")],
)
def test_relations_between_fields(values: dict[str, int], where: str) -> None:
    problems = list(TransformerConfig(**values).problems())
    assert len(problems) == 1
    assert problems[0].where.startswith(where)
    assert list(TransformerConfig().problems()) == []


@pytest.mark.parametrize("layers", [1, 2])
def test_bilstm_is_pytorchs_over_packed_sequences(layers: int) -> None:
    config = BiLSTMConfig(embedding_size=8, hidden_size=6, layers=layers)
    model = BiLSTM(config, CONTEXT).eval()
    whole = nn.LSTM(8, 6, layers, batch_first=True, bidirectional=True)
    for index, layer in enumerate(model.lstm):
        for name, part in (("", layer.forwards), ("_reverse", layer.backwards)):
            for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                getattr(whole, f"{kind}_l{index}{name}").data.copy_(getattr(part, f"{kind}_l0"))
    inputs = batch([7, 1, 12, 3], 15)
    packed = pack_padded_sequence(
        model.embedding(inputs["ids"]), inputs["lengths"], batch_first=True, enforce_sorted=False
    )
    expected, _ = pad_packed_sequence(whole(packed)[0], batch_first=True, total_length=15)
    found = model.features(inputs, states=True).states
    torch.testing.assert_close(found, expected)
