"""What a command writes to its standard output and error: no text of others can move the cursor or forge a line.

:func:`say` writes the package's own lines. :func:`escaped_streams` is the net below it, for what libraries write.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO

from counterpoise.addresses import without_credentials
from counterpoise.errors import escape_control, escape_lines


class EscapedStream:
    """A text stream that shows every control character but the end of a line as an escape.

    Args:
        stream: where the text goes. All else is its own: bytes that are written to ``buffer`` are not looked at.
    """

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream

    @property
    def rich_proxied_file(self) -> TextIO:
        """Where rich writes, whose own colours are to be seen.

        The text among them is escaped by :class:`counterpoise.line_console.LineConsole`.
        """
        return self._stream

    def write(self, text: str) -> int:
        """Write a text; returns its length, as it was given."""
        self._stream.write(escape_lines(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write several texts."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def escaped_streams() -> Iterator[None]:
    """While inside, the standard output and error are :class:`EscapedStream`.

    Characters that a terminal's encoding lacks are shown as escapes too.
    """
    before = sys.stdout, sys.stderr
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.stdout, sys.stderr = (_escaped(stream) for stream in before)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def _escaped(stream: TextIO) -> Any:
    """``None`` stands for a stream that was closed before Python began."""
    return stream if stream is None or isinstance(stream, EscapedStream) else EscapedStream(stream)


def say(*lines: str, error: bool = False) -> None:
    """Write lines to the standard output, or error, at once; each argument is one line.

    Control characters are shown as escapes, addresses without their credentials.
    """
    shown = (escape_control(without_credentials(line)) for line in lines)
    print(*shown, sep="\n", file=sys.stderr if error else sys.stdout, flush=True)


def say_all(text: str, *, error: bool = False) -> None:
    """Write a text that may have several lines; all but the first are indented, so that none can be forged."""
    first, *others = text.split("\n")
    say(first, *(f"  {line}" for line in others), error=error)
