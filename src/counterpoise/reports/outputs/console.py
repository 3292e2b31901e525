"""A report on the console: the tables, and the comparisons in words."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from counterpoise.line_console import styled
from counterpoise.reports.outputs.figures import interval_of, mean_std, repetitions, shown_metrics, span, titled
from counterpoise.reports.outputs.sentences import comparison_line, found, order_of
from counterpoise.reports.report import DataSet, Report
from counterpoise.tracking.console import show_table

SHOWN_COMPARISONS = 20
"""Of a data set; the report has all."""


def show_report(console: Console, report: Report) -> None:
    """Print each data set's table and comparisons, and what was found."""
    for data in report.data:
        show_table(console, _table(data))
        console.print(order_of(data), soft_wrap=True)
        for each in data.comparisons[:SHOWN_COMPARISONS]:
            console.print(comparison_line(data, each), soft_wrap=True)
        if len(data.comparisons) > SHOWN_COMPARISONS:
            more = len(data.comparisons) - SHOWN_COMPARISONS
            console.print(f"... and {more:,} more comparisons, which the report has.", soft_wrap=True)
        for note in data.notes:
            console.print(f"Note: {note}", soft_wrap=True)
    for sentence in found(report):
        console.print(sentence, soft_wrap=True)


def _table(data: DataSet) -> Table:
    first, *others = shown_metrics(data) or [data.metric]
    table = Table(title=f"{data.name}, {data.split}, {data.size:,} rows", title_justify="left")
    table.add_column("", overflow="fold")
    for name in (titled(first), "interval", *map(titled, others), "repetitions"):
        table.add_column(name, justify="right")
    for row in data.rows:
        figure = row.figures.get(first)
        table.add_row(
            styled(row.name, "bold" if row in data.leaders else ""),
            mean_std(figure),
            "–" if figure is None else span(interval_of(figure)[0]),
            *(mean_std(row.figures.get(metric)) for metric in others),
            "; ".join(filter(None, [repetitions(row) if row.kind == "model" else row.kind, row.incomplete])),
        )
    return table
