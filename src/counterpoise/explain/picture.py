"""Pictures of attention: single examples, and the whole split."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.errors import escape_control
from counterpoise.explain.account import Account
from counterpoise.explain.evidence import holds_evidence

INK, GRID, MARK, BAR = "#333333", "#dddddd", "#c0392b", "#2c6fbb"
SHOWN_CHUNKS = 40
"""Of a longer text those that are read most, or hold evidence."""


def draw_examples(file: IO[bytes], account: Account, examples: Sequence[int]) -> None:
    """Write a PNG: per example every query's attention over its chunks, and below what each chunk adds.

    Chunks that are known to hold evidence have a mark.
    """
    figure, canvas = _figure(9.5, 0.6 + (0.95 + 0.09 * account.queries) * len(examples))
    heights = [max(account.queries * 0.5, 1.0), 2.0] * len(examples)
    axes = figure.subplots(2 * len(examples), 1, height_ratios=heights)
    predicted = account.predicted
    highest = max(float(account.attention[i].max()) for i in examples)
    for place, index in enumerate(examples):
        upper, lower = axes[2 * place], axes[2 * place + 1]
        shown = shown_chunks(account, index)
        weights = account.attention[index][:, shown]
        image = upper.imshow(weights, aspect="auto", cmap="Blues", vmin=0, vmax=highest, interpolation="none")
        title = _title(account, index, int(predicted[index]), len(shown))
        upper.set_title(title, loc="left", fontsize=9, color=INK, parse_math=False)
        upper.set_ylabel("queries" if account.queries > 1 else "", fontsize=8, color=INK)
        upper.set_yticks(range(account.queries), [str(1 + query) for query in range(account.queries)], fontsize=5)
        upper.set_xticks([])
        _draw_added(lower, account, index, account.towards(index, int(predicted[index])).sum(axis=0), shown)
    marked = any(len(account.records.spans_of_evidence(index)) for index in examples)
    figure.supxlabel("chunk" + ("; ▼ holds known evidence" if marked else ""), fontsize=8, color=INK)
    figure.colorbar(image, ax=figure.axes, shrink=0.4, aspect=40, label="attention")
    canvas.print_png(file)


def _title(account: Account, index: int, predicted: int, shown: int) -> str:
    records, chunks = account.records, len(account.spans[index])
    label = records.classes[int(records.labels[index])]
    title = f"row {int(records.rows[index])}: predicted {_short(records.classes[predicted])}, is {_short(label)}"
    if records.has("criterion"):
        title += f"; {_short(records.table['criterion'][index].as_py() or '', 60)}"
    return " ".join(title.split()) + (f" ({shown} of {chunks} chunks)" if chunks > shown else "")


def shown_chunks(account: Account, index: int) -> NDArray[np.int64]:
    """The chunks of a sample that are drawn, in their order: of many those that are read most, or hold evidence."""
    weight = account.weight(index).copy()
    evidence = account.records.spans_of_evidence(index)
    if len(evidence):
        weight += 2.0 * holds_evidence(account.spans[index], evidence)
    return np.sort(np.argsort(-weight, kind="stable")[:SHOWN_CHUNKS])


def _draw_added(axes: Any, account: Account, index: int, every: NDArray[np.float64], shown: NDArray[np.int64]) -> None:
    added, at = every[shown], np.arange(1, len(shown) + 1)
    axes.bar(at, added, color=np.where(added < 0, "#9aa5b1", BAR), width=0.8)
    low, high = min(float(added.min()), 0.0), max(float(added.max()), 0.0)
    room = 0.25 * ((high - low) or 1.0)
    axes.set_ylim(low - 0.05 * room, high + room)
    evidence = account.records.spans_of_evidence(index)
    if len(evidence):
        held = at[holds_evidence(account.spans[index], evidence)[shown]]
        axes.plot(held, np.full(len(held), high + room / 2), marker="v", linestyle="none", color=MARK, markersize=5)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.set_xlim(0.5, len(added) + 0.5)
    ticks = slice(None) if len(at) <= 20 else slice(None, None, 3)
    axes.set_xticks(at[ticks], [str(chunk + 1) for chunk in shown[ticks]])
    axes.set_ylabel("adds", fontsize=8, color=INK)
    axes.tick_params(labelsize=7, colors=INK)
    axes.spines[["top", "right"]].set_visible(False)


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
    left.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=8, color=INK, parse_math=False)
    left.set_xticks(range(len(queries)), [str(query["query"] + 1) for query in queries], fontsize=8, color=INK)
    left.set_xlabel("query", color=INK)
    last = account.records.classes[-1]
    said = (
        f"mean effect on the odds of {last!r}, by criterion" if by == "by_criterion" else "mean effect, by prediction"
    )
    left.set_title(said, loc="left", fontsize=10, color=INK, parse_math=False)
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


def _short(name: str, longest: int = 28) -> str:
    shown = escape_control(name)
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _figure(width: float, height: float) -> tuple[Any, Any]:
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # 0.3 s; and no pyplot: its state is everybody's
    from matplotlib.figure import Figure

    figure: Any = Figure(figsize=(width, height), dpi=110, layout="constrained", facecolor="white")
    return figure, FigureCanvasAgg(figure)
