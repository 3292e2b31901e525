"""What a run answers: its confusion matrix, its ROC and precision-recall curves, and how far to trust it."""

from __future__ import annotations

from typing import Any

import numpy as np

from counterpoise.inks import BLUE, COLORS, FAINT, INK, MUTED, PAPER, figure, named
from counterpoise.metrics import CALIBRATION_BINS as BINS
from counterpoise.reports.pictures.material import Answers, Floats, Ints, Material

SHOWN_CLASSES = 6
"""Curves in one picture: of more classes, those with most rows."""
MOST_CELLS = 30
"""Classes up to which a confusion matrix has its counts written into it."""
MOST_NAMES = 60
"""Classes up to which it has their names."""
MOST_POINTS = 400
"""Of a curve; longer ones are thinned."""


def confusion_matrix(material: Material) -> Any | None:
    """Rows of each actual class, by what they were predicted as: counts, shaded by the part of the class."""
    answers = material.answers
    if answers is None:
        return None
    count = len(answers.classes)
    counts = np.zeros((count, count), np.int64)
    np.add.at(counts, (answers.labels, answers.predicted), 1)
    parts = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    drawn = figure(*((6.4, 4.6) if count <= 8 else (8.0, 6.8)))
    axes = drawn.subplots()
    axes.set_title(f"Confusion, {answers.where}")
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    _cells(axes, counts, parts)
    names = [named(name, 18) for name in answers.classes]
    size = 8.5 if count <= 12 else 6.5 if count <= MOST_CELLS else 4.5
    ticks = range(count) if count <= MOST_NAMES else []
    axes.set_xticks(ticks, [names[place] for place in ticks], fontsize=size, rotation=0 if count <= 4 else 90)
    axes.set_yticks(ticks, [names[place] for place in ticks], fontsize=size)
    axes.set_xlim(-0.5, count - 0.5)
    axes.set_ylim(count - 0.5, -0.5)
    axes.set_xlabel("predicted")
    axes.set_ylabel("actual")
    return drawn


def _cells(axes: Any, counts: Ints, parts: Floats) -> None:
    """Rectangles of one colour that is more or less opaque, so that a page can choose which; and what they hold."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    count = len(counts)
    gap = 0.0 if count > MOST_CELLS else 0.02 if count > 8 else 0.012
    side = 1 - 2 * gap
    of = [(actual, predicted) for actual in range(count) for predicted in range(count)]
    patches = [Rectangle((predicted - 0.5 + gap, actual - 0.5 + gap), side, side) for actual, predicted in of]
    alphas = [0.06 + 0.94 * float(parts[place]) for place in of]
    axes.add_collection(PatchCollection(patches, facecolors=BLUE, edgecolors="none", linewidths=0, alpha=alphas))
    if count > MOST_CELLS:
        return
    large = 11 if count <= 4 else 8.5 if count <= 8 else 6 if count <= 16 else 4.2
    for actual, predicted in of:
        color = PAPER if parts[actual, predicted] > 0.5 else INK
        text = f"{counts[actual, predicted]:,}" + (f"\n{parts[actual, predicted]:.0%}" if count <= 8 else "")
        if counts[actual, predicted] or count <= 8:
            axes.text(predicted, actual, text, ha="center", va="center", color=color, fontsize=large)


def roc_pr_curves(material: Material) -> Any | None:
    """ROC and precision-recall curves: of class 1, or of each class against the rest."""
    answers = material.answers
    if answers is None:
        return None
    shown = _shown(answers)
    if not shown:
        return None
    drawn = figure(6.4, 3.5 + 0.17 * len(shown))
    left, right = drawn.subplots(1, 2)
    for place, index in enumerate(shown):
        positive, scores = answers.labels == index, answers.probabilities[:, index]
        wrong, found, precise = curves(positive, scores)
        color, name = COLORS[place], named(answers.classes[index], 16)
        area = float(((wrong[1:] - wrong[:-1]) * (found[1:] + found[:-1]) / 2).sum())
        left.plot(*_thin(wrong, found), color=color, linewidth=1.8, label=f"{name}: area {area:.3f}")
        average = float(((found[1:] - found[:-1]) * precise[1:]).sum())
        steps = _thin(np.repeat(found, 2)[1:], np.repeat(precise, 2)[:-1])
        right.plot(*steps, color=color, linewidth=1.8, label=f"{name}: area {average:.3f}")
        right.axhline(float(positive.mean()), color=color, linewidth=0.9, linestyle=(0, (4, 3)), alpha=0.8)
    left.plot([0, 1], [0, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    left.set(xlabel="false positive rate", ylabel="true positive rate")
    right.set(xlabel="recall", ylabel="precision")
    for axes in (left, right):
        axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02), aspect="equal")
        axes.legend(*axes.get_legend_handles_labels(), loc="upper center", bbox_to_anchor=(0.5, -0.28), ncols=1)
    count = len(answers.classes)
    left.set_title(f"ROC, {answers.where}")
    right.set_title("Precision and recall" if count == 2 else f"{len(shown)} of {count} classes, one against rest")
    return drawn


def _shown(answers: Answers) -> list[int]:
    """Classes with a curve: class 1 of two, else those with most rows; none without rows of the class and others."""
    counts = np.bincount(answers.labels, minlength=len(answers.classes))
    of = [1] if len(answers.classes) == 2 else np.argsort(-counts, kind="stable")[:SHOWN_CLASSES].tolist()
    return sorted(index for index in of if 0 < counts[index] < len(answers.labels))


def curves(positive: Any, scores: Floats) -> tuple[Floats, Floats, Floats]:
    """False positive rate, true positive rate and precision at each threshold, the strictest first.

    Args:
        positive: whether each sample is of the class, ``[N]``; some are, some are not.
        scores: ``[N]``, larger where it is more probable.

    Returns:
        three arrays of one length: they begin where nothing is predicted, with a precision of 1.
    """
    order = np.argsort(-scores, kind="stable")
    hits, ranked = positive[order].astype(np.float64), scores[order]
    ends = np.flatnonzero(np.append(np.diff(ranked) != 0, True))
    right = np.cumsum(hits)[ends]
    taken = ends + 1.0
    wrong = taken - right
    first = np.zeros(1)
    return (
        np.concatenate([first, wrong / wrong[-1]]),
        np.concatenate([first, right / right[-1]]),
        np.concatenate([np.ones(1), right / taken]),
    )


def _thin(xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
    """At most about ``MOST_POINTS`` points, the ends among them."""
    if len(xs) <= MOST_POINTS:
        return xs, ys
    keep = np.unique(np.linspace(0, len(xs) - 1, MOST_POINTS).astype(np.int64))
    return xs[keep], ys[keep]


def reliability(material: Material) -> Any | None:
    """How often answers of each confidence are right, before and after temperature scaling, and how many there are."""
    answers = material.answers
    if answers is None:
        return None
    drawn = figure(6.4, 4.4)
    upper, lower = drawn.subplots(2, 1, sharex=True, height_ratios=[3.4, 1])
    low = 1 / len(answers.classes)
    upper.plot([low, 1], [low, 1], color=MUTED, linewidth=0.9, linestyle=(0, (4, 3)))
    scaled = answers.temperature != 1.0
    if scaled:
        _reliable(upper, answers, answers.raw, FAINT, "before")
    counts = _reliable(
        upper, answers, answers.probabilities, BLUE, f"after, T = {answers.temperature:.2f}" if scaled else ""
    )
    lower.bar((np.arange(BINS) + 0.5) / BINS, counts, width=0.9 / BINS, color=BLUE, alpha=0.75)
    upper.set(ylabel="answers that are right", ylim=(-0.02, 1.02), title=f"Reliability, {answers.where}")
    upper.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    lower.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    lower.set(xlabel="confidence: probability of the predicted class", ylabel="rows", xlim=(min(low, 0.5) - 0.02, 1.02))
    upper.legend(*upper.get_legend_handles_labels(), loc="lower right")
    return drawn


def _reliable(axes: Any, answers: Answers, probabilities: Floats, color: str, label: str) -> Ints:
    """Draw one curve; answers rows per bin."""
    confidence = probabilities[np.arange(len(answers.labels)), answers.predicted]
    bins = np.searchsorted(np.arange(1, BINS) / BINS, confidence)
    right = (answers.predicted == answers.labels).astype(np.float64)
    counts = np.bincount(bins, minlength=BINS)
    filled = counts > 0
    means = np.bincount(bins, weights=right, minlength=BINS)[filled] / counts[filled]
    sure = np.bincount(bins, weights=confidence, minlength=BINS)[filled] / counts[filled]
    error = float((np.abs(means - sure) * counts[filled]).sum() / counts.sum())
    sizes = 14 + 110 * counts[filled] / counts.max()
    said = f"{label + ': ' if label else ''}calibration error {error:.4f}"
    axes.plot(sure, means, color=color, linewidth=1.6, zorder=2, label=said)
    axes.scatter(sure, means, s=sizes, color=color, zorder=3, clip_on=False)
    return counts.astype(np.int64)
