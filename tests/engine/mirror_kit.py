"""Runs with a mirror, for the tests of the mirror: in memory, in a folder, on a server."""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import pytest
from engine_kit import Recorder, Setup, ToySplit

from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.engine.keeper import Keeper
from counterpoise.engine.mirror import Mirror, MirrorConfig, NoMirror
from counterpoise.engine.remote import POINTER, Remote
from counterpoise.engine.restore import open_mirror, restore
from counterpoise.engine.trainer import Trainer
from counterpoise.jsonio import write_json
from counterpoise.storage import Storage
from counterpoise.tracking.files import FileRecorder
from counterpoise.tracking.folder import RunFolder

SETUP = Setup(samples=8, epochs=3, checkpoint_updates=1, batch_size=4)
UPDATES = 6
METADATA = {"config": {"seed": 1}, "plan": {"total_updates": UPDATES}, "data_fingerprint": "abc"}
HURRY: dict[str, Any] = {"attempts": 2, "backoff": 0.0, "timeout": 20.0, "wait": 20.0}


def mirror_of(folder: Path, url: str = "memory://store", **changes: Any) -> Mirror:
    mirror = open_mirror(MirrorConfig(url=url, **{**HURRY, **changes}), folder)
    assert isinstance(mirror, Mirror)
    return mirror


def begin(folder: Path, metadata: Any = METADATA) -> RunFolder:
    run = RunFolder(folder)
    if not run.metadata.exists():
        (folder / ".hydra").mkdir(parents=True)
        (folder / ".hydra" / "overrides.yaml").write_text("- seed=1\n")
        write_json(run.metadata, metadata)
    return run


def fit(folder: Path, mirror: NoMirror, *observers: Any) -> Trainer:
    """One run in one process, as a command has it."""
    with mirror:
        restore(mirror, RunFolder(folder), METADATA)
        run = begin(folder)
        storage = Storage(folder, 0.0)
        trainer = SETUP.trainer(FileRecorder(run, storage), *observers)
        keeper = Keeper(CheckpointStore(run.checkpoints), storage, mirror.offer)
        trainer.checkpoints = trainer.state.checkpoints = keeper  # type: ignore[assignment]
        trainer.fit(SETUP.loader(), ToySplit(15, 1))
    return trainer


def metrics(folder: Path) -> list[Any]:
    """What ``metrics.jsonl`` says, wall times and what is counted anew after a resumption aside."""
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("seconds", "samples")} for line in lines]


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


def is_whole(remote: Remote, into: Path) -> bool:
    """Whether everything that the pointer names is there as it says, and nothing else."""
    pointer = remote.pointer()
    assert pointer is not None
    shutil.rmtree(into, ignore_errors=True)
    remote.fetch(pointer, into)
    there = {str(path).rsplit("/", 1)[-1] for path in remote.fs.ls(remote.root, detail=False)}
    return there == {*pointer.generations, POINTER}


class Sender(Recorder):
    """Waits before each update until what was saved is sent, so that a test knows what the store holds."""

    def __init__(self, mirror: Mirror) -> None:
        super().__init__()
        self.mirror = mirror

    def on_update(self, event: Any) -> None:
        with self.mirror._change:
            assert self.mirror._change.wait_for(self.mirror._idle, timeout=20)
