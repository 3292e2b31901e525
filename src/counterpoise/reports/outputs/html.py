"""``report.html``: one page that needs nothing else, to be read, sorted, filtered, copied from."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from counterpoise.errors import escape_control
from counterpoise.metrics import CALIBRATION_BINS
from counterpoise.reports.outputs import figures, sentences
from counterpoise.reports.outputs.method import method_of
from counterpoise.reports.outputs.tables import tex_text
from counterpoise.reports.report import DataSet, Report, RunEntry
from counterpoise.tracking.findings import finding_lines

log = logging.getLogger(__name__)

WITH_PICTURES = 12
"""Rows, best first, whose best run is shown with its pictures."""
WITH_ALL_PICTURES = 4
"""Of those, the first, whose run has all of its pictures: a page of a thousand runs is written in some seconds."""
FEW_PICTURES = ("training_curves", "confusion_matrix")
WITH_DETAILS = 48
"""Runs in detail, those with pictures among them; of more, the others stand in a table."""
SHOWN_COMPARISONS = 300
FORMATTERS = (
    *("number", "signed", "mean_std", "span", "p_value", "duration", "count", "titled", "repetitions"),
    *("shortened", "larger_is_better"),
)
"""Of :mod:`counterpoise.reports.outputs.figures`, what the template calls."""
CAPTIONS = {
    "training_curves": "Losses, score and learning rate. Dashed: the epoch that was kept.",
    "class_shares": "Part of validation predicted as each class, by epoch. Dashed: its actual part.",
    "confusion_matrix": "Rows of each class by what they were predicted as; the parts are of the actual class.",
    "roc_pr_curves": "Every threshold. Dashed: what chance comes to.",
    "reliability": "How often answers of each confidence are right. Dashed: as often as they claim.",
    "gradient_norms": "Gradient norm of each logged update, and of each component by epoch.",
}


@dataclass(frozen=True)
class Place:
    """Where a figure and its interval lie on a line that all rows of a table share, in per cent."""

    dot: float
    low: float
    width: float


def page(report: Report) -> str:
    """The page, with the pictures of the best runs drawn anew from their folders."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    environment.globals |= {name: getattr(figures, name) for name in FORMATTERS}
    environment.globals |= {"finding_lines": finding_lines, "verdict_of": sentences.verdict_of, "captions": CAPTIONS}
    environment.globals |= {"bins": CALIBRATION_BINS, "longest": figures.LONGEST_NAME}
    environment.filters |= {"shortened": figures.shortened, "lines": _lines}
    detailed = detailed_runs(report)
    return environment.get_template("report.html.j2").render(
        report=report,
        found=sentences.found(report),
        data_sets=[_data(report, data) for data in report.data],
        runs=[(report.runs[index], _pictures(report.runs[index], names)) for index, names in detailed],
        others=_others(report, {index for index, _ in detailed}),
        scores_down=all(data.maximise for data in report.data),
        unfinished=[run for run in report.runs if run.status != "finished"],
        method=method_of(report),
        publication=sentences.published(report),
        latex=tex_text(report),
    )


def _shown(value: object) -> object:
    """What the template writes: text with its control characters as escapes; mark-up as it is."""
    shown = isinstance(value, str | Path) and not isinstance(value, Markup)
    return escape_control(str(value)) if shown else value


def _lines(texts: Iterable[str]) -> Markup:
    """Texts on lines of their own."""
    return Markup("\n").join(map(escape_control, texts))


def detailed_runs(report: Report) -> list[tuple[int, tuple[str, ...]]]:
    """Indices of the runs in detail, and names of their pictures: the best run of each row, then the others."""
    best = [row.best_run for data in report.data for row in data.rows if row.kind == "model"]
    drawn = list(dict.fromkeys(index for index in best if index is not None and index < len(report.runs)))
    drawn = drawn[:WITH_PICTURES]
    finished = [index for index, run in enumerate(report.runs) if run.status == "finished" and index not in drawn]
    few = len(drawn) + len(finished) <= WITH_DETAILS
    shown = [(index, tuple(CAPTIONS)) for index in drawn[:WITH_ALL_PICTURES]]
    shown += [(index, FEW_PICTURES) for index in drawn[WITH_ALL_PICTURES:]]
    return shown + [(index, ()) for index in (finished if few else ())]


def _others(report: Report, detailed: set[int]) -> list[RunEntry]:
    return [run for i, run in enumerate(report.runs) if run.status == "finished" and i not in detailed]


def _pictures(run: RunEntry, names: Sequence[str]) -> Mapping[str, Markup]:
    if not names:
        return {}
    from counterpoise.reports.pictures.run import svgs_of

    label = str(escape(escape_control(f"run {run.folder.name}")))
    return {name: Markup(svg) for name, svg in svgs_of(run.folder, label, names).items()}


def _data(report: Report, data: DataSet) -> dict[str, Any]:
    metrics, leading = figures.shown_metrics(data), figures.leading(data)
    return {
        "data": data,
        "metrics": metrics,
        "rows": list(zip(data.rows, _places(data), strict=True)),
        "order": sentences.order_of(data),
        "pictures": _comparison(report, data),
        "comparisons": [
            (each, *figures.interval_of_difference(each), sentences.comparison_line(data, each))
            for each in data.comparisons[:SHOWN_COMPARISONS]
        ],
        "left_out": max(len(data.comparisons) - SHOWN_COMPARISONS, 0),
        "calibrated": [row for row in data.rows if row.calibration is not None],
        "intervals": [
            figures.interval_of(row.figures[leading]) if leading in row.figures else (None, "") for row in data.rows
        ],
    }


def _comparison(report: Report, data: DataSet) -> dict[str, Markup]:
    """The picture for a wide screen and for a narrow one, by these words."""
    from counterpoise.inks import as_svg
    from counterpoise.reports.pictures.comparison import draw_data_set, draw_narrow

    words = f"figures of the rows of {data.name}, with intervals, and curves on validation"
    label = str(escape(escape_control(words)))
    try:
        drawn = {"wide": draw_data_set(report, data), "narrow": draw_narrow(report, data)}
        return {width: Markup(as_svg(each, label)) for width, each in drawn.items() if each is not None}
    except Exception as error:  # a page without this picture says all the same in its tables
        log.warning("The picture of %s could not be drawn: %s.", data.name, str(error) or type(error).__name__)
        return {}


def _places(data: DataSet) -> Iterator[Place | None]:
    """Of each row; ``None`` for one without the figure that decides, or far off."""
    metric = figures.leading(data)
    left, right = figures.range_of(data.rows, metric)
    for row in data.rows:
        found = row.figures.get(metric)
        if found is None or not left <= found.mean <= right:
            yield None
            continue
        low, high = figures.interval_of(found)[0] or (found.mean, found.mean)
        dot, low, high = (100 * (end - left) / (right - left) for end in (found.mean, low, high))
        yield Place(dot, low, high - low)
