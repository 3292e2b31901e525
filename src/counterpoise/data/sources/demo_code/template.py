"""A small language for pieces of C that exist in a vulnerable and a repaired form, written like a patch.

The first character of a line says where it belongs, the rest is C with placeholders::

    ' '  both forms                      '+'  repaired form only
    '!'  both; offends where vulnerable  '-'  vulnerable form only
    '*'  vulnerable form only, offends   '?'  like '-', but now and then left out
    '~'  harmless statements may stand here

The rest may begin with ``@`` (a declaration, moved to the top of the function), with ``in`` (an input: a type and a
name, which becomes a parameter or is read from the context; ``in int|size_t <n>`` gives the vulnerable and the
repaired type), or be ``fail_if CONDITION`` or ``fail`` (leave the function the way it leaves on errors).

``<role>`` and ``<role2>`` stand for names, the same throughout one piece; ``{{a::b}}`` is a random choice;
``isnull(x)`` and ``notnull(x)`` are tests in one of their spellings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Literal

Action = Literal["code", "declare", "input", "fail_if", "fail", "slot"]
Piece = str | tuple[str] | list[list["Piece"]]
"""Text, the role of a name, or alternatives."""

_PIECES = re.compile(r"\{\{|\}\}|::|<[A-Za-z]+\d*>")
_NULL_TESTS = (
    (re.compile(r"isnull\(([^()]*)\)"), r"{{!\1::\1 == NULL}}"),
    (re.compile(r"notnull\(([^()]*)\)"), r"{{\1::\1 != NULL}}"),
)
_ACTIONS: tuple[tuple[str, Action], ...] = (("@", "declare"), ("in ", "input"), ("fail_if ", "fail_if"))


@dataclass(frozen=True)
class TemplateLine:
    """One line of a template."""

    mark: str
    """To which form it belongs, see the module."""
    action: Action
    depth: int
    """Levels of nesting within the template."""
    pieces: tuple[list[Piece], ...]
    """What is written; for an input: the vulnerable type, the repaired type, the name."""
    source: str
    """The line as written: equal lines are rendered equally, so that a moved line only moves."""


def compile_template(text: str) -> tuple[TemplateLine, ...]:
    """Parse a template; its first and last line may be empty."""
    return tuple(_line(line) for line in text.strip("\n").split("\n") if line.strip())


def _line(line: str) -> TemplateLine:
    mark, rest = line[0], line[1:]
    code = rest.lstrip(" ")
    depth = (len(rest) - len(code)) // 4
    action: Action = "code"
    if mark == "~":
        action = "slot"
    elif code == "fail":
        action = "fail"
    for prefix, named in _ACTIONS:
        if code.startswith(prefix):
            action, code = named, code.removeprefix(prefix)
    for pattern, spelled in _NULL_TESTS:
        code = pattern.sub(spelled, code)
    if action == "input":
        kinds, name = code.rsplit("<", 1)
        either, _, repaired = kinds.strip().partition("|")
        parts = (either, repaired or either, "<" + name)
    else:
        parts = (code, "", "")
    return TemplateLine(mark, action, depth, tuple(_pieces(part) for part in parts), code)


def _pieces(code: str) -> list[Piece]:
    """Split into text, names and alternatives; alternatives do not nest."""
    pieces: list[Piece] = []
    choices: list[list[Piece]] | None = None
    position = 0
    for match in _PIECES.finditer(code):
        target = pieces if choices is None else choices[-1]
        if match.start() > position:
            target.append(code[position : match.start()])
        position = match.end()
        found = match.group()
        if found == "{{":
            choices = [[]]
        elif found == "}}" and choices is not None:
            pieces.append(choices)
            choices = None
        elif found == "::" and choices is not None:
            choices.append([])
        else:
            target.append((found[1:-1],))
    if position < len(code):
        pieces.append(code[position:])
    return pieces


def render(pieces: list[Piece], name_of: Callable[[str], str], rng: Random) -> str:
    """Write the pieces out, with names from ``name_of``."""
    out = []
    for piece in pieces:
        if isinstance(piece, str):
            out.append(piece)
        elif isinstance(piece, tuple):
            out.append(name_of(piece[0]))
        else:
            out.append(render(piece[int(rng.random() * len(piece))], name_of, rng))
    return "".join(out)
