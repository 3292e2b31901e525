"""How a training went: losses, score and learning rate; shares of classes; gradient norms."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median
from typing import Any

from counterpoise.inks import AMBER, BLUE, COLORS, FAINT, INK, MUTED, PAPER, RED, TEAL, figure, named
from counterpoise.reports.outputs.figures import titled
from counterpoise.reports.pictures.material import Material
from counterpoise.reports.reading import finite, items, number, section, whole
from counterpoise.reports.runs import EpochRecord, RunRecord

SHOWN_CLASSES = 6
"""Of more, those with most rows are drawn."""
SHARES = ("predicted_share", "actual_share")
MOST_POINTS = 600
"""Of a curve over updates; longer ones are thinned."""


def training_curves(material: Material) -> Any | None:
    """Losses, score and learning rate by epoch, the best epoch, what guards saw; ``None`` before the first epoch."""
    run = material.run
    if not run.epochs:
        return None
    drawn = figure(6.4, 5.0)
    losses, scores, rates = drawn.subplots(3, 1, sharex=True, height_ratios=[3, 2.4, 1.2])
    at = [epoch.number for epoch in run.epochs]
    _fine_losses(losses, run)
    _line(losses, at, [epoch.train_loss for epoch in run.epochs], BLUE, "training")
    _line(losses, at, [epoch.valid_loss for epoch in run.epochs], RED, "validation")
    losses.set_ylabel("loss")
    _line(scores, at, [epoch.score for epoch in run.epochs], TEAL, "")
    scores.set_ylabel(f"validation\n{titled(_metric(run))}")
    _rates(rates, run)
    best = _best(run)
    if best is not None:
        for axes in (losses, scores, rates):
            axes.axvline(best.number, color=MUTED, linewidth=1, linestyle=(0, (4, 3)), zorder=1)
        text = f"best: epoch {best.number}" + (f", {best.score:.4f}" if finite(best.score) else "")
        scores.set_title(text, fontsize=8.5, fontweight="normal", loc="right", pad=3)
    _events(losses, run)
    losses.set_title("Training")
    handles, labels = losses.get_legend_handles_labels()
    losses.legend(handles, labels, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.1)
    epoch_axis(rates, at)
    return drawn


def _best(run: RunRecord) -> EpochRecord | None:
    """The epoch that was measured, which need not have the highest score: one that collapsed is never the best."""
    measured = whole(run.result, "best_epoch")
    if measured is None:
        return None if run.best is None else run.epochs[run.best]
    return next((epoch for epoch in run.epochs if epoch.number == measured), None)


def _fine_losses(axes: Any, run: RunRecord) -> None:
    """The loss of each logged update, behind the epochs' means; only what lies where these are is to be seen."""
    points = [(x, update.loss) for x, update in zip(_places(run), run.updates, strict=True) if finite(update.loss)]
    means = [value for epoch in run.epochs for value in (epoch.train_loss, epoch.valid_loss) if finite(value)]
    if len(points) < 4 * len(run.epochs) or not means:
        return
    points = points[:: 1 + len(points) // MOST_POINTS]
    axes.plot([x for x, _ in points], [y for _, y in points], color=BLUE, alpha=0.3, linewidth=0.8)
    low, high = min([*means, *(y for _, y in points)]), max(means)
    room = max(high - low, 1e-6)
    axes.set_ylim(low - 0.08 * room, high + 0.5 * room)


def _places(run: RunRecord) -> list[float]:
    """Where each logged update stands on an axis of epochs: at its epoch's number when that ends."""
    each = whole(run.plan, "updates_per_epoch") or 0
    if each < 1 and run.updates:
        each = max(1, max(update.update for update in run.updates) // max(update.epoch for update in run.updates))
    return [update.update / max(each, 1) for update in run.updates]


def _rates(axes: Any, run: RunRecord) -> None:
    points = [(x, update.lr) for x, update in zip(_places(run), run.updates, strict=True) if finite(update.lr)]
    if len(points) < 2:
        points = [(float(epoch.number), epoch.lr) for epoch in run.epochs if finite(epoch.lr)]
    points = points[:: 1 + len(points) // MOST_POINTS]
    axes.plot([x for x, _ in points], [y for _, y in points], color=AMBER, linewidth=1.6, marker=_marker(points))
    axes.set_ylim(bottom=0)
    axes.set_ylabel("learning\nrate")
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-3, 3))


def _events(axes: Any, run: RunRecord) -> None:
    """Marks at the upper edge for alarms and rescues."""
    each = whole(run.plan, "updates_per_epoch") or 1
    for name, key, at, color in (("guard", "events", "update", RED), ("rescue", "rescues", "from_update", TEAL)):
        places = [update / each for node in items(run.collapse, key) if (update := whole(node, at)) is not None]
        if places:
            heights = [0.97] * len(places)
            axes.plot(
                *(places, heights),
                transform=axes.get_xaxis_transform(),
                marker="v",
                markersize=6,
                color=color,
                linestyle="none",
                label=name,
            )


def class_shares(material: Material) -> Any | None:
    """Part of validation that is predicted as each class, by epoch, beside its actual part."""
    run = material.run
    parts = [section(epoch.valid, "per_class") for epoch in run.epochs]
    names = [name for name in run.classes or (parts[0] if parts else ()) if any(name in part for part in parts)]
    if not names:
        return None
    shown = sorted(names, key=lambda name: -(_share(parts[-1], name, "actual_share")))[:SHOWN_CLASSES]
    shown = names[1:] if len(names) == 2 else [name for name in names if name in shown]
    drawn = figure(6.4, 3.6)
    axes = drawn.subplots()
    at = [epoch.number for epoch in run.epochs]
    for place, name in enumerate(shown):
        color = COLORS[place]
        _line(axes, at, [_share(part, name, "predicted_share") for part in parts], color, named(name))
        axes.plot(
            *(at, [_share(part, name, "actual_share") for part in parts]),
            color=color,
            linewidth=1.2,
            linestyle=(0, (4, 3)),
        )
    axes.plot([], [], color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label="actual")
    highest = max(max(_share(part, name, key) for part in parts for key in SHARES) for name in shown)
    axes.set_ylim(-0.02, min(1.02, 1.15 * highest) if highest > 0 else 1.02)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.set_ylabel("predicted as this class")
    axes.set_title("Predicted shares" + (f", {len(shown)} of {len(names)} classes" if len(names) > 2 else ""))
    axes.legend(*axes.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(1.0, 1.0))
    epoch_axis(axes, at)
    axes.set_xlabel("epoch")
    return drawn


def gradient_norms(material: Material) -> Any | None:
    """Gradient norm of each logged update, and per component the median by epoch, on a logarithmic scale."""
    from counterpoise.tracking.gradients import read_norms

    run = material.run
    points = [(x, update.grad_norm) for x, update in zip(_places(run), run.updates, strict=True)]
    kept = [(x, norm) for x, norm in points if finite(norm) and norm > 0]
    if not kept:
        return None
    drawn = figure(6.4, 3.6)
    axes = drawn.subplots()
    thin = kept[:: 1 + len(kept) // MOST_POINTS]
    axes.plot([x for x, _ in thin], [y for _, y in thin], ".", color=FAINT, markersize=4, label="all, each update")
    norms = {epoch: of for epoch, of in read_norms(run.folder / "metrics.jsonl", 2**62).items() if of}
    names = list(dict.fromkeys(name for of in norms.values() for name in of))
    for place, name in enumerate(names[: len(COLORS)]):
        of = [(epoch, _median(norms[epoch].get(name, ()))) for epoch in sorted(norms)]
        _line(axes, [x for x, _ in of], [y for _, y in of], COLORS[place % len(COLORS)], named(name))
    clip = number(run.config, "train", "clip_norm")
    if finite(clip):
        axes.axhline(clip, color=INK, linewidth=0.9, linestyle=(0, (4, 3)), label=f"clipped at {clip:g}")
    lost = [x for x, norm in points if norm is not None and math.isnan(norm)]
    if lost:
        axes.plot(
            *(lost, [0.97] * len(lost)),
            transform=axes.get_xaxis_transform(),
            marker="x",
            color=RED,
            linestyle="none",
            label="not finite",
        )
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.yaxis.set_minor_formatter(lambda value, _: f"{value:g}" if high < 20 * low else "")
    axes.set_title("Gradient norm before clipping")
    axes.set_ylabel("norm; lines: median of the epoch")
    axes.legend(*axes.get_legend_handles_labels(), loc="upper left", bbox_to_anchor=(1.0, 1.0))
    epoch_axis(axes, [1, max(math.ceil(x) for x, _ in points)])
    axes.set_xlabel("epoch")
    return drawn


def _median(values: Sequence[float]) -> float:
    kept = [value for value in values if math.isfinite(value) and value > 0]
    return median(kept) if kept else math.nan


def _share(part: Any, name: str, key: str) -> float:
    value = number(part, name, key)
    return math.nan if value is None else value


def _metric(run: RunRecord) -> str:
    return run.objective.name if run.objective is not None else "score"


def _line(axes: Any, at: Sequence[float], values: Sequence[float | None], color: str, label: str) -> None:
    numbers = [value if finite(value) else math.nan for value in values]
    axes.plot(at, numbers, color=color, linewidth=2, marker=_marker(at), markersize=4, label=label or None)


def _marker(points: Sequence[object]) -> str:
    """Dots where there are few enough to be told apart."""
    return "o" if len(points) <= 15 else ""


def epoch_axis(axes: Any, at: Sequence[int]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlim(min(0.0, at[0] - 1.0) if len(at) > 1 else 0, at[-1] + (0.3 if len(at) > 1 else 0.5))
    axes.set_xlabel("epoch")
    axes.figure.set_facecolor(PAPER)
