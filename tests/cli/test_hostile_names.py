"""Names of classes, columns, files, folders and values that would be obeyed by a terminal: shown as escapes by all."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cli_command import SMALL, Answer, call

from counterpoise.cli.evaluate import evaluate
from counterpoise.cli.exits import EXIT_FAULT, EXIT_OK, EXIT_USER, attempt
from counterpoise.cli.explain import explain
from counterpoise.cli.predict import predict
from counterpoise.cli.report import report
from counterpoise.errors import escape_control
from hostile_names import FORGED, NAMES, check_log, check_shown, check_texts, hidden

CLASSES = list(NAMES.values())
OUTSIDE = f"of \x1b[2J\x1b]0;owned\x07\x9b2J\u202e\u2028{FORGED}"
"""A name of a file or a folder."""
COLUMN = "text\x1b[2J\x07\u202e"
RUN, DATA = f"run {OUTSIDE}", f"data {OUTSIDE}.jsonl"
TRAIN = (
    *SMALL,
    *(f"data.path='{DATA}'", f"data.text_column='{COLUMN}'", "objective.metric=macro_f1", "paths.cache=cache"),
)
Command = Callable[[], Answer]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the data, and a run of it that has finished."""
    folder = tmp_path_factory.mktemp("hostile")
    rows = [
        {COLUMN: f"int f{n}() {{ return w{n % len(CLASSES)}; }}", "label": CLASSES[n % len(CLASSES)]}
        for n in range(20 * len(CLASSES))
    ]
    (folder / DATA).write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> Path:
    """The folder of a run that has finished, with its pictures."""
    assert call(place, [*TRAIN, f"hydra.run.dir='{RUN}'", "report.plots=true"], lambda: ("", "")).code == EXIT_OK
    return place / RUN


@pytest.fixture
def shown(capfd: pytest.CaptureFixture[str]) -> Iterator[Callable[[], tuple[str, str]]]:
    """What was shown so far, which has been looked at."""

    def take() -> tuple[str, str]:
        out, err = capfd.readouterr()
        check_shown(out)
        check_shown(err)
        return out, err

    yield take
    take()


@pytest.fixture
def here(place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder."""
    monkeypatch.chdir(place)
    return place


def test_a_run_shows_its_classes_its_data_and_its_folder_as_escapes(
    place: Path, shown: Callable[[], tuple[str, str]]
) -> None:
    answer = call(place, [*TRAIN, f"hydra.run.dir='first {OUTSIDE}'"], shown)
    assert answer.code == EXIT_OK, answer.err
    for name in ("owned\\x07", "data of \\x1b[2J"):
        assert name in answer.out
    folder = place / f"first {OUTSIDE}"
    check_texts(folder)
    (command,) = [line for line in (folder / "training.log").read_text().splitlines() if "Command: " in line]
    assert f"hydra.run.dir='first {escape_control(OUTSIDE)}'" in command
    again = call(place, [*TRAIN, f"hydra.run.dir='first {OUTSIDE}'"], shown)
    assert "has finished already" in again.out


def test_files_keep_every_character(run: Path) -> None:
    metadata = json.loads((run / "training_metadata.json").read_text())
    kept = [name for name in CLASSES if "\x1b" in name or "\x07" in name or "\x9b" in name]
    assert set(metadata["classes"]) >= set(kept), "white space and characters without width are not part of a label"
    assert metadata["config"]["data"]["path"] == DATA
    check_texts(run)


def test_a_dry_run_shows_escapes(place: Path, shown: Callable[[], tuple[str, str]]) -> None:
    answer = call(place, [*TRAIN, "dry_run=true", f"hydra.run.dir='dry {OUTSIDE}'"], shown)
    assert answer.code == EXIT_OK, answer.err


def test_a_multirun_shows_escapes(place: Path, shown: Callable[[], tuple[str, str]]) -> None:
    varied = ["-m", "seed=1,2", "report.multirun=true", f"hydra.sweep.dir='multi {OUTSIDE}'"]
    answer = call(place, [*TRAIN, *varied], shown)
    assert answer.code == EXIT_OK, answer.err
    folder = place / f"multi {OUTSIDE}"
    (folder / "multirun.yaml").unlink()  # Hydra's own
    check_texts(folder)


@pytest.mark.parametrize(
    "override",
    [
        f"nothing='{OUTSIDE}'",
        f"'{OUTSIDE}'=1",
        f"model='{OUTSIDE}'",
        f"train.epochs='{OUTSIDE}'",
        f"data.path='{OUTSIDE}'",
        f"data.label_column='{OUTSIDE}'",
        f"data.labels=['{OUTSIDE}',b]",
        f"encoding.vocab_size='{OUTSIDE}'",
        f"resume={OUTSIDE}",
        f"+x={OUTSIDE}",
        f"--config-dir={OUTSIDE}",
        f"--{OUTSIDE}",
        OUTSIDE,
        "train.epochs=one\ntwo",
    ],
    ids=ascii,
)
def test_what_is_refused_is_shown_as_escapes(override: str, place: Path, shown: Callable[[], tuple[str, str]]) -> None:
    answer = call(place, [*TRAIN, override, "hydra.run.dir=refused"], shown)
    assert answer.code == EXIT_USER, answer.err
    assert "Traceback" not in answer.err


def test_a_job_that_fails_says_so_in_escapes(place: Path, shown: Callable[[], tuple[str, str]]) -> None:
    given = ["-m", f"data.path='{OUTSIDE}.csv','{OUTSIDE} 2.csv'", f"hydra.sweep.dir='failed {OUTSIDE}'"]
    answer = call(place, [*TRAIN, *given], shown)
    assert answer.code == EXIT_FAULT, answer.err
    assert answer.err.count("failed: data.path: there is no file") == 2


def test_a_report_holds_escapes(run: Path, tmp_path: Path, shown: Callable[[], tuple[str, str]]) -> None:
    out = tmp_path / OUTSIDE
    assert report([str(run), "--out", str(out)]) == EXIT_OK
    check_texts(out)
    assert "could not be drawn" not in shown()[1]
    assert report([str(run), "--json"]) == EXIT_OK
    (found,) = json.loads(shown()[0])
    assert found["folder"] == str(run)
    assert report([str(run), "--average", f"{OUTSIDE}+b", "--text"]) == EXIT_USER
    for mistake in (["--average"], [f"--{OUTSIDE}"], [OUTSIDE]):
        assert report([str(run), "--text", *mistake]) == EXIT_USER


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    """New texts, in a file of such a name."""
    path = tmp_path / f"new {OUTSIDE}.jsonl"
    path.write_text("".join(json.dumps({COLUMN: f"int f() {{ return w{n}; }}", "id": n}) + "\n" for n in CLASSES))
    return path


def test_predictions_have_a_column_for_every_class(
    run: Path, texts: Path, tmp_path: Path, shown: Callable[[], tuple[str, str]]
) -> None:
    given = [f"run={run}", f"input={texts}", "id_column=id"]
    classes = json.loads((run / "training_metadata.json").read_text())["classes"]
    for kind in ("csv", "jsonl", "parquet"):
        assert predict([*given, f"output={tmp_path / f'{OUTSIDE}.{kind}'}"]) == EXIT_OK
    table = (tmp_path / f"{OUTSIDE}.csv").read_bytes().decode()
    assert hidden(table, "\r") == []
    heads, *rows = list(csv.reader(io.StringIO(table, newline="")))
    assert len(rows) == len(CLASSES)
    assert heads[-len(classes) :] == [f"probability_{escape_control(name)}" for name in classes]
    assert [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))] == []
    lines = (tmp_path / f"{OUTSIDE}.jsonl").read_text()
    check_texts(tmp_path)
    assert [list(json.loads(line)["probabilities"]) for line in lines.split("\n")[:-1]] == [classes] * len(CLASSES)
    assert [json.loads(line)["id"] for line in lines.split("\n")[:-1]] == CLASSES
    columns = pq.read_schema(tmp_path / f"{OUTSIDE}.parquet").names
    assert columns[-len(classes) :] == [f"probability_{name}" for name in classes]
    shown()
    assert predict([*given, "output=-", "format=jsonl"]) == EXIT_OK
    assert shown()[0] == lines


def test_evaluation_shows_escapes(run: Path, place: Path, tmp_path: Path, shown: Callable[[], tuple[str, str]]) -> None:
    out = tmp_path / OUTSIDE
    assert evaluate([f"run={run}", f"input={place / DATA}", f"out={out}"]) == EXIT_OK
    check_texts(out)
    assert not hidden("".join(path.name for path in out.iterdir()))
    for mistake in (f"run={OUTSIDE}", f"input={OUTSIDE}", f"nothing={OUTSIDE}", OUTSIDE):
        assert evaluate([f"run={run}", f"out={out}", mistake]) == EXIT_USER


def test_an_explanation_holds_escapes(place: Path, tmp_path: Path, shown: Callable[[], tuple[str, str]]) -> None:
    chunks = [
        *(item for item in TRAIN if not item.startswith(("model", "encoding"))),
        *("model=hierarchical", "model.hidden_size=8", "model.layers=1", "model.heads=2"),
        *("model.feed_forward_size=8", "encoding.window=10", "encoding.max_chunks=3", "guard=off"),
    ]
    answer = call(place, [*chunks, f"hydra.run.dir='chunks {OUTSIDE}'"], shown)
    assert answer.code == EXIT_OK, answer.err
    out = tmp_path / OUTSIDE
    code = call_explain(place, [f"run=chunks {OUTSIDE}", f"out={out}"])
    assert code == EXIT_OK
    check_texts(out)
    page = (out / "explanations.md").read_text()
    assert "<script>" not in page
    assert "](javascript" not in page.replace("\\](", "")


def call_explain(folder: Path, arguments: list[str]) -> int:
    """``explain`` in ``folder``, from which the run's data are found."""
    before = Path.cwd()
    try:
        os.chdir(folder)
        return explain(arguments)
    finally:
        os.chdir(before)


def spoilt(value: Any, key: str = "") -> Any:
    """JSON in which every text ends with what would be obeyed, keys and the words that are looked up aside."""
    if isinstance(value, dict):
        return {name: spoilt(each, name) for name, each in value.items()}
    if isinstance(value, list):
        return [spoilt(each) for each in value]
    kept = ("status", "metric", "kind", "held_out", "_target_", "data_fingerprint", "fingerprint", "seal", "target")
    return f"{value} {OUTSIDE}" if isinstance(value, str) and key not in kept else value


@pytest.mark.parametrize("failed", [False, True], ids=["finished", "failed"])
def test_a_report_of_somebody_elses_run_holds_escapes(
    failed: bool, run: Path, tmp_path: Path, shown: Callable[[], tuple[str, str]]
) -> None:
    folder = shutil.copytree(run, tmp_path / f"theirs {OUTSIDE}")
    for name in ("training_metadata.json", "result.json", "training_history.json"):
        (folder / name).write_text(json.dumps(spoilt(json.loads((folder / name).read_text())), ensure_ascii=False))
    if failed:
        message = {"status": f"failed {OUTSIDE}", "message": f"no\n{OUTSIDE}", "overrides": [OUTSIDE], "traceback": ""}
        (folder / "failure.json").write_text(json.dumps(message, ensure_ascii=False))
    (folder / ".hydra" / "overrides.yaml").write_text(f"- {json.dumps('x=' + OUTSIDE)}\n")
    out = tmp_path / "out"
    assert report([str(folder), str(run), "--out", str(out)]) == EXIT_OK
    check_texts(out)
    shown()
    for command in (predict, evaluate, explain):
        assert command([f"run={folder}", *([f"input={run}"] if command is predict else [])]) == EXIT_USER
        assert "Traceback" not in shown()[1]


class Pty:
    """A terminal: a real one, so that rich shows its bar and its colours."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        master, slave = pty.openpty()
        self._read, self._parts = threading.Thread(target=self._take, args=(master,)), list[bytes]()
        self.stream = os.fdopen(slave, "w", encoding="utf-8", buffering=1)
        self._read.start()
        monkeypatch.setattr(sys, "stdout", self.stream)
        monkeypatch.setattr(sys, "stderr", self.stream)
        for name, value in (("TERM", "xterm-256color"), ("COLUMNS", "200"), ("LINES", "50")):
            monkeypatch.setenv(name, value)
        monkeypatch.delenv("NO_COLOR", raising=False)

    def _take(self, master: int) -> None:
        try:
            while data := os.read(master, 1 << 16):
                self._parts.append(data)
        except OSError:  # nobody writes to it any more
            pass
        finally:
            os.close(master)

    def close(self) -> str:
        """All that was shown."""
        self.stream.close()
        self._read.join()
        return b"".join(self._parts).decode()


def test_a_terminal_gets_no_more_than_the_colours_of_rich(
    place: Path, run: Path, texts: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = Pty(monkeypatch)
    codes = [
        call(place, [*TRAIN, f"hydra.run.dir='seen {OUTSIDE}'"], lambda: ("", "")).code,
        call(place, [*TRAIN, f"data.label_column='{OUTSIDE}'"], lambda: ("", "")).code,
        predict([f"run={run}", f"input={texts}", "id_column=id"]),
        report([str(run), str(place / f"seen {OUTSIDE}"), "--out", str(tmp_path / "out")]),
        evaluate([f"run={OUTSIDE}"]),
    ]
    out = terminal.close()
    assert codes == [EXIT_OK, EXIT_USER, EXIT_OK, EXIT_OK, EXIT_USER]
    assert "\x1b[" in out
    check_shown(out, terminal=True)


def test_a_fault_is_shown_as_escapes(shown: Callable[[], tuple[str, str]]) -> None:
    def fault() -> int:
        sys.stderr.writelines([f"a library: {OUTSIDE}\n"])
        raise RuntimeError(OUTSIDE)

    assert attempt(fault) == EXIT_FAULT
    assert "RuntimeError: of \\x1b[2J" in shown()[1]


def test_a_forged_line_does_not_pass_for_one() -> None:
    check_log("2026-01-01 00:00:00,000 INFO    a.b: one\n    two\n")
    for text in (f"{FORGED}\n", "one\n", "2026-01-01 00:00:00,000 INFO    a.b: one\ntwo\n"):
        with pytest.raises(AssertionError):
            check_log(text)
