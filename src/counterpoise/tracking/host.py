"""The process of one tracker: it reads events from its input, answers each, and can be killed at any time.

On its output a line that begins with ``MARK`` is an answer; anything else is what some library printed.
"""

from __future__ import annotations

import importlib
import json
import logging
import math
import os
import select
import signal
import threading
import time
import traceback
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any, NoReturn

from counterpoise.config import extensions
from counterpoise.config.schema import parse
from counterpoise.tracking.base import Tracker
from counterpoise.tracking.messages import deliver

MARK = "\x1e"
FLUSH_EVERY = 2.0
"""Seconds between two calls of ``flush``."""
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""Whoever sends these means the run, which tells its trackers how it ends."""
INPUT, OUTPUT = 0, 1
CHUNK = 1 << 16
LONGEST = 5000
"""Characters of a text in an answer, which is one line within the run's bound."""


def main() -> NoReturn:
    """Serve until the run ends, or is gone; leave without any exit hook, which might hang."""
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    code = 0
    try:
        _serve()
        answer(done=True)
    except BaseException as error:  # whatever a tracker raises, a SystemExit included
        answer(failed=_said(error), trace="".join(traceback.format_exception(error))[-LONGEST:])
        code = 1
    os._exit(code)


def answer(**content: Any) -> None:
    """Tell the run, which may be gone; in one write, so that what libraries print does not come in between."""
    data = f"\n{MARK}{json.dumps(content)}\n".encode()
    try:
        while data:
            data = data[os.write(OUTPUT, data) :]
    except OSError:
        return


class _Warnings(logging.Handler):
    """What this package warns of is shown by the run."""

    def emit(self, record: logging.LogRecord) -> None:
        answer(warning=record.getMessage()[:LONGEST])


def _serve() -> None:
    lines = _lines()
    first = next(lines, None)
    if first is None:  # the run is gone already
        return
    hello = json.loads(first)
    threading.Thread(target=_leave_with_the_run, args=(hello["wait"],), daemon=True).start()
    logging.getLogger("counterpoise").addHandler(_Warnings(logging.WARNING))
    extensions.admit_again(hello["extensions"])
    target: Any = reduce(getattr, hello["name"].split("."), importlib.import_module(hello["module"]))
    tracker: Tracker = target(parse(target.Config, hello["config"]), Path(hello["folder"]))
    count = 0
    for line in lines:
        if line:
            count += 1
            if deliver(line, tracker):
                return
        else:
            tracker.flush()
        answer(events=count)
    tracker.on_end("killed")


def _lines() -> Iterator[bytes]:
    """Lines of the input; an empty one whenever it is time to flush."""
    waiting, flushed = b"", time.monotonic()
    while True:
        *whole, waiting = waiting.split(b"\n")
        for line in whole:
            yield line
            if time.monotonic() - flushed > FLUSH_EVERY:
                yield b""
                flushed = time.monotonic()
        if not select.select([INPUT], [], [], FLUSH_EVERY)[0]:
            yield b""
            flushed = time.monotonic()
            continue
        data = os.read(INPUT, CHUNK)
        if not data:
            return
        waiting += data


def _leave_with_the_run(wait: float) -> None:
    """Once the run has closed its end, or is gone, end within ``wait`` seconds: by the system's hand, if need be."""
    poll = select.poll()
    poll.register(INPUT, 0)
    while not any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll()):
        continue
    signal.alarm(max(1, math.ceil(wait)))


def _said(error: BaseException) -> str:
    text = " ".join(str(error).split())[:LONGEST]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
