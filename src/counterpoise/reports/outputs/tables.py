"""``results.csv`` for spreadsheets and programs, ``results.tex`` for papers."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

from counterpoise.errors import escape_control
from counterpoise.reports.outputs.figures import (
    MAIN_METRICS,
    mean_std,
    metrics_of,
    shortened,
    shown_metrics,
    titled,
)
from counterpoise.reports.outputs.sentences import ranking
from counterpoise.reports.report import DataSet, Figure, Interval, Report, Row

COLUMNS = (
    *("data", "split", "row", "kind", "model", "metric", "mean", "std", "repetitions", "over"),
    *("seeds_low", "seeds_high", "rows_low", "rows_high", "both_low", "both_high", "incomplete", "text"),
)
_TEX = {
    "\\": r"\textbackslash{}",
    "{": r"\{",
    "}": r"\}",
    "$": r"\$",
    "&": r"\&",
    "#": r"\#",
    "_": r"\_",
    "%": r"\%",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"\textquotedbl{}",
    "±": r"$\pm$",
    "–": "--",
    "[": "{[}",
    "*": "{*}",
}
"""A row that begins with [ or * would be taken for an argument of the end of the line above it."""


def csv_text(report: Report) -> str:
    """One line per row and metric, figures in full precision, and ``text`` as every other form shows them."""
    target = io.StringIO()
    writer = csv.writer(target, lineterminator="\n")
    writer.writerow(COLUMNS)
    for data in report.data:
        for row in data.rows:
            for metric in metrics_of(data):
                if metric in row.figures:
                    writer.writerow(_csv_line(data, row, metric, row.figures[metric]))
    return target.getvalue()


def _csv_line(data: DataSet, row: Row, metric: str, figure: Figure) -> list[str]:
    return [
        *map(cell, (data.name, data.split, row.name, row.kind, row.model, metric)),
        repr(float(figure.mean)),
        "" if figure.std is None else repr(float(figure.std)),
        str(_repetitions(row, figure)),
        row.over if row.kind != "baseline" or figure.std is not None else "",
        *_ends(figure.over_seeds),
        *_ends(figure.over_rows),
        *_ends(figure.over_both),
        cell(row.incomplete),
        mean_std(figure),
    ]


def _repetitions(row: Row, figure: Figure) -> int:
    """What ``std`` is over: the folds of a single seed, or its repetitions."""
    folds = sum(len(each.folds) for each in row.repetitions)
    return folds if row.over == "folds" and folds else len(figure.values)


def _ends(interval: Interval | None) -> list[str]:
    return ["", ""] if interval is None else [repr(float(end)) for end in interval]


def cell(text: str) -> str:
    """A name in one line; a spreadsheet takes one that begins with one of these for a formula, and would run it."""
    flat = escape_control(text)
    return f"'{flat}" if flat.lstrip().startswith(("=", "+", "-", "@")) else flat


def tex(text: str) -> str:
    """Text as LaTeX shows it: nothing in it is obeyed."""
    flat = " ".join(escape_control(text).split())
    return "".join(_TEX.get(character, character) for character in flat)


def tex_text(report: Report) -> str:
    """A table with booktabs for each data set."""
    parts = ["% needs \\usepackage{booktabs} and \\usepackage[T1]{fontenc}"]
    parts += ["\n".join(_tex_table(data, number)) for number, data in enumerate(report.data, 1) if data.rows]
    return "\n\n".join(parts) + "\n"


def _tex_table(data: DataSet, number: int) -> Iterator[str]:
    metrics = shown_metrics(data)[:MAIN_METRICS]
    held = {"test": "the test split", "valid": "validation", "out of fold": "the folds that were held out"}[data.split]
    yield "\\begin{table}"
    yield "  \\centering"
    about = f"mean $\\pm$ standard deviation on {held} ({data.size} rows). {tex(ranking(data))}"
    yield f"  \\caption{{{tex(shortened(data.name))}: {about}}}"
    yield f"  \\label{{tab:results-{number}}}"
    yield f"  \\begin{{tabular}}{{l{'r' * len(metrics)}}}"
    yield "    \\toprule"
    yield "    " + " & ".join(["", *(tex(titled(metric)) for metric in metrics)]) + r" \\"
    before = ""
    for row in data.rows:
        if row.kind != before:
            yield "    \\midrule"
        before = row.kind
        name = tex(shortened(row.name))
        name = f"\\textbf{{{name}}}" if row in data.leaders else name
        name += f" ({tex(row.incomplete)})" if row.incomplete else ""
        yield "    " + " & ".join([name, *(tex(mean_std(row.figures.get(m))) for m in metrics)]) + r" \\"
    yield "    \\bottomrule"
    yield "  \\end{tabular}"
    yield "\\end{table}"
