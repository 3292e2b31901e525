"""``python src/report.py``: what runs came to, compared; what went wrong with them, and what to try."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from counterpoise.cli.exits import EXIT_OK, attempt
from counterpoise.errors import Problem, UserError, escape_control, fail
from counterpoise.files import own_folder
from counterpoise.jsonio import remove, to_plain, write_atomically
from counterpoise.paths import user_path
from counterpoise.reports.diagnosis import diagnose
from counterpoise.reports.folders import find_runs, runs_near
from counterpoise.reports.reading import finite, word
from counterpoise.reports.report import Report
from counterpoise.reports.runs import RunRecord, read_run
from counterpoise.terminal import say
from counterpoise.tracking.console import make_console
from counterpoise.tracking.criteria import verdict_line
from counterpoise.tracking.findings import finding_lines

SHOWN_RUNS = 50
"""Runs with lines of their own; the report has all."""
FOLDER = "report"


def report(arguments: Sequence[str]) -> int:
    """``python src/report.py PATH...``: figures, comparisons, a line and the findings of every run, and the report.

    Returns:
        the exit code: 0 whatever the runs came to, 2 if a path names no run or the report cannot be written.
    """
    return attempt(lambda: _report(_parser().parse_args(arguments)))


class _Parser(argparse.ArgumentParser):
    """Its errors are one line, for any arguments."""

    def error(self, message: str) -> NoReturn:
        super().error(escape_control(message))


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="report.py",
        description="Compare runs: mean and deviation, intervals, significance; show what their files say about how "
        "they went, and what to try; leave all of it as a page, tables and pictures.",
        epilog="Example: python src/report.py outputs/demo_code multirun/seed",
    )
    parser.add_argument("paths", nargs="+", type=user_path, metavar="PATH", help="a run folder, or a folder above some")
    parser.add_argument(
        "--out", type=user_path, metavar="FOLDER", help="where to write it; else PATH/report, or ./report"
    )
    parser.add_argument(
        "--average",
        action="append",
        default=[],
        metavar="NAME+NAME",
        help="also measure the average of these rows' probabilities; can be given several times",
    )
    parser.add_argument("--text", action="store_true", help="write nothing")
    parser.add_argument("--json", action="store_true", help="show every run as JSON, with all evidence; write nothing")
    return parser


def _report(options: argparse.Namespace) -> int:
    folders = _folders(options.paths)
    if options.json:
        found = json.dumps(to_plain([as_json(read_run(folder)) for folder in folders]), indent=2)  # ASCII: any terminal
        say(*found.split("\n"))
        return EXIT_OK
    averages = [_members(text) for text in options.average]
    home, names = (options.out, ()) if options.out else _default(options.paths)
    out = None if options.text else home.joinpath(*names)
    with nullcontext() if out is None else _taken_back(home, *names):
        from counterpoise.reports.compare import make_report  # 1 s, which --help need not take

        made = make_report(folders, title=f"Runs of {', '.join(map(str, options.paths))}", averages=averages)
        made = replace(made, paths=tuple(map(str, options.paths)))
        _show(made)
        _show_runs(made, folders)
        if out is not None:
            _write(made, out)
    return EXIT_OK


def _members(text: str) -> list[str]:
    names = [name.strip() for name in text.split("+")]
    if len(names) < 2 or not all(names):
        raise fail(f"--average {text}", "names two rows or more, joined by +.", "For example: --average TextCNN+GNN")
    return names


def _default(paths: Sequence[Path]) -> tuple[Path, tuple[str, ...]]:
    """A folder, and the names below it that must not be links: that of the report in a run's or a multirun's."""
    return (paths[0], (FOLDER,)) if len(paths) == 1 else (Path(FOLDER), ())


@contextmanager
def _taken_back(home: Path, *names: str) -> Iterator[None]:
    """Make sure that a folder can be written before anything is computed.

    Folders that were made for it are removed again if anything raises while inside, Ctrl-C too.

    Args:
        home: a folder, perhaps by a link.
        names: of those below it, which are no links.

    Raises:
        UserError: if it cannot be written.
    """
    out = home.joinpath(*names)
    missing = [place for place in (out, *out.parents) if not place.exists()]
    try:
        _try_writing(home, *names)
        yield
    except BaseException:
        with suppress(OSError):  # what raised is told, not this
            if out in missing:
                remove(out)
            for place in missing[1:]:
                place.rmdir()  # not if anything else lies there by now
        raise


def _try_writing(home: Path, *names: str) -> None:
    out = home.joinpath(*names)
    trial = out / ".trial"
    try:
        own_folder(home, *names)
        write_atomically(trial, lambda file: file.write(b"trial"))
        trial.unlink()
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}."
        raise fail(str(out), what, "Name another folder with --out, or add --text.") from error
    finally:
        with suppress(OSError):
            trial.unlink(missing_ok=True)


def _write(made: Report, out: Path) -> None:
    from counterpoise.reports.outputs.write import write_report

    try:
        page, *others = write_report(made, out)
    except OSError as error:
        what = f"cannot be written: {error.strerror or error}."
        raise fail(str(error.filename or out), what, "Free some space, or name another folder with --out.") from error
    console = make_console()
    console.print(f"Report: {page}", soft_wrap=True)
    console.print(f"  beside it: {', '.join(path.name for path in others)}", soft_wrap=True)


def _show(made: Report) -> None:
    """The tables, and the comparisons in words."""
    from counterpoise.reports.outputs.console import show_report

    show_report(make_console(), made)


def _show_runs(made: Report, folders: Sequence[Path]) -> None:
    """A header line and the findings of each of the first runs, and how many came to what."""
    console = make_console()
    for folder in folders[:SHOWN_RUNS]:
        for line in _lines(read_run(folder)):
            console.print(line, soft_wrap=True)
    if len(folders) > SHOWN_RUNS:
        console.print(f"... and {len(folders) - SHOWN_RUNS:,} more runs, which the report has.", soft_wrap=True)
    if len(folders) > 1:
        counts = ", ".join(f"{count} {status}" for status, count in made.statuses.items())
        console.print(f"{len(folders)} runs: {counts}")


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
    judged = finding_lines(findings, run.status) if findings or run.epochs else []  # of nothing, nothing is said
    verdict = [verdict_line(run.protocol)] if run.protocol else []
    notes = [*([run.message] if run.message else []), *run.unreadable, *judged, *verdict]
    return [f"{run.folder}: {', '.join(parts)}", *(f"  {note}" for note in notes)]


def _metric(run: RunRecord) -> str:
    return run.objective.name if run.objective is not None else word(run.result, "objective", "metric") or "score"


def _score(run: RunRecord) -> float | None:
    """The best score on validation."""
    score = None if run.best is None else run.epochs[run.best].score
    return score if finite(score) else None
