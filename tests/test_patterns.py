"""Regular expressions take time in proportion to a text, whatever it holds: each of these has a million characters.

No time is measured: with a pattern that takes quadratic time, the test does not end within the suite's limit.
"""

from __future__ import annotations

import random
import re

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Quote, QuotedString

from counterpoise.cli.settings import read_settings
from counterpoise.config.home import as_typed
from counterpoise.config.overrides import quoted
from counterpoise.data.class_counts import turned
from counterpoise.data.code_graphs import names
from counterpoise.data.code_graphs.names import split_number, split_word
from counterpoise.data.encode.passages import cut_texts
from counterpoise.data.windows import window_graphs
from counterpoise.errors import escape_control
from counterpoise.inks import named
from counterpoise.jsonio import dumps, parse_json
from counterpoise.predict import PredictConfig
from counterpoise.reports.folders import natural
from counterpoise.reports.outputs.markdown import plain
from counterpoise.reports.outputs.tables import tex

SIZE = 1_000_000


def run_of(unit: str) -> str:
    return unit * (SIZE // len(unit))


@pytest.mark.parametrize("unit", ["\\", "'", "\\'", "$", "\\$", "${"])
def test_an_override_is_quoted(unit: str) -> None:
    text = run_of(unit)
    shown = quoted(text + "!")
    assert shown.startswith("'")
    assert len(shown) == SIZE + 3 + SIZE // len(unit) * (1 if unit in ("'", "${") else 2 if unit == "\\'" else 0)


def test_quotes_are_those_of_hydra() -> None:
    rng = random.Random(0)
    for _ in range(2_000):
        text = "".join(rng.choice("\\\\'a$") for _ in range(rng.randrange(9)))
        assert quoted(text) == QuotedString(text, Quote.single).with_quotes()
        text = "".join(rng.choice("\\\\'a${ ") for _ in range(rng.randrange(9)))
        parsed = OverridesParser.create().parse_override(f"x={quoted(text)}").value()
        assert parsed == re.sub(r"(\\*)\$\{", lambda found: f"{found[1] * 2}\\${{", text)


def test_the_override_of_classes_ends() -> None:
    assert turned(["a", run_of("\\") + "!"]) == f"data.labels=['{run_of(chr(92))}!',a]"


@pytest.mark.parametrize("between", [" ", "\t", "\n"])
def test_a_list_of_settings_is_read(between: str) -> None:
    item = f"a{run_of(between)}b"
    settings = read_settings(PredictConfig, ["run=r", f"input=[ {item} ,'c', d]"])
    assert settings.input == (item, "c", "d")


def test_a_home_folder_is_looked_for() -> None:
    (shown,) = as_typed([f"a=[{run_of('a ')}~,{run_of(' ')}]"])
    assert shown.startswith("a=['a a ")


def test_a_word_that_holds_comments_is_split() -> None:
    assert split_word(f"unsigned {run_of('/* ')}") == ["unsigned"]
    assert split_word(f"unsigned {run_of('/* */')} int") == ["unsigned", "int"]
    assert split_word(run_of("A")) == [run_of("a")]


@pytest.mark.parametrize("head", ["%", "%5.", "%-"])
def test_conversions_are_looked_for(head: str) -> None:
    assert re.findall(names._CONVERSION, head + run_of("0") + "?") == []
    assert re.findall(names._CONVERSION, f"{head}{run_of('0')}d") == [f"{head}{run_of('0')}d"]


def test_a_conversion_is_what_it_is_in_c() -> None:
    text = "%d %5d %-05d %0*d %.3f %.*s %+.f %#08lx %% %hhd %z %lld %0.0f"
    assert re.findall(names._CONVERSION, text) == [
        *("%d", "%5d", "%-05d", "%0*d", "%.3f", "%.*s", "%+.f", "%#08lx", "%hhd", "%lld", "%0.0f"),
    ]


@pytest.mark.parametrize("text", [run_of("0") + "!", "0x" + run_of("f") + "!", run_of("1.")])
def test_a_number_is_split(text: str) -> None:
    assert split_number(text) == ["<float 32>"]


@pytest.mark.parametrize("unit", [".'", "'", ". ", "a"])
def test_a_document_is_cut(unit: str) -> None:
    cut = cut_texts(["." + run_of(unit) + "!a"], "sentences", 1000, 0, 4)
    assert len(cut.words) == 1


@pytest.mark.parametrize("unit", ["a", "0", "'", " ", "\n"])
def test_a_graph_of_neighbours_is_made(unit: str) -> None:
    made = window_graphs([run_of(unit)], window=1, max_nodes=10)
    assert len(made.graphs) == 1


@pytest.mark.parametrize("unit", ["\x1b", "`", "|", "\u2028", "1e1.", "<a", "a_"])
def test_a_text_is_shown(unit: str) -> None:
    text = run_of(unit)
    assert len(escape_control(text)) >= len(text)
    assert parse_json(dumps(text)) == text
    assert len(named(text)) <= 31
    for form in (plain, tex):
        assert form(text)
    assert natural(text)
