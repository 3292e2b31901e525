"""Fine-tuning a Hugging Face encoder from a local folder, and what can be wrong with it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertModel,
    LongformerConfig,
    LongformerModel,
    MPNetConfig,
    MPNetModel,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaModel,
    T5Config,
    T5Model,
    XmodConfig,
    XmodModel,
)

from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Encoded
from counterpoise.data.encode.tokens import Tokens, TokensConfig
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError
from counterpoise.hub import only_local
from counterpoise.models.base import ModelContext
from counterpoise.models.transformer import Transformer, TransformerConfig

WORDS = ["int", "char", "return", "free", "(", ")", ";", "x", "y", "0"]
SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 34,
}
SPECIAL = {"bert": ["[PAD]", "[CLS]", "[SEP]", "[UNK]"], "roberta": ["<s>", "<pad>", "</s>", "<unk>"]}


@pytest.fixture(params=["bert", "roberta"], scope="module")
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind = request.param
    path = tmp_path_factory.mktemp(kind)
    special = SPECIAL[kind]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    first, last = (special[1], special[2]) if kind == "bert" else (special[0], special[2])
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=special[3]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A {last}", special_tokens=[(first, vocabulary[first]), (last, vocabulary[last])]
    )
    named = {"pad_token": special[0] if kind == "bert" else special[1], "unk_token": special[3]}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **named).save_pretrained(path)
    torch.manual_seed(0)
    if kind == "bert":
        BertModel(BertConfig(vocab_size=len(vocabulary), pad_token_id=0, **SIZE)).save_pretrained(path)
    else:
        config = RobertaConfig(vocab_size=len(vocabulary), pad_token_id=1, bos_token_id=0, eos_token_id=2, **SIZE)
        RobertaModel(config).save_pretrained(path)
    return path


def encoded(folder: Path, cache: Path, max_length: int = 32) -> Encoded:
    def records(texts: list[str], start: int) -> Records:
        columns = {"row": [start, start + 1], "text": texts, "label": [0, 1]}
        return Records.from_columns(columns, ("a", "b"))

    data = Dataset("d", records(["int x ; free ( x )", "return 0"], 0), records(["char y", "y " * 50], 9), None)
    return Tokens(TokensConfig(pretrained=str(folder), max_length=max_length)).encode(data, Cache(cache))


def build(folder: Path, properties: Any, **values: Any) -> Transformer:
    torch.manual_seed(0)
    config = TransformerConfig(pretrained=str(folder), pooling="cls", **values)
    return Transformer(config, ModelContext((0.5, 0.5), properties))


def test_fine_tuning(folder: Path, tmp_path: Path) -> None:
    data = encoded(folder, tmp_path)
    assert data.splits["valid"].lengths.tolist() == [4, 32]
    model = build(folder, data.properties, dropout=0.0).train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
    batch = data.splits["train"].batch(np.array([0, 1]))
    losses = []
    for _ in range(15):
        loss = torch.nn.functional.cross_entropy(model(**batch.inputs).logits, batch.labels)
        optimizer.zero_grad()
        loss.backward()
        assert all(parameter.grad is not None for parameter in model.parameters())
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.5 * losses[0]


def test_states_are_transformers_own(folder: Path, tmp_path: Path) -> None:
    properties = encoded(folder, tmp_path).properties
    model = build(folder, properties).eval()
    kind = BertModel if "[PAD]" in (folder / "tokenizer.json").read_text() else RobertaModel
    reference = kind.from_pretrained(folder).eval()
    ids = torch.tensor([[0, 5, 6, 7, 2]])
    with torch.no_grad():
        ours, _ = model.encoder(ids, torch.ones(1, 5, dtype=torch.bool))
        theirs = reference(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state
        torch.testing.assert_close(ours, theirs)
        padded = torch.cat([ids, torch.full((1, 9), properties["pad_id"])], dim=1)
        logits = [model(ids=i, lengths=torch.tensor([5])).logits for i in (ids, padded)]
    torch.testing.assert_close(*logits, atol=1e-5, rtol=1e-5)


def test_freezing_and_checkpointing(folder: Path, tmp_path: Path) -> None:
    properties = encoded(folder, tmp_path).properties
    inputs = {"ids": torch.tensor([[0, 5, 6, 2]]), "lengths": torch.tensor([4])}
    gradients = []
    for checkpointing in (False, True):
        values = {"freeze_embeddings": True, "freeze_layers": 1, "dropout": 0.0}
        model = build(folder, properties, gradient_checkpointing=checkpointing, **values).train()
        model(**inputs).logits.square().sum().backward()
        names = {name for name, parameter in model.named_parameters() if parameter.grad is None}
        assert all("word_embeddings" in name or "layer.0." in name for name in names)
        assert any("word_embeddings" in name for name in names)
        assert any("layer.0." in name for name in names)
        gradients.append([parameter.grad for parameter in model.parameters() if parameter.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)
    with pytest.raises(UserError, match="at most 2"):
        build(folder, properties, freeze_layers=3)


def test_what_does_not_fit(folder: Path, tmp_path: Path) -> None:
    properties = encoded(folder, tmp_path).properties
    with pytest.raises(UserError, match=r"encoding\.max_length: must be at most 3[24]"):
        build(folder, {**properties, "max_length": 35})
    with pytest.raises(UserError, match="do not fit the encoder's 14"):
        build(folder, {**properties, "vocab_size": 15})
    with pytest.raises(UserError, match="it pads with 3"):
        build(folder, {**properties, "pad_id": 3})
    with pytest.raises(UserError) as caught:
        build(folder, {"max_length": 99, "vocab_size": 99, "pad_id": 3})
    assert len(caught.value.problems) == 3


# All of these begin to count positions behind the padding id 1.
@pytest.mark.parametrize(
    ("kind", "config"), [(MPNetModel, MPNetConfig), (LongformerModel, LongformerConfig), (XmodModel, XmodConfig)]
)
def test_the_kin_of_roberta_have_two_positions_less(kind: Any, config: Any, tmp_path: Path) -> None:
    more = {LongformerConfig: {"attention_window": 4}, XmodConfig: {"default_language": "en_XX"}}.get(config, {})
    kind(config(vocab_size=20, pad_token_id=1, **SIZE, **more)).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"encoding\.max_length: must be at most 32 "):
        build(tmp_path, {"vocab_size": 20, "pad_id": 1, "max_length": 33})
    build(tmp_path, {"vocab_size": 20, "pad_id": 1, "max_length": 32})


def test_an_encoder_with_a_decoder_is_refused(tmp_path: Path) -> None:
    config = T5Config(vocab_size=20, d_model=16, d_kv=8, d_ff=24, num_layers=1, num_heads=2, decoder_start_token_id=0)
    T5Model(config).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"model\.pretrained: must be an encoder alone, but t5 has a decoder"):
        build(tmp_path, {"vocab_size": 20, "pad_id": 0, "max_length": 9})


@pytest.mark.parametrize("offline", [True, False])
def test_an_unknown_name_is_refused_quickly(offline: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if not offline:
        # No network, and nobody said so: asked once, not for most of a minute.
        monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
        monkeypatch.setattr("socket.create_connection", lambda *a, **k: (_ for _ in ()).throw(OSError("unreachable")))
        monkeypatch.setattr("counterpoise.hub.getproxies", dict)
    started = time.monotonic()
    with pytest.raises(UserError, match="nobody/nothing") as caught:
        build(Path("nobody/nothing"), {"vocab_size": 9, "pad_id": 0, "max_length": 9})
    assert time.monotonic() - started < 5
    assert "pretrained=null" in str(caught.value)


def test_who_asks_the_hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Socket:
        def close(self) -> None: ...

    monkeypatch.setattr("counterpoise.hub.getproxies", dict)
    monkeypatch.setattr("socket.create_connection", lambda *a, **k: Socket())
    assert only_local()  # the tests' own HF_HUB_OFFLINE
    monkeypatch.delenv("HF_HUB_OFFLINE")
    assert not only_local()
    monkeypatch.setattr("socket.create_connection", lambda *a, **k: (_ for _ in ()).throw(TimeoutError()))
    assert only_local()
    monkeypatch.setattr("counterpoise.hub.getproxies", lambda: {"https": "http://proxy:3128"})
    assert not only_local()
    assert not only_local(str(tmp_path / "nothing"))
    assert only_local(str(tmp_path))  # a local folder: nobody needs to be asked
