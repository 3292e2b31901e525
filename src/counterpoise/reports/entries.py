"""Every run of a report, in whatever state."""

from __future__ import annotations

import math
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.decision import tuning_lines
from counterpoise.jsonio import to_plain
from counterpoise.reports.collect import Collection, Run, differences_between
from counterpoise.reports.diagnosis import diagnose
from counterpoise.reports.jobs import key_of
from counterpoise.reports.reading import finite, items, number, section, whole, word
from counterpoise.reports.report import RunEntry
from counterpoise.reports.runs import RunRecord, read_run
from counterpoise.reports.subjects import figures_of, within

COMMAND = "python src/train.py"
HALF = 0.5
"""The threshold of the more probable of two classes."""
MOST_SECONDS = 1e9
"""Thirty years."""
OF_A_SWEEP = "sweep"
"""The group that says what a multirun varies: a job by itself has the values."""


def entries(collection: Collection, splits: Sequence[str]) -> tuple[RunEntry, ...]:
    """All runs, in the order of the collection.

    Args:
        collection: the runs.
        splits: of each group, ``test`` or ``valid``: the one that was held out.
    """
    places: dict[int, tuple[int, str]] = {}
    first: dict[str, Run] = {}
    for run in collection.runs:
        if run.settings:
            first.setdefault(run.data, run)
    for place, group in enumerate(collection.groups):
        for repeated in group.configurations:
            places |= {run.index: (place, repeated.name) for run in (*repeated.runs, *repeated.others)}
    return tuple(_entry(run, places.get(run.index), splits, first.get(run.data, run)) for run in collection.runs)


def _entry(run: Run, place: tuple[int, str] | None, splits: Sequence[str], first: Run) -> RunEntry:
    record = run.record
    seen = record if record.result else read_run(record.folder)  # of one that ended early, the epochs that it had
    split = splits[place[0]] if place is not None else ("test" if record.result.get("test") else "valid")
    outdated = bool(record.failure and record.result)  # what stands there is an earlier attempt's
    return RunEntry(
        folder=record.folder,
        status=record.status,
        model=record.model,
        data=record.data,
        seed=run.job.seed,
        fold=run.job.fold,
        data_set=None if place is None else place[0],
        row="" if place is None else place[1],
        message="" if record.status == "finished" else record.message or record.ended_by,
        metric=record.objective.name if record.objective else word(record.result, "objective", "metric"),
        score=None if outdated else _score(seen),
        best_epoch=None if outdated else _best_epoch(seen),
        epochs=whole(record.result, "epochs") or len(seen.epochs),
        seconds=_seconds(seen),
        figures={} if outdated else figures_of(section(record.result, split), record.objective),
        differs=differences_between(first.settings, run.settings),
        command=command(record),
        fingerprint=run.fingerprint,
        versions=versions(record),
        hardware=word(record.metadata, "hardware"),
        diagnosis=_diagnosis(record, seen),
        unreadable=seen.unreadable,
        threshold=threshold(record),
        tuning=" ".join(tuning_lines(section(record.result, "decision"))),
        temperature=temperature(record),
    )


def command(record: RunRecord) -> str:
    """How to make the run again: the overrides that it was asked for with; empty where it does not say its config."""
    if not (record.metadata or record.failure):
        return ""
    return " ".join([COMMAND, *(shlex.quote(item) for item in record.overrides if not _of_a_sweep(item))])


def _of_a_sweep(override: str) -> bool:
    return key_of(override) == OF_A_SWEEP


def threshold(record: RunRecord) -> float:
    """The probability from which class 1 of two is predicted; 0.5 where the run does not say."""
    value = number(record.result, "decision", "threshold")
    return value if within(value, 0, 1) else HALF


def temperature(record: RunRecord) -> float:
    """By which logits were divided; 1 where the run does not say."""
    value = number(record.result, "decision", "temperature")
    return value if within(value, 0, math.inf) and value > 0 else 1.0


def duration(node: object) -> float | None:
    """Its ``seconds``; ``None`` if it has none, or more than can be."""
    value = number(node, "seconds")
    return value if finite(value) and 0 <= value <= MOST_SECONDS else None


def versions(record: RunRecord) -> dict[str, str]:
    """Of the packages that the run was computed by."""
    machine = section(record.metadata, "machine")
    return {str(name): value for name, value in machine.items() if isinstance(value, str) and name != "processor"}


def _score(record: RunRecord) -> float | None:
    score = number(record.result, "objective", "score")
    if score is None and record.best is not None:
        score = record.epochs[record.best].score
    return score if finite(score) else None


def _best_epoch(record: RunRecord) -> int | None:
    number = whole(record.result, "best_epoch")
    if number is not None:
        return number
    return None if record.best is None else record.epochs[record.best].number


def _seconds(record: RunRecord) -> float | None:
    total = duration(record.result)
    if total is not None:
        return total
    spent = [value for epoch in record.epochs if (value := duration({"seconds": epoch.seconds})) is not None]
    return sum(spent) if spent else None


def _diagnosis(record: RunRecord, seen: RunRecord) -> tuple[Mapping[str, Any], ...]:
    if isinstance(record.result.get("diagnosis"), list) and not record.failure:
        return tuple(items(record.result, "diagnosis"))
    whole_record = seen if seen is not record else read_run(record.folder)
    return tuple(to_plain(finding) for finding in diagnose(whole_record)) if whole_record.epochs else ()
