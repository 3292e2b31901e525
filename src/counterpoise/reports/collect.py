"""From run folders to what is compared: which runs repeat one configuration, and which were measured on the same rows.

Two runs are repetitions of one configuration if their decisive config is equal, seed and fold aside, and their data
are. What ``auto`` came to is a part of the config: the effective batch, precision and learning rate factor of the plan.
Keys that another version did not have yet count as equal where all other runs of the same model and data agree on them.
"""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeVar

from counterpoise.jsonio import dumps
from counterpoise.metrics import Objective
from counterpoise.reports.jobs import REPEATS, JobSummary, job_of, key_of
from counterpoise.reports.means import Configuration
from counterpoise.reports.naming import Named, name_all, unique
from counterpoise.reports.reading import word
from counterpoise.reports.runs import RunRecord, read_run
from counterpoise.tracking.folder import decisive

T = TypeVar("T")
PLANNED = ("effective_batch", "precision", "lr_factor")
"""What the plan decides of the result, by hardware. Not ``lr``: a search for it repeats with other seeds."""

Settings = Mapping[str, str]
"""A config flattened: values as they are shown, by dotted key."""


@dataclass(frozen=True)
class Run:
    """A run folder in its place."""

    index: int
    record: RunRecord
    job: JobSummary
    settings: Settings
    """The decisive config, seed and fold aside, and what the plan made of it."""

    @property
    def version(self) -> str:
        """Of this package, that the run was computed by; empty where it does not say."""
        return word(self.record.metadata, "machine", "counterpoise")

    @property
    def repeats(self) -> tuple[int | None, int | None]:
        """Seed and fold: what runs of one configuration differ in."""
        return self.job.seed, self.job.fold

    @cached_property
    def data(self) -> str:
        """What runs on the same held-out rows share; empty where the run does not say what its data were."""
        split = self.job.split
        if split:
            return f"folds {sorted((name, str(value)) for name, value in split.items())} {list(self.record.classes)}"
        if self.fingerprint or not self.settings:
            return self.fingerprint or self.record.data
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
        return _most(known, lambda objective: repr(objective.config))

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """Those that most of its runs have, the first of equals; empty where no run says its own."""
        return _most([run.record.classes for run in self.finished if run.record.classes]) or ()


def _most(values: Sequence[T], key: Callable[[T], object] = lambda value: value) -> T | None:
    """The most frequent value by its key, the first of equals; ``None`` of none."""
    counts = Counter(map(key, values))
    return max(values, key=lambda value: counts[key(value)], default=None)


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
    return Run(index, record, job_of(record), _settings(record))


def _settings(record: RunRecord) -> dict[str, str]:
    """Empty where a run does not say its config."""
    if not record.config:
        return {}
    planned = {f"plan.{name}": record.plan[name] for name in PLANNED if name in record.plan}
    return flat({**record.config, **dict.fromkeys(REPEATS), **planned})


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
    names = unique([each.name for each in found])
    found = [dataclasses.replace(each, name=name) for each, name in zip(found, names, strict=True)]
    return Group(data, tuple(found), tuple(notes))


def _shown(repeated: Repeated) -> Named:
    first = (*repeated.runs, *repeated.others)[0]
    return Named(first.record.overrides, first.settings)


def _same_settings(model: str, runs: Sequence[Run], notes: list[str]) -> list[list[Run]]:
    """Runs of one model on the same data by settings, keys aside that only the version decides.

    Runs that do not say their config repeat nothing but each other. Nor do runs of different versions that have a seed
    and fold in common: one of them would have to outdate the other, which only the same config can.
    """
    telling = [run for run in runs if run.settings]
    silent = [run for run in runs if not run.settings]
    sole = _sole(telling) if telling else set()
    found: dict[frozenset[tuple[str, str]], list[Run]] = defaultdict(list)
    for run in telling:
        found[frozenset((key, value) for key, value in run.settings.items() if key not in sole)].append(run)
    answer = [part for each in found.values() for part in _without_clashes(model, each, notes)]
    return [*answer, silent] if silent else answer


def _without_clashes(model: str, runs: Sequence[Run], notes: list[str]) -> list[list[Run]]:
    """Runs that agree on all keys that they have, split by the keys where two of the same seed and fold differ."""
    by_keys: dict[frozenset[str], list[Run]] = defaultdict(list)
    for run in runs:
        by_keys[frozenset(run.settings)].append(run)
    if len(by_keys) == 1:
        return [list(runs)]
    lacking = sorted(frozenset.union(*by_keys) - frozenset.intersection(*by_keys))
    keys = ", ".join(lacking[:3]) + (f" and {len(lacking) - 3} more" if len(lacking) > 3 else "")
    repeats = [repeat for each in by_keys.values() for repeat in {run.repeats for run in each if _is_finished(run)}]
    clash = len(set(repeats)) < len(repeats)
    taken = (
        "their seeds are the same, so they are not taken to repeat each other" if clash else "they are taken to agree"
    )
    notes.append(f"{model}: not all runs say {keys}, as of other versions; {taken}.")
    return list(by_keys.values()) if clash else [list(runs)]


def _is_finished(run: Run) -> bool:
    return run.job.status == "finished"


def _sole(runs: Sequence[Run]) -> set[str]:
    """Keys that tell no configurations apart: all runs that have one have the same value, and its absence is old.

    That some lack it may be a difference all the same: where a run of the same version has it, where it was typed, or
    where those that lack it have something above or below it, as ``lr_factors: {}`` beside ``lr_factors: {head: 2.0}``.
    """
    values: dict[str, set[str]] = defaultdict(set)
    for run in runs:
        for key, value in run.settings.items():
            values[key].add(value)
    typed = {key_of(item) for run in runs for item in run.record.overrides}
    everywhere = set.intersection(*(set(run.settings) for run in runs))
    return {
        key
        for key, each in values.items()
        if len(each) == 1
        and (key in everywhere or (_is_of_versions(key, runs) and key not in typed and not _is_split(key, values)))
    }


def _is_of_versions(key: str, runs: Sequence[Run]) -> bool:
    """Whether no version has runs with this key and runs without it."""
    having, lacking = ({run.version for run in runs if (key in run.settings) == there} for there in (True, False))
    return not having & lacking


def _is_split(key: str, known: Iterable[str]) -> bool:
    """Whether there are keys above or below this one too."""
    return any(other.startswith(f"{key}.") or key.startswith(f"{other}.") for other in known)


def _repeated(runs: Sequence[Run], notes: list[str]) -> Repeated:
    """The newest finished run of each seed and fold; the others stand beside."""
    newest: dict[tuple[int | None, int | None], Run] = {}
    others = []
    for run in sorted(runs, key=lambda run: _written(run.record.folder)):
        if not _is_finished(run):
            others.append(run)
            continue
        outdated = newest.get(run.repeats)
        newest[run.repeats] = run
        if outdated is not None:
            others.append(outdated)
            what = f"seed {run.job.seed}" + ("" if run.job.fold is None else f", fold {run.job.fold}")
            notes.append(
                f"{outdated.record.folder} is outdated by {run.record.folder}, of the same config and {what}, "
                "by the time of result.json."
            )
    return Repeated(tuple(sorted(newest.values(), key=_place)), tuple(others))


def _place(run: Run) -> tuple[float, float]:
    none = -1
    return none if run.job.seed is None else run.job.seed, none if run.job.fold is None else run.job.fold


def _written(folder: Path) -> tuple[float, str]:
    """When a run ended. It does not record that: the time of its last file has to do."""
    try:
        return (folder / "result.json").stat().st_mtime, str(folder)
    except OSError:
        return 0.0, str(folder)


def differences_between(first: Settings, other: Settings) -> dict[str, str]:
    """Values of ``other`` by key, where ``first`` has another or none."""
    return {key: value for key, value in other.items() if first.get(key) != value}
