"""The look of every picture: colours, type, axes; and how a figure becomes a PNG, or SVG for a page.

Matplotlib is imported where something is drawn, 0.3 s, and never pyplot: its state is everybody's.
"""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from counterpoise.errors import escape_control

INK, MUTED, GRID, PAPER = "#333a44", "#7a8594", "#e6e9ed", "#ffffff"
"""Text; what stands back; lines of a grid; the ground."""
COLORS = ("#1f5fa8", "#d1495b", "#2a9d8f", "#e09f3e", "#6d597a", "#4f772d", "#9aa5b1", "#b56576")
"""Of series, in order."""
BLUE, RED, TEAL, AMBER, *_ = COLORS
FAINT = COLORS[6]
LONGEST_NAME = 30
"""Characters of a name in a picture."""
DPI = 110

_VARIABLES = {
    INK: "--ink",
    MUTED: "--muted",
    GRID: "--grid",
    PAPER: "--paper",
    **{color: f"--series-{place}" for place, color in enumerate(COLORS)},
}
"""Names under which a page gives these colours others, as for a dark screen."""


@contextmanager
def drawing() -> Iterator[None]:
    """While inside, figures are made with the house's type and lines, and names in them are plain text."""
    from matplotlib import rc_context

    settings: dict[Any, Any] = {
        "text.parse_math": False,
        "font.family": "sans-serif",
        "font.sans-serif": ["DejaVu Sans"],
        "font.size": 9,
        "text.color": INK,
        "axes.edgecolor": MUTED,
        "axes.linewidth": 0.7,
        "axes.labelcolor": INK,
        "axes.labelsize": 9,
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "axes.titlelocation": "left",
        "axes.titlecolor": INK,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "grid.color": GRID,
        "grid.linewidth": 0.8,
        "xtick.color": MUTED,
        "ytick.color": MUTED,
        "xtick.labelcolor": INK,
        "ytick.labelcolor": INK,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 8.5,
        "legend.frameon": False,
        "legend.fontsize": 8.5,
        "figure.facecolor": PAPER,
        "figure.edgecolor": PAPER,
        "axes.facecolor": PAPER,
        "svg.fonttype": "none",
        "svg.hashsalt": "counterpoise",
    }
    with rc_context(settings), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a box in its place says so too
        yield


def figure(width: float, height: float) -> Any:
    """An empty figure, in inches, whose parts find their places by themselves."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def write_png(file: IO[bytes], drawn: Any) -> None:
    """Write a figure as PNG."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with drawing():
        canvas: Any = FigureCanvasAgg(drawn)
        canvas.print_png(file)


def as_png(drawn: Any) -> bytes:
    """A figure as the content of a PNG."""
    target = io.BytesIO()
    write_png(target, drawn)
    return target.getvalue()


def as_svg(drawn: Any, label: str, shrink: tuple[float, float] = (1.0, 1.0)) -> str:
    """A figure as an SVG element to stand in a page: text as text, and colours as the page's variables.

    Args:
        drawn: the figure.
        label: what it shows, for those who do not see it; it has to be escaped already.
        shrink: by what to multiply width and height: its text is the larger for it, on a page that gives it a width.
    """
    from matplotlib.backends.backend_svg import FigureCanvasSVG

    target = io.BytesIO()
    with drawing():
        canvas: Any = FigureCanvasSVG(drawn)
        drawn.set_size_inches(drawn.get_size_inches() * shrink)
        canvas.print_svg(target, metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = target.getvalue().decode("utf-8")
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>", "", text, flags=re.S)
    text = re.sub(r"<[^>]*>", _tag, text)  # what a name says stands between tags, and is left alone
    return re.sub(r"<svg[^>]*?(viewBox=\"[^\"]*\")[^>]*>", lambda found: _opened(found, label), text, count=1)


def _opened(found: re.Match[str], label: str) -> str:
    return f'<svg role="img" aria-label="{label}" {found[1]}>'


def _tag(found: re.Match[str]) -> str:
    """A tag with variables for colours and type, without a name that another picture of the page has too."""
    tag = re.sub(r' id="[A-Za-z.0-9]+_\d+"', "", found[0])
    tag = re.sub(r"#[0-9a-f]{6}\b", _variable, tag)
    return tag.replace("'DejaVu Sans', sans-serif", "var(--sans)").replace("'DejaVu Sans'", "var(--sans)")


def _variable(found: re.Match[str]) -> str:
    return f"var({_VARIABLES[found[0]]})" if found[0] in _VARIABLES else found[0]


def shorter(text: str, longest: int) -> str:
    """At most so many characters: of a longer text the middle is left out."""
    end = (longest - 1) // 2
    return text if len(text) <= longest else f"{text[: longest - 1 - end]}…{text[-end:]}"


def named(text: str, longest: int = LONGEST_NAME) -> str:
    """A name as a picture shows it: one line of it, not too long; one that begins with _ would be left out."""
    flat = " ".join("".join(c if c.isprintable() else " " for c in escape_control(text)).split())
    short = shorter(flat, longest)
    return f" {short}" if short.startswith("_") else short
