"""Tokens: learnt from the training split alone, lossless, cut and counted, the same everywhere."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Encoded
from counterpoise.data.encode.tokenizer import (
    CLS,
    LONGEST_WORD,
    PAD,
    SEP,
    UNKNOWN,
    check_tokenizer,
    train_bpe,
)
from counterpoise.data.encode.tokens import Tokens, TokensConfig, encode_texts, taken_up
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError
from counterpoise.jsonio import read_json

CODE = [f"int f{i}(char *buffer) {{ return buffer[{i % 7}] + strlen(buffer); }}" for i in range(40)]


def records(texts: list[str], start: int = 0) -> Records:
    n = len(texts)
    return Records.from_columns(
        {"row": list(range(start, start + n)), "text": texts, "label": [i % 2 for i in range(n)]},
        ("safe", "vulnerable"),
    )


def dataset(valid: list[str] | None = None) -> Dataset:
    return Dataset("code", records(CODE), records(valid or ["while (x) y();", "return 0;"], 100), None)


def encode(folder: Path, data: Dataset, **values: object) -> Encoded:
    return Tokens(TokensConfig(**values)).encode(data, Cache(folder))  # type: ignore[arg-type]


def test_learnt_from_the_training_split_alone(tmp_path: Path) -> None:
    planted = ["zzyzxquux " * 50, "zzyzxquux zzyzxquux"]
    plain, with_planted = encode(tmp_path, dataset()), encode(tmp_path, dataset(planted))
    vocabularies = [Tokenizer.from_file(str(e.artefacts["tokenizer.json"])).get_vocab() for e in (plain, with_planted)]
    assert vocabularies[0] == vocabularies[1]
    assert not any("zzyz" in token for token in vocabularies[1])
    assert any("buffer" in token for token in vocabularies[1])


def test_frame_and_padding(tmp_path: Path) -> None:
    encoded = encode(tmp_path, dataset())
    tokenizer = Tokenizer.from_file(str(encoded.artefacts["tokenizer.json"]))
    split = encoded.splits["valid"]
    batch = split.batch(np.array([1, 0]))
    ids, lengths = batch.inputs["ids"], batch.inputs["lengths"]
    assert batch.rows.tolist() == [101, 100]
    assert batch.labels.tolist() == [1, 0]
    pad = encoded.properties["pad_id"]
    assert pad == tokenizer.token_to_id(PAD) == 0
    for row, length in zip(ids.tolist(), lengths.tolist(), strict=True):
        assert row[0] == tokenizer.token_to_id(CLS)
        assert row[length - 1] == tokenizer.token_to_id(SEP)
        assert set(row[length:]) <= {pad}
        assert pad not in row[:length]
    assert ids.shape[1] == lengths.max() == split.lengths.max()
    assert encoded.properties["vocab_size"] == tokenizer.get_vocab_size()


def test_cut_and_counted(tmp_path: Path) -> None:
    texts = ["a b c d e f g h i j k l", "x", "void"]
    long, short = (encode(tmp_path, dataset(texts), max_length=length) for length in (512, 8))
    lengths = long.splits["valid"].lengths
    notes = short.notes["tokens"]["valid"]
    assert notes["truncated_samples"] == (lengths > 8).sum() == 1
    assert notes["truncated_tokens_share"] == pytest.approx((lengths[0] - 8) / lengths.sum())
    assert notes["longest"] == lengths.max()
    assert short.splits["valid"].lengths.tolist() == np.minimum(lengths, 8).tolist()
    whole, cut = (e.splits["valid"].ids[0].tolist() for e in (long, short))
    assert cut == [*whole[:7], whole[-1]]  # SEP stays
    assert long.notes["tokens"]["valid"]["truncated_samples"] == 0


TOKENIZER = train_bpe(records(CODE), 400)
TOKENIZER.encode_special_tokens = True


@settings(deadline=None)
@given(text=st.text(st.characters(codec="utf-8"), max_size=60) | st.text("<>/padclsep unk", max_size=30))
def test_any_text_comes_back(text: str) -> None:
    ids = encode_texts(TOKENIZER, [text], 10_000)[0][0].tolist()
    assert TOKENIZER.decode(ids[1:-1], skip_special_tokens=False) == text


# Source code may well hold these words; they must not become padding or sequence ends.
def test_names_of_special_tokens_are_text(tmp_path: Path) -> None:
    text = "a <pad> b <cls> c <sep> d <unk>"
    encoded = encode(tmp_path, dataset([text, "x"]))
    ids = encoded.splits["valid"].ids[0].tolist()
    assert not {0, 1, 2, 3} & set(ids[1:-1])


# What a run keeps must be enough to read new input as the model was trained to.
@pytest.mark.parametrize("pretrained", [False, True])
def test_the_kept_files_encode_alike(pretrained: bool, tmp_path: Path) -> None:
    texts = ["a <pad> b [PAD] <unk>", "int " * 40, "return 0;"]
    name = save_tokenizer(tmp_path / "local", {"[PAD]": 0, "[UNK]": 1, "int": 2, "return": 3}) if pretrained else None
    encoded = encode(tmp_path / "cache", dataset(texts), max_length=12, pretrained=name)
    kept = {file: Path(shutil.copy(path, tmp_path / file)) for file, path in encoded.artefacts.items()}
    properties = read_json(kept["encoding.json"])
    assert properties == dict(encoded.properties)
    tokenizer, _ = check_tokenizer(kept["tokenizer.json"], properties)
    again, _ = encode_texts(tokenizer, texts, properties["max_length"])
    for number in range(len(texts)):
        assert again[number].tolist() == encoded.splits["valid"].ids[number].tolist()


def test_another_version_of_tokenizers_is_another_entry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = encode(tmp_path, dataset()).artefacts["tokenizer.json"]
    monkeypatch.setattr("counterpoise.data.encode.tokenizer.version", lambda name: "0.0")
    assert encode(tmp_path, dataset()).artefacts["tokenizer.json"] != one


def test_cached_and_told_apart(tmp_path: Path) -> None:
    one = encode(tmp_path, dataset())
    marker = one.artefacts["tokenizer.json"]
    assert encode(tmp_path, dataset()).artefacts["tokenizer.json"] == marker
    assert encode(tmp_path, dataset(), max_length=9).artefacts["tokenizer.json"] != marker
    assert encode(tmp_path, dataset(["other"]), max_length=512).artefacts["tokenizer.json"] != marker


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from test_tokens import dataset, encode
encoded = encode(Path(sys.argv[2]), dataset())
print(encoded.artefacts["tokenizer.json"].parent / "manifest.json")
"""


def test_the_same_in_every_process(tmp_path: Path) -> None:
    checksums = []
    for number, seed in enumerate(("1", "2")):
        command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(tmp_path / str(number))]
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TOKENIZERS_PARALLELISM": "true"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        checksums.append(read_json(Path(done.stdout.strip()))["checksums"])
    assert checksums[0] == checksums[1]


# Pretrained


def test_an_unknown_name_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nobody/nothing") as caught:
        encode(tmp_path, dataset(), pretrained="nobody/nothing")
    assert "local folder" in str(caught.value)


def test_a_folder_without_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"tokenizer\.json"):
        encode(tmp_path, dataset(), pretrained=str(tmp_path / "empty"))


def save_tokenizer(folder: Path, vocabulary: dict[str, int], *, pads: bool = True) -> str:
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.add_special_tokens([name for name in vocabulary if name.startswith("[")])
    if pads:
        tokenizer.enable_padding(length=100)
    tokenizer.enable_truncation(3)
    folder.mkdir(exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def test_a_local_tokenizer_without_its_own_padding_or_limits(tmp_path: Path) -> None:
    name = save_tokenizer(tmp_path / "local", {"[PAD]": 0, "[UNK]": 1, "int": 2, "return": 3})
    encoded = encode(tmp_path / "cache", dataset(["int int int int return", "what"]), pretrained=name)
    assert [encoded.splits["valid"].ids[i].tolist() for i in (0, 1)] == [[2, 2, 2, 2, 3], [1]]
    # the folder's content counts, not its name alone
    save_tokenizer(tmp_path / "local", {"[PAD]": 0, "[UNK]": 1, "int": 3, "return": 2})
    again = encode(tmp_path / "cache", dataset(["int int int int return", "what"]), pretrained=name)
    assert again.splits["valid"].ids[0].tolist() == [3, 3, 3, 3, 2]


def test_no_padding_token(tmp_path: Path) -> None:
    name = save_tokenizer(tmp_path / "local", {"[UNK]": 0, "int": 1}, pads=False)
    with pytest.raises(UserError, match="no padding token"):
        encode(tmp_path / "cache", dataset(), pretrained=name)


def test_settings_that_are_none_are_not_taken_up_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    for name, path in encode(tmp_path / "cache", dataset(), max_length=9).artefacts.items():
        (run / name).write_bytes(path.read_bytes())
    again, _ = taken_up(run)
    assert (again.max_length, again.pretrained) == (9, None)
    properties = json.loads((run / "encoding.json").read_text())
    for wrong in ({"max_length": 0}, {"max_length": "9"}, {"pretrained": 3}):
        (run / "encoding.json").write_text(json.dumps({**properties, **wrong}))
        with pytest.raises(UserError, match=r"encoding\.reuse: .*no tokenizer that could be used again: [\w.]+: "):
            encode(tmp_path / "cache", dataset(), reuse=str(run))


def test_an_endless_word_is_learnt_from_in_pieces_and_encoded_whole() -> None:
    word = "".join(random.Random(0).choices("ab", k=1000))
    pieces = [word[start : start + LONGEST_WORD] for start in range(0, len(word), LONGEST_WORD)]
    found = train_bpe(records([word]), 300)
    assert found.get_vocab() == train_bpe(records(pieces), 300).get_vocab()
    spans = found.encode("x" * (LONGEST_WORD - 1) + word, add_special_tokens=False).offsets
    assert any(start < LONGEST_WORD < end for start, end in spans)  # a token across the place where learning cuts


def test_words_of_usual_length_are_learnt_from_as_ever() -> None:
    texts = [*CODE, "caf\u00e9 \u5929\u5730" * 9, "x" * LONGEST_WORD]
    plain = Tokenizer(models.BPE(unk_token=None))
    plain.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = [PAD, CLS, SEP, UNKNOWN]
    trainer = trainers.BpeTrainer(
        vocab_size=400, min_frequency=2, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    plain.train_from_iterator([texts], trainer=trainer)
    assert train_bpe(records(texts), 400).get_vocab() == plain.get_vocab()
