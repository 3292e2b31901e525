"""A run that is killed, or whose disk fails, while it writes what stands beside its result; and others who look on."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_command import SMALL, Answer
from test_storage_command import without_times

from counterpoise import job
from counterpoise.cli.evaluate import evaluate
from counterpoise.cli.exits import EXIT_OK, EXIT_USER
from counterpoise.cli.predict import predict
from counterpoise.cli.report import report
from counterpoise.jsonio import read_json
from counterpoise.tracking.files import FileRecorder
from counterpoise.tracking.relay import Trackers

Train = Callable[..., Answer]
PLOTTED = (*(text for text in SMALL if not text.startswith("report.plots")), "report.plots=true", "hydra.run.dir=run")


def pictures(folder: Path) -> set[str]:
    """Those that are drawn at the end; that of gradients by component comes with training."""
    return {path.stem for path in (folder / "plots").glob("*.png")} - {"gradient_stats"}


class KilledError(BaseException):
    """Nothing of the run goes on behind it, as behind SIGKILL."""


@pytest.mark.parametrize("after", ["the first picture", "all pictures", "the result"])
def test_a_run_that_is_killed_there_has_its_pictures_when_it_is_repeated(
    after: str, train: Train, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: Any, **__: Any) -> None:
        raise KilledError

    def draw_first(folder: Path, *_: Any) -> None:
        (folder / "plots").mkdir(exist_ok=True)
        (folder / "plots" / "training_curves.png").write_bytes(b"a picture")
        kill()

    if after == "the first picture":
        monkeypatch.setattr(job, "draw_run", draw_first)
    elif after == "all pictures":
        monkeypatch.setattr(job, "write_sealed", kill)
    else:
        monkeypatch.setattr(Trackers, "on_result", kill)
    train(*PLOTTED, folder=fresh)
    monkeypatch.undo()
    assert (fresh / "run" / "result.json").exists() == (after == "the result")
    answer = train(*PLOTTED, folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert (fresh / "run" / "plots" / "training_curves.png").read_bytes().startswith(b"\x89PNG")
    assert train(*PLOTTED, "hydra.run.dir=other", folder=fresh).code == EXIT_OK
    assert pictures(fresh / "run") == pictures(fresh / "other") >= {"training_curves", "confusion_matrix"}
    one, other = (without_times(read_json(fresh / name / "result.json")) for name in ("run", "other"))
    assert one == other


def test_pictures_that_a_disk_refused_are_drawn_when_the_run_is_repeated(
    train: Train, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(job, "draw_run", full)
    answer = train(*PLOTTED, folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert "plots could not be written" in answer.err
    monkeypatch.undo()
    assert not pictures(fresh / "run")
    assert train(*PLOTTED, "report.plots=false", folder=fresh).code == EXIT_OK
    assert not pictures(fresh / "run"), "they are not wanted"
    answer = train(*PLOTTED, folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert "This run has finished already." in answer.out
    assert "confusion_matrix" in pictures(fresh / "run")


def test_other_commands_while_training_goes_on(train: Train, fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    codes = []
    original = FileRecorder.on_epoch

    def ask_others(self: FileRecorder, event: Any) -> None:
        original(self, event)
        codes.append(predict(["run=run", "input=tiny.csv"]))
        codes.append(evaluate(["run=run", "out=measured"]))
        codes.append(report(["run"]))

    monkeypatch.setattr(FileRecorder, "on_epoch", ask_others)
    answer = train(*SMALL, "train.epochs=2", "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert codes == [EXIT_USER, EXIT_USER, EXIT_OK] * 2
    assert answer.err.count("is a run that has not finished: it has no result.json. Finish it with resume=run") == 4
    assert not (fresh / "measured").exists()
    assert (fresh / "run" / "report" / "report.html").exists()
    monkeypatch.undo()
    monkeypatch.chdir(fresh)
    assert predict(["run=run", "input=tiny.csv"]) == EXIT_OK
