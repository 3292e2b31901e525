"""Rows of a report's tables out of what they are about."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from counterpoise.metrics import Objective, Standing
from counterpoise.reports.draws import Draws, interval_over_rows
from counterpoise.reports.entries import duration, temperature, threshold
from counterpoise.reports.reading import number, section, whole
from counterpoise.reports.report import Calibration, Figure, Interval, Method, Repetition, Row
from counterpoise.reports.statistics.spread import (
    both_interval,
    defined,
    mean,
    std,
    t_interval,
    variance_of_mean,
    variance_over_rows,
)
from counterpoise.reports.subjects import BOUNDS, Part, Subject, Trial, within

Floats = NDArray[np.float64]

UNBOUNDED = (-math.inf, math.inf)


def make_row(subject: Subject, objective: Objective | None, split: str, method: Method, draws: Draws | None) -> Row:
    """The row of a subject; without ``draws`` its figures have no intervals over rows."""
    best = best_trial(subject, objective)
    return Row(
        name=subject.name,
        kind=subject.kind,
        model=subject.model,
        settings=subject.settings,
        figures=_figures(subject, lambda measured: measured.figures, method, draws),
        valid=_figures(subject, lambda measured: measured.valid, method, None),
        repetitions=tuple(_repetition(trial, objective) for trial in subject.trials),
        over=subject.over,
        best_seed=None if best is None else best.seed,
        best_run=None if best is None else _best_run(best, objective),
        members=subject.members,
        parameters=_parameters(subject),
        seconds=_seconds(subject),
        threshold=_thresholds(subject),
        calibration=_calibration(subject, split),
        incomplete=subject.incomplete,
    )


def score(figures: Mapping[str, float], objective: Objective | None) -> float | None:
    """The objective's value of validation figures; ``None`` if they do not define it."""
    return None if objective is None else figures.get(objective.name)


def standing_of(figures: Mapping[str, float], objective: Objective) -> Standing:
    """What validation figures are chosen by."""
    return objective.standing_of(figures.get(objective.name, math.nan), figures)


def best_trial(subject: Subject, objective: Objective | None) -> Trial | None:
    """The repetition with the best score on validation; of equal ones by the tie breaker, then the first.

    ``None`` where none has one, and where folds are missing: means over other folds say nothing of which is better.
    """
    if objective is None or subject.kind != "model" or subject.folds:
        return None
    scored = [trial for trial in subject.trials if score(trial.valid, objective) is not None]
    return max(scored, key=lambda trial: standing_of(trial.valid, objective).order, default=None)


def rank(subject: Subject, objective: Objective | None) -> tuple[bool, float, float]:
    """What models are ordered by, best first: their mean score on validation, equal ones by their mean tie breaker.

    Those without a score come last, and those that lack folds stand behind all others.
    """
    each = [] if objective is None else [standing_of(trial.valid, objective) for trial in subject.trials]
    known = [one for one in each if one.is_defined]
    if not known:
        return bool(subject.folds), math.inf, math.inf
    whole = Standing(mean([one.score for one in known]), mean([one.tie_breaker for one in known]))
    score_of, tie_breaker = whole.order
    return bool(subject.folds), -score_of, -tie_breaker


def _figures(
    subject: Subject, figures_of: Callable[[Trial | Part], Mapping[str, float]], method: Method, draws: Draws | None
) -> dict[str, Figure]:
    """Of the metrics that all repetitions have. Their deviation is over repetitions; of a single one over its folds."""
    each = [figures_of(trial) for trial in subject.trials]
    spread_over = [figures_of(part) for part in subject.trials[0].parts.values()] if subject.over == "folds" else each
    names = [name for name in each[0] if all(name in figures for figures in each)]
    return {
        name: _figure(name, [figures[name] for figures in each], std([one[name] for one in spread_over]), method, draws)
        for name in names
    }


def _figure(name: str, values: Sequence[float], spread: float | None, method: Method, draws: Draws | None) -> Figure:
    centre, confidence = mean(values), method.confidence
    over_rows = over_both = None
    drawn = defined(draws.figures[name]) if draws is not None and name in draws.figures else np.zeros(0)
    if draws is not None and len(drawn) > 1:
        size = draws.sizes.of(name)
        over_rows = interval_over_rows(name, centre, drawn, confidence, size)
        of_seeds = variance_of_mean(values)
        if of_seeds is not None:
            parts = [variance_over_rows(drawn, size), of_seeds]
            over_both = both_interval(centre, parts, confidence, BOUNDS.get(name, UNBOUNDED))
    return Figure(
        mean=centre,
        std=spread,
        values=tuple(values),
        over_seeds=_within(BOUNDS.get(name, UNBOUNDED), t_interval(values, confidence)),
        over_rows=over_rows,
        over_both=over_both,
    )


def _within(bounds: Interval, interval: Interval | None) -> Interval | None:
    """The interval, cut off at the bounds."""
    return None if interval is None else (max(bounds[0], interval[0]), min(bounds[1], interval[1]))


def _repetition(trial: Trial, objective: Objective | None) -> Repetition:
    folds = tuple(fold for fold in trial.parts if fold is not None)
    return Repetition(
        seed=trial.seed,
        folds=folds,
        runs=tuple(run.index for run in trial.runs),
        score=score(trial.valid, objective),
    )


def _best_run(trial: Trial, objective: Objective | None) -> int | None:
    """Of its folds, the run with the best score on validation."""
    if objective is None:
        return None
    found = [(standing_of(part.valid, objective), part.run) for part in trial.parts.values() if part.run is not None]
    scored = [(*each.order, -run.index) for each, run in found if each.is_defined]
    return -max(scored)[2] if scored else None


def _parameters(subject: Subject) -> int | None:
    counts = [whole(run.record.result, "trainable_parameters") for run in subject.runs]
    return counts[0] if counts else None


def _seconds(subject: Subject) -> float | None:
    known = [value for run in subject.runs if (value := duration(run.record.result)) is not None]
    return sum(known) if known else None


def _thresholds(subject: Subject) -> str:
    """Empty for more classes than two."""
    found = [threshold(run.record) for run in subject.runs if len(run.record.classes) == 2]
    found += [part.threshold for trial in subject.trials for part in trial.parts.values() if part.threshold is not None]
    if not found:
        return ""
    low, high = (f"{value:.4g}" for value in (min(found), max(found)))
    return low if low == high else f"{low}–{high}"


def _calibration(subject: Subject, split: str) -> Calibration | None:
    nodes = [section(run.record.result, "calibration", split) for run in subject.runs]
    before, after = (
        [value for node in nodes if within(value := number(node, name), 0, 1)] for name in ("before", "after")
    )
    if not before or len(before) != len(after):
        return None
    scale = mean([temperature(run.record) for run in subject.runs])
    return Calibration(temperature=scale, before=mean(before), after=mean(after))
