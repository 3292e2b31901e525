"""``plots/`` of a run folder."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterator, Mapping
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any, TypeVar

from counterpoise.files import own_folder
from counterpoise.inks import as_png, as_svg, drawing
from counterpoise.jsonio import write_atomically
from counterpoise.reports.pictures.answers import confusion_matrix, reliability, roc_pr_curves
from counterpoise.reports.pictures.material import Material, material
from counterpoise.reports.pictures.training import class_shares, gradient_norms, training_curves

T = TypeVar("T")
log = logging.getLogger(__name__)

PLOTS = "plots"
"""The folder's name within the run's."""
ON_A_PAGE = (0.7, 0.85)
"""Of a picture's width and height: within a page it has to be read on a phone too."""
PICTURES: Mapping[str, Callable[[Material], Any | None]] = MappingProxyType(
    {
        "training_curves": training_curves,
        "class_shares": class_shares,
        "confusion_matrix": confusion_matrix,
        "roc_pr_curves": roc_pr_curves,
        "reliability": reliability,
        "gradient_norms": gradient_norms,
    }
)
"""Each gives a figure, or ``None`` where there is nothing to draw."""


def draw_run(folder: Path, result: Mapping[str, Any] | None = None) -> list[Path]:
    """Draw what a run folder's files allow into its ``plots/``; one that cannot be drawn is a warning.

    Args:
        folder: the run's.
        result: the content of ``result.json``, where that is not written yet.

    Returns:
        what was written.

    Raises:
        OSError: if the disk refuses.
    """
    written = []
    for name, content in _drawn(material(folder, result), as_png):
        path = own_folder(folder, PLOTS) / f"{name}.png"
        write_atomically(path, partial(_write, content))
        written.append(path)
    return written


def draw_missing(folder: Path) -> None:
    """Draw a finished run that has no picture: its disk was full, or it was trained with ``report.plots=false``.

    A folder that cannot be written is a warning.
    """
    if any((folder / PLOTS / f"{name}.png").exists() for name in PICTURES):
        return
    try:
        draw_run(folder)
    except OSError as error:
        log.warning("%s could not be written: %s.", folder / PLOTS, error)


def svgs_of(folder: Path, label: str, names: Collection[str]) -> dict[str, str]:
    """Some of these pictures as SVG elements by name, for a page; ``label`` is of the run, escaped already."""
    return dict(_drawn(material(folder), lambda figure: as_svg(figure, label, ON_A_PAGE), names))


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


def _drawn(files: Material, render: Callable[[Any], T], names: Collection[str] = PICTURES) -> Iterator[tuple[str, T]]:
    for name, draw in ((name, draw) for name, draw in PICTURES.items() if name in names):
        try:
            with drawing():
                figure = draw(files)
            rendered = None if figure is None else render(figure)
        except Exception as error:  # files of any age and in any state; the others can be drawn all the same
            why = str(error).removesuffix(".") or type(error).__name__
            log.warning("%s of %s could not be drawn: %s.", name, files.run.folder, why)
            continue
        if rendered is not None:
            yield name, rendered
