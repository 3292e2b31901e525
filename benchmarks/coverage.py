"""How often the 95 % intervals of a report hold the true figure, and how often its tests raise a false alarm.

    python benchmarks/coverage.py [--sets 1000] [--resamples 1000] [--seed 0]

Test sets are drawn again and again from a population whose true figures are known, with fixed counts of each class, and
models whose scores are ``N(0, 1)`` for negatives and ``N(skill, 1)`` for positives. A row's difficulty is shared by all
models and seeds, which makes their errors depend on each other; the rest of the noise is their own. The true figure is
that of a model measured on an endless test set with the same shares, for several seeds the mean over endlessly many.

Figures by :mod:`counterpoise.reports.statistics`, as reports have them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from counterpoise.reports.draws import Sizes, interval_over_rows
from counterpoise.reports.statistics.pairs import bootstrap_p, combined_p, mcnemar_p
from counterpoise.reports.statistics.resample import resamples
from counterpoise.reports.statistics.spread import (
    both_interval,
    both_p,
    percentile_interval,
    t_interval,
    variance_of_mean,
    variance_over_rows,
)
from counterpoise.reports.statistics.weighted import Answers, weighted_metrics

Floats = NDArray[np.float64]
METRICS = ("accuracy", "f1", "mcc", "roc_auc", "pr_auc")
SHARED = 0.5
"""Part of the noise's variance that is the row's own difficulty."""
ENDLESS = 400_000
"""Rows that true figures are measured on."""
LEVELS = 20
"""Seeds that true figures are means over."""


@dataclass(frozen=True)
class Setting:
    """A test set and the models that are measured on it."""

    rows: int
    positives: int
    skill: float = 1.5
    spread: float = 0.0
    """Standard deviation over seeds of the skill."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """True classes ``[N]``."""
        return np.repeat([0, 1], [self.rows - self.positives, self.positives])

    def size(self, metric: str) -> int:
        """What there is to draw from for this figure."""
        return Sizes(self.rows, min(self.positives, self.rows - self.positives)).of(metric)

    def answers(self, random: np.random.Generator, skills: Sequence[float]) -> list[Answers]:
        """What models of these skills answer on one test set."""
        labels = self.labels
        common = math.sqrt(SHARED) * random.standard_normal(self.rows)
        own = math.sqrt(1 - SHARED) * random.standard_normal((len(skills), self.rows))
        return [_answers(labels, common + noise, skill) for noise, skill in zip(own, skills, strict=True)]

    def skills(self, random: np.random.Generator, seeds: int) -> list[float]:
        """Of several seeds."""
        return [float(skill) for skill in random.normal(self.skill, self.spread, seeds)]


def _answers(labels: NDArray[np.int64], noise: Floats, skill: float) -> Answers:
    """Class 1 from half of the skill on: where both classes are equally likely if they are equally frequent."""
    logits = 1.5 * (noise + skill * labels - 0.75)
    positive = 1 / (1 + np.exp(-logits))
    return Answers(labels, (positive >= 0.5).astype(np.int64), np.stack([1 - positive, positive], axis=1))


@cache
def truth(setting: Setting) -> Mapping[str, float]:
    """The figures on an endless test set, means over many seeds where they differ."""
    random = np.random.default_rng(99)
    skills = [setting.skill]
    if setting.spread:
        skills = (setting.skill + setting.spread * ndtri((np.arange(LEVELS) + 0.5) / LEVELS)).tolist()
    rows = ENDLESS // len(skills)
    endless = Setting(rows, round(rows * setting.positives / setting.rows))
    found = [_measured(endless.answers(random, [skill])[0]) for skill in skills]
    return {name: float(np.mean([each[name] for each in found])) for name in METRICS}


def _measured(answers: Answers) -> dict[str, float]:
    return {
        name: float(values[0]) for name, values in weighted_metrics(answers, np.ones((len(answers.labels), 1))).items()
    }


def drawn(answers: Sequence[Answers], count: int, seed: int) -> list[dict[str, Floats]]:
    """Bootstrap draws of several models, of the same resamples."""
    (weights,) = resamples(answers[0].labels, None, count, seed, most_cells=1 << 40)
    return [weighted_metrics(each, weights) for each in answers]


def _of_seeds(values: list[float]) -> list[tuple[float, float]]:
    found = variance_of_mean(values)
    return [] if found is None else [found]


def over_rows(setting: Setting, sets: int, count: int, seed: int) -> dict[str, float]:
    """Share of test sets whose interval over rows holds the true figure, by metric."""
    random, true = np.random.default_rng(seed), truth(setting)
    held = dict.fromkeys(METRICS, 0)
    for number in range(sets):
        (answers,) = setting.answers(random, [setting.skill])
        (found,), measured = drawn([answers], count, number), _measured(answers)
        for name in METRICS:
            low, high = interval_over_rows(name, measured[name], found[name], 0.95, setting.size(name))
            held[name] += low <= true[name] <= high
    return {name: hits / sets for name, hits in held.items()}


def over_seeds(seeds: int, sets: int, seed: int) -> float:
    """Share of t intervals that hold the mean of figures that are normal over seeds."""
    random = np.random.default_rng(seed)
    intervals = [t_interval(random.normal(0.7, 0.02, seeds).tolist(), 0.95) for _ in range(sets)]
    return float(np.mean([each is not None and each[0] <= 0.7 <= each[1] for each in intervals]))


def over_both(setting: Setting, seeds: int, sets: int, count: int, seed: int) -> tuple[float, float, float]:
    """Shares of intervals of F1 that hold the true mean over seeds: both kinds of chance, seeds only, rows only."""
    random, true = np.random.default_rng(seed), truth(setting)["f1"]
    held = np.zeros(3)
    for number in range(sets):
        answers = setting.answers(random, setting.skills(random, seeds))
        values = [_measured(each)["f1"] for each in answers]
        draws = np.mean([each["f1"] for each in drawn(answers, count, number)], axis=0)
        parts = [variance_over_rows(draws, setting.size("f1")), *_of_seeds(values)]
        intervals = [both_interval(float(np.mean(values)), parts, 0.95), t_interval(values, 0.95)]
        intervals.append(percentile_interval(draws, 0.95, setting.size("f1")))
        held += [each is not None and each[0] <= true <= each[1] for each in intervals]
    both, of_seeds, of_rows = (held / sets).tolist()
    return both, of_seeds, of_rows


def false_alarms(setting: Setting, seeds: int, sets: int, count: int, seed: int) -> dict[str, float]:
    """How often two models that are equally good are told apart at 0.05, by test of F1 (McNemar's is of accuracy)."""
    random = np.random.default_rng(seed)
    alarms = {"bootstrap": 0, "mcnemar": 0, "both": 0}
    for number in range(sets):
        answers = setting.answers(random, setting.skills(random, 2 * seeds))
        draws = np.array([each["f1"] for each in drawn(answers, count, number)])
        differences = draws[:seeds].mean(axis=0) - draws[seeds:].mean(axis=0)
        alarms["bootstrap"] += bootstrap_p(differences) < 0.05
        right = [each.predicted == each.labels for each in answers]
        pairs = list(zip(right[:seeds], right[seeds:], strict=True))
        counts = [(int((one & ~other).sum()), int((other & ~one).sum())) for one, other in pairs]
        alarms["mcnemar"] += combined_p([mcnemar_p(*count) for count in counts]) < 0.05
        if seeds > 1:
            values = [_measured(each)["f1"] for each in answers]
            paired = np.array(values[:seeds]) - np.array(values[seeds:])
            of_seeds = (float(paired.var(ddof=1)) / seeds, float(seeds - 1))
            alarms["both"] += (
                both_p(float(paired.mean()), [(float(differences.var(ddof=1)), math.inf), of_seeds]) < 0.05
            )
    return {name: hits / sets for name, hits in alarms.items() if name != "both" or seeds > 1}


TEST_SETS = (
    Setting(300, 150),
    Setting(300, 30),
    Setting(300, 10),
    Setting(1000, 100),
    Setting(1000, 20),
    Setting(3000, 60),
)
WITH_SEEDS = tuple(Setting(500, 100, spread=spread) for spread in (0.0, 0.1, 0.3))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=1000, help="test sets drawn for each figure")
    parser.add_argument("--resamples", type=int, default=1000, help="of each bootstrap")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    common = {"sets": given.sets, "count": given.resamples, "seed": given.seed}
    print(f"Coverage of 95 % intervals, {given.sets} test sets each, {given.resamples} resamples\n")
    print("percentile interval over rows    " + "".join(f"{name:>10}" for name in METRICS))
    for setting in TEST_SETS:
        found = over_rows(setting, **common)
        print(f"{setting.rows:6} rows, {setting.positives:4} positive      " + _shares(found.values()), flush=True)
    print("\nt interval over normal figures of 3, 5, 10 seeds: ", end="")
    print(", ".join(f"{over_seeds(seeds, 10 * given.sets, given.seed):.1%}" for seeds in (3, 5, 10)))
    print("\nF1 of 500 rows, 100 positive, mean over seeds        both     seeds      rows")
    for setting in WITH_SEEDS:
        for seeds in (3, 5):
            found_both = over_both(setting, seeds, **common)
            print(f"  skill ± {setting.spread} over seeds, {seeds} seeds            " + _shares(found_both), flush=True)
    print("\nFalse alarms of two equal models at 0.05        bootstrap   McNemar      both")
    for setting in (*WITH_SEEDS, Setting(300, 10)):
        for seeds in (1, 3, 5):
            alarms = false_alarms(setting, seeds, **common)
            print(
                f"  skill ± {setting.spread} over seeds, {seeds} seeds            " + _shares(alarms.values()),
                flush=True,
            )


def _shares(values: Iterable[float]) -> str:
    return "".join(f"{value:10.1%}" for value in values)


if __name__ == "__main__":
    main()
