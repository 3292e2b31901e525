"""``gradient_stats.json``: the gradient norm of every component by epoch, and its picture."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean, median
from typing import IO, Any

from counterpoise.events import BaseObserver, EpochEvent, Rescue, UpdateEvent, Verdict
from counterpoise.files import own_folder, read_text
from counterpoise.inks import COLORS, GRID, INK
from counterpoise.jsonio import parse_json, write_atomically, write_json
from counterpoise.storage import Storage
from counterpoise.tracking.folder import RunFolder

Norms = dict[int, dict[str, list[float]]]
"""By epoch (zero-based) and component, of the logged updates in order; NaN where one was not finite."""


class GradientRecorder(BaseObserver):
    """Summarises what ``metrics.jsonl`` says of every component; a model of one component has nothing to tell apart.

    It has to be told of events behind :class:`~counterpoise.tracking.files.FileRecorder`, whose file it takes up again
    when a run is resumed.

    Args:
        folder: the run's.
        components: names of the model's parts, those that are frozen among them.
        storage: told of a disk that fails.
    """

    def __init__(self, folder: RunFolder, components: Sequence[str], storage: Storage | None = None) -> None:
        self.folder = folder
        self.components = tuple(components)
        self.storage = storage or Storage(folder.path)
        self._norms: Norms = {}
        self._epochs = 0

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Take up what was logged up to the checkpoint."""
        self._norms = read_norms(self.folder.metrics, plan["position"]["update"])
        self._epochs = len(plan["history"])

    def on_update(self, event: UpdateEvent) -> None:
        """Keep the norms."""
        _add(self._norms, event.epoch, event.component_grad_norms)

    def on_epoch(self, event: EpochEvent) -> None:
        """Write the file anew."""
        self._epochs = event.epoch
        if len(self.components) > 1:
            path, content = self.folder.gradient_stats, self.stats()
            self.storage.attempt(path.name, path, lambda: write_json(path, content))

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """Go back to where the file stood then."""
        self.on_start(plan)

    def on_finish(self, verdict: Verdict) -> None:
        """Draw the picture, where an epoch has been finished."""
        content = self.stats()
        if len(self.components) > 1 and content["epochs"]:
            path = self.folder.gradient_picture
            self.storage.attempt(path.name, path, lambda: self._draw(content), required=False)

    def _draw(self, content: Mapping[str, Any]) -> None:
        path = self.folder.gradient_picture
        folder = own_folder(self.folder.path, path.parent.name)
        write_atomically(folder / path.name, lambda file: draw(file, content))

    def stats(self) -> dict[str, Any]:
        """The file's content: of finished epochs."""
        epochs = [
            {"epoch": epoch, "components": {name: summary(of.get(name, [])) for name in self.components}}
            for epoch, of in ((epoch, self._norms.get(epoch, {})) for epoch in range(1, self._epochs + 1))
        ]
        return {"of": "gradient norm before clipping, at logged updates", "epochs": epochs}


def summary(norms: Sequence[float]) -> dict[str, Any] | None:
    """Figures of one component in one epoch; ``None`` where it had no gradient at all: frozen, or not run.

    NaN and infinite norms are counted, and left out of the rest.
    """
    if not norms:
        return None
    kept = [norm for norm in norms if math.isfinite(norm)]
    counts = {"updates": len(norms), "not_finite": len(norms) - len(kept)}
    if not kept:
        return {**dict.fromkeys(("mean", "median", "min", "max"), math.nan), "last": norms[-1], **counts}
    figures = {"mean": fmean(kept), "median": median(kept), "min": min(kept), "max": max(kept), "last": norms[-1]}
    return {**figures, **counts}


def read_norms(path: Path, update: int) -> Norms:
    """The norms in ``metrics.jsonl`` up to an update; what cannot be read is left out."""
    found: Norms = {}
    for node in _lines(path):
        try:
            if node["update"] <= update:
                _add(found, int(node["epoch"]), dict(node["component_grad_norms"]))
        except (KeyError, TypeError, ValueError, OverflowError):
            continue
    return found


def _lines(path: Path) -> Iterator[Any]:
    try:
        content = read_text(path, "replace")
    except OSError:
        return
    for line in content.splitlines():
        try:
            yield parse_json(line)
        except ValueError:
            continue


def _add(norms: Norms, epoch: int, found: Mapping[str, Any]) -> None:
    of = norms.setdefault(epoch, {})
    for name, norm in found.items():
        finite = isinstance(norm, int | float) and math.isfinite(norm)
        of.setdefault(name, []).append(float(norm) if finite else math.nan)  # what is not finite is null in the file


def draw(file: IO[bytes], stats: Mapping[str, Any]) -> None:
    """Write a PNG: per component the median by epoch, from least to largest shaded, on a logarithmic scale."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # 0.3 s; and no pyplot: its state is everybody's
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(8.5, 4.8), dpi=110, layout="constrained", facecolor="white")
    axes: Any = figure.add_subplot()
    names = list(dict.fromkeys(name for epoch in stats["epochs"] for name in epoch["components"]))
    for index, name in enumerate(names):
        color = COLORS[index % len(COLORS)]
        rows = [(epoch["epoch"], epoch["components"].get(name)) for epoch in stats["epochs"]]
        at = [number for number, _ in rows]
        low, middle, high = ([_drawn(row, key) for _, row in rows] for key in ("min", "median", "max"))
        if all(math.isnan(value) for value in middle):
            axes.plot([], [], color=color, label=f"{name}: no gradient")
            continue
        if len(at) > 1:
            axes.fill_between(at, low, high, color=color, alpha=0.14, linewidth=0)
        else:  # of one epoch an area has no width; the parts stand beside each other, or one would hide another
            at = [at[0] + (index - (len(names) - 1) / 2) * 0.3 / len(names)]
            axes.vlines(at, low, high, color=color, alpha=0.35, linewidth=6)
        axes.plot(at, middle, color=color, linewidth=2, marker="o", markersize=4, label=name)
    axes.set_yscale("log")
    axes.set_xlim(stats["epochs"][0]["epoch"] - 0.2, stats["epochs"][-1]["epoch"] + 0.2)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    axes.set_xlabel("epoch", color=INK)
    axes.set_ylabel("gradient norm before clipping", color=INK)
    axes.set_title("Gradient norm by component", loc="left", fontsize=12, fontweight="bold", color=INK, pad=22)
    note = "median of the logged updates; shaded from the least to the largest"
    axes.text(0, 1.03, note, transform=axes.transAxes, fontsize=9.5, color=INK)
    axes.grid(visible=True, color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1.0, 1.0), labelcolor=INK)
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(file)


def _drawn(row: Mapping[str, Any] | None, key: str) -> float:
    """A figure on a logarithmic scale: NaN, which leaves a gap, where there is none, or none above zero."""
    value = math.nan if row is None else row[key]
    return float(value) if value > 0 else math.nan
