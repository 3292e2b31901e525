"""Means and sample standard deviations (n − 1) over the repetitions of a configuration: seeds, folds, or both."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Final

from counterpoise.reports.jobs import METRICS, JobSummary

WHOLE = "one configuration"
"""The name of a configuration where there is no other."""
SEEDS: Final = "seeds"
FOLDS: Final = "folds"
NESTED: Final = "seeds of means over folds"
"""What a ± is over."""


@dataclass(frozen=True)
class Configuration:
    """The jobs that differ in the seed or the fold alone."""

    name: str
    """What distinguishes it from the multirun's others."""
    jobs: Sequence[JobSummary]
    """Those that finished, one at least."""
    others: Sequence[JobSummary] = ()
    """Those that did not."""

    @property
    def seeds(self) -> list[int | None]:
        """All that were asked for. A job that failed before it said its seed was given none: it has the others'."""
        failed = [job for job in self.others if job.seed is not None]
        return list(dict.fromkeys(job.seed for job in [*self.jobs, *failed]))

    @property
    def cross_validates(self) -> bool:
        """Whether different folds are held out; one that is the same for all jobs is a split as any other."""
        return self.count > 0 and len({job.fold for job in [*self.jobs, *self.others] if job.fold is not None}) > 1

    def folds(self, seed: int | None) -> dict[int, JobSummary]:
        """The finished jobs of a seed by the fold that they held out, ascending."""
        found = {job.fold: job for job in self.jobs if job.seed == seed and job.fold is not None and job.split}
        return dict(sorted(found.items()))

    @property
    def count(self) -> int:
        """How many folds there are; 0 for jobs that have none."""
        return max(int(job.split.get("folds", 0)) for job in self.jobs)

    @property
    def asked(self) -> int:
        """How many jobs it was to have."""
        return len(self.jobs) + len(self.others)

    @property
    def incomplete(self) -> str:
        """What the means over its jobs lack, in words; empty where every job finished."""
        if not self.cross_validates:
            return f"{len(self.jobs)} of {self.asked} jobs" if self.others else ""
        seeds = self.seeds
        lacking = [seed for seed in seeds if self.missing(seed)]
        if not lacking:
            return ""
        if len(seeds) == 1:
            return f"{len(self.folds(seeds[0]))} of {self.count} folds"
        return f"{len(seeds) - len(lacking)} of {len(seeds)} seeds have all {self.count} folds"

    def missing(self, seed: int | None) -> list[int]:
        """The folds of a seed that have not finished, or do not say what they are of."""
        return sorted(set(range(self.count)) - set(self.folds(seed)))


def configurations(jobs: Sequence[JobSummary]) -> list[Configuration]:
    """Those of which a job finished, named by the overrides that not all of them share."""
    finished: dict[tuple[str, ...], list[JobSummary]] = defaultdict(list)
    others: dict[tuple[str, ...], list[JobSummary]] = defaultdict(list)
    for job in jobs:
        (finished if job.status == "finished" else others)[job.configuration].append(job)
    everywhere = {item for shared in finished for item in shared if all(item in other for other in finished)}
    return [
        Configuration(" ".join(item for item in shared if item not in everywhere) or WHOLE, members, others[shared])
        for shared, members in finished.items()
    ]


def columns(jobs: Iterable[JobSummary]) -> list[str]:
    """The figures to show: those that always are, and the objectives."""
    return list(dict.fromkeys([*METRICS, *(name for job in jobs for name in job.figures)]))


def aggregate(jobs: Sequence[JobSummary]) -> dict[str, dict[str, Any]]:
    """Mean and sample standard deviation (n − 1) of every figure, by configuration.

    ``over`` says what the deviation is over, and ``incomplete`` what the means lack: they are of finished jobs only,
    which flatters them where the data or the seed had a part in that.

    With folds and several seeds a figure is first averaged over the folds of each seed, of which all must have
    finished; ``std`` is over these means, and ``std_over_folds`` the root mean square of the seeds' own deviations over
    folds. Baselines know no seed: theirs are over folds.
    """
    answer = {}
    for configuration in configurations(jobs):
        names = columns(configuration.jobs)
        figures: dict[str, Any] = {
            "jobs": len(configuration.jobs),
            "asked": configuration.asked,
            "incomplete": configuration.incomplete,
            "over": SEEDS,
        }
        if configuration.cross_validates:
            figures |= _over_folds(configuration, names)
        else:
            figures |= _means([job.figures for job in configuration.jobs], names)
        answer[configuration.name] = figures
    return answer


def _over_folds(configuration: Configuration, names: Sequence[str]) -> dict[str, Any]:
    seeds = configuration.seeds
    missing = {str(seed): lacking for seed in seeds if (lacking := configuration.missing(seed))}
    facts = {"over": FOLDS, "folds": configuration.count, "missing_folds": missing}
    facts["baselines"] = _baselines(configuration, names)
    by_seed = {str(seed): _means([job.figures for job in configuration.folds(seed).values()], names) for seed in seeds}
    if len(seeds) == 1:
        return facts | by_seed[str(seeds[0])]
    complete = [found for seed, found in by_seed.items() if seed not in missing]
    means = _means([{name: figure["mean"] for name, figure in found.items()} for found in complete], names)
    for name, figure in means.items():
        spreads = [found[name]["std"] for found in complete if name in found and found[name]["std"] is not None]
        figure["std_over_folds"] = math.sqrt(fmean(std**2 for std in spreads)) if spreads else None
    return facts | {"over": NESTED} | means


def _baselines(configuration: Configuration, names: Sequence[str]) -> dict[str, Any]:
    one_each = {job.fold: job.baselines for job in configuration.jobs if job.fold is not None}
    known = dict.fromkeys(name for baselines in one_each.values() for name in baselines)
    return {name: _means([each.get(name, {}) for each in one_each.values()], names) for name in known}


def _means(figures: Sequence[Mapping[str, float]], names: Iterable[str]) -> dict[str, Any]:
    """``mean``, ``std`` and ``n`` of each figure over those that have it; ``std`` is ``None`` for one."""
    answer = {}
    for name in names:
        values = [each[name] for each in figures if name in each]
        if values:
            spread = stdev(values) if len(values) > 1 else None
            answer[name] = {"mean": fmean(values), "std": spread, "n": len(values)}
    return answer
