"""Names that a terminal, a log or a table must not obey, and what no text for people may hold."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

FORGED = "2026-01-01 00:00:00,000 INFO    counterpoise.run: everything is well"
"""A line as the log has them."""
NAMES = {
    "clear screen": "safe\x1b[2J\x1b[H",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://localhost/\x1b\\click\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;b3duZWQ=\x07",
    "bell": "ring\x07",
    "overwrite": "bad\rgood",
    "forged line": f"name\n{FORGED}",
    "8 bit": "\x9b2J\x9d0;owned\x9c",
    "direction": "safe\u202egnp.exe",
    "separator": f"one\u2028{FORGED}",
    "no width": "a\u200bb\u2060\ufeff",
    "long": "n" * 10_000,
    "almost empty": "\u200b.",
    "backspace": "good\b\b\b\bevil\x7f",
    "markup": "<script>alert(1)</script>|`x`[y](javascript:z)![q](http://localhost/i.png)",
    "formula": "=cmd|' /C calc'!A0",
    "maths": r"$\frac$ \input{x} 100% a_b",
}
"""Of classes, columns, values and, without slashes, of files."""
SGR = re.compile(r"\x1b\[[0-9;]*m")
"""Colours, as rich writes them."""
LIVE = re.compile(r"\x1b\[(?:\?25[lh]|[0-9]*[A-HJK])|\r(?=epoch |\x1b\[|\n|$)")
"""What rich moves the cursor with, while a progress bar is shown."""
DATED = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ +[\w.]+: |    ")
"""How a line of a log begins: a record's first, or a further one."""
BINARY = (".parquet", ".safetensors", ".pt", ".png", ".arrow", ".npy", ".npz")
_ALLOWED = "\n\u200c\u200d\u00ad"


def hidden(text: str, allowed: str = "") -> list[str]:
    """Characters that are not to be seen: controls, separators and formats, the ends of lines aside.

    A second definition, by Unicode's categories: what the package escapes is a list of its own.
    """
    categories = ("Cc", "Cf", "Zl", "Zp")
    return [c for c in text if c not in _ALLOWED + allowed and unicodedata.category(c) in categories]


def texts_below(folder: Path) -> Iterator[tuple[Path, str]]:
    """Every text file of a run, a multirun or a report."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.suffix not in BINARY:
            text = path.read_bytes().decode()
            yield path, text.replace("\r\n", "\n") if path.suffix == ".csv" else text


def check_texts(folder: Path) -> None:
    """No text file holds what a terminal obeys; in a log no line is forged."""
    for path, text in texts_below(folder):
        assert not hidden(text), (ascii(str(path.relative_to(folder))), context(text))
    for path, text in texts_below(folder):
        if path.name == "training.log":
            check_log(text)


def context(text: str) -> str:
    """Where the first of them stands."""
    at = text.index(hidden(text)[0])
    return ascii(text[max(0, at - 100) : at + 20])


def check_log(text: str) -> None:
    """Every line is dated, or an indented one that belongs to the line above."""
    assert text.endswith("\n")
    lines = text[:-1].split("\n")
    assert lines
    assert [line for line in lines if not DATED.match(line)] == []
    assert not any(line.startswith(FORGED) for line in lines)


def check_shown(out: str, *, terminal: bool = False) -> None:
    """What was written to a terminal, or a file in its place."""
    if terminal:
        out = LIVE.sub("", SGR.sub("", out)).replace("\r\n", "\n")
    assert not hidden(out), context(out)
    assert not any(line.startswith(FORGED) for line in out.split("\n"))
