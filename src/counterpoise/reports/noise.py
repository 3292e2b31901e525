"""How far a figure can stray by chance alone, given how many samples it was measured on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from counterpoise.reports.reading import find, finite, number, section

DEVIATIONS = 2.0
"""Standard errors within which a difference is put down to chance: about 95 %."""
MOST_SAMPLES = 1e15
"""A count above is damage; products of three of these still are numbers."""


def supports(figures: Mapping[str, Any]) -> list[float]:
    """Samples per class of a split, from its ``per_class`` figures; classes without one are left out."""
    counts = [number(node, "support") for node in section(figures, "per_class").values()]
    return [count for count in counts if finite(count) and 0 < count < MOST_SAMPLES]


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
    """Standard error of ``accuracy``, or of ``f1`` of two classes; ``None`` for others, which no formula covers.

    Accuracy: binomial. F1 with ``a`` true positives and ``e`` errors of either kind: by the delta method,
    ``2 sqrt(a e (a + e)) / (2a + e)^2``.
    """
    if metric == "accuracy":
        share, total = number(figures, "accuracy"), sum(supports(figures))
        if not finite(share) or not 0 <= share <= 1 or not total:
            return None
        return math.sqrt(share * (1 - share) / total)
    pair = _hits_and_errors(figures) if metric == "f1" else None
    if pair is None or not any(pair):
        return None
    hits, errors = pair
    return 2 * math.sqrt(hits * errors * (hits + errors)) / (2 * hits + errors) ** 2


def _hits_and_errors(figures: Mapping[str, Any]) -> tuple[float, float] | None:
    """True positives, and false positives and negatives together, of two classes."""
    _, matrix = find(figures, "confusion_matrix")
    if not (isinstance(matrix, list) and len(matrix) == 2 and all(isinstance(r, list) and len(r) == 2 for r in matrix)):
        return None
    cells = [number({"cell": cell}, "cell") for row in matrix for cell in row]
    counts = [cell for cell in cells if finite(cell) and 0 <= cell < MOST_SAMPLES]
    return (counts[3], counts[1] + counts[2]) if len(counts) == 4 else None
