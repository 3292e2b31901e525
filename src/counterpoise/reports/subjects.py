"""What stands in a row of a report: a configuration with its repetitions, an average of some, or a baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from counterpoise.metrics import METRICS, Objective
from counterpoise.reports.collect import Group, Repeated, Run
from counterpoise.reports.means import FOLDS, NESTED, SEEDS
from counterpoise.reports.predictions import Predictions, UnusableError, read_baselines, read_predictions
from counterpoise.reports.reading import finite, number, section
from counterpoise.reports.statistics.spread import mean

Figures = Mapping[str, float]


@dataclass(frozen=True, kw_only=True)
class Part:
    """Figures and answers for one set of held-out rows: a run's, or what stands beside it."""

    figures: Figures
    """On the held-out rows."""
    valid: Figures
    """On validation."""
    answers: Predictions | None = None
    """For the held-out rows; ``None`` where the file cannot be used."""
    run: Run | None = None


@dataclass(frozen=True)
class Trial:
    """One repetition: one seed's runs by the fold that they held out, or one run under ``None``."""

    seed: int | None
    parts: Mapping[int | None, Part]

    @cached_property
    def figures(self) -> Figures:
        """Means over its folds of what all of them have."""
        return _means([part.figures for part in self.parts.values()])

    @cached_property
    def valid(self) -> Figures:
        """The same on validation."""
        return _means([part.valid for part in self.parts.values()])

    @property
    def runs(self) -> tuple[Run, ...]:
        """Its runs, by fold."""
        return tuple(part.run for part in self.parts.values() if part.run is not None)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What one row is about."""

    name: str
    kind: Literal["model", "average", "baseline"]
    trials: tuple[Trial, ...]
    over: Literal["seeds", "folds", "seeds of means over folds"] = "seeds"
    model: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    members: tuple[str, ...] = ()

    @property
    def runs(self) -> tuple[Run, ...]:
        """All runs that it is made of."""
        return tuple(run for trial in self.trials for run in trial.runs)


def _means(each: Sequence[Figures]) -> dict[str, float]:
    first, *others = each
    return {name: mean([figures[name] for figures in each]) for name in first if all(name in other for other in others)}


class Reader:
    """Reads the figures and answers of one group's runs, and notes what cannot be used.

    Args:
        group: the runs.
        split: the one that was held out.
        notes: what could not be read is added here.
    """

    def __init__(self, group: Group, split: str, notes: list[str]) -> None:
        self._group = group
        self._split = split
        self._notes = notes
        self.held_out: dict[int | None, Predictions] = {}
        """Any usable predictions for the rows of each fold: what the rows are."""

    def models(self) -> list[Subject]:
        """The configurations of which a run finished."""
        return [subject for each in self._group.configurations if each.runs for subject in self._model(each)]

    def _model(self, repeated: Repeated) -> list[Subject]:
        facts = {"name": repeated.name, "kind": "model", "model": repeated.model, "settings": repeated.settings}
        jobs = repeated.jobs
        if not (jobs.cross_validates and jobs.count):
            trials = [Trial(run.job.seed, {run.job.fold: self._part(run)}) for run in repeated.runs]
            return [Subject(trials=tuple(trials), **facts)]  # type: ignore[arg-type]
        seeds = [seed for seed in jobs.seeds if jobs.folds(seed)]
        missing = {seed: jobs.missing(seed) for seed in seeds}
        for seed, lacking in missing.items():
            if lacking:
                folds = ", ".join(map(str, lacking))
                left_out = "; this seed is left out" if not all(missing.values()) and len(seeds) > 1 else ""
                self._notes.append(
                    f"{repeated.name}, seed {seed}: of {jobs.count} folds {folds} did not finish{left_out}."
                )
        complete = [seed for seed in seeds if not missing[seed]] or seeds[:1]
        trials = [
            Trial(seed, {fold: self._part(repeated.run_of(job)) for fold, job in jobs.folds(seed).items()})
            for seed in complete
        ]
        over = FOLDS if len(trials) == 1 else NESTED
        return [Subject(trials=tuple(trials), over=over, **facts)]  # type: ignore[arg-type]

    def _part(self, run: Run) -> Part:
        result = run.record.result
        answers = None
        try:
            answers = self._agreeing(run, read_predictions(self._path(run, "predictions"), len(run.record.classes)))
        except UnusableError as error:
            self._notes.append(f"{error} Its figures are those of result.json, without a bootstrap.")
        figures, valid = (self._figures(section(result, split)) for split in (self._split, "valid"))
        return Part(figures=figures, valid=valid, answers=answers, run=run)

    def _path(self, run: Run, kind: str):  # type: ignore[no-untyped-def]
        return run.record.folder / f"{kind}_{self._split}.parquet"

    def _agreeing(self, run: Run, found: Predictions) -> Predictions:
        """The same on the rows and labels that others of its fold have. Raises ``UnusableError`` for other rows."""
        first = self.held_out.setdefault(run.job.fold, found)
        if first.fingerprint != found.fingerprint:
            raise UnusableError(f"{self._path(run, 'predictions')} has other rows or labels than the others' have.")
        return Predictions(first.rows, first.labels, found.probabilities, found.predicted, first.groups)

    def _figures(self, node: Mapping[str, object]) -> dict[str, float]:
        return figures_of(node, self._group.objective)

    def baselines(self) -> list[Subject]:
        """The baselines, each as one repetition, over the folds where there are some. They know no seed."""
        runs = {run.job.fold: run for run in reversed(self._group.finished)}
        folds = sorted(runs, key=lambda fold: -1 if fold is None else fold)
        names = [str(name) for name in section(runs[folds[0]].record.result, "baselines")] if folds else []
        over = FOLDS if len(folds) > 1 else SEEDS
        found = []
        for name in names:
            parts = {fold: self._bar(runs[fold], name) for fold in folds}
            if all(part.figures for part in parts.values()):
                trial = Trial(None, parts)
                found.append(Subject(name=name, kind="baseline", trials=(trial,), over=over))  # type: ignore[arg-type]
        return found

    def _bar(self, run: Run, name: str) -> Part:
        node = section(run.record.result, "baselines", name)
        figures, valid = (self._figures(section(node, split)) for split in (self._split, "valid"))
        path = self._path(run, "baselines")
        answers = None
        if path.exists():  # earlier versions kept none
            try:
                answers = read_baselines(path, len(run.record.classes)).get(name)
            except UnusableError as error:
                self._notes.append(f"{error} Baselines are shown without a bootstrap.")
        first = self.held_out.get(run.job.fold)
        same = answers is not None and first is not None and answers.fingerprint == first.fingerprint
        return Part(figures=figures, valid=valid, answers=answers if same else None)


def figures_of(node: Mapping[str, object], objective: Objective | None) -> dict[str, float]:
    """The known metrics of a split that are numbers; with a custom objective that too."""
    found = {name: value for name in METRICS if finite(value := number(node, name))}
    if objective is not None and objective.name not in METRICS and set(objective.config.weights) <= set(found):
        found[objective.name] = objective.score(found)
    return found
