"""What the graphs of a split are like: sizes, edges, degrees, and what was lost, as figures and as a picture."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.graphs import Graphs, NamedGraphs
from counterpoise.errors import escape_control

INK, GRID = "#333a44", "#e6e9ed"
COLORS = ("#1f5fa8", "#d1495b", "#2a9d8f", "#e09f3e", "#6d597a", "#4f772d")
_MOST_CLASSES, _LONGEST_NAME = 10, 30
"""Of classes in the picture the largest; of a name its beginning."""
_BINS = 40
"""Of the histograms of sizes, on a logarithmic scale."""


def statistics(
    graphs: Graphs, named: NamedGraphs, edge_types: Sequence[str], labels: NDArray[np.int64], classes: Sequence[str]
) -> dict[str, Any]:
    """Figures of one split, JSON-ready.

    Args:
        graphs: numbered, edges in both directions.
        named: the same before that.
        edge_types: names of the types in ``graphs``.
        labels: class indices, ``[N]``.
        classes: their names.
    """
    cut = named.nodes_before_cut > graphs.sizes
    lost = int((named.nodes_before_cut - graphs.sizes).sum())
    by_type = np.bincount(graphs.edge_types, minlength=len(edge_types))
    _, targets = graphs.in_one()
    degrees = np.bincount(targets, minlength=len(graphs.node_types))
    return {
        "graphs": len(graphs),
        "labels": {name: int((labels == index).sum()) for index, name in enumerate(classes)},
        "nodes": _spread(graphs.sizes),
        "nodes_by_label": {name: _spread(graphs.sizes[labels == index]) for index, name in enumerate(classes)},
        "edges": _spread(graphs.edge_counts),
        "edges_by_type": dict(zip(edge_types, by_type.tolist(), strict=True)),
        "in_degree": _spread(degrees),
        "node_types": len(np.unique(graphs.node_types)),
        "unknown_node_types_share": _share(graphs.node_types == 0),
        "sub_tokens": _spread(graphs.token_counts),
        "unknown_sub_tokens_share": _share(graphs.token_ids == 0),
        "parse_errors": {"graphs": int(named.parse_errors.sum()), "share": _share(named.parse_errors)},
        "truncated": {
            "graphs": int(cut.sum()),
            "share": _share(cut),
            "nodes": lost,
            "nodes_share": lost / max(int(named.nodes_before_cut.sum()), 1),
        },
        "size_histogram": _histograms(graphs.sizes, labels, classes),
        "degree_histogram": np.bincount(np.minimum(degrees, 30), minlength=31).tolist(),
    }


def _share(chosen: NDArray[np.bool_]) -> float:
    return float(chosen.mean()) if len(chosen) else 0.0


def _spread(values: NDArray[np.integer[Any]]) -> dict[str, float]:
    if not len(values):
        return {"total": 0}
    low, median, high = np.percentile(values, [10, 50, 90]).tolist()
    return {
        "total": int(values.sum()),
        "mean": float(values.mean()),
        "smallest": int(values.min()),
        "p10": low,
        "median": median,
        "p90": high,
        "largest": int(values.max()),
    }


def _histograms(sizes: NDArray[np.int64], labels: NDArray[np.int64], classes: Sequence[str]) -> dict[str, Any]:
    low, high = (int(sizes.min()), int(sizes.max())) if len(sizes) else (1, 1)
    edges = np.geomspace(max(low, 1), max(high, low + 1) + 1, _BINS + 1)
    counts = {name: np.histogram(sizes[labels == index], edges)[0].tolist() for index, name in enumerate(classes)}
    return {"edges": edges.tolist(), "counts": counts}


def draw(file: IO[bytes], figures: Mapping[str, Mapping[str, Any]]) -> None:
    """Write a PNG of :func:`statistics`' figures by split: sizes by class, edges by type, degrees, what was lost."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # 0.3 s; and no pyplot: its state is everybody's
    from matplotlib.figure import Figure

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names in letters that the font lacks: the figures have them
        _draw(file, figures, Figure, FigureCanvasAgg)


def _draw(file: IO[bytes], figures: Mapping[str, Mapping[str, Any]], new_figure: Any, new_canvas: Any) -> None:
    figure = new_figure(figsize=(11, 7.6), dpi=130, layout="constrained", facecolor="white")
    axes = figure.subplots(2, 2)
    train = figures["train"]
    _draw_sizes(axes[0][0], train)
    _draw_edge_types(axes[0][1], train)
    _draw_degrees(axes[1][0], train)
    _draw_losses(axes[1][1], figures)
    for one in axes.flat:
        one.spines[["top", "right"]].set_visible(False)
        one.tick_params(colors=INK, labelsize=9)
        one.set_axisbelow(True)
    graphs = ", ".join(f"{split['graphs']:,} {name}" for name, split in figures.items())
    figure.suptitle(f"Graphs: {graphs}", x=0.01, ha="left", fontsize=13, fontweight="bold", color=INK)
    canvas: Any = new_canvas(figure)
    canvas.print_png(file)


def _title(axes: Any, text: str) -> None:
    axes.set_title(text, loc="left", fontsize=10.5, color=INK)


def _draw_sizes(axes: Any, figures: Mapping[str, Any]) -> None:
    histogram = figures["size_histogram"]
    largest = sorted(histogram["counts"], key=lambda name: -sum(histogram["counts"][name]))[:_MOST_CLASSES]
    for name, color in zip(largest, _colors(len(largest)), strict=True):
        counts = histogram["counts"][name]
        shares = np.asarray(counts) / max(sum(counts), 1)
        axes.stairs(shares, histogram["edges"], color=color, linewidth=2, label=f"{_shown(name)} ({sum(counts):,})")
    axes.set_xscale("log")
    axes.set_xlabel("nodes", color=INK)
    axes.set_ylabel("share of the class", color=INK)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    _title(axes, f"Size of a graph, training split: median {figures['nodes']['median']:,.0f} nodes")


def _draw_edge_types(axes: Any, figures: Mapping[str, Any]) -> None:
    shown = {name: count for name, count in figures["edges_by_type"].items() if not name.endswith(" reversed")}
    names = sorted(shown, key=shown.__getitem__)[-12:]
    per_graph = [shown[name] / max(figures["graphs"], 1) for name in names]
    axes.barh([_shown(name) for name in names], per_graph, color=COLORS[0], height=0.62)
    for place, value in enumerate(per_graph):
        axes.text(
            value, place, f" {value:,.0f}" if value >= 10 else f" {value:.1f}", va="center", fontsize=9, color=INK
        )
    axes.margins(x=0.12)
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.8)
    _title(
        axes,
        "Edges per graph by type (each also stands reversed)"
        if len(shown) < len(figures["edges_by_type"])
        else "Edges per graph by type",
    )


def _draw_degrees(axes: Any, figures: Mapping[str, Any]) -> None:
    counts = np.asarray(figures["degree_histogram"])
    axes.bar(range(len(counts)), counts / max(counts.sum(), 1), color=COLORS[2], width=0.8)
    axes.set_xlabel("edges that enter a node (30 or more in one)", color=INK)
    axes.set_ylabel("share of nodes", color=INK)
    axes.grid(visible=True, axis="y", color=GRID, linewidth=0.8)
    _title(axes, "Degree of a node, training split")


def _draw_losses(axes: Any, figures: Mapping[str, Mapping[str, Any]]) -> None:
    kinds = {
        "parse errors": [split["parse_errors"]["share"] for split in figures.values()],
        "cut graphs": [split["truncated"]["share"] for split in figures.values()],
        "nodes cut": [split["truncated"]["nodes_share"] for split in figures.values()],
        "unknown sub-tokens": [split["unknown_sub_tokens_share"] for split in figures.values()],
    }
    height = 0.8 / len(figures)
    for number, (name, color) in enumerate(zip(figures, _colors(len(figures)), strict=True)):
        places = np.arange(len(kinds)) + (number - (len(figures) - 1) / 2) * height
        values = [100 * shares[number] for shares in kinds.values()]
        axes.barh(places, values, height * 0.9, color=color, label=name)
        for place, value in zip(places, values, strict=True):
            axes.text(value, place, f" {value:.1f} %", va="center", fontsize=8, color=INK)
    axes.set_yticks(range(len(kinds)), list(kinds))
    axes.invert_yaxis()
    axes.set_xlim(0, max(1.2 * 100 * max(map(max, kinds.values())), 1))
    axes.set_xlabel("% of the split", color=INK)
    axes.grid(visible=True, axis="x", color=GRID, linewidth=0.8)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK, loc="lower right")
    _title(axes, "What was lost")


def _shown(name: str) -> str:
    """A name that matplotlib takes for no formula and shows in a legend, cut where it is long."""
    shown = escape_control(name)
    short = shown if len(shown) <= _LONGEST_NAME else shown[: _LONGEST_NAME - 1] + "…"
    return " " * short.startswith("_") + short.replace("$", r"\$")


def _colors(count: int) -> list[str]:
    return [COLORS[index % len(COLORS)] for index in range(count)]
