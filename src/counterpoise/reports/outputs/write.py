"""A report into a folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

from counterpoise.inks import as_png
from counterpoise.jsonio import dumps, write_together
from counterpoise.reports.outputs.html import page
from counterpoise.reports.outputs.markdown import markdown
from counterpoise.reports.outputs.summary_json import summary
from counterpoise.reports.outputs.tables import csv_text, tex_text
from counterpoise.reports.pictures.comparison import draw_comparison
from counterpoise.reports.report import Report

log = logging.getLogger(__name__)

PAGE = "report.html"
PICTURE = "metrics_comparison.png"


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write every form of a report in the place of an older one: all of them, or none if the disk refuses one.

    A picture that cannot be drawn is a warning, and an older one of it is removed.

    Returns:
        what was written, the page first.

    Raises:
        OSError: if the folder cannot be written.
    """
    picture = _picture(report)
    texts: dict[str, Callable[[], str]] = {
        PAGE: lambda: page(report),
        "production_report.md": lambda: markdown(report, PICTURE if picture is not None else None),
        "production_summary.json": lambda: dumps(summary(report)) + "\n",
        "results.csv": lambda: csv_text(report),
        "results.tex": lambda: tex_text(report),
    }
    # A folder's name need not be valid UTF-8.
    contents = {name: text().encode("utf-8", "backslashreplace") for name, text in texts.items()}
    if picture is not None:
        contents[PICTURE] = picture
    write_together(folder, {name: partial(_write, content) for name, content in contents.items()})
    if picture is None:
        (folder / PICTURE).unlink(missing_ok=True)
    return [folder / name for name in contents]


def _write(content: bytes, file: IO[bytes]) -> None:
    file.write(content)


def _picture(report: Report) -> bytes | None:
    try:
        drawn = draw_comparison(report)
        return None if drawn is None else as_png(drawn)
    except Exception as error:  # figures that nobody thought of; everything else can be told all the same
        log.warning("%s could not be drawn: %s.", PICTURE, str(error) or type(error).__name__)
        return None
