"""The tables at the end of a multirun: its jobs, means over what was repeated, figures over pooled folds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from counterpoise.line_console import styled
from counterpoise.reports.jobs import METRICS, JobSummary
from counterpoise.reports.means import FOLDS, NESTED, SEEDS, columns
from counterpoise.reports.out_of_fold import OutOfFold

TITLES = {
    SEEDS: "mean ± standard deviation over seeds (n − 1)",
    FOLDS: "mean ± standard deviation over folds (n − 1)",
    NESTED: "mean over folds, then mean ± standard deviation of that over seeds (n − 1)",
}
SPREAD = "  deviation over folds"
POOLED = "  out of fold: all rows pooled"


def job_table(sweep: Path, jobs: Sequence[JobSummary]) -> Table:
    """State and figures of each job."""
    table = Table(title=f"{len(jobs)} jobs of {sweep.name}", title_justify="left")
    table.add_column("job", overflow="fold")
    table.add_column("status")
    judged = any(job.protocol is not None for job in jobs)
    if judged:
        table.add_column("protocol")
    for name in ("objective", *METRICS):
        table.add_column(name.replace("_", " "), justify="right")
    for job in jobs:
        finished = job.status == "finished"
        values = [job.score, *(job.figures.get(name) for name in METRICS)] if finished else []
        table.add_row(
            job.folder.name,
            styled(job.status, "" if finished else "red"),
            *([_verdict(job.protocol)] if judged else []),
            *("-" if v is None else f"{v:.4f}" for v in values),
        )
    return table


def _verdict(passed: bool | None) -> Text:
    return styled("-", "") if passed is None else styled("passed" if passed else "failed", "" if passed else "red")


def mean_tables(jobs: Sequence[JobSummary], means: Mapping[str, Mapping[str, Any]], pooled: OutOfFold) -> list[Table]:
    """One table for each thing that a ± is over; with folds the pooled figures and the baselines stand below."""
    names = columns(jobs)
    return [
        _mean_table(over, names, means, pooled) for over in TITLES if any(m["over"] == over for m in means.values())
    ]


def _mean_table(over: str, names: Sequence[str], means: Mapping[str, Mapping[str, Any]], pooled: OutOfFold) -> Table:
    table = Table(title=TITLES[over], title_justify="left")
    table.add_column("overrides", overflow="fold")
    table.add_column("jobs", justify="right")
    for name in names:
        table.add_column(name.replace("_", " "), justify="right")
    for configuration, figures in means.items():
        if figures["over"] == over:
            for label, jobs, found in _rows(configuration, figures, pooled.figures.get(configuration)):
                table.add_row(label, jobs, *(_mean(found.get(name)) for name in names))
    return table


def _rows(
    configuration: str, figures: Mapping[str, Any], pooled: Mapping[str, Any] | None
) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    """Label, jobs and figures of a configuration's rows."""
    yield _labelled(configuration, figures), str(figures["jobs"]), figures
    if figures["over"] == SEEDS:
        return
    if figures["over"] == NESTED:
        known = {name: each["std_over_folds"] for name, each in figures.items() if _is_nested(each)}
        yield SPREAD, "", {name: {"mean": std, "std": None} for name, std in known.items() if std is not None}
    if pooled is not None:
        yield POOLED, "", pooled["over_seeds"]
    for name, found in figures["baselines"].items():
        yield f"  {name}", "", found if figures["over"] == FOLDS else _without_deviation(found)


def _labelled(name: str, figures: Mapping[str, Any]) -> str:
    """The name of a configuration, and what its figures lack."""
    return f"{name} ({figures['incomplete']})" if figures["incomplete"] else name


def _is_nested(figure: object) -> bool:
    return isinstance(figure, Mapping) and "std_over_folds" in figure


def _without_deviation(figures: Mapping[str, Any]) -> dict[str, Any]:
    """Of baselines, beside deviations over seeds: theirs would be over folds."""
    return {name: {**figure, "std": None} for name, figure in figures.items()}


def _mean(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    return f"{figure['mean']:.4f}" + (f" ± {figure['std']:.4f}" if figure["std"] is not None else "")
