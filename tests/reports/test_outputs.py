"""A report written down: every form says the same, whatever runs are named and whatever is missing."""

from __future__ import annotations

import csv
import html
import io
import json
import os
import re
from collections.abc import Mapping
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterpoise.errors import escape_control
from counterpoise.jsonio import dumps, read_json
from counterpoise.reports.outputs import write as writing
from counterpoise.reports.outputs.figures import METRICS, duration, mean_std, p_value, titled
from counterpoise.reports.outputs.html import page
from counterpoise.reports.outputs.markdown import markdown
from counterpoise.reports.outputs.method import method_of
from counterpoise.reports.outputs.sentences import found, order_of
from counterpoise.reports.outputs.summary_json import summary
from counterpoise.reports.outputs.tables import MAIN_METRICS, csv_text, tex_text
from counterpoise.reports.outputs.write import write_report
from counterpoise.reports.report import DataSet, Figure, Method, Repetition, Report, Row, RunEntry
from pages_kit import HOSTILE, comparison, figure, model_row, small_report

Table = dict[tuple[str, str], str]
"""The text of a figure by row and metric, as it is titled."""


class Rows(HTMLParser):
    """The cells of every table of a page, as text."""

    def __init__(self) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self._inside: str | None = None

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self._inside = tag
        elif (tag == "span" and ("class", "sub") in attrs) or ("class", "tag") in attrs:
            self._inside = None

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self._inside = None

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.tables[-1][-1][-1] += data


def of_html(text: str) -> Table:
    parser = Rows()
    parser.feed(text)
    heads, *rows = parser.tables[0]
    return {(row[0], head): cell for row in rows for head, cell in zip(heads, row, strict=True)}


def of_markdown(text: str) -> Table:
    lines = [line for line in text.splitlines() if line.startswith("|")]
    heads, rows = cells(lines[0]), []
    for line in lines[2:]:
        if len(cells(line)) != len(heads):
            break
        rows.append(cells(line))
    return {(row[0], head): cell for row in rows for head, cell in zip(heads, row, strict=True)}


def cells(line: str) -> list[str]:
    parts = re.split(r"(?<!\\)\|", line)[1:-1]
    return [html.unescape(re.sub(r"\\(.)", r"\1", part.strip())) for part in parts]


def of_tex(text: str) -> Table:
    body = text[text.index("\\toprule") : text.index("\\bottomrule")]
    rows = [line.removesuffix(r"\\") for line in body.splitlines() if line.endswith(r"\\")]
    plain = [[untex(cell) for cell in re.split(r"(?<!\\)&", row)] for row in rows]
    return {(row[0], head): cell for row in plain[1:] for head, cell in zip(plain[0], row, strict=True)}


def untex(cell: str) -> str:
    cell = re.sub(r"^\\textbf\{(.*)\}$", r"\1", cell.strip())
    return cell.replace(r"$\pm$", "±").replace("--", "–").replace(r"\_", "_")


def of_csv(text: str) -> Table:
    return {(line["row"], titled(line["metric"])): line["text"] for line in csv.DictReader(io.StringIO(text))}


def test_all_five_forms_say_the_same(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    write_report(report, tmp_path / "out")
    read = {name: (tmp_path / "out" / name).read_text() for name in ("report.html", "results.tex", "results.csv")}
    forms = {
        "html": of_html(read["report.html"]),
        "markdown": of_markdown((tmp_path / "out" / "production_report.md").read_text()),
        "tex": of_tex(read["results.tex"]),
        "csv": of_csv(read["results.csv"]),
    }
    (data,) = report.data
    compared = 0
    for row in data.rows:
        for metric, of in row.figures.items():
            for name, table in forms.items():
                assert table[row.name, titled(metric)] == mean_std(of), (name, row.name, metric)
                compared += 1
    assert compared == 4 * (4 * 5 + 2)
    saved = read_json(tmp_path / "out" / "production_summary.json")
    lines = {(line["row"], line["metric"]): line for line in csv.DictReader(io.StringIO(read["results.csv"]))}
    for kind in ("models", "averages", "baselines"):
        for name, entry in saved[kind].items():
            for metric in [key.removeprefix("mean_") for key in entry if key.startswith("mean_")]:
                line = lines[name, metric]
                assert float(line["mean"]) == entry[f"mean_{metric}"]
                assert (float(line["std"]) if line["std"] else None) == entry[f"std_{metric}"]
                both = entry[f"interval_{metric}"]["over_both"]
                assert [float(line[f"both_{end}"]) for end in ("low", "high") if line["both_low"]] == (both or [])


def test_the_summary_has_the_promised_keys(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    saved = json.loads(dumps(summary(report)))
    assert saved["timestamp"] == report.created
    assert list(saved["models"]) == ["GNN", "TextCNN optimizer.lr=0.001", "BiLSTM"]
    gnn, row = saved["models"]["GNN"], report.data[0].row("GNN")
    assert (gnn["seeds"], gnn["best_seed"]) == ([42, 2025, 7], 7)
    assert gnn["best_f1"] == row.figures["f1"].values[2], "the figure of the seed that validation chose"
    assert saved["best_overall_model"] == "GNN"
    assert saved["best_overall_f1"] == gnn["mean_f1"] == row.figures["f1"].mean
    assert "on validation" in saved["chosen"]
    assert saved["statuses"] == {"finished": 9, "failed": 1, "unfinished": 1}
    assert saved["compute_seconds"] == report.seconds
    assert len(saved["significance"]) == 5
    assert len(saved["runs"]) == 11


def test_rows_of_several_data_sets_are_told_apart_and_no_model_is_best_of_all(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    both = replace(report, data=(report.data[0], replace(report.data[0], name="other")))
    saved = summary(both)
    assert list(saved["models"])[:2] == ["GNN on demo_code", "TextCNN optimizer.lr=0.001 on demo_code"]
    assert saved["best_overall_model"] is saved["best_overall_f1"] is None
    assert saved["best"] == {"demo_code": "GNN on demo_code", "other": "GNN on other"}
    assert page(both).count('<h2 id="data-') == 2
    assert [sentence.split(":")[0] for sentence in found(both)[:2]] == ["On demo_code", "On other"]


def test_hostile_names_are_text_in_every_form(tmp_path: Path) -> None:
    report = small_report(tmp_path, hostile=True)
    write_report(report, tmp_path / "out")
    shown = (tmp_path / "out" / "report.html").read_text()
    assert "<script>alert" not in shown
    assert shown.count("<script>") == 1
    assert "alert(1)" in shown
    tags = set(re.findall(r"<([a-zA-Z][\w:]*)", shown.partition("<body>")[2].partition("<script>")[0]))
    assert not tags & {"script", "iframe", "object", "link", "meta", "style", "img", "metadata", "base", "form"}
    assert not re.search(r"<[^>]*\son\w+=", shown.partition("<body>")[2].partition("<script>")[0])
    assert not re.findall(r"(?:src|href)=\"(?!#)[^\"]*\"", shown)
    text = (tmp_path / "out" / "production_report.md").read_text()
    assert "<script>" not in re.sub(r"`[^`]*`", "", text)
    widths = {len(cells(line)) for line in text.splitlines() if line.startswith("| ")}
    assert widths <= {9, 8, 4}, "no name breaks a table"
    tex = (tmp_path / "out" / "results.tex").read_text()
    assert r"\input" not in tex
    assert r"\textbackslash{}input\{x\}" in tex
    lines = list(csv.DictReader((tmp_path / "out" / "results.csv").open()))
    assert lines[0]["row"] == escape_control(HOSTILE)
    assert read_json(tmp_path / "out" / "production_summary.json")["data"][0]["classes"] == [HOSTILE, "=cmd()"]


def test_a_spreadsheet_takes_no_name_for_a_formula(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    row = replace(report.data[0].rows[0], name="=HYPERLINK(1)", model="@x")
    text = csv_text(replace(report, data=(replace(report.data[0], rows=(row,)),)))
    assert {(line["row"], line["model"]) for line in csv.DictReader(io.StringIO(text))} == {("'=HYPERLINK(1)", "'@x")}


def test_old_files_are_replaced_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    before = write_report(report, tmp_path / "out")
    stale = (tmp_path / "out" / "report.html").read_text()
    again = write_report(replace(report, title="Another"), tmp_path / "out")
    assert before == again
    assert before[0].name == "report.html"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {path.name for path in again}
    assert (tmp_path / "out" / "report.html").read_text() != stale


def test_a_picture_that_fails_does_not_lose_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    report = small_report(tmp_path, folders=False)
    write_report(report, tmp_path)

    def broken(report: Report) -> None:
        raise ValueError("no ink")

    monkeypatch.setattr(writing, "draw_comparison", broken)
    written = write_report(report, tmp_path)
    assert "metrics_comparison.png could not be drawn: no ink." in caplog.text
    assert "metrics_comparison.png" not in [path.name for path in written]
    assert not (tmp_path / "metrics_comparison.png").exists(), "an older one would be of other runs"
    assert "metrics_comparison" not in (tmp_path / "production_report.md").read_text()


def test_what_was_found_is_told_plainly(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    first, last = found(report)
    assert first.startswith(
        "GNN is the best of 3 models by its score on validation; its F1 on the 800 test rows is 0.7"
    )
    assert "(3 seeds; 95 % interval 0." in first
    assert "It beats the next, TextCNN optimizer.lr=0.001, by 0.0410: beyond chance of rows, but" in first
    assert first.endswith("It beats the baselines tfidf_logistic and majority.")
    assert last == "2 of 11 runs did not finish (1 failed, 1 unfinished); 1 h 2 min of computing in all."


@pytest.mark.parametrize(
    ("difference", "verdict", "maximise", "said"),
    [
        (0.1, "clear", True, "It clearly beats the next, B, by 0.1000."),
        (-0.1, "clear", True, "It clearly is beaten by the next, B, by 0.1000."),
        (-0.1, "clear", False, "It clearly beats the next, B, by 0.1000."),
        (
            0.01,
            "unclear",
            True,
            "It cannot be told apart from the next, B: it is 0.0100 F1 ahead on the held-out rows; about 7 seeds",
        ),
        (-0.01, "unclear", True, "from the next, B: it is 0.0100 F1 behind on the held-out rows; about 7 seeds"),
    ],
)
def test_the_direction_of_a_metric_decides_who_is_ahead(
    difference: float, verdict: str, maximise: bool, said: str
) -> None:
    rows = (model_row("A", 0.7, (1, 2), 0), model_row("B", 0.6, (1, 2), 2))
    for given_ in (comparison("A", "B", difference, verdict), comparison("B", "A", -difference, verdict)):
        data = replace(one_set(rows), maximise=maximise, comparisons=(given_,))
        assert said in found(one_report((data,)))[0]


def all_words(report: Report) -> list[str]:
    """Every form in which a report is read."""
    said = "\n".join([*found(report), *map(order_of, report.data)])
    return [said, page(report), markdown(report, None), tex_text(report), dumps(summary(report)["publication"])]


def test_rows_that_were_chosen_on_are_said_to_be_flattered(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    data = replace(report.data[0], split="valid", chosen_here=True)
    flattered = replace(report, data=(data,))
    for said, before in zip(all_words(flattered), all_words(report), strict=True):
        assert "chosen on these very rows, which flatters them" in said
        assert "very rows" not in before
        assert "decide nothing" not in said
        assert "decides nothing" not in said
    shown = re.sub("no difference there is called clear", "", "".join(all_words(flattered)[:3]))
    shown = re.sub(r"<(style|script)>.*?</\1>|Verdicts[^\n]*", "", shown, flags=re.S)
    assert not re.search(r"\b[Cc]lear(ly)?\b", shown)
    assert "GNN − BiLSTM" in shown
    assert "beyond chance, on rows it was chosen on" in shown
    assert summary(flattered)["data"][0]["chosen_here"] is True
    ahead = replace(data, comparisons=(comparison("GNN", "TextCNN optimizer.lr=0.001", 0.1, "clear"),))
    assert (
        "It beats the next, TextCNN optimizer.lr=0.001, by 0.1000: beyond chance, on rows"
        in found(replace(report, data=(ahead,)))[0]
    )


def test_only_the_data_set_that_was_chosen_on_is_named_as_flattered(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    other = replace(report.data[0], name="other", chosen_here=True)
    texts = {"demo_code: GNN": "Trained.", "other: GNN": "Trained."}
    both = replace(report, data=(report.data[0], other), publication=texts)
    assert "The held-out rows of other are validation rows" in method_of(both)[0]
    said = summary(both)["publication"]
    assert said["demo_code: GNN"] == "Trained."
    assert said["other: GNN"].startswith("Trained. Epochs, thresholds")


def test_what_a_row_lacks_stands_in_every_table_and_in_the_headline(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    (data,) = report.data
    best, *others = data.rows
    lacking = replace(data, rows=(replace(best, incomplete="2 of 5 folds"), *others))
    report = replace(report, data=(lacking,))
    assert "It is not complete: 2 of 5 folds." in found(report)[0]
    assert re.search(r'<span class="sub">3 seeds, [^<]*2 of 5 folds</span>', page(report))
    assert of_markdown(markdown(report, None))["GNN", ""] == "3 seeds; 2 of 5 folds"
    assert summary(report)["models"]["GNN"]["incomplete"] == "2 of 5 folds"
    lines = list(csv.DictReader(io.StringIO(csv_text(report))))
    assert {(line["row"], line["incomplete"]) for line in lines if line["kind"] == "model"} == {
        *(("GNN", "2 of 5 folds"), ("TextCNN optimizer.lr=0.001", ""), ("BiLSTM", ""))
    }


def test_baselines_that_are_beaten_on_these_rows_only_are_told_apart(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    pairs = (comparison("GNN", "tfidf_logistic", 0.1, "rows only"), comparison("majority", "GNN", 0.1, "rows only"))
    said = found(replace(report, data=(replace(report.data[0], comparisons=pairs),)))[0]
    assert "It beats, beyond chance of the rows only, the baseline tfidf_logistic." in said
    assert said.endswith("It is beaten, beyond chance of the rows only, by the baseline majority.")


@pytest.mark.parametrize(
    ("changes", "score", "why"),
    [
        ({"metric": ""}, 0.5, "their runs name no known objective"),
        ({}, None, "none has a score on validation"),
    ],
)
def test_without_what_decides_no_model_is_called_the_best(
    tmp_path: Path, changes: dict[str, str], score: float | None, why: str
) -> None:
    report = small_report(tmp_path, folders=False)
    (data,) = report.data
    rows = tuple(
        replace(row, repetitions=tuple(replace(each, score=score) for each in row.repetitions)) for row in data.rows
    )
    report = replace(report, data=(replace(data, rows=rows, **changes),))
    assert found(report)[0] == f"3 models were trained; which is the best cannot be said: {why}."
    saved = summary(report)
    assert saved["best_overall_model"] is saved["best_overall_f1"] is None
    assert saved["best"] == {}
    shown = page(report)
    assert ">best</span>" not in shown
    assert "stand as their runs were given" in markdown(report, None)
    assert "textbf{" not in tex_text(report)
    assert "interval of  " not in markdown(report, None)


def test_csv_says_what_a_deviation_is_over(tmp_path: Path) -> None:
    spread = Figure(mean=0.5, std=0.1, values=(0.5,))
    folds = (Repetition(seed=None, folds=(0, 1, 2, 3), runs=()),)
    rows = (
        Row(
            name="A",
            kind="model",
            over="folds",
            repetitions=folds,
            figures={"f1": spread},
        ),
        Row(
            name="bar",
            kind="baseline",
            over="folds",
            repetitions=folds,
            figures={"f1": spread},
        ),
        Row(name="one", kind="baseline", figures={"f1": Figure(mean=0.4, values=(0.4,))}),
    )
    lines = list(csv.DictReader(io.StringIO(csv_text(one_report((one_set(rows),))))))
    assert [(line["repetitions"], line["over"]) for line in lines] == [("4", "folds"), ("4", "folds"), ("1", "")]


@pytest.mark.parametrize("name", ["[0.5ex] x", "* x"])
def test_a_name_is_no_argument_of_the_line_above_it(name: str) -> None:
    rows = tuple(Row(name=each, kind="model", figures={"f1": figure([0.5])}) for each in ("first", name))
    text = tex_text(one_report((one_set(rows),)))
    assert not re.search(r"(\\\\|rule)\s*[\[*]", text)


def test_long_names_are_cut_in_their_middle_and_whole_where_there_is_room(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    (data,) = report.data
    name = f"GNN {'x' * 300} last=1"
    report = replace(report, data=(replace(data, rows=(replace(data.rows[0], name=name), *data.rows[1:])),))
    shown = page(report)
    assert f'<bdi title="{name}">GNN xxx' in shown
    short = re.search(r"title=\"GNN x+ last=1\">(GNN x+…x+ last=1)<", shown)
    assert short is not None
    assert len(short[1]) == 120
    assert short[1] in tex_text(report)
    assert name not in tex_text(report)
    assert name in summary(report)["models"]


def test_how_to_make_a_run_again_stands_beside_why_it_failed(tmp_path: Path) -> None:
    lost = RunEntry(folder=tmp_path / "a", status="failed", message="no", command="python src/train.py data=<gone>")
    assert "<code>python src/train.py data=&lt;gone&gt;</code>" in page(one_report((), (lost,)))


def one_set(rows: tuple[Row, ...]) -> DataSet:
    return DataSet(
        name="d",
        fingerprint="f" * 32,
        split="test",
        size=10,
        classes=("a", "b"),
        counts={},
        metric="f1",
        maximise=True,
        rows=rows,
    )


def one_report(data: tuple[DataSet, ...], runs: tuple[RunEntry, ...] = (), **more: Any) -> Report:
    return Report(
        created="2026-01-31T12:00:00+00:00",
        version="0",
        title="t",
        paths=(),
        data=data,
        runs=runs,
        method=Method(),
        **more,
    )


def test_durations_and_p_values_are_short() -> None:
    assert [duration(of) for of in (None, 0.04, 42.4, 185, 7980, 86400 * 3 + 4 * 3600)] == [
        *("–", "0.0 s", "42 s", "3 min 5 s", "2 h 13 min", "3 d 4 h")
    ]
    assert [p_value(of) for of in (None, 0.0, 0.00009, 0.0312, 1.0)] == [
        "–",
        "< 0.0001",
        "< 0.0001",
        "0.0312",
        "1.0000",
    ]


NAMES = st.one_of(
    st.sampled_from(["f1", "x" * 400, "=1", "_x", "a|b", HOSTILE, "\ud800", "\x00\x1b", "\r", "a\n=b", "ｗ漢字", ""]),
    st.text(),
)
NUMBERS = st.one_of(st.none(), st.floats(-1e9, 1e9))
ENDS = st.one_of(st.none(), st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)))
FIGURES = st.builds(
    Figure,
    mean=st.floats(-1e6, 1e6),
    std=st.one_of(st.none(), st.floats(0, 1e3)),
    values=st.lists(st.floats(-1e3, 1e3), max_size=6).map(tuple),
    over_seeds=ENDS,
    over_rows=ENDS,
    over_both=ENDS,
)
ROWS = st.builds(
    Row,
    name=NAMES,
    kind=st.sampled_from(["model", "average", "baseline"]),
    figures=st.dictionaries(st.sampled_from(["f1", "log_loss", "roc_auc"]), FIGURES),
    members=st.lists(NAMES, max_size=2).map(tuple),
    parameters=st.one_of(st.none(), st.integers(0, 10**12)),
    seconds=st.one_of(st.none(), st.floats(0, 1e9)),
    threshold=NAMES,
    best_run=st.one_of(st.none(), st.integers(0, 2)),
)
SETS = st.builds(
    DataSet,
    name=NAMES,
    fingerprint=st.just(""),
    split=st.sampled_from(["test", "valid", "out of fold"]),
    size=st.integers(0, 10**9),
    classes=st.lists(NAMES, max_size=40).map(tuple),
    counts=st.just({}),
    metric=st.sampled_from(["f1", "log_loss", "custom"]),
    maximise=st.booleans(),
    rows=st.lists(ROWS, max_size=4, unique_by=lambda row: row.name).map(tuple),
    notes=st.lists(NAMES, max_size=2).map(tuple),
)
ENTRIES = st.builds(
    RunEntry,
    folder=st.just(Path("nowhere")),
    status=st.sampled_from(["finished", "collapsed", "failed", "unfinished", "pruned"]),
    row=NAMES,
    message=NAMES,
    seed=st.one_of(st.none(), st.integers(0, 9)),
    score=NUMBERS,
    seconds=NUMBERS,
    command=NAMES,
    differs=st.dictionaries(NAMES, NAMES, max_size=2),
    diagnosis=st.lists(st.dictionaries(st.sampled_from(["kind", "message", "override"]), NAMES), max_size=2).map(tuple),
)
REPORTS = st.builds(
    Report,
    created=st.just("2026"),
    version=st.just("0"),
    title=NAMES,
    paths=st.lists(NAMES, max_size=2).map(tuple),
    data=st.lists(SETS, max_size=2, unique_by=lambda data: data.name).map(tuple),
    runs=st.lists(ENTRIES, max_size=3).map(tuple),
    method=st.just(Method()),
    statuses=st.dictionaries(NAMES, st.integers(0, 9), max_size=3),
    seconds=st.floats(0, 1e9),
    publication=st.dictionaries(NAMES, NAMES, max_size=2),
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(report=REPORTS)
def test_whatever_is_missing_or_odd_is_written_down(report: Report) -> None:
    with pytest.MonkeyPatch.context() as patch:  # pictures have a test of their own
        patch.setattr("counterpoise.reports.outputs.html._comparison", lambda report, data: {})
        patch.setattr("counterpoise.reports.outputs.html._pictures", lambda run, names: {})
        shown = page(report)
    assert shown.rstrip().endswith("</html>")
    assert shown.count("<script>") == 1
    assert markdown(report, None).startswith("# ")
    saved: Mapping[str, Any] = json.loads(dumps(summary(report)))
    assert len(saved["runs"]) == len(report.runs)
    lines = list(csv.DictReader(io.StringIO(csv_text(report))))
    assert len(lines) == sum(len(row.figures) for data in report.data for row in data.rows)
    tables = list(tex_text(report).split("\\begin{tabular}")[1:])
    for data, part in zip([data for data in report.data if data.rows], tables, strict=True):
        known = {metric for row in data.rows for metric in row.figures if metric in (*METRICS, data.metric)}
        rows = [line for line in part.splitlines() if line.endswith(r"\\")]
        assert {len(re.split(r"(?<!\\)&", line)) for line in rows} == {1 + min(len(known), MAIN_METRICS)}
    assert found(report)


def test_a_report_of_nothing_says_so(tmp_path: Path) -> None:
    lost = RunEntry(folder=tmp_path / os.fsdecode(b"bad\xff"), status="failed", message="no")
    report = one_report((), (lost,), statuses={"failed": 1})
    names = [path.name for path in write_report(report, tmp_path / "out")]
    assert names == ["report.html", "production_report.md", "production_summary.json", "results.csv", "results.tex"]
    assert "No run finished" in (tmp_path / "out" / "report.html").read_text()
    assert found(report)[-1].startswith("1 of 1 run did not finish (1 failed)")


def test_a_thousand_runs_stay_small_and_fast(tmp_path: Path) -> None:
    seeds = range(20)
    rows = tuple(model_row(f"model {place}", 0.5 + place / 1000, seeds, 20 * place) for place in range(50))
    runs = tuple(
        RunEntry(
            folder=tmp_path / f"r{place}", status="finished", row=f"model {place // 20}", seed=place % 20, score=0.5
        )
        for place in range(1000)
    )
    pairs = tuple(comparison("model 0", f"model {place}", 0.01, "unclear") for place in range(1, 50))
    data = replace(one_set(rows), comparisons=pairs)
    report = one_report((data,), runs, statuses={"finished": 1000})
    write_report(report, tmp_path / "out")
    assert (tmp_path / "out" / "report.html").stat().st_size < 2_000_000
    shown = (tmp_path / "out" / "report.html").read_text()
    assert shown.count("<details") == 12
    assert shown.count("<bdi>r") >= 988


def test_a_single_figure_has_no_deviation() -> None:
    assert mean_std(figure([0.5])) == "0.5000"
    assert mean_std(figure([0.4, 0.6])) == "0.5000 ± 0.1414"
    assert mean_std(Figure(mean=-0.00001)) == "0.0000"


@pytest.mark.parametrize(
    ("verdict", "difference", "more_right", "said"),
    [
        ("unclear", 0.012, "second", "in accuracy {second} is ahead (McNemar test, p < 0.0001); F1 decides"),
        ("unclear", 0.012, "first", "in accuracy {first} is ahead (McNemar test, p < 0.0001); F1 decides"),
        ("clear", 0.041, "second", "in accuracy {second} is ahead (McNemar test, p < 0.0001); F1 decides"),
        ("rows only", 0.041, "unclear", "in accuracy they cannot be told apart (McNemar test, p 0.4000); F1 decides"),
        ("clear", 0.041, "first", ""),
        ("unclear", 0.012, "unclear", ""),
        ("unclear", 0.012, None, ""),
    ],
)
def test_a_test_of_accuracy_that_says_otherwise_is_explained(
    verdict: str, difference: float, more_right: Any, said: str, tmp_path: Path
) -> None:
    """The sentence follows the metric that decides; the other test's answer stands beside it, by its name."""
    report = small_report(tmp_path, folders=False)
    (data,) = report.data
    first, second = (row.name for row in data.rows[:2])
    p_value_of = 0.4 if more_right == "unclear" else None if more_right is None else 0.00001
    facts: dict[str, Any] = {"more_right": more_right, "p_mcnemar_holm": p_value_of}
    for other in (second, "tfidf_logistic"):
        compared = comparison(first, other, difference, verdict, **facts)
        sentences = " ".join(found(replace(report, data=(replace(data, comparisons=(compared,)),))))
        if said:
            assert said.format(first=first, second=other) in sentences
        else:
            assert "in accuracy" not in sentences
    same = replace(data, metric="accuracy", comparisons=(replace(compared, metric="accuracy"),))
    assert "in accuracy" not in " ".join(found(replace(report, data=(same,))))


def test_the_tables_say_what_each_test_compares(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    for text in (html.unescape(page(report)), markdown(report, None)):
        for head in ("p of F1, rows and seeds", "p of F1, rows", "p of accuracy, rows (McNemar)", "verdict on F1"):
            assert head in text


def test_what_tuning_the_threshold_came_to_is_told_of_each_run(tmp_path: Path) -> None:
    report = small_report(tmp_path, folders=False)
    said = "Threshold 0.31, tuned for f1: gain +0.0500 on validation, 95 % interval +0.0100 to +0.0900."
    report = replace(report, runs=(replace(report.runs[0], tuning=said), *report.runs[1:]))
    for text in (html.unescape(page(report)), markdown(report, None), dumps(summary(report))):
        assert said in text
