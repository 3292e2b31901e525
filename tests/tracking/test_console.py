"""The console: plain lines that can be read by a program, a live bar on a terminal."""

from __future__ import annotations

import io
from dataclasses import asdict
from typing import Any

import pytest
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from counterpoise.errors import escape_control
from counterpoise.events import CONTINUE, Decision, EpochEvent, UpdateEvent, Verdict
from counterpoise.line_console import LineConsole, styled
from counterpoise.tracking.console import (
    RESULT_COLUMNS,
    ConsoleObserver,
    make_console,
    result_table,
    show_table,
)
from hostile_names import NAMES, check_shown, hidden

CLASSES = ["safe", "[red]vulnerable", "C", "D", "E"]
PLAN: dict[str, Any] = {"total_updates": 40, "position": {"update": 0}, "history": []}


def epoch(number: int, **valid: object) -> EpochEvent:
    figures = {"loss": 0.5, "accuracy": 0.75, "macro_f1": 0.7, **valid}
    return EpochEvent(number + 1, 10 * number + 10, 0.6, 1.0, 1e-3, figures, 0.123456, number == 1, 2.0)


def tell(observer: ConsoleObserver, plan: dict[str, Any] = PLAN) -> None:
    observer.on_start(plan)
    observer.on_update(UpdateEvent(1, 0, 0.7, 1e-3, 1.0, 8, 1.0))
    shares = {"per_class": {"safe": {"predicted_share": 0.25}, "[red]vulnerable": {"predicted_share": 0.75}}}
    observer.on_epoch(epoch(0))
    observer.on_epoch(epoch(1, **shares))
    observer.on_finish(Verdict(Decision.STOP, "early_stopping", "f1 [stood] still :smile:"))


@pytest.fixture
def plain_output(capsys: pytest.CaptureFixture[str]) -> str:
    tell(ConsoleObserver(make_console(), CLASSES, "f1"))
    return capsys.readouterr().out


def test_a_file_gets_whole_lines_without_escape_codes(plain_output: str) -> None:
    assert "\x1b" not in plain_output
    assert "\r" not in plain_output
    header, first, second, last = plain_output.splitlines()
    assert len(header) > 100
    assert header.split()[:5] == ["epoch", "train", "loss", "valid", "loss"]
    assert first.split()[:4] == ["1", "0.6000", "0.5000", "0.1235"]
    assert second.endswith("*")
    assert not first.endswith("*")
    assert last == "Training ended by early_stopping: f1 [stood] still :smile:."


def test_columns_stand_below_their_names(plain_output: str) -> None:
    header, _, second, _ = plain_output.splitlines()
    assert second[: header.index("safe") + 4].endswith("25.0%")
    assert second[: header.index("[red]vulnera") + 12].endswith("75.0%")
    assert "E" not in header.split()


def test_a_resumed_run_shows_the_epochs_before(capsys: pytest.CaptureFixture[str]) -> None:
    observer = ConsoleObserver(make_console(), CLASSES, "f1")
    observer.on_start({"total_updates": 40, "position": {"update": 12}, "history": [asdict(epoch(0))]})
    observer.on_finish(CONTINUE)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "Resuming after update 12 of 40."
    assert lines[2].split()[0] == "1"
    assert len(lines) == 3


def test_a_terminal_gets_a_bar_that_goes_away() -> None:
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=100, markup=False)
    observer = ConsoleObserver(console, CLASSES, "f1")
    tell(observer)
    assert "loss" in screen.getvalue()
    assert "\x1b[?25h" in screen.getvalue()  # the cursor is back
    observer.close()
    observer.close()


def test_undefined_figures_are_dashes(capsys: pytest.CaptureFixture[str]) -> None:
    make_console().print(result_table("t", {"[b]model": {"accuracy": 0.5, "f1": float("nan"), "mcc": None}}))
    row = next(line for line in capsys.readouterr().out.splitlines() if "[b]model" in line)
    assert [cell.strip() for cell in row.split("│")[1:4]] == ["[b]model", "0.5000", "-"]
    assert row.split("│")[8].strip() == "-"


def test_no_table_is_folded_in_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    make_console().print(result_table("t", {"x" * 300: {}}))
    assert "x" * 300 in capsys.readouterr().out


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_figure_is_never_cut(width: int) -> None:
    file = io.StringIO()
    console = Console(file=file, width=width)
    figures = dict.fromkeys(RESULT_COLUMNS, 0.123456)
    show_table(console, result_table("t", {"a model of a long name": figures, "tfidf_logistic": figures}))
    shown = file.getvalue()
    assert "0.1235" in shown
    assert "…" not in shown
    assert ("more columns" in shown) == (shown.count("0.1235") < 2 * len(RESULT_COLUMNS))
    assert max(len(line) for line in shown.splitlines()) <= width


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_a_text_is_one_line_of_a_console(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    console = make_console()
    console.print(name, soft_wrap=True)
    console.print("of", name, soft_wrap=True)
    out = capsys.readouterr().out
    assert out == f"{escape_control(name)}\nof {escape_control(name)}\n"
    assert not hidden(out)


@pytest.mark.parametrize("name", [name for kind, name in NAMES.items() if kind != "long"])
def test_cells_headings_and_titles_are_shown_as_escapes(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    table = Table(title=name, caption=name)
    table.add_column(name)
    table.add_column("next")
    table.add_row(name, styled(name, "red"))
    show_table(make_console(), table)
    make_console().print(Panel(name, title=name), Text(f"raw {name.replace(chr(10), '')}"))
    out = capsys.readouterr().out
    check_shown(out)
    assert out.count(escape_control(name)) >= 6
    lines = out.split("\n")
    bars = {line.rindex("┃") for line in lines if "┃" in line} | {line.rindex("│") for line in lines if " │ " in line}
    assert len(bars) == 1, "the columns stand below their heading"


def test_of_too_wide_a_table_columns_are_left_out_by_what_is_shown() -> None:
    screen = io.StringIO()
    console = LineConsole(file=screen, width=100, markup=False, highlight=False)
    table = result_table("", {"\x1b[2J" * 3: dict.fromkeys(RESULT_COLUMNS, 0.5)}, RESULT_COLUMNS)
    show_table(console, table)
    assert "\\x1b[2J" * 3 in screen.getvalue()
    assert max(map(len, screen.getvalue().splitlines())) <= 100


def test_a_live_bar_shows_colours_of_rich_and_escapes_of_names() -> None:
    screen = io.StringIO()
    console = LineConsole(file=screen, force_terminal=True, width=150, markup=False, highlight=False)
    observer = ConsoleObserver(console, ["a\x1b[2J", "b\nc", "\x07"], "f1")
    tell(observer)
    observer.on_finish(Verdict(Decision.STOP, "early_stopping", "f1 \x1b]0;owned\x07\nforged"))
    out = screen.getvalue()
    check_shown(out, terminal=True)
    assert "a\\x1b[2J" in out
    assert "f1 \\x1b]0;owned\\x07\\nforged" in out
    assert "\x1b[" in out
