"""Embeddings of chunks: each text once, learnt from the training split alone, shared by folds and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Encoded
from counterpoise.data.encode.embeddings import Embeddings, EmbeddingsConfig, EmbeddingSplit
from counterpoise.data.encoders.base import TextEncoder
from counterpoise.data.encoders.hashing import Hashing, HashingConfig
from counterpoise.data.encoders.lsa import LSA, LSAConfig
from counterpoise.data.graphs import Graphs
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError
from counterpoise.jsonio import read_json

WORDS = ["river", "stone", "cloud", "engine", "paper", "orchard", "signal", "harbour", "copper", "lantern"]
CRITERIA = ["is it about water", "is it about machines", "is it about light"]


@dataclass(frozen=True, kw_only=True)
class CountingConfig:
    """Nothing to say."""


class Counting(TextEncoder):
    """Counts of each of WORDS and of words, and a note of what it was asked."""

    Config: ClassVar[type] = CountingConfig
    asked: ClassVar[list[str]] = []

    @property
    def size(self) -> int:
        return len(WORDS) + 1

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        self.asked.extend(texts)
        counts = [[*map(text.split().count, WORDS), len(text.split())] for text in texts]
        return np.array(counts, np.float32).reshape(-1, self.size)

    def unread(self, texts: Sequence[str]) -> NDArray[np.int64]:
        return np.array([max(len(text.split()) - 3, 0) for text in texts], np.int64)


def documents(n: int, seed: int, longest: int = 30) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=int(rng.integers(1, longest)))) for _ in range(n)]


def records(texts: list[str], start: int = 0, criteria: list[str] | None = None) -> Records:
    columns: dict[str, Any] = {
        "row": list(range(start, start + len(texts))),
        "text": texts,
        "label": [i % 2 for i in range(len(texts))],
    }
    return Records.from_columns(columns | ({"criterion": criteria} if criteria else {}), ("no", "yes"))


def pairs(texts: list[str], start: int) -> Records:
    return records([t for t in texts for _ in CRITERIA], start, CRITERIA * len(texts))


def paired() -> Dataset:
    return Dataset("pairs", pairs(documents(12, 0), 0), pairs(documents(5, 1), 100), pairs(documents(4, 2), 200))


def encode(folder: Path, data: Dataset, encoder: TextEncoder | None = None, **values: Any) -> Encoded:
    settings: dict[str, Any] = {"window": 4, "overlap": 1, "max_chunks": 5, **values}
    return Embeddings(EmbeddingsConfig(**settings), encoder or Counting(CountingConfig())).encode(data, Cache(folder))


def split_of(encoded: Encoded, name: str) -> EmbeddingSplit:
    split = encoded.splits[name]
    assert isinstance(split, EmbeddingSplit)
    return split


def expected_vector(text: str) -> NDArray[np.float32]:
    vector = Counting(CountingConfig()).encode([text])[0]
    return vector / np.linalg.norm(vector)


def test_a_batch_holds_the_vectors_of_each_documents_chunks(tmp_path: Path) -> None:
    data = paired()
    encoded = encode(tmp_path, data)
    split = split_of(encoded, "valid")
    assert data.valid.table["criterion"].to_pylist()[:3] == CRITERIA
    indices = np.array([7, 0, 14, 7])
    batch = split.batch(indices)
    inputs: Any = batch.inputs
    assert set(inputs) == {"chunks", "lengths", "criterion"}
    assert batch.rows.tolist() == [107, 100, 114, 107]
    assert batch.labels.tolist() == data.valid.labels[indices].tolist()
    assert inputs["chunks"].dtype == torch.float32
    assert inputs["lengths"].tolist() == split.lengths[indices].tolist()
    assert inputs["chunks"].shape == (4, split.lengths[indices].max(), encoded.properties["size"])
    for row, index in enumerate(indices):
        text = data.valid.texts[index]
        spans = split.spans(index)
        assert len(spans) == split.lengths[index]
        for place, (start, end) in enumerate(spans.tolist()):
            np.testing.assert_allclose(inputs["chunks"][row, place], expected_vector(text[start:end]), rtol=1e-6)
        assert not inputs["chunks"][row, len(spans) :].any()
        np.testing.assert_allclose(inputs["criterion"][row], expected_vector(CRITERIA[index % 3]), rtol=1e-6)


def test_every_text_and_every_criterion_is_embedded_once(tmp_path: Path) -> None:
    data = paired()
    Counting.asked.clear()
    encode(tmp_path, data)
    criteria = [text for text in Counting.asked if text in CRITERIA]
    assert sorted(criteria) == sorted(CRITERIA)
    chunks = sum(len(text.split()) > 0 for text in Counting.asked) - len(CRITERIA)
    columns = split_of(encode(tmp_path, data), "train").columns
    assert chunks == len(columns.chunks) == columns.offsets[-1]
    assert len(columns.offsets) - 1 == len({t for s in data.splits().values() for t in s.texts}) == 21


def test_records_without_a_criterion_have_none(tmp_path: Path) -> None:
    data = Dataset("plain", records(documents(9, 0)), records(documents(4, 1), 50), None)
    encoded = encode(tmp_path, data)
    assert set(split_of(encoded, "train").batch(np.arange(3)).inputs) == {"chunks", "lengths"}
    assert encoded.properties["criteria"] is False


def test_vectors_are_memory_mapped_and_of_length_one(tmp_path: Path) -> None:
    chunks = split_of(encode(tmp_path, paired()), "train").columns.chunks
    assert isinstance(chunks, np.memmap)
    np.testing.assert_allclose(np.linalg.norm(chunks, axis=1), 1, rtol=1e-6)


def test_what_is_cut_is_counted(tmp_path: Path) -> None:
    texts = [" ".join(WORDS[:3]), " ".join(WORDS * 2), "stone"]
    data = Dataset("long", records(texts * 2), records(texts, 50), None)
    notes = encode(tmp_path, data, window=4, overlap=0, max_chunks=2).notes["embeddings"]
    assert notes["valid"] == {
        "samples": 3,
        "texts": 3,
        "median_chunks": 1.0,
        "most_chunks": 2,
        "truncated_samples": 1,
        "truncated_words_share": pytest.approx(12 / 24),
        "samples_with_unread_tokens": 1,
        "unread_tokens": 2,
    }
    assert notes["train"]["samples"] == 6
    assert notes["train"]["texts"] == 3


# An encoder that learns nothing: however the texts are split, they are embedded once for all.
def test_all_folds_share_an_entry(tmp_path: Path) -> None:
    data = paired()
    encode(tmp_path, data)
    Counting.asked.clear()
    other = Dataset("fold", data.valid, data.train, data.test)
    again = encode(tmp_path, other)
    assert not Counting.asked
    assert len(list(tmp_path.glob("embeddings-*/"))) == 1
    fresh = encode(tmp_path / "elsewhere", other)
    for name in ("train", "valid", "test"):
        indices = np.arange(len(other.splits()[name]))
        for one, two in zip(*(split_of(e, name).batch(indices).inputs.values() for e in (again, fresh)), strict=True):
            assert torch.equal(one, two)


@pytest.mark.parametrize(
    "changed", [{"window": 5}, {"overlap": 0}, {"max_chunks": 4}, {"unit": "sentences", "overlap": 0}]
)
def test_other_chunks_are_another_entry(tmp_path: Path, changed: dict[str, Any]) -> None:
    encode(tmp_path, paired())
    encode(tmp_path, paired(), **changed)
    assert len(list(tmp_path.glob("embeddings-*/"))) == 2


def test_other_encoders_are_other_entries(tmp_path: Path) -> None:
    for size in (32, 64):
        encoded = encode(tmp_path, paired(), Hashing(HashingConfig(size=size)))
        assert encoded.properties["size"] == size
    assert len(list(tmp_path.glob("embeddings-*/"))) == 2


def lsa(folder: Path, valid: list[str]) -> Encoded:
    data = Dataset("lsa", records(documents(30, 0)), records(valid, 100), None)
    return encode(folder, data, LSA(LSAConfig(size=6)))


def test_an_encoder_learns_from_the_training_split_alone(tmp_path: Path) -> None:
    plain = lsa(tmp_path, documents(5, 1))
    planted = lsa(tmp_path, ["zzyzx river zzyzx river " * 4, "zzyzx stone"])
    assert "zzyzx" not in " ".join(read_json(planted.artefacts["encoder_terms.json"]))
    assert "river" in read_json(planted.artefacts["encoder_terms.json"])
    for name in ("encoder_terms.json", "encoder_idf.npy", "encoder_components.npy"):
        assert plain.artefacts[name].parent != planted.artefacts[name].parent
        assert plain.artefacts[name].read_bytes() == planted.artefacts[name].read_bytes()


def test_another_training_split_is_another_entry_of_a_fitted_encoder(tmp_path: Path) -> None:
    texts, others = documents(30, 0), documents(30, 5)
    for train, valid in ((texts, others), (others, texts)):
        data = Dataset("fold", records(train), records(valid, 100), None)
        encode(tmp_path, data, LSA(LSAConfig(size=6)))
    assert len(list(tmp_path.glob("embeddings-*/"))) == 2


# What a run keeps must be enough to embed new input as the model was trained on.
def test_the_kept_files_embed_alike(tmp_path: Path) -> None:
    encoded = lsa(tmp_path / "cache", documents(5, 1))
    kept = tmp_path / "run"
    kept.mkdir()
    for name, path in encoded.artefacts.items():
        (kept / name).write_bytes(path.read_bytes())
    encoder = LSA(LSAConfig(size=6))
    encoder.load(kept)
    split = split_of(encoded, "valid")
    text = documents(5, 1)[0]
    own = encoder.encode([text[start:end] for start, end in split.spans(0).tolist()])
    found: Any = split.batch(np.array([0])).inputs
    np.testing.assert_allclose(found["chunks"][0], own, atol=1e-6)
    properties = read_json(kept / "encoding.json")
    assert properties["chunks"] == {"unit": "words", "window": 4, "overlap": 1, "max_chunks": 5}


@pytest.mark.parametrize("name", ["offsets.npy", "chunks.npy", "spans.npy", "counts.npy", "criteria.npy"])
def test_an_entry_that_cannot_be_read_is_built_again(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = split_of(encode(tmp_path, paired()), "train").batch(np.arange(4)).inputs
    (entry,) = (path for path in tmp_path.glob("embeddings-*") if path.is_dir())
    np.save(entry / name, np.load(entry / name)[:-1])
    monkeypatch.setattr("counterpoise.data.cache._flaw", lambda *_: None)  # as if its checksums were right
    after = split_of(encode(tmp_path, paired()), "train").batch(np.arange(4)).inputs
    assert all(torch.equal(one, two) for one, two in zip(before.values(), after.values(), strict=True))  # type: ignore[union-attr]


def test_graphs_are_refused() -> None:
    graphs = Graphs.from_arrow(
        Graphs(
            np.array([0, 1, 2]),
            np.array([0, 0, 0]),
            np.array([0, 0, 0]),
            node_types=np.zeros(2, np.int32),
            lines=np.ones(2, np.int32),
            token_counts=np.zeros(2, np.int32),
            token_ids=np.zeros(0, np.int32),
            sources=np.zeros(0, np.int32),
            targets=np.zeros(0, np.int32),
            edge_types=np.zeros(0, np.int32),
        ).to_arrow()
    )
    both = Records.from_graphs(graphs, {"row": [0, 1], "label": [0, 1]}, ("a", "b"))
    encoding = Embeddings(EmbeddingsConfig(), Counting(CountingConfig()))
    with pytest.raises(UserError, match="holds graphs, no texts"):
        encoding.check(Dataset("g", both, both, None))


def test_a_criterion_of_words_that_no_document_has_is_told_or_known(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    texts = [f"plain words about gardens and rivers number{i % 3}" for i in range(40)]
    columns = {"row": list(range(40)), "label": [i % 2 for i in range(40)], "text": texts}
    criteria = ["zebra stripes", "zebra crossings"] * 20
    records = Records.from_columns({**columns, "criterion": criteria}, ("no", "yes"))
    halves = np.arange(20), np.arange(20, 40)
    dataset = Dataset("pairs", records.take(halves[0]), records.take(halves[1]), None)
    encoded = Embeddings(EmbeddingsConfig(), LSA(LSAConfig(size=8))).encode(dataset, Cache(tmp_path / "a"))
    split: Any = encoded.splits["train"]
    assert np.linalg.norm(split.columns.criteria, axis=1).min() > 0.9, "two criteria share a word, which is learnt"
    blind = Records.from_columns({**columns, "criterion": ["C1", None] * 20}, ("no", "yes"))
    dataset = Dataset("pairs", blind.take(halves[0]), blind.take(halves[1]), None)
    Embeddings(EmbeddingsConfig(), LSA(LSAConfig(size=8))).encode(dataset, Cache(tmp_path / "b"))
    assert "The encoder knows no word of" in caplog.text
