"""After a multirun: every job, then mean ± standard deviation over its repetitions, and folds put together."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from rich.console import Console

from counterpoise.jsonio import write_json
from counterpoise.reports.jobs import JobSummary, collect, in_order, read_job
from counterpoise.reports.means import aggregate
from counterpoise.reports.out_of_fold import FILE, OutOfFold, pool
from counterpoise.sweeps.tables import job_table, mean_tables
from counterpoise.tracking.console import make_console, show_table

MANY_JOBS, MANY_ROWS = 20, 20_000
"""From where on a report is announced, since it takes some seconds."""


def summarise(sweep: Path, folders: Collection[Path], *, report: bool = True) -> list[JobSummary]:
    """Show the jobs of one command, write ``summary.json`` and what is out of fold, and return the jobs.

    Args:
        sweep: the multirun's folder, which may hold jobs of earlier commands too: they are counted, no more.
        folders: those of this command's jobs.
        report: also write the report of these jobs.
    """
    jobs = [read_job(folder) for folder in in_order(folders)]
    if not jobs:
        return []
    own = {folder.resolve() for folder in folders}
    earlier = [folder for folder in collect(sweep) if folder.resolve() not in own]
    console = make_console()
    show_table(console, job_table(sweep, jobs))
    for job in jobs:
        if job.message:
            console.print(f"{job.folder.name} {job.status}: {job.message}", soft_wrap=True)
    if earlier:
        console.print(f"Jobs of earlier commands in this folder, not counted here: {len(earlier)}", soft_wrap=True)
    means, pooled = aggregate(jobs), pool(sweep, jobs)
    if any(figures["jobs"] > 1 for figures in means.values()):
        for table in mean_tables(jobs, means, pooled):
            show_table(console, table)
    _tell_folds(console, sweep, pooled)
    best = best_of_search(sweep, jobs)
    if best:
        settings = " ".join(f"{key}={value}" for key, value in best["best_params"].items())
        console.print(f"Best: {best['best_value']} with {settings}", soft_wrap=True)
    content = {"jobs": jobs, "mean": means, "best": best, "earlier_jobs": len(earlier)}
    folds = {"out_of_fold": pooled.figures, "not_pooled": pooled.refused} if pooled.figures or pooled.refused else {}
    write_json(sweep / "summary.json", content | folds)
    if report:
        _report(console, sweep, [job.folder for job in jobs])
    console.print(f"Multirun folder: {sweep}", soft_wrap=True)
    return jobs


def _report(console: Console, sweep: Path, folders: Sequence[Path]) -> None:
    """Write the report of these jobs and say where; the multirun has done its work whatever comes of that."""
    from counterpoise.reports.compare import make_report  # together 1 s
    from counterpoise.reports.outputs.write import write_report

    if _takes_a_while(folders):
        console.print("Writing the report ...")
    try:
        made = replace(make_report(folders, title=f"Multirun {sweep.name}"), paths=(str(sweep),))
        page, *_ = write_report(made, sweep / "report")
        console.print(f"Report: {page}", soft_wrap=True)
    except Exception as error:
        why = str(error) or type(error).__name__
        console.print(f"The report could not be written: {why}", soft_wrap=True, style="red")


def _takes_a_while(folders: Sequence[Path]) -> bool:
    """Many jobs, or many held-out rows in all of them together."""
    return len(folders) > MANY_JOBS or sum(map(_held_out, folders)) > MANY_ROWS


def _held_out(folder: Path) -> int:
    """How many rows a job left predictions of: of test, or of validation where there is no test split."""
    import pyarrow.parquet as pq  # 0.1 s

    for name in ("predictions_test.parquet", "predictions_valid.parquet"):
        try:
            return int(pq.read_metadata(folder / name).num_rows)
        except (OSError, ValueError):  # not there, or damaged, which the report tells
            continue
    return 0


def _tell_folds(console: Console, sweep: Path, pooled: OutOfFold) -> None:
    """What was pooled and what was not; nothing for a multirun without folds."""
    for reason in pooled.refused:
        console.print(f"Not pooled: {reason}", soft_wrap=True, style="red")
    if pooled.figures:
        how = "each row predicted by the run that held it out, one figure over all rows of all folds"
        flatter = any(figures["held_out"] == "valid" for figures in pooled.figures.values())
        chosen = " The epochs were chosen on the folds, which flatters them." if flatter else ""
        console.print(f"Out of fold: {how}.{chosen} Predictions: {sweep / FILE}", soft_wrap=True)


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
