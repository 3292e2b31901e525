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
from counterpoise.reports.collect import Collection, Group, Run, collect
from counterpoise.reports.comparisons import compare_all
from counterpoise.reports.draws import draw_all
from counterpoise.reports.entries import entries
from counterpoise.reports.naming import tell_apart, unique
from counterpoise.reports.publication import paragraph
from counterpoise.reports.reading import section
from counterpoise.reports.report import DataSet, Method, Report
from counterpoise.reports.rows import make_row, rank
from counterpoise.reports.statistics.resample import repeats
from counterpoise.reports.subjects import Reader, Subject, figures_of, supports

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
    names = _names(collection.groups, unnamed)
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
    return "test" if any(section(run.record.result, "test") for run in group.finished) else "valid"


def _data_set(group: Group, split: str, method: Method, averages: Sequence[Sequence[str]]) -> DataSet:
    notes = list(group.notes)
    group = _measured(group, split, notes)
    reader = Reader(group, split, notes)
    objective = group.objective
    models = sorted(reader.models(), key=lambda subject: rank(subject, objective))
    averaged = Averager(models, objective, split, group.classes, method.compared, notes).all(averages)
    subjects = _named([*models, *averaged, *reader.baselines()])
    draws = draw_all(subjects, reader.held_out, objective, method, group.data)
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
    if split == "valid":
        notes.append(
            "The held-out rows are validation rows: epochs, thresholds and the best row were chosen on them, so that "
            "figures are rather better than on new rows."
        )
    return DataSet(
        name=next((run.record.data for run in group.finished if run.record.data), ""),
        fingerprint=next((run.fingerprint for run in group.finished if run.fingerprint), ""),
        split="out of fold" if len(_folds(subjects)) > 1 else split,  # type: ignore[arg-type]
        size=sum(counts.values()),
        classes=group.classes,
        counts=counts,
        metric=metric,
        maximise=objective is None or objective.maximise,
        rows=tuple(make_row(subject, objective, split, method, draws.get(subject.name)) for subject in subjects),
        comparisons=comparisons,
        notes=tuple(dict.fromkeys(notes)),
        chosen_here=split == "valid",
    )


def _folds(subjects: Sequence[Subject]) -> set[int | None]:
    return {fold for subject in subjects for trial in subject.trials for fold in trial.parts}


def _counts(group: Group, reader: Reader, split: str) -> dict[str, int]:
    """Held-out rows of each class, of all folds together."""
    totals = np.zeros(len(group.classes), object)
    for fold in {run.job.fold for run in group.finished}:
        known = reader.held_out.get(fold)
        if known is not None:
            totals += np.bincount(known.labels, minlength=len(group.classes)).astype(object)
        else:
            counted = (supports(run, split, group.classes) for run in group.finished if run.job.fold == fold)
            totals += np.array(next((counts for counts in counted if any(counts)), 0), object)
    return dict(zip(group.classes, totals.tolist(), strict=True))


def _measured(group: Group, split: str, notes: list[str]) -> Group:
    """Without runs that have no deciding figure on the split where others have one, which ``notes`` are told."""
    objective = group.objective
    metric = "figures" if objective is None else objective.name

    def is_measured(run: Run) -> bool:
        figures = figures_of(section(run.record.result, split), objective)
        return bool(figures) if objective is None else metric in figures

    if not any(map(is_measured, group.finished)):
        return group
    kept = []
    for each in group.configurations:
        without = [run for run in each.runs if not is_measured(run)]
        if without:
            folders = ", ".join(str(run.record.folder) for run in without)
            notes.append(f"{each.name} is without {folders}: no {metric} on {split}.")
        runs = tuple(run for run in each.runs if is_measured(run))
        kept.append(dataclasses.replace(each, runs=runs, others=(*each.others, *without)))
    return dataclasses.replace(group, configurations=tuple(kept))


def _named(subjects: Sequence[Subject]) -> list[Subject]:
    """With names that are all different. Models come first, so that theirs stay."""
    models = {subject.name for subject in subjects if subject.kind == "model"}
    names = [
        f"{each.name} ({each.kind})" if each.kind != "model" and each.name in models else each.name for each in subjects
    ]
    return [dataclasses.replace(each, name=name) for each, name in zip(subjects, unique(names), strict=True)]


def _names(groups: Sequence[Group], data: Sequence[DataSet]) -> list[str]:
    """Names of data sets, all different."""
    return tell_apart([_facts(group, each) for group, each in zip(groups, data, strict=True)])


def _facts(group: Group, data: DataSet) -> list[str]:
    """The name, and what may tell this data set from others of the same name."""
    split = group.finished[0].job.split
    return [
        data.name or "unknown data",
        data.fingerprint[:8],
        f"{split.get('folds', 'no')} folds",
        f"held out as {split.get('held_out', 'is')}",
        f"dealt by {split.get('by', 'nobody')}",
        f"share for validation {split.get('valid_share')}",
        f"dealt with seed {split.get('seed')}",
        f"{data.size} rows",
        f"classes {', '.join(data.classes)}",
    ]


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
