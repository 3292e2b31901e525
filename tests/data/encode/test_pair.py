"""Tokens and graphs of the same texts; and what a run was trained on, taken up again to the last id."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from counterpoise.data.cache import Cache
from counterpoise.data.encode import graphs as graph_encoding
from counterpoise.data.encode.base import Encoded
from counterpoise.data.encode.graphs import GraphEncoding, GraphsConfig
from counterpoise.data.encode.pair import TokensAndGraphs, TokensAndGraphsConfig
from counterpoise.data.encode.tokens import Tokens, TokensConfig
from counterpoise.data.graphs import Graphs
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError
from fusion_kit import chains


@pytest.fixture(autouse=True)
def _graphs_in_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_encoding, "make_graphs", chains)


def records(texts: list[str], start: int = 0) -> Records:
    n = len(texts)
    rows = {"row": list(range(start, start + n)), "text": texts, "label": [i % 2 for i in range(n)]}
    return Records.from_columns(rows, ("no", "yes"))


def dataset(word: str = "buffer", n: int = 30) -> Dataset:
    texts = [f"int f{i} ( char * {word} ) {{ return {word} [ {i % 7} ] ; }}" + " x" * (i % 5) for i in range(n)]
    return Dataset("code", records(texts), records(texts[:4], 100), records(texts[4:7], 200))


def encode(data: Dataset, cache: Path, tokens: dict[str, Any] | None = None, graphs: Any = None) -> Encoded:
    config = TokensAndGraphsConfig(
        tokens=TokensConfig(vocab_size=300, **(tokens or {})), graphs=GraphsConfig(workers=0, **(graphs or {}))
    )
    return TokensAndGraphs(config).encode(data, Cache(cache))


def test_a_batch_holds_what_both_encodings_give(tmp_path: Path) -> None:
    data = dataset()
    both = encode(data, tmp_path)
    tokens = Tokens(TokensConfig(vocab_size=300)).encode(data, Cache(tmp_path))
    graphs = GraphEncoding(GraphsConfig(workers=0)).encode(data, Cache(tmp_path))
    indices = np.array([5, 0, 9])
    expected = {**tokens.splits["train"].batch(indices).inputs, **graphs.splits["train"].batch(indices).inputs}
    batch = both.splits["train"].batch(indices)
    assert set(batch.inputs) == set(expected)
    assert all(torch.equal(batch.inputs[name], value) for name, value in expected.items())
    assert batch.labels.tolist() == [1, 0, 1]
    assert batch.rows.tolist() == [5, 0, 9]
    assert both.splits["train"].lengths.tolist() == tokens.splits["train"].lengths.tolist()
    assert set(both.splits) == {"train", "valid", "test"}


def test_properties_files_and_notes_of_both_are_kept(tmp_path: Path) -> None:
    both = encode(dataset(), tmp_path)
    assert both.properties["tokens"]["max_length"] == 512
    assert both.properties["graphs"]["node_types"] == 4
    names = {"tokenizer.json", "encoding.json", "graph_vocabulary.json", "graphs.json", "graph_statistics.json"}
    assert names <= set(both.artefacts)
    assert set(both.notes) == {"tokens", "graphs"}


def a_run(folder: Path, encoded: Encoded) -> Path:
    """What a run keeps of its encoding."""
    folder.mkdir()
    for name, path in encoded.artefacts.items():
        shutil.copy(path, folder / name)
    return folder


# The other data would give another vocabulary: none of it may show.
def test_what_a_run_was_trained_on_is_taken_up_again(tmp_path: Path) -> None:
    earlier = encode(dataset(), tmp_path / "cache", {"max_length": 12}, {"max_nodes": 9})
    run = a_run(tmp_path / "run", earlier)
    other = dataset("zebra")
    again = encode(other, tmp_path / "other cache", {"reuse": str(run)}, {"reuse": str(run)})
    new = encode(other, tmp_path / "other cache", {"max_length": 12}, {"max_nodes": 9})
    assert again.properties == earlier.properties
    for name in ("tokenizer.json", "encoding.json", "graph_vocabulary.json"):
        assert again.artefacts[name].read_bytes() == earlier.artefacts[name].read_bytes()
    assert again.splits["train"].lengths.max() == 12
    assert not torch.equal(ids(again), ids(new))
    same = encode(dataset(), tmp_path / "third cache", {"reuse": str(run)}, {"reuse": str(run)})
    for split in ("train", "valid", "test"):
        every = np.arange(len(same.splits[split].labels))
        one, two = same.splits[split].batch(every).inputs, earlier.splits[split].batch(every).inputs
        assert all(torch.equal(one[name], two[name]) for name in two)


def ids(encoded: Encoded) -> torch.Tensor:
    return encoded.splits["train"].batch(np.arange(8)).inputs["ids"]


def test_a_run_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"encoding\.tokens\.reuse: .* has no tokenizer that could be used again"):
        encode(dataset(), tmp_path, {"reuse": str(tmp_path / "nowhere")})
    run = a_run(tmp_path / "run", encode(dataset(), tmp_path / "cache"))
    properties = json.loads((run / "encoding.json").read_text())
    (run / "encoding.json").write_text(json.dumps({**properties, "vocab_size": 299}))
    with pytest.raises(UserError, match=r"tokenizer\.json does not belong to encoding\.json"):
        encode(dataset(), tmp_path, {"reuse": str(run)})
    with pytest.raises(UserError, match=r"encoding\.graphs\.reuse: .* has no vocabulary of graphs"):
        encode(dataset(), tmp_path, None, {"reuse": str(tmp_path / "nowhere")})


def test_records_that_are_graphs_are_refused(tmp_path: Path) -> None:
    named: Graphs = chains(dataset().train, GraphsConfig()).graphs
    rows = {"row": list(range(30)), "label": [0, 1] * 15}
    split = Records.from_graphs(named, rows, ("no", "yes"))
    with pytest.raises(UserError, match="the records of molecules are graphs, which have no text"):
        TokensAndGraphs(TokensAndGraphsConfig()).check(Dataset("molecules", split, split, None))
