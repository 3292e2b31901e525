"""One attempt of a run that may be killed, and what lies in its folder: for ``kill.py``."""

from __future__ import annotations

import importlib
import json
import os
import pkgutil
import re
import signal
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TRAIN = ROOT / "src" / "train.py"
PATIENCE = 300.0
"""Seconds after which an attempt hangs."""


def import_everything() -> None:
    """All that an attempt needs, without a computation: there is no thread when a child is forked."""
    os.environ["OMP_NUM_THREADS"] = "1"
    package = importlib.import_module("counterpoise")
    for module in pkgutil.walk_packages(package.__path__, "counterpoise."):
        importlib.import_module(module.name)


class Attempt:
    """``src/train.py`` in a process group of its own, beginning or continuing a run.

    Args:
        run: the run folder; called in the one around it, where the log and the cache go too.
        overrides: of the config.
        fresh: whether it is a new process rather than a child of this one.
    """

    code = 0
    """Of its exit, when it has ended."""
    said = ""
    """The end of what it printed."""
    killed = False
    """Whether :meth:`kill` found it alive."""
    fault = ""
    """That there was a traceback in it, or that it hangs."""

    def __init__(self, run: Path, overrides: Sequence[str], *, fresh: bool) -> None:
        self.run = run
        self.ended = False
        self._log = run.with_suffix(".log")
        self._before = self._log.stat().st_size if self._log.exists() else 0
        command = [str(TRAIN), *overrides, f"hydra.run.dir={run.name}", f"paths.cache={run.name}.cache"]
        self._process = os.fork()
        if self._process == 0:
            _become(command, run.parent, self._log, fresh)
        with suppress(OSError):  # the child does so too; who comes second may be refused
            os.setpgid(self._process, self._process)

    def __str__(self) -> str:
        return f"exit code {self.code}, {self.fault or 'no traceback'}:\n{self.said}"

    def wait(self, moment: Callable[[], bool], pause: float = 0.001) -> None:
        """Return at a moment, or when the process has ended."""
        deadline = time.monotonic() + PATIENCE
        while not self._has_ended() and not moment():
            if time.monotonic() > deadline:
                self.kill()
                self.fault = f"still running after {PATIENCE:g} seconds"
            time.sleep(pause)

    def sleep(self, seconds: float) -> None:
        """Return after some time, or when the process has ended."""
        end = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= end)

    def kill(self) -> None:
        """Send SIGKILL to the process group, unless it has ended."""
        if not self._has_ended():
            os.killpg(self._process, signal.SIGKILL)
            self._judge(os.waitpid(self._process, 0)[1])
            self.killed = self.code == -signal.SIGKILL

    def _has_ended(self) -> bool:
        if not self.ended:
            process, status = os.waitpid(self._process, os.WNOHANG)
            if process:
                self._judge(status)
        return self.ended

    def _judge(self, status: int) -> None:
        self.ended = True
        self.code = os.waitstatus_to_exitcode(status)
        said = self._log.read_bytes()[self._before :].decode(errors="replace") if self._log.exists() else ""
        self.said = said[-3000:]
        if "Traceback" in said:
            self.fault = "a traceback"


def _become(command: list[str], home: Path, log: Path, fresh: bool) -> None:
    """Turn this child into the command; never returns."""
    code = 1
    try:
        with suppress(OSError):
            os.setpgid(0, 0)
        output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(output, 1)
        os.dup2(output, 2)
        os.chdir(home)
        if fresh:
            os.execv(sys.executable, [sys.executable, *command])
        sys.argv = command
        code = importlib.import_module("counterpoise.cli.train").train(ROOT / "conf")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


# What lies in a run folder


def mark(path: Path) -> tuple[int, int]:
    """Another one whenever the file was replaced or written to."""
    try:
        found = path.stat()
    except FileNotFoundError:
        return 0, 0
    return found.st_ino, found.st_mtime_ns


def epochs_of(run: Path) -> int:
    try:
        return len(json.loads((run / "training_history.json").read_text())["epochs"])
    except FileNotFoundError:
        return 0


def unfinished(run: Path) -> set[tuple[str, int]]:
    """What only a write that is under way leaves, as path in the run folder and inode; a missing ``last`` too."""
    names = re.compile(r"\.(.+\.(writing|linking|retired|[0-9a-f]{8})|trial)")
    paths = [path for path in run.rglob(".*") if names.fullmatch(path.name)]
    left = {(str(path.relative_to(run)), path.stat().st_ino) for path in paths}
    previous = run / "checkpoints" / "previous"
    if previous.exists() and not (run / "checkpoints" / "last").exists():
        left.add(("checkpoints/last", previous.stat().st_ino))
    return left


def differences(whole: Path, killed: Path) -> list[str]:
    """What is not the same in the folders of two finished runs, times aside, and in their mirrors, if they have any."""
    names, others = ({str(path.relative_to(run)) for path in run.rglob("*")} for run in (whole, killed))
    found = [f"{name} is missing" for name in sorted(names - others)]
    found += [f"{name} should not be there" for name in sorted(others - names)]
    pointers = [run.parent / "store" / run.name / "mirror.json" for run in (whole, killed)]
    if pointers[0].exists() and len({json.loads(pointer.read_text())["update"] for pointer in pointers}) > 1:
        found.append("the mirror holds another update")
    both = [name for name in sorted(names & others) if (whole / name).is_file()]
    return found + [f"{name} differs" for name in both if _content(whole / name) != _content(killed / name)]


def _content(path: Path) -> Any:
    """What must be the same bit for bit."""
    if path.name in ("training.log", "training_metadata.json") or path.parent.name == ".hydra":
        return None  # they hold times and the names of folders
    if path.name == "state.pt":
        torch, jsonio = importlib.import_module("torch"), importlib.import_module("counterpoise.jsonio")
        return _without_times(jsonio.to_plain(torch.load(path, weights_only=True)))
    if path.name == "metrics.jsonl":
        return [_without_times(json.loads(line)) for line in path.read_text().splitlines()]
    return _without_times(json.loads(path.read_text())) if path.suffix == ".json" else path.read_bytes()


def _without_times(value: Any) -> Any:
    """Without what depends on the clock, or on where a process began: ``samples`` are those of the process."""
    aside = ("seconds", "samples", "checksums", "seal", "mirror", "measured_at", "cached")
    if isinstance(value, dict):
        return {key: _without_times(item) for key, item in value.items() if key not in aside}
    return [_without_times(item) for item in value] if isinstance(value, list) else value
