"""The metrics of :mod:`counterpoise.metrics` for many weightings of the same rows at once.

A row of weight k counts as k rows: integer weights give what repeating the rows would.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

BINS = 15
"""Of the calibration error."""


@dataclass(frozen=True)
class Answers:
    """What one run answered for N rows."""

    labels: Ints
    """True classes ``[N]``."""
    predicted: Ints
    """Predicted classes ``[N]``."""
    probabilities: Floats
    """``[N, C]``."""


def weighted_metrics(answers: Answers, weights: Floats) -> dict[str, Floats]:
    """All metrics of :func:`counterpoise.metrics.classification_metrics`, ``[B]`` each, of weights ``[N, B]``."""
    return {
        **_from_counts(answers, weights),
        **_areas(answers, weights),
        "calibration_error": _calibration_error(answers, weights),
        "log_loss": _log_loss(answers, weights),
    }


def _from_counts(answers: Answers, weights: Floats) -> dict[str, Floats]:
    classes = np.arange(answers.probabilities.shape[1])[:, None]
    is_label, is_predicted = answers.labels == classes, answers.predicted == classes
    indicators = np.concatenate([is_label & is_predicted, is_label, is_predicted]).astype(np.float64)
    hits, actual, predicted = np.split(indicators @ weights, 3)  # each [C, B]
    total = actual.sum(axis=0)
    precision, recall = _ratio(hits, predicted), _ratio(hits, actual)
    f1 = _ratio(2 * hits, actual + predicted)
    macro = {"f1": f1.mean(axis=0), "precision": precision.mean(axis=0), "recall": recall.mean(axis=0)}
    if len(classes) == 2:
        one = {"f1": f1[1], "precision": precision[1], "recall": recall[1]}
        one |= {"sensitivity": recall[1], "specificity": recall[0]}
    else:
        one = macro
    return {
        "accuracy": hits.sum(axis=0) / total,
        **one,
        **{f"macro_{name}": values for name, values in macro.items()},
        "weighted_f1": (f1 * actual).sum(axis=0) / total,
        "mcc": _mcc(hits, actual, predicted),
    }


def _ratio(above: Floats, below: Floats) -> Floats:
    answer: Floats = np.divide(above, below, out=np.zeros_like(above), where=below != 0)
    return answer


def _mcc(hits: Floats, actual: Floats, predicted: Floats) -> Floats:
    total = actual.sum(axis=0)
    covariance = hits.sum(axis=0) * total - (actual * predicted).sum(axis=0)
    spread = (total**2 - (actual**2).sum(axis=0)) * (total**2 - (predicted**2).sum(axis=0))
    return _ratio(covariance, np.sqrt(spread))


def _areas(answers: Answers, weights: Floats) -> dict[str, Floats]:
    """``roc_auc`` and ``pr_auc``: of class 1 of two, or the mean over the classes that define one."""
    n_classes = answers.probabilities.shape[1]
    columns = [1] if n_classes == 2 else range(n_classes)
    pairs = [_roc_and_pr(answers.labels == c, answers.probabilities[:, c], weights) for c in columns]
    return {
        name: _defined_mean(np.stack([pair[place] for pair in pairs]))
        for place, name in enumerate(("roc_auc", "pr_auc"))
    }


def _defined_mean(values: Floats) -> Floats:
    """Over the first axis, NaN left out; NaN where nothing is left."""
    known = ~np.isnan(values)
    counts = known.sum(axis=0)
    sums = np.where(known, values, 0).sum(axis=0)
    answer: Floats = np.divide(sums, counts, out=np.full(values.shape[1:], np.nan), where=counts > 0)
    return answer


def _roc_and_pr(positive: NDArray[np.bool_], scores: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Area under the ROC curve and average precision, ``[B]`` each; tied rows enter a curve together.

    One pass over the rows by descending score. It keeps sums ``[B]`` only, which stay in the processor's cache: three
    times as fast as cumulative sums ``[N, B]``. Of more than :data:`MOST_STEPS` different scores neighbours are taken
    for tied, which changes an area by less than one part in that many.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.flatnonzero(np.diff(scores[order], append=-np.inf)) + 1  # of tied rows
    if len(ends) > MOST_STEPS:
        ends = ends[np.linspace(0, len(ends) - 1, MOST_STEPS).astype(np.int64)]
    own, others = order[positive[order]], order[~positive[order]]
    upto = np.cumsum(positive[order])[ends - 1]
    hits, alarms, inverted, precise, spare = np.zeros((5, weights.shape[1]))
    i = j = 0
    for k, m in zip(upto.tolist(), (ends - upto).tolist(), strict=True):
        gained, lost = _weight(own[i:k], weights), _weight(others[j:m], weights)
        i, j = k, m
        if gained is not None:
            np.add(hits, gained, out=hits)
            np.multiply(gained, alarms, out=spare)
            np.add(inverted, spare, out=inverted)
        if lost is not None:
            np.add(alarms, lost, out=alarms)
        if gained is not None and lost is not None:
            inverted += gained * lost / 2
        if gained is not None:
            np.add(hits, alarms, out=spare)
            np.maximum(spare, _NONE, out=spare)
            np.divide(hits, spare, out=spare)
            np.multiply(spare, gained, out=spare)
            np.add(precise, spare, out=precise)
    pairs = hits * alarms
    return _or_nan(pairs - inverted, pairs), _or_nan(precise, hits)


MOST_STEPS = 4_000
"""Points of a curve."""
_NONE = 1e-300
"""Below the line where no row was drawn yet: above it stands 0."""


def _weight(rows: Ints, weights: Floats) -> Floats | None:
    """Of all these rows, ``[B]``; ``None`` without any. Mostly there is one: it is not copied."""
    if len(rows) < 2:
        return weights[rows[0]] if len(rows) else None
    total: Floats = weights[rows].sum(axis=0)
    return total


def _or_nan(above: Floats, below: Floats) -> Floats:
    answer: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return answer


def _calibration_error(answers: Answers, weights: Floats) -> Floats:
    confidence = answers.probabilities[np.arange(len(answers.labels)), answers.predicted]
    bins = np.searchsorted(np.arange(1, BINS) / BINS, confidence)
    gaps = np.where(bins == np.unique(bins)[:, None], (answers.predicted == answers.labels) - confidence, 0.0)
    error: Floats = np.abs(gaps @ weights).sum(axis=0) / weights.sum(axis=0)
    return error


def _log_loss(answers: Answers, weights: Floats) -> Floats:
    chosen = answers.probabilities[np.arange(len(answers.labels)), answers.labels]
    losses = -np.log(np.clip(chosen, np.finfo(np.float64).eps, 1))
    loss: Floats = (losses @ weights) / weights.sum(axis=0)
    return loss
