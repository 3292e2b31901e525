"""``python src/train.py -m sweep=kfold`` from end to end, and one fold as an ordinary run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from cli_command import SMALL, Answer, write_table
from test_readme import clone, commands, run

from counterpoise.cli.exits import EXIT_FAULT, EXIT_OK, EXIT_USER
from counterpoise.jsonio import read_json

__all__ = ["clone"]  # a fixture
PAGE = Path(__file__).resolve().parents[2] / "docs" / "folds.md"
KFOLD = ("-m", "sweep=kfold", "folds.count=3", *SMALL)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the table, for this module alone."""
    return write_table(tmp_path_factory.mktemp("folds") / "a folder")


@pytest.fixture(scope="module")
def sweep(place: Path, quiet: Callable[..., Answer]) -> Path:
    """The folder of a finished cross-validation."""
    assert quiet(place, *KFOLD, "hydra.sweep.dir=sweeps/kfold").code == EXIT_OK
    return place / "sweeps" / "kfold"


def test_every_fold_is_a_run(sweep: Path) -> None:
    assert sorted(path.parent.name for path in sweep.glob("*/result.json")) == ["fold_0", "fold_1", "fold_2"]
    notes = [read_json(sweep / f"fold_{fold}" / "training_metadata.json")["data_notes"]["split"] for fold in range(3)]
    assert [note["fold"] for note in notes] == [0, 1, 2]
    assert {(note["folds"], note["by"], note["records"]) for note in notes} == {(3, "class", 120)}


def test_all_rows_are_predicted_by_the_run_that_held_them_out(sweep: Path) -> None:
    whole = pq.read_table(sweep / "out_of_fold.parquet")
    assert whole["row"].to_pylist() == list(range(120))
    assert [row % 2 for row in range(120)] == whole["label"].to_pylist()
    for fold in range(3):
        own = pq.read_table(sweep / f"fold_{fold}" / "predictions_test.parquet")
        mine = whole.filter(np.asarray(whole["fold"]) == fold)
        assert sorted(own["row"].to_pylist()) == mine["row"].to_pylist()
        assert len(own) == 40


def test_the_summary_has_means_baselines_and_pooled_figures(sweep: Path) -> None:
    summary = read_json(sweep / "summary.json")
    (means,) = summary["mean"].values()
    tests = [read_json(sweep / f"fold_{fold}" / "result.json") for fold in range(3)]
    accuracies = [result["test"]["accuracy"] for result in tests]
    assert means["accuracy"]["mean"] == pytest.approx(np.mean(accuracies))
    bars = [result["baselines"]["tfidf_logistic"]["test"]["f1"] for result in tests]
    assert means["baselines"]["tfidf_logistic"]["f1"]["mean"] == pytest.approx(np.mean(bars))
    assert {"majority", "tfidf_logistic"} <= set(means["baselines"])
    (pooled,) = summary["out_of_fold"].values()
    assert pooled["seeds"]["42"]["accuracy"] == pytest.approx(np.mean(accuracies)), "these folds are of one size"


def test_repeating_it_trains_what_is_missing(sweep: Path, place: Path, train: Callable[..., Answer]) -> None:
    before = (sweep / "out_of_fold.parquet").read_bytes()
    whole = {fold: (sweep / f"fold_{fold}" / "result.json").stat().st_mtime_ns for fold in (0, 2)}
    (sweep / "fold_1" / "result.json").unlink()  # as if it had been killed just before its end
    answer = train(*KFOLD, "hydra.sweep.dir=sweeps/kfold", folder=place)
    assert answer.code == EXIT_OK
    assert answer.out.count("finished already") == 2
    assert {fold: (sweep / f"fold_{fold}" / "result.json").stat().st_mtime_ns for fold in whole} == whole
    assert (sweep / "out_of_fold.parquet").read_bytes() == before
    assert "mean ± standard deviation over folds (n − 1)" in answer.out


def test_a_fold_that_fails_is_told_and_nothing_is_pooled(place: Path, train: Callable[..., Answer]) -> None:
    own = "hydra.run.dir=sweeps/failing/fold_1"
    assert train(*SMALL, "fold=1", "folds.count=3", "model.dropout=0.5", own, folder=place).code == EXIT_OK
    answer = train(*KFOLD, "hydra.sweep.dir=sweeps/failing", folder=place)
    assert answer.code == EXIT_FAULT
    assert "fold_1 failed: model.dropout: was 0.5, but is 0.3 now." in answer.out
    assert "Not pooled: seed 42: fold 1 is missing." in answer.out
    assert not (place / "sweeps" / "failing" / "out_of_fold.parquet").exists()


def test_one_fold_is_an_ordinary_run(sweep: Path, place: Path, train: Callable[..., Answer]) -> None:
    answer = train(*SMALL, "fold=2", "folds.count=3", "hydra.run.dir=runs/two", folder=place)
    assert answer.code == EXIT_OK
    assert "fold 2 of 3 (from 0) held out for test, all 120 records dealt class by class" in answer.out
    alone, job = (read_json(folder / "result.json") for folder in (place / "runs" / "two", sweep / "fold_2"))
    assert (alone["test"], alone["data_fingerprint"]) == (job["test"], job["data_fingerprint"])


def test_seeds_within_folds_are_jobs_of_their_own(place: Path, train: Callable[..., Answer]) -> None:
    answer = train(*KFOLD, "seed=42,7", "dry_run=true", folder=place)
    assert answer.code == EXIT_OK
    jobs = [line.removeprefix("Job ") for line in answer.out.splitlines() if line.startswith("Job ")]
    assert jobs == [f"fold_{fold},seed_{seed}" for fold in range(3) for seed in (42, 7)]


def test_a_search_does_not_choose_the_fold(place: Path, train: Callable[..., Answer]) -> None:
    answer = train("-m", "sweep=optuna", *SMALL, "fold=range(0,3)", folder=place)
    assert answer.code == EXIT_USER
    assert answer.problems[0].startswith("fold: would be searched for as if it were a setting")


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (("fold=5",), ["fold: is 5; with folds.count=5 the last is 4."]),
        (("fold=-1",), ["fold: must be >= 0, but is -1."]),
        (("folds.count=10",), ["folds: has no effect without fold"]),
        (("fold=0", "folds.count=1"), ["folds.count: must be >= 2, but is 1."]),
        (("fold=0", "folds.by=group"), ["folds.by: is group, but the records have no groups."]),
        (("fold=0", "folds.count=61"), ["folds.count: class '0' has 60 records; each of the 61 folds needs one."]),
    ],
)
def test_what_does_not_go_together_is_told(
    place: Path, train: Callable[..., Answer], overrides: tuple[str, ...], expected: list[str]
) -> None:
    answer = train(*SMALL, *overrides, "dry_run=true", folder=place)
    assert answer.code == EXIT_USER
    for problem in expected:
        assert any(line.startswith(problem) for line in answer.problems), answer.problems


def test_all_that_does_not_go_together_is_told_at_once(place: Path, train: Callable[..., Answer]) -> None:
    answer = train("fold=9", "data.label_noise=0.1", "folds.seed=1", folder=place)
    assert answer.code == EXIT_USER
    assert answer.problems == [
        "fold: is 9; with folds.count=5 the last is 4.",
        "data.label_noise: flips labels of the source's training split, and folds would measure on them."
        " Set it to 0, or drop fold.",
    ]


@pytest.mark.parametrize("count", ["1", "0", "x"])
def test_a_count_that_is_none_is_told_in_a_multirun_too(place: Path, train: Callable[..., Answer], count: str) -> None:
    answer = train("-m", "sweep=kfold", *SMALL, f"folds.count={count}", "hydra.sweep.dir=sweeps/none", folder=place)
    assert answer.code != EXIT_OK
    assert "folds.count" in answer.err
    assert "Traceback" not in answer.err


def test_the_multiruns_of_the_page_compose(
    clone: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = [command for command in commands(PAGE.read_text(encoding="utf-8")) if " -m " in command]
    assert len(shown) >= 6
    for command in shown:
        if "model.transformer=" in command:  # runs that are not there
            continue
        capsys.readouterr()
        assert run(command, monkeypatch, "dry_run=true") == 0, command
        jobs = capsys.readouterr().out.count("Job fold_")
        assert jobs == (10 if "count=10" in command else 15 if "seed=" in command else 5), command
