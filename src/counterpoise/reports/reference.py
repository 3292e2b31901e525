"""The run that a protocol compares with: the same one in full precision."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from counterpoise.config.values import show
from counterpoise.errors import Problem, UserError, fail
from counterpoise.jsonio import to_plain
from counterpoise.reports.folders import runs_near
from counterpoise.reports.reading import finite, number, word
from counterpoise.reports.runs import RunRecord, read_run
from counterpoise.tracking.folder import differences

WHERE = "protocol.reference"
EXACT = ("fp32", "fp64")
OWN = ("hardware", "protocol", "guard", "train.log_every")
"""Sections and keys in which a run and its reference may differ: they say how it is computed, watched and judged."""
SHARED = ("batch_size", "accumulation", "lr", "warmup_ratio", "total_updates")
"""Figures of the plan in which they may not: hardware profiles would else decide them. A learning rate that is still to
be found is none to compare."""


@dataclass(frozen=True)
class Reference:
    """What is compared."""

    folder: str
    precision: str
    f1: float
    """On validation, of the best checkpoint."""
    seconds: float | None
    """An epoch's, see :func:`seconds_an_epoch`."""


def seconds_an_epoch(record: RunRecord) -> float | None:
    """Median wall time of an epoch: the first one's warm-up and other programs weigh less than in a mean."""
    seconds = [epoch.seconds for epoch in record.epochs if finite(epoch.seconds)]
    return median(seconds) if seconds else None


def open_reference(folder: Path, now: Mapping[str, Any]) -> Reference:
    """Read the reference.

    Args:
        folder: its run folder.
        now: ``config``, ``plan``, ``data_fingerprint`` and, of a model with branches from runs, ``branches`` of the run
            that is compared with it.

    Raises:
        UserError: if it is no finished run in full precision, or differs in more than how it was computed.
    """
    record = read_run(folder)
    if not record.metadata:
        near = ", ".join(map(str, runs_near(folder)))
        reason = record.unreadable[0] if record.unreadable else "it has no training_metadata.json."
        raise fail(
            WHERE,
            f"{str(folder)!r} is no run folder: {reason}",
            f"Runs there: {near}." if near else "Name a run folder.",
        )
    f1, precision = number(record.result, "valid", "f1"), word(record.plan, "precision")
    if record.status != "finished" or not finite(f1):
        raise fail(WHERE, f"{str(folder)!r} is no finished run: {record.status}.", "Finish it, or name another one.")
    if precision not in EXACT:
        message = f"{str(folder)!r} was trained in {precision or 'an unknown precision'}, so it shows nothing."
        raise fail(WHERE, message, "Name one with hardware.precision=fp32.")
    problems = _differences(record, now)
    if problems:
        raise UserError(problems)
    return Reference(str(folder), precision, f1, seconds_an_epoch(record))


def _differences(record: RunRecord, now: Mapping[str, Any]) -> list[Problem]:
    """All that would make the comparison one of something else than the precision."""
    found = [
        Problem(problem.where, f"in the reference it {problem.message}")
        for problem in differences(record.config, now["config"])
        if not _is_own(problem.where)
    ]
    if record.metadata.get("data_fingerprint") != now["data_fingerprint"]:
        found.append(Problem("data", "the reference was trained on another."))
    found += [
        Problem(problem.where, f"in the reference it {problem.message}")
        for problem in differences(record.metadata.get("branches"), to_plain(now.get("branches")), "branches")
    ]
    for name in SHARED:
        before, after = record.plan.get(name), now["plan"][name]
        if after is not None and before != after and not found:  # what follows from another config is not told again
            found.append(Problem(f"plan.{name}", f"in the reference it was {show(before)}, but is {show(after)} now."))
    if found:
        remedy = "Only hardware, guard and protocol may differ; give batch size and accumulation by number."
        found.append(Problem(WHERE, "is another run, whose F1 says nothing about the precision.", remedy))
    return found


def _is_own(key: str) -> bool:
    return any(key == own or key.startswith(f"{own}.") for own in OWN)
