"""``python src/report.py``: what finished, failed and unfinished runs came to, and what to try."""

from __future__ import annotations

import argparse
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from counterpoise.cli.exits import EXIT_OK, attempt
from counterpoise.errors import Problem, UserError
from counterpoise.jsonio import dumps, to_plain
from counterpoise.reports.diagnosis import diagnose
from counterpoise.reports.folders import find_runs, runs_near
from counterpoise.reports.reading import finite, word
from counterpoise.reports.runs import RunRecord, read_run
from counterpoise.tracking.console import make_console
from counterpoise.tracking.criteria import verdict_line
from counterpoise.tracking.findings import finding_lines


def report(arguments: Sequence[str]) -> int:
    """``python src/report.py PATH...``: a header line and the findings of every run.

    Returns:
        the exit code: 0 whatever the runs came to, 2 if a path names no run.
    """
    return attempt(lambda: _report(_parser().parse_args(arguments)))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="report.py",
        description="Show what runs came to, what their files say about how they went, and what to try.",
        epilog="Example: python src/report.py outputs/demo_code multirun/seed",
    )
    parser.add_argument("paths", nargs="+", type=Path, metavar="PATH", help="a run folder, or a folder above some")
    parser.add_argument("--json", action="store_true", help="as JSON, with all evidence")
    return parser


def _report(options: argparse.Namespace) -> int:
    runs = [read_run(folder) for folder in _folders(options.paths)]
    if options.json:
        print(dumps([as_json(run) for run in runs]))
        return EXIT_OK
    console = make_console()
    for run in runs:
        for line in _lines(run):
            console.print(line, soft_wrap=True)
    if len(runs) > 1:
        counts = Counter(run.status for run in runs)
        console.print(f"{len(runs)} runs: {', '.join(f'{count} {status}' for status, count in counts.items())}")
    return EXIT_OK


def _folders(paths: Sequence[Path]) -> list[Path]:
    """All run folders of these paths, once each.

    Raises:
        UserError: naming every path that is or holds no run folder.
    """
    problems, found = [], dict[str, Path]()
    for path in paths:
        runs = find_runs(path)
        for run in runs:
            found.setdefault(os.path.realpath(run), run)
        if not runs:
            what = "holds no run" if path.is_dir() else "is no folder" if path.exists() else "does not exist"
            near = ", ".join(map(str, runs_near(path)))
            problems.append(Problem(str(path), f"{what}.", f"Runs there: {near}." if near else "Name a run folder."))
    if problems:
        raise UserError(problems)
    return list(found.values())


def as_json(run: RunRecord) -> dict[str, Any]:
    """Everything that is shown of a run, and the evidence."""
    return {
        "folder": str(run.folder),
        "model": run.model,
        "data": run.data,
        "seed": run.seed,
        "status": run.status,
        "message": run.message,
        "objective": _metric(run),
        "score": _score(run),
        "best_epoch": None if run.best is None else run.epochs[run.best].number,
        "epochs": len(run.epochs),
        "unreadable": list(run.unreadable),
        "diagnosis": to_plain(diagnose(run)),
        "protocol": run.protocol or None,
    }


def _lines(run: RunRecord) -> list[str]:
    what = " on ".join(filter(None, (run.model, run.data))) or "unknown"
    parts = [what, *([] if run.seed is None else [f"seed {run.seed}"]), run.status]
    score = _score(run)
    if score is not None and run.best is not None:
        parts.append(f"{_metric(run)} {score:.4f} at epoch {run.epochs[run.best].number} of {len(run.epochs)}")
    findings = to_plain(diagnose(run))
    judged = finding_lines(findings) if findings or run.epochs else []  # of nothing, nothing is said
    verdict = [verdict_line(run.protocol)] if run.protocol else []
    notes = [*([run.message] if run.message else []), *run.unreadable, *judged, *verdict]
    return [f"{run.folder}: {', '.join(parts)}", *(f"  {note}" for note in notes)]


def _metric(run: RunRecord) -> str:
    return run.objective.name if run.objective is not None else word(run.result, "objective", "metric") or "score"


def _score(run: RunRecord) -> float | None:
    """The best score on validation."""
    score = None if run.best is None else run.epochs[run.best].score
    return score if finite(score) else None
