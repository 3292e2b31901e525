"""``production_report.md``: the report to read where only text is shown."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator, Sequence

from counterpoise.errors import escape_control
from counterpoise.reports.outputs.figures import (
    count,
    duration,
    interval_of,
    interval_of_difference,
    leading,
    mean_std,
    number,
    p_value,
    repetitions,
    shown_metrics,
    signed,
    span,
    titled,
)
from counterpoise.reports.outputs.method import method_of
from counterpoise.reports.outputs.sentences import comparison_line, found, order_of, published, verdict_of
from counterpoise.reports.report import Comparison, DataSet, Report, Row
from counterpoise.tracking.findings import finding_lines

SHOWN_PATHS = 6
SHOWN_RUNS = 200
"""Runs that are listed; the JSON has all."""


def plain(text: str) -> str:
    """Text in one line, as text: no mark-up in it is obeyed."""
    return re.sub(r"([\\`*_\[\]!|~$])", r"\\\1", html.escape(" ".join(escape_control(text).split()), quote=False))


def markdown(report: Report, picture: str | None) -> str:
    """The page.

    Args:
        report: what it says.
        picture: the comparison's file beside it; ``None`` where there is none.
    """
    lines = [f"# {plain(report.title)}", ""]
    paths = ", ".join(f"`{_code(path)}`" for path in report.paths[:SHOWN_PATHS])
    lines.append(f"{report.created}, Counterpoise {report.version}, of {paths}")
    for sentence in found(report):
        lines += ["", plain(sentence)]
    for data in report.data:
        lines += ["", *_data(data)]
    if picture is not None:
        lines += ["", f"![Figures of every row with their intervals, and curves on validation]({picture})"]
    lines += ["", *_runs(report), "", *_unfinished(report)]
    if report.publication:
        lines += ["## For publication"]
        lines += [
            line for name, text in published(report).items() for line in ("", f"**{plain(name)}.** {plain(text)}")
        ]
        lines += ["", "The table as LaTeX: `results.tex`.", ""]
    lines += ["## How the figures were computed"]
    for paragraph in method_of(report):
        lines += ["", plain(paragraph)]
    return "\n".join(lines) + "\n"


def _code(text: str) -> str:
    return " ".join(escape_control(text).replace("`", "'").split())


def _data(data: DataSet) -> Iterator[str]:
    counts = ", ".join(f"{data.counts.get(name, 0):,} {name}" for name in data.classes[:20])
    more = f" and {len(data.classes) - 20} more classes" if len(data.classes) > 20 else ""
    yield f"## {plain(data.name)}"
    yield ""
    yield plain(f"{data.split}, {data.size:,} rows: {counts}{more}.")
    yield ""
    metrics = shown_metrics(data)
    yield from _table(
        ["", "", *(titled(metric) for metric in metrics), f"interval of {titled(leading(data))}", "computing"],
        [_row(data, row, metrics) for row in data.rows],
    )
    yield ""
    yield plain(order_of(data))
    if data.comparisons:
        yield ""
        yield "### Comparisons"
        yield ""
        of = titled(data.metric)
        tests = [f"p of {of}, rows and seeds", f"p of {of}, rows", "p of accuracy, rows (McNemar)"]
        heads = ["", f"difference in {of}", "interval", *tests, "effect", "seeds needed", f"verdict on {of}"]
        yield from _table(heads, [_comparison(data, each) for each in data.comparisons])
        yield ""
        for each in data.comparisons[:20]:
            yield f"- {plain(comparison_line(data, each))}"
    calibrated = [row for row in data.rows if row.calibration is not None]
    if calibrated:
        yield ""
        yield "### Calibration"
        yield ""
        yield from _table(["", "temperature", "error before", "error after"], [_calibration(row) for row in calibrated])
    for note in data.notes:
        yield ""
        yield f"Note: {plain(note)}"


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(map(plain, heads))} |"
    yield f"|{'---|' * len(heads)}"
    for cells in rows:
        yield f"| {' | '.join(map(plain, cells))} |"


def _row(data: DataSet, row: Row, metrics: Sequence[str]) -> list[str]:
    figure = row.figures.get(leading(data))
    interval, over = (None, "") if figure is None else interval_of(figure)
    about = "; ".join(filter(None, [repetitions(row) if row.kind == "model" else row.kind, row.incomplete]))
    of = f"{span(interval)}, of {over}" if over else span(interval)
    return [row.name, about, *(mean_std(row.figures.get(m)) for m in metrics), of, duration(row.seconds)]


def _comparison(data: DataSet, each: Comparison) -> list[str]:
    interval, _ = interval_of_difference(each)
    return [
        f"{each.first} − {each.second}",
        signed(each.difference),
        "–" if interval is None else f"{signed(interval[0])} to {signed(interval[1])}",
        *(p_value(p) for p in (each.p_both_holm, each.p_bootstrap_holm, each.p_mcnemar_holm)),
        "–" if each.effect is None else f"{each.effect:+.2f}",
        "–" if each.seeds_needed is None else f"{each.seeds_needed:,}",
        verdict_of(data, each),
    ]


def _calibration(row: Row) -> list[str]:
    of = row.calibration
    return [row.name, *(["–"] * 3 if of is None else [f"{of.temperature:.2f}", number(of.before), number(of.after)])]


def _runs(report: Report) -> Iterator[str]:
    finished = [run for run in report.runs if run.status == "finished"]
    yield f"## {count(len(finished), 'run')} that finished"
    yield ""
    for run in finished[:SHOWN_RUNS]:
        score = f", {titled(run.metric)} {number(run.score)} on validation" if run.score is not None else ""
        yield f"- `{_code(str(run.folder))}`: {plain(run.row)}{plain(score)}"
        for line in [*filter(None, [run.tuning]), *(finding_lines(run.diagnosis) if run.diagnosis else [])]:
            yield f"  - {plain(line)}"
    if len(finished) > SHOWN_RUNS:
        yield f"- and {len(finished) - SHOWN_RUNS:,} more, in `production_summary.json`"


def _unfinished(report: Report) -> Iterator[str]:
    missing = [run for run in report.runs if run.status != "finished"]
    if not missing:
        return
    yield f"## {count(len(missing), 'run')} that did not finish"
    yield ""
    for run in missing[:SHOWN_RUNS]:
        why = f": {plain(run.message)}" if run.message else ""
        yield f"- `{_code(str(run.folder))}`: {plain(run.status)}{why}"
    if len(missing) > SHOWN_RUNS:
        yield f"- and {len(missing) - SHOWN_RUNS:,} more, in `production_summary.json`"
    yield ""
