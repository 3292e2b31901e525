"""Chunks: as a plain loop over one document would cut it, framed, counted, and found again in the text."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, pre_tokenizers, processors

from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Encoded
from counterpoise.data.encode.chunks import Chunks, ChunksConfig, ChunkSplit, chunk_texts, frame_of
from counterpoise.data.encode.tokenizer import CLS, SEP, load_tokenizer, train_bpe
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError
from counterpoise.jsonio import read_json

WORDS = ["the", "keeper", "of", "a", "lamp", "went", "down", "to", "her", "boat", "and", "never", "came", "back"]


def story(words: int, seed: int = 0) -> str:
    return " ".join(np.random.default_rng(seed).choice(WORDS, words))


def records(texts: list[str], start: int = 0) -> Records:
    columns = {
        "row": list(range(start, start + len(texts))),
        "text": texts,
        "label": [i % 2 for i in range(len(texts))],
    }
    return Records.from_columns(columns, ("no", "yes"))


TRAIN = [story(40 * i, i) for i in range(1, 9)]
TEXTS = ["", "a", story(300), "the lamp\n\n  went   down ", "Zoë → 漁師 👩‍🚀 naïve " * 9, "a <sep> b <pad> c"]


def encode(folder: Path, texts: list[str] = TEXTS, **values: Any) -> Encoded:
    data = Dataset("stories", records(TRAIN), records(texts, 100), None)
    config = ChunksConfig(**{"vocab_size": 300, "window": 16, **values})
    return Chunks(config).encode(data, Cache(folder))


def chunks_of(split: ChunkSplit, index: int) -> list[list[int]]:
    """The real tokens of one document's chunks, by way of a batch."""
    inputs: Any = split.batch(np.array([index])).inputs
    return [row[:length].tolist() for row, length in zip(inputs["ids"], inputs["lengths"], strict=True)]


def plain(tokenizer: Tokenizer, text: str, window: int, overlap: int, maximum: int) -> tuple[list[list[int]], int]:
    """Chunks of one document as anybody would write it down, and the tokens that stand in none."""
    cls, sep = tokenizer.token_to_id(CLS), tokenizer.token_to_id(SEP)
    content = tokenizer.encode(text, add_special_tokens=False).ids
    found, start, room = [], 0, window - 2
    while True:
        part = content[start : start + room]
        found.append([cls, *part, sep])
        if start + room >= len(content) or len(found) == maximum:
            return found, max(len(content) - start - room, 0)
        start += room - overlap


@pytest.mark.parametrize(("overlap", "maximum"), [(0, 20), (5, 20), (0, 3), (13, 4), (0, 1)])
def test_chunks_are_those_of_a_plain_loop(overlap: int, maximum: int, tmp_path: Path) -> None:
    encoded = encode(tmp_path, overlap=overlap, max_chunks=maximum)
    tokenizer = load_tokenizer(encoded.artefacts["tokenizer.json"])
    split: Any = encoded.splits["valid"]
    expected = [plain(tokenizer, text, 16, overlap, maximum) for text in TEXTS]
    for index, (chunks, _) in enumerate(expected):
        assert chunks_of(split, index) == chunks
    assert split.lengths.tolist() == [sum(map(len, chunks)) for chunks, _ in expected]
    # the same through one batch of all, in another order and with one of them twice
    order = np.array([5, 2, 0, 2, 4])
    batch = split.batch(order)
    assert batch.inputs["counts"].tolist() == [len(expected[i][0]) for i in order]
    assert batch.inputs["lengths"].tolist() == [len(chunk) for i in order for chunk in expected[i][0]]
    assert batch.labels.tolist() == (order % 2).tolist()
    assert batch.rows.tolist() == (100 + order).tolist()
    rows = zip(batch.inputs["ids"].tolist(), [chunk for i in order for chunk in expected[i][0]], strict=True)
    for row, chunk in rows:
        assert row == chunk + [encoded.properties["pad_id"]] * (len(row) - len(chunk))
    assert batch.inputs["ids"].shape[1] == batch.inputs["lengths"].max()
    notes = encoded.notes["chunks"]["valid"]
    sizes = [len(tokenizer.encode(text, add_special_tokens=False)) for text in TEXTS]
    assert notes["cut_samples"] == sum(cut > 0 for _, cut in expected)
    assert notes["cut_tokens_share"] == pytest.approx(sum(cut for _, cut in expected) / sum(sizes))
    assert (notes["median_tokens"], notes["longest_tokens"]) == (np.median(sizes), max(sizes))
    counts = [len(chunks) for chunks, _ in expected]
    assert (notes["samples"], notes["chunks"], notes["most_chunks"]) == (6, sum(counts), max(counts))
    assert notes["median_chunks"] == np.median(counts)


# What FACTS calls a mistake: one CLS in front of the document and one SEP behind it, whatever lies between.
def test_each_chunk_has_its_own_special_tokens_and_the_window_counts_them(tmp_path: Path) -> None:
    encoded = encode(tmp_path)
    tokenizer = load_tokenizer(encoded.artefacts["tokenizer.json"])
    split: Any = encoded.splits["valid"]
    chunks = chunks_of(split, 2)
    assert len(chunks) > 5
    assert all(len(chunk) == 16 for chunk in chunks[:-1])
    for chunk in chunks:
        assert (chunk[0], chunk[-1]) == (tokenizer.token_to_id(CLS), tokenizer.token_to_id(SEP))
        assert not {0, 1, 2, 3} & set(chunk[1:-1])
    assert not {0, 1, 2, 3} & {token for chunk in chunks_of(split, 5) for token in chunk[1:-1]}, "names in a text"


TOKENIZER = train_bpe(records([*TRAIN, "Zoë → 漁師"]), 300)
TOKENIZER.encode_special_tokens = True


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=60) | st.just("  "), min_size=1, max_size=3),
    st.integers(0, 5),
    st.integers(1, 9),
)
def test_spans_tell_the_characters_of_each_chunk(texts: list[str], overlap: int, maximum: int) -> None:
    cut = {"window": 8, "overlap": overlap, "max_chunks": maximum}
    columns, _ = chunk_texts(TOKENIZER, texts, cut)
    for index, text in enumerate(texts):
        spans = columns["characters"][index].reshape(-1, 2)
        expected, left = plain(TOKENIZER, text, 8, overlap, maximum)
        assert len(spans) == len(expected)
        whole = TOKENIZER.encode(text, add_special_tokens=False)
        assert spans[0, 0] == 0
        if left == 0:
            assert spans[-1, 1] == len(text)
        assert (spans[1:, 0] <= spans[:-1, 1]).all(), "no character between two chunks"
        for number, (first, last) in enumerate(spans.tolist()):
            own = whole.offsets[number * (6 - overlap) :][:6]
            assert all(first <= start and end <= last for start, end in own)
        if all(ord(character) < 128 for character in text) and not overlap:
            parts = [TOKENIZER.decode(chunk[1:-1], skip_special_tokens=False) for chunk in expected]
            assert parts == [text[first:last] for first, last in spans]


def test_spans_of_a_split_are_cut_as_its_chunks(tmp_path: Path) -> None:
    split: Any = encode(tmp_path).splits["valid"]
    assert split.spans(0).tolist() == [[0, 0]]
    assert split.spans(1).tolist() == [[0, 1]]
    spans = split.spans(4)
    assert "".join(TEXTS[4][first:last] for first, last in spans[:2]).startswith("Zoë → ")
    assert len(spans) == len(chunks_of(split, 4))


def wordlevel(folder: Path, framed: bool = True) -> str:
    """A tokenizer as RoBERTa's: pad id 1, white space that belongs to no token."""
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    vocabulary = {word: number for number, word in enumerate([*special, *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    if framed:
        tokenizer.post_processor = processors.TemplateProcessing(
            single="<s> $A </s> </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
        )
    tokenizer.add_special_tokens(special)
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return str(folder)


def test_a_pretrained_tokenizer_frames_in_its_own_way(tmp_path: Path) -> None:
    name = wordlevel(tmp_path / "local")
    texts = ["", "  the lamp  went\n down to her boat ", "nobody"]
    encoded = encode(tmp_path / "cache", texts, pretrained=name, window=8)
    split: Any = encoded.splits["valid"]
    ids = {word: number + 4 for number, word in enumerate(WORDS)}
    assert encoded.properties["pad_id"] == 1
    assert chunks_of(split, 0) == [[0, 2, 2]]
    words = [ids[word] for word in texts[1].split()]
    assert chunks_of(split, 1) == [[0, *words[:5], 2, 2], [0, *words[5:], 2, 2]]
    assert [texts[1][first:last] for first, last in split.spans(1)] == ["  the lamp  went\n down to ", "her boat "]
    assert split.batch(np.array([0, 1])).inputs["ids"][0].tolist() == [0, 2, 2, 1, 1, 1, 1, 1]


# Where nothing is framed, an empty document would be a chunk without any token, of which no mean can be taken.
def test_a_chunk_of_nothing_is_one_padding_token(tmp_path: Path) -> None:
    encoded = encode(tmp_path / "cache", ["", "boat"], pretrained=wordlevel(tmp_path / "local", framed=False))
    split: Any = encoded.splits["valid"]
    assert chunks_of(split, 0) == [[1]]
    assert split.lengths.tolist() == [1, 1]


def test_a_frame_is_found_whatever_the_vocabulary(tmp_path: Path) -> None:
    assert frame_of(TOKENIZER) == ((1,), (2,))
    assert frame_of(load_tokenizer(Path(wordlevel(tmp_path / "a")) / "tokenizer.json")) == ((0,), (2, 2))
    assert frame_of(load_tokenizer(Path(wordlevel(tmp_path / "b", framed=False)) / "tokenizer.json")).size == 0


def test_an_entry_is_read_again_and_told_apart(tmp_path: Path) -> None:
    marker = encode(tmp_path).artefacts["tokenizer.json"]
    before = marker.stat().st_mtime_ns
    again = encode(tmp_path)
    assert again.artefacts["tokenizer.json"] == marker
    assert marker.stat().st_mtime_ns == before
    for other in ({"window": 17}, {"overlap": 1}, {"max_chunks": 2}, {"vocab_size": 310}):
        assert encode(tmp_path, **other).artefacts["tokenizer.json"] != marker
    assert again.properties == read_json(again.artefacts["encoding.json"])
    assert {"vocab_size", "pad_id", "max_length", "max_chunks"} <= set(again.properties)


@pytest.mark.parametrize("damaged", ["valid.arrow", "tokenizer.json", "encoding.json", "notes.json"])
def test_a_damaged_entry_is_built_again(damaged: str, tmp_path: Path) -> None:
    first = encode(tmp_path)
    path = first.artefacts["tokenizer.json"].with_name(damaged)
    expected = [chunks_of(first.splits["valid"], index) for index in range(len(TEXTS))]  # type: ignore[arg-type]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.unlink()  # what is mapped stays as it is
    path.write_bytes(content)
    again = encode(tmp_path)
    assert [chunks_of(again.splits["valid"], index) for index in range(len(TEXTS))] == expected  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "wrong",
    [
        {"window": 99},
        {"max_chunks": 1},
        {"pad_id": 3},
    ],
)
def test_settings_that_are_not_the_entrys_own_are_seen(wrong: dict[str, int], tmp_path: Path) -> None:
    encoding = Chunks(ChunksConfig(vocab_size=300, window=16))
    data = Dataset("stories", records(TRAIN), records(TEXTS, 100), None)
    folder = encode(tmp_path).artefacts["encoding.json"].parent
    properties = read_json(folder / "encoding.json")
    (folder / "encoding.json").write_text(json.dumps({**properties, **wrong}))
    with pytest.raises(ValueError, match=r"encoding\.json"):
        encoding._read(data, folder)


def test_the_user_is_told_once_of_much_that_is_not_read(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):  # from the cache as well
        caplog.clear()
        with caplog.at_level(logging.WARNING):
            encode(tmp_path, max_chunks=2)
        (message,) = caplog.messages
        assert "are not read: 8 of its 8 documents" in message
    caplog.clear()
    encode(tmp_path, max_chunks=200)
    assert not caplog.messages


def test_the_vocabulary_is_the_training_splits(tmp_path: Path) -> None:
    one, other = (encode(tmp_path, [text]) for text in ("boat", "zzyzxquux " * 50))
    vocabularies = [load_tokenizer(e.artefacts["tokenizer.json"]).get_vocab() for e in (one, other)]
    assert vocabularies[0] == vocabularies[1]


def test_the_largest_sample_is_known_beforehand() -> None:
    assert Chunks.sample_tokens(ChunksConfig()) == 20 * 512


def test_what_leaves_no_room_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"encoding\.overlap: a window of 8 tokens, 2 of them special"):
        encode(tmp_path, window=8, overlap=6)
    assert not list(tmp_path.glob("chunks-*/"))
    (problem,) = ChunksConfig(window=8, overlap=8).problems()
    assert problem.where == "overlap"
