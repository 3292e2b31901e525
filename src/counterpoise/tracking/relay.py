"""Trackers beside a run: each in a process of its own, which training never waits for and which cannot harm it.

A client library costs seconds to import, draws from Python's random numbers, holds the interpreter, and may hang, even
at exit. A process can be killed. Training only puts an event into a queue; two threads do all else.
"""

from __future__ import annotations

import json
import logging
import os
import select
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from copy import deepcopy
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

from counterpoise.addresses import without_credentials
from counterpoise.config import extensions
from counterpoise.config.targets import Component
from counterpoise.errors import PreemptedError, missing_extra
from counterpoise.events import Alarm, BaseObserver, EpochEvent, Rescue, UpdateEvent, Verdict
from counterpoise.tracking.base import TrackerConfig
from counterpoise.tracking.host import CHUNK, MARK
from counterpoise.tracking.log_lines import Lines
from counterpoise.tracking.messages import END, encode

log = logging.getLogger(__name__)

LONGEST_QUEUE = 10_000
"""Events that wait for a tracker; one that is further behind is dropped."""
PREEMPTED_WAIT = 5.0
"""Seconds that a preempted run waits at most: a machine that is taken away gives thirty, and the mirror needs them."""
POLL = 1.0
"""Seconds between two looks at whether a tracker is silent."""
LONGEST_LINE = 1 << 16
"""Bytes of output without a line's end that are kept; they are a line then."""
MOST_LINES = 1000
"""Lines that a library prints and ``training.log`` takes, of each tracker."""
GRACE = 2.0
"""Seconds for a process to end that has been killed, or has said that it is done."""
START = "import json, sys; sys.path[:] = json.loads(sys.argv[1]); from counterpoise.tracking.host import main; main()"
"""The process finds what the run finds. Its extensions come with the first message."""


def check_available(components: Mapping[str, Component]) -> None:
    """Raises ``UserError`` for the first tracker whose package is not installed; none is imported."""
    for name, component in components.items():
        needs = component.target.needs  # type: ignore[attr-defined]
        if needs is not None and find_spec(needs[0]) is None:
            raise missing_extra(f"tracker.{name}", *needs)


class Trackers(BaseObserver):
    """Passes everything on to several trackers; at its end each has its time to send what it still has.

    Args:
        components: trackers by name.
        folder: the run's.
    """

    def __init__(self, components: Mapping[str, Component], folder: Path) -> None:
        self.relays = [Relay(name, component, folder) for name, component in components.items()]
        self._status = ""
        """Of the result; a run that collapsed has one too."""

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """The history in the plan grows while it is sent: it is copied."""
        self._tell("on_start", deepcopy(dict(plan)))

    def on_update(self, event: UpdateEvent) -> None:
        """Pass it on."""
        self._tell("on_update", event)

    def on_epoch(self, event: EpochEvent) -> None:
        """Pass it on."""
        self._tell("on_epoch", event)

    def on_alarm(self, alarm: Alarm, action: str) -> None:
        """Pass it on."""
        self._tell("on_alarm", alarm, action)

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """Pass it on."""
        self._tell("on_rescue", rescue, deepcopy(dict(plan)))

    def on_finish(self, verdict: Verdict) -> None:
        """Pass it on."""
        self._tell("on_finish", verdict)

    def on_result(self, result: Mapping[str, Any]) -> None:
        """Pass it on."""
        self._status = str(result.get("status"))
        self._tell("on_result", result)

    def _tell(self, event: str, *parts: Any) -> None:
        for relay in self.relays:
            relay.tell(event, *parts)

    def close(self, status: str, longest: float) -> None:
        """Tell how the run ends, wait until all is sent, ``longest`` seconds at most, and end every process."""
        deadlines = [(relay, relay.end(status, longest)) for relay in self.relays]
        try:
            for relay, deadline in deadlines:
                relay.wait(deadline)
        finally:  # a user may interrupt the wait
            for relay in self.relays:
                relay.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        preempted = kind is not None and issubclass(kind, PreemptedError | SystemExit | KeyboardInterrupt)
        status = "preempted" if preempted else "finished" if kind is None and self._status == "finished" else "failed"
        self.close(status, PREEMPTED_WAIT if preempted else float("inf"))


class Relay:
    """One tracker's process, and the two threads that write to it and read from it. All start with the first event.

    Args:
        name: of the tracker in the config, for messages.
        component: the tracker.
        folder: the run's.
    """

    def __init__(self, name: str, component: Component, folder: Path) -> None:
        self.name = name
        config, target = component.config, component.target
        self.limits = config if isinstance(config, TrackerConfig) else TrackerConfig()
        self._hello = {
            "module": target.__module__,
            "name": target.__qualname__,
            "config": asdict(config),
            "folder": str(folder.absolute()),
            "wait": self.limits.wait,
            "extensions": extensions.admitted(),
        }
        self._change = threading.Condition()
        self._waiting: deque[tuple[str, float, tuple[Any, ...]]] = deque()
        self._told = self._answered = self._printed = 0
        self._over = self._ending = False
        """Dropped, or through with everything; bounded by the end of the run now, not by ``timeout``."""
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: threading.Thread | None = None

    def tell(self, event: str, *parts: Any) -> None:
        """Leave an event for the writer. Called by the training thread; never raises, never waits."""
        with self._change:
            if self._over:
                return
            full = len(self._waiting) >= LONGEST_QUEUE
            if not full:
                self._waiting.append((event, time.time(), parts))
                self._told += 1
                self._change.notify_all()
        if full:
            self._drop(f"it is {LONGEST_QUEUE} events behind")
        elif self._writer is None:
            self._writer = threading.Thread(
                target=self._guarded, args=(self._write,), name=f"tracker {self.name}", daemon=True
            )
            try:
                self._writer.start()
            except RuntimeError as error:  # the system gives no more threads
                self._drop(str(error))

    def end(self, status: str, longest: float) -> float:
        """Say that no more will come, if anything came; returns the time at which :meth:`wait` gives up."""
        if self._writer is not None:
            self.tell(END, status)
            self._ending = True
        return time.monotonic() + min(self.limits.wait, longest)

    def wait(self, deadline: float) -> None:
        """Wait until everything is sent; what is not by then is given up."""
        with self._change:
            while self._writer is not None and not self._over and (remaining := deadline - time.monotonic()) > 0:
                self._change.wait(remaining)
        if self._writer is not None:
            self._drop(f"it had not sent everything in time (tracker.{self.name}.wait)")

    def kill(self) -> None:
        """End the process and all that it started, and wait until it is gone."""
        process = self._stop()
        if process is not None:
            with suppress(subprocess.TimeoutExpired):  # one that waits for a dead network disk cannot even be killed
                process.wait(GRACE)

    def _stop(self) -> subprocess.Popen[bytes] | None:
        """Kill the process, and wait for nothing; returns it if it was running."""
        with self._change:
            self._over = True
            self._waiting.clear()
            self._change.notify_all()
            process = self._process
        if process is None or process.poll() is not None:
            return None
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        return process

    def _drop(self, reason: str) -> None:
        """Go on without this tracker; told once."""
        with self._change:
            if self._over:
                return
            self._over = True
        reason = without_credentials(reason).rstrip(".")
        log.warning("Tracker %s is dropped: %s. The run goes on without it.", self.name, reason)
        self._stop()

    # The threads

    def _guarded(self, work: Callable[..., None], *given: Any) -> None:
        """What goes wrong in a thread drops the tracker, and nothing else."""
        try:
            work(*given)
        except Exception as error:
            trace = "".join(traceback.format_exception(error))
            log.info("Tracker %s: %s", self.name, Lines(without_credentials(trace)))
            self._drop(f"{type(error).__name__}: {error}")

    def _write(self) -> None:
        """Start the process and send it what waits."""
        try:
            process = subprocess.Popen(
                [sys.executable, "-P", "-c", START, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C is for the run, which tells its trackers how it ends
            )
        except OSError as error:
            self._drop(f"its process cannot be started: {error}")
            return
        with self._change:
            self._process = process
            over = self._over
        if over:
            self.kill()
        reading = (self._read, process)
        threading.Thread(target=self._guarded, args=reading, name=f"answers of {self.name}", daemon=True).start()
        assert process.stdin is not None
        with suppress(OSError), process.stdin as pipe:  # what the end of the pipe means is the reader's to say
            pipe.write(json.dumps(self._hello).encode() + b"\n")
            while (item := self._next()) is not None:
                pipe.write(encode(*item))
                pipe.flush()

    def _next(self) -> tuple[str, float, tuple[Any, ...]] | None:
        with self._change:
            while not self._over and not self._waiting:
                self._change.wait()
            return None if self._over else self._waiting.popleft()

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        """Take in answers until the process ends, or is silent for too long."""
        assert process.stdout is not None
        poll = select.poll()
        poll.register(process.stdout, select.POLLIN)
        left, silent, before = b"", 0.0, time.monotonic()
        while True:
            ready = poll.poll(POLL * 1000)
            # One look counts as POLL at most: a machine that slept, or a run that was stopped, heard nothing.
            silent, before = silent + min(time.monotonic() - before, POLL), time.monotonic()
            lines: list[bytes] = []
            if ready:
                data = os.read(process.stdout.fileno(), CHUNK)
                if not data:
                    break
                *lines, left = (left + data).split(b"\n")
                if len(left) > LONGEST_LINE:
                    lines, left = [*lines, left], b""
            answered = [self._hear(line.decode(errors="replace")) for line in lines if line]
            if any(answered) or self._ending or self._told == self._answered:
                silent = 0.0
            elif silent >= self.limits.timeout:
                self._drop(f"it did not answer for {self.limits.timeout:g} seconds (tracker.{self.name}.timeout)")
        process.stdout.close()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
        self._drop(f"its process ended with exit code {process.returncode}")

    def _hear(self, line: str) -> bool:
        """Take in a line; returns whether it is an answer, and not what some library printed."""
        answer = _answer(line)
        if answer is None:
            self._printed += 1
            if self._printed <= MOST_LINES:
                log.info("Tracker %s: %s", self.name, without_credentials(line))
            elif self._printed == MOST_LINES + 1:
                log.info("Tracker %s: it prints more than %s lines: the others are left out.", self.name, MOST_LINES)
            return False
        if "warning" in answer:
            log.warning("%s", without_credentials(str(answer["warning"])))
        elif "failed" in answer:
            log.info("Tracker %s: %s", self.name, Lines(without_credentials(str(answer["trace"]))))
            self._drop(str(answer["failed"]))
        else:
            with self._change:
                self._answered = answer.get("events", self._answered)
                self._over = self._over or "done" in answer
                self._change.notify_all()
        return True


def _answer(line: str) -> dict[str, Any] | None:
    """What a line says; ``None`` if it is no answer."""
    if not line.startswith(MARK):
        return None
    try:
        answer = json.loads(line.removeprefix(MARK))
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None
