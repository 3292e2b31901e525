"""Run folders that hold anything at all: a report tells of them, and never raises."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterpoise.jsonio import read_json
from counterpoise.reports.compare import make_report
from counterpoise.reports.folders import find_runs
from counterpoise.reports.predictions import UnusableError, read_baselines, read_predictions
from counterpoise.reports.report import Method, Report
from report_kit import numbers, write_run

ODD: tuple[Any, ...] = (None, [1], {}, {"a": 1}, "x", "", True, -1, 10**30, 1e200, 1e308, math.nan, [None])
ROWS = 40


def report_of(folder: Path) -> Report:
    return make_report(find_runs(folder), title="odd", method=Method(resamples=20))


def keys_of(node: object, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*where, key)
            yield from keys_of(value, (*where, key))


def replaced(path: Path, where: tuple[str, ...], value: object) -> None:
    """Write another value at a key of a JSON file."""
    content = dict(read_json(path))
    node = content
    for key in where[:-1]:
        node = node[key]
    node[where[-1]] = value
    path.write_text(json.dumps(content))


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds of a model with two seeds, and another model."""
    folder = tmp_path_factory.mktemp("odd")
    for fold in range(2):
        for seed in (1, 2):
            write_run(folder / f"{seed}_{fold}", seed=seed, fold=fold, folds=2, rows=ROWS, epochs=1)
        write_run(folder / f"gnn_{fold}", model="GNN", seed=1, fold=fold, folds=2, rows=ROWS, epochs=1)
    return folder


FILES = ("training_metadata.json", "result.json")


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_odd_values_are_survived_and_make_no_odd_figures(name: str, originals: Path, data: st.DataObject) -> None:
    path = originals / data.draw(st.sampled_from(["1_0", "2_1", "gnn_0"])) / name
    before = path.read_bytes()
    where = data.draw(st.sampled_from(sorted(keys_of(read_json(path)))))
    try:
        replaced(path, where, data.draw(st.sampled_from(ODD)))
        report = report_of(originals)
    finally:
        path.write_bytes(before)
    assert len(report.runs) == 6
    assert all(math.isfinite(number) for number in numbers(dataclasses.asdict(report)))


@pytest.mark.parametrize("name", [*FILES, "failure.json"])
@pytest.mark.parametrize("content", ["", "[1, 2", "[]", "null", "{}", '{"classes": null, "config": [], "status": 3}'])
def test_files_that_hold_something_else_are_survived(name: str, content: str, tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / str(seed), seed=seed, rows=ROWS, epochs=1)
    (tmp_path / "1" / name).write_text(content)
    report = report_of(tmp_path)
    assert len(report.runs) == 2
    assert report.data[0].size == ROWS
    assert report.data[0].classes == ("safe", "vulnerable")


@pytest.mark.parametrize("classes", [None, [], ["safe"], ["safe", "safe"], ["a", "b", "c"], 3, [None, {}]])
@pytest.mark.parametrize("place", [0, 1])
def test_classes_and_counts_are_those_of_runs_that_have_them(classes: object, place: int, tmp_path: Path) -> None:
    for number in range(3):
        facts = {"classes": classes} if number == place else {}
        write_run(tmp_path / str(number), seed=number, rows=ROWS, epochs=1, facts=facts)
    (data,) = report_of(tmp_path).data
    assert (data.classes, dict(data.counts)) == (("safe", "vulnerable"), {"safe": 28, "vulnerable": 12})


def test_counts_without_predictions_are_those_of_the_results(tmp_path: Path) -> None:
    for number in range(2):
        write_run(tmp_path / str(number), seed=number, rows=ROWS, epochs=1)
        (tmp_path / str(number) / "predictions_test.parquet").unlink()
    replaced(tmp_path / "0" / "result.json", ("test", "per_class"), None)
    (data,) = report_of(tmp_path).data
    assert dict(data.counts) == {"safe": 28, "vulnerable": 12}


@pytest.mark.parametrize(("fold", "folds"), [(-1, 5), (5, 5), (0, 0), (1, 10**12), (10**30, 10**31), (True, 2)])
def test_folds_that_cannot_be_are_none(fold: int, folds: int, tmp_path: Path) -> None:
    write_run(tmp_path / "a", fold=0, rows=ROWS, epochs=1)
    for name, value in (("fold", fold), ("folds", folds)):
        replaced(tmp_path / "a" / "training_metadata.json", ("data_notes", "split", name), value)
    assert report_of(tmp_path).data[0].rows[0].repetitions[0].seed == 42


@pytest.mark.parametrize("value", [1.5, -0.5, 1e200, math.inf, math.nan, 10**400])
def test_figures_that_no_metric_can_have_are_left_out(value: float, tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / str(seed), seed=seed, rows=ROWS, epochs=1)
    for name in ("accuracy", "log_loss"):
        replaced(tmp_path / "1" / "result.json", ("test", name), value if name == "accuracy" or value != 1.5 else -1)
    figures = report_of(tmp_path).data[0].row("TextCNN").figures
    assert "f1" in figures
    assert not {"accuracy", "log_loss"} & set(figures)


COLUMNS = {
    "structs": pa.array([[{"a": 0.5}, {"a": 0.5}]] * 3),
    "strings": pa.array([["0.5", "0.5"]] * 3),
    "nested": pa.array([[[0.5], [0.5]]] * 3),
    "gaps": pa.array([[0.5, None]] * 3),
    "short": pa.array([[1.0], [0.5, 0.5], [0.5, 0.5]]),
    "numbers": pa.array([0.5] * 3),
    "dates": pa.array([0, 1, 2], pa.timestamp("ns")),
    "nulls": pa.nulls(3),
    "huge": pa.array([[1e308, 1e308]] * 3),
    "bytes": pa.array([b"\xff"] * 3),
    "map": pa.array([[("a", 0.5), ("b", 0.5)]] * 3, pa.map_(pa.string(), pa.float64())),
    "dictionary": pa.array(["a", "b", "a"]).dictionary_encode(),
    "unsigned": pa.array([2**64 - 1] * 3, pa.uint64()),
    "decimal": pa.array([1, 2, 3], pa.decimal128(5)),
}
SOUND = {"row": pa.array([0, 1, 2]), "label": pa.array([0, 1, 0]), "probabilities": pa.array([[0.5, 0.5]] * 3)}


def write_table(path: Path, columns: dict[str, pa.Array]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


@pytest.mark.parametrize("name", ["row", "label", "probabilities", "predicted"])
@pytest.mark.parametrize("kind", sorted(COLUMNS))
def test_odd_columns_are_unusable(name: str, kind: str, tmp_path: Path) -> None:
    path = write_table(tmp_path / "odd.parquet", {**SOUND, name: COLUMNS[kind]})
    with pytest.raises(UnusableError, match=r"odd\.parquet"):
        read_predictions(path, 2)
    if name == "probabilities":
        with pytest.raises(UnusableError):
            read_baselines(path, 2)


def test_a_column_twice_is_unusable(tmp_path: Path) -> None:
    names = [*SOUND, "row"]
    table = pa.Table.from_arrays([*SOUND.values(), pa.array([0, 1, 2])], names=names)
    pq.write_table(table, tmp_path / "twice.parquet")
    for read in (read_predictions, read_baselines):
        with pytest.raises(UnusableError, match="column row twice"):
            read(tmp_path / "twice.parquet", 2)


@pytest.mark.parametrize("kind", sorted(COLUMNS))
def test_groups_may_be_of_any_type(kind: str, tmp_path: Path) -> None:
    groups = read_predictions(write_table(tmp_path / "a.parquet", {**SOUND, "group": COLUMNS[kind]}), 2).groups
    assert (groups is None) == (kind == "nulls")


def test_rows_without_a_group_are_groups_of_their_own(tmp_path: Path) -> None:
    columns = {**SOUND, "row": pa.array([2, 1, 0]), "group": pa.array([None, "None", None])}
    groups = read_predictions(write_table(tmp_path / "a.parquet", columns), 2).groups
    assert groups is not None
    assert len(np.unique(groups)) == 3
    shared = {**SOUND, "group": pa.array(["a", None, "a"])}
    groups = read_predictions(write_table(tmp_path / "b.parquet", shared), 2).groups
    assert groups is not None
    assert [groups[0] == groups[2], groups[0] == groups[1]] == [True, False]
