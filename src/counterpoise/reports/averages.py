"""Rows for averaged probabilities: of the repetitions of one row, and of several rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from counterpoise.decision import DecisionConfig
from counterpoise.errors import Problem, UserError, fail, nearest
from counterpoise.metrics import Objective, classification_metrics, predicted_classes
from counterpoise.reports.collect import Run
from counterpoise.reports.entries import HALF, threshold
from counterpoise.reports.predictions import Predictions, UnusableError, average, read_predictions
from counterpoise.reports.reading import find, word
from counterpoise.reports.statistics.spread import mean
from counterpoise.reports.subjects import Part, Subject, Trial, figures_of
from counterpoise.thresholds import TUNABLE, tune

MOST_ROWS = 6
"""Rows of models up to which all of them are averaged together."""


@dataclass(frozen=True)
class Averager:
    """Averages the models of one data set."""

    models: Sequence[Subject]
    objective: Objective | None
    split: str
    classes: Sequence[str]
    most: int
    """Models whose repetitions are averaged without being asked for, best first."""
    notes: list[str]
    """What could not be averaged is added here."""

    def all(self, asked: Sequence[Sequence[str]]) -> list[Subject]:
        """The averages that are always made, of the best rows where there are many, and those that are asked for."""
        repeated = [subject for subject in self.models if len(subject.trials) > 1]
        if len(repeated) > self.most:
            self.notes.append(f"Averages over seeds are those of the {self.most} best models of {len(repeated)}.")
        found = [each for subject in repeated[: self.most] for each in self._of([subject])]
        different = {subject.model for subject in self.models}
        if 2 <= len(self.models) <= MOST_ROWS and len(different) > 1:
            found += self._of(self.models, "average of all")
        by_name = {subject.name: subject for subject in self.models}
        for names in asked:
            if all(name in by_name for name in names):
                found += self._of([by_name[name] for name in dict.fromkeys(names)])
        return list({subject.name: subject for subject in found}.values())

    def _of(self, subjects: Sequence[Subject], title: str = "") -> Iterator[Subject]:
        """One row for the probabilities of all repetitions of these rows together; none if they cannot be averaged."""
        trials = [trial for subject in subjects for trial in subject.trials]
        names = tuple(subject.name for subject in subjects)
        if not title:
            title = f"{names[0]}, average" if len(names) == 1 else f"average of {' and '.join(names)}"
        name = f"{title} of {len(trials)}" if len(names) == 1 else f"{title} ({len(trials)} runs)"
        held_out = list(trials[0].parts)
        if any(list(trial.parts) != held_out for trial in trials):
            self.notes.append(f"{name} is left out: not all of its runs held out the same folds.")
            return
        try:
            parts = {fold: self._part([trial.parts[fold] for trial in trials]) for fold in held_out}
        except UnusableError as error:
            self.notes.append(f"{name} is left out: {error}")
            return
        over = subjects[0].over if len(held_out) < 2 else "folds"
        folds = ", ".join(dict.fromkeys(subject.folds for subject in subjects if subject.folds))
        lacking = [(subject.name, subject.incomplete) for subject in subjects if subject.incomplete]
        one = len(names) == 1
        yield Subject(
            name=name,
            kind="average",
            trials=(Trial(None, parts),),
            over=over,
            members=names,
            folds=folds,
            incomplete="; ".join(what if one else f"{name}: {what}" for name, what in lacking),
        )

    def _part(self, members: Sequence[Part]) -> Part:
        """Raises ``UnusableError`` where a member's predictions cannot be used."""
        held_out = [part.answers for part in members if part.answers is not None]
        if len(held_out) < len(members):
            raise UnusableError("predictions of some of its runs cannot be used.")
        runs = [part.run for part in members if part.run is not None]
        valid = held_out if self.split == "valid" else _on_validation(runs, len(self.classes))
        cut = _threshold(runs, valid, self.objective) if len(self.classes) == 2 else None
        answers = _averaged(held_out, cut)
        figures, on_valid = (
            figures_of(classification_metrics(each.labels, each.probabilities, self.classes, cut), self.objective)
            for each in (answers, _averaged(valid, cut))
        )
        shown = None if len(self.classes) != 2 else HALF if cut is None else cut
        return Part(figures=figures, valid=on_valid, answers=answers, threshold=shown)


def check_names(asked: Sequence[Sequence[str]], known: Sequence[Sequence[str]]) -> None:
    """Make sure that each average that is asked for can be made on some data set.

    Args:
        asked: names of rows, by average.
        known: names of the rows of models, by data set.

    Raises:
        UserError: naming the rows that there are.
    """
    problems: list[Problem] = []
    everywhere = [name for names in known for name in names]
    for names in asked:
        if any(set(names) <= set(there) for there in known):
            continue
        unknown = [name for name in names if name not in everywhere]
        where = f"average of {' and '.join(names)}"
        if unknown:
            problems += fail(where, f"there is no row {unknown[0]!r}.", nearest(unknown[0], everywhere)).problems
        else:
            problems += fail(
                where, "these rows were measured on different data.", "Name rows of one data set."
            ).problems
    if problems:
        raise UserError(problems)


def _averaged(members: Sequence[Predictions], cut: float | None) -> Predictions:
    first, probabilities = members[0], average(members)
    return Predictions(first.rows, first.labels, probabilities, predicted_classes(probabilities, cut), first.groups)


def _on_validation(runs: Sequence[Run], n_classes: int) -> list[Predictions]:
    found = [read_predictions(run.record.folder / "predictions_valid.parquet", n_classes) for run in runs]
    if len({each.fingerprint for each in found}) > 1:
        raise UnusableError("its runs were validated on different rows.")
    return found


def _threshold(runs: Sequence[Run], valid: Sequence[Predictions], objective: Objective | None) -> float | None:
    """From which averaged probability class 1 is predicted; ``None`` for the more probable class.

    Where a run tuned its threshold, that of the average is tuned on the averaged validation predictions for the same
    metric, and is 0.5 where that gains nothing beyond chance; else it is the mean of those that were given.
    """
    cuts = [threshold(run.record) for run in runs]
    if set(cuts) == {HALF}:
        return None
    tuned = [word(run.record.result, "decision", "metric") for run in runs if _is_tuned(run)]
    if not tuned:
        return mean(cuts)
    known = [metric for metric in tuned if metric in TUNABLE]
    weights = {known[0]: 1.0} if known else _weights(objective)
    if not weights:
        return mean(cuts)
    found = tune(valid[0].labels, average(valid), weights, valid[0].groups).threshold
    return None if found == HALF else found


def _is_tuned(run: Run) -> bool:
    return find(run.record.result, "decision", "tuned")[1] is True


def _weights(objective: Objective | None) -> Mapping[str, float]:
    """What of the objective depends on the threshold."""
    return {} if objective is None else DecisionConfig(threshold="tune").tuned_for(objective.config)[1]
