"""What the training command shows of a run that was aborted."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console

from counterpoise.errors import TrainingAbortedError
from counterpoise.reports.diagnosis import diagnose_folder
from counterpoise.tracking.findings import show_findings


@contextmanager
def explained(console: Console, folder: Path) -> Iterator[None]:
    """Show the findings of a run that is aborted while inside; the error goes on."""
    try:
        yield
    except TrainingAbortedError:
        show_findings(console, diagnose_folder(folder))
        raise
