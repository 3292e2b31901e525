"""A run beside its baselines on the same rows: the paired bootstrap of the deciding figure, as a report tests it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np

from counterpoise.metrics import METRICS, Objective
from counterpoise.reports.draws import affordable
from counterpoise.reports.predictions import Floats, Predictions, UnusableError, read_baselines, read_predictions
from counterpoise.reports.reading import word
from counterpoise.reports.report import Method
from counterpoise.reports.runs import RunRecord
from counterpoise.reports.statistics.pairs import bootstrap_p, holm
from counterpoise.reports.statistics.resample import resamples
from counterpoise.reports.statistics.spread import defined, percentile_interval
from counterpoise.reports.statistics.weighted import Answers, weighted_metrics


@dataclass(frozen=True)
class Paired:
    """The model's figure minus a baseline's."""

    low: float
    high: float
    p: float
    """Two-sided, with Holm's correction over the baselines."""


def against_baselines(record: RunRecord, split: str) -> dict[str, Paired]:
    """The run minus each baseline on a split; empty where their predictions are not kept, or cannot be used."""
    try:
        own = read_predictions(record.folder / f"predictions_{split}.parquet", len(record.classes))
        others = read_baselines(record.folder / f"baselines_{split}.parquet", len(record.classes))
    except UnusableError:
        return {}
    if record.objective is None or any(other.fingerprint != own.fingerprint for other in others.values()):
        return {}
    draws = _draws(record, record.objective, own, others)
    found = {name: defined(draws[""] - drawn) for name, drawn in draws.items() if name}
    found = {name: differences for name, differences in found.items() if len(differences) > 1}
    p_values = holm([bootstrap_p(differences) for differences in found.values()])
    rarest = int(np.unique(own.labels, return_counts=True)[1].min())
    intervals = [percentile_interval(each, Method().confidence, rarest) for each in found.values()]
    return {
        name: Paired(*interval, p_value) for name, interval, p_value in zip(found, intervals, p_values, strict=True)
    }


def _draws(
    record: RunRecord, objective: Objective, own: Predictions, others: dict[str, Predictions]
) -> dict[str, Floats]:
    """The deciding figure of the model, under an empty name, and of each baseline, ``[B]`` each."""
    method, data = Method(), word(record.metadata, "data_fingerprint")
    count = affordable(method.resamples, len(own.rows))
    seed = (method.seed, zlib.crc32(data.encode()), 0 if record.fold is None else record.fold + 1)
    found: dict[str, list[Floats]] = {name: [] for name in ("", *others)}
    for weights in resamples(own.labels, own.groups, count, seed):
        for name, each in {"": own, **others}.items():
            answers = Answers(each.labels, each.predicted, each.probabilities)
            found[name].append(_deciding(objective, weighted_metrics(answers, weights)))
    return {name: np.concatenate(parts) for name, parts in found.items()}


def _deciding(objective: Objective, figures: dict[str, Floats]) -> Floats:
    if objective.name in figures:
        return figures[objective.name]
    signs = {"maximise": 1, "minimise": -1}
    terms = [signs[METRICS[name]] * weight * figures[name] for name, weight in objective.config.weights.items()]
    return np.asarray(np.sum(terms, axis=0))
