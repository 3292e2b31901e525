"""The checkpoint mirror: copies of a run in object storage, sent by a thread that training never waits for."""

from __future__ import annotations

import logging
import math
import shutil
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from counterpoise.addresses import has_credentials
from counterpoise.config.credentials import MESSAGE, REMEDIES
from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, POSITIVE
from counterpoise.engine.remote import DamagedError, Remote
from counterpoise.engine.snapshot import Snapshot
from counterpoise.engine.store import Deadline
from counterpoise.engine.store_url import url_problem
from counterpoise.errors import PreemptedError, Problem, UserError
from counterpoise.jsonio import read_json
from counterpoise.tracking.folder import RunFolder

log = logging.getLogger(__name__)

PREEMPTED_WAIT = 20.0
"""Seconds that a preempted run waits for its last upload: machines that are taken away give thirty or more."""
WAITING_ROOM = ".mirror"
"""Folder beside the checkpoints where files wait for their upload."""


@dataclass(frozen=True, kw_only=True)
class MirrorConfig:
    """Where copies of the checkpoints go."""

    url: str | None = None
    """URL of a store, such as s3://bucket/prefix or file:///folder; the run folder's name follows it. null for none."""
    every: Literal["all", "epoch"] = "all"
    """Which checkpoints: all that are saved, or those at the end of an epoch."""
    attempts: Annotated[int, AT_LEAST_ONE] = 5
    """How often an upload is tried before it is given up until the next checkpoint."""
    backoff: Annotated[float, NON_NEGATIVE] = 2.0
    """Seconds before the second attempt; doubled before each further one."""
    timeout: Annotated[float, POSITIVE] = 300.0
    """Seconds that one attempt may take."""
    wait: Annotated[float, NON_NEGATIVE] = 120.0
    """Seconds that the end of training waits for the last upload."""

    def problems(self) -> Iterable[Problem]:
        """What is wrong with the URL by itself."""
        problem = None if self.url is None else url_problem(self.url, writing=True)
        if problem is not None:
            yield Problem("url", *problem)
        if has_credentials(self.url or ""):
            yield Problem("url", MESSAGE, REMEDIES["mirror"])


class NoMirror:
    """For a run that is kept on its own disk alone."""

    def offer(self, position: Mapping[str, int]) -> None:
        """Nothing is sent."""

    def finish(self, wait: float = math.inf) -> None:
        """Nothing is waited for."""

    def close(self) -> None:
        """Nothing is open."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """However a run ends, its last checkpoint is sent. One that is preempted has little time, but needs it most."""
        if kind is None or issubclass(kind, Exception):
            self.finish()
        elif issubclass(kind, PreemptedError | SystemExit):
            self.finish(PREEMPTED_WAIT)
        self.close()

    def facts(self) -> dict[str, Any]:
        """Nothing to tell."""
        return {}


class Mirror(NoMirror):
    """Sends a run's checkpoints to a store, one at a time; a newer one takes the place of one that still waits.

    A store that fails is told once, and again when it works. It ends nothing and delays nothing: the training thread
    only links some files aside.

    Args:
        config: how to try; with a ``url``.
        remote: the run's place in the store.
        run: the run folder.
        name: the run folder as it was given, for the pointer.
    """

    def __init__(self, config: MirrorConfig, remote: Remote, run: Path, name: str) -> None:
        self.config = config
        self.remote = remote
        self.run = run
        self.name = name
        self.owned = False
        """Whether what the store holds is known to be this run's, and not newer than what will be sent."""
        self._counts = {"uploaded": 0, "replaced": 0, "failed": 0, "bytes": 0}
        self._newest: int | None = None
        self._failing = self._closing = self._busy = False
        self._busy_since = 0.0
        self._taken = 0
        self._next: Snapshot | None = None
        self._change = threading.Condition()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def _room(self) -> Path:
        return self.run / "checkpoints" / WAITING_ROOM

    def offer(self, position: Mapping[str, int]) -> None:
        """Take up what has just been saved. Called by the training thread; never raises, never waits."""
        if self.config.every == "epoch" and position.get("consumed"):
            return
        if self._thread is None:
            shutil.rmtree(self._room, ignore_errors=True)  # of a process that was killed
            self._thread = threading.Thread(target=self._work, name="mirror", daemon=True)
            self._thread.start()
        self._taken += 1
        try:
            snapshot = Snapshot.take(self.run, self._room / str(self._taken), position["update"])
        except OSError as error:
            self._failed(error)
            return
        with self._change:
            replaced, self._next = self._next, snapshot
            overdue = self._busy and time.monotonic() - self._busy_since > 2 * self.config.timeout
            self._change.notify_all()
        if replaced is not None:
            self._counts["replaced"] += 1
            replaced.remove()
        if overdue:
            self._failed(TimeoutError("it does not answer"))

    def finish(self, wait: float = math.inf) -> None:
        """At the end of training, wait for the last upload, at most ``mirror.wait`` seconds, and at most ``wait``."""
        wait = min(wait, self.config.wait)
        deadline = time.monotonic() + wait
        with self._change:
            self._closing = True
            self._change.notify_all()
            if self._idle():
                return
            log.info("Waiting for the last upload to %s.", self.remote.url)
            while not self._idle() and time.monotonic() < deadline:
                self._change.wait(deadline - time.monotonic())
            if not self._idle():
                newest = "nothing" if self._newest is None else f"update {self._newest}"
                log.warning(
                    "The last upload to %s was not done within %g seconds (mirror.wait): it holds %s.",
                    *(self.remote.url, wait, newest),
                )

    def _idle(self) -> bool:
        return self._next is None and not self._busy

    def close(self) -> None:
        """Give up whatever is not sent yet."""
        with self._change:
            self._closing = True
            waiting, self._next = self._next, None
            self._stop.set()
            self._change.notify_all()
        if waiting is not None:
            waiting.remove()
        if self._thread is not None and not self._busy:
            self._thread.join()
        shutil.rmtree(self._room, ignore_errors=True)

    def facts(self) -> dict[str, Any]:
        """For the result: what was sent, given up, or replaced by something newer before it was sent."""
        return {"mirror": {"url": self.remote.url, "update": self._newest, **self._counts}}

    # The thread

    def _work(self) -> None:
        while (snapshot := self._take(wait=True)) is not None:
            try:
                self._upload(snapshot)
            finally:
                with self._change:
                    self._busy = False
                    self._change.notify_all()

    def _take(self, *, wait: bool) -> Snapshot | None:
        """The newest that was offered; ``None`` if there is none, or none will come any more."""
        with self._change:
            while wait and self._next is None and not self._closing:
                self._change.wait()
            snapshot, self._next = self._next, None
            if snapshot is not None:
                self._busy, self._busy_since = True, time.monotonic()
            return snapshot

    def _upload(self, snapshot: Snapshot) -> None:
        """Try until it succeeds, or often enough; something newer that comes meanwhile is sent instead."""
        for attempt in range(1, self.config.attempts + 1):
            try:
                self._publish(snapshot)
                break
            except Exception as error:
                self.remote.disconnect()
                log.info("Upload of update %d, attempt %d: %s", snapshot.update, attempt, self.remote.said(error))
                if attempt == self.config.attempts or self._pause(attempt):
                    self._counts["failed"] += 1
                    self._failed(error)
                    break
            newer = self._take(wait=False)
            if newer is not None:
                self._counts["replaced"] += 1
                snapshot.remove()
                snapshot = newer
        snapshot.remove()

    def _pause(self, attempt: int) -> bool:
        """Wait before the next attempt; returns whether there shall be none."""
        return self._stop.wait(self.config.backoff * 2 ** (attempt - 1))

    def _publish(self, snapshot: Snapshot) -> None:
        if not self.owned and not self._admitted(snapshot):
            return
        sent = self.remote.publish(snapshot, self.name, Deadline(self.config.timeout))
        self._counts["uploaded"] += 1
        self._counts["bytes"] += sent
        self._newest, self.owned = snapshot.update, True
        if self._failing:
            self._failing = False
            log.warning("Uploads to %s work again.", self.remote.url)

    def _admitted(self, snapshot: Snapshot) -> bool:
        """Whether this may replace what the store holds, which could not be looked at when the run began."""
        try:
            pointer = self.remote.pointer()
            if pointer is None:
                return True
            different = self.remote.foreign(pointer, read_json(RunFolder(snapshot.home).metadata))
        except DamagedError:
            return True  # of no use to anybody
        if different or pointer.update > snapshot.update:
            reason = str(different[0]) if different else f"it holds a later checkpoint, of update {pointer.update}"
            self._failed(UserError(Problem(self.remote.url, f"is left as it is: {reason}")))
            return False
        return True

    def _failed(self, error: Exception) -> None:
        if not self._failing and not self._stop.is_set():
            self._failing = True
            log.warning(
                "The mirror %s cannot be kept up to date: %s. Training goes on; each checkpoint tries again.",
                *(self.remote.url, self.remote.said(error)),
            )
