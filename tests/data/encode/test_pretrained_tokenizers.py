"""One way to load a tokenizer: the ids of ``AutoTokenizer``, whichever kind, and wherever it is used."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    AutoTokenizer,
    BertConfig,
    BertTokenizerFast,
    CamembertTokenizer,
    MPNetTokenizer,
    PreTrainedTokenizerFast,
    RobertaConfig,
    RobertaTokenizer,
    XLMRobertaTokenizer,
)

from counterpoise.data.cache import Cache
from counterpoise.data.encode.chunks import Chunks, ChunksConfig
from counterpoise.data.encode.tokenizer import open_pretrained, pretrained_tokenizer
from counterpoise.data.encode.tokens import Tokens, TokensConfig, encode_texts
from counterpoise.data.encoders.pretrained import Pretrained, PretrainedConfig
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError

LETTERS = "abcdefghijklmnopqrstuvwxyz"
BERT = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
ROBERTA = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
WORDS = ["the", "amber", "basin", "sweet"]
PIECES = [*LETTERS, *(f"##{letter}" for letter in LETTERS), *"0123456789[].,", *WORDS]
TEXTS = [
    "the [E1] amber",
    "THE Amber basin",
    "a [MASK] b </s> c <pad>",
    "",
    "Été\tsweet  12",
    "x" * 30,
    "<mask>amber [PAD]",
]


def numbered(words: list[str]) -> dict[str, int]:
    return {word: number for number, word in enumerate(words)}


def configure(folder: Path, **values: Any) -> None:
    path = folder / "tokenizer_config.json"
    before = json.loads(path.read_text()) if path.exists() else {}
    path.write_text(json.dumps({**before, **values}))


def bert(folder: Path, **values: Any) -> None:
    BertTokenizerFast(vocab=numbered([*BERT, *PIECES]), do_lower_case=False).save_pretrained(folder)
    configure(folder, **values)


def markers(folder: Path) -> None:
    tokenizer = BertTokenizerFast(vocab=numbered([*BERT, *PIECES]), do_lower_case=True)
    tokenizer.add_special_tokens({"additional_special_tokens": ["[E1]", "[E2]"]})
    tokenizer.add_tokens(["amber basin"])
    tokenizer.save_pretrained(folder)


def bert_files(folder: Path) -> None:
    """As older folders are: a list of words and a config."""
    folder.mkdir()
    (folder / "vocab.txt").write_text("\n".join([*BERT, *PIECES]), encoding="utf-8")
    configure(folder, do_lower_case=True, tokenizer_class="BertTokenizer")
    BertConfig().save_pretrained(folder)


def byte_level() -> tuple[dict[str, int], list[tuple[str, str]]]:
    vocabulary, merges = numbered([*ROBERTA, *sorted(ByteLevel.alphabet())]), []
    for word in ("\u0120the", "amber", "\u0120sweet"):
        current = word[0]
        for letter in word[1:]:
            if (current, letter) not in merges:
                merges.append((current, letter))
            current += letter
            vocabulary.setdefault(current, len(vocabulary))
    return vocabulary, merges


def roberta_files(folder: Path) -> None:
    """``vocab.json`` and ``merges.txt`` alone, as of codebert-base."""
    vocabulary, merges = byte_level()
    folder.mkdir()
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    lines = ["#version: 0.2", *(" ".join(pair) for pair in merges)]
    (folder / "merges.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    configure(folder, tokenizer_class="RobertaTokenizer", model_max_length=64)
    RobertaConfig().save_pretrained(folder)


def roberta(folder: Path, **values: Any) -> None:
    vocabulary, merges = byte_level()
    tokenizer = RobertaTokenizer(vocab=vocabulary, merges=merges, **values)
    tokenizer.add_tokens(["[E1]"])
    tokenizer.save_pretrained(folder)


def unigram(folder: Path, kind: Any, special: list[str]) -> None:
    pieces = [*special, "\u2581", *LETTERS, "\u2581the", "\u2581amber", "\u2581sweet", "1", "2"]
    kind(vocab=[(piece, -float(place)) for place, piece in enumerate(pieces)]).save_pretrained(folder)


def bare(folder: Path) -> None:
    """One file of the library beneath, and nothing else."""
    tokenizer = Tokenizer(models.WordLevel(numbered([*ROBERTA, *WORDS]), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens(ROBERTA)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))


def other_padding(folder: Path) -> None:
    """A padding token whose name no other tokenizer has, beside a word that has the usual one."""
    tokenizer = Tokenizer(models.WordLevel(numbered(["[PAD]", "<nothing>", "<unk>", *WORDS]), unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<nothing>", unk_token="<unk>", split_special_tokens=True
    ).save_pretrained(folder)


CAMEMBERT = ["<s>NOTUSED", "<pad>", "</s>NOTUSED", "<unk>", "<unk>NOTUSED", "<s>", "</s>", "<mask>"]
FOLDERS: dict[str, Callable[[Path], None]] = {
    "bert": bert,
    "bert-lower": lambda folder: bert(folder, do_lower_case=True),
    "bert-accents": lambda folder: bert(folder, strip_accents=True),
    "bert-markers": markers,
    "bert-files": bert_files,
    "roberta": roberta,
    "roberta-prefix": lambda folder: roberta(folder, add_prefix_space=True),
    "roberta-files": roberta_files,
    "mpnet": lambda folder: MPNetTokenizer(
        vocab=numbered([*ROBERTA[:4], *PIECES, "[UNK]", "<mask>"]), do_lower_case=True
    ).save_pretrained(folder),
    "camembert": lambda folder: unigram(folder, CamembertTokenizer, CAMEMBERT),
    "xlm-roberta": lambda folder: unigram(folder, XLMRobertaTokenizer, ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]),
    "bare": bare,
    "other-padding": other_padding,
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("tokenizers")
    for name, make in FOLDERS.items():
        make(root / name)
    return {name: root / name for name in FOLDERS}


@pytest.fixture(scope="module")
def references(folders: dict[str, Path]) -> dict[str, Any]:
    return {name: AutoTokenizer.from_pretrained(folder) for name, folder in folders.items()}


@pytest.fixture(scope="module")
def ours(folders: dict[str, Path]) -> dict[str, Tokenizer]:
    return {name: pretrained_tokenizer(str(folder)) for name, folder in folders.items()}


PARTS = st.sampled_from([*WORDS, "[E1]", "[MASK]", "<mask>", "</s>", "<pad>", "Amber", "É", " ", "  ", "\n", "12", "]"])


@pytest.mark.parametrize("kind", FOLDERS)
@settings(max_examples=25, deadline=None)
@given(st.lists(PARTS | st.text(max_size=4), max_size=8).map("".join))
def test_any_text_has_the_ids_of_the_library(
    references: dict[str, Any], ours: dict[str, Tokenizer], kind: str, text: str
) -> None:
    assert ours[kind].encode(text).ids == references[kind](text)["input_ids"]


def records(texts: list[str]) -> Records:
    columns = {"row": range(len(texts)), "text": texts, "label": [place % 2 for place in range(len(texts))]}
    return Records.from_columns(columns, ("a", "b"))


@pytest.mark.parametrize("kind", FOLDERS)
def test_both_ways_to_use_it_agree(
    folders: dict[str, Path], references: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    folder, reference = folders[kind], references[kind]
    expected = [reference(text)["input_ids"] for text in TEXTS]
    data = Dataset("d", records(TEXTS), records(TEXTS), None)
    tokens = Tokens(TokensConfig(pretrained=str(folder)))
    encoded = tokens.encode(data, Cache(tmp_path / "cache"))
    assert [encoded.splits["valid"].ids[place].tolist() for place in range(len(TEXTS))] == expected  # type: ignore[attr-defined]
    if reference.pad_token_id is not None:
        assert encoded.properties["pad_id"] == reference.pad_token_id
        frozen = Pretrained(PretrainedConfig(name=str(folder)))
        assert frozen._tokenizer(TEXTS)["input_ids"] == expected
    run = tmp_path / "run"
    run.mkdir()
    for name, path in encoded.artefacts.items():
        shutil.copy(path, run / name)
    kept: Any = tokens.learnt(run).apply(records(TEXTS))
    assert [kept.ids[place].tolist() for place in range(len(TEXTS))] == expected
    reused = Tokens(TokensConfig(reuse=str(run))).encode(data, Cache(tmp_path / "other"))
    assert reused.properties == {**encoded.properties, "pretrained": str(folder)}
    assert [reused.splits["valid"].ids[place].tolist() for place in range(len(TEXTS))] == expected  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["bert-markers", "roberta-files", "camembert"])
def test_chunks_are_made_of_the_same_ids(
    folders: dict[str, Path], references: dict[str, Any], kind: str, tmp_path: Path
) -> None:
    texts = ["the [E1] amber basin </s> sweet [MASK] " * 5, "Amber"]
    data = Dataset("d", records(texts), records(texts), None)
    encoded = Chunks(ChunksConfig(pretrained=str(folders[kind]), window=8, max_chunks=99)).encode(data, Cache(tmp_path))
    split: Any = encoded.splits["valid"]
    for place, text in enumerate(texts):
        assert split.ids[place].tolist() == references[kind](text, add_special_tokens=False)["input_ids"]
        first, *_, last = split.spans(place).reshape(-1).tolist()
        assert (first, last) == (0, len(text))


def test_a_tokenizer_of_python_code_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bert(tmp_path / "local")

    class Slow:
        pad_token_id = 0

    monkeypatch.setattr("counterpoise.data.encode.tokenizer.load_pretrained", lambda origin: Slow())
    with pytest.raises(UserError, match=r"encoding\.pretrained: the tokenizer .* is a Slow, which no tokenizer\.json"):
        open_pretrained(str(tmp_path / "local"))


# What was trained by an earlier version goes on as it was trained.
def test_a_run_that_does_not_say_it_splits_special_tokens(folders: dict[str, Path], tmp_path: Path) -> None:
    data = Dataset("d", records(TEXTS), records(TEXTS), None)
    tokens = Tokens(TokensConfig(pretrained=str(folders["bert-markers"])))
    for name, path in tokens.encode(data, Cache(tmp_path / "cache")).artefacts.items():
        shutil.copy(path, tmp_path / name)
    properties = json.loads((tmp_path / "encoding.json").read_text())
    del properties["split_special_tokens"]
    (tmp_path / "encoding.json").write_text(json.dumps(properties))
    split: Any = tokens.learnt(tmp_path).apply(records(["the [E1] amber"]))
    whole, _ = encode_texts(pretrained_tokenizer(str(folders["bert-markers"])), ["the [E1] amber"], 99)
    assert len(split.ids[0]) > len(whole[0])
