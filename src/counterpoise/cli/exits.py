"""Exit codes, and the one place that decides how an error is shown."""

from __future__ import annotations

import io
import os
import select
import sys
import traceback
from collections.abc import Callable

from counterpoise.addresses import without_credentials
from counterpoise.errors import FailedProtocolError, PreemptedError, StorageError, TrainingAbortedError, UserError

EXIT_OK, EXIT_FAULT, EXIT_USER, EXIT_FAILED_PROTOCOL, EXIT_PREEMPTED, EXIT_INTERRUPTED = 0, 1, 2, 3, 75, 130
"""Done; a fault of the run; a mistake of the user; the run's own criteria are not met; ended by a signal, the same
command goes on (75 is ``EX_TEMPFAIL``, "try again later"); interrupted before a run had begun, or told twice."""
EXIT_UNREAD = 141
"""Nobody reads the standard output any more, as after ``| head``: what a shell says of a process that ends by it."""


GRAVITY = (EXIT_OK, EXIT_FAILED_PROTOCOL, EXIT_FAULT, EXIT_USER, EXIT_PREEMPTED, EXIT_INTERRUPTED)


def gravest(*codes: int) -> int:
    """The code that a command exits with whose parts came to ``codes``: a run that failed its own criteria did run."""
    return max(codes, key=lambda code: GRAVITY.index(code) if code in GRAVITY else len(GRAVITY), default=EXIT_OK)


def escape() -> None:
    """Show every text in any terminal: characters that its encoding lacks are shown as escapes."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def attempt(action: Callable[[], int]) -> int:
    """The exit code of an action, whatever happens in it."""
    escape()
    try:
        code = action()
        sys.stdout.flush()  # what cannot be written shows here, and not when the interpreter ends
        return code
    except BaseException as error:
        return report(error)


def report(error: BaseException) -> int:
    """Show an error as it deserves, and say with what code to exit."""
    if _unread(error):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # what is left is for nobody
        return EXIT_UNREAD
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_OK if error.code is None else EXIT_FAULT
    if isinstance(error, PreemptedError):
        print(f"\n{error}", file=sys.stderr)
        return EXIT_PREEMPTED
    if isinstance(error, KeyboardInterrupt):
        print("\nInterrupted.", file=sys.stderr)
        return EXIT_INTERRUPTED
    if isinstance(error, UserError):
        print(_listing(error), file=sys.stderr)
        return EXIT_USER
    if isinstance(error, TrainingAbortedError):
        print(f"Training was aborted. {without_credentials(str(error))}", file=sys.stderr)
        return EXIT_FAILED_PROTOCOL if isinstance(error, FailedProtocolError) else EXIT_FAULT
    if isinstance(error, StorageError):
        print(f"The disk failed. {without_credentials(str(error))}", file=sys.stderr)
        return EXIT_FAULT
    print(without_credentials("".join(traceback.format_exception(error))), end="", file=sys.stderr)
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


def _listing(error: UserError) -> str:
    count = len(error.problems) + error.hidden
    title = "1 problem:" if count == 1 else f"{count} problems:"
    return "\n".join([title, *(f"  {line}" for line in without_credentials(str(error)).splitlines())])
