"""Files of encodings that somebody else made, whole by their checksums: refused, or built again."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from counterpoise.data.cache import Cache, read_manifest, write_manifest
from counterpoise.data.encode.features import read_features
from counterpoise.data.encode.tokenizer import MOST_TOKENS, PROPERTIES, TOKENIZER, check_tokenizer, open_columns
from counterpoise.data.encode.tokens import Tokens, TokensConfig
from counterpoise.data.graphs import Graphs
from counterpoise.data.records import Dataset, Records

TEXTS = [f"int f{number}(int a) {{ return {number * 7919}; }}" for number in range(12)]
RECORDS = Records.from_columns({"row": list(range(12)), "text": TEXTS, "label": [0, 1] * 6}, ("a", "b"))
DATA = Dataset("code", RECORDS, RECORDS, None)
ENCODING = Tokens(TokensConfig(vocab_size=300))


@pytest.fixture
def entry(tmp_path: Path) -> Path:
    """A cache entry of tokens."""
    ENCODING.encode(DATA, Cache(tmp_path / "cache"))
    (found,) = (path for path in (tmp_path / "cache").iterdir() if path.is_dir())
    return found


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_text(json.dumps(content), encoding="utf-8")


STEPS: dict[str, Callable[[dict[str, Any]], object]] = {
    "a pattern that takes for ever": lambda t: t.update(
        pre_tokenizer={"type": "Split", "pattern": {"Regex": "(a+)+$"}, "behavior": "Isolated", "invert": False}
    ),
    "ids beyond the embeddings": lambda t: t["post_processor"]["special_tokens"]["<cls>"].update(ids=[2**32 - 1]),
    "an id that is missing": lambda t: t["post_processor"].update(special_tokens={}),
    "pieces of no length": lambda t: t.update(pre_tokenizer={"type": "FixedLength", "length": 0}),
    "a text in front": lambda t: t.update(normalizer={"type": "Prepend", "prepend": "x" * 100_000}),
    "texts that grow": lambda t: t.update(
        normalizer={
            "type": "Sequence",
            "normalizers": [{"type": "Replace", "pattern": {"String": "a"}, "content": "a" * 50}] * 5,
        }
    ),
    "a token of a huge id": lambda t: t["model"]["vocab"].update(zz=2**31),
    "no such normalizer": lambda t: t.update(normalizer={"type": "Precompiled", "precompiled_charsmap": "AAAA"}),
    "a suffix of no token": lambda t: t["model"].update(continuing_subword_prefix="é"),
    "chance": lambda t: t["model"].update(dropout=0.5),
    "no padding": lambda t: t.update(added_tokens=[]) or t["model"]["vocab"].pop("<pad>"),
    "nothing": lambda t: t.clear(),
}


@pytest.mark.parametrize("kind", STEPS)
def test_a_tokenizer_that_is_none_of_ours_is_refused(kind: str, entry: Path) -> None:
    properties = json.loads((entry / PROPERTIES).read_text(encoding="utf-8"))
    edit(entry / TOKENIZER, STEPS[kind])
    with pytest.raises(ValueError, match=r"tokenizer\.json"):
        check_tokenizer(entry / TOKENIZER, properties)


@pytest.mark.parametrize("kind", ["texts that grow", "a text in front"])
def test_a_pretrained_tokenizer_may_not_blow_texts_up(kind: str, entry: Path) -> None:
    properties = {**json.loads((entry / PROPERTIES).read_text(encoding="utf-8")), "pretrained": "x"}
    edit(entry / TOKENIZER, STEPS[kind])
    with pytest.raises(ValueError, match="its normalizer may make a text"):
        check_tokenizer(entry / TOKENIZER, properties)


@pytest.mark.parametrize(
    "kind", ["a pattern that takes for ever", "ids beyond the embeddings", "an id that is missing"]
)
def test_a_pretrained_tokenizer_that_fails_at_a_text_is_a_value_error(kind: str, entry: Path) -> None:
    edit(entry / TOKENIZER, STEPS[kind])
    edit(entry / PROPERTIES, lambda properties: properties.update(pretrained="x"))
    learnt = ENCODING.learnt(entry)
    text = {"row": [0], "text": [f"{'a' * 60}!"], "label": [0]}
    with pytest.raises(ValueError, match="token"):
        learnt.apply(Records.from_columns(text, ("a", "b")))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("vocab_size", value) for value in (None, "x", 0, -1, 301, MOST_TOKENS + 1, 2**31, 0.5, [])),
        *(("pad_id", value) for value in (None, -1, 10**6, "0", True)),
        *(("max_length", value) for value in (None, 0, -1, 2**31, "x")),
        *(("pretrained", value) for value in (3, [], {})),
        ("split_special_tokens", "no"),
    ],
)
def test_properties_of_other_types_are_refused(name: str, value: Any, entry: Path) -> None:
    edit(entry / PROPERTIES, lambda properties: properties.update({name: value}))
    with pytest.raises(ValueError, match=r"encoding\.json|tokenizer\.json"):
        ENCODING.learnt(entry)


def ids(items: list[list[int]], kind: pa.DataType) -> pa.Array:
    return pa.array(items, pa.large_list(kind))


COLUMNS: dict[str, Callable[[], pa.Array]] = {
    "offsets that lead outside": lambda: ids([[7, 7], [7, 7, 7]], pa.int32()),
    "offsets that go back": lambda: ids([[7, 7, 7], [7]], pa.int32()),
    "numbers with fractions": lambda: ids([[1], [2]], pa.float32()),
    "numbers with gaps": lambda: pa.array([[1, None], [2]], pa.large_list(pa.int32())),
    "gaps": lambda: pa.array([[1], None], pa.large_list(pa.int32())),
    "pieces": lambda: pa.chunked_array([ids([[1]], pa.int32()), ids([[2]], pa.int32())]),
    "small lists": lambda: pa.array([[1], [2]], pa.list_(pa.int32())),
    "words": lambda: pa.array([["a"], ["b"]], pa.large_list(pa.string())),
    "a dictionary": lambda: pa.array([1, 2]).dictionary_encode(),
    "no lists": lambda: pa.array([1, 2]),
    "nothing": lambda: pa.nulls(2),
}


OFFSETS = {(0, 2, 5): (0, 2, 10**9), (0, 3, 4): (0, 3, 1)}
"""Of lists, with what stands in their place in the file: the library writes none of these."""


def write(path: Path, table: pa.Table) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)
    for whole, others in OFFSETS.items():
        before, after = (np.array(each, np.int64).tobytes() for each in (whole, others))
        path.write_bytes(path.read_bytes().replace(before, after))


@pytest.mark.parametrize("kind", COLUMNS)
def test_columns_of_other_kinds_are_refused(kind: str, tmp_path: Path) -> None:
    write(tmp_path / "a.arrow", pa.table({"ids": COLUMNS[kind]()}))
    with pytest.raises((ValueError, pa.ArrowException)):
        open_columns(tmp_path / "a.arrow", 2).column("ids").chunk(0).values.to_numpy(zero_copy_only=True)


@pytest.mark.parametrize("kind", COLUMNS)
def test_a_cache_entry_with_such_columns_is_built_again(
    kind: str, entry: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(entry / "train.arrow", pa.table({"ids": COLUMNS[kind]()}))
    write_manifest(entry, read_manifest(entry))
    encoded = ENCODING.encode(DATA, Cache(entry.parent))
    assert "it is built again" in caplog.text
    assert len(encoded.splits["train"].labels) == 12
    assert encoded.splits["train"].batch(np.arange(12)).inputs["ids"].max() < 300  # type: ignore[call-overload]


def test_graphs_of_fractions_are_refused() -> None:
    names = ("node_types", "lines", "token_counts", "sources", "targets", "edge_types", "token_ids")
    whole = pa.table({name: ids([[0]], pa.int32()) for name in names})
    whole = whole.set_column(2, "token_counts", ids([[1]], pa.int32()))
    assert len(Graphs.from_arrow(whole)) == 1
    for place, name in enumerate(names):
        with pytest.raises(ValueError, match=f"the column {name} holds float32"):
            Graphs.from_arrow(whole.set_column(place, name, ids([[0]], pa.float32())))


@pytest.mark.parametrize("shape", [b"-1,-3", b"4000000000,4000000000", b"x", b""])
def test_features_of_another_shape_than_they_say_are_refused(shape: bytes, tmp_path: Path) -> None:
    column = pa.FixedSizeListArray.from_arrays(pa.array(np.zeros(6, np.float32)), 3)
    field = pa.field("x_pooled", column.type, metadata={"shape": shape})
    write(tmp_path / "a.arrow", pa.table([column], schema=pa.schema([field])))
    with pytest.raises(ValueError, match=r"samples of x_pooled|invalid literal"):
        read_features(tmp_path / "a.arrow", 2)
