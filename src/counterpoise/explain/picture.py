"""Pictures of attention: single examples, and the whole split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np

from counterpoise.explain.account import Account
from counterpoise.explain.evidence import holds_evidence

INK, GRID, MARK, BAR = "#333333", "#dddddd", "#c0392b", "#2c6fbb"
SHOWN_CHUNKS = 40
"""Of a longer text the first ones."""


def draw_examples(file: IO[bytes], account: Account, examples: Sequence[int]) -> None:
    """Write a PNG: a row per example, every query's attention over its chunks, and what each chunk adds.

    Chunks that are known to hold evidence have a mark.
    """
    figure, canvas = _figure(9.5, 0.8 + 1.75 * len(examples))
    grid = figure.add_gridspec(len(examples), 1, hspace=0.12)
    predicted = account.logits.argmax(axis=1)
    highest = max(float(account.attention[i].max()) for i in examples)
    for place, index in enumerate(examples):
        upper, lower = (
            grid[place].subgridspec(2, 1, height_ratios=[max(account.queries, 2), 2.5], hspace=0.05).subplots()
        )
        shown = min(len(account.spans[index]), SHOWN_CHUNKS)
        image = upper.imshow(
            account.attention[index][:, :shown], aspect="auto", cmap="Blues", vmin=0, vmax=highest, interpolation="none"
        )
        added = account.towards(index, int(predicted[index])).sum(axis=0)[:shown]
        lower.bar(np.arange(shown), added, color=np.where(added < 0, "#9aa5b1", BAR), width=0.8)
        _dress(upper, lower, account, index, int(predicted[index]), shown)
    figure.colorbar(image, ax=figure.axes, shrink=0.5, aspect=40, label="attention")
    canvas.print_png(file)


def _dress(upper: Any, lower: Any, account: Account, index: int, predicted: int, shown: int) -> None:
    classes, chunks = account.records.classes, len(account.spans[index])
    label = classes[int(account.records.labels[index])]
    title = f"row {int(account.records.rows[index])}: predicted {classes[predicted]}, is {label}"
    if chunks > shown:
        title += f" (first {shown} of {chunks} chunks)"
    upper.set_title(title, loc="left", fontsize=9.5, color=INK)
    upper.set_ylabel("query" if account.queries > 1 else "", fontsize=8, color=INK)
    upper.set_yticks([])
    upper.set_xticks([])
    lower.set_xlim(-0.5, shown - 0.5)
    lower.axhline(0, color=INK, linewidth=0.6)
    lower.set_ylabel("adds", fontsize=8, color=INK)
    lower.tick_params(labelsize=7, colors=INK)
    lower.spines[["top", "right"]].set_visible(False)
    evidence = account.records.spans_of_evidence(index)
    if len(evidence):
        held = np.flatnonzero(holds_evidence(account.spans[index], evidence)[:shown])
        at = lower.get_ylim()[1]
        lower.plot(held, np.full(len(held), at), marker="v", linestyle="none", color=MARK, markersize=5, clip_on=False)


def draw_overview(file: IO[bytes], account: Account, summary: Mapping[str, Any]) -> None:
    """Write a PNG: what each query adds for each class or criterion, and where in a text answers come from."""
    queries, positions = summary["queries"], summary["chunks"]["by_position"]
    by = "by_criterion" if queries[0]["by_criterion"] else "by_class"
    names = list(queries[0][by])
    figure, canvas = _figure(9.5, 1.6 + max(2.6, 0.28 * len(names)))
    left, right = figure.subplots(1, 2, width_ratios=[1.5, 1])
    effects = np.array([[query[by][name] or 0.0 for query in queries] for name in names], float)
    limit = float(np.abs(effects).max()) or 1.0
    image = left.imshow(effects, aspect="auto", cmap="RdBu", vmin=-limit, vmax=limit, interpolation="none")
    left.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=8, color=INK)
    left.set_xticks(range(len(queries)), [str(query["query"] + 1) for query in queries], fontsize=8, color=INK)
    left.set_xlabel("query", color=INK)
    last = account.records.classes[-1]
    said = (
        f"mean effect on the odds of {last!r}, by criterion" if by == "by_criterion" else "mean effect, by prediction"
    )
    left.set_title(said, loc="left", fontsize=10, color=INK)
    figure.colorbar(image, ax=left, shrink=0.8)
    at = [entry["tenth"] * 10 - 5 for entry in positions]
    right.plot(
        at, [entry["attention"] for entry in positions], color="#9aa5b1", marker="o", markersize=3, label="attention"
    )
    shares = [entry["contribution"] for entry in positions]
    right.plot(at, shares, color=BAR, marker="o", markersize=3, label="contribution")
    right.set_ylim(bottom=0)
    right.set_xlabel("position in the text, %", color=INK)
    right.set_title("part of a sample's total, by tenth", loc="left", fontsize=10, color=INK)
    right.grid(visible=True, color=GRID, linewidth=0.8)
    right.spines[["top", "right"]].set_visible(False)
    right.legend(frameon=False, fontsize=8, labelcolor=INK)
    canvas.print_png(file)


def _short(name: str) -> str:
    return name if len(name) <= 28 else name[:27] + "…"


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # 0.3 s; and no pyplot: its state is everybody's
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    return figure, FigureCanvasAgg(figure)
