"""Trackers beside the real command: whatever becomes of them, the run ends with the same bits, and is told of once."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from cli_command import SMALL, Answer, write_table

from counterpoise.cli.exits import EXIT_OK, EXIT_PREEMPTED, EXIT_USER
from counterpoise.tracking.console import ConsoleObserver

RUN = (*SMALL, "train.epochs=3", "train.log_every=1", "early_stopping.enabled=false", "hydra.run.dir=run")
AWS = {
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}
VARYING = ("seconds", "samples", "seal")
"""What differs between two runs of the same bits."""
Train = Callable[..., Answer]


@pytest.fixture(scope="module")
def reference(tmp_path_factory: pytest.TempPathFactory, quiet: Train) -> Path:
    """A run without a tracker."""
    folder = write_table(tmp_path_factory.mktemp("reference") / "a")
    assert quiet(folder, *RUN).code == EXIT_OK
    return folder / "run"


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with nothing in it, which takes seconds to make."""
    pytest.importorskip("mlflow")
    file = tmp_path_factory.mktemp("store") / "mlflow.db"
    make = f"from counterpoise.tracking.mlflow_client import Client; Client('sqlite:///{file}', 'Default')"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", make], check=True, capture_output=True, env=environment, timeout=120)
    return file


@pytest.fixture
def stored(fresh: Path, empty_store: Path) -> Path:
    """A fresh folder where runs without a server find that database."""
    (fresh / "outputs").mkdir()
    shutil.copy(empty_store, fresh / "outputs")
    return fresh


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items() if key not in VARYING}
    return [plain(item) for item in value] if isinstance(value, list) else value


def assert_same(run: Path, reference: Path) -> None:
    """All that a run decides is the same: results, predictions, weights, and the state to go on from."""
    for name in ("result.json", "training_history.json", "gradient_stats.json"):
        assert plain(json.loads((run / name).read_text())) == plain(json.loads((reference / name).read_text())), name
    lines, expected = ((each / "metrics.jsonl").read_text().splitlines() for each in (run, reference))
    assert [plain(json.loads(line)) for line in lines] == [plain(json.loads(line)) for line in expected]
    for name in ("predictions_valid.parquet", "predictions_test.parquet"):
        assert (run / name).read_bytes() == (reference / name).read_bytes(), name
    for path in sorted((reference / "checkpoints").rglob("*.safetensors")):
        assert (run / path.relative_to(reference)).read_bytes() == path.read_bytes(), path.name


def warnings(answer: Answer) -> list[str]:
    return [line.removeprefix("Warning: ") for line in answer.err.splitlines() if line.startswith("Warning: ")]


@pytest.fixture
def at_epoch(monkeypatch: pytest.MonkeyPatch) -> Callable[[int, Callable[[], object]], None]:
    """Have something happen when the epoch of this number, from 1, is told."""

    def arrange(number: int, what: Callable[[], object]) -> None:
        shown = ConsoleObserver.on_epoch

        def on_epoch(self: ConsoleObserver, event: Any) -> None:
            shown(self, event)
            if event.epoch == number:
                what()

        monkeypatch.setattr(ConsoleObserver, "on_epoch", on_epoch)

    return arrange


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, subprocess.Popen[bytes]]]:
    """A real MLflow server, which takes seconds to start; its address and process."""
    pytest.importorskip("mlflow")
    folder = tmp_path_factory.mktemp("server")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [*(sys.executable, "-m", "mlflow", "server", "--port", str(port), "--workers", "1")]
    command += ["--backend-store-uri", f"sqlite:///{folder / 'db'}", "--artifacts-destination", str(folder / "files")]
    extra = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=folder, stdout=log, stderr=log, env={**os.environ, **extra}, start_new_session=True
        )
    yield f"http://127.0.0.1:{port}", process
    end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Kill a server and its workers."""
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=1) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


MINE = """
from dataclasses import dataclass
from counterpoise.tracking.base import Tracker

@dataclass(frozen=True, kw_only=True)
class Config:
    name: str = "mine"

class Mine(Tracker):
    Config = Config

    def on_result(self, result):
        (self.folder / self.config.name).write_text(result["status"])
"""


def test_several_trackers_at_once_change_nothing(stored: Path, train: Train, reference: Path) -> None:
    (stored / "my_own.py").write_text(MINE)
    mine = ("extensions=[my_own]", "+tracker.mine._target_=my_own.Mine", "+tracker.mine.name=here")
    answer = train(*RUN, "tracker=[tensorboard,mlflow]", *mine, folder=stored)
    assert answer.code == EXIT_OK, answer
    assert not warnings(answer)
    assert_same(stored / "run", reference)
    assert (stored / "run" / "here").read_text() == "finished"
    assert list((stored / "run" / "tensorboard").glob("events*"))
    (run,) = runs(stored)
    assert run.status == "FINISHED"
    assert run.steps == list(range(1, 10))


def hosts() -> list[int]:
    """The processes of trackers that belong to this one."""
    children = [int(pid) for path in Path("/proc/self/task").glob("*/children") for pid in path.read_text().split()]
    return [pid for pid in children if b"counterpoise.tracking.host" in Path(f"/proc/{pid}/cmdline").read_bytes()]


# Root may write anywhere: that the file may not grow any more stands for a disk that is full, or turned read-only.
def test_tensorboards_files_cannot_be_written_from_the_midst_of_a_run_on(
    fresh: Path, train: Train, reference: Path, at_epoch: Callable[..., None]
) -> None:
    def block() -> None:
        until(lambda: list((fresh / "run" / "tensorboard").glob("events*")))
        for pid in hosts():
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, 1))

    at_epoch(1, block)
    answer = train(*RUN, "tracker=tensorboard", folder=fresh)
    assert answer.code == EXIT_OK
    assert_same(fresh / "run", reference)
    (line,) = warnings(answer)
    assert line.startswith("tracker tensorboard could not be written to run: File too large.")


def test_a_file_is_in_the_place_of_tensorboards_folder(fresh: Path, train: Train, reference: Path) -> None:
    (fresh / "run").mkdir()
    (fresh / "run" / "tensorboard").write_text("in the way")
    answer = train(*RUN, "tracker=tensorboard", folder=fresh)
    assert answer.code == EXIT_OK
    assert_same(fresh / "run", reference)
    (line,) = warnings(answer)
    assert line.startswith("tracker tensorboard could not be written to run: Not a directory.")


def test_mlflows_server_is_killed_in_mid_run(
    server: tuple[str, subprocess.Popen[bytes]],
    fresh: Path,
    train: Train,
    reference: Path,
    at_epoch: Callable[..., None],
) -> None:
    url, process = server
    until(lambda: answers(url))

    def kill() -> None:
        until((fresh / "run" / "mlflow.json").exists)
        end(process)

    at_epoch(1, kill)
    answer = train(*RUN, "tracker=mlflow", f"tracker.mlflow.uri={url}", folder=fresh)
    assert answer.code == EXIT_OK
    assert_same(fresh / "run", reference)
    (line,) = warnings(answer)
    assert line.startswith("Tracker mlflow is dropped: MlflowException: API request to")


@pytest.mark.parametrize("tracker", ["mlflow", "cloudwatch"])
@pytest.mark.parametrize("how", ["unreachable", "silent"])
def test_a_server_that_cannot_be_reached_or_never_answers(
    tracker: str, how: str, silent: str, fresh: Path, train: Train, reference: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    url = silent if how == "silent" else "http://127.0.0.1:9"
    key = "uri" if tracker == "mlflow" else "endpoint"
    wait = 1 if how == "silent" else 30
    given = (f"tracker={tracker}", f"tracker.{tracker}.{key}={url}", f"tracker.{tracker}.wait={wait}")
    answer = train(*RUN, *given, folder=fresh)
    assert answer.code == EXIT_OK
    assert_same(fresh / "run", reference)
    (line,) = warnings(answer)
    expected = "it had not sent everything in time" if how == "silent" else ""
    assert line.startswith(f"Tracker {tracker} is dropped: {expected}")


@pytest.mark.parametrize("sweep", [(), ("-m", "seed=1,2", "hydra.sweep.dir=run")])
def test_a_password_is_refused_before_it_is_written_anywhere(sweep: tuple[str, ...], fresh: Path, train: Train) -> None:
    answer = train(*sweep, *RUN, "tracker=mlflow", "tracker.mlflow.uri=http://me:hidden@host", folder=fresh)
    assert answer.code == EXIT_USER
    assert "tracker.mlflow.uri: must hold no password" in answer.problems[0]
    assert "hidden" not in answer.err + answer.out
    assert not [path for path in fresh.rglob("*") if path.is_file() and b"hidden" in path.read_bytes()]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["tracker=mlflow", "tracker.mlflow.uri=ftp://x"], "tracker.mlflow.uri: 'ftp://x' is no URI of a store."),
        (["tracker=cloudwatch", "tracker.cloudwatch.timeout=0"], "tracker.cloudwatch.timeout: must be > 0, but is 0."),
        (["tracker=mlflow"], "tracker.mlflow: needs the package 'mlflow', which is not installed. Install it with: "),
    ],
)
def test_what_can_be_known_beforehand_is(
    given: list[str], said: str, fresh: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "mlflow", None)
    answer = train(*RUN, *given, folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.problems[0].startswith(said)
    assert not (fresh / "run").exists()


@dataclass(frozen=True)
class Kept:
    """A run as the store has it."""

    id: str
    name: str
    status: str
    steps: list[int]
    """Of the loss."""
    tags: dict[str, str]
    metrics: dict[str, float]


def runs(folder: Path) -> list[Kept]:
    """Oldest first; read without MLflow, whose import takes longer than a run here."""
    with closing(sqlite3.connect(folder / "outputs" / "mlflow.db")) as store:

        def ask(what: str, *of: str) -> list[Any]:
            return store.execute(f"select {what}", of).fetchall()

        return [
            Kept(
                *(key, name, status),
                [row[0] for row in ask("step from metrics where key='update/loss' and run_uuid=? order by step", key)],
                dict(ask("key, value from tags where run_uuid=?", key)),
                dict(ask("key, value from latest_metrics where run_uuid=?", key)),
            )
            for key, name, status in ask("run_uuid, name, status from runs order by start_time")
        ]


def preempting(patch: pytest.MonkeyPatch, when: Callable[[], object]) -> None:
    """Have SIGTERM come after update 4."""

    def kill(self: ConsoleObserver, event: Any) -> None:
        if event.update == 4:
            until(when)
            os.kill(os.getpid(), signal.SIGTERM)

    patch.setattr(ConsoleObserver, "on_update", kill)


def test_a_preempted_run_goes_on_in_its_mlflow_run(stored: Path, train: Train, reference: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        preempting(patch, (stored / "run" / "mlflow.json").exists)
        assert train(*RUN, "tracker=mlflow", folder=stored).code == EXIT_PREEMPTED
    assert [run.status for run in runs(stored)] == ["KILLED"]
    answer = train("resume=run", folder=stored)
    assert answer.code == EXIT_OK
    assert not warnings(answer)
    assert_same(stored / "run", reference)
    (run,) = runs(stored)
    assert run.status == "FINISHED"
    assert run.steps == list(range(1, 10))


def test_a_run_that_was_tracked_may_be_resumed_without(fresh: Path, train: Train, reference: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        preempting(patch, lambda: True)
        assert train(*RUN, "tracker=tensorboard", folder=fresh).code == EXIT_PREEMPTED
    assert train("resume=run", "tracker=none", folder=fresh).code == EXIT_OK
    assert_same(fresh / "run", reference)


def test_the_jobs_of_a_multirun_stand_below_one_parent(stored: Path, train: Train) -> None:
    answer = train("-m", "seed=1,2", "hydra.sweep.dir=sweep", *SMALL, "tracker=mlflow", folder=stored)
    assert answer.code == EXIT_OK, answer
    assert not warnings(answer)
    parent, *children = runs(stored)
    assert [run.name for run in (parent, *children)] == ["sweep", "seed_1", "seed_2"]
    assert {run.tags["mlflow.parentRunId"] for run in children} == {parent.id}
    assert {run.status for run in (parent, *children)} == {"FINISHED"}
    means = json.loads((stored / "sweep" / "summary.json").read_text())["mean"]["one configuration"]
    assert parent.metrics["mean/f1"] == pytest.approx(means["f1"]["mean"])
