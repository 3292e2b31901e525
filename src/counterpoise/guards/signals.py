"""Preemption: a signal that asks the run to end lets it finish the update and save first."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, NoReturn

from counterpoise.errors import PreemptedError
from counterpoise.events import CONTINUE, BaseJudge, Decision, Verdict

ENDING = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1)
"""Signals that end a run, unless somebody else has a handler for them already."""
SHARED = (signal.SIGUSR2,)
"""Signals that are only listened to where somebody has a handler for them: submitit's requeues the job."""
EXIT_AT_ONCE = 130
"""Exit code of a process that was told twice."""
SHOW_CURSOR = b"\x1b[?25h"


class SignalGuard(BaseJudge):
    """Says preempt once a signal has come. A second SIGINT ends the process at once.

    At once means without another line of Python: every file is replaced by renaming, so none can be left damaged.
    """

    name = "signal"

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._before: dict[signal.Signals, Any] = {}
        self._deferring = False

    @contextmanager
    def listening(self) -> Iterator[None]:
        """While inside, an ending signal raises ``PreemptedError``. Only the main thread can listen."""
        try:
            for number in (*ENDING, *SHARED):
                self._take_over(number)
        except ValueError:  # not the main thread
            self._before.clear()
        try:
            yield
        finally:
            for number, handler in self._before.items():
                signal.signal(number, handler)

    @contextmanager
    def deferring(self) -> Iterator[None]:
        """While inside, a signal is only noted: for ``between_updates``, and for ``obey`` afterwards."""
        self._deferring = True
        try:
            yield
        finally:
            self._deferring = False

    def obey(self) -> None:
        """End the run, if a signal has come."""
        if self.received is not None:
            self._end()

    def _take_over(self, number: signal.Signals) -> None:
        before = signal.getsignal(number)
        nobody = before in (signal.SIG_DFL, signal.default_int_handler)
        if nobody == (number in ENDING):
            self._before[number] = before
            signal.signal(number, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        if number == signal.SIGINT and self.received is not None:
            if sys.stderr.isatty():
                os.write(sys.stderr.fileno(), SHOW_CURSOR)
            os._exit(EXIT_AT_ONCE)
        self.received = signal.Signals(number)
        if not self._deferring:
            self._end()

    def _end(self) -> NoReturn:
        """Hand the signal to whoever had a handler for it before, or end the run."""
        assert self.received is not None
        handler = self._before.get(self.received)
        if callable(handler) and self.received in SHARED:
            handler(self.received, None)
        raise PreemptedError(f"{self.received.name} was received")

    def between_updates(self) -> Verdict:
        """Preempt, if a signal has come."""
        if self.received is None:
            return CONTINUE
        return Verdict(Decision.PREEMPT, self.name, f"{self.received.name} was received")
