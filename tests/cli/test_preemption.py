"""Preemption of the real command: the update is finished, all is saved, 75 is the exit code, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_command import SMALL, TRAIN, Answer, write_table
from safetensors.numpy import load_file

from counterpoise.cli.exits import EXIT_OK, EXIT_PREEMPTED
from counterpoise.data.encode.tokens import Tokens
from counterpoise.engine.keeper import Keeper
from counterpoise.events import UpdateEvent
from counterpoise.tracking.console import ConsoleObserver
from counterpoise.tracking.files import FileRecorder

LONGER = ("train.epochs=4", "train.log_every=1", "train.checkpoint_seconds=0", "early_stopping.enabled=false")


def plain(path: Path) -> Any:
    def without(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: without(item) for key, item in value.items() if key not in ("seconds", "samples", "seal")}
        return [without(item) for item in value] if isinstance(value, list) else value

    if path.suffix == ".jsonl":
        return [without(json.loads(line)) for line in path.read_text().splitlines()]
    return without(json.loads(path.read_text()))


@pytest.fixture
def preempting(monkeypatch: pytest.MonkeyPatch) -> Callable[[signal.Signals], None]:
    """Send a signal to this process when update 4 is told."""

    def arm(number: signal.Signals) -> None:
        def kill(self: ConsoleObserver, event: UpdateEvent) -> None:
            if event.update == 4:
                os.kill(os.getpid(), number)

        monkeypatch.setattr(ConsoleObserver, "on_update", kill)

    return arm


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1])
def test_a_preempted_run_resumes_exactly(
    number: signal.Signals,
    fresh: Path,
    train: Callable[..., Answer],
    preempting: Callable[[signal.Signals], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    whole = train(*SMALL, *LONGER, "hydra.run.dir=whole", folder=fresh)
    assert whole.code == EXIT_OK
    preempting(number)
    answer = train(*SMALL, *LONGER, "hydra.run.dir=run", folder=fresh)
    monkeypatch.undo()
    assert answer.code == EXIT_PREEMPTED
    message = f"{number.name} was received; the checkpoint of update 4 is saved. To continue: resume=run."
    assert answer.err.strip() == message
    manifest = json.loads((fresh / "run" / "checkpoints" / "last" / "manifest.json").read_text())
    assert manifest["position"]["update"] == 4  # in the midst of an epoch, and between two checkpoints
    assert not (fresh / "run" / "failure.json").exists()
    assert train("resume=run", folder=fresh).code == EXIT_OK
    for each in ("metrics.jsonl", "training_history.json", "result.json"):
        assert plain(fresh / "run" / each) == plain(fresh / "whole" / each)
    weights, expected = (load_file(fresh / run / "checkpoints/last/model.safetensors") for run in ("run", "whole"))
    assert all((weights[key] == expected[key]).all() for key in expected)


def test_a_multirun_ends_with_the_job_and_goes_on_with_it(
    fresh: Path, train: Callable[..., Answer], preempting: Callable[[signal.Signals], None]
) -> None:
    preempting(signal.SIGTERM)
    command = ("-m", "seed=1,2", *SMALL, *LONGER, "hydra.sweep.dir=s")
    first = train(*command, folder=fresh)
    assert first.code == EXIT_PREEMPTED
    said = "SIGTERM was received; the checkpoint of update 4 is saved. To continue: give the same command again."
    assert said in first.err
    assert not (fresh / "s" / "seed_2").exists()
    assert train(*command, folder=fresh).code == EXIT_PREEMPTED  # the second job's turn
    answer = train(*command, folder=fresh)
    assert answer.code == EXIT_OK
    assert (fresh / "s" / "seed_2" / "result.json").exists()


def test_a_signal_before_anything_has_begun(
    fresh: Path, train: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Tokens, "encode", lambda *_, **__: os.kill(os.getpid(), signal.SIGTERM))
    answer = train(*SMALL, "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_PREEMPTED
    said = "SIGTERM was received; nothing was saved yet. To continue: give the same command again."
    assert answer.err.strip() == said
    assert not (fresh / "run").exists()


def test_a_signal_after_the_data_are_encoded(
    fresh: Path, train: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("counterpoise.preparation.make_fabric", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
    answer = train(*SMALL, "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_PREEMPTED
    kept = "nothing was saved yet but encoded data, in .cache/counterpoise"
    assert answer.err.strip() == f"SIGINT was received; {kept}. To continue: give the same command again."
    assert list((fresh / ".cache/counterpoise").glob("tok*"))
    assert not (fresh / "run").exists()


def test_a_signal_before_the_first_checkpoint_and_after_the_last(
    fresh: Path, train: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FileRecorder, "on_start", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    monkeypatch.setattr(Keeper, "save_last", lambda *_, **__: None)
    answer = train(*SMALL, "hydra.run.dir=run", folder=fresh)
    monkeypatch.undo()
    assert answer.code == EXIT_PREEMPTED
    said = "no checkpoint was written yet. To continue: resume=run, which starts at the beginning."
    assert answer.err.strip() == f"SIGTERM was received; {said}"
    monkeypatch.setattr("counterpoise.job.draw_run", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    answer = train("resume=run", "report.plots=true", folder=fresh)
    monkeypatch.undo()
    assert answer.code == EXIT_PREEMPTED
    said = "the result of the run is saved. To continue: resume=run."
    assert answer.err.strip() == f"SIGTERM was received; {said}"
    assert train("resume=run", folder=fresh).code == EXIT_OK


# submitit requeues a preempted job on SIGUSR2; its local executor does so for real.
def test_submitit_requeues_the_job_and_it_goes_on(fresh: Path) -> None:
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    write_table(fresh)
    launch = ("-m", "hydra/launcher=submitit_local", "hydra.sweep.dir=s", "seed=1", "guard=off")
    command = [sys.executable, str(TRAIN), *launch, *SMALL, *LONGER, "train.epochs=100", "data.path=tiny.csv"]
    with (fresh / "out").open("w") as out:
        running = subprocess.Popen(
            command, cwd=fresh, stdout=out, stderr=out, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
    metrics = fresh / "s" / "job" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.read_text().count("\n") > 3):
        assert running.poll() is None, (fresh / "out").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    os.kill(submitted(fresh), signal.SIGUSR2)
    assert running.wait(timeout=120) == 0, (fresh / "out").read_text()
    said = "".join(path.read_text(errors="replace") for path in (fresh / "s" / ".submitit").rglob("*.out"))
    assert "Resuming after update" in said
    updates = [line["update"] for line in plain(metrics)]
    assert updates == list(range(1, 301))


def submitted(folder: Path) -> int:
    """The process that works on the job that was submitted in ``folder``."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                arguments = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"submitit.core._submit" in arguments and any(str(folder).encode() in part for part in arguments):
                return int(entry.name)
    raise AssertionError("no job is running")
