"""From run folders to a report: what was collected, measured and compared, as one value."""

from __future__ import annotations

import dataclasses
import datetime
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import numpy as np

from counterpoise.reports.averages import Averager, check_names
from counterpoise.reports.collect import Collection, Group, collect
from counterpoise.reports.comparisons import compare_all
from counterpoise.reports.draws import draw_all
from counterpoise.reports.entries import entries
from counterpoise.reports.publication import paragraph
from counterpoise.reports.reading import section, whole
from counterpoise.reports.report import DataSet, Method, Report
from counterpoise.reports.rows import make_row, rank
from counterpoise.reports.statistics.resample import repeats
from counterpoise.reports.subjects import Reader, Subject

METHOD: Final = Method()
FEW: Final = 30
"""Rows of a class below which intervals over rows hold less than they say: docs/statistics.md has by how much."""


def make_report(
    folders: Sequence[Path],
    *,
    title: str,
    method: Method = METHOD,
    averages: Sequence[Sequence[str]] = (),
) -> Report:
    """Collect runs, measure what they came to, and compare what was measured on the same rows.

    Args:
        folders: run folders, each once, in whatever state.
        title: of the report.
        method: how to compute intervals and comparisons.
        averages: names of rows whose probabilities are to be averaged, beside those averages that are always made.

    Returns:
        the report, which holds every run: what could not be read or compared is told in it.
    """
    collection = collect(folders)
    splits = [_split(group) for group in collection.groups]
    known = [[each.name for each in group.configurations if each.runs] for group in collection.groups]
    check_names(averages, known)
    unnamed = [
        _data_set(group, split, method, averages) for group, split in zip(collection.groups, splits, strict=True)
    ]
    names = _unique([(each.name, each.fingerprint) for each in unnamed])
    data = tuple(dataclasses.replace(each, name=name) for each, name in zip(unnamed, names, strict=True))
    runs = entries(collection, splits)
    return Report(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=version("counterpoise"),
        title=title,
        paths=tuple(str(folder) for folder in folders),
        data=data,
        runs=runs,
        method=method,
        statuses=dict(Counter(run.status for run in runs)),
        seconds=sum(run.seconds or 0.0 for run in runs),
        publication=_publication(collection, data, method),
    )


def _split(group: Group) -> str:
    """The one that was held out: test where there is one."""
    held_out = group.finished[0].job.split.get("held_out")
    if held_out in ("test", "valid"):
        return str(held_out)
    return "test" if group.finished[0].record.result.get("test") else "valid"


def _data_set(group: Group, split: str, method: Method, averages: Sequence[Sequence[str]]) -> DataSet:
    notes = list(group.notes)
    reader = Reader(group, split, notes)
    objective = group.objective
    models = sorted(reader.models(), key=lambda subject: rank(subject, objective))
    subjects = [*models, *Averager(models, objective, split, notes).all(averages), *reader.baselines()]
    draws = draw_all(subjects, reader.held_out, objective, method, group.data)
    first = group.finished[0]
    counts = _counts(group, reader, split)
    metric = objective.name if objective is not None else ""
    comparisons = compare_all(subjects, draws, metric, method, sum(counts.values()), notes)
    if any(repeats(truth.groups) for truth in reader.held_out.values()):
        notes.append("Rows share groups, so the bootstrap draws whole groups: class shares vary with them.")
    rarest = min((count for count in counts.values() if count), default=0)
    if 0 < rarest < FEW and draws:
        notes.append(
            f"The rarest class has {rarest} held-out rows: intervals of figures that hang on it are too narrow."
        )
    return DataSet(
        name=first.record.data,
        fingerprint=first.fingerprint,
        split="out of fold" if len(_folds(subjects)) > 1 else split,  # type: ignore[arg-type]
        size=sum(counts.values()),
        classes=first.record.classes,
        counts=counts,
        metric=metric,
        maximise=objective is None or objective.maximise,
        rows=tuple(make_row(subject, objective, split, method, draws.get(subject.name)) for subject in subjects),
        comparisons=comparisons,
        notes=tuple(dict.fromkeys(notes)),
    )


def _folds(subjects: Sequence[Subject]) -> set[int | None]:
    return {fold for subject in subjects for trial in subject.trials for fold in trial.parts}


def _counts(group: Group, reader: Reader, split: str) -> dict[str, int]:
    """Held-out rows of each class, of all folds together."""
    runs = {run.job.fold: run for run in group.finished}
    totals: Counter[str] = Counter()
    for fold, run in runs.items():
        known = reader.held_out.get(fold)
        classes = run.record.classes
        if known is not None:
            totals.update(dict(zip(classes, np.bincount(known.labels, minlength=len(classes)).tolist(), strict=True)))
        else:
            nodes = section(run.record.result, split, "per_class")
            totals.update({name: whole(nodes.get(name), "support") or 0 for name in classes})
    return {name: totals[name] for name in group.finished[0].record.classes}


def _unique(each: Sequence[tuple[str, str]]) -> list[str]:
    """Names of data sets; those that occur twice are told apart by their fingerprint."""
    counts = Counter(name for name, _ in each)
    return [name if counts[name] == 1 else f"{name} ({fingerprint[:8]})" for name, fingerprint in each]


def _publication(collection: Collection, data: Sequence[DataSet], method: Method) -> dict[str, str]:
    """A paragraph for each model, by its name."""
    found = {}
    for each in data:
        prefix = f"{each.name}: " if len(data) > 1 else ""
        for row in (row for row in each.rows if row.kind == "model"):
            places = [place for repetition in row.repetitions for place in repetition.runs]
            records = [collection.runs[place].record for place in places]
            found[prefix + row.name] = paragraph(row, records, each, method)
    return found
