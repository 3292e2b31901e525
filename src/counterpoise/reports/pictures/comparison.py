"""What the rows of a data set came to, side by side: figures with their intervals, and curves on validation."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev
from typing import Any

from counterpoise.inks import BLUE, COLORS, FAINT, INK, LONGEST_NAME, MUTED, PAPER, TEAL, drawing, figure, named
from counterpoise.reports.outputs.figures import interval_of, metrics_of, number, range_of, titled
from counterpoise.reports.pictures.training import epoch_axis
from counterpoise.reports.reading import finite
from counterpoise.reports.report import DataSet, Report, Row
from counterpoise.reports.runs import read_run

SHOWN_MODELS = 16
"""Models of a data set in the picture, the best ones by validation."""
SHOWN_AVERAGES = 6
SHOWN_CURVES = 6
SHOWN_METRICS = 3
SHOWN_DATA = 6
"""Data sets in one picture."""
NARROW_NAME = 20
"""Characters of a name where there is little room."""
BOXED = 5
"""Repetitions from which a box of quartiles says something."""
Curves = Mapping[str, Sequence[Sequence[float]]]
"""By row: the score of each epoch of each of its runs."""


def draw_comparison(report: Report) -> Any | None:
    """All data sets, one below the other; ``None`` where no run finished."""
    shown = [data for data in report.data if data.rows][:SHOWN_DATA]
    if not shown:
        return None
    with drawing():
        heights = [_height(data) for data in shown]
        drawn = figure(9.6, sum(heights))
        parts = drawn.subfigures(len(shown), 1, height_ratios=heights, squeeze=False)[:, 0]
        for part, data in zip(parts, shown, strict=True):
            _draw(part, report, data, title=True)
    return drawn


def draw_data_set(report: Report, data: DataSet) -> Any | None:
    """One data set by itself; ``None`` where no run finished."""
    if not data.rows:
        return None
    with drawing():
        drawn = figure(9.6, _height(data))
        _draw(drawn, report, data, title=False)
    return drawn


def draw_narrow(report: Report, data: DataSet) -> Any | None:
    """The same for a phone: the first metric alone, names short, legends below."""
    if not data.rows:
        return None
    rows = _shown(data)
    with drawing():
        curves = curves_of(report, data)
        drawn = figure(4.6, 0.9 + 0.3 * len(rows) + 2.4 + 0.2 * len(curves))
        drawn.get_layout_engine().set(hspace=0.06)
        upper, lower = drawn.subplots(2, 1, height_ratios=[0.9 + 0.3 * len(rows), 2.2])
        for metric in metrics_of(data)[:1]:
            _panel(upper, rows, metric)
        _names(upper, rows, NARROW_NAME)
        _curves(lower, data, curves, narrow=True)
    return drawn


def _height(data: DataSet) -> float:
    return 1.5 + 0.3 * len(_shown(data)) + 2.4


def _shown(data: DataSet) -> list[Row]:
    most = {"model": SHOWN_MODELS, "average": SHOWN_AVERAGES, "baseline": SHOWN_MODELS}
    return [row for kind, count in most.items() for row in [row for row in data.rows if row.kind == kind][:count]]


def _draw(place: Any, report: Report, data: DataSet, *, title: bool) -> None:
    rows = _shown(data)
    upper, lower = place.subfigures(2, 1, height_ratios=[1.3 + 0.3 * len(rows), 2.6], hspace=0.02)
    metrics = metrics_of(data)[:SHOWN_METRICS]
    panels = upper.subplots(1, max(len(metrics), 1), sharey=True, squeeze=False)[0]
    for axes, metric in zip(panels, metrics, strict=False):
        _panel(axes, rows, metric)
    _names(panels[0], rows, LONGEST_NAME)
    left_out = len([row for row in data.rows if row.kind == "model"]) - SHOWN_MODELS
    of = f", the best {SHOWN_MODELS} models; {left_out} more are in the table" if left_out > 0 else ""
    if title:
        upper.suptitle(named(f"{data.name}, {data.split}, {data.size:,} rows", 70) + of, x=0.01, ha="left", fontsize=11)
    _curves(lower.subplots(), data, curves_of(report, data))


def _names(axes: Any, rows: Sequence[Row], longest: int) -> None:
    marks = [" (incomplete)" if row.incomplete else "" for row in rows]
    names = [named(row.name, longest) + mark for row, mark in zip(rows, marks, strict=True)]
    axes.set_yticks(range(len(rows)), names)
    axes.set_ylim(len(rows) - 0.4, -0.6)


def _panel(axes: Any, rows: Sequence[Row], metric: str) -> None:
    """One metric: a line for the interval, a box for the quartiles of many repetitions, a dot for each, one for the
    mean. A baseline that lies far off is written at the edge."""
    low, high = range_of(rows, metric)
    for place, row in enumerate(rows):
        found = row.figures.get(metric)
        if found is None:
            continue
        color = {"model": BLUE, "average": TEAL, "baseline": MUTED}[row.kind]
        if not low <= found.mean <= high:
            at, way = (low, "◂ {}") if found.mean < low else (high, "{} ▸")
            side = "left" if found.mean < low else "right"
            axes.text(at, place, way.format(number(found.mean)), ha=side, va="center", color=color, fontsize=8)
            continue
        interval, _ = interval_of(found)
        if interval is not None:
            axes.plot(interval, [place, place], color=color, linewidth=1.8, solid_capstyle="round", alpha=0.9)
        _repetitions(axes, found.values, place, color)
        face = PAPER if row.kind == "baseline" else color
        axes.plot([found.mean], [place], "o", color=color, markerfacecolor=face, markersize=6.5, zorder=4)
    axes.set_xlim(low, high)
    axes.set_title(titled(metric))
    axes.grid(visible=False, axis="y")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_visible(False)


def _repetitions(axes: Any, values: Sequence[float], place: int, color: str) -> None:
    """A dot for each, and of many a box around the middle half of them."""
    if len(values) >= BOXED:
        axes.boxplot(
            [list(values)],
            positions=[place],
            orientation="horizontal",
            widths=0.5,
            whis=(0, 100),
            showfliers=False,
            manage_ticks=False,
            patch_artist=True,
            boxprops={"facecolor": PAPER, "edgecolor": FAINT, "linewidth": 0.9},
            medianprops={"color": FAINT, "linewidth": 0.9},
            whiskerprops={"visible": False},
            capprops={"visible": False},
            zorder=1.5,
        )
    if len(values) > 1:
        axes.plot(values, [place] * len(values), "o", color=color, markersize=3.2, alpha=0.45, zorder=3)


def curves_of(report: Report, data: DataSet) -> Curves:
    """Scores on validation by epoch, of each run of the rows that come first."""
    found: dict[str, list[list[float]]] = {}
    for row in [row for row in data.rows if row.kind == "model"][:SHOWN_CURVES]:
        runs = [report.runs[index] for each in row.repetitions for index in each.runs if index < len(report.runs)]
        scores = [[e.score if finite(e.score) else math.nan for e in read_run(run.folder).epochs] for run in runs]
        if any(scores):
            found[row.name] = [each for each in scores if each]
    return found


def _curves(axes: Any, data: DataSet, curves: Curves, *, narrow: bool = False) -> None:
    """Mean by epoch over a row's runs, their standard deviation shaded; runs that ended early leave the mean."""
    longest = 1
    for place, (name, runs) in enumerate(curves.items()):
        length = max(map(len, runs))
        longest = max(longest, length)
        at = list(range(1, length + 1))
        columns = [[run[e] for run in runs if len(run) > e and math.isfinite(run[e])] for e in range(length)]
        means = [fmean(column) if column else math.nan for column in columns]
        spreads = [stdev(column) if len(column) > 1 else 0.0 for column in columns]
        color = COLORS[place]
        axes.plot(
            at, means, color=color, linewidth=1.8, label=named(name), marker="o" if length < 8 else "", markersize=4
        )
        low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
        high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
        axes.fill_between(at, low, high, color=color, alpha=0.13, linewidth=0)
    spread = "" if narrow else ", mean ± standard deviation over runs"
    axes.set_title(f"{titled(data.metric) or 'score'} on validation{spread}")
    if curves:
        corner, at_ = ("upper left", (1.0, 1.0)) if not narrow else ("upper center", (0.5, -0.24))
        axes.legend(*axes.get_legend_handles_labels(), loc=corner, bbox_to_anchor=at_)
    else:
        axes.text(0.5, 0.5, "no history", transform=axes.transAxes, ha="center", color=INK)
    epoch_axis(axes, [1, longest])
    axes.set_xlim(0.9 if longest > 1 else 0.5, longest + (0.1 if longest > 1 else 0.5))
