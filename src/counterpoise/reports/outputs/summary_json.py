"""``production_summary.json``: the whole report for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from counterpoise.reports.outputs.figures import interval_of
from counterpoise.reports.outputs.sentences import published
from counterpoise.reports.report import DataSet, Figure, Report, Row

FORMAT = 1
"""Raised whenever the layout changes."""
CHOSEN = (
    "Models are ordered, and the best model and the best seed chosen, by the objective on validation, of finished runs "
    "only; equal scores are ordered by PR-AUC (two classes) or log loss, and tied names their models. best_f1 is that "
    "seed's figure on the held-out rows, best_overall_f1 the best model's mean over its repetitions. Of several data "
    "sets there is no best model over all: best has that of each."
)


def summary(report: Report) -> dict[str, Any]:
    """The content of the file. Rows of several data sets are named ``name on data``."""
    best = {data.name: name_of(report, data, data.best) for data in report.data if data.best is not None}
    overall = report.data[0] if len(report.data) == 1 and report.data[0].best is not None else None
    return {
        "format": FORMAT,
        "timestamp": report.created,
        "version": report.version,
        "title": report.title,
        "paths": report.paths,
        "models": _rows(report, "model"),
        "averages": _rows(report, "average"),
        "baselines": _rows(report, "baseline"),
        "best_overall_model": None if overall is None else best[overall.name],
        "best_overall_f1": None if overall is None or overall.best is None else _mean(overall.best, "f1"),
        "best": best,
        "tied": {
            data.name: [name_of(report, data, row) for row in data.leaders]
            for data in report.data
            if len(data.leaders) > 1
        },
        "chosen": CHOSEN,
        "data": [_data(data) for data in report.data],
        "significance": [
            {"data": data.name, **asdict(comparison)} for data in report.data for comparison in data.comparisons
        ],
        "runs": [_run(report, index) for index in range(len(report.runs))],
        "statuses": dict(report.statuses),
        "compute_seconds": report.seconds,
        "publication": published(report),
        "method": asdict(report.method),
    }


def name_of(report: Report, data: DataSet, row: Row) -> str:
    """A row's name within the whole report."""
    return row.name if len(report.data) == 1 else f"{row.name} on {data.name}"


def _rows(report: Report, kind: str) -> dict[str, Any]:
    return {
        name_of(report, data, row): _row(data, row) for data in report.data for row in data.rows if row.kind == kind
    }


def _row(data: DataSet, row: Row) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for metric, figure in row.figures.items():
        flat |= {f"mean_{metric}": figure.mean, f"std_{metric}": figure.std, f"values_{metric}": figure.values}
        flat[f"interval_{metric}"] = _intervals(figure)
    place = next((i for i, each in enumerate(row.repetitions) if each.seed == row.best_seed), None)
    best = row.figures.get("f1")
    known = best is not None and place is not None and place < len(best.values)
    return {
        **flat,
        "seeds": [each.seed for each in row.repetitions],
        "best_seed": row.best_seed,
        "best_f1": best.values[place] if best is not None and place is not None and known else None,
        "best_run": row.best_run,
        "over": row.over,
        "incomplete": row.incomplete,
        "data": data.name,
        "model": row.model,
        "settings": dict(row.settings),
        "valid": {metric: {"mean": figure.mean, "std": figure.std} for metric, figure in row.valid.items()},
        "members": row.members,
        "parameters": row.parameters,
        "seconds": row.seconds,
        "threshold": row.threshold,
        "calibration": None if row.calibration is None else asdict(row.calibration),
        "repetitions": [asdict(each) for each in row.repetitions],
    }


def _intervals(figure: Figure) -> Mapping[str, Any]:
    """The one that takes most into account, what it is over, and each by itself."""
    interval, over = interval_of(figure)
    return {
        "interval": interval,
        "over": over,
        "over_seeds": figure.over_seeds,
        "over_rows": figure.over_rows,
        "over_both": figure.over_both,
    }


def _mean(row: Row, metric: str) -> float | None:
    return row.figures[metric].mean if metric in row.figures else None


def _data(data: DataSet) -> dict[str, Any]:
    return {
        "name": data.name,
        "fingerprint": data.fingerprint,
        "split": data.split,
        "rows": data.size,
        "classes": data.classes,
        "counts": dict(data.counts),
        "metric": data.metric,
        "maximise": data.maximise,
        "chosen_here": data.chosen_here,
        "notes": data.notes,
    }


def _run(report: Report, index: int) -> dict[str, Any]:
    run = asdict(report.runs[index])
    return {**run, "folder": str(report.runs[index].folder)}
