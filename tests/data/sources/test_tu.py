"""Graphs in TU format: what is read, how it is split, and every way in which files can be wrong."""

from __future__ import annotations

import contextlib
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.config.schema import parse
from counterpoise.data.records import Dataset, Records
from counterpoise.data.sources.tu import TUConfig, TUGraphs, parse_columns
from counterpoise.errors import UserError

MUTAG = Path(__file__).parents[4] / "shared" / "data" / "MUTAG"
HALVES = {"valid_share": 0.3, "test_share": 0.3}


def load(path: Path, **settings: Any) -> Dataset:
    return TUGraphs(parse(TUConfig, {"path": str(path), **settings}, "data")).load()


def problems(path: Path, **settings: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(path, **settings)
    return [str(problem).replace(str(path) + "/", "") for problem in caught.value.problems]


def write(folder: Path, **files: list[Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for kind, lines in files.items():
        (folder / f"X_{kind}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder


def six_triangles(folder: Path, **changed: list[Any]) -> Path:
    """Graphs 1 to 6, of three nodes and three edges each; labels 5, 7, 5, 7, ..."""
    files: dict[str, list[Any]] = {
        "A": [f"{3 * g + a}, {3 * g + b}" for g in range(6) for a, b in ((1, 2), (2, 3), (3, 1))],
        "graph_indicator": [g + 1 for g in range(6) for _ in range(3)],
        "graph_labels": [5, 7] * 3,
    }
    return write(folder, **{**files, **changed})


def by_row(dataset: Dataset) -> dict[int, tuple[Records, int]]:
    return {int(row): (part, at) for part in dataset.splits().values() for at, row in enumerate(part.rows)}


def one(dataset: Dataset, row: int) -> dict[str, list[Any]]:
    part, at = by_row(dataset)[row]
    graph = part.graphs.take(np.array([at]))
    names = ("node_types", "sources", "targets", "edge_types")
    found: dict[str, list[Any]] = {name: getattr(graph, name).tolist() for name in names}
    if graph.node_features is not None:
        found["node_features"] = graph.node_features.tolist()
    return found | {"label": [part.classes[part.labels[at]]]}


@pytest.mark.skipif(not MUTAG.is_dir(), reason="the data set is not here")
def test_mutag_is_what_its_readme_says() -> None:
    dataset = load(MUTAG)
    parts = dataset.splits()
    assert sum(map(len, parts.values())) == 188
    assert sum(part.graphs.sizes.sum() for part in parts.values()) == 3371
    assert sum(part.graphs.edge_counts.sum() for part in parts.values()) == 7442
    assert dataset.classes == ("-1", "1")
    assert sum(part.class_counts() for part in parts.values()).tolist() == [63, 125]  # type: ignore[attr-defined]
    assert {int(part.graphs.node_types.max()) for part in parts.values()} <= {5, 6}
    assert all(part.graphs.is_symmetric() for part in parts.values())
    assert sorted(by_row(dataset)) == list(range(188))


def test_all_optional_files(tmp_path: Path) -> None:
    folder = six_triangles(
        tmp_path,
        node_labels=[9, 3, 9] * 6,
        edge_labels=[-1, 4, 4] * 6,
        node_attributes=[f"{n}.5, -1e-1" for n in range(18)],
    )
    found = one(load(folder, **HALVES), 1)
    assert found == {
        "node_types": [1, 0, 1],
        "sources": [0, 1, 2],
        "targets": [1, 2, 0],
        "edge_types": [0, 1, 1],
        "node_features": [[3.5, pytest.approx(-0.1)], [4.5, pytest.approx(-0.1)], [5.5, pytest.approx(-0.1)]],
        "label": ["7"],
    }


def test_several_labels_of_a_node_are_one_type_together(tmp_path: Path) -> None:
    folder = six_triangles(tmp_path, node_labels=["0, 1", "1, 0", "0, 1"] * 6)
    assert one(load(folder, **HALVES), 0)["node_types"] == [0, 1, 0]


def test_graphs_of_one_node_and_without_edges(tmp_path: Path) -> None:
    folder = write(tmp_path, A=[], graph_indicator=list(range(1, 7)), graph_labels=[0, 1] * 3)
    dataset = load(folder, **HALVES)
    assert dataset.train.graphs.sizes.tolist() == [1, 1]
    assert one(dataset, 3) == {"node_types": [0], "sources": [], "targets": [], "edge_types": [], "label": ["1"]}


def test_nodes_of_a_graph_need_not_stand_together(tmp_path: Path) -> None:
    folder = write(
        tmp_path,
        A=["1, 7", "7, 1", "2, 8"],
        graph_indicator=[1, 2, 3, 4, 5, 6, 1, 2],
        node_labels=[0, 1, 2, 3, 4, 5, 6, 7],
        graph_labels=[0, 1] * 3,
    )
    dataset = load(folder, **HALVES)
    assert one(dataset, 0)["node_types"] == [0, 6]
    assert (one(dataset, 0)["sources"], one(dataset, 0)["targets"]) == ([0, 1], [1, 0])
    assert (one(dataset, 1)["sources"], one(dataset, 1)["targets"]) == ([0], [1])


@pytest.mark.parametrize("inner", ["", "X"])
@pytest.mark.parametrize("name", [None, "X"])
def test_files_stand_in_the_folder_or_in_one_of_their_name(tmp_path: Path, inner: str, name: str | None) -> None:
    six_triangles(tmp_path / inner)
    assert load(tmp_path, name=name, **HALVES).name == "X"


def test_a_folder_of_several_data_sets_wants_a_name(tmp_path: Path) -> None:
    six_triangles(tmp_path / "X")
    shutil.copytree(tmp_path / "X", tmp_path / "Y")
    for file in (tmp_path / "Y").iterdir():
        file.rename(file.with_name(file.name.replace("X_", "Y_")))
    (found,) = problems(tmp_path)
    assert "data.name: " in found
    assert "'X', 'Y'" in found
    assert load(tmp_path, name="Y", **HALVES).name == "Y"
    (found,) = problems(tmp_path, name="Z")
    assert "there is no Z_A.txt" in found


def test_an_empty_folder_says_what_was_expected(tmp_path: Path) -> None:
    (found,) = problems(tmp_path)
    assert "holds 0 data sets" in found
    assert "NAME_A.txt" in found


def test_bad_lines_are_told_all_at_once(tmp_path: Path) -> None:
    folder = six_triangles(
        tmp_path,
        A=["1, 2", "1", "x, 3", "1, 2, 3", "1.5, 2", "", "99999999999999999999, 1"],
        graph_labels=[0, "1.5", 1, 0, 1, "nan"],
        node_attributes=["0.5"] * 15 + ["inf", "nan", "many"],
    )
    found = problems(folder)
    assert [line.split(": ")[0] for line in found] == [
        *(f"X_A.txt:{line}" for line in (2, 3, 4, 5, 6, 7)),
        *(f"X_graph_labels.txt:{line}" for line in (2, 6)),
        *(f"X_node_attributes.txt:{line}" for line in (16, 17, 18)),
    ]
    assert "is 'x, 3'; expected 2 integers with commas between them" in found[1]


@pytest.mark.parametrize("value", ["1e300", "-3.5e38", "3.4028236e38"])
def test_a_number_that_float32_does_not_hold(tmp_path: Path, value: str) -> None:
    folder = six_triangles(tmp_path, node_attributes=["3.4028235e38, 1e-300"] * 7 + [f"0, {value}"] * 2 + ["1, 1"] * 9)
    found = problems(folder)
    assert [line.split(": ")[0] for line in found] == [f"X_node_attributes.txt:{line}" for line in (8, 9)]
    assert "at most 3.4e38 as float32" in found[0]
    write(folder, node_attributes=["3.4028235e38, 1e-300"] * 18)
    assert one(load(folder, **HALVES), 0)["node_features"] == [[float(np.finfo(np.float32).max), 0.0]] * 3


@pytest.mark.parametrize("digits", ["\uff11", "\u0663", "1\u00a0", "\u2003" + "1"])
@pytest.mark.parametrize("kind", ["graph_labels", "node_attributes", "A"])
def test_digits_and_blanks_of_other_scripts(tmp_path: Path, digits: str, kind: str) -> None:
    folder = six_triangles(tmp_path, node_attributes=[1] * 18)
    path = folder / f"X_{kind}.txt"
    lines = path.read_text().splitlines()
    lines[3] = ", ".join([digits] * len(lines[3].split(",")))
    path.write_text("\n".join(lines), encoding="utf-8")
    (found,) = problems(folder)
    assert found.startswith(f"X_{kind}.txt:4: is ")


def test_a_file_that_only_the_quick_reader_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("counterpoise.data.sources.tu._numbers", lambda lines, kind: None)
    found = problems(six_triangles(tmp_path))
    assert [line.split(":")[0] for line in found] == ["X_A.txt", "X_graph_indicator.txt", "X_graph_labels.txt"]
    assert "cannot be read as lines of numbers" in found[0]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text("09-+.,e_ \t\x00\x0c\x1cnaif\u0663\uff11", max_size=6), min_size=1, max_size=4))
def test_lines_are_read_or_named(lines: list[str]) -> None:
    content = "\n".join(lines).encode()
    for kind, reference in ((int, np.int64), (float, np.float32)):
        values, found, hidden = parse_columns(content, "f", None, kind)
        assert bool(found) != bool(len(values)) or not content.strip()
        assert hidden == 0
        if len(values):
            assert values.dtype == reference
            whole = re.sub(r"(?<=[0-9])\.0*(?=[,\s]|$)", "", content.rstrip().decode(), flags=re.ASCII)
            read = whole if kind is int else content.rstrip().decode()
            told = [[kind(part) for part in line.split(",")] for line in read.splitlines()]
            np.testing.assert_array_equal(values, np.array(told, reference))


def test_an_integer_may_be_written_as_a_float(tmp_path: Path) -> None:
    found = load(six_triangles(tmp_path, graph_labels=["1.0", "+1", "-0", "0.", "1", "-0.0"]), test_share=0)
    assert found.classes == ("0", "1")
    rows = {row: label for part in found.splits().values() for row, label in zip(part.rows, part.labels, strict=True)}
    assert [rows[row] for row in range(6)] == [1, 1, 0, 0, 1, 0]


def test_twenty_problems_of_a_file_are_told(tmp_path: Path) -> None:
    found = problems(six_triangles(tmp_path, A=["1, 99"] * 50))
    assert len(found) == 21
    assert found[-1] == "X_A.txt: has 30 more lines like these."


def test_an_empty_file_of_labels_is_one_problem(tmp_path: Path) -> None:
    assert problems(six_triangles(tmp_path, graph_labels=[])) == ["X_graph_labels.txt: is empty."]


def test_distances_are_no_edge_types(tmp_path: Path) -> None:
    def ring(labels: list[Any]) -> Path:
        edges = [f"{a % 3 + 1}, {(a + 1) % 3 + 1}" for a in range(len(labels))]
        return six_triangles(tmp_path, A=edges, edge_labels=labels)

    (found,) = problems(ring(list(range(501))))
    assert found.startswith("X_edge_labels.txt: ")
    assert "501 different values; at most 500" in found
    assert "a distance or an id rather than a type" in found
    assert one(load(ring([*range(500), 0]), **HALVES), 0)["edge_types"] == [*range(500), 0]


def test_numbers_of_nodes_and_graphs_that_are_not_there(tmp_path: Path) -> None:
    folder = six_triangles(tmp_path, A=["1, 2", "0, 1", "3, 19"], graph_labels=[0, 1, 0, 1, 0])
    assert problems(folder) == [
        *(f"X_graph_indicator.txt:{n}: names number 6, but there are graphs 1 to 5." for n in (16, 17, 18)),
        "X_A.txt:2: names number 0, but there are nodes 1 to 18.",
        "X_A.txt:3: names number 19, but there are nodes 1 to 18.",
    ]


def test_files_of_different_lengths(tmp_path: Path) -> None:
    found = problems(six_triangles(tmp_path, node_labels=[0] * 17, edge_labels=[0], node_attributes=[]))
    assert [line.split(" has ")[0] for line in found] == [
        *("X_node_labels.txt:", "X_node_attributes.txt:", "X_edge_labels.txt:")
    ]


def test_files_that_are_missing(tmp_path: Path) -> None:
    found = problems(write(tmp_path, A=["1, 2"]))
    assert [line.split(":")[0] for line in found] == ["X_graph_indicator.txt", "X_graph_labels.txt"]


def test_an_edge_between_graphs_and_a_graph_without_nodes(tmp_path: Path) -> None:
    lines = [f"{3 * g + 1}, {3 * g + 2}" for g in range(10)] + ["1, 4"]
    indicator = [g + 1 for g in range(10) for _ in range(3)]
    folder = write(tmp_path, A=lines, graph_indicator=indicator, graph_labels=[0, 1] * 5 + [0])
    found = problems(folder)
    assert len(found) == 3
    assert "graph 1 has an edge to graph 2" in found[0]
    assert "X_A.txt:11" in found[0]
    assert "graph 11 has no node" in found[2]
    skipped = load(folder, on_bad_record="skip", **HALVES)
    assert sorted(by_row(skipped)) == [2, 3, 4, 5, 6, 7, 8, 9]
    assert skipped.notes["bad_records"]["left_out"] == 3
    assert one(skipped, 2)["sources"] == [0]


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({"folds": 3}, "data.folds"),
        ({"valid_share": 0.6, "test_share": 0.4}, "data.valid_share"),
        ({"path": None}, "data.path"),
    ],
)
def test_settings_that_contradict_each_other(settings: dict[str, Any], where: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(TUConfig, {"path": "x", **settings}, "data")
    assert [problem.where for problem in caught.value.problems] == [where]


@settings(max_examples=200, deadline=None)
@given(
    st.dictionaries(st.sampled_from(["A", "graph_indicator", "graph_labels", "node_labels"]), st.binary(max_size=40))
)
def test_no_content_breaks_it(tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes]) -> None:
    folder = six_triangles(tmp_path_factory.mktemp("tu"))
    for kind, content in files.items():
        (folder / f"X_{kind}.txt").write_bytes(content)
    with contextlib.suppress(UserError):  # and nothing else
        dataset = load(folder, **HALVES)
        assert min(len(split) for split in dataset.splits().values()) > 0
        assert max(int(split.labels.max()) for split in dataset.splits().values()) < len(dataset.classes)
    shutil.rmtree(folder)
