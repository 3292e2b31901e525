"""What stands in a row of a report: a configuration with its repetitions, an average of some, or a baseline."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Literal, TypeGuard

import numpy as np

from counterpoise.metrics import METRICS, Objective, classification_metrics
from counterpoise.reports.collect import Group, Repeated, Run
from counterpoise.reports.means import FOLDS, NESTED, SEEDS, Configuration
from counterpoise.reports.predictions import Predictions, UnusableError, read_baselines, read_predictions
from counterpoise.reports.reading import finite, number, section, whole
from counterpoise.reports.statistics.spread import mean

Figures = Mapping[str, float]
Over = Literal["seeds", "folds", "seeds of means over folds"]

BOUNDS: Final = {**dict.fromkeys(METRICS, (0.0, 1.0)), "mcc": (-1.0, 1.0), "log_loss": (0.0, math.inf)}
"""Of the metrics: what is beyond is damaged, and an interval that a formula gives is cut off there."""
LARGEST: Final = 1e6
"""More is no figure but damage: squares of such numbers would overflow."""
TOLERANCE: Final = 1e-6
"""Up to which a figure of ``result.json`` is what the predictions come to."""


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
    threshold: float | None = None
    """Of an average of two classes: from which probability class 1 is predicted."""


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
    over: Over = "seeds"
    model: str = ""
    settings: Mapping[str, str] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    folds: str = ""
    """How many of how many folds its figures are of; empty for all of them."""
    incomplete: str = ""
    """The same, and what became of seeds that its figures are not of."""

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
        self._folds = {run.job.fold for run in group.finished}
        self._answers: dict[int, Predictions] = {}
        self.held_out: dict[int | None, Predictions] = {}
        """Any usable predictions for the rows of each fold: what the rows are."""
        self._read()

    def _read(self) -> None:
        """The answers of all runs, held against what most of their fold say the rows and labels are."""
        by_fold: dict[int | None, list[tuple[Run, Predictions]]] = defaultdict(list)
        for run in self._group.finished:
            try:
                found = self._predictions(run)
            except UnusableError as error:
                self._accuse(str(error))
            else:
                by_fold[run.job.fold].append((run, found))
        for fold, members in by_fold.items():
            truth = self.held_out[fold] = self._truth(members)
            for run, found in members:
                path = self._path(run, "predictions")
                if found.fingerprint != truth.fingerprint:
                    self._accuse(f"{path} has other rows or labels than the others' have.")
                elif wrong := self._disagreement(run, found):
                    self._accuse(f"{path} does not agree with result.json: {wrong}.")
                else:
                    self._answers[run.index] = Predictions(
                        truth.rows, truth.labels, found.probabilities, found.predicted, truth.groups
                    )

    def _predictions(self, run: Run) -> Predictions:
        if len(self._group.classes) < 2:
            raise UnusableError(f"{self._path(run, 'predictions')} cannot be used: no run says what the classes are.")
        return read_predictions(self._path(run, "predictions"), len(self._group.classes))

    def _accuse(self, sentence: str) -> None:
        self._notes.append(f"{sentence} Its figures are those of result.json, without a bootstrap.")

    def _truth(self, members: Sequence[tuple[Run, Predictions]]) -> Predictions:
        """Those that most have; of equally many, those with as many rows of each class as ``result.json`` counts."""
        votes: Counter[str] = Counter(found.fingerprint for _, found in members)
        backed = Counter(found.fingerprint for run, found in members if self._counts_agree(run, found))
        most = max(votes, key=lambda each: (votes[each], backed[each]))
        alike = [found for _, found in members if found.fingerprint == most]
        return next((found for found in alike if found.groups is not None), alike[0])

    def _counts_agree(self, run: Run, found: Predictions) -> bool:
        counts = np.bincount(found.labels, minlength=len(self._group.classes))
        return list(counts) == supports(run, self._split, self._group.classes)

    def _disagreement(self, run: Run, found: Predictions) -> str:
        """What the file and ``result.json`` say of the metric that decides, where these differ; else empty."""
        objective, told = self._group.objective, self._figures(section(run.record.result, self._split))
        if objective is None or objective.name not in told:
            return ""
        computed = self._figures(
            classification_metrics(found.labels, found.probabilities, self._group.classes, predicted=found.predicted)
        ).get(objective.name, math.nan)
        claimed = told[objective.name]
        if abs(computed - claimed) <= TOLERANCE:  # not so for NaN
            return ""
        return f"its {objective.name} is {computed:.4g}, not {claimed:.4g}"

    def models(self) -> list[Subject]:
        """The configurations of which a run finished."""
        return [self._model(each) for each in self._group.configurations if each.runs]

    def _model(self, repeated: Repeated) -> Subject:
        jobs = repeated.jobs
        over: Over = SEEDS
        if jobs.cross_validates and jobs.count:
            trials = self._over_folds(repeated)
            over = FOLDS if len(trials) == 1 else NESTED
        else:
            trials = [Trial(run.job.seed, {run.job.fold: self._part(run)}) for run in repeated.runs]
        folds = self._of_folds(jobs, trials)
        seeds = lacking_seeds(repeated, trials)
        if folds:
            self._notes.append(f"{repeated.name} has {folds}: it stands behind all rows that have every fold.")
        if seeds:
            self._notes.append(f"{repeated.name}: {seeds}.")
        return Subject(
            name=repeated.name,
            kind="model",
            trials=tuple(trials),
            over=over,
            model=repeated.model,
            settings=repeated.settings,
            folds=folds,
            incomplete="; ".join(filter(None, (folds, seeds))),
        )

    def _over_folds(self, repeated: Repeated) -> list[Trial]:
        """The seeds that have all folds; where none has, all seeds with the folds that they have."""
        jobs = repeated.jobs
        seeds = [seed for seed in jobs.seeds if jobs.folds(seed)]
        missing = {seed: jobs.missing(seed) for seed in seeds}
        complete = [seed for seed in seeds if not missing[seed]]
        for seed, lacking in missing.items():
            if lacking:
                folds = ", ".join(map(str, lacking))
                left_out = "; this seed is left out" if complete else ""
                self._notes.append(
                    f"{repeated.name}, seed {seed}: of {jobs.count} folds {folds} did not finish{left_out}."
                )
        if not complete and len(seeds) > 1:
            self._notes.append(f"{repeated.name}: no seed has all folds; each counts with the mean over those it has.")
        return [
            Trial(seed, {fold: self._part(repeated.run_of(job)) for fold, job in jobs.folds(seed).items()})
            for seed in complete or seeds
        ]

    def _of_folds(self, jobs: Configuration, trials: Sequence[Trial]) -> str:
        """How many of how many folds; empty for all, and where a single one is held out by all rows."""
        counts = [len(trial.parts) for trial in trials]
        if min(counts) == jobs.count or not jobs.count or (len(self._folds) == 1 and not jobs.cross_validates):
            return ""
        low, high = min(counts), max(counts)
        return f"{low} of {jobs.count} folds" if low == high else f"{low} to {high} of {jobs.count} folds"

    def _part(self, run: Run) -> Part:
        figures, valid = (self._figures(section(run.record.result, split)) for split in (self._split, "valid"))
        return Part(figures=figures, valid=valid, answers=self._answers.get(run.index), run=run)

    def _path(self, run: Run, kind: str) -> Path:
        return run.record.folder / f"{kind}_{self._split}.parquet"

    def _figures(self, node: Mapping[str, object]) -> dict[str, float]:
        return figures_of(node, self._group.objective)

    def baselines(self) -> list[Subject]:
        """The baselines, each as one repetition, over the folds where there are some. They know no seed."""
        folds = sorted(self._folds, key=lambda fold: -1 if fold is None else fold)
        names = dict.fromkeys(name for run in self._group.finished for name in section(run.record.result, "baselines"))
        found = []
        for name in names:
            parts = {fold: part for fold in folds if (part := self._bar(fold, name)) is not None}
            if len(parts) == len(folds):
                trial = Trial(None, parts)
                over: Over = FOLDS if len(folds) > 1 else SEEDS
                found.append(Subject(name=name, kind="baseline", trials=(trial,), over=over))
        return found

    def _bar(self, fold: int | None, name: str) -> Part | None:
        """Of the first run of the fold that has it."""
        for run in self._group.finished:
            node = section(run.record.result, "baselines", name)
            figures, valid = (self._figures(section(node, split)) for split in (self._split, "valid"))
            if run.job.fold == fold and figures:
                return Part(figures=figures, valid=valid, answers=self._answers_of_bar(run, name))
        return None

    def _answers_of_bar(self, run: Run, name: str) -> Predictions | None:
        path, truth = self._path(run, "baselines"), self.held_out.get(run.job.fold)
        if truth is None or not path.exists():  # earlier versions kept none
            return None
        try:
            answers = read_baselines(path, len(self._group.classes)).get(name)
        except UnusableError as error:
            self._notes.append(f"{error} Baselines are shown without a bootstrap.")
            return None
        return answers if answers is not None and answers.fingerprint == truth.fingerprint else None


def supports(run: Run, split: str, classes: Sequence[str]) -> list[int]:
    """Rows of each class, as ``result.json`` counts them; 0 where it does not."""
    nodes = section(run.record.result, split, "per_class")
    return [max(0, whole(nodes, name, "support") or 0) for name in classes]


def lacking_seeds(repeated: Repeated, trials: Sequence[Trial]) -> str:
    """What became of the seeds that a row's figures are not of; empty where they are of all."""
    shown = {trial.seed for trial in trials}
    lost: dict[object, str] = {}
    for run in repeated.others:
        if run.job.seed is None or run.job.seed not in shown:
            lost[run.record.folder if run.job.seed is None else run.job.seed] = run.job.status
    lost |= {run.job.seed: "partial" for run in repeated.runs if run.job.seed not in shown}
    if not lost:
        return ""
    total = len(lost) + len(trials)
    told = [f"{count} of {total} seeds {_became(status, count)}" for status, count in Counter(lost.values()).items()]
    return f"{', '.join(told)}; figures are of the other {len(trials)}"


def _became(status: str, count: int) -> str:
    one = count == 1
    words = {
        "collapsed": "collapsed",
        "failed": "failed",
        "unfinished": "did not finish",
        "finished": "has no such figures" if one else "have no such figures",
        "partial": "lacks folds" if one else "lack folds",
    }
    return words.get(status, f"{'was' if one else 'were'} {status}")


def figures_of(node: Mapping[str, object], objective: Objective | None) -> dict[str, float]:
    """The known metrics of a split that are numbers which they can be; with a custom objective that too."""
    found = {name: value for name in METRICS if within(value := number(node, name), *BOUNDS[name])}
    if objective is not None and objective.name not in METRICS and set(objective.config.weights) <= set(found):
        score = objective.score(found)
        found |= {objective.name: score} if within(score, -math.inf, math.inf) else {}
    return found


def within(value: float | None, low: float, high: float) -> TypeGuard[float]:
    """Whether there is a number from ``low`` to ``high``, and no larger than any that a run can come to."""
    return finite(value) and low <= value <= high and abs(value) <= LARGEST
