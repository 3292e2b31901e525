"""The table at the end of a multirun: every job's state, mean and deviation over seeds, a readable order."""

from __future__ import annotations

from pathlib import Path
from statistics import stdev
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow.parquet import write_table as write_parquet

from counterpoise.jsonio import read_json, write_json
from counterpoise.reports.jobs import JobSummary, collect, read_job
from counterpoise.reports.means import aggregate
from counterpoise.sweeps.summary import best_of_search, summarise

NUMBERS = {"7": 0.5, "42": 0.75, "2025": 0.4}


def finished(folder: Path, overrides: list[str], accuracy: float, test: bool = True) -> Path:
    figures = {"accuracy": accuracy, "f1": None, "roc_auc": 0.5}
    result: dict[str, Any] = {"objective": {"score": 0.1 + accuracy}, "valid": {"accuracy": 0.0}, "test": figures}
    if not test:
        result |= {"valid": figures, "test": None}
    write_json(folder / "training_metadata.json", {"overrides": overrides})
    write_json(folder / "result.json", result)
    return folder


def jobs_of(sweep: Path) -> list[JobSummary]:
    return [read_job(folder) for folder in collect(sweep)]


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for seed, accuracy in NUMBERS.items():
        finished(tmp_path / f"seed_{seed}", [f"seed={seed}", "model=textcnn"], accuracy)
    return tmp_path


def test_reads_a_finished_job(tmp_path: Path) -> None:
    job = read_job(finished(tmp_path / "a", ["seed=1"], 0.5))
    assert (job.status, job.overrides, job.score, job.figures) == (
        "finished",
        ("seed=1",),
        0.6,
        {"accuracy": 0.5, "roc_auc": 0.5},
    )


def test_figures_are_validations_where_there_is_no_test_split(tmp_path: Path) -> None:
    assert read_job(finished(tmp_path / "a", [], 0.5, test=False)).figures["accuracy"] == 0.5


def test_reads_jobs_in_every_other_state(tmp_path: Path) -> None:
    write_json(tmp_path / "a" / "failure.json", {"status": "failed", "message": "no\nmore", "overrides": ["seed=3"]})
    write_json(tmp_path / "b" / "failure.json", {"status": "aborted", "verdict": {"reason": "loss is not finite"}})
    write_json(tmp_path / "c" / "training_metadata.json", {"overrides": ["seed=1"]})
    jobs = [read_job(tmp_path / name) for name in "abcd"]
    assert [job.status for job in jobs] == ["failed", "aborted", "unfinished", "unfinished"]
    assert [job.message for job in jobs] == ["no\nmore", "loss is not finite", "", ""]
    assert jobs[0].overrides == ("seed=3",)


def test_a_failed_attempt_outweighs_an_earlier_result(sweep: Path) -> None:
    write_json(sweep / "seed_7" / "failure.json", {"status": "failed", "message": "another config"})
    assert read_job(sweep / "seed_7").status == "failed"


@pytest.mark.parametrize("content", ["", "[]", "{", "{}", '{"objective": null}', '{"test": {"accuracy": "x"}}'])
def test_damaged_files_do_not_stop_the_summary(sweep: Path, content: str) -> None:
    (sweep / "seed_7" / "result.json").write_text(content)
    assert read_job(sweep / "seed_7").status in ("finished", "unfinished")
    summarise(sweep, collect(sweep))


@pytest.mark.parametrize(
    "names",
    [
        ["seed_7", "seed_42", "seed_2025"],
        [
            "optimizer.lr_1e-05,seed_7",
            "optimizer.lr_5e-05,seed_7",
            "optimizer.lr_5e-05,seed_42",
            "optimizer.lr_0.001,seed_7",
        ],
        ["model_bilstm,seed_7", "model_bilstm,seed_10", "model_textcnn,seed_7", "x_nan"],
    ],
)
def test_jobs_stand_in_natural_order(tmp_path: Path, names: list[str]) -> None:
    for name in sorted(names, key=hash):
        finished(tmp_path / name, [], 0.5)
    assert [folder.name for folder in collect(tmp_path)] == names


def test_mean_and_sample_deviation_over_seeds(sweep: Path) -> None:
    answer = aggregate(jobs_of(sweep))["one configuration"]
    values = list(NUMBERS.values())
    assert answer["jobs"] == 3
    assert answer["accuracy"]["mean"] == pytest.approx(np.mean(values))
    assert answer["accuracy"]["std"] == pytest.approx(np.std(values, ddof=1))
    assert "f1" not in answer


def test_one_job_has_no_deviation(tmp_path: Path) -> None:
    finished(tmp_path / "a", ["seed=1"], 0.5)
    assert aggregate(jobs_of(tmp_path))["one configuration"]["accuracy"] == {"mean": 0.5, "std": None, "n": 1}


def test_groups_are_what_differs_beside_the_seed(tmp_path: Path) -> None:
    for number, (model, seed) in enumerate([("textcnn", "+seed=1"), ("textcnn", "seed=2"), ("bilstm", "seed=1")]):
        finished(tmp_path / str(number), ["data=table", f"model={model}", seed], number / 10)
    answer = aggregate(jobs_of(tmp_path))
    assert {name: group["jobs"] for name, group in answer.items()} == {"model=textcnn": 2, "model=bilstm": 1}
    assert answer["model=textcnn"]["accuracy"]["std"] == pytest.approx(stdev([0.0, 0.1]))


def test_failed_jobs_count_for_nothing_and_a_mean_says_that_they_are_missing(sweep: Path) -> None:
    overrides = ["seed=9", "model=textcnn"]
    write_json(sweep / "seed_9" / "failure.json", {"status": "failed", "message": "x", "overrides": overrides})
    mean = aggregate(jobs_of(sweep))["one configuration"]
    assert (mean["jobs"], mean["asked"], mean["incomplete"]) == (3, 4, "3 of 4 jobs")
    assert [job.status for job in summarise(sweep, collect(sweep))] == ["finished", "failed", "finished", "finished"]


def test_shows_and_saves_all_jobs(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(sweep / "seed_x[b]" / "failure.json", {"status": "failed", "message": "seed: expected [/x] an integer"})
    assert [job.status for job in summarise(sweep, collect(sweep))] == ["finished"] * 3 + ["failed"]
    out = capsys.readouterr().out
    assert "seed_x[b] failed: seed: expected [/x] an integer" in out
    assert "0.5500 ± 0.1803" in out
    assert "\x1b" not in out
    saved = read_json(sweep / "summary.json")
    assert [job["status"] for job in saved["jobs"]] == ["finished"] * 3 + ["failed"]
    assert saved["mean"]["one configuration"]["accuracy"]["n"] == 3


def test_all_finished_is_no_failure(sweep: Path) -> None:
    assert {job.status for job in summarise(sweep, collect(sweep))} == {"finished"}


def test_whether_a_job_met_its_criteria_is_told(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert {job.protocol for job in summarise(sweep, collect(sweep))} == {None}
    assert "protocol" not in capsys.readouterr().out
    result = read_json(sweep / "seed_7" / "result.json")
    write_json(sweep / "seed_7" / "result.json", {**result, "protocol": {"passed": True}})
    write_json(sweep / "seed_9" / "failure.json", {"status": "aborted", "protocol": {"passed": False}})
    jobs = summarise(sweep, collect(sweep))
    assert [job.protocol for job in jobs] == [True, False, None, None]
    rows = {line.split("│")[1].strip(): line.split("│")[3].strip() for line in _rows(capsys.readouterr().out)}
    assert rows == {"seed_7": "passed", "seed_9": "failed", "seed_42": "-", "seed_2025": "-"}
    assert aggregate(jobs)["one configuration"]["jobs"] == 3, "a run that fails its criteria has figures all the same"


def _rows(out: str) -> list[str]:
    return [line for line in out.splitlines() if line.startswith("│ seed_")]


def test_an_empty_folder_has_no_summary(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not summarise(tmp_path, [])
    assert not summarise(tmp_path / "absent", [])
    assert capsys.readouterr().out == ""


def test_jobs_of_earlier_commands_decide_nothing(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_json(sweep / "seed_9" / "failure.json", {"status": "failed", "message": "of an earlier command"})
    assert len(summarise(sweep, [sweep / "seed_7", sweep / "seed_42"])) == 2
    out = capsys.readouterr().out
    assert "Jobs of earlier commands in this folder, not counted here: 2" in out
    assert "of an earlier command" not in out
    assert "seed_2025" not in out
    saved = read_json(sweep / "summary.json")
    assert [Path(job["folder"]).name for job in saved["jobs"]] == ["seed_7", "seed_42"]
    assert saved["mean"]["one configuration"]["accuracy"] == {
        "mean": pytest.approx(0.625),
        "std": pytest.approx(stdev([0.5, 0.75])),
        "n": 2,
    }
    assert saved["earlier_jobs"] == 2


def search(
    folder: Path,
    scores: dict[float, float],
    maximise: bool = True,
    *,
    areas: dict[float, float] | None = None,
    collapsed: tuple[float, ...] = (),
    named: float = 9,
) -> list[JobSummary]:
    """Trials of a search over the learning rate, and the file that Optuna leaves: larger is better there."""
    for lr, score in scores.items():
        breaker = {"metric": "pr_auc", "score": (areas or {}).get(lr)}
        objective = {"metric": "f1", "score": score, "maximise": maximise, "tie_breaker": breaker}
        status = "collapsed" if lr in collapsed else "finished"
        write_json(
            folder / f"lr_{lr}" / "training_metadata.json", {"overrides": ["model=textcnn", f"optimizer.lr={lr}"]}
        )
        result = {"status": status, "objective": objective, "valid": {"accuracy": 0.5}}
        write_json(folder / f"lr_{lr}" / "result.json", result)
    text = f"best_params: {{optimizer.lr: {named}}}\nbest_value: -9\n"
    (folder / "optimization_results.yaml").write_text(text)
    return jobs_of(folder)


@pytest.mark.parametrize(("maximise", "value", "lr"), [(True, 0.9, 1e-05), (False, 0.3, 0.01)])
def test_the_best_job_of_a_search_is_told_with_its_own_score(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], maximise: bool, value: float, lr: float
) -> None:
    search(tmp_path, {1e-05: 0.9, 0.01: 0.3, 0.1: 0.5}, maximise, named=lr)
    assert len(summarise(tmp_path, collect(tmp_path))) == 3
    assert f"Best: {value} with optimizer.lr={lr}" in capsys.readouterr().out
    assert read_json(tmp_path / "summary.json")["best"] == {
        "best_value": value,
        "best_params": {"optimizer.lr": lr},
        "job": f"lr_{lr}",
        "tied": [],
        "chosen_by_tie_breaker": False,
        "left_out": {},
        "sweeper_names": None,
    }


def test_jobs_that_are_equal_in_all_are_not_said_to_be_chosen(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(tmp_path, {0.01: 1.0, 0.1: 1.0}, areas={0.01: 1.0, 0.1: 1.0}, named=0.01)
    summarise(tmp_path, collect(tmp_path), report=False)
    assert "Its score is tied with that of lr_0.1: it is the first among them." in capsys.readouterr().out


def test_a_collapsed_job_is_never_the_best_whatever_its_score_was(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    search(tmp_path, {0.1: 0.386, 0.001: 0.31, 0.01: 0.2}, collapsed=(0.1,), named=0.001)
    write_json(tmp_path / "lr_1" / "failure.json", {"status": "failed", "message": "x", "overrides": []})
    summarise(tmp_path, collect(tmp_path))
    told = "Best: 0.31 with optimizer.lr=0.001 (not considered: 1 collapsed, 1 failed)"
    assert told in capsys.readouterr().out
    best = read_json(tmp_path / "summary.json")["best"]
    assert (best["job"], best["left_out"]) == ("lr_0.001", {"collapsed": 1, "failed": 1})
    other = tmp_path / "other"
    assert best_of_search(other, search(other, {0.1: 0.386}, collapsed=(0.1,))) is None


def test_jobs_with_equal_scores_are_told_apart_by_their_ranking(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    areas = {0.1: 0.2, 0.01: 0.7, 0.001: 0.9}
    search(tmp_path, {0.1: 0.5, 0.01: 0.5, 0.001: 0.4}, areas=areas, named=0.1)
    summarise(tmp_path, collect(tmp_path))
    out = capsys.readouterr().out
    assert "Best: 0.5 with optimizer.lr=0.01\n" in out
    assert "Its score is tied with that of lr_0.1: the metric that breaks ties chose among them." in out
    assert "optimization_results.yaml names optimizer.lr=0.1: a tied job" in out
    best = read_json(tmp_path / "summary.json")["best"]
    assert (best["job"], best["tied"], best["sweeper_names"]) == ("lr_0.01", ["lr_0.1"], {"optimizer.lr": 0.1})


@pytest.mark.parametrize("content", ["", "{", "[]", "3", "best_params: 3", "\x00"])
def test_a_damaged_file_of_the_search_does_not_stop_the_summary(tmp_path: Path, content: str) -> None:
    jobs = search(tmp_path, {0.1: 0.5})
    (tmp_path / "optimization_results.yaml").write_text(content)
    best = best_of_search(tmp_path, jobs)
    assert best is not None
    assert best["best_params"] == {"model": "textcnn", "optimizer.lr": 0.1}


def test_only_a_search_has_a_best_job(sweep: Path) -> None:
    assert best_of_search(sweep, jobs_of(sweep)) is None


def test_the_report_of_the_jobs_is_written_and_told(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summarise(sweep, collect(sweep))
    assert f"Report: {sweep / 'report' / 'report.html'}" in capsys.readouterr().out
    assert read_json(sweep / "report" / "production_summary.json")["statuses"] == {"finished": 3}


@pytest.mark.parametrize(("jobs", "rows", "told"), [(2, 4, False), (3, 4, True), (2, 6, True)])
def test_a_report_that_takes_a_while_is_announced(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, jobs: int, rows: int, told: bool
) -> None:
    monkeypatch.setattr("counterpoise.sweeps.summary.MANY_JOBS", 2)
    monkeypatch.setattr("counterpoise.sweeps.summary.MANY_ROWS", 10)
    folders = collect(sweep)[:jobs]
    for folder in folders[:2]:
        write_parquet(pa.table({"row": range(rows)}), folder / "predictions_valid.parquet")
        (folder / "predictions_test.parquet").write_text("damaged")
    summarise(sweep, folders)
    assert ("Writing the report ..." in capsys.readouterr().out) is told


def test_a_report_that_is_not_wanted_is_not_written(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    summarise(sweep, collect(sweep), report=False)
    assert "Report" not in capsys.readouterr().out
    assert not (sweep / "report").exists()


def test_a_report_that_cannot_be_written_is_one_line_and_loses_nothing(
    sweep: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (sweep / "report").write_text("a file stands in its place")
    assert len(summarise(sweep, collect(sweep))) == 3
    out = capsys.readouterr().out
    assert out.count("The report could not be written: ") == 1
    assert "Multirun folder: " in out
    assert read_json(sweep / "summary.json")["jobs"]
