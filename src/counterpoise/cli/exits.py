"""Exit codes, and the one place that decides how an error is shown."""

from __future__ import annotations

import os
import select
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from counterpoise.allocation import is_out_of_memory, said
from counterpoise.errors import (
    MORE_MEMORY,
    FailedProtocolError,
    PreemptedError,
    StorageError,
    TrainingAbortedError,
    UserError,
    fail,
)
from counterpoise.terminal import escaped_streams, say, say_all

EXIT_OK, EXIT_FAULT, EXIT_USER, EXIT_FAILED_PROTOCOL, EXIT_PREEMPTED, EXIT_INTERRUPTED = 0, 1, 2, 3, 75, 130
"""Done; a fault of the run; a mistake of the user; the run's own criteria are not met; ended by a signal, the same
command goes on (75 is ``EX_TEMPFAIL``, "try again later"); interrupted before a run had begun, or told twice."""
EXIT_UNREAD = 141
"""Nobody reads the standard output any more, as after ``| head``: what a shell says of a process that ends by it."""


GRAVITY = (EXIT_OK, EXIT_FAILED_PROTOCOL, EXIT_FAULT, EXIT_USER, EXIT_PREEMPTED, EXIT_INTERRUPTED)


def gravest(*codes: int) -> int:
    """The code that a command exits with whose parts came to ``codes``: a run that failed its own criteria did run."""
    return max(codes, key=lambda code: GRAVITY.index(code) if code in GRAVITY else len(GRAVITY), default=EXIT_OK)


def attempt(action: Callable[[], int]) -> int:
    """The exit code of an action, errors included; any terminal can show its output."""
    with escaped_streams():
        try:
            _check_working_directory()
            code = action()
            sys.stdout.flush()  # what cannot be written shows here, and not when the interpreter ends
            return code
        except BaseException as error:
            return report(error)


def _check_working_directory() -> None:
    """Paths are relative to it, and libraries end the process without it."""
    try:
        Path.cwd()
    except FileNotFoundError:
        what = "was removed while this shell was in it."
        raise fail("working directory", what, "Change to a folder that exists.") from None


def report(error: BaseException) -> int:
    """Show an error as it deserves, and say with what code to exit."""
    if _unread(error):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is for nobody
        return EXIT_UNREAD
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_OK if error.code is None else EXIT_FAULT
    if isinstance(error, PreemptedError):
        say("", str(error), error=True)
        return EXIT_PREEMPTED
    if isinstance(error, KeyboardInterrupt):
        say("", "Interrupted.", error=True)
        return EXIT_INTERRUPTED
    if isinstance(error, UserError):
        say(*_listing(error), error=True)
        return EXIT_USER
    if isinstance(error, TrainingAbortedError):
        say_all(f"Training was aborted. {error}", error=True)
        return EXIT_FAILED_PROTOCOL if isinstance(error, FailedProtocolError) else EXIT_FAULT
    if isinstance(error, PermissionError) and error.filename is not None:
        say(*_listing(_forbidden(error)), error=True)
        return EXIT_USER
    if isinstance(error, StorageError):
        say_all(f"The disk failed. {error}", error=True)
        return EXIT_FAULT
    if is_out_of_memory(error):
        say(f"Out of memory: {said(error)}. {MORE_MEMORY}", error=True)
        return EXIT_FAULT
    say(*"".join(traceback.format_exception(error)).rstrip("\n").split("\n"), error=True)
    return EXIT_FAULT


def _unread(error: BaseException) -> bool:
    """Whether this is about a standard output whose reader has gone; rich makes a ``SystemExit`` of it."""
    broken = error.__context__ if isinstance(error, SystemExit) else error
    if not isinstance(broken, BrokenPipeError):
        return False
    if isinstance(error, SystemExit):
        return True
    try:
        poll = select.poll()
        poll.register(sys.stdout.fileno(), 0)
    except OSError:  # it is no file
        return False
    return any(event & select.POLLERR for _, event in poll.poll(0))


def _forbidden(error: PermissionError) -> UserError:
    """What another user's file or folder is: even whether it is there cannot be seen."""
    where = os.fsdecode(error.filename)
    return fail(where, f"cannot be used: {error.strerror}.", "Ask its owner for permission, or name another one.")


def _listing(error: UserError) -> list[str]:
    count = len(error.problems) + error.hidden
    title = "1 problem:" if count == 1 else f"{count} problems:"
    return [title, *(f"  {line}" for line in str(error).split("\n"))]
