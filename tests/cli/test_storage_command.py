"""``python src/train.py`` on a disk that fails, and with a mirror: exit codes, messages, and the way back."""

from __future__ import annotations

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_command import SMALL, TRAIN, Answer
from safetensors.torch import load_file

from counterpoise import storage
from counterpoise.cli.exits import EXIT_FAULT, EXIT_OK, EXIT_USER
from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.jsonio import read_json
from counterpoise.tracking import folder as run_folder

MANY = ("train.epochs=3", "train.batch_size=8", "train.log_every=1", "train.checkpoint_updates=1")


def full(*_: Any, **__: Any) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        ignored = ("seconds", "samples", "mirror", "seal")
        return {key: without_times(item) for key, item in value.items() if key not in ignored}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def lines(folder: Path) -> list[Any]:
    return [without_times(json.loads(line)) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def assert_same_runs(one: Path, other: Path) -> None:
    assert lines(one) == lines(other)
    for name in ("training_history.json", "result.json"):
        assert without_times(read_json(one / name)) == without_times(read_json(other / name))
    assert (one / "predictions_test.parquet").read_bytes() == (other / "predictions_test.parquet").read_bytes()
    for name in ("checkpoints/best/model.safetensors", "checkpoints/last/model.safetensors"):
        weights, expected = load_file(one / name), load_file(other / name)
        assert all(weights[key].equal(expected[key]) for key in expected)


@pytest.fixture(scope="module")
def whole(workplace: Path, quiet: Callable[..., Answer]) -> Path:
    """The folder of a run that nothing disturbs."""
    assert quiet(workplace, *SMALL, *MANY, "hydra.run.dir=whole").code == EXIT_OK
    return workplace / "whole"


def test_a_disk_that_stays_full_ends_the_run_with_one_message_and_the_run_goes_on_later(
    train: Callable[..., Answer], fresh: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        original, calls = CheckpointStore.save_last, iter(range(99))
        patch.setattr(CheckpointStore, "save_last", lambda *a, **k: original(*a, **k) if next(calls) < 5 else full())
        answer = train(*SMALL, *MANY, "hydra.run.dir=run", "train.storage_wait=0", folder=fresh)
    assert answer.code == EXIT_FAULT
    assert "Traceback" not in answer.err
    said = answer.err.splitlines()
    assert sum("Training goes on" in line for line in said) == 1
    assert said[-1].startswith("The disk failed. run: could not be written: checkpoint last (No space left on device).")
    assert "python src/train.py resume=run. The checkpoint of update 5 (last) is whole" in said[-1]
    assert read_json(fresh / "run" / "failure.json")["traceback"] == ""
    assert train("resume=run", folder=fresh).code == EXIT_OK
    assert_same_runs(fresh / "run", whole)
    assert not (fresh / "run" / "failure.json").exists()


@pytest.mark.parametrize("name", ["keep", "write_sealed"])
def test_results_wait_for_the_disk(
    name: str, train: Callable[..., Answer], fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterpoise import job

    original, calls = getattr(job, name), iter(range(99))
    monkeypatch.setattr(job, name, lambda *a: original(*a) if next(calls) > 2 else full())
    monkeypatch.setattr(storage, "POLL", 0.0)
    answer = train(*SMALL, "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_OK
    assert "Training has ended, but not everything could be written" in answer.err
    assert answer.err.rstrip().endswith("Writing works again: nothing waits any longer.")
    assert read_json(fresh / "run" / "result.json")["status"] == "finished"


@pytest.mark.parametrize("name", ["_try_out", "write_json"])
def test_a_folder_that_cannot_be_written_at_the_start_is_the_users_mistake(
    name: str, train: Callable[..., Answer], fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(run_folder, name, full)
    answer = train(*SMALL, "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_USER
    assert "the run folder cannot be written: [Errno 28] No space left on device. Free some space" in answer.err
    assert not (fresh / "run").exists(), "nothing half-written"


def test_a_job_on_a_full_disk_does_not_end_the_others(
    train: Callable[..., Answer], fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = CheckpointStore.save_last
    refuse = lambda self, *a, **k: full() if "seed_1" in str(self.folder) else original(self, *a, **k)  # noqa: E731
    monkeypatch.setattr(CheckpointStore, "save_last", refuse)
    answer = train("-m", *SMALL, "seed=1,2", "train.storage_wait=0", "hydra.sweep.dir=s", folder=fresh)
    assert answer.code == EXIT_FAULT
    assert "Traceback" not in answer.err
    states = {Path(job["folder"]).name: job["status"] for job in read_json(fresh / "s" / "summary.json")["jobs"]}
    assert states == {"seed_1": "failed", "seed_2": "finished"}


# The mirror.


def kill_when(ready: Callable[[], bool], folder: Path, *arguments: str) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen([sys.executable, str(TRAIN), *arguments], cwd=folder, env=environment) as running:
        try:
            deadline = time.monotonic() + 60
            while not ready():
                assert running.poll() is None, "the run ended before the moment to kill it"
                assert time.monotonic() < deadline
                time.sleep(0.002)
        finally:
            running.send_signal(signal.SIGKILL)


def mirrored(place: Path) -> int:
    """The update that the store holds."""
    try:
        return int(read_json(place / "mirror.json")["update"])
    except FileNotFoundError:
        return -1


def test_a_killed_run_whose_folder_is_gone_ends_in_the_same_bits(
    train: Callable[..., Answer], fresh: Path, whole: Path
) -> None:
    command = [*SMALL, *MANY, "hydra.run.dir=outputs/run", f"mirror.url=file://{fresh}/store"]
    place = fresh / "store" / "outputs" / "run"
    kill_when(lambda: mirrored(place) >= 7, fresh, *command)
    shutil.rmtree(fresh / "outputs")
    shutil.copytree(fresh / "store", fresh / "copy")

    answer = train(*command, folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert "Restored update" in answer.out
    assert answer.err == ""
    assert_same_runs(fresh / "outputs" / "run", whole)

    shutil.rmtree(fresh / "outputs")  # and by its URL alone
    shutil.rmtree(fresh / "store")
    (fresh / "copy").rename(fresh / "store")
    answer = train(f"resume=file://{place}", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert "Resuming after update" in answer.out
    assert_same_runs(fresh / "outputs" / "run", whole)
    facts = read_json(fresh / "outputs" / "run" / "result.json")["mirror"]
    assert facts["update"] == mirrored(place) == len(lines(whole))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nope", "mirror.url: 'nope' is no URL of a store. Expected one such as s3://bucket/prefix or file:///folder."),
        ("nope://x", "mirror.url: nope:// is no kind of store. Stores are file, local, memory, s3, s3a, gs"),
    ],
)
def test_a_wrong_url_is_a_mistake(url: str, expected: str, train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*SMALL, "hydra.run.dir=run", f"mirror.url={url}", folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.problems[0].startswith(expected)
    assert not (fresh / "run").exists()


def test_nothing_to_resume_is_a_mistake(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(f"resume=file://{fresh}/store/outputs/run", folder=fresh)
    assert answer.code == EXIT_USER
    assert f"there is no run at file://{fresh}/store/outputs/run" in answer.problems[0]


def test_the_mirrors_name_does_not_change_a_multiruns(train: Callable[..., Answer], fresh: Path) -> None:
    for url in ("a", "b"):
        answer = train("-m", *SMALL, "seed=1", f"mirror.url=file://{fresh}/{url}", folder=fresh)
        assert answer.code == EXIT_OK, answer
    (sweep,) = (fresh / "multirun").iterdir()
    assert len(list((fresh / "a" / "multirun" / sweep.name).glob("*/mirror.json"))) == 1
    assert not (fresh / "b").exists(), "the run had finished already"
