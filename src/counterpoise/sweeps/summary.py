"""After a multirun: every job, then mean ± standard deviation over its repetitions, and folds put together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from rich.console import Console

from counterpoise.config.yaml_files import read_yaml
from counterpoise.files import check_regular, own_folder
from counterpoise.jsonio import write_json
from counterpoise.reports.jobs import JobSummary, collect, in_order, read_job
from counterpoise.reports.means import aggregate
from counterpoise.reports.out_of_fold import FILE, OutOfFold, pool
from counterpoise.sweeps.tables import job_table, mean_tables
from counterpoise.tracking.console import make_console, show_table

SEARCH = "optimization_results.yaml"
"""What the Optuna sweeper leaves in the multirun's folder."""
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
            first, *others = job.message.splitlines()
            console.print(f"{job.folder.name} {job.status}: {first}", soft_wrap=True)
            for line in others:
                console.print(f"  {line}", soft_wrap=True)
    if earlier:
        console.print(f"Jobs of earlier commands in this folder, not counted here: {len(earlier)}", soft_wrap=True)
    means, pooled = aggregate(jobs), pool(sweep, jobs)
    if any(figures["jobs"] > 1 for figures in means.values()):
        for table in mean_tables(jobs, means, pooled):
            show_table(console, table)
    _tell_folds(console, sweep, pooled)
    best = best_of_search(sweep, jobs)
    if best:
        for line in _best_lines(best):
            console.print(line, soft_wrap=True)
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
        page, *_ = write_report(made, own_folder(sweep, "report"))
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
            return int(pq.read_metadata(check_regular(folder / name)).num_rows)
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


def best_of_search(sweep: Path, jobs: Sequence[JobSummary]) -> dict[str, Any] | None:
    """The best finished job of an Optuna sweep; ``None`` for any other multirun, and where no job has a score.

    Equal scores are ordered by the tie breaker, and the first of those that are equal in both is taken. A job that
    collapsed, failed or was killed is never chosen, even if it has a score; ``left_out`` counts them.
    """
    path = sweep / SEARCH
    scored = [job for job in jobs if job.status == "finished" and job.standing.is_defined]
    if not (path.exists() and scored):
        return None
    best = max(scored, key=lambda job: job.standing.order)
    left_out = Counter("without a score" if job.status == "finished" else job.status for job in jobs)
    left_out["without a score"] -= len(scored)
    given = dict(_setting(text) for text in best.overrides)
    named = _named_by_sweeper(path)
    chosen = {key: given[key] for key in named if key in given}
    tied = [job for job in scored if job is not best and job.standing.ties(best.standing)]
    return {
        "best_value": best.score,
        "best_params": chosen or given,
        "job": best.folder.name,
        "tied": [job.folder.name for job in tied],
        "chosen_by_tie_breaker": bool(tied) and all(best.standing.beats(job.standing) for job in tied),
        "left_out": {status: count for status, count in left_out.items() if count > 0},
        "sweeper_names": None if not chosen or _alike(named, chosen) else named,
    }


def _best_lines(best: Mapping[str, Any]) -> Iterator[str]:
    """What is said of it on the console."""
    left_out = ", ".join(f"{count} {status}" for status, count in best["left_out"].items())
    without = f" (not considered: {left_out})" if left_out else ""
    yield f"Best: {best['best_value']} with {_assignments(best['best_params'])}{without}"
    if best["tied"]:
        chose = "the metric that breaks ties chose" if best["chosen_by_tie_breaker"] else "it is the first"
        yield f"Its score is tied with that of {', '.join(best['tied'])}: {chose} among them."
    if best["sweeper_names"]:
        what = _assignments(best["sweeper_names"])
        yield f"{SEARCH} names {what}: a tied job, or a trial of an earlier command in the same study."


def _assignments(settings: Mapping[str, Any]) -> str:
    return " ".join(f"{key}={value}" for key, value in settings.items())


def _named_by_sweeper(path: Path) -> dict[str, Any]:
    """The parameters that Optuna's own file calls the best; none if it is damaged."""
    try:
        return {str(key): value for key, value in read_yaml(path).best_params.items()}
    except Exception:  # YAML's own errors, another shape, ...
        return {}


def _alike(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two sets of parameters are equal, as they are written."""
    return {key: str(value) for key, value in one.items()} == {key: str(value) for key, value in other.items()}


def _setting(text: str) -> tuple[str, Any]:
    """An override as key and value."""
    try:
        override = OverridesParser.create().parse_override(text)
        return override.key_or_group, override.value()
    except HydraException:
        key, _, value = text.partition("=")
        return key, value
