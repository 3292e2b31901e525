"""What the training command shows of a run that was aborted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console

from counterpoise.errors import FailedProtocolError, OutOfMemoryError, TrainingAbortedError
from counterpoise.jsonio import write_json
from counterpoise.reports.diagnosis import diagnose_folder
from counterpoise.reports.pictures.run import PLOTS, draw_run
from counterpoise.reports.protocol import Protocol
from counterpoise.reports.reading import load
from counterpoise.storage import Storage
from counterpoise.tracking.criteria import show_protocol
from counterpoise.tracking.findings import show_findings


@contextmanager
def explained(
    console: Console, folder: Path, protocol: Protocol, storage: Storage, *, plots: bool = False
) -> Iterator[None]:
    """Show the findings of a run that is aborted while inside, and judge it by its protocol; the error goes on.

    Args:
        console: where to.
        folder: the run's.
        protocol: the run's.
        storage: told of a disk that fails.
        plots: also draw the run.

    Raises:
        FailedProtocolError: in its place, if there is a protocol. Too little memory is a fault, and no verdict on what
            was to be checked.
    """
    try:
        yield
    except TrainingAbortedError as error:
        if plots:
            storage.attempt(PLOTS, folder / PLOTS, lambda: draw_run(folder), required=False)
        show_findings(console, diagnose_folder(folder), "aborted")
        judged = None if isinstance(error, OutOfMemoryError) else protocol.of_failure(folder, str(error))
        if judged is None:
            raise
        show_protocol(console, judged)
        _add(folder / "failure.json", judged, storage)
        raise FailedProtocolError(str(error), judged) from error


def _add(path: Path, judged: Mapping[str, Any], storage: Storage) -> None:
    content = {**load(path, []), "protocol": judged}
    storage.attempt(path.name, path, lambda: write_json(path, content))
