"""Records become lines that nothing in them can forge."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pytest

from counterpoise.errors import Problem, UserError, escape_control
from counterpoise.storage import Storage
from counterpoise.tracking.appending import LogFile
from counterpoise.tracking.log_lines import LineFormatter, Lines
from hostile_names import FORGED, NAMES, check_log, hidden

FORMATTER = LineFormatter("%(levelname)s %(message)s")


def shown(message: object, *arguments: object) -> str:
    return FORMATTER.format(logging.LogRecord("x", logging.INFO, "", 0, message, arguments, None))


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_text_is_one_line(name: str) -> None:
    path = Path(name)
    assert shown("class %s of %s", name, path) == f"INFO class {escape_control(name)} of {escape_control(str(path))}"
    assert shown("%(name)s", {"name": name}) == f"INFO {escape_control(name)}"


def test_numbers_stay_numbers() -> None:
    assert shown("%d %.2f %r", 3, 0.5, "a\x1b") == "INFO 3 0.50 'a\\\\x1b'"


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_further_lines_are_indented(name: str) -> None:
    for message in (name, f"one\n{name}"):
        first, *others = shown(message).split("\n")
        assert first.startswith("INFO ")
        assert all(line.startswith("    ") for line in others)
        assert not hidden("".join([first, *others]))
    text = shown("%s", Lines(f"one\n{name}\n"))
    assert text.startswith("INFO one\n    ")
    problems = UserError([Problem("a", name), Problem("b", name)])
    assert shown("%s", problems).split("\n") == [f"INFO a: {escape_control(name)}", f"    b: {escape_control(name)}"]


def test_a_record_stays_as_it_was() -> None:
    record = logging.LogRecord("x", logging.INFO, "", 0, "%s", ("a\n",), None)
    FORMATTER.format(record)
    assert record.args == ("a\n",)
    assert record.getMessage() == "a\n"


def test_a_log_cannot_be_forged(tmp_path: Path) -> None:
    with LogFile(tmp_path / "training.log", Storage(tmp_path)) as file:
        log = logging.getLogger("x")
        for name in NAMES.values():
            log.info(name.replace("%", "%%"))
            log.info("Command: %s", name)
            try:
                raise RuntimeError(f"{name}\n{FORGED}")
            except RuntimeError as error:
                log.warning("failed: %s", error, exc_info=sys.exc_info())
        wrong = (f"no number\n{FORGED}",)
        file.handle(logging.LogRecord("x", logging.INFO, "", 0, "%d", wrong, None))
    text = (tmp_path / "training.log").read_text()
    check_log(text)
    assert not hidden(text)
    assert "RuntimeError" in text
    assert "a message of x could not be formatted" in text
