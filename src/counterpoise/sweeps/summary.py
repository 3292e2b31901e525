"""After a multirun: every job, then mean ± standard deviation over those that differ in the seed alone."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from omegaconf import OmegaConf
from rich.console import Console
from rich.table import Table
from rich.text import Text

from counterpoise.jsonio import read_json, write_json
from counterpoise.tracking.console import make_console

METRICS = ("accuracy", "f1", "precision", "recall", "macro_f1", "roc_auc", "pr_auc")
SEED = "seed="


@dataclass(frozen=True)
class JobSummary:
    """One job of a multirun, as its folder tells it."""

    folder: Path
    status: str
    """``finished``, ``failed``, ``aborted`` or ``unfinished``."""
    overrides: tuple[str, ...] = ()
    score: float | None = None
    """The objective on the validation split."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """On the test split where there is one, else on validation."""
    message: str = ""

    @property
    def without_seed(self) -> tuple[str, ...]:
        """What this job shares with those that differ in the seed alone."""
        return tuple(item for item in self.overrides if not item.lstrip("+").startswith(SEED))


def read_job(folder: Path) -> JobSummary:
    """Read a job's folder, whatever state it is in."""
    failure = _read(folder / "failure.json")  # of the latest attempt: it outweighs the result of an earlier one
    metadata = _read(folder / "training_metadata.json")
    overrides = tuple(metadata.get("overrides") or failure.get("overrides") or ())
    if failure:
        message = str(failure.get("message") or (failure.get("verdict") or {}).get("reason", ""))
        return JobSummary(folder, str(failure.get("status", "failed")), overrides, message=message.strip())
    result = _read(folder / "result.json")
    if result:
        figures = result.get("test") or result.get("valid") or {}
        numbers = {name: figures[name] for name in METRICS if isinstance(figures.get(name), int | float)}
        score = (result.get("objective") or {}).get("score")
        return JobSummary(folder, "finished", overrides, score, numbers)
    return JobSummary(folder, "unfinished", overrides)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def collect(sweep: Path) -> list[JobSummary]:
    """All jobs below a multirun's folder, in the order of their names."""
    marks = ("training_metadata.json", "failure.json")
    folders = {path.parent for mark in marks for path in sweep.glob(f"*/{mark}")}
    return [read_job(folder) for folder in sorted(folders, key=lambda folder: _natural(folder.name))]


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Sort key by which ``seed_7`` stands before ``seed_42``, and ``lr_5e-05`` before ``lr_0.001``."""
    return [_number_or_text(part) for part in re.split("[_,=]", name)]


def _number_or_text(part: str) -> tuple[int, float, str]:
    try:
        number = float(part)
    except ValueError:
        return 1, 0.0, part
    return (0, number, "") if math.isfinite(number) else (1, 0.0, part)


def aggregate(jobs: Sequence[JobSummary]) -> dict[str, dict[str, Any]]:
    """Mean and sample standard deviation (n − 1) of every figure, by what differs between jobs beside the seed."""
    groups: dict[tuple[str, ...], list[JobSummary]] = defaultdict(list)
    for job in jobs:
        if job.status == "finished":
            groups[job.without_seed].append(job)
    everywhere = {item for shared in groups for item in shared if all(item in other for other in groups)}
    answer = {}
    for shared, members in groups.items():
        figures: dict[str, Any] = {"jobs": len(members)}
        for name in METRICS:
            values = [job.figures[name] for job in members if name in job.figures]
            if values:
                spread = stdev(values) if len(values) > 1 else None
                figures[name] = {"mean": fmean(values), "std": spread, "n": len(values)}
        answer[" ".join(item for item in shared if item not in everywhere) or "all jobs"] = figures
    return answer


def summarise(sweep: Path) -> bool:
    """Show all jobs of a multirun and write ``summary.json`` beside them; returns whether one did not finish."""
    jobs = collect(sweep)
    if not jobs:
        return False
    console = make_console()
    console.print(_job_table(sweep, jobs))
    for job in jobs:
        if job.message:
            console.print(f"{job.folder.name} {job.status}: {job.message}", soft_wrap=True)
    means = aggregate(jobs)
    if any(figures["jobs"] > 1 for figures in means.values()):
        console.print(_mean_table(means))
    best = _show_optuna(console, sweep)
    write_json(sweep / "summary.json", {"jobs": jobs, "mean": means, "best": best})
    console.print(f"Multirun folder: {sweep}", soft_wrap=True)
    return any(job.status != "finished" for job in jobs)


def _job_table(sweep: Path, jobs: Sequence[JobSummary]) -> Table:
    table = Table(title=f"{len(jobs)} jobs of {sweep.name}", title_justify="left")
    table.add_column("job", overflow="fold")
    table.add_column("status")
    for name in ("objective", *METRICS):
        table.add_column(name.replace("_", " "), justify="right")
    for job in jobs:
        if job.status == "finished":
            values = [job.score, *(job.figures.get(name) for name in METRICS)]
            table.add_row(job.folder.name, job.status, *("-" if v is None else f"{v:.4f}" for v in values))
        else:
            table.add_row(job.folder.name, Text(job.status, style="red"))
    return table


def _mean_table(means: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(title="mean ± standard deviation over seeds (n − 1)", title_justify="left")
    table.add_column("overrides", overflow="fold")
    table.add_column("jobs", justify="right")
    for name in METRICS:
        table.add_column(name.replace("_", " "), justify="right")
    for shared, figures in means.items():
        table.add_row(shared, str(figures["jobs"]), *(_mean(figures.get(name)) for name in METRICS))
    return table


def _mean(figure: Mapping[str, Any] | None) -> str:
    if figure is None:
        return "-"
    return f"{figure['mean']:.4f}" + (f" ± {figure['std']:.4f}" if figure["std"] is not None else "")


def _show_optuna(console: Console, sweep: Path) -> dict[str, Any] | None:
    """The best configuration of an Optuna sweep, which its sweeper leaves in a file."""
    path = sweep / "optimization_results.yaml"
    if not path.exists():
        return None
    found = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(found, dict)
    best = {str(key): value for key, value in found.items()}
    settings = " ".join(f"{key}={value}" for key, value in (best.get("best_params") or {}).items())
    console.print(f"Best: {best.get('best_value')} with {settings}", soft_wrap=True)
    console.print(f"Saved in {path}", soft_wrap=True)
    return best
