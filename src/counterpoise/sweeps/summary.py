"""After a multirun: every job, then mean ± standard deviation over those that differ in the seed alone."""

from __future__ import annotations

import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
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
    """``finished``, ``collapsed``, ``failed``, ``aborted`` or ``unfinished``."""
    overrides: tuple[str, ...] = ()
    score: float | None = None
    """The objective on the validation split."""
    maximise: bool = True
    """Whether a larger score is a better one."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """On the test split where there is one, else on validation."""
    message: str = ""
    protocol: bool | None = None
    """Whether it met its own criteria; ``None`` if it has none."""

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
        status = str(failure.get("status", "failed"))
        return JobSummary(folder, status, overrides, message=message.strip(), protocol=_passed(failure))
    result = _read(folder / "result.json")
    if result:
        figures = result.get("test") or result.get("valid") or {}
        numbers = {name: figures[name] for name in METRICS if isinstance(figures.get(name), int | float)}
        objective = result.get("objective") or {}
        maximise = objective.get("maximise") is not False
        status = str(result.get("status", "finished"))
        message = "" if status == "finished" else str((result.get("ended_by") or {}).get("reason", ""))
        score, passed = objective.get("score"), _passed(result)
        return JobSummary(folder, status, overrides, score, maximise, numbers, message, passed)
    return JobSummary(folder, "unfinished", overrides)


def _passed(content: Mapping[str, Any]) -> bool | None:
    protocol = content.get("protocol")
    return protocol.get("passed") is True if isinstance(protocol, Mapping) else None


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def collect(sweep: Path) -> list[Path]:
    """The folders of all jobs below a multirun's folder, whichever command they belong to."""
    marks = ("training_metadata.json", "failure.json")
    return _in_order({path.parent for mark in marks for path in sweep.glob(f"*/{mark}")})


def _in_order(folders: Iterable[Path]) -> list[Path]:
    return sorted(folders, key=lambda folder: _natural(folder.name))


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


def summarise(sweep: Path, folders: Collection[Path]) -> list[JobSummary]:
    """Show the jobs of one command, write ``summary.json``, and return them.

    Args:
        sweep: the multirun's folder, which may hold jobs of earlier commands too: they are counted, no more.
        folders: those of this command's jobs.
    """
    jobs = [read_job(folder) for folder in _in_order(folders)]
    if not jobs:
        return []
    own = {folder.resolve() for folder in folders}
    earlier = [folder for folder in collect(sweep) if folder.resolve() not in own]
    console = make_console()
    console.print(_job_table(sweep, jobs))
    for job in jobs:
        if job.message:
            console.print(f"{job.folder.name} {job.status}: {job.message}", soft_wrap=True)
    if earlier:
        console.print(f"Jobs of earlier commands in this folder, not counted here: {len(earlier)}", soft_wrap=True)
    means = aggregate(jobs)
    if any(figures["jobs"] > 1 for figures in means.values()):
        console.print(_mean_table(means))
    best = best_of_search(sweep, jobs)
    if best:
        settings = " ".join(f"{key}={value}" for key, value in best["best_params"].items())
        console.print(f"Best: {best['best_value']} with {settings}", soft_wrap=True)
    write_json(sweep / "summary.json", {"jobs": jobs, "mean": means, "best": best, "earlier_jobs": len(earlier)})
    console.print(f"Multirun folder: {sweep}", soft_wrap=True)
    return jobs


def _job_table(sweep: Path, jobs: Sequence[JobSummary]) -> Table:
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
            Text(job.status, style="" if finished else "red"),
            *([_verdict(job.protocol)] if judged else []),
            *("-" if v is None else f"{v:.4f}" for v in values),
        )
    return table


def _verdict(passed: bool | None) -> Text:
    return Text("-") if passed is None else Text("passed" if passed else "failed", style="" if passed else "red")


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


def best_of_search(sweep: Path, jobs: Iterable[JobSummary]) -> dict[str, Any] | None:
    """The best job of an Optuna sweep, told by itself; ``None`` for any other multirun.

    The sweeper's own file has what it searched: its value is negated where the objective is minimised.
    """
    path = sweep / "optimization_results.yaml"
    scored = [job for job in jobs if job.score is not None]
    if not (path.exists() and scored):
        return None
    best = max(scored, key=lambda job: (job.score or 0.0) * (1 if job.maximise else -1))
    given = dict(_setting(text) for text in best.overrides)
    searched = {key: given[key] for key in _searched(path) if key in given}
    return {"best_value": best.score, "best_params": searched or given, "job": best.folder.name}


def _searched(path: Path) -> list[str]:
    """The keys that Optuna chose; none if its file is damaged."""
    try:
        return [str(key) for key in OmegaConf.load(path).best_params]
    except Exception:  # YAML's own errors, another shape, ...
        return []


def _setting(text: str) -> tuple[str, Any]:
    """An override as key and value."""
    try:
        override = OverridesParser.create().parse_override(text)
        return override.key_or_group, override.value()
    except HydraException:
        key, _, value = text.partition("=")
        return key, value
