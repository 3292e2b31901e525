"""The curve of a range test as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import IO, Any

import numpy as np

from counterpoise.inks import BLUE, FAINT, GRID, INK, RED, TEAL
from counterpoise.optim.lr_finder import Curve, Suggestion

RAW, SMOOTH, CHOSEN, RANGE = FAINT, BLUE, RED, TEAL


def draw(file: IO[bytes], curve: Curve, smoothed: Sequence[float], suggestion: Suggestion, title: str) -> None:
    """Write a PNG: losses over log LR, the smooth curve, the chosen learning rate, the model's range shaded."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # 0.3 s; and no pyplot: its state is everybody's
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.5, 4.8), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    _draw_range(axes, suggestion, curve)
    axes.plot(curve.lrs, curve.losses, color=RAW, linewidth=1, alpha=0.7, label="loss of each update")
    axes.plot(curve.lrs[: len(smoothed)], smoothed, color=SMOOTH, linewidth=2.4, label="smoothed")
    _draw_choice(axes, curve, smoothed, suggestion)
    axes.set_xscale("log")
    axes.set_xlim(curve.lrs[0], max(curve.lrs[-1], suggestion.lr * 2))
    axes.set_ylim(*_limits(curve, smoothed))
    axes.set_xlabel("learning rate", color=INK)
    axes.set_ylabel("training loss", color=INK)
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK, pad=26)
    axes.text(0, 1.03, _subtitle(suggestion), transform=axes.transAxes, fontsize=9.5, color=INK)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="best", labelcolor=INK)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(file)


def _draw_range(axes: Any, suggestion: Suggestion, curve: Curve) -> None:
    if suggestion.range is not None:
        low, high = suggestion.range
        axes.axvspan(low, high, color=RANGE, alpha=0.12, linewidth=0, label="the model's range")


def _draw_choice(axes: Any, curve: Curve, smoothed: Sequence[float], suggestion: Suggestion) -> None:
    usable = suggestion.verdict == "usable"
    label = f"{suggestion.lr:.1e}" + ("" if usable else ", the recipe's")
    axes.axvline(suggestion.lr, color=CHOSEN, linewidth=1.2, linestyle="--", label=label)
    read = suggestion.clipped_from or suggestion.lr
    if usable:
        height = np.interp(np.log(read), np.log(curve.lrs[: len(smoothed)]), smoothed)
        face = "white" if suggestion.clipped_from else CHOSEN
        axes.plot(read, height, "o", markersize=8, color=CHOSEN, markerfacecolor=face, markeredgewidth=1.6, zorder=5)


def _limits(curve: Curve, smoothed: Sequence[float]) -> tuple[float, float]:
    """Where nearly all losses are; what explodes leaves the picture."""
    usual = np.quantile(curve.losses, [0.0, 0.75])
    low, high = min(float(usual[0]), *smoothed), max(float(usual[1]), smoothed[0])
    margin = max(high - low, 1e-3 * abs(high), 1e-12)
    return low - 0.15 * margin, high + margin


def _subtitle(suggestion: Suggestion) -> str:
    if suggestion.verdict == "usable":
        return f"{suggestion.lr:.1e}: {suggestion.how}"
    return f"{suggestion.how}: the recipe's {suggestion.lr:.1e} is used"
