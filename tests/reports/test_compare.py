"""A whole report out of made-up run folders: its rows, intervals, comparisons and notes."""

from __future__ import annotations

import dataclasses
import math
import shutil
import subprocess
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.contingency_tables import mcnemar

from counterpoise.errors import UserError
from counterpoise.jsonio import read_json, write_json
from counterpoise.metrics import classification_metrics
from counterpoise.reports.compare import make_report
from counterpoise.reports.folders import find_runs
from counterpoise.reports.jobs import read_job
from counterpoise.reports.means import aggregate
from counterpoise.reports.outputs.sentences import found
from counterpoise.reports.outputs.summary_json import summary
from counterpoise.reports.outputs.tables import tex_text
from counterpoise.reports.predictions import read_predictions
from counterpoise.reports.report import Comparison, DataSet, Method, Report
from report_kit import THREE, labels_of, numbers, write_predictions, write_run

SEEDS = (7, 42, 2025)
QUICK = Method(resamples=300)
PREDICTIONS = "predictions_test.parquet"
FINGERPRINT = f"{zlib.crc32(b'demo_code'):08x}"


def change(folder: Path, **values: Any) -> None:
    """Other values at keys of a run's result."""
    write_json(folder / "result.json", {**read_json(folder / "result.json"), **values})


def report_of(folder: Path, **more: Any) -> Report:
    return make_report(find_runs(folder), title="test", **{"method": QUICK, **more})


def between(data: DataSet, first: str, second: str) -> Comparison:
    return next(each for each in data.comparisons if (each.first, each.second) == (first, second))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seeds of two models, one of them far better, and a run that failed."""
    place = tmp_path_factory.mktemp("runs")
    for seed in SEEDS:
        write_run(place / f"cnn{seed}", seed=seed, skill=1.2)
        write_run(place / f"gnn{seed}", seed=seed, model="GNN", skill=2.2)
    write_run(place / "lost", seed=1, status="failed", message="out of disk")
    return place


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return report_of(folder)


@pytest.fixture(scope="module")
def data(report: Report) -> DataSet:
    (only,) = report.data
    return only


def test_rows_are_models_by_validation_then_averages_then_baselines(data: DataSet) -> None:
    assert [(row.kind, row.name) for row in data.rows] == [
        ("model", "GNN"),
        ("model", "TextCNN"),
        ("average", "GNN, average of 3"),
        ("average", "TextCNN, average of 3"),
        ("average", "average of all (6 runs)"),
        ("baseline", "majority"),
        ("baseline", "tfidf_logistic"),
    ]
    assert data.best is data.rows[0]
    assert (data.size, dict(data.counts), data.metric, data.split) == (
        300,
        {"safe": 210, "vulnerable": 90},
        "f1",
        "test",
    )


def test_figures_are_means_over_seeds(folder: Path, data: DataSet) -> None:
    jobs = [read_job(folder / f"cnn{seed}") for seed in SEEDS]
    figure = data.row("TextCNN").figures["f1"]
    values = [job.figures["f1"] for job in jobs]
    assert figure.values == tuple(values)
    assert figure.mean == pytest.approx(np.mean(values))
    assert figure.std == pytest.approx(np.std(values, ddof=1))
    error = np.std(values, ddof=1) / math.sqrt(3)
    assert figure.over_seeds == pytest.approx(stats.t.interval(0.95, 2, np.mean(values), error))
    (means,) = aggregate(jobs).values()
    assert figure.mean == pytest.approx(means["f1"]["mean"])


def test_the_best_seed_is_validations(folder: Path, data: DataSet, report: Report) -> None:
    row = data.row("GNN")
    scores = {seed: read_job(folder / f"gnn{seed}").score for seed in SEEDS}
    assert row.best_seed == max(scores, key=lambda seed: scores[seed] or 0.0)
    assert row.best_run is not None
    assert report.runs[row.best_run].folder.name == f"gnn{row.best_seed}"
    assert [repetition.score for repetition in row.repetitions] == list(scores.values())


def test_test_decides_nothing(tmp_path: Path) -> None:
    """A model that is better on test and worse on validation comes second."""
    write_run(tmp_path / "a", skill=2.0)
    write_run(tmp_path / "b", model="GNN", skill=0.5)
    better = write_run(tmp_path / "c", model="Fusion", skill=3.0)
    result = read_json(better / "result.json")
    result["valid"] = {**result["valid"], "f1": 0.01}
    write_json(better / "result.json", result)
    found = [row.name for row in report_of(tmp_path).data[0].rows if row.kind == "model"]
    assert found == ["TextCNN", "GNN", "Fusion"]


def test_intervals_hold_the_mean_and_that_of_both_is_the_widest(data: DataSet) -> None:
    for row in data.rows:
        for name, figure in row.figures.items():
            assert figure.over_rows is not None, name
            low, high = figure.over_rows
            assert low - 1e-9 <= figure.mean <= high + 1e-9 or name == "calibration_error"
            if row.kind != "model":
                assert (figure.over_both, figure.over_seeds) == (None, None)
    both, rows = (getattr(data.row("GNN").figures["f1"], name) for name in ("over_both", "over_rows"))
    assert both[1] - both[0] > rows[1] - rows[0]


def test_intervals_stay_where_figures_can_be(tmp_path: Path) -> None:
    for seed, skill in ((1, 0.2), (2, 2.5)):
        write_run(tmp_path / str(seed), seed=seed, skill=skill)
    (data,) = report_of(tmp_path).data
    figure = data.row("TextCNN").figures["f1"]
    assert figure.over_seeds == figure.over_both == (0.0, 1.0)
    assert data.row("TextCNN").figures["log_loss"].over_seeds[1] > 1  # type: ignore[index]


def test_a_clear_difference_is_clear_and_its_tests_are_those_of_others(folder: Path, data: DataSet) -> None:
    found = between(data, "GNN", "TextCNN")
    assert found.verdict == "clear"
    assert (found.pairs, found.rows, found.metric) == (3, 300, "f1")
    differences, p_values = [], []
    for seed in SEEDS:
        one, other = (
            read_predictions(folder / f"{name}{seed}" / "predictions_test.parquet", 2) for name in ("gnn", "cnn")
        )
        right, wrong = one.predicted == one.labels, other.predicted == other.labels
        table = [[(right & wrong).sum(), (right & ~wrong).sum()], [(~right & wrong).sum(), (~right & ~wrong).sum()]]
        p_values.append(mcnemar(table, exact=True).pvalue)
        figures = [
            classification_metrics(each.labels, each.probabilities, ("safe", "vulnerable"))["f1"]
            for each in (one, other)
        ]
        differences.append(figures[0] - figures[1])
    assert found.difference == pytest.approx(np.mean(differences))
    assert found.p_mcnemar == pytest.approx(min(1.0, 2 * np.median(p_values)))
    assert found.over_rows is not None
    assert found.over_rows[0] < found.difference < found.over_rows[1]
    assert found.seeds_needed is not None


def test_corrected_p_values_are_not_smaller_and_keep_their_order(data: DataSet) -> None:
    for name in ("p_bootstrap", "p_mcnemar", "p_both"):
        pairs = [(getattr(each, name), getattr(each, f"{name}_holm")) for each in data.comparisons]
        known = sorted(pair for pair in pairs if pair[0] is not None)
        assert all(corrected >= plain for plain, corrected in known)
        assert [corrected for _, corrected in known] == sorted(corrected for _, corrected in known)


def test_two_models_that_are_the_same_are_not_told_apart(tmp_path: Path) -> None:
    for seed in SEEDS:
        write_run(tmp_path / f"a{seed}", seed=seed)
        write_run(tmp_path / f"b{seed}", seed=seed, overrides=["train.bucket=false"], changes={"train.bucket": False})
    (data,) = report_of(tmp_path).data
    found = between(data, *[row.name for row in data.rows if row.kind == "model"])
    assert found.verdict == "unclear"


def test_one_seed_says_nothing_about_seeds(tmp_path: Path) -> None:
    write_run(tmp_path / "a", skill=0.5)
    write_run(tmp_path / "b", model="GNN", skill=2.5)
    (data,) = report_of(tmp_path).data
    found = between(data, "GNN", "TextCNN")
    assert (found.p_both, found.over_both, found.effect, found.seeds_needed) == (None, None, None, None)
    assert found.verdict == "rows only"
    assert data.row("GNN").figures["f1"].over_both is None


def test_seeds_that_differ_are_compared_all_with_all(tmp_path: Path) -> None:
    for seed in SEEDS:
        write_run(tmp_path / f"a{seed}", seed=seed)
        write_run(tmp_path / f"b{seed}", model="GNN", seed=seed + 1)
    (data,) = report_of(tmp_path).data
    found = between(data, *[row.name for row in data.rows if row.kind == "model"])
    assert found.pairs == 9
    assert found.p_both is not None
    assert found.effect is None


def test_averaged_probabilities_are_measured(folder: Path, data: DataSet) -> None:
    parts = [read_predictions(folder / f"gnn{seed}" / "predictions_test.parquet", 2) for seed in SEEDS]
    mean = np.mean([part.probabilities for part in parts], axis=0)
    expected = classification_metrics(parts[0].labels, mean, ("safe", "vulnerable"))
    row = data.row("GNN, average of 3")
    assert row.members == ("GNN",)
    for name in ("f1", "roc_auc", "log_loss"):
        assert row.figures[name].mean == pytest.approx(expected[name])


def test_averages_are_made_as_asked(folder: Path) -> None:
    (data,) = report_of(folder, averages=[["GNN", "TextCNN"]]).data
    assert data.row("average of GNN and TextCNN (6 runs)").members == ("GNN", "TextCNN")
    with pytest.raises(UserError, match="there is no row 'GNM'"):
        report_of(folder, averages=[["GNM", "TextCNN"]])


def test_runs_of_every_state_are_told(report: Report, folder: Path) -> None:
    assert dict(report.statuses) == {"finished": 6, "failed": 1}
    (lost,) = [run for run in report.runs if run.status == "failed"]
    assert (lost.row, lost.data_set, lost.message, lost.epochs) == ("TextCNN", 0, "out of disk", 4)
    assert lost.command == "python src/train.py model=textcnn seed=1"
    assert report.seconds == pytest.approx(6 * 12.5 + 4 * 1.25)
    other = next(run for run in report.runs if run.model == "GNN")
    assert dict(other.differs) == {"model._target_": "counterpoise.models.gnn.gnn.GNN"}


def test_commands_are_quoted_and_name_no_sweep(tmp_path: Path) -> None:
    write_run(tmp_path / "a", overrides=["sweep=kfold", "data.path=a b.csv"], model="TextCNN")
    assert report_of(tmp_path).runs[0].command == "python src/train.py model=textcnn 'data.path=a b.csv' seed=42"


def test_folds_are_means_over_folds_then_over_seeds(tmp_path: Path) -> None:
    for seed in SEEDS[:2]:
        for fold in range(3):
            write_run(tmp_path / f"{seed}_{fold}", seed=seed, fold=fold, folds=3, classes=THREE, skill=2.0)
    (data,) = report_of(tmp_path).data
    (means,) = aggregate([read_job(path) for path in find_runs(tmp_path)]).values()
    row = data.row("TextCNN")
    assert (data.split, data.size, row.over) == ("out of fold", 300, "seeds of means over folds")
    assert row.figures["f1"].mean == pytest.approx(means["f1"]["mean"])
    assert row.figures["f1"].std == pytest.approx(means["f1"]["std"])
    assert [repetition.folds for repetition in row.repetitions] == [(0, 1, 2)] * 2
    assert data.row("majority").figures["f1"].mean == pytest.approx(means["baselines"]["majority"]["f1"]["mean"])
    assert row.figures["f1"].over_rows is not None
    assert between(data, "TextCNN", "majority").pairs == 2


def test_folds_of_one_seed_have_a_deviation_over_folds(tmp_path: Path) -> None:
    for fold in range(3):
        write_run(tmp_path / str(fold), fold=fold, folds=3)
    (data,) = report_of(tmp_path).data
    (means,) = aggregate([read_job(path) for path in find_runs(tmp_path)]).values()
    figure = data.row("TextCNN").figures["f1"]
    assert data.row("TextCNN").over == "folds"
    assert (figure.mean, figure.std) == (pytest.approx(means["f1"]["mean"]), pytest.approx(means["f1"]["std"]))
    assert figure.over_seeds is None


def test_a_seed_without_all_its_folds_is_left_out_and_told(tmp_path: Path) -> None:
    for seed in SEEDS[:2]:
        for fold in range(3):
            if (seed, fold) != (7, 1):
                write_run(tmp_path / f"{seed}_{fold}", seed=seed, fold=fold, folds=3)
    (data,) = report_of(tmp_path).data
    assert [repetition.seed for repetition in data.row("TextCNN").repetitions] == [42]
    assert "TextCNN, seed 7: of 3 folds 1 did not finish; this seed is left out." in data.notes


def damage_file(path: Path) -> None:
    path.write_bytes(b"PAR1")


def remove_file(path: Path) -> None:
    path.unlink()


def other_labels(path: Path) -> None:
    write_run(path.parent, data="demo_code")
    labels = 1 - labels_of("demo_code", "test", 300, 2)
    write_predictions(path.parent, "test", np.arange(1000, 1300), labels, np.full((300, 2), 0.5))


@pytest.mark.parametrize("damage", [damage_file, remove_file, other_labels])
def test_predictions_that_cannot_be_used_leave_the_figures(damage: Any, tmp_path: Path) -> None:
    write_run(tmp_path / "a", model="GNN")
    write_run(tmp_path / "b")
    damage(tmp_path / "b" / "predictions_test.parquet")
    (data,) = report_of(tmp_path).data
    row = data.row("TextCNN")
    assert row.figures["f1"].mean > 0
    assert row.figures["f1"].over_rows is None
    assert data.row("GNN").figures["f1"].over_rows is not None
    assert any("predictions_test.parquet" in note for note in data.notes)
    assert between(data, *[each.name for each in data.rows if each.kind == "model"]).p_bootstrap is None


def test_older_runs_have_neither_decisions_nor_answers_of_baselines(tmp_path: Path) -> None:
    write_run(tmp_path / "a", decided=False, baselines=False)
    (data,) = report_of(tmp_path).data
    row = data.row("TextCNN")
    assert (row.threshold, row.calibration) == ("0.5", None)
    assert row.figures["f1"].over_rows is not None
    assert data.row("majority").figures["accuracy"].over_rows is None
    assert data.notes == ()


def test_thresholds_and_temperatures_are_told(tmp_path: Path) -> None:
    for seed, threshold in ((1, 0.3), (2, 0.45)):
        write_run(tmp_path / str(seed), seed=seed, threshold=threshold, temperature=2.0)
    (data,) = report_of(tmp_path).data
    row = data.row("TextCNN")
    assert row.threshold == "0.3–0.45"
    assert row.calibration is not None
    assert (row.calibration.temperature, row.calibration.before) == (2.0, pytest.approx(0.08))
    assert data.row("TextCNN, average of 2").figures["recall"].mean > 0
    low, high = row.figures["recall"].over_rows or (1.0, 0.0)
    assert low <= row.figures["recall"].mean <= high, "the draws go by the threshold too"


def test_whole_groups_are_drawn_and_that_is_said(tmp_path: Path) -> None:
    write_run(tmp_path / "a", groups=20)
    write_run(tmp_path / "b", data="single")
    first, second = report_of(tmp_path).data
    assert any("draws whole groups" in note for note in first.notes)
    assert not second.notes


def test_many_models_are_each_compared_with_the_best(tmp_path: Path) -> None:
    for number in range(4):
        changes = {"optimizer.lr": number}
        write_run(tmp_path / str(number), overrides=[f"optimizer.lr={number}"], changes=changes, skill=1 + number / 3)
    (data,) = report_of(tmp_path, method=dataclasses.replace(QUICK, compared=3)).data
    models = [row.name for row in data.rows if row.kind == "model"]
    found = {(each.first, each.second) for each in data.comparisons}
    assert found == {(models[0], other) for other in [*models[1:], "majority", "tfidf_logistic"]}


def test_data_sets_never_share_a_name(tmp_path: Path) -> None:
    for folds in (3, 5):
        for fold in range(2):
            write_run(tmp_path / f"{folds}_{fold}", fold=fold, folds=folds)
    write_run(tmp_path / "a", facts={"data_fingerprint": "aaaaaaaa1"})
    write_run(tmp_path / "b", facts={"data_fingerprint": "aaaaaaaa2"})
    for name, fingerprint in (("a", "aaaaaaaa1"), ("b", "aaaaaaaa2")):
        change(tmp_path / name, data_fingerprint=fingerprint)
    found = [data.name for data in report_of(tmp_path).data]
    assert len(set(found)) == 4
    assert [name for name in found if "folds" in name and "no folds" not in name] == [
        f"demo_code ({FINGERPRINT}, {folds} folds)" for folds in (3, 5)
    ]


def test_folds_alone_tell_data_sets_apart(tmp_path: Path) -> None:
    for folds in (3, 5):
        write_run(tmp_path / str(folds), fold=0, folds=folds)
    assert [data.name for data in report_of(tmp_path).data] == ["demo_code (3 folds)", "demo_code (5 folds)"]


def test_most_runs_say_what_the_rows_are(tmp_path: Path) -> None:
    for number in range(3):
        write_run(tmp_path / str(number), seed=number)
    shutil.copy(write_run(tmp_path / "else" / "x", data="posts") / PREDICTIONS, tmp_path / "0" / PREDICTIONS)
    shutil.rmtree(tmp_path / "else")
    (data,) = report_of(tmp_path).data
    (note,) = [note for note in data.notes if "other rows or labels" in note]
    assert note.startswith(f"{tmp_path}/0/{PREDICTIONS} ")
    assert dict(data.counts) == {"safe": 210, "vulnerable": 90}


def test_of_two_that_disagree_the_one_that_its_result_backs_is_believed(tmp_path: Path) -> None:
    for number in range(2):
        write_run(tmp_path / str(number), seed=number)
    shutil.copy(write_run(tmp_path / "else" / "x", rows=200) / PREDICTIONS, tmp_path / "0" / PREDICTIONS)
    shutil.rmtree(tmp_path / "else")
    (data,) = report_of(tmp_path).data
    assert data.size == 300
    assert any(note.startswith(f"{tmp_path}/0/{PREDICTIONS} ") for note in data.notes)


def test_predictions_that_do_not_come_to_the_figure_are_not_drawn_from(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    figures = dict(read_json(tmp_path / "a" / "result.json")["test"])
    change(tmp_path / "a", test=figures | {"f1": figures["f1"] + 1e-4})
    (data,) = report_of(tmp_path).data
    assert data.row("TextCNN").figures["f1"].over_rows is None
    assert any("does not agree with result.json: its f1 is" in note for note in data.notes)


def test_rows_that_lack_folds_stand_last_and_are_never_best(tmp_path: Path) -> None:
    for fold in range(3):
        write_run(tmp_path / f"cnn{fold}", fold=fold, folds=3, skill=0.5)
    for fold in range(2):
        write_run(tmp_path / f"gnn{fold}", fold=fold, folds=3, skill=3.0, model="GNN")
    write_run(tmp_path / "fusion", fold=0, folds=3, skill=3.0, model="Fusion")
    (data,) = report_of(tmp_path).data
    assert (data.rows[0].name, data.rows[0].incomplete) == ("TextCNN", "")
    assert (data.row("GNN").incomplete, data.row("Fusion").incomplete) == ("2 of 3 folds", "1 of 3 folds")
    assert data.best is data.rows[0]
    assert (data.row("GNN").best_run, data.row("GNN").best_seed) == (None, None)
    assert "GNN has 2 of 3 folds: it stands behind all rows that have every fold." in data.notes


def test_where_every_seed_lacks_a_fold_all_count_and_nothing_is_best(tmp_path: Path) -> None:
    for seed, folds in ((7, (0, 1)), (42, (2,))):
        for fold in folds:
            write_run(tmp_path / f"{seed}_{fold}", seed=seed, fold=fold, folds=3)
    (data,) = report_of(tmp_path).data
    row = data.row("TextCNN")
    assert [(each.seed, each.folds) for each in row.repetitions] == [(7, (0, 1)), (42, (2,))]
    assert (row.seconds, row.incomplete) == (3 * 12.5, "1 to 2 of 3 folds")
    assert data.best is None
    assert "TextCNN: no seed has all folds; each counts with the mean over those it has." in data.notes


def test_one_fold_that_all_rows_hold_out_is_a_split_as_any_other(tmp_path: Path) -> None:
    for model in ("TextCNN", "GNN"):
        write_run(tmp_path / model, fold=0, model=model)
    (data,) = report_of(tmp_path).data
    assert {row.incomplete for row in data.rows} == {""}
    assert data.best is not None


def test_seeds_that_did_not_finish_are_told_of_their_row(tmp_path: Path) -> None:
    for seed, status in enumerate(("finished", "finished", "collapsed", "collapsed", "collapsed")):
        write_run(tmp_path / f"a{seed}", seed=seed, status=status)
    for seed, status in enumerate(("finished", "failed", "unfinished", "aborted", "pruned")):
        write_run(tmp_path / f"b{seed}", seed=seed, status=status, model="GNN")
    write_run(tmp_path / "again", seed=0, status="failed", model="GNN")
    (data,) = report_of(tmp_path).data
    lacking = "3 of 5 seeds collapsed; figures are of the other 2"
    assert data.row("TextCNN").incomplete == lacking
    assert f"TextCNN: {lacking}." in data.notes
    parts = (
        "1 of 5 seeds failed",
        "1 of 5 seeds did not finish",
        "1 of 5 seeds was aborted",
        "1 of 5 seeds was pruned",
    )
    assert all(part in data.row("GNN").incomplete for part in parts)
    assert data.best is not None


def test_runs_without_the_deciding_figure_leave_their_row_and_test_decides(tmp_path: Path) -> None:
    write_run(tmp_path / "a1", seed=1, has_test=False)
    write_run(tmp_path / "a2", seed=2)
    write_run(tmp_path / "b", has_test=False, model="GNN")
    (data,) = report_of(tmp_path).data
    assert (data.split, data.size, data.chosen_here) == ("test", 300, False)
    assert [row.name for row in data.rows if row.kind == "model"] == ["TextCNN"]
    assert [each.seed for each in data.row("TextCNN").repetitions] == [2]
    assert data.row("TextCNN").incomplete == "1 of 2 seeds has no such figures; figures are of the other 1"
    assert f"TextCNN is without {tmp_path}/a1: no f1 on test." in data.notes
    assert f"GNN is without {tmp_path}/b: no f1 on test." in data.notes


@pytest.mark.parametrize("kind", [{"has_test": False}, {"fold": 0, "held_out": "valid"}])
def test_rows_that_were_chosen_on_are_told(kind: dict[str, Any], tmp_path: Path) -> None:
    write_run(tmp_path / "a", **kind)
    (data,) = report_of(tmp_path).data
    assert data.chosen_here
    assert any(note.startswith("The held-out rows are validation rows") for note in data.notes)


def test_a_model_that_is_named_like_a_baseline_keeps_its_name(tmp_path: Path) -> None:
    for model in ("majority", "tfidf_logistic"):
        write_run(tmp_path / model, model=model)
    (data,) = report_of(tmp_path).data
    found = [row.name for row in data.rows]
    assert len(set(found)) == len(found)
    assert {row.name for row in data.rows if row.kind == "model"} == {"majority", "tfidf_logistic"}
    assert {row.name for row in data.rows if row.kind == "baseline"} == {
        "majority (baseline)",
        "tfidf_logistic (baseline)",
    }
    assert all(figure.over_rows for row in data.rows for figure in row.figures.values())


def test_baselines_are_those_of_the_first_run_that_has_them(tmp_path: Path) -> None:
    for fold in range(2):
        for seed in (1, 2):
            folder = write_run(tmp_path / f"{seed}_{fold}", seed=seed, fold=fold, folds=2)
            if seed == 1:
                bars = dict(read_json(folder / "result.json")["baselines"])
                del bars["majority" if fold == 0 else "tfidf_logistic"]
                change(folder, baselines=bars)
    (data,) = report_of(tmp_path).data
    assert {row.name for row in data.rows if row.kind == "baseline"} == {"majority", "tfidf_logistic"}


def test_a_failed_run_shows_no_figures_of_an_earlier_attempt(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "a", status="failed")
    (run,) = report_of(tmp_path).runs
    assert (run.status, run.score, run.best_epoch, dict(run.figures)) == ("failed", None, None, {})


def test_without_an_objective_nothing_is_best(tmp_path: Path) -> None:
    write_run(tmp_path / "a", changes={"objective": {"metric": "luck"}}, metric="luck")
    (data,) = report_of(tmp_path).data
    assert (data.metric, data.best, data.row("TextCNN").best_seed) == ("", None, None)


@pytest.mark.parametrize("metric", ["f1", "roc_auc"])
def test_the_threshold_of_an_average_is_told(metric: str, tmp_path: Path) -> None:
    for seed, threshold in ((1, 0.3), (2, 0.45)):
        write_run(tmp_path / str(seed), seed=seed, threshold=threshold, metric=metric)
    (data,) = report_of(tmp_path).data
    row = data.row("TextCNN, average of 2")
    parts = [read_predictions(tmp_path / str(seed) / PREDICTIONS, 2) for seed in (1, 2)]
    mean = np.mean([part.probabilities for part in parts], axis=0)
    expected = classification_metrics(parts[0].labels, mean, ("safe", "vulnerable"), float(row.threshold))
    assert row.figures["recall"].mean == pytest.approx(expected["recall"], abs=0.02)


def test_deviations_over_folds_on_validation_are_those_of_validation(tmp_path: Path) -> None:
    results = [read_json(write_run(tmp_path / str(fold), fold=fold, folds=3) / "result.json") for fold in range(3)]
    (data,) = report_of(tmp_path).data
    expected = np.std([result["valid"]["f1"] for result in results], ddof=1)
    assert data.row("TextCNN").valid["f1"].std == pytest.approx(expected)


def test_too_few_resamples_for_so_many_comparisons_are_told(folder: Path) -> None:
    (data,) = report_of(folder, method=Method(resamples=100)).data
    assert any("need more than 100 resamples" in note for note in data.notes)


def test_a_rare_class_is_told(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rows=60)
    (data,) = report_of(tmp_path).data
    assert any("rarest class has 18 held-out rows" in note for note in data.notes)


def test_without_a_test_split_validation_is_what_was_held_out(tmp_path: Path) -> None:
    write_run(tmp_path / "a", has_test=False)
    (data,) = report_of(tmp_path).data
    assert (data.split, data.size) == ("valid", 150)
    assert data.row("TextCNN").figures == pytest.approx(data.row("TextCNN").figures)


def test_another_objective_orders_by_itself(tmp_path: Path) -> None:
    write_run(tmp_path / "a", metric="log_loss", skill=0.5)
    write_run(tmp_path / "b", metric="log_loss", skill=2.5, model="GNN")
    (data,) = report_of(tmp_path).data
    assert (data.metric, data.maximise) == ("log_loss", False)
    assert data.rows[0].name == "GNN"
    assert between(data, "GNN", "TextCNN").difference < 0


def test_a_custom_objective_is_drawn_too(tmp_path: Path) -> None:
    weights = {"accuracy": 0.5, "f1": 0.5}
    for seed in SEEDS:
        write_run(tmp_path / str(seed), seed=seed, metric="custom", changes={"objective.weights": weights})
    (data,) = report_of(tmp_path).data
    figures = data.row("TextCNN").figures
    assert figures["custom"].mean == pytest.approx((figures["accuracy"].mean + figures["f1"].mean) / 2)
    low, high = figures["custom"].over_rows or (1.0, 0.0)
    assert low < figures["custom"].mean < high


def test_the_same_runs_give_the_same_report(folder: Path, report: Report) -> None:
    again = dataclasses.replace(report_of(folder), created=report.created)
    assert again == report


def test_training_details_are_those_of_the_runs(report: Report) -> None:
    text = report.publication["GNN"]
    for part in ("GNN (dropout 0.3)", "321,794", "AdamW", "weight_decay 0.01", "Effective batch 32 (32 × 1)", "bf16"):
        assert part in text
    for part in (
        "Seeds: 7, 42, 2025",
        "patience 5",
        "clipped at 1",
        "CrossEntropy",
        "warm-up over 14.1%",
        "torch 2.13.0",
    ):
        assert part in text
    assert set(report.publication) == {"GNN", "TextCNN"}


def test_what_was_not_recorded_is_said_not_to_be(tmp_path: Path) -> None:
    write_run(tmp_path / "a", facts={"plan": {}, "machine": {}, "hardware": ""})
    text = report_of(tmp_path).publication["TextCNN"]
    assert "Versions: not recorded" in text
    assert "Hardware: not recorded" in text
    assert "Effective batch not recorded" in text


def test_no_figure_is_nan_or_infinite(tmp_path: Path) -> None:
    write_run(tmp_path / "a", rows=7, skill=0.0)
    write_run(tmp_path / "b", rows=7, skill=0.0, seed=1, groups=2)
    assert all(math.isfinite(number) for number in numbers(dataclasses.asdict(report_of(tmp_path))))


def test_nothing_at_all_is_an_empty_report() -> None:
    assert make_report([], title="empty").data == ()


def test_reports_import_neither_torch_nor_scipy_stats() -> None:
    code = (
        "import sys, counterpoise.reports.compare;"
        "assert not {'torch', 'sklearn', 'scipy.stats', 'pandas', 'matplotlib'} & set(sys.modules), sys.modules.keys()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_models_with_the_same_score_on_validation_are_tied_and_stand_by_their_ranking(tmp_path: Path) -> None:
    """Two models that are right everywhere on validation: neither is the best, whatever test says."""
    for seed in SEEDS:
        for model, area in (("TextCNN", 0.91), ("GNN", 0.97)):
            run = write_run(tmp_path / f"{model}{seed}", seed=seed, model=model, skill=2.0)
            valid = read_json(run / "result.json")["valid"]
            change(run, valid={**valid, "f1": 1.0, "pr_auc": area})
    (data,) = report_of(tmp_path).data
    assert [row.name for row in data.leaders] == ["GNN", "TextCNN"]
    said = " ".join(found(report_of(tmp_path)))
    assert "GNN is tied with TextCNN on validation (1.0000) and stands first by its PR-AUC there" in said
    assert "is the best" not in said
    page = summary(report_of(tmp_path))
    assert (page["best_overall_model"], page["tied"]) == ("GNN", {"demo_code": ["GNN", "TextCNN"]})


def test_models_that_are_equal_in_all_are_tied_and_nothing_more(tmp_path: Path) -> None:
    for model in ("TextCNN", "GNN"):
        run = write_run(tmp_path / model, seed=7, model=model, skill=2.0)
        change(run, valid={**read_json(run / "result.json")["valid"], "f1": 1.0, "pr_auc": 1.0})
    said = " ".join(found(report_of(tmp_path)))
    assert "on validation (1.0000), and nothing else puts it first" in said
    assert "stands first by" not in said


def test_the_seed_with_the_better_ranking_is_the_best_of_those_with_one_score(tmp_path: Path) -> None:
    for seed, area in zip(SEEDS, (0.6, 0.8, 0.7), strict=True):
        run = write_run(tmp_path / str(seed), seed=seed)
        valid = read_json(run / "result.json")["valid"]
        change(run, valid={**valid, "f1": 0.5, "pr_auc": area})
    (data,) = report_of(tmp_path).data
    assert data.rows[0].best_seed == 42


def test_an_average_says_which_seeds_it_lacks(tmp_path: Path) -> None:
    for seed in SEEDS:
        write_run(tmp_path / str(seed), seed=seed, status="collapsed" if seed == 42 else "finished")
    (data,) = report_of(tmp_path).data
    model, average = data.rows[0], next(row for row in data.rows if row.kind == "average")
    assert model.incomplete == average.incomplete == "1 of 3 seeds collapsed; figures are of the other 2"
    report = report_of(tmp_path)
    assert "(1 of 3 seeds collapsed" in tex_text(report)
    assert f"They are not complete: {model.incomplete}." in report.publication[model.name]
