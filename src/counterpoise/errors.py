"""What a user can get wrong, as data: the entry script alone decides how it is shown and what it exits with."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Any

_HIDDEN = (
    *((0x00, 0x1F), (0x7F, 0x9F)),  # C0, DEL, C1
    *((0x061C, 0x061C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x206F)),  # marks and overrides of direction
    *((0x2028, 0x2029), (0x180E, 0x180E), (0x200B, 0x200B), (0x2060, 0x2065), (0xFEFF, 0xFEFF)),  # lines; no width
    *((0xFFF9, 0xFFFB), (0xE0000, 0xE007F)),  # annotations, tags
)
"""First and last character of each range. Joiners are not among them: scripts and emoji are written with them."""
CONTROL = re.compile(f"[{''.join(f'{chr(first)}-{chr(last)}' for first, last in _HIDDEN)}]")
"""What :func:`escape_control` escapes, beside what is not UTF-8."""
HIDDEN = tuple(map(chr, chain.from_iterable(range(first, last + 1) for first, last in _HIDDEN)))
"""The same characters, one by one."""
_ESCAPES = {ord(character): ascii(character)[1:-1] for character in HIDDEN}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong, where it stands, and what to do about it."""

    where: str
    """A dotted config key, or ``file:line``."""
    message: str
    """What was found and what was expected instead."""
    remedy: str = ""
    """What to do; empty where the message already says it."""

    def __str__(self) -> str:
        """One line, for any content of the parts."""
        return escape_control(f"{self.where}: {self.message}" + (f" {self.remedy}" if self.remedy else ""))


class UserError(Exception):
    """The user's input cannot be used. Exit code 2, no traceback, every problem listed.

    Args:
        problems: all that is wrong, in the order in which the user should read it; at least one.
        hidden: how many further problems were seen but not kept.
    """

    exit_code = 2

    def __init__(self, problems: Problem | Iterable[Problem], *, hidden: int = 0) -> None:
        self.problems = (problems,) if isinstance(problems, Problem) else tuple(problems)
        self.hidden = hidden
        if not self.problems:
            raise ValueError("a UserError needs at least one problem")
        super().__init__(str(self))

    def __str__(self) -> str:
        lines = [str(problem) for problem in self.problems]
        if self.hidden:
            lines.append(f"... and {self.hidden} more")
        return "\n".join(lines)

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.problems, self.hidden)  # launchers pickle a job's exception


class TrainingAbortedError(Exception):
    """A judge ended the run as failed; its checkpoints stay. Exit code 1, without a traceback."""

    exit_code = 1


class FailedProtocolError(TrainingAbortedError):
    """A run was aborted whose protocol asked it to come to its end. Exit code 3.

    Args:
        message: why it was aborted.
        protocol: the criteria, as ``result.json`` would hold them.
    """

    exit_code = 3

    def __init__(self, message: str, protocol: Mapping[str, Any]) -> None:
        super().__init__(message)
        self.protocol = protocol

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (str(self), self.protocol)


class PreemptedError(KeyboardInterrupt):
    """A signal ended the run early. Exit code 75: the same command, or ``resume=``, goes on.

    A ``KeyboardInterrupt``, so that a sweeper that goes on after a failed job does not go on after this.

    Args:
        reason: which signal.
        kept: what is on the disk.
        how: what to do to go on.
    """

    exit_code = 75

    def __init__(
        self, reason: str, kept: str = "nothing was saved yet", how: str = "give the same command again"
    ) -> None:
        self.reason, self.kept, self.how = reason, kept, how
        super().__init__(reason, kept, how)

    def __str__(self) -> str:
        return f"{self.reason}; {self.kept}. To continue: {self.how}."


SMALLER_RUN = (
    "Shorten the input (encoding.max_length, or max_chunks of documents), recompute activations "
    "(model.gradient_checkpointing=true), use a smaller model, or hardware.precision=bf16."
)
MORE_MEMORY = "Use fewer or shorter records, free some memory, or raise the limit (ulimit -v, or that of the job)."


class OutOfMemoryError(TrainingAbortedError):
    """Memory could not be had, and no smaller batch helps; the checkpoints stay.

    Args:
        what: what was being done.
        message: the library's own.
        remedy: what to do.
    """

    def __init__(self, what: str, message: str, remedy: str = MORE_MEMORY) -> None:
        self.parts = what, message, remedy
        super().__init__(f"Out of memory in {what}: {message.rstrip('.')}. {remedy}")

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self.parts


class StorageError(Exception):
    """What a run had to write could not be written, though it was waited for. Exit code 1, without a traceback.

    Args:
        problem: which files and why, what to do, what is whole and how to continue.
    """

    exit_code = 1

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem)
        self.problem = problem


def _rebuild(kind: type[UserError], problems: tuple[Problem, ...], hidden: int) -> UserError:
    return kind(problems, hidden=hidden)


def fail(where: str, message: str, remedy: str = "") -> UserError:
    """One problem as an error, to be raised by the caller."""
    return UserError(Problem(where, message, remedy))


def missing_extra(where: str, package: str, extra: str) -> UserError:
    """The error for an optional dependency that is not installed, with the command that installs it."""
    return fail(
        where,
        f"needs the package {package!r}, which is not installed.",
        f'Install it with: pip install -c constraints.txt -e ".[{extra}]"',
    )


def near(path: Path) -> str:
    """A path as short as it can be typed from the current folder."""
    here = Path.cwd()
    return escape_control(str(path.relative_to(here) if path.is_relative_to(here) else path))


def escape_control(text: str) -> str:
    """A text as it may be shown anywhere: what is no sign to be seen is written as an escape, as Python writes it.

    That is what would move the cursor, ring, begin a new line, turn the direction of what follows, or not be seen at
    all: control characters (C0, DEL, C1), line and paragraph separators, marks and overrides of direction, characters
    without width. So are bytes of a file name that are not UTF-8. Names of classes, paths and overrides come from
    others, and a terminal obeys what it is shown.
    """
    shown = text.translate(_ESCAPES) if CONTROL.search(text) else text
    return shown.encode("utf-8", "backslashreplace").decode()


def escape_lines(text: str) -> str:
    """As :func:`escape_control`, of a text of several lines: the ends of its lines stay."""
    return "\n".join(map(escape_control, text.split("\n")))


def first_line(error: BaseException) -> str:
    """What an error says, in one line without a full stop."""
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


def closest(name: str, valid: Iterable[str]) -> str:
    """``Did you mean 'x'?`` with the closest valid name; empty if none is close."""
    close = get_close_matches(name, sorted(valid), n=1, cutoff=0.6)
    return f"Did you mean {close[0]!r}?" if close else ""


def nearest(name: str, valid: Iterable[str]) -> str:
    """``Did you mean 'x'?`` with the closest valid name, or the list of valid names."""
    names = sorted(valid)
    return closest(name, names) or (f"Valid names: {', '.join(names)}." if names else "")
