"""SIGKILL at chosen moments, then the same command again: the same bits as a run that was never killed."""

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
from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
COMMAND = [
    sys.executable,
    str(ROOT / "src/train.py"),
    "model=textcnn",
    "model.filters=16",
    "data.size=600",
    "encoding.vocab_size=400",
    "encoding.max_length=96",
    "train.epochs=3",
    "train.batch_size=8",
    "train.accumulation=2",
    "train.log_every=1",
    "train.checkpoint_updates=3",
    "hardware.precision=fp32",
    "report.plots=false",
]
UPDATES_PER_EPOCH = 27  # 420 training functions in effective batches of 16, the last one partial
SECONDS = 120


def start(folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*COMMAND, f"hydra.run.dir={folder}", f"paths.cache={folder.parent / 'cache'}"]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def reached(folder: Path) -> int:
    """The last update that the run has logged."""
    path = folder / "metrics.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    return int(json.loads(lines[-1])["update"]) if lines and lines[-1].endswith("}") else 0


def kill_when(folder: Path, ready: Callable[[], bool]) -> None:
    process = start(folder)
    try:
        deadline = time.monotonic() + SECONDS
        while not ready():
            assert process.poll() is None, "the run ended before the moment to kill it"
            assert time.monotonic() < deadline
            time.sleep(0.002)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()


def finish(folder: Path) -> None:
    process = start(folder)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 0, errors.decode()


def read(folder: Path, name: str) -> Any:
    return json.loads((folder / name).read_text())


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_times(item) for key, item in value.items() if key not in ("seconds", "samples", "seal")}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def lines(folder: Path) -> list[Any]:
    return [without_times(json.loads(line)) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody interrupts."""
    folder = tmp_path_factory.mktemp("kill") / "whole"
    finish(folder)
    return folder


def test_a_killed_run_ends_in_the_same_bits(whole: Path, tmp_path: Path) -> None:
    killed = tmp_path / "killed"
    kill_when(killed, lambda: reached(killed) >= 4)  # within warm-up, between two checkpoints
    kill_when(killed, lambda: reached(killed) >= 17)  # twice in one epoch
    kill_when(killed, lambda: len(read(killed, "training_history.json")["epochs"]) >= 1)  # at an epoch's end
    kill_when(killed, lambda: reached(killed) >= 2 * UPDATES_PER_EPOCH + 8)
    finish(killed)

    # Learning rates, losses and gradient norms of every update, in order: nothing lost, nothing done twice.
    assert lines(killed) == lines(whole)
    assert [line["update"] for line in lines(whole)] == list(range(1, 3 * UPDATES_PER_EPOCH + 1))
    assert without_times(read(killed, "training_history.json")) == without_times(read(whole, "training_history.json"))
    assert without_times(read(killed, "result.json")) == without_times(read(whole, "result.json"))
    for split in ("valid", "test"):
        name = f"predictions_{split}.parquet"
        assert (killed / name).read_bytes() == (whole / name).read_bytes()
    for checkpoint in ("best", "last"):
        name = f"checkpoints/{checkpoint}/model.safetensors"
        weights, expected = load_file(killed / name), load_file(whole / name)
        assert all(weights[key].equal(expected[key]) for key in expected)


def test_the_same_command_twice_gives_the_same_bits(whole: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    finish(again)
    assert lines(again) == lines(whole)
    for name in ("checkpoints/best/model.safetensors", "predictions_test.parquet"):
        assert (again / name).read_bytes() == (whole / name).read_bytes()


# The long version is a hundred kills over nine kinds of run: docs/runs.md.
@pytest.mark.skipif(not hasattr(os, "fork"), reason="runs are forked")
def test_random_kills_of_a_run_that_collapses(tmp_path: Path) -> None:
    options = ["--kills", "4", "--seed", "1", "--only", "transformer-stopped", "--folder", str(tmp_path / "runs")]
    command = [sys.executable, str(ROOT / "benchmarks" / "kill.py"), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stdout + done.stderr
    row, last = done.stdout.splitlines()[-2:]
    assert row.startswith("transformer-stopped")
    assert row.endswith("yes")
    assert last.startswith("4 kills, ")
    assert "; 0 failures; " in last
