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

from counterpoise.cli.exits import EXIT_FAULT, EXIT_OK, EXIT_USER
from counterpoise.cli.report import report
from counterpoise.jsonio import read_json

REPORT = ROOT / "src" / "report.py"
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
    assert out.splitlines()[-1] == "4 runs: 1 unfinished, 1 finished, 1 aborted, 1 failed"


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
    answer = train(*SMALL, "hydra.run.dir=run", folder=fresh)
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
    answer = train(*SMALL, "train.epochs=14", "optimizer.lr=1e-2", "objective.metric=accuracy", folder=fresh)
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
    assert train(*SMALL, "hydra.run.dir=run", folder=fresh).code == EXIT_OK
    (finding, *_) = read_json(fresh / "run" / "result.json")["diagnosis"]
    answer = train(*SMALL, finding["override"], "dry_run=true", folder=fresh)
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
    for arguments in (["--help"], [str(runs)]):
        command = [sys.executable, "-X", "importtime", str(REPORT), *arguments]
        seconds = []
        for _ in range(3):
            started = time.monotonic()
            answer = subprocess.run(command, env=environment, text=True, capture_output=True, timeout=60)
            seconds.append(time.monotonic() - started)
        imported = {line.rsplit("|", 1)[-1].strip() for line in answer.stderr.splitlines() if "import time:" in line}
        assert not {"torch", "transformers", "pyarrow", "sklearn", "lightning_fabric", "pandas", "hydra"} & imported
        assert "counterpoise.reports.diagnosis" in imported
        assert answer.returncode == EXIT_OK
        assert min(seconds) < 1
