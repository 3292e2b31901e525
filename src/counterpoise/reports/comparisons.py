"""Which rows of a data set differ by more than chance."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from counterpoise.reports.draws import Draws
from counterpoise.reports.report import Comparison, Method
from counterpoise.reports.statistics.pairs import bootstrap_p, combined_p, effect_size, holm, mcnemar_p, pairs_needed
from counterpoise.reports.statistics.resample import repeats
from counterpoise.reports.statistics.spread import (
    both_interval,
    both_p,
    defined,
    mean,
    percentile_interval,
    variance_of_mean,
    variance_over_rows,
)
from counterpoise.reports.subjects import Subject, Trial

Pairs = Sequence[tuple[int, int]]
FAMILIES = ("p_bootstrap", "p_mcnemar", "p_both")


def compare_all(
    subjects: Sequence[Subject], draws: Mapping[str, Draws], metric: str, method: Method, rows: int, notes: list[str]
) -> tuple[Comparison, ...]:
    """Comparisons of the metric that decides, corrected for being several.

    All pairs of models, or each with the best where there are more than ``method.compared``; averages and baselines
    with the best model.

    Args:
        subjects: models best first, then averages, then baselines.
        draws: bootstrap draws by name; what has none is compared by its figures alone.
        metric: the figure that decides.
        method: confidence of intervals and verdicts.
        rows: held-out rows.
        notes: which rows could not be compared is added here.
    """
    found = []
    for first, second in _chosen(subjects, method.compared):
        pairs, by_seed = pairs_of(first, second)
        if pairs and all(metric in trial.figures for subject in (first, second) for trial in subject.trials):
            found.append(_Comparing(first, second, pairs, by_seed, metric, method).made(draws, rows))
        else:
            notes.append(f"{first.name} and {second.name} are not compared: they have no {metric} on the same rows.")
    significance = 1 - method.confidence
    resamples = min((each.deciding.shape[1] for each in draws.values()), default=method.resamples)
    if resamples < method.resamples:
        notes.append(f"There are many held-out rows: {resamples:,} resamples instead of {method.resamples:,}.")
    least = 2 / (resamples + 1) * len(found)
    if least >= significance:
        notes.append(
            f"{len(found)} comparisons need more than {resamples:,} resamples: after correction no p value of the "
            f"bootstrap can be below {min(1.0, least):.2g}."
        )
    return tuple(_judged(each, significance) for each in _corrected(found))


def _chosen(subjects: Sequence[Subject], most: int) -> Iterator[tuple[Subject, Subject]]:
    models = [subject for subject in subjects if subject.kind == "model"]
    if not models:
        return
    best = models[0]
    yield from combinations(models, 2) if len(models) <= most else ((best, other) for other in models[1:])
    yield from ((subject, best) for subject in subjects if subject.kind == "average")
    yield from ((best, subject) for subject in subjects if subject.kind == "baseline")


def pairs_of(first: Subject, second: Subject) -> tuple[Pairs, bool]:
    """Which repetitions of two rows stand beside each other, and whether the differences of the pairs are independent.

    Those of the same seed where both rows have the same seeds, so that what a seed decides for both, as the order of
    the data, cancels out. Else all of the one with all of the other, so that no seed is lost and the difference is that
    of the table's means; it is independent where one of them is a single one that no seed changes: a baseline, or an
    average. Only repetitions that held out the same folds are paired.
    """
    alike = [
        (i, j)
        for i, one in enumerate(first.trials)
        for j, other in enumerate(second.trials)
        if set(one.parts) == set(other.parts)
    ]
    same = [(i, j) for i, j in alike if first.trials[i].seed == second.trials[j].seed is not None]
    whole = len(same) == len({i for i, _ in alike}) == len({j for _, j in alike}) > 0
    return (same, True) if whole else (alike, first.kind != "model" or second.kind != "model")


@dataclass(frozen=True)
class _Comparing:
    first: Subject
    second: Subject
    pairs: Pairs
    independent: bool
    metric: str
    method: Method

    def made(self, draws: Mapping[str, Draws], rows: int) -> Comparison:
        """The comparison, not yet corrected for others."""
        values = [self._value(self.first, i) - self._value(self.second, j) for i, j in self.pairs]
        difference = mean(values)
        of_seeds = self._of_seeds()
        effect = effect_size(values) if self.independent and of_seeds is not None else None
        facts: dict[str, Any] = {"effect": effect, "seeds_needed": None if effect is None else pairs_needed(effect)}
        if self.first.name in draws and self.second.name in draws:
            facts |= self._resampled(difference, draws[self.first.name], draws[self.second.name], of_seeds)
        right = self._right()
        if right is not None:
            facts |= _mcnemar(right)
        return Comparison(
            first=self.first.name,
            second=self.second.name,
            metric=self.metric,
            difference=difference,
            pairs=len(self.pairs),
            rows=rows,
            **facts,
        )

    def _value(self, subject: Subject, trial: int) -> float:
        return subject.trials[trial].figures[self.metric]

    def _resampled(
        self, difference: float, one: Draws, other: Draws, of_seeds: Sequence[tuple[float, float]] | None
    ) -> dict[str, Any]:
        """What the bootstrap draws of the mean difference say."""
        own, others = ([pair[side] for pair in self.pairs] for side in (0, 1))
        drawn = defined(one.deciding[own].mean(axis=0) - other.deciding[others].mean(axis=0))
        if len(drawn) < 2:
            return {}
        confidence, size = self.method.confidence, one.sizes.of(self.metric)
        facts: dict[str, Any] = {
            "over_rows": percentile_interval(drawn, confidence, size),
            "p_bootstrap": bootstrap_p(drawn),
        }
        if of_seeds is not None:
            parts = [variance_over_rows(drawn, size), *of_seeds]
            facts |= {"over_both": both_interval(difference, parts, confidence), "p_both": both_p(difference, parts)}
        return facts

    def _of_seeds(self) -> list[tuple[float, float]] | None:
        """Variance over seeds of the mean difference, by source, with its degrees of freedom.

        ``None`` where it is not known: of a model with one seed, and of an average.
        """
        if "average" in (self.first.kind, self.second.kind):
            return None
        if self.independent:
            own = variance_of_mean([self._value(self.first, i) - self._value(self.second, j) for i, j in self.pairs])
            return None if own is None else [own]
        sides = [
            variance_of_mean([self._value(subject, trial) for trial in sorted({pair[side] for pair in self.pairs})])
            for side, subject in enumerate((self.first, self.second))
        ]
        known = [side for side in sides if side is not None]
        return known if len(known) == len(sides) else None

    def _right(self) -> list[tuple[NDArray[np.bool_], NDArray[np.bool_]]] | None:
        """Of each pair, which rows the one and the other predicts right; ``None`` without predictions, and where rows
        share groups: the test takes them to be independent."""
        one, other = ([_right(trial) for trial in subject.trials] for subject in (self.first, self.second))
        found = [
            (own, others) for i, j in self.pairs if (own := one[i]) is not None and (others := other[j]) is not None
        ]
        return found if len(found) == len(self.pairs) else None


def _right(trial: Trial) -> NDArray[np.bool_] | None:
    """Which rows are predicted right, of all folds in order, ``[N]``."""
    parts = [trial.parts[fold].answers for fold in sorted(trial.parts, key=lambda fold: -1 if fold is None else fold)]
    single = [answers for answers in parts if answers is not None and not repeats(answers.groups)]
    known = [answers.predicted == answers.labels for answers in single]
    return np.concatenate(known) if len(known) == len(parts) else None


def _mcnemar(right: Sequence[tuple[NDArray[np.bool_], NDArray[np.bool_]]]) -> dict[str, Any]:
    counts = [(int((one & ~other).sum()), int((other & ~one).sum())) for one, other in right]
    only_first, only_second = (mean([count[side] for count in counts]) for side in (0, 1))
    return {
        "p_mcnemar": combined_p([mcnemar_p(*count) for count in counts]),
        "discordant": (only_first, only_second),
    }


def _corrected(found: Sequence[Comparison]) -> list[Comparison]:
    """With Holm's correction within each kind of test."""
    answer = list(found)
    for family in FAMILIES:
        places = [place for place, each in enumerate(answer) if getattr(each, family) is not None]
        values = holm([getattr(answer[place], family) for place in places])
        for place, value in zip(places, values, strict=True):
            corrected: dict[str, Any] = {f"{family}_holm": value}
            answer[place] = dataclasses.replace(answer[place], **corrected)
    return answer


def _judged(comparison: Comparison, significance: float) -> Comparison:
    verdict: Literal["clear", "unclear", "rows only"] = "unclear"
    if comparison.p_both_holm is not None and comparison.p_both_holm < significance:
        verdict = "clear"
    elif comparison.p_bootstrap_holm is not None and comparison.p_bootstrap_holm < significance:
        verdict = "rows only"
    return dataclasses.replace(comparison, verdict=verdict, more_right=_more_right(comparison, significance))


def _more_right(comparison: Comparison, significance: float) -> Literal["first", "second", "unclear"] | None:
    if comparison.p_mcnemar_holm is None:
        return None
    if comparison.p_mcnemar_holm >= significance:
        return "unclear"
    only_first, only_second = comparison.discordant
    return "first" if only_first > only_second else "second"
