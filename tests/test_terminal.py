"""What is written to the standard output and error: one line for one text, and no control character in it."""

from __future__ import annotations

import ast
import io
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

import counterpoise
from counterpoise.errors import escape_control, escape_lines
from counterpoise.terminal import EscapedStream, escaped_streams, say, say_all
from hostile_names import NAMES, hidden

PACKAGE = Path(counterpoise.__file__).parent
PRINTS = {"terminal.py"}
STYLES = {"line_console.py"}


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_line_is_one_line(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    say(name, f"of {name}")
    say(name, error=True)
    out, err = capsys.readouterr()
    assert out == f"{escape_control(name)}\nof {escape_control(name)}\n"
    assert err == f"{escape_control(name)}\n"
    assert not hidden(out)
    assert out.count("\n") == 2


def test_further_lines_are_indented(capsys: pytest.CaptureFixture[str]) -> None:
    say_all("one\ntwo\rthree\n\nfour", error=True)
    assert capsys.readouterr() == ("", "one\n  two\\rthree\n  \n  four\n")


def test_every_character_that_is_not_seen_is_escaped() -> None:
    left = {"\u00ad", "\u200c", "\u200d"}  # a hyphen that may be seen, and joiners, which scripts are written with
    for category in ("Cc", "Cf", "Zl", "Zp"):
        signs = {chr(code) for code in range(0x110000) if unicodedata.category(chr(code)) == category}
        raw = {sign for sign in signs - left if escape_control(sign) == sign}
        assert {name for sign in raw if not _is_drawn(name := unicodedata.name(sign, ascii(sign)))} == set()


def _is_drawn(name: str) -> bool:
    """Numbers' and verses' signs are drawn around what follows; other formats join glyphs, notes or strokes."""
    drawn = ("ARABIC", "SYRIAC", "KAITHI", "EGYPTIAN", "SHORTHAND", "MUSICAL")
    return name.startswith(drawn)


def test_what_libraries_write_is_escaped() -> None:
    target = io.StringIO()
    stream = EscapedStream(target)
    print("one\x1b[2J", "two\rthree\n\x9b", file=stream)
    stream.writelines(["\x07\n", "four\n"])
    assert target.getvalue() == "one\\x1b[2J two\\rthree\n\\x9b\n\\x07\nfour\n"
    assert stream.write("\x1b") == 1
    assert stream.getvalue() == target.getvalue()


def test_streams_are_what_they_were_afterwards(capsys: pytest.CaptureFixture[str]) -> None:
    before = sys.stdout, sys.stderr
    with escaped_streams():
        with escaped_streams():
            sys.stdout.write("\x1b]0;a\x07\n")
            sys.stderr.write("\x1b[2J\n")
        sys.stdout.write("\x07\n")
    assert (sys.stdout, sys.stderr) == before
    assert capsys.readouterr() == ("\\x1b]0;a\\x07\n\\x07\n", "\\x1b[2J\n")


def test_a_stream_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    with escaped_streams():
        say("one", error=True)
        assert sys.stderr is None


def test_lines_stay_lines() -> None:
    assert escape_lines("a\x1b\n\n\rb\n") == "a\\x1b\n\n\\rb\n"


def _calls() -> Iterator[tuple[str, int, str]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute):
                name = node.func.id if isinstance(node.func, ast.Name) else node.func.attr
                yield path.relative_to(PACKAGE).as_posix(), node.lineno, name


def test_the_package_writes_by_one_function() -> None:
    calls = list(_calls())
    assert any(name == "print" and path in PRINTS for path, _, name in calls)
    printing = {"print": PRINTS, "Text": STYLES, "Console": set(), "print_exc": set()}
    for path, line, name in calls:
        if name in printing and not _is_console_print(path, line, name):
            assert path in printing[name], f"{path}:{line}: {name}"


def _is_console_print(path: str, line: int, name: str) -> bool:
    """``console.print`` is rich's, of a console that escapes."""
    return name == "print" and "console.print(" in (PACKAGE / path).read_text().splitlines()[line - 1]
