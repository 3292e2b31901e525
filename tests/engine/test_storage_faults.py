"""A disk that fails at any write of a run: nothing is lost if it comes back, and the run can be resumed if not."""

from __future__ import annotations

import errno
import json
import logging
import os
import resource
import subprocess
import tempfile
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from disk_faults import FOREVER, KINDS, Disk, failing
from engine_kit import Setup, ToySplit, assert_same_bits, final_state, leaves
from torch import nn

from counterpoise import storage as storage_module
from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.engine.keeper import Keeper, Weights
from counterpoise.engine.trainer import Trainer
from counterpoise.errors import StorageError, UserError
from counterpoise.jsonio import read_json
from counterpoise.storage import Storage
from counterpoise.tracking.appending import LogFile
from counterpoise.tracking.files import FileRecorder
from counterpoise.tracking.folder import RunFolder

# The rate makes the metric get better in every epoch, so that each has best weights to write.
SETUP = Setup(samples=4, epochs=3, checkpoint_updates=0, batch_size=4)
LINES = 3
STEP = 4
"""Each position is tried with one kind of fault: those of a kind stand that far apart."""
BEFORE = 5
"""Writes before the run: folder and lock."""


class Run:
    """One run in one process, with everything that writes as a command has it."""

    def __init__(self, folder: Path, wait: float = 0.0) -> None:
        self.folder = RunFolder(folder)
        self.storage = Storage(folder, wait)
        self.trainer: Trainer | None = None

    def fit(self) -> Trainer:
        with self.folder.held(), LogFile(self.folder.log, self.storage):
            logging.getLogger("test").info("begins")
            self.trainer = SETUP.trainer(FileRecorder(self.folder, self.storage))
            keeper = Keeper(CheckpointStore(self.folder.checkpoints), self.storage)
            self.trainer.checkpoints = self.trainer.state.checkpoints = keeper  # type: ignore[assignment]
            self.trainer.fit(SETUP.loader(), ToySplit(15, 1))
            logging.getLogger("test").info("ends")
            self.storage.settle()
        return self.trainer


def without_times(path: Path) -> list[Any]:
    """The lines of ``metrics.jsonl``, wall times and what is counted anew after a resumption aside."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "samples")} for line in lines]


def compare(trainer: Trainer, whole: Trainer, folder: Path, expected: Path) -> None:
    assert_same_bits(final_state(trainer), final_state(whole))
    assert without_times(folder / "metrics.jsonl") == without_times(expected / "metrics.jsonl")
    histories = [read_json(f / "training_history.json")["epochs"] for f in (folder, expected)]
    epochs, known = ([epoch["update"] for epoch in history] for history in histories)
    assert epochs == known
    for name in ("best", "last"):
        first, second = (read_json(f / "checkpoints" / name / "manifest.json") for f in (folder, expected))
        assert first["position"] == second["position"]
        assert first["checksums"]["model.safetensors"] == second["checksums"]["model.safetensors"]
    hidden = [path for path in folder.rglob(".*") if path.name != ".lock"]
    assert not hidden, "temporary files are removed"


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.setattr(storage_module, "POLL", 0.0)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trainer, Path, int]:
    """An undisturbed run, its folder, and how much it writes."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    with failing(Disk(folder)) as disk:
        trainer = Run(folder).fit()
    assert len(without_times(folder / "metrics.jsonl")) == LINES
    return trainer, folder, disk.calls


@pytest.mark.parametrize("kind", KINDS, ids=errno.errorcode.get)
def test_a_fault_that_passes_changes_nothing(
    kind: int, whole: tuple[Trainer, Path, int], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer, expected, writes = whole
    for first in range(1 + KINDS.index(kind), writes + 1, STEP):
        folder, length = tmp_path / str(first), 1 if first % 8 < 4 else 7
        caplog.clear()
        with failing(Disk(folder, first, length, kind)) as disk:
            try:
                found = Run(folder, wait=60.0).fit()
            except UserError:  # before the run, which is the user's mistake
                assert first < BEFORE
                continue
        assert disk.failed
        compare(found, trainer, folder, expected)
        told = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        for message in ("could not be written to", "works again"):
            assert sum(message in line and "either" not in line for line in told) <= length, told
        log = (folder / "training.log").read_text()
        assert [line.split("test: ")[1] for line in log.splitlines() if "test: " in line] == ["begins", "ends"]


@pytest.mark.parametrize("kind", KINDS, ids=errno.errorcode.get)
def test_a_fault_that_stays_leaves_what_can_be_resumed(
    kind: int, whole: tuple[Trainer, Path, int], tmp_path: Path
) -> None:
    trainer, expected, writes = whole
    for first in range(3 + KINDS.index(kind), writes + 1, 3 * STEP):
        folder = tmp_path / str(first)
        with failing(Disk(folder, first, FOREVER, kind)) as disk:
            run = Run(folder)
            with pytest.raises((StorageError, UserError)) as caught:
                run.fit()
        assert disk.failed
        assert isinstance(caught.value, StorageError) or first < BEFORE
        if run.trainer is not None:  # training itself came to its end, with the bits it should have
            assert os.strerror(kind) in str(caught.value)
            assert f"resume={folder}" in str(caught.value)
            assert_same_bits(final_state(run.trainer), final_state(trainer))
        compare(Run(folder).fit(), trainer, folder, expected)


def test_it_is_said_once_what_to_do_and_once_that_it_works(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, whole: tuple[Trainer, Path, int]
) -> None:
    with failing(Disk(tmp_path / "run", 20, 40, errno.ENOSPC)), caplog.at_level(logging.WARNING):
        Run(tmp_path / "run", wait=60.0).fit()
    told = [record.getMessage() for record in caplog.records]
    (first,) = [line for line in told if "Training goes on" in line]
    assert "No space left on device" in first
    assert "Free some space" in first
    assert str(tmp_path / "run") in first
    assert len(told) == len(set(told))
    assert told[-1] == "Writing works again: nothing waits any longer."


def test_best_weights_that_wait_are_those_of_their_epoch() -> None:
    model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3), "n": nn.BatchNorm1d(3)})
    model["b"].weight = model["a"].weight
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    kept = Weights(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1.0)
    assert_same_bits(dict(kept.state_dict()), before)
    assert kept.state_dict()["a.weight"].data_ptr() == kept.state_dict()["b.weight"].data_ptr()


def test_best_weights_that_wait_are_written_as_others_are(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4), nn.Linear(4, 4, bias=False))
    model[2].weight = model[0].weight  # one pair: safetensors writes the names of several in any order
    for name, weights in (("one", model), ("other", Weights(model))):
        CheckpointStore(tmp_path / name).save_best(weights, {})
    one, other = (tmp_path / name / "best" / "model.safetensors" for name in ("one", "other"))
    assert one.read_bytes() == other.read_bytes()


# ``last`` speaks of the best epoch: a run that is resumed from it must find that epoch's weights.
def test_no_checkpoint_speaks_of_best_weights_that_are_nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    store = CheckpointStore(tmp_path)
    keeper = Keeper(store, Storage(tmp_path, 0.0))
    model = nn.Linear(2, 2)
    with monkeypatch.context() as patch:
        patch.setattr(store, "save_best", refuse)
        keeper.save_best(model, {"update": 1})
        keeper.save_last(model, dict, lambda: {"update": 1})
        assert keeper.newest() is None
        assert keeper.storage.waiting == ["best weights", "checkpoint last"]
        with pytest.raises(StorageError, match=r"could not be written: best weights, checkpoint last \(No space"):
            keeper.settle()
    keeper.save_last(model, dict, lambda: {"update": 2})
    assert keeper.storage.waiting == []
    assert keeper.best() is not None
    assert keeper.newest() is not None


# Real disks.


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 256 KiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let tests mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def test_a_disk_that_is_full_and_stays_full(small_disk: Path, whole: tuple[Trainer, Path, int]) -> None:
    trainer, expected, _ = whole
    folder = small_disk / "run"
    folder.mkdir()
    fill(small_disk / "other")
    with pytest.raises(StorageError, match=r"No space left on device.*Free some space.*the run begins anew"):
        Run(folder).fit()
    (small_disk / "other").unlink()
    compare(Run(folder).fit(), trainer, folder, expected)


def test_a_disk_that_gets_full_and_is_cleared_while_the_end_waits(
    small_disk: Path, whole: tuple[Trainer, Path, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, expected, _ = whole
    folder = small_disk / "run"
    original = Keeper.save_best

    def get_full(self: Keeper, model: nn.Module, position: Any) -> None:
        fill(small_disk / "other")
        original(self, model, position)

    monkeypatch.setattr(Keeper, "save_best", get_full)
    monkeypatch.setattr(storage_module.time, "sleep", lambda _: (small_disk / "other").unlink(missing_ok=True))
    compare(Run(folder, wait=60.0).fit(), trainer, folder, expected)


def in_a_process(action: Callable[[], None]) -> None:
    """Run ``action`` in a child of this process: it may give up rights, which cannot be taken back."""
    child = os.fork()
    if child == 0:
        try:
            action()
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_limit_on_file_sizes(tmp_path: Path, whole: tuple[Trainer, Path, int]) -> None:
    trainer, expected, _ = whole
    folder = tmp_path / "run"

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (600, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))
        with pytest.raises(StorageError, match=r"File too large.*ulimit"):
            Run(folder).fit()

    in_a_process(limited)
    compare(Run(folder).fit(), trainer, folder, expected)


@pytest.fixture
def anyones() -> Iterator[Path]:
    """A folder that every user may write to; pytest's own are the tester's alone."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o777)
        yield Path(name)


def test_permission_that_is_lost_in_mid_run(anyones: Path, whole: tuple[Trainer, Path, int]) -> None:
    trainer, expected, _ = whole
    folder = anyones / "run"
    original = Keeper.save_best

    def lose(self: Keeper, model: nn.Module, position: Any) -> None:
        if position["epoch"] > 1:  # the first checkpoint is there
            (folder / "checkpoints").chmod(0o500)
        original(self, model, position)

    def as_nobody() -> None:
        if os.getuid() == 0:  # whom no permission binds
            os.setgid(65534)
            os.setuid(65534)
        Keeper.save_best = lose  # type: ignore[method-assign]
        with pytest.raises(StorageError, match=r"Permission denied.*chmod u\+w.*checkpoint of update 1 "):
            Run(folder).fit()
        (folder / "checkpoints").chmod(0o700)

    in_a_process(as_nobody)
    compare(Run(folder).fit(), trainer, folder, expected)


def test_what_is_compared_is_not_empty(whole: tuple[Trainer, Path, int]) -> None:
    assert len(dict(leaves(final_state(whole[0])))) > 30
    assert replace(SETUP).loader().updates_per_epoch * SETUP.epochs == LINES
    assert whole[2] > 100
