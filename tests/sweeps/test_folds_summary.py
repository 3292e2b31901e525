"""The end of a k-fold multirun: means over folds and seeds, and predictions for all rows, put together or refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fold_kit import CLASSES, ROWS, figure, fold_run, pooled_figure, predictions
from sklearn.metrics import accuracy_score, average_precision_score, f1_score, roc_auc_score

from counterpoise.jsonio import read_json, write_json
from counterpoise.reports.jobs import collect, read_job
from counterpoise.reports.means import FOLDS, NESTED, SEEDS, aggregate
from counterpoise.reports.out_of_fold import FILE, SCHEMA, OutOfFold, pool
from counterpoise.sweeps.summary import summarise

SEEDS_USED = (7, 42, 2025)


@pytest.fixture
def single(tmp_path: Path) -> Path:
    for fold in range(4):
        fold_run(tmp_path, fold)
    return tmp_path


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    for fold in range(4):
        for seed in SEEDS_USED:
            fold_run(tmp_path, fold, seed=seed)
    return tmp_path


def aggregated(sweep: Path) -> dict[str, dict[str, Any]]:
    return aggregate([read_job(folder) for folder in collect(sweep)])


def pooled(sweep: Path) -> OutOfFold:
    return pool(sweep, [read_job(folder) for folder in collect(sweep)])


def fail_job(folder: Path, overrides: list[str]) -> None:
    write_json(folder / "failure.json", {"status": "failed", "message": "no memory", "overrides": overrides})


@pytest.mark.parametrize("name", ["accuracy", "f1", "roc_auc"])
def test_mean_and_deviation_are_over_folds(single: Path, name: str) -> None:
    (found,) = aggregated(single).values()
    values = [figure(42, fold, name) for fold in range(4)]
    assert (found["over"], found["jobs"], found["folds"], found["missing_folds"]) == (FOLDS, 4, 4, {})
    assert found[name]["mean"] == pytest.approx(np.mean(values))
    assert found[name]["std"] == pytest.approx(np.std(values, ddof=1))
    assert found[name]["n"] == 4
    assert found["baselines"]["majority"]["accuracy"]["n"] == 4


@pytest.mark.parametrize("name", ["accuracy", "pr_auc"])
def test_with_seeds_the_deviation_is_of_means_over_folds(nested: Path, name: str) -> None:
    (found,) = aggregated(nested).values()
    values = np.array([[figure(seed, fold, name) for fold in range(4)] for seed in SEEDS_USED])
    assert (found["over"], found["jobs"]) == (NESTED, 12)
    assert found[name]["mean"] == pytest.approx(values.mean())
    assert found[name]["std"] == pytest.approx(values.mean(axis=1).std(ddof=1))
    assert found[name]["n"] == 3
    assert found[name]["std_over_folds"] == pytest.approx(np.sqrt(values.var(axis=1, ddof=1).mean()))
    assert found["baselines"]["majority"][name]["n"] == 4, "they know no seed"


def test_a_seed_that_lacks_a_fold_has_no_mean(nested: Path) -> None:
    fail_job(nested / "fold_2,seed_7", ["sweep=kfold", "fold=2", "seed=7"])
    (found,) = aggregated(nested).values()
    assert found["missing_folds"] == {"7": [2]}
    values = [np.mean([figure(seed, fold, "accuracy") for fold in range(4)]) for seed in (42, 2025)]
    assert found["accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert (found["accuracy"]["n"], found["jobs"]) == (2, 11)


def test_one_fold_for_all_seeds_is_a_split_as_any_other(tmp_path: Path) -> None:
    for seed in SEEDS_USED:
        fold_run(tmp_path, 1, seed=seed)
    (found,) = aggregated(tmp_path).values()
    assert (found["over"], found["accuracy"]["n"]) == (SEEDS, 3)
    assert pooled(tmp_path) == OutOfFold()


def test_predictions_of_all_rows_are_put_into_one_file(single: Path) -> None:
    found = pooled(single)
    assert found.refused == []
    table = pq.read_table(single / FILE)
    assert table.schema.remove_metadata() == SCHEMA
    assert table["row"].to_pylist() == list(range(100, 100 + 2 * ROWS, 2))
    assert set(table["configuration"].to_pylist()) == {""}
    assert set(table["seed"].to_pylist()) == {42}
    for fold in range(4):
        rows, labels, probabilities = predictions(42, fold, 4)
        own = table.filter(pa.compute.equal(table["fold"], fold))
        assert own["row"].to_pylist() == rows.tolist()
        assert own["label"].to_pylist() == labels.tolist()
        assert own["probabilities"].to_pylist() == probabilities.tolist()


def test_pooled_figures_are_those_of_scikit_learn(single: Path) -> None:
    (found,) = pooled(single).figures.values()
    table = pq.read_table(single / FILE)
    labels, probabilities = table["label"].to_numpy(), np.array(table["probabilities"].to_pylist())
    metrics = found["seeds"]["42"]
    assert metrics["accuracy"] == pytest.approx(accuracy_score(labels, probabilities.argmax(axis=1)))
    assert metrics["f1"] == pytest.approx(f1_score(labels, probabilities.argmax(axis=1)))
    assert metrics["macro_f1"] == pytest.approx(f1_score(labels, probabilities.argmax(axis=1), average="macro"))
    assert metrics["roc_auc"] == pytest.approx(roc_auc_score(labels, probabilities[:, 1]))
    assert metrics["pr_auc"] == pytest.approx(average_precision_score(labels, probabilities[:, 1]))
    assert (found["records"], found["classes"], found["held_out"]) == (ROWS, CLASSES, "test")
    assert metrics["f1"] != pytest.approx(np.mean([figure(42, fold, "f1") for fold in range(4)])), "folds are uneven"


def test_seeds_and_configurations_stand_apart(tmp_path: Path) -> None:
    for model in ("textcnn", "bilstm"):
        for fold in range(4):
            for seed in (7, 42):
                fold_run(tmp_path, fold, seed=seed, overrides=["data=table", f"model={model}"])
    found = pooled(tmp_path)
    assert set(found.figures) == {"model=textcnn", "model=bilstm"} == set(aggregated(tmp_path))
    table = pq.read_table(tmp_path / FILE).to_pylist()
    keys = [(row["configuration"], row["seed"], row["row"]) for row in table]
    assert len(keys) == len(set(keys)) == 4 * ROWS
    assert {key[:2] for key in keys} == {(model, seed) for model in found.figures for seed in (7, 42)}
    over = found.figures["model=bilstm"]["over_seeds"]["accuracy"]
    values = [pooled_figure(seed, "accuracy") for seed in (7, 42)]
    assert over == {"mean": pytest.approx(np.mean(values)), "std": pytest.approx(np.std(values, ddof=1)), "n": 2}


def test_folds_that_were_looked_at_are_said_to_be(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fold in range(4):
        fold_run(tmp_path, fold, held_out="valid")
    summarise(tmp_path, collect(tmp_path))
    assert "The epochs were chosen on the folds, which flatters them." in capsys.readouterr().out
    assert read_json(tmp_path / "summary.json")["out_of_fold"]["one configuration"]["held_out"] == "valid"


def lose(folder: Path) -> None:
    shutil.rmtree(folder)
    fail_job(folder, ["sweep=kfold", "fold=3"])  # its seed was the config's


def forget(folder: Path) -> None:
    (folder / "result.json").unlink()


def change(**facts: Any) -> Callable[[Path], None]:
    return lambda folder: fold_run(folder.parent, 3, **facts) and None


def rewrite(alter: Callable[[pa.Table], pa.Table]) -> Callable[[Path], None]:
    def apply(folder: Path) -> None:
        path = folder / "predictions_test.parquet"
        pq.write_table(alter(pq.read_table(path)), path)

    return apply


def other_row(table: pa.Table) -> pa.Table:
    return table.set_column(0, "row", pa.array([*table["row"].to_pylist()[:-1], 999]))


def row_of_another_fold(table: pa.Table) -> pa.Table:
    return table.set_column(0, "row", pa.array([*table["row"].to_pylist()[:-1], 100]))


def three_classes(table: pa.Table) -> pa.Table:
    return table.set_column(2, "probabilities", pa.array([[0.2, 0.3, 0.5]] * len(table)))


def not_numbers(table: pa.Table) -> pa.Table:
    return table.set_column(2, "probabilities", pa.array([[float("nan"), 1.0]] * len(table)))


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a fold that failed": (lose, "fold 3 is missing"),
    "a fold without a result": (forget, "fold 3 is missing"),
    "a fold that does not say what it is of": (change(records="all"), "fold 3 is missing"),
    "other data": (change(data="xyz"), "folds 0 and 3 are not of the same data, dealt in the same way"),
    "another deal": (change(by="group"), "folds 0 and 3 are not of the same data, dealt in the same way"),
    "no predictions": (lambda folder: (folder / "predictions_test.parquet").unlink(), "is missing"),
    "no table": (lambda folder: (folder / "predictions_test.parquet").write_bytes(b"PAR1"), "cannot be used"),
    "no column": (rewrite(lambda table: table.drop_columns("label")), "has no column label"),
    "a row that is lost": (rewrite(lambda table: table.slice(1)), "have 22 rows, which are not the 23 of the data"),
    "a row that is not in the data": (rewrite(other_row), "have 23 rows, which are not the 23 of the data"),
    "a row of two folds": (rewrite(row_of_another_fold), "1 rows stand in two folds"),
    "other classes": (rewrite(three_classes), "expected 2 probabilities"),
    "no numbers": (rewrite(not_numbers), "are no probabilities"),
}


@pytest.mark.parametrize("what", DAMAGE)
def test_nothing_is_pooled_that_is_not_whole(single: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    spoil, message = DAMAGE[what]
    assert pooled(single).figures
    spoil(single / "fold_3")
    assert len(summarise(single, collect(single))) == 4
    out = capsys.readouterr().out
    (told,) = [line for line in out.splitlines() if line.startswith("Not pooled: seed 42: ")]
    assert message in told
    assert "mean ± standard deviation over folds (n − 1)" in out
    assert not (single / FILE).exists(), "an earlier command's is removed"
    saved = read_json(single / "summary.json")
    assert saved["out_of_fold"] == {}
    assert len(saved["not_pooled"]) == 1
    assert "out of fold" not in out


def test_each_fold_answers_by_its_own_threshold(single: Path) -> None:
    def nothing_found(table: pa.Table) -> pa.Table:
        return table.append_column("predicted", pa.array([0] * len(table), pa.int64()))

    rewrite(nothing_found)(single / "fold_3")
    (found,) = pooled(single).figures.values()
    answers = {fold: predictions(42, fold, 4) for fold in range(4)}
    labels = np.concatenate([answers[fold][1] for fold in answers])
    predicted = np.concatenate([answers[fold][2].argmax(axis=1) * (fold != 3) for fold in answers])
    assert found["seeds"]["42"]["f1"] == pytest.approx(f1_score(labels, predicted))


def test_what_is_whole_is_pooled_beside_what_is_not(nested: Path) -> None:
    fail_job(nested / "fold_1,seed_42", ["fold=1", "seed=42"])
    fail_job(nested / "fold_3,seed_42", ["fold=3", "seed=42"])
    found = pooled(nested)
    assert found.refused == ["seed 42: folds 1 and 3 are missing."]
    assert set(pq.read_table(nested / FILE)["seed"].to_pylist()) == {7, 2025}
    assert set(found.figures["one configuration"]["seeds"]) == {"7", "2025"}


def test_the_tables_say_what_each_figure_is(nested: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summarise(nested, collect(nested))
    out = capsys.readouterr().out
    assert "mean over folds, then mean ± standard deviation of that over seeds (n − 1)" in out
    rows = {line.split("│")[1].strip(): line.split("│")[3].strip() for line in out.splitlines() if "│" in line}
    (means,) = aggregated(nested).values()
    over_seeds = pooled(nested).figures["one configuration"]["over_seeds"]["accuracy"]
    assert rows["one configuration"] == f"{means['accuracy']['mean']:.4f} ± {means['accuracy']['std']:.4f}"
    assert rows["deviation over folds"] == f"{means['accuracy']['std_over_folds']:.4f}"
    assert rows["out of fold: all rows pooled"] == f"{over_seeds['mean']:.4f} ± {over_seeds['std']:.4f}"
    assert rows["majority"] == f"{means['baselines']['majority']['accuracy']['mean']:.4f}"
    assert str(nested / FILE) in out


def test_an_objective_that_no_table_shows_gets_a_column(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fold in range(4):
        fold_run(tmp_path, fold, metric="log_loss")
    summarise(tmp_path, collect(tmp_path))
    assert "log loss" in capsys.readouterr().out
    (found,) = aggregated(tmp_path).values()
    assert found["log_loss"]["mean"] == pytest.approx(np.mean([figure(42, fold, "log_loss") for fold in range(4)]))


def test_means_over_some_folds_say_so_wherever_they_stand(single: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fold in (1, 3):
        fail_job(single / f"fold_{fold}", ["sweep=kfold", f"fold={fold}"])
    summarise(single, collect(single), report=False)
    assert "one configuration (2 of 4 folds)" in capsys.readouterr().out
    assert read_json(single / "summary.json")["mean"]["one configuration"]["incomplete"] == "2 of 4 folds"


def test_seeds_that_lack_folds_are_counted(nested: Path) -> None:
    fail_job(nested / "fold_1,seed_42", ["fold=1", "seed=42"])
    (found,) = aggregated(nested).values()
    assert (found["incomplete"], found["asked"], found["jobs"]) == ("2 of 3 seeds have all 4 folds", 12, 11)


def test_a_job_that_failed_early_still_tells_its_fold(tmp_path: Path) -> None:
    fail_job(tmp_path / "a", ["sweep=kfold", "fold=3", "+seed=7", "folds.count=4"])
    job = read_job(tmp_path / "a")
    assert (job.fold, job.seed, job.configuration) == (3, 7, ("sweep=kfold", "folds.count=4"))


def test_runs_that_do_not_say_what_they_are_of(single: Path) -> None:
    for fold in range(4):
        fold_run(single, fold, rows=None)
    (found,) = aggregated(single).values()
    assert found["over"] == SEEDS
    assert pooled(single) == OutOfFold()
    (single / "fold_0" / "training_metadata.json").write_text("{")
    assert len(summarise(single, collect(single))) == 4
