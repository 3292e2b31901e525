"""Terminals that cannot show every sign: each command escapes what its encoding lacks, and ends as it should."""

from __future__ import annotations

import io
import json
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import ROOT, SMALL, call

from counterpoise.cli.evaluate import evaluate
from counterpoise.cli.exits import EXIT_OK, EXIT_USER, attempt
from counterpoise.cli.explain import explain
from counterpoise.cli.predict import predict
from counterpoise.cli.report import report

ENCODINGS = ("ascii", "latin-1", "cp1252")


class Terminal:
    """Standard output and error of an encoding, which refuse what it lacks as Python's own do."""

    def __init__(self, encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.out, self.err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2))
        monkeypatch.setattr(sys, "stdout", self.out)
        monkeypatch.setattr(sys, "stderr", self.err)

    def shown(self) -> tuple[str, str]:
        """What was written to both so far."""
        for stream in (self.out, self.err):
            stream.flush()
        return tuple(stream.buffer.getvalue().decode(stream.encoding) for stream in (self.out, self.err))  # type: ignore[attr-defined,return-value]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_signs_that_cannot_be_shown_are_escaped(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal(encoding, monkeypatch)

    def show() -> int:
        sys.stdout.write("坏 👍 −\n")
        sys.stderr.write("坏\n")
        return EXIT_OK

    assert attempt(show) == EXIT_OK
    assert terminal.shown() == ("\\u574f \\U0001f44d \\u2212\n", "\\u574f\n")


@pytest.mark.parametrize(
    "command",
    [
        lambda folder: predict(["run=坏", "input=坏.csv"]),
        lambda folder: evaluate(["run=坏"]),
        lambda folder: explain(["run=坏"]),
        lambda folder: report(["坏"]),
        lambda folder: call(folder, [*SMALL, "data.path='坏.csv'"], lambda: ("", "")).code,
    ],
    ids=["predict", "evaluate", "explain", "report", "train"],
)
def test_every_command_shows_a_mistake(
    command: Callable[[Path], int], fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Terminal("ascii", monkeypatch)
    assert command(fresh) == EXIT_USER
    assert "\\u574f" in terminal.shown()[1]


def test_runs_are_reported_and_used_whatever_their_names(
    finished: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(finished("tokens"), tmp_path / "坏👍é")
    texts = tmp_path / "好.csv"
    texts.write_text("text\nint f() { return 0; }\n", encoding="utf-8")
    terminal = Terminal("cp1252", monkeypatch)
    assert predict([f"run={run}", f"input={texts}"]) == EXIT_OK
    assert report([str(run), "--out", str(tmp_path / "out")]) == EXIT_OK
    assert (tmp_path / "out" / "report.html").exists()
    out, err = terminal.shown()
    assert "\\u574f\\U0001f44dé" in out
    assert err == ""


def test_json_stays_json(finished: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = shutil.copytree(finished("tokens"), tmp_path / "坏👍é")
    terminal = Terminal("ascii", monkeypatch)
    assert report([str(run), "--json"]) == EXIT_OK
    (found,) = json.loads(terminal.shown()[0])
    assert found["folder"] == str(run)


COMMANDS = ("train.py dry_run=true", "report.py a", "predict.py run=a input=b", "evaluate.py run=a", "explain.py run=a")


@pytest.mark.parametrize("command", COMMANDS)
def test_a_folder_that_was_removed_is_said_to_be(tmp_path: Path, command: str) -> None:
    """In a process of its own: libraries end one whose folder is gone, before Python can say anything."""
    script, *arguments = command.split()
    (tmp_path / "gone").mkdir()
    start = f"cd {shlex.quote(str(tmp_path / 'gone'))} && rmdir ../gone && exec {shlex.quote(sys.executable)} -P"
    line = f"{start} {shlex.quote(str(ROOT / 'src' / script))} {' '.join(arguments)}"
    answer = subprocess.run(["sh", "-c", line], capture_output=True, text=True, timeout=120, check=False)
    assert answer.returncode == EXIT_USER
    assert answer.stderr.splitlines()[-1].startswith("  working directory: was removed")
    assert "Traceback" not in answer.stderr
