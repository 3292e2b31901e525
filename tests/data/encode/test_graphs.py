"""Graphs as an encoding: numbered by the training split alone, both directions, counted, cached, used again."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from counterpoise.data.cache import Cache
from counterpoise.data.encode import graphs as module
from counterpoise.data.encode.base import Encoded
from counterpoise.data.encode.graphs import GraphEncoding, GraphsConfig, GraphSplit
from counterpoise.data.graphs import Graphs
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError
from counterpoise.jsonio import read_json

CODE = [
    f"int get_{'value' if i % 2 else 'size'}(char *buffer) {{ int n = {i % 5}; if (n < 3) n += buffer[n]; return n; }}"
    for i in range(30)
]
EDGE_NAMES = ["child", "next_sibling", "next_token", "control_flow", "data_flow"]


def records(texts: list[str], start: int = 0) -> Records:
    n = len(texts)
    columns = {"row": list(range(start, start + n)), "text": texts, "label": [i % 2 for i in range(n)]}
    return Records.from_columns(columns, ("safe", "vulnerable"))


def dataset(valid: list[str] | None = None, language: str | None = "c") -> Dataset:
    return Dataset("code", records(CODE), records(valid or CODE[:3], 100), None, language=language)


def encode(folder: Path, data: Dataset | None = None, **values: Any) -> Encoded:
    return GraphEncoding(GraphsConfig(**{"workers": 1, **values})).encode(data or dataset(), Cache(folder))


def vocabulary(encoded: Encoded) -> dict[str, Any]:
    return dict(read_json(encoded.artefacts["graph_vocabulary.json"]))


def split_of(encoded: Encoded, name: str = "train") -> GraphSplit:
    split = encoded.splits[name]
    assert isinstance(split, GraphSplit)
    return split


def given(edges: list[list[tuple[int, int, int]]], nodes: int = 3, start: int = 0) -> Records:
    """A graph of ``nodes`` nodes per list of (source, target, type)."""
    n = len(edges)
    flat = np.array([edge for graph in edges for edge in graph], np.int64).reshape(-1, 3)
    offsets = np.cumsum([0, *map(len, edges)])
    graphs = Graphs(
        node_offsets=np.arange(n + 1) * nodes,
        edge_offsets=offsets,
        token_offsets=np.zeros(n + 1, np.int64),
        node_types=np.tile(np.arange(nodes), n),
        lines=np.zeros(n * nodes, np.int64),
        token_counts=np.zeros(n * nodes, np.int64),
        token_ids=np.zeros(0, np.int64),
        sources=flat[:, 0],
        targets=flat[:, 1],
        edge_types=flat[:, 2],
    )
    columns = {"row": list(range(start, start + n)), "label": [i % 2 for i in range(n)]}
    return Records.from_graphs(graphs, columns, ("a", "b"))


def test_the_vocabulary_is_of_the_training_split_alone(tmp_path: Path) -> None:
    planted = ["int zebra(void) { zebra(); do { zebra(); } while (zebra()); return zebra(); }"] * 3
    plain, with_planted = encode(tmp_path), encode(tmp_path, dataset(planted))
    assert vocabulary(plain) == vocabulary(with_planted)
    assert "zebra" not in vocabulary(plain)["sub_tokens"]
    assert "do_statement" not in vocabulary(plain)["node_types"]
    assert {"buffer", "value", "size"} <= set(vocabulary(plain)["sub_tokens"])
    assert "binary_expression <" in vocabulary(plain)["node_types"]
    graphs = split_of(with_planted, "valid").graphs
    assert (graphs.node_types == 0).any()
    assert (graphs.token_ids == 0).any()
    assert not (split_of(plain).graphs.node_types == 0).any()


def test_rare_sub_tokens_and_those_beyond_the_vocabulary_are_unknown(tmp_path: Path) -> None:
    once = Dataset("code", records([*CODE, "int lonely;"]), records(CODE[:2], 100), None, language="c")
    assert "lonely" not in vocabulary(encode(tmp_path, once))["sub_tokens"]
    small = vocabulary(encode(tmp_path, vocab_size=4))["sub_tokens"]
    assert small[0] == "<unknown>"
    assert len(small) == 4
    assert set(small[1:]) <= {"get", "buffer", "n", "int", "char", "3"}  # those that stand in every function


def test_a_batch_is_one_graph_of_separate_parts(tmp_path: Path) -> None:
    encoded = encode(tmp_path)
    split = split_of(encoded)
    chosen = np.array([7, 0, 12])
    batch = split.batch(chosen)
    inputs = batch.inputs
    assert isinstance(inputs, dict)
    assert batch.rows.tolist() == [7, 0, 12]
    assert batch.labels.tolist() == [1, 0, 0]
    assert inputs["sizes"].tolist() == split.lengths[chosen].tolist()
    reverse = encoded.properties["reverse_edge_types"]
    expected_types, expected_edges, first = [], [], 0
    for index in chosen:
        graphs = split.graphs
        nodes = slice(graphs.node_offsets[index], graphs.node_offsets[index + 1])
        edges = slice(graphs.edge_offsets[index], graphs.edge_offsets[index + 1])
        expected_types += graphs.node_types[nodes].tolist()
        triples = zip(graphs.sources[edges], graphs.targets[edges], graphs.edge_types[edges], strict=True)
        expected_edges += [(int(s) + first, int(t) + first, int(k)) for s, t, k in triples]
        first += nodes.stop - nodes.start
    found = list(zip(*(inputs[name].tolist() for name in ("sources", "targets", "edge_types")), strict=True))
    assert inputs["node_types"].tolist() == expected_types
    assert found == expected_edges
    assert [(t, k, s) for s, t, k in found] == sorted((t, k, s) for s, t, k in found)
    assert Counter(found) == Counter((t, s, reverse[k]) for s, t, k in found)
    assert all(reverse[reverse[kind]] == kind != reverse[kind] for kind in range(len(reverse)))
    assert int(inputs["sub_token_counts"].sum()) == len(inputs["sub_tokens"])


def test_properties_speak_of_both_directions(tmp_path: Path) -> None:
    encoded = encode(tmp_path)
    assert vocabulary(encoded)["edge_types"] == [*EDGE_NAMES, *(f"{name} reversed" for name in EDGE_NAMES)]
    assert encoded.properties["edge_types"] == 10
    assert encoded.properties["node_features"] == 0
    assert encoded.properties["settings"]["parser"] == "c"


def test_statistics_are_counted(tmp_path: Path) -> None:
    data = dataset([*CODE[:3], "int broken( { ((("])
    encoded = encode(tmp_path, data, max_nodes=20)
    figures = json.loads(encoded.artefacts["graph_statistics.json"].read_text())
    whole = split_of(encode(tmp_path, data, max_nodes=10_000), "valid").lengths
    valid, split = figures["valid"], split_of(encoded, "valid")
    assert valid["graphs"] == 4
    assert valid["labels"] == {"safe": 2, "vulnerable": 2}
    assert valid["nodes"]["total"] == int(split.lengths.sum())
    assert split.lengths.tolist() == np.minimum(whole, 20).tolist()
    assert valid["truncated"]["graphs"] == int((whole > 20).sum()) == 3
    assert valid["truncated"]["nodes"] == int((whole - split.lengths).sum())
    assert valid["parse_errors"] == {"graphs": 1, "share": 0.25}
    kinds = Counter(split.graphs.edge_types.tolist())
    names = vocabulary(encoded)["edge_types"]
    assert valid["edges_by_type"] == {name: kinds[index] for index, name in enumerate(names)}
    assert valid["edges_by_type"]["child"] == valid["edges_by_type"]["child reversed"] == sum(split.lengths - 1)
    assert valid["in_degree"]["total"] == valid["edges"]["total"] == sum(kinds.values())
    assert sum(valid["degree_histogram"]) == sum(split.lengths)
    assert encoded.notes["graphs"]["valid"]["truncated"] == valid["truncated"]
    with Image.open(encoded.artefacts["graph_statistics.png"]) as picture:
        assert picture.size[0] > 1000


def test_cached_and_built_again_where_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = encode(tmp_path)

    def refuse(*_: object) -> None:
        raise AssertionError("parsed again")

    with monkeypatch.context() as patched:
        patched.setattr(module, "make_graphs", refuse)
        again = encode(tmp_path, workers=2)  # how many processes parse does not matter
        with pytest.raises(AssertionError, match="parsed again"):
            encode(tmp_path, max_nodes=50)
    assert np.array_equal(split_of(first).graphs.sources, split_of(again).graphs.sources)
    file = first.artefacts["graphs.json"].parent / "valid.arrow"
    file.write_bytes(file.read_bytes()[:-100])
    assert len(split_of(encode(tmp_path), "valid").graphs) == 3


@pytest.mark.parametrize("column", ["sources", "edge_types", "node_types", "token_ids"])
def test_a_file_with_numbers_out_of_bounds_is_not_read(column: str, tmp_path: Path) -> None:
    encoded = encode(tmp_path)
    graphs = split_of(encoded).graphs
    values = getattr(graphs, column).astype(np.int64)
    values[len(values) // 2] = 60_000
    broken = tmp_path / "broken.arrow"
    module._write(broken, Graphs(**{**vars(graphs), column: values}))
    with pytest.raises(ValueError, match=r"vocabulary|out of its graph"):
        module._read_graphs(broken, encoded.properties)


def test_reuse_takes_up_vocabulary_and_settings(tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    first = encode(tmp_path / "cache", max_nodes=25, vocab_size=6)
    for name, path in first.artefacts.items():
        (run / name).write_bytes(path.read_bytes())
    other = Dataset("other", records(["void other(void) { other(); }"] * 4), records(CODE[:3], 100), None, language="c")
    again = encode(tmp_path / "cache", other, reuse=str(run))
    assert vocabulary(again) == vocabulary(first)
    assert again.properties == first.properties
    for name in ("node_types", "token_ids", "sources", "edge_types"):
        expected = getattr(split_of(first, "valid").graphs, name)
        assert getattr(split_of(again, "valid").graphs, name).tolist() == expected.tolist()


def test_nothing_to_reuse_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"encoding\.reuse: .*no vocabulary of graphs"):
        encode(tmp_path, reuse=str(tmp_path / "nowhere"))


def test_text_of_no_language_becomes_windows_of_words(tmp_path: Path) -> None:
    texts = ["The cat sat on the mat.", "The dog sat there, and the cat ran."] * 4
    encoded = encode(tmp_path, Dataset("text", records(texts), records(texts[:2], 100), None), window=2)
    assert encoded.properties["settings"]["parser"] == "windows"
    assert {"the", "cat", "sat"} <= set(vocabulary(encoded)["sub_tokens"])
    explicit = encode(tmp_path, dataset(language=None), parser="c")
    assert split_of(explicit).graphs.sources.tolist() == split_of(encode(tmp_path)).graphs.sources.tolist()


def test_undirected_graphs_are_not_doubled(tmp_path: Path) -> None:
    both = [[(0, 1, 0), (1, 0, 0), (1, 2, 1), (2, 1, 1)]] * 4
    encoded = encode(tmp_path, Dataset("given", given(both), given(both[:2], start=9), None))
    assert encoded.properties["reverse_edge_types"] == [0, 1]
    assert split_of(encoded).graphs.edge_counts.tolist() == [4] * 4
    one = [[(0, 1, 0), (1, 2, 1)]] * 4
    doubled = encode(tmp_path, Dataset("given", given(one), given(one[:2], start=9), None))
    assert doubled.properties["reverse_edge_types"] == [2, 3, 0, 1]
    assert split_of(doubled).graphs.edge_counts.tolist() == [4] * 4
    with pytest.raises(UserError, match="both directions"):
        encode(tmp_path, Dataset("given", given(both), given(one[:2], start=9), None))


def test_what_no_model_could_read_is_one_message(tmp_path: Path) -> None:
    train = [[(0, 1, 0)]] * 4
    small = GraphEncoding(GraphsConfig(max_nodes=2))
    with pytest.raises(UserError, match=r"encoding\.max_nodes: is 2, but one of these graphs has 3 nodes"):
        small.check(Dataset("given", given(train), given(train[:2], start=9), None))


def test_graphs_without_any_edge(tmp_path: Path) -> None:
    bare: list[list[tuple[int, int, int]]] = [[]] * 4
    encoded = encode(tmp_path, Dataset("given", given(bare), given(bare[:2], start=9), None))
    assert encoded.properties["edge_types"] == 0
    assert split_of(encoded).batch(np.array([1, 2])).inputs["sources"].tolist() == []


def test_types_of_edges_are_those_that_training_has(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    train, valid = [[(0, 1, 0), (1, 2, 2)]] * 4, [[(0, 1, 1), (1, 2, 2)]] * 2
    encoded = encode(tmp_path, Dataset("given", given(train), given(valid, start=9), None))
    assert vocabulary(encoded)["edge_types"] == ["0", "2", "0 reversed", "2 reversed"]
    assert split_of(encoded, "valid").graphs.edge_counts.tolist() == [2, 2]
    assert "left out 2 edges of type 1" in caplog.text


@pytest.mark.parametrize("names", [("$^$", "_b"), ("猫", "x" * 200)])
def test_a_picture_of_any_names(names: tuple[str, str], tmp_path: Path, recwarn: pytest.WarningsRecorder) -> None:
    odd = Dataset(
        "odd", Records(records(CODE).table, names), Records(records(CODE[:3], 100).table, names), None, language="c"
    )
    assert encode(tmp_path, odd).artefacts["graph_statistics.png"].stat().st_size > 10_000
    assert not recwarn.list


def test_what_cannot_be_used_again_is_said_before_anything_is_encoded(tmp_path: Path) -> None:
    graphs = Dataset("given", given([[(0, 1, 0)]] * 4), given([[(0, 1, 0)]] * 2, start=9), None)
    runs = {"given": encode(tmp_path, graphs), "code": encode(tmp_path)}
    for name, encoded in runs.items():
        (tmp_path / name).mkdir()
        for file, path in encoded.artefacts.items():
            (tmp_path / name / file).write_bytes(path.read_bytes())
    for name, data in (("given", dataset()), ("given", graphs), ("code", graphs)):
        with pytest.raises(UserError, match=r"encoding\.reuse: cannot be used with graphs that came as such"):
            GraphEncoding(GraphsConfig(reuse=str(tmp_path / name))).check(data)
    GraphEncoding(GraphsConfig(reuse=str(tmp_path / "code"))).check(dataset())
    for content in ("{}", "[]", '{"node_types": 3}', "nonsense"):
        (tmp_path / "code/graph_vocabulary.json").write_text(content)
        with pytest.raises(UserError, match=r"encoding\.reuse: .*no vocabulary of graphs"):
            GraphEncoding(GraphsConfig(reuse=str(tmp_path / "code"))).check(dataset())


def test_code_that_mostly_does_not_parse_is_said_at_every_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    broken = dataset([*["int broken( { ((("] * 2, CODE[0]])
    for _ in range(2):  # built, then read from the cache
        caplog.clear()
        encode(tmp_path, broken)
        assert "the c parser could not read all of the code in most texts (67% of valid)" in caplog.text
    caplog.clear()
    encode(tmp_path, dataset(["int broken( { (((", *CODE[:3]]))
    assert not caplog.text
