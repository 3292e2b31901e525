"""A console of rich that no text of others can take over: what is printed is one line, without control characters."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from counterpoise.errors import escape_control, escape_lines


class LineConsole(Console):
    """A console on which a text is one line, its control characters shown as escapes; colours are rich's own."""

    def render_str(self, text: str, **options: Any) -> Text:
        """A text as it is measured and shown: what is printed, a table's cell, heading or title."""
        return super().render_str(escape_control(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
        """What rich is given in other shapes than a string is escaped too, the ends of lines aside."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(escape_lines(segment.text), segment.style)


def styled(text: str, style: str) -> Text:
    """A text with a style, for a cell of a table: one line, as a plain string is."""
    return Text(escape_control(text), style=style)
