"""A report as one value: everything that its JSON, Markdown, HTML, CSV and LaTeX say comes from here.

:mod:`counterpoise.reports.collect` and :mod:`counterpoise.reports.compare` make it out of run folders; everything in
:mod:`counterpoise.reports.outputs` only writes it down. NaN and infinities do not occur: what is not defined is left
out of a mapping, or ``None``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from counterpoise.metrics import SAME_SCORE

Interval = tuple[float, float]
"""Lower and upper end."""


@dataclass(frozen=True, kw_only=True)
class Figure:
    """One metric of one row."""

    mean: float
    """Over the repetitions."""
    std: float | None = None
    """Sample standard deviation (n − 1) over the repetitions; ``None`` for one."""
    values: tuple[float, ...] = ()
    """One per repetition, in the order of :attr:`Row.repetitions`."""
    over_seeds: Interval | None = None
    """Student's t interval of the mean over repetitions: other seeds, the same test rows."""
    over_rows: Interval | None = None
    """Stratified bootstrap over test rows: the same trained models, other test rows."""
    over_both: Interval | None = None
    """Both kinds of chance together."""


@dataclass(frozen=True, kw_only=True)
class Repetition:
    """One seed's figures: those of a run, or means over the folds of one."""

    seed: int | None
    folds: tuple[int, ...] = ()
    runs: tuple[int, ...] = ()
    """Indices into :attr:`Report.runs`."""
    score: float | None = None
    """The objective on validation, by which the best seed is chosen: test decides nothing."""


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Expected calibration error with 15 bins, before and after temperature scaling; means over repetitions."""

    temperature: float
    before: float
    after: float


@dataclass(frozen=True, kw_only=True)
class Row:
    """One row of the table of a data set."""

    name: str
    """Unique within the report's data set."""
    kind: Literal["model", "average", "baseline"]
    model: str = ""
    """The model's class; empty for averages and baselines."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What distinguishes it from other rows of the same model: values by dotted key."""
    figures: Mapping[str, Figure] = field(default_factory=dict)
    """On the held-out rows, by metric."""
    valid: Mapping[str, Figure] = field(default_factory=dict)
    """On validation."""
    repetitions: tuple[Repetition, ...] = ()
    over: Literal["seeds", "folds", "seeds of means over folds"] = "seeds"
    """What ``std`` is over."""
    best_seed: int | None = None
    """Of the repetition with the best score on validation."""
    best_run: int | None = None
    """Index into :attr:`Report.runs` of that repetition's run, the best of its folds."""
    members: tuple[str, ...] = ()
    """Of an average: names of the rows whose runs' probabilities were averaged."""
    parameters: int | None = None
    """Trained ones."""
    seconds: float | None = None
    """Wall time of all its runs that finished, together."""
    threshold: str = ""
    """From which probability class 1 is predicted, as text: ``0.5``, or the range over runs of what was tuned."""
    calibration: Calibration | None = None
    incomplete: str = ""
    """What its figures lack, in plain words: ``2 of 5 folds``, ``3 of 5 seeds collapsed``. Empty where all is there."""


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Two rows of one data set, on the same held-out rows: ``first`` minus ``second`` of one metric."""

    first: str
    second: str
    metric: str
    difference: float
    """Mean over the pairs."""
    pairs: int
    """Runs of the one beside runs of the other: of the same seed where both have it."""
    rows: int
    over_rows: Interval | None = None
    """Paired bootstrap."""
    over_both: Interval | None = None
    """Rows and seeds together."""
    p_bootstrap: float | None = None
    """Two-sided, of the paired bootstrap over rows; and with Holm's correction over all comparisons of the data set."""
    p_bootstrap_holm: float | None = None
    p_mcnemar: float | None = None
    """Exact McNemar test on which rows were predicted right, its pairs combined as twice their median p; and Holm's."""
    p_mcnemar_holm: float | None = None
    p_both: float | None = None
    """Of rows and seeds together, by a t test with Satterthwaite's degrees of freedom; and Holm's."""
    p_both_holm: float | None = None
    more_right: Literal["first", "second", "unclear"] | None = None
    """Which predicts more rows right, by the McNemar test, which is about accuracy. ``None``: not tested."""
    discordant: tuple[float, float] = (0.0, 0.0)
    """Rows that only ``first``, and only ``second``, predicts right; means over the pairs."""
    effect: float | None = None
    """Cohen's d of the pairs' differences, with Hedges' correction; ``None`` for fewer than two pairs."""
    seeds_needed: int | None = None
    """Pairs that a paired t test needs to see this difference with power 0.8 at 0.05; ``None`` where unknown."""
    verdict: Literal["clear", "unclear", "rows only"] = "unclear"
    """``clear``: beyond chance of rows and seeds after correction. ``rows only``: beyond chance of rows, but of one
    seed, or not beyond that of seeds."""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """All that was measured on the same held-out rows, and is therefore comparable."""

    name: str
    fingerprint: str
    split: Literal["test", "valid", "out of fold"]
    size: int
    """Held-out rows."""
    classes: tuple[str, ...]
    counts: Mapping[str, int]
    """Held-out rows of each class."""
    metric: str
    """The figure that decides, and that rows are ordered by."""
    maximise: bool
    rows: tuple[Row, ...]
    """Models best first by their mean score on validation, then averages, then baselines."""
    comparisons: tuple[Comparison, ...] = ()
    notes: tuple[str, ...] = ()
    """What could not be compared or pooled, and why."""
    chosen_here: bool = False
    """Whether the held-out rows are validation rows: epochs, thresholds and the best row were chosen on them."""

    def row(self, name: str) -> Row:
        """The row of this name."""
        return next(row for row in self.rows if row.name == name)

    @property
    def best(self) -> Row | None:
        """The best model by validation; ``None`` where no row has all folds, or nothing says which one it is."""
        first = next((row for row in self.rows if row.kind == "model" and row.best_run is not None), None)
        scored = first is not None and any(each.score is not None for each in first.repetitions)
        return first if self.metric and scored else None

    @property
    def leaders(self) -> tuple[Row, ...]:
        """The best model and those that are tied with it: they have the same score on validation."""
        best = self.best
        if best is None:
            return ()
        models = [row for row in self.rows if row.kind == "model" and row.best_run is not None]
        return tuple(row for row in models if row is best or self._are_tied(row, best))

    def _are_tied(self, one: Row, other: Row) -> bool:
        scores = [row.valid[self.metric].mean for row in (one, other) if self.metric in row.valid]
        return len(scores) == 2 and abs(scores[0] - scores[1]) <= SAME_SCORE


@dataclass(frozen=True, kw_only=True)
class RunEntry:
    """One run folder, in whatever state."""

    folder: Path
    status: str
    """``finished``, ``collapsed``, ``pruned``, ``aborted``, ``failed`` or ``unfinished``."""
    model: str = ""
    data: str = ""
    seed: int | None = None
    fold: int | None = None
    data_set: int | None = None
    """Index into :attr:`Report.data`."""
    row: str = ""
    """Name of the row that it is a part of; of a run that did not finish, the one that it would be."""
    message: str = ""
    """Why it did not finish."""
    metric: str = ""
    score: float | None = None
    """The objective on validation, of the best epoch."""
    best_epoch: int | None = None
    """One-based."""
    epochs: int = 0
    seconds: float | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    """On the held-out rows."""
    differs: Mapping[str, str] = field(default_factory=dict)
    """Its config where that differs from the first run of the same data: values by dotted key."""
    command: str = ""
    """How to make it again."""
    fingerprint: str = ""
    """Of its data."""
    versions: Mapping[str, str] = field(default_factory=dict)
    hardware: str = ""
    diagnosis: tuple[Mapping[str, Any], ...] = ()
    """Findings, as ``result.json`` has them."""
    unreadable: tuple[str, ...] = ()
    threshold: float = 0.5
    tuning: str = ""
    """The result of tuning the threshold, in a sentence; empty where it was not asked for."""
    temperature: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Method:
    """How the figures were computed, for the reader."""

    confidence: float = 0.95
    resamples: int = 2000
    seed: int = 0
    """Of the bootstrap."""
    compared: int = 10
    """Most models of a data set whose pairs are all compared; of more, each is compared with the best."""


@dataclass(frozen=True, kw_only=True)
class Report:
    """What was collected, measured and compared."""

    created: str
    """ISO 8601, UTC."""
    version: str
    """Of this package."""
    title: str
    paths: tuple[str, ...]
    data: tuple[DataSet, ...]
    runs: tuple[RunEntry, ...]
    method: Method
    statuses: Mapping[str, int] = field(default_factory=dict)
    """Runs by status."""
    seconds: float = 0.0
    """Wall time of all runs together, those included that did not finish."""
    publication: Mapping[str, str] = field(default_factory=dict)
    """A paragraph of training details by row name, prefixed by the data set's name where there are several."""
