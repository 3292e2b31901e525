"""Trackers that misbehave, what they are told, and a run that tells them."""

from __future__ import annotations

import atexit
import json
import logging
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from counterpoise.config.targets import Component
from counterpoise.events import CONTINUE, EpochEvent, UpdateEvent
from counterpoise.jsonio import write_json
from counterpoise.tracking.base import Tracker, TrackerConfig
from counterpoise.tracking.relay import Trackers

LONG = 600.0
"""Seconds that what hangs would hang."""
METADATA = {
    "config": {
        "model": {"_target_": "counterpoise.models.textcnn.TextCNN", "sizes": [3, 4], "pretrained": None},
        "data": {"_target_": "counterpoise.data.sources.table.Table", "path": ""},
        "seed": 7,
        "fold": None,
        "tracker": {"mlflow": {"uri": "http://user:password@host"}},
    },
    "plan": {"lr": 1e-3},
    "machine": {"torch": "2"},
    "data_fingerprint": "abc",
    "sweep": None,
}


@dataclass(frozen=True, kw_only=True)
class KitConfig(TrackerConfig):
    """Shorter than anybody would choose."""

    timeout: float = 20.0
    wait: float = 20.0
    how: str = ""
    """What goes wrong."""


class Recording(Tracker):
    """Writes down what it is told, one line each."""

    Config = KitConfig

    def __init__(self, config: KitConfig, folder: Path) -> None:
        super().__init__(config, folder)
        (folder / "pid").write_text(str(os.getpid()))
        self._file = (folder / "seen").open("a")

    def note(self, *what: Any) -> None:
        self._file.write(repr(what) + "\n")
        self._file.flush()

    def on_start(self, plan: Mapping[str, Any]) -> None:
        self.note("start", plan["position"]["update"], len(plan["history"]))

    def on_update(self, event: UpdateEvent) -> None:
        self.note("update", event)

    def on_epoch(self, event: EpochEvent) -> None:
        self.note("epoch", event.epoch)

    def on_result(self, result: Mapping[str, Any]) -> None:
        self.note("result", result["status"])

    def on_end(self, status: str) -> None:
        self.note("end", status)


class Failing(Recording):
    """Does what ``how`` says."""

    def __init__(self, config: KitConfig, folder: Path) -> None:
        super().__init__(config, folder)
        if config.how == "crash":
            os._exit(3)
        if config.how == "abort":
            os.abort()
        if config.how == "refuse":
            raise SystemExit("not today")
        if config.how == "exit":
            atexit.register(time.sleep, LONG)
            threading.Thread(target=time.sleep, args=(LONG,)).start()

    def on_update(self, event: UpdateEvent) -> None:
        super().on_update(event)
        if self.config.how == "raise" and event.update == 2:
            raise ConnectionError("nobody\nthere.")
        if self.config.how == "print":
            os.write(1, b"half a line")
            os.write(2, b"from below\n")
            logging.getLogger("counterpoise.kit").warning("mind the gap")
        if self.config.how == "chat":
            os.write(1, b"\n\x1eno answer\n//me:hidden@host\nhttp://me:hidden@host\n" + b"chatter\n" * 2000)
            os.write(1, b"x" * 100_000)
        if self.config.how == "chatter" and event.update == 2:
            while True:
                time.sleep(0.1)
                os.write(1, b"chatter\n")
        if self.config.how == "hang" and event.update == 2:
            time.sleep(LONG)

    def on_end(self, status: str) -> None:
        super().on_end(status)
        if self.config.how == "end":
            time.sleep(LONG)


def relayed(folder: Path, target: type = Recording, name: str = "kit", **config: Any) -> Trackers:
    """One tracker beside a run in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    return Trackers({name: Component(target, target.Config(**config))}, folder)  # type: ignore[attr-defined]


def plan(update: int = 0, **more: Any) -> dict[str, Any]:
    """Of a run that begins, or goes on after ``update``."""
    return {"position": {"update": update, "consumed": update}, "history": [], "alarms": [], "rescues": [], **more}


def update(number: int, loss: float = 0.5, **more: Any) -> UpdateEvent:
    figures = {"mean_loss": 0.5, "largest_grad_norm": 0.5, "component_grad_norms": {"head": 0.25}}
    return UpdateEvent(number, 0, loss, 1e-3, 0.5, 8, 1.0, **figures, **more)  # type: ignore[arg-type]


def epoch(number: int, at: int) -> EpochEvent:
    valid = {"f1": 0.5, "note": "x", "flag": True, "per_class": {"a/ü?": {"predicted_share": 0.25}}}
    return EpochEvent(number, at, 0.6, 1.0, 1e-3, valid, 0.5, True, 1.0, {"head": 2.0})


RESULT = {"status": "finished", "updates": 4, "valid": {"f1": 0.5}, "test": {"f1": 0.25, "per_class": {}}}


def told(tracker: Any, first: int = 1, last: int = 4) -> None:
    """A whole run, from update ``first`` to ``last``, with one epoch."""
    tracker.on_start(plan(first - 1))
    for number in range(first, last + 1):
        tracker.on_update(update(number, number / 10))
    tracker.on_epoch(epoch(0, last))
    tracker.on_finish(CONTINUE)
    tracker.on_result(RESULT)


def warned(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING]


def seen(folder: Path) -> list[Any]:
    """What a ``Recording`` tracker wrote down."""
    path = folder / "seen"
    events = {"UpdateEvent": UpdateEvent, "nan": float("nan"), "inf": float("inf")}
    return [eval(line, events) for line in path.read_text().splitlines()] if path.exists() else []


def until(condition: Any, seconds: float = 20.0) -> None:
    """Wait for it."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def alive(pid: int) -> bool:
    """Whether a process is there, and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def run_folder(folder: Path, **metadata: Any) -> Path:
    """A run's folder at its end, with little in it."""
    (folder / "checkpoints" / "best").mkdir(parents=True)
    (folder / "checkpoints" / "best" / "model.safetensors").write_bytes(b"weights")
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text("seed: 7\n")
    write_json(folder / "training_metadata.json", METADATA | metadata)
    (folder / "result.json").write_text(json.dumps(RESULT))
    return folder


def raising(trackers: Trackers, error: BaseException, *, whole: bool = False) -> None:
    """A run that ends by an error, after its start or after everything."""
    with trackers:
        if whole:
            told(trackers)
        else:
            trackers.on_start(plan())
        raise error


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """What is inside takes no longer."""
    started = time.monotonic()
    yield
    assert time.monotonic() - started < seconds
