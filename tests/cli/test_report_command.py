"""``python src/report.py`` on real runs: finished, aborted, failed and interrupted ones; and what training shows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import ROOT, SMALL, Answer

from counterpoise.cli import report as cli
from counterpoise.cli.exits import EXIT_FAULT, EXIT_INTERRUPTED, EXIT_OK, EXIT_USER
from counterpoise.cli.report import report
from counterpoise.jsonio import read_json
from counterpoise.reports.runs import read_run

REPORT = ROOT / "src" / "report.py"
ENOUGH_ROWS = "data.valid_share=0.3"
"""Of the tiny table, for a validation split that says something about each class."""
MORE_ROWS = (ENOUGH_ROWS, "data.test_share=0.2")
"""The same for the test split too."""
EXPLODES = ("optimizer.lr=1e30", "train.clip_norm=null")


@pytest.fixture(scope="module")
def runs(workplace: Path, tmp_path_factory: pytest.TempPathFactory, quiet: Callable[..., Answer]) -> Path:
    """A folder with a finished, an aborted and a failed job, and one that was killed.

    A new one each time: where tests move between processes, a module's fixture is made more than once in one of them.
    """
    folder = tmp_path_factory.mktemp("reported") / "runs"
    jobs = [*SMALL, "optimizer.lr=1e-3,1e30,abc", "train.clip_norm=null", f"hydra.sweep.dir={folder}"]
    assert quiet(workplace, "-m", *jobs).code == EXIT_FAULT
    killed = shutil.copytree(folder / "optimizer.lr_0.001", folder / "killed")
    (killed / "result.json").unlink()
    history = (killed / "training_history.json").read_text()
    (killed / "training_history.json").write_text(history[: len(history) // 2])
    return folder


def test_every_run_has_a_header_and_its_findings(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report([str(runs)]) == EXIT_OK
    out = capsys.readouterr().out
    headers = [line for line in out.splitlines() if line.startswith(str(runs))]
    states = {Path(line.split(": ")[0]).name: line.split(": ", 1)[1] for line in headers}
    assert list(states) == ["killed", "optimizer.lr_0.001", "optimizer.lr_1e+30", "optimizer.lr_abc"]
    assert states["optimizer.lr_0.001"].startswith("TextCNN on tiny, seed 42, finished, f1 0.")
    assert states["optimizer.lr_0.001"].endswith(" at epoch 1 of 1")
    assert states["optimizer.lr_1e+30"].startswith("TextCNN on Table, seed 42, aborted")
    assert states["optimizer.lr_abc"] == "unknown, failed"
    assert states["killed"] == "TextCNN on Table, seed 42, unfinished"
    assert "  optimizer.lr: expected a number > 0 or 'auto', got 'abc'." in out
    assert "nothing to report" not in out
    assert "  training_history.json cannot be read: no JSON" in out
    assert "  Exploding (critical): in epoch 1 " in out
    assert "    try: optimizer.lr=0.001" in out
    assert "4 runs: 1 unfinished, 1 finished, 1 aborted, 1 failed" in out.splitlines()
    assert f"Report: {runs / 'report' / 'report.html'}" in out.splitlines()


def test_json_has_all_that_is_shown_and_the_evidence(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    finished, aborted = runs / "optimizer.lr_0.001", runs / "optimizer.lr_1e+30"
    assert report(["--json", str(finished), str(aborted), str(finished)]) == EXIT_OK
    first, second = json.loads(capsys.readouterr().out)
    assert (first["status"], first["model"], first["data"], first["seed"]) == ("finished", "TextCNN", "tiny", 42)
    result = read_json(finished / "result.json")
    assert (first["objective"], first["score"]) == ("f1", result["objective"]["score"])
    assert first["diagnosis"] == result["diagnosis"], "the same rules on the same files"
    assert second["message"]
    (finding, *_) = second["diagnosis"]
    assert (finding["kind"], finding["override"]) == ("exploding", "optimizer.lr=0.001")
    assert finding["evidence"]["event"] == "non_finite"


def test_training_shows_the_findings_between_table_and_folder(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*SMALL, ENOUGH_ROWS, "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_OK, answer
    diagnosis = read_json(fresh / "run" / "result.json")["diagnosis"]
    lines = answer.out.splitlines()
    shown = [
        number for number, line in enumerate(lines) if line.startswith("Not learning (critical): validation's ROC")
    ]
    assert shown, "three updates teach nothing"
    assert diagnosis[0]["message"] in lines[shown[0]]
    assert lines[shown[0] + 1].startswith("  try: train.epochs=")
    assert lines[-1] == "Run folder: run"
    again = train("resume=run", folder=fresh)
    assert diagnosis[0]["message"] in again.out
    assert read_json(fresh / "run" / "result.json")["diagnosis"] == diagnosis


def test_a_run_that_learns_has_nothing_to_report(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(
        *SMALL, *MORE_ROWS, "train.epochs=14", "optimizer.lr=1e-2", "objective.metric=accuracy", folder=fresh
    )
    assert answer.code == EXIT_OK, answer
    assert "\nDiagnosis: nothing to report.\nRun folder: " in answer.out


def test_an_aborted_run_is_explained_before_the_error(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*SMALL, *EXPLODES, "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_FAULT
    assert "Exploding (critical): in epoch 1 the validation loss is nan" in answer.out
    assert "\n  try: optimizer.lr=0.001  (loss or gradient is not finite)" in answer.out
    assert answer.err.startswith("Training was aborted. ")
    assert not (fresh / "run" / "result.json").exists()


def test_what_a_finding_proposes_can_be_added_to_the_command(train: Callable[..., Answer], fresh: Path) -> None:
    assert train(*SMALL, ENOUGH_ROWS, "hydra.run.dir=run", folder=fresh).code == EXIT_OK
    (finding, *_) = read_json(fresh / "run" / "result.json")["diagnosis"]
    answer = train(*SMALL, ENOUGH_ROWS, finding["override"], "dry_run=true", folder=fresh)
    assert answer.code == EXIT_OK
    assert f"in {finding['override'].split('=')[1]} epochs" in answer.out


def test_wrong_paths_are_all_named_with_the_nearest_runs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrong = [runs / "kiled", runs / "killed" / "training.log", runs / "killed" / "checkpoints"]
    assert report([*map(str, wrong), str(runs)]) == EXIT_USER
    out, err = capsys.readouterr()
    assert out == ""
    lines = err.splitlines()
    assert lines[0] == "3 problems:"
    assert lines[1].startswith(f"  {wrong[0]}: does not exist. Runs there: {runs / 'killed'}")
    assert lines[2] == f"  {wrong[1]}: is no folder. Runs there: {runs / 'killed'}."
    assert lines[3] == f"  {wrong[2]}: holds no run. Runs there: {runs / 'killed'}."


@pytest.mark.parametrize("arguments", [[], ["--nope", "x"]])
def test_wrong_options_exit_with_the_same_code(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert report(arguments) == EXIT_USER
    assert "usage: report.py" in capsys.readouterr().err


def test_it_starts_in_under_a_second_and_imports_no_torch(runs: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    slow = {"torch", "transformers", "sklearn", "lightning_fabric", "hydra", "matplotlib.pyplot"}
    for arguments, limit, unwanted in (
        (["--help"], 1, {*slow, "pyarrow", "pandas", "scipy", "matplotlib"}),
        ([str(runs)], 6, slow),
    ):
        command = [sys.executable, "-X", "importtime", str(REPORT), *arguments]
        seconds = []
        for _ in range(3):
            started = time.monotonic()
            answer = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=60)
            seconds.append(time.monotonic() - started)
        imported = {line.rsplit("|", 1)[-1].strip() for line in answer.stderr.splitlines() if "import time:" in line}
        assert not unwanted & imported
        assert "counterpoise.reports.diagnosis" in imported
        assert answer.returncode == EXIT_OK
        assert min(seconds) < limit


def test_the_report_is_written_beside_the_runs_or_where_it_is_wanted(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {
        *("report.html", "production_report.md", "production_summary.json", "results.csv", "results.tex"),
        "metrics_comparison.png",
    }
    assert report([str(runs), "--out", str(tmp_path / "a" / "b")]) == EXIT_OK
    assert {path.name for path in (tmp_path / "a" / "b").iterdir()} == files
    saved = read_json(tmp_path / "a" / "b" / "production_summary.json")
    assert saved["statuses"] == {"unfinished": 1, "finished": 1, "aborted": 1, "failed": 1}
    assert saved["paths"] == [str(runs)]
    monkeypatch.chdir(tmp_path)
    assert report([str(runs / "killed"), str(runs / "optimizer.lr_0.001")]) == EXIT_OK
    assert {path.name for path in (tmp_path / "report").iterdir()} == files
    assert "Report: report/report.html" in capsys.readouterr().out


def test_the_table_and_the_findings_stand_above_the_runs(runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert report([str(runs), "--text"]) == EXIT_OK
    lines = capsys.readouterr().out.splitlines()
    told = next(place for place, line in enumerate(lines) if line.startswith("3 of 4 runs did not finish (1 unfin"))
    assert any("TextCNN" in line and "0." in line for line in lines[:told])
    assert "tiny, test" in lines[0]
    assert next(place for place, line in enumerate(lines) if line.startswith(str(runs))) > told


@pytest.mark.parametrize("option", ["--text", "--json"])
def test_text_and_json_write_nothing(runs: Path, tmp_path: Path, option: str) -> None:
    only = shutil.copytree(runs, tmp_path / "runs", ignore=shutil.ignore_patterns("report"))
    before = {path: path.stat().st_mtime_ns for path in only.rglob("*")}
    assert report([str(only), option]) == EXIT_OK
    assert {path: path.stat().st_mtime_ns for path in only.rglob("*")} == before


def test_a_folder_that_cannot_be_written_is_refused_before_anything_is_computed(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("x")
    out = tmp_path / "file" / "report"
    assert report([str(runs), "--out", str(out)]) == EXIT_USER
    said = capsys.readouterr()
    assert said.out == ""
    assert f"{out}: cannot be written: Not a directory. Name another folder with --out, or add --text." in said.err
    (tmp_path / "locked").mkdir(mode=0o500)
    if os.geteuid() != 0:  # root may write anywhere
        assert report([str(runs), "--out", str(tmp_path / "locked" / "a" / "b")]) == EXIT_USER
    assert list((tmp_path / "locked").iterdir()) == []


def test_a_disk_that_fills_while_the_report_is_written_is_no_fault_of_ours(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device", str(tmp_path / "out" / "report.html"))

    monkeypatch.setattr("counterpoise.reports.outputs.write.write_together", full)
    assert report([str(runs), "--out", str(tmp_path / "out")]) == EXIT_USER
    assert "No space left on device. Free some space" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_what_was_made_is_taken_back_if_no_report_comes_of_it(
    runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = [str(runs), "--average", "TextCNN+GNN", "--out"]
    assert report([*wrong, str(tmp_path / "a" / "b")]) == EXIT_USER
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "kept" / "report").mkdir(parents=True)
    (tmp_path / "kept" / "report" / "notes.txt").write_text("mine")
    assert report([*wrong, str(tmp_path / "kept" / "report")]) == EXIT_USER
    assert [path.name for path in (tmp_path / "kept" / "report").iterdir()] == ["notes.txt"]

    def interrupted(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("counterpoise.reports.compare.make_report", interrupted)
    assert report([str(runs), "--out", str(tmp_path / "a" / "b")]) == EXIT_INTERRUPTED
    assert not (tmp_path / "a").exists()


def test_of_many_runs_the_first_are_shown(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    read: list[Path] = []
    monkeypatch.setattr(cli, "SHOWN_RUNS", 2)
    monkeypatch.setattr(cli, "read_run", lambda folder: read.append(folder) or read_run(folder))
    assert report([str(runs), "--text"]) == EXIT_OK
    out = capsys.readouterr().out
    assert "... and 2 more runs, which the report has." in out
    assert "optimizer.lr_abc:" not in out
    assert "4 runs: 1 unfinished, 1 finished, 1 aborted, 1 failed" in out.splitlines()
    assert len(read) == 2, "of the others the report knows all that is shown"


@pytest.mark.parametrize("given", ["TextCNN", "TextCNN+", "+"])
def test_an_average_names_two_rows(runs: Path, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert report([str(runs), "--average", given, "--text"]) == EXIT_USER
    assert f"--average {given}: names two rows or more, joined by +." in capsys.readouterr().err


def test_an_average_of_rows_that_are_not_there_is_refused_with_their_names(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert report([str(runs), "--average", "TextCNN+GNN", "--text"]) == EXIT_USER
    err = capsys.readouterr().err
    assert "GNN" in err
    assert "TextCNN" in err


def test_ctrl_c_ends_it_cleanly(
    runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("counterpoise.reports.compare.make_report", interrupted)
    assert report([str(runs), "--text"]) == EXIT_INTERRUPTED
    assert capsys.readouterr().err.strip() == "Interrupted."


def test_a_run_draws_itself_and_a_multirun_reports_on_its_jobs(train: Callable[..., Answer], fresh: Path) -> None:
    drawn = [item for item in SMALL if not item.startswith("report.")]
    answer = train("-m", *drawn, "seed=1,2", "hydra.sweep.dir=sweep", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert "Report: sweep/report/report.html" in answer.out
    for seed in (1, 2):
        plots = {path.name for path in (fresh / "sweep" / f"seed_{seed}" / "plots").iterdir()}
        assert {"training_curves.png", "confusion_matrix.png", "roc_pr_curves.png", "reliability.png"} <= plots
        assert {"class_shares.png", "gradient_norms.png"} <= plots
    page = (fresh / "sweep" / "report" / "report.html").read_text()
    assert "TextCNN" in page
    assert page.count("<svg") >= 7
    again = train("-m", *SMALL, "seed=1,2", "hydra.sweep.dir=sweep", folder=fresh)
    assert again.out.count("This run has finished already.") == 2, "what is drawn decides nothing"
    assert "Report:" not in again.out


def test_an_aborted_run_is_drawn_as_far_as_it_came(train: Callable[..., Answer], fresh: Path) -> None:
    drawn = [item for item in SMALL if item != "report.plots=false"]
    assert train(*drawn, *EXPLODES, "hydra.run.dir=run", folder=fresh).code == EXIT_FAULT
    assert (fresh / "run" / "plots" / "training_curves.png").exists()


def test_pictures_that_fail_cost_a_run_nothing(
    train: Callable[..., Answer], fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("counterpoise.reports.pictures.run.write_atomically", full)
    drawn = [item for item in SMALL if item != "report.plots=false"]
    answer = train(*drawn, "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert (fresh / "run" / "result.json").exists()
    assert answer.err.count("plots could not be written") == 1
