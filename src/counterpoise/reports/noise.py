"""How far a figure can stray by chance alone, given how many samples it was measured on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from counterpoise.reports.reading import find, finite, number, section
from counterpoise.reports.statistics.weighted import Answers, weighted_metrics

DEVIATIONS = 2.0
"""Standard errors within which a difference is put down to chance: about 95 %."""
FEWEST = 10
"""Samples of a class below which nothing is claimed of it: a count of n moves by two square roots of n by chance, which
is 63 % of 10, and an AUC at chance reaches 0.75."""
DRAWS = 1000
"""Of the cells of a confusion matrix, where no formula covers a metric."""
MOST_CLASSES = 100
"""Of such a matrix."""
MOST_SAMPLES = 1e15
"""A count above is damage; products of three of these still are numbers."""


def supports(figures: Mapping[str, Any]) -> list[float]:
    """Samples per class of a split, from its ``per_class`` figures; classes without one are left out."""
    counts = [number(node, "support") for node in section(figures, "per_class").values()]
    return [count for count in counts if finite(count) and 0 < count < MOST_SAMPLES]


def too_few(figures: Mapping[str, Any]) -> dict[str, int]:
    """The classes of a split that have rows, but fewer than :data:`FEWEST`, and how many."""
    counts = {str(name): number(node, "support") for name, node in section(figures, "per_class").items()}
    return {name: int(count) for name, count in counts.items() if finite(count) and 0 < count < FEWEST}


def auc_error(counts: Sequence[float]) -> float | None:
    """Standard error of the ROC AUC of a classifier that knows nothing, for these class counts.

    Two classes: ``sqrt((a + b + 1) / (12 a b))``, the null variance of the Mann-Whitney statistic. More: the mean over
    each class against the rest, an upper bound for that of their average.
    """
    if len(counts) < 2:
        return None
    total = sum(counts)
    errors = [math.sqrt((total + 1) / (12 * count * (total - count))) for count in counts]
    return sum(errors) / len(errors)


def chance_auc(figures: Mapping[str, Any]) -> float | None:
    """The ROC AUC that a split's figures must exceed to say that anything was learnt."""
    error = auc_error(supports(figures))
    return None if error is None else min(1.0, 0.5 + DEVIATIONS * error)


def standard_error(metric: str, figures: Mapping[str, Any]) -> float | None:
    """Standard error of a metric of a split; ``None`` where its figures do not tell.

    Accuracy: binomial. F1 of two classes with ``a`` true positives and ``e`` errors of either kind: by the delta
    method, ``2 sqrt(a e (a + e)) / (2a + e)^2``. ROC AUC of two classes: Hanley and McNeil 1982, The Meaning and Use of
    the Area under a ROC Curve. Other metrics that the confusion matrix decides: by draws of its cells.
    """
    if metric == "accuracy":
        share, total = number(figures, "accuracy"), sum(supports(figures))
        if not finite(share) or not 0 <= share <= 1 or not total:
            return None
        return math.sqrt(share * (1 - share) / total)
    if metric == "roc_auc":
        return _area_error(figures)
    pair = _hits_and_errors(figures) if metric == "f1" else None
    if pair is not None:
        hits, errors = pair
        return 2 * math.sqrt(hits * errors * (hits + errors)) / (2 * hits + errors) ** 2 if any(pair) else None
    return _drawn_error(metric, figures)


def _area_error(figures: Mapping[str, Any]) -> float | None:
    area, counts = number(figures, "roc_auc"), supports(figures)
    if not finite(area) or not 0 <= area <= 1 or len(counts) != 2:
        return None
    of_one, of_other = area / (2 - area) - area**2, 2 * area**2 / (1 + area) - area**2
    one, other = counts
    variance = area * (1 - area) + (other - 1) * of_one + (one - 1) * of_other
    return math.sqrt(max(0.0, variance) / (one * other))


def _drawn_error(metric: str, figures: Mapping[str, Any]) -> float | None:
    """Deviation of a metric over multinomial draws of the confusion matrix's cells."""
    _, matrix = find(figures, "confusion_matrix")
    size = len(matrix) if isinstance(matrix, list) else 0
    if not 2 <= size <= MOST_CLASSES or not all(isinstance(row, list) and len(row) == size for row in matrix):
        return None
    cells = [number({"cell": cell}, "cell") for row in matrix for cell in row]
    counts = np.array([cell for cell in cells if finite(cell) and 0 <= cell < MOST_SAMPLES])
    if len(counts) != size**2 or not counts.sum():
        return None
    labels, predicted = (index.ravel() for index in np.indices((size, size)))
    weights = np.random.default_rng(0).multinomial(int(counts.sum()), counts / counts.sum(), DRAWS).T.astype(float)
    drawn = weighted_metrics(Answers(labels, predicted, np.eye(size)[predicted]), weights)
    decided = metric in drawn and metric not in ("pr_auc", "log_loss", "calibration_error")
    return float(drawn[metric].std(ddof=1)) if decided else None


def _hits_and_errors(figures: Mapping[str, Any]) -> tuple[float, float] | None:
    """True positives, and false positives and negatives together, of two classes."""
    _, matrix = find(figures, "confusion_matrix")
    if not (isinstance(matrix, list) and len(matrix) == 2 and all(isinstance(r, list) and len(r) == 2 for r in matrix)):
        return None
    cells = [number({"cell": cell}, "cell") for row in matrix for cell in row]
    counts = [cell for cell in cells if finite(cell) and 0 <= cell < MOST_SAMPLES]
    return (counts[3], counts[1] + counts[2]) if len(counts) == 4 else None
