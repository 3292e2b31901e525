"""Bootstrap draws of every figure of a data set, all from the same resamples of its held-out rows."""

from __future__ import annotations

import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from counterpoise.metrics import METRICS, Objective
from counterpoise.reports.predictions import Predictions
from counterpoise.reports.report import Interval, Method
from counterpoise.reports.statistics.resample import repeats, resamples
from counterpoise.reports.statistics.spread import log_odds_interval, percentile_interval
from counterpoise.reports.statistics.weighted import Answers, weighted_metrics
from counterpoise.reports.subjects import Part, Subject

Floats = NDArray[np.float64]
Fold = int | None


OF_ROWS = ("accuracy", "weighted_f1", "log_loss", "calibration_error")
"""Figures that every row has the same part in; others hang on their rarest class."""

MOST_DRAWN = 50_000_000
"""Rows times resamples of a test set: about two seconds for each run."""
FEWEST = 400
"""Resamples of even the largest one."""
AREAS = ("roc_auc", "pr_auc")
"""Figures whose intervals are symmetric in log odds."""


@dataclass(frozen=True)
class Sizes:
    """How much there is to draw from: small numbers make wide intervals."""

    rows: int
    """Held-out rows, or groups of them."""
    rarest: int
    """Rows of the rarest class that there is, or groups with such rows."""

    def of(self, metric: str) -> int:
        """What chance in this figure is mostly due to."""
        return self.rows if metric in OF_ROWS else self.rarest


@dataclass(frozen=True)
class Draws:
    """Of one subject. NaN where a resample does not define the figure."""

    sizes: Sizes
    deciding: Floats
    """The metric that decides, of each repetition: ``[S, B]``."""
    figures: dict[str, Floats] = field(default_factory=dict)
    """Means over its repetitions, ``[B]`` by metric."""


def draw_all(
    subjects: Sequence[Subject],
    held_out: Mapping[Fold, Predictions],
    objective: Objective | None,
    method: Method,
    data: str,
) -> dict[str, Draws]:
    """Draws of each subject all of whose predictions can be used, by its name.

    A figure of several folds is the mean over them, and each fold has resamples of its own.

    Args:
        subjects: what stands in the rows.
        held_out: rows, labels and groups of each fold, or of the only test set under ``None``.
        objective: whose metric decides.
        method: how many resamples, and their seed.
        data: identifies the held-out rows: other data have other resamples.
    """
    count = affordable(method.resamples, max((len(truth.rows) for truth in held_out.values()), default=0))
    ready = [each for each in subjects if all(part.answers for trial in each.trials for part in trial.parts.values())]
    sizes = _sizes(held_out.values())
    found = {each.name: Draws(sizes, np.zeros((len(each.trials), count))) for each in ready}
    parts = _by_fold(ready)
    for fold, members in parts.items():
        truth = held_out[fold]
        seed = (method.seed, zlib.crc32(data.encode()), 0 if fold is None else fold + 1)
        start = 0
        for weights in resamples(truth.labels, truth.groups, count, seed):
            place = slice(start, start + weights.shape[1])
            for subject, index, part in members:
                _add(found[subject.name], subject, index, _metrics(truth, part, weights, objective), objective, place)
            start = place.stop
    return found


def affordable(asked: int, rows: int) -> int:
    """How many resamples there are of a test set: those that are asked for, fewer where it is very large."""
    return asked if not rows else min(asked, max(FEWEST, MOST_DRAWN // rows))


def interval_over_rows(name: str, centre: float, drawn: Floats, confidence: float, size: int) -> Interval:
    """The interval of a figure ``centre`` by its bootstrap draws ``[B]``, ``size`` as :meth:`Sizes.of` gives it."""
    if name in AREAS and 0 < centre < 1:
        return log_odds_interval(centre, drawn, confidence, size)
    return percentile_interval(drawn, confidence, size)


def _sizes(held_out: Collection[Predictions]) -> Sizes:
    """Of all folds together."""
    rows, by_class = 0, Counter[int]()
    for truth in held_out:
        units = truth.groups if truth.groups is not None and repeats(truth.groups) else truth.rows
        rows += len(np.unique(units))
        by_class.update(
            {label: len(np.unique(units[truth.labels == label])) for label in np.unique(truth.labels).tolist()}
        )
    return Sizes(rows, min(by_class.values(), default=0))


def _by_fold(subjects: Sequence[Subject]) -> dict[Fold, list[tuple[Subject, int, Part]]]:
    """All that was measured on the rows of each fold, with the place of its repetition."""
    found = defaultdict(list)
    for subject in subjects:
        for index, trial in enumerate(subject.trials):
            for fold, part in trial.parts.items():
                found[fold].append((subject, index, part))
    return found


def _metrics(
    truth: Predictions, part: Part, weights: Floats, objective: Objective | None
) -> Iterator[tuple[str, Floats]]:
    assert part.answers is not None
    found = weighted_metrics(Answers(truth.labels, part.answers.predicted, part.answers.probabilities), weights)
    yield from found.items()
    if objective is not None and objective.name not in METRICS and set(objective.config.weights) <= set(found):
        signs = {"maximise": 1, "minimise": -1}
        terms = [signs[METRICS[name]] * weight * found[name] for name, weight in objective.config.weights.items()]
        yield objective.name, np.sum(terms, axis=0)


def _add(
    draws: Draws,
    subject: Subject,
    trial: int,
    metrics: Iterator[tuple[str, Floats]],
    objective: Objective | None,
    place: slice,
) -> None:
    """Add a part's figures to the means that it belongs to."""
    folds = len(subject.trials[trial].parts)
    for name, values in metrics:
        total = draws.figures.setdefault(name, np.zeros(draws.deciding.shape[1]))
        total[place] += values / (folds * len(subject.trials))
        if objective is not None and name == objective.name:
            draws.deciding[trial, place] += values / folds
