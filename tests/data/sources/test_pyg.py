"""Graphs saved with PyTorch Geometric: what is read, what is refused, and that nothing in a file is ever run."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_geometric.data import Data, HeteroData, InMemoryDataset

from counterpoise.config.schema import parse
from counterpoise.data.records import Dataset
from counterpoise.data.sources.pyg import PyGConfig, PyGGraphs
from counterpoise.errors import UserError

HALVES = {"valid_share": 0.3, "test_share": 0.3}


def graph(label: int = 0, nodes: int = 3, **fields: Any) -> Data:
    """A path; its ends have the label as their type."""
    path = torch.tensor([list(range(nodes - 1)), list(range(1, nodes))], dtype=torch.long).view(2, -1)
    return Data(**{"x": torch.arange(nodes) + label, "edge_index": path, "y": torch.tensor([label]), **fields})


def save(folder: Path, *contents: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(contents):
        torch.save(content, folder / f"{number:03}.pt")
    return folder


def load(path: Path, **settings: Any) -> Dataset:
    return PyGGraphs(parse(PyGConfig, {"path": str(path), **settings}, "data")).load()


def problems(path: Path, **settings: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        load(path, **settings)
    return [str(problem).replace(str(path) + "/", "") for problem in caught.value.problems]


def one(dataset: Dataset, row: int) -> dict[str, Any]:
    for part in dataset.splits().values():
        for at in np.flatnonzero(part.rows == row):
            found = part.graphs.take(np.array([at]))
            names = ("node_types", "sources", "targets", "edge_types")
            features = None if found.node_features is None else found.node_features.tolist()
            values = {name: getattr(found, name).tolist() for name in names}
            return values | {"label": part.classes[part.labels[at]], "features": features}
    raise AssertionError(row)


def test_node_types_and_edge_types(tmp_path: Path) -> None:
    items = [graph(label, edge_attr=torch.tensor([7, -2])) for label in [10, 20] * 3]
    dataset = load(save(tmp_path, *items), **HALVES)
    assert dataset.classes == ("10", "20")
    assert one(dataset, 1) == {
        "node_types": [3, 4, 5],
        "sources": [0, 1],
        "targets": [1, 2],
        "edge_types": [1, 0],
        "label": "20",
        "features": None,
    }


def test_features_and_one_hot_edges(tmp_path: Path) -> None:
    hot = torch.tensor([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]])
    items = [graph(label, x=torch.full((3, 2), float(label)), edge_attr=hot) for label in [0, 1] * 3]
    found = one(load(save(tmp_path, *items), **HALVES), 3)
    assert found["features"] == [[1.0, 1.0]] * 3
    assert found["node_types"] == [0, 0, 0]
    assert found["edge_types"] == [1, 0]  # numbered by what there is


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_features_of_any_precision(tmp_path: Path, dtype: torch.dtype) -> None:
    items = [graph(label, x=torch.full((3, 1), 0.5, dtype=dtype)) for label in [0, 1] * 3]
    assert one(load(save(tmp_path, *items), **HALVES), 0)["features"] == [[0.5]] * 3


def test_lists_dicts_one_node_and_no_edges(tmp_path: Path) -> None:
    bare = {"num_nodes": 1, "edge_index": torch.zeros(2, 0), "y": 1}
    items = [
        [bare, {**bare, "y": torch.tensor(0)}, {**bare, "y": torch.tensor([[1]])}],
        {**bare, "y": 0},
        [bare, {**bare, "y": 0}],
    ]
    dataset = load(save(tmp_path, *items), **HALVES)
    assert sum(map(len, dataset.splits().values())) == 6
    expected = {"node_types": [0], "sources": [], "targets": [], "edge_types": [], "features": None}
    assert [one(dataset, row) for row in range(6)] == [{**expected, "label": label} for label in "101010"]


def test_folders_of_splits(tmp_path: Path) -> None:
    save(tmp_path / "train", graph(0), graph(1), graph(1))
    save(tmp_path / "valid", [graph(1), graph(0)])
    dataset = load(tmp_path)
    assert {name: part.rows.tolist() for name, part in dataset.splits().items()} == {
        "train": [0, 1, 2],
        "valid": [3, 4],
    }
    save(tmp_path / "test", graph(0), graph(1))
    assert load(tmp_path).splits()["test"].rows.tolist() == [5, 6]


def test_folders_that_lack_something(tmp_path: Path) -> None:
    assert "there is no .pt file" in problems(tmp_path)[0]
    save(tmp_path / "valid", graph(0))
    assert "has no folder 'train'" in problems(tmp_path)[0]
    (tmp_path / "train").mkdir()
    assert problems(tmp_path) == ["train: holds no .pt file."]
    save(tmp_path, graph(0))
    assert "beside folders of splits" in problems(tmp_path)[0]


def nested(layout: torch.layout) -> Tensor:
    return torch.nested.nested_tensor([torch.ones(2), torch.ones(3)], layout=layout)


def test_a_label_may_be_a_float_that_is_an_integer_or_a_boolean(tmp_path: Path) -> None:
    values = [torch.tensor([1.0]), 0.0, torch.tensor(True), torch.tensor([-0.0]), torch.tensor([1]), 0]
    save(tmp_path, *(graph(y=value) for value in values))
    dataset = load(tmp_path, test_share=0)
    assert dataset.classes == ("0", "1")
    found = {
        row: label for part in dataset.splits().values() for row, label in zip(part.rows, part.labels, strict=True)
    }
    assert [found[row] for row in range(6)] == [1, 0, 1, 0, 1, 0]


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no label": ({"y": None}, "has no 'y'"),
    "a float label": ({"y": torch.tensor([0.5])}, "'y' is floats [1]; expected one integer"),
    "two labels": ({"y": torch.tensor([0, 1])}, "'y' is integers [2]"),
    "no edges": ({"edge_index": None}, "has no 'edge_index'"),
    "edges the other way round": ({"edge_index": torch.zeros(3, 2, dtype=torch.long)}, "expected integers [2, edges]"),
    "float edges": ({"edge_index": torch.zeros(2, 2)}, "expected integers [2, edges]"),
    "an edge out of the graph": ({"edge_index": torch.tensor([[0], [3]])}, "names node 3, but there are 3, from 0"),
    "a negative edge": ({"edge_index": torch.tensor([[0], [-1]])}, "names node -1"),
    "edge numbers": ({"edge_attr": torch.tensor([0.5, 1.5])}, "expected edge types"),
    "edge vectors": ({"edge_attr": torch.rand(2, 3)}, "Numbers on edges are not read"),
    "too few edge types": ({"edge_attr": torch.tensor([1])}, "'edge_attr' is integers [1] for 2 edges"),
    "integer vectors": ({"x": torch.ones(3, 4, dtype=torch.long)}, "save x.float()"),
    "NaN": ({"x": torch.full((3, 1), float("nan"))}, "NaN or infinite"),
    "no nodes": ({"x": torch.zeros(0, 2), "edge_index": torch.zeros(2, 0)}, "has no node"),
    "unknown nodes": ({"x": None}, "has neither 'x' nor 'num_nodes'"),
    "other number of nodes": ({"num_nodes": 5}, "'num_nodes' is 5, but 'x' has 3 rows"),
    "a sparse tensor": ({"x": torch.eye(3).to_sparse()}, "expected a dense one"),
    "numbers above float32": (
        {"x": torch.full((3, 1), 10.0, dtype=torch.double) * 1e300},
        "'x' holds numbers above 3.4e38",
    ),
    "a meta tensor": ({"x": torch.ones(3, 2, device="meta")}, "'x' is a meta tensor"),
    "float8": ({"x": torch.ones(3, 2).to(torch.float8_e4m3fn)}, "'x' holds float8_e4m3fn numbers; expected"),
    "complex numbers": ({"x": torch.ones(3, 2, dtype=torch.complex64).conj()}, "'x' holds complex64 numbers"),
    "a nested tensor": ({"x": nested(torch.strided)}, "'x' is a nested tensor"),
    "a jagged tensor": ({"x": nested(torch.jagged)}, "'x' is a nested tensor"),
    "a quantized tensor": (
        {"x": torch.quantize_per_tensor(torch.ones(3, 2), 0.1, 0, torch.quint8)},
        "'x' is a quantized tensor",
    ),
    "expanded features": ({"x": torch.zeros(3, 1).expand(3, 10**13)}, "'x' is [3, 10000000000000], expanded"),
    "expanded edges": (
        {"edge_index": torch.zeros(2, 1, dtype=torch.long).expand(2, 10**13)},
        "'edge_index' is [2, 10000000000000], expanded",
    ),
    "an expanded label": ({"y": torch.tensor([0]).expand(10**13)}, "'y' is [10000000000000], expanded"),
    "very many nodes": ({"x": None, "num_nodes": 10**13}, "'num_nodes' is 10,000,000,000,000; at most 100,000,000"),
    "too many nodes": ({"x": None, "num_nodes": 10**8 + 1}, "'num_nodes' is 100,000,001; at most 100,000,000"),
    "a number beyond 64 bits": ({"x": None, "num_nodes": 10**30}, "'num_nodes' is an integer that 64 bits do not hold"),
    "a label beyond 64 bits": ({"y": -(2**63) - 1}, "'y' is an integer that 64 bits do not hold"),
    "a string": ({"y": "yes"}, "'y' is a str; expected a tensor"),
}


@pytest.mark.parametrize("name", BAD)
@pytest.mark.parametrize("as_dict", [False, True])
def test_a_bad_graph_is_told_or_left_out(tmp_path: Path, name: str, as_dict: bool) -> None:
    fields, message = BAD[name]
    good = graph(0)
    values = {"x": good.x, "edge_index": good.edge_index, "y": good.y, **fields}
    values = {key: value for key, value in values.items() if value is not None}
    folder = save(tmp_path, *[graph(label) for label in [0, 1] * 3], [values if as_dict else Data(**values)])
    (found,) = problems(folder)
    assert found.startswith("006.pt: graph 1: ")
    assert message in found
    dataset = load(folder, on_bad_record="skip", **HALVES)
    assert sum(map(len, dataset.splits().values())) == 6
    assert dataset.notes["bad_records"]["left_out"] == 1


def test_graphs_that_do_not_go_together(tmp_path: Path) -> None:
    wide, narrow = torch.rand(3, 2), torch.rand(3, 1)
    items = [graph(0, x=wide), graph(1, x=narrow), graph(0), graph(1, x=wide, edge_attr=torch.tensor([0, 1]))]
    found = problems(save(tmp_path, *items))
    assert [line.split(":")[0] for line in found] == ["001.pt", "002.pt", "003.pt"]
    assert "'x' is 1 numbers, but 2 numbers in" in found[0]
    assert "'x' is integers (types), but numbers (features) in" in found[1]
    assert "'edge_attr' is integers (types), but nothing in" in found[2]


def test_numbers_of_nodes_that_add_up_to_too_many(tmp_path: Path) -> None:
    bare = [{"num_nodes": 10**7, "edge_index": torch.zeros(2, 0), "y": number % 2} for number in range(11)]
    (found,) = problems(save(tmp_path, bare))
    assert "add up to 110,000,000; at most 100,000,000" in found


def test_one_hot_edges_of_different_widths(tmp_path: Path) -> None:
    three, four = torch.eye(3)[:2], torch.eye(4)[:2]
    items = [graph(label, edge_attr=three) for label in [0, 1] * 3]
    found = problems(save(tmp_path, *items, graph(0, edge_attr=four), graph(1, edge_attr=torch.tensor([0, 1]))))
    assert [line.split(": ")[0] for line in found] == ["006.pt", "007.pt"]
    assert "'edge_attr' is one-hot of 4 types, but one-hot of 3 types in" in found[0]
    assert "'edge_attr' is integers (types), but one-hot of 3 types in" in found[1]


def test_distances_are_no_edge_types(tmp_path: Path) -> None:
    def rings(count: int) -> Path:
        index = torch.arange(count)
        edges = torch.stack([index, (index + 1) % count])
        ring = [graph(label, count, edge_index=edges, edge_attr=index * 3) for label in [0, 1] * 3]
        return save(tmp_path, *ring)

    (found,) = problems(rings(501))
    assert "'edge_attr' has 501 different values; at most 500 types" in found
    assert "a distance or an id rather than a type" in found
    assert one(load(rings(500), **HALVES), 0)["edge_types"] == list(range(500))


def test_twenty_problems_of_a_kind_are_told(tmp_path: Path) -> None:
    save(tmp_path / "kinds", *[graph(0)] * 2, *[graph(1, x=torch.rand(3, 1))] * 50)
    with pytest.raises(UserError) as caught:
        load(tmp_path / "kinds")
    assert (len(caught.value.problems), caught.value.hidden) == (20, 30)
    save(tmp_path / "damaged" / "train", graph(0), graph(1))
    save(tmp_path / "damaged" / "valid", graph(0), graph(1))
    for number in range(30):
        for name in ("train", "valid"):
            (tmp_path / "damaged" / name / f"bad{number}.pt").write_bytes(b"no archive")
    found = problems(tmp_path / "damaged")
    assert len(found) == 21
    assert found[-1].endswith(": has 40 more files like these.")


@pytest.mark.parametrize("count", [1, 5])
def test_the_file_of_an_in_memory_data_set_is_told(tmp_path: Path, count: int) -> None:
    graphs = [graph(number % 2, number + 2) for number in range(count)]
    collated, slices = InMemoryDataset.collate(graphs)
    InMemoryDataset.save(graphs, str(tmp_path / "new.pt"))
    torch.save((collated.to_dict(), slices, {"sizes": 1}, Data), tmp_path / "sized.pt")
    names = ["new.pt", "sized.pt"]
    if slices is not None:
        torch.save((collated, slices), tmp_path / "old.pt")
        names = ["new.pt", "old.pt", "sized.pt"]
    found = problems(tmp_path)
    assert [line.split(": ")[0] for line in found] == names
    assert all("an InMemoryDataset" in line and "torch.save(list(dataset), " in line for line in found)


class Paths(InMemoryDataset):  # type: ignore[misc]
    """Six graphs, as PyTorch Geometric keeps them."""

    def __init__(self) -> None:
        super().__init__()
        self.data, self.slices = self.collate([graph(number % 2, number + 2) for number in range(6)])


def test_the_list_of_an_in_memory_data_set_is_read(tmp_path: Path) -> None:
    dataset = load(save(tmp_path, list(Paths())), **HALVES)
    for number in range(6):
        expected = graph(number % 2, number + 2)
        found = one(dataset, number)
        assert [found["sources"], found["targets"]] == expected.edge_index.tolist()
        assert found["label"] == str(number % 2)
        assert found["node_types"] == expected.x.tolist()


def test_a_pair_of_graphs_is_no_data_set_with_slices(tmp_path: Path) -> None:
    pair = tuple(dict(graph(label).to_dict()) for label in (0, 1))
    assert sum(map(len, load(save(tmp_path, pair, pair, pair), **HALVES).splits().values())) == 6


def test_a_graph_of_another_version_is_told(tmp_path: Path) -> None:
    strange = Data.__new__(Data)
    strange.__dict__["x"] = torch.ones(3, 1)
    (found,) = problems(save(tmp_path, strange))
    assert "cannot be read as a graph: " in found
    assert "older version" in found


class Harm:
    """What a harmful file does when it is unpickled carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("plain_pickle", [True, False])
@pytest.mark.parametrize("nested", [True, False])
def test_nothing_in_a_file_is_run(tmp_path: Path, plain_pickle: bool, nested: bool) -> None:
    mark, folder = tmp_path / "harmed", tmp_path / "graphs"
    save(folder, *[graph(label) for label in [0, 1] * 3])
    harm: Any = Data(x=torch.ones(3, 1), y=Harm(mark)) if nested else Harm(mark)
    if plain_pickle:
        (folder / "bad.pt").write_bytes(pickle.dumps(harm))
    else:
        torch.save(harm, folder / "bad.pt")
    (found,) = problems(folder)
    assert found.startswith("bad.pt: is refused: ")
    assert "no file can run code" in found
    assert not mark.exists()
    torch.load(folder / "bad.pt", weights_only=False) if not plain_pickle else pickle.loads(
        (folder / "bad.pt").read_bytes()
    )
    assert mark.exists()  # so the test could fail


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut", b"\x80\x02."])
def test_damaged_files_are_told_all_at_once(tmp_path: Path, content: bytes) -> None:
    folder = save(tmp_path, *[graph(label) for label in [0, 1] * 3])
    (folder / "a.pt").write_bytes(content)
    whole = (folder / "000.pt").read_bytes()
    (folder / "b.pt").write_bytes(whole[: len(whole) // 2])
    found = problems(folder)
    assert [line.split(":")[0] for line in found] == ["a.pt", "b.pt"]


def test_other_objects_are_no_graphs(tmp_path: Path) -> None:
    hetero = HeteroData()
    hetero["a"].x = torch.ones(1, 1)
    folder = save(tmp_path, torch.ones(3), [3, "x"])
    found = problems(folder)
    assert [line.split(" is a ")[1].split(";")[0] for line in found] == ["Tensor", "int", "str"]
    torch.save(hetero, folder / "h.pt")
    assert "h.pt: " in problems(folder)[-1] or "h.pt: " in problems(folder)[0]


def test_a_negated_view_is_read_as_its_numbers(tmp_path: Path) -> None:
    items = [graph(label, x=torch._neg_view(torch.ones(3, 2))) for label in [0, 1] * 3]
    assert items[0].x.is_neg()
    assert one(load(save(tmp_path, *items), **HALVES), 0)["features"] == [[-1.0, -1.0]] * 3


def test_gradients_and_views_do_not_matter(tmp_path: Path) -> None:
    base: Tensor = torch.rand(3, 4, requires_grad=True)
    items = [graph(label, x=base[:, ::2]) for label in [0, 1] * 3]
    found = one(load(save(tmp_path, *items), **HALVES), 0)
    np.testing.assert_allclose(found["features"], base[:, ::2].detach().numpy())
