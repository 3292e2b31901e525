"""Sentences laid out as a text, with the characters at which the passages that matter begin and end."""

from __future__ import annotations


class Layout:
    """A text that grows sentence by sentence, in paragraphs."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._length = 0
        self._glue = ""

    def add(self, sentences: str) -> tuple[int, int]:
        """Add to the paragraph; returns the first character and the one behind the last."""
        start = self._length + len(self._glue)
        self._parts += [self._glue, sentences]
        self._length = start + len(sentences)
        self._glue = " "
        return start, self._length

    def end_paragraph(self) -> None:
        """What follows begins a new paragraph."""
        if self._length:
            self._glue = "\n\n"

    @property
    def text(self) -> str:
        """Everything so far."""
        return "".join(self._parts)
