"""From run folders to what is compared: which runs repeat one configuration, and which were measured on the same rows.

Two runs are repetitions of one configuration if their decisive config is equal, seed and fold aside, and their data
are. Keys that an earlier version did not have yet count as equal where all other runs of the same model and data agree
on them.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from counterpoise.jsonio import dumps
from counterpoise.metrics import Objective
from counterpoise.reports.jobs import REPEATS, JobSummary, job_of
from counterpoise.reports.means import Configuration
from counterpoise.reports.naming import Named, name_all
from counterpoise.reports.reading import word
from counterpoise.reports.runs import RunRecord, read_run
from counterpoise.tracking.folder import decisive

Settings = Mapping[str, str]
"""A config flattened: values as they are shown, by dotted key."""


@dataclass(frozen=True)
class Run:
    """A run folder in its place."""

    index: int
    record: RunRecord
    job: JobSummary
    settings: Settings
    """The decisive config, seed and fold aside."""

    @cached_property
    def data(self) -> str:
        """What runs on the same held-out rows share; empty where the run does not say what its data were."""
        split = self.job.split
        if split:
            return f"folds {sorted((name, str(value)) for name, value in split.items())} {list(self.record.classes)}"
        if self.fingerprint or not self.settings:
            return self.fingerprint
        return f"{self.record.data} {sorted(each for each in self.settings.items() if each[0].startswith('data.'))}"

    @property
    def fingerprint(self) -> str:
        """Of the data; of folds that of all records."""
        facts = self.record.fold_facts
        return word(facts, "data") or word(self.record.metadata, "data_fingerprint") or self._in_result

    @property
    def _in_result(self) -> str:
        return word(self.record.result, "data_fingerprint")


@dataclass(frozen=True)
class Repeated:
    """One configuration: the runs that differ in seed or fold alone."""

    runs: tuple[Run, ...]
    """Those that finished, the newest of each seed and fold."""
    others: tuple[Run, ...] = ()
    """Those that did not, and those that another outdates."""
    name: str = ""
    settings: Settings = field(default_factory=dict)
    """What distinguishes it from others of the same model on the same data."""

    @property
    def model(self) -> str:
        """The model's class."""
        return (*self.runs, *self.others)[0].record.model

    @cached_property
    def jobs(self) -> Configuration:
        """The same for :mod:`counterpoise.reports.means`, whose rules on seeds and folds hold here too."""
        unfinished = [run.job for run in self.others if run.job.status != "finished"]
        return Configuration(self.name, [run.job for run in self.runs], unfinished)

    def run_of(self, job: JobSummary) -> Run:
        """The run that a job is a view of."""
        return next(run for run in self.runs if run.job is job)


@dataclass(frozen=True)
class Group:
    """All configurations that were measured on the same held-out rows."""

    data: str
    configurations: tuple[Repeated, ...]
    notes: tuple[str, ...] = ()

    @cached_property
    def finished(self) -> tuple[Run, ...]:
        """All runs with figures that count."""
        return tuple(run for each in self.configurations for run in each.runs)

    @cached_property
    def objective(self) -> Objective | None:
        """The one that most of its runs have, the first of equals."""
        known = [run.record.objective for run in self.finished if run.record.objective is not None]
        if not known:
            return None
        counts = Counter(repr(objective.config) for objective in known)
        most = max(counts.values())
        return next(objective for objective in known if counts[repr(objective.config)] == most)


@dataclass(frozen=True)
class Collection:
    """All runs, and what is compared with what."""

    runs: tuple[Run, ...]
    groups: tuple[Group, ...]
    """Those of which a run finished."""
    alone: tuple[Run, ...] = ()
    """Runs that did not finish, on data of which no other did."""


def collect(folders: Sequence[Path]) -> Collection:
    """Read run folders and say which of them belong together. Never raises: what is damaged is told of its run."""
    runs = tuple(_run(index, folder) for index, folder in enumerate(folders))
    by_data: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_data[run.data].append(run)
    groups, alone = [], []
    for data, members in by_data.items():
        if any(run.record.status == "finished" for run in members):
            groups.append(_group(data, members))
        else:
            alone += members
    return Collection(runs, tuple(groups), tuple(alone))


def _run(index: int, folder: Path) -> Run:
    record = read_run(folder, course=False)
    return Run(index, record, job_of(record), flat({**record.config, **dict.fromkeys(REPEATS)}))


def flat(config: Mapping[str, object]) -> dict[str, str]:
    """The decisive part of a config by dotted key; what is ``None`` is there too."""
    answer: dict[str, str] = {}
    _flatten(decisive(config), "", answer)
    return answer


def _flatten(node: Mapping[str, object], where: str, answer: dict[str, str]) -> None:
    for key, value in node.items():
        name = f"{where}.{key}" if where else str(key)
        if isinstance(value, Mapping) and value:
            _flatten(value, name, answer)
        else:
            answer[name] = value if isinstance(value, str) else dumps(value, indent=None)


def _group(data: str, members: Sequence[Run]) -> Group:
    by_model: dict[str, list[Run]] = defaultdict(list)
    for run in members:
        by_model[run.record.model].append(run)
    notes: list[str] = []
    found: list[Repeated] = []
    for model, runs in by_model.items():
        repeated = [_repeated(each, notes) for each in _same_settings(model, runs, notes)]
        named = name_all(model, [_shown(each) for each in repeated])
        found += [
            dataclasses.replace(each, name=name, settings=settings)
            for each, (name, settings) in zip(repeated, named, strict=True)
        ]
    return Group(data, tuple(found), tuple(notes))


def _shown(repeated: Repeated) -> Named:
    first = (*repeated.runs, *repeated.others)[0]
    return Named(first.record.overrides, first.settings)


def _same_settings(model: str, runs: Sequence[Run], notes: list[str]) -> list[list[Run]]:
    """Runs of one model on the same data by settings; a key that some lack has the value of the others, if they have
    one."""
    values: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        for key, value in run.settings.items():
            values[key].add(value)
    sole = {key: next(iter(each)) for key, each in values.items() if len(each) == 1}
    lacking = sorted({key for run in runs if run.settings for key in sole if key not in run.settings})
    if lacking:
        keys = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
        notes.append(f"{model}: not all runs say {keys}, as of other versions; they are taken to agree.")
    found: dict[frozenset[tuple[str, str]], list[Run]] = defaultdict(list)
    for run in runs:
        found[frozenset((key, value) for key, value in run.settings.items() if key not in sole)].append(run)
    return list(found.values())


def _repeated(runs: Sequence[Run], notes: list[str]) -> Repeated:
    """The newest finished run of each seed and fold; the others stand beside."""
    newest: dict[tuple[int | None, int | None], Run] = {}
    others = []
    for run in sorted(runs, key=lambda run: _written(run.record.folder)):
        if run.job.status != "finished":
            others.append(run)
            continue
        key = run.job.seed, run.job.fold
        outdated = newest.get(key)
        newest[key] = run
        if outdated is not None:
            others.append(outdated)
            what = f"seed {run.job.seed}" + ("" if run.job.fold is None else f", fold {run.job.fold}")
            notes.append(f"{outdated.record.folder} is outdated by {run.record.folder}, of the same config and {what}.")
    return Repeated(tuple(sorted(newest.values(), key=_place)), tuple(others))


def _place(run: Run) -> tuple[float, float]:
    none = -1
    seed = run.job.seed if isinstance(run.job.seed, int) else none
    return seed, none if run.job.fold is None else run.job.fold


def _written(folder: Path) -> tuple[float, str]:
    """When a run ended."""
    try:
        return (folder / "result.json").stat().st_mtime, str(folder)
    except OSError:
        return 0.0, str(folder)


def differences_between(first: Settings, other: Settings) -> dict[str, str]:
    """Values of ``other`` by key, where ``first`` has another or none."""
    return {key: value for key, value in other.items() if first.get(key) != value}
