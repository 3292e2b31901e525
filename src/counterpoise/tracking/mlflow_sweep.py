"""The end of a multirun for MLflow: means over its jobs, its report, and how it went."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, ClassVar

from counterpoise.addresses import without_credentials
from counterpoise.config.schema import parse
from counterpoise.config.targets import Component
from counterpoise.errors import UserError, first_line
from counterpoise.run_files import read_mlflow_place, read_multirun_summary
from counterpoise.tracking.base import Tracker
from counterpoise.tracking.mlflow import PARENT, PLACE, STATUS, MLflowConfig, artefacts
from counterpoise.tracking.mlflow_client import Client
from counterpoise.tracking.relay import PREEMPTED_WAIT, Trackers

log = logging.getLogger(__name__)

INCOMPLETE = "counterpoise.means_of"
"""The tag that says what the means lack."""
FOLDERS = ("report", "plots")
"""Of a multirun's folder, those whose files are sent."""


class MLflowSweep(Tracker):
    """Writes to the run that the jobs of a multirun share."""

    Config: ClassVar[type] = MLflowConfig

    def on_result(self, result: Mapping[str, Any]) -> None:
        """Means and files. ``result`` is the content of ``summary.json``."""
        place = read_mlflow_place(self.folder / PARENT)
        where = self.config.where  # with the password that the environment may have; the file has none
        if without_credentials(where) != without_credentials(place["uri"]):
            where = place["uri"]
        self._run, self._client = place["run"], Client(where, self.config.experiment)
        figures = [(name, value, self.now, 0) for name, value in means(result["mean"]).items()]
        self._client.figures(self._run, figures)
        lacking = {name: found["incomplete"] for name, found in result["mean"].items() if found.get("incomplete")}
        if lacking:  # a metric cannot say that it is one of some jobs only
            self._client.tag(self._run, INCOMPLETE, "; ".join(f"{name}: {what}" for name, what in lacking.items()))
        if self.config.artefacts:
            self._client.files(self._run, artefacts(self.folder))
            for name in FOLDERS:
                self._client.files(self._run, sorted(p for p in (self.folder / name).glob("*") if p.is_file()), name)

    def on_end(self, status: str) -> None:
        """Set the final status: that of the worst job."""
        self._client.end(self._run, STATUS[status])


def means(by_configuration: Mapping[str, Mapping[str, Any]]) -> dict[str, float]:
    """``mean/f1`` and ``std/f1``; of several configurations each figure once for each, named by it."""
    found: dict[str, float] = {}
    for configuration, figures in by_configuration.items():
        suffix = f"/{configuration}" if len(by_configuration) > 1 else ""
        for name, figure in figures.items():
            for kind in ("mean", "std"):
                if isinstance(figure, Mapping) and figure.get(kind) is not None:
                    found[f"{kind}/{name}{suffix}"] = float(figure[kind])
    return found


def end_sweep(sweep: Path, folders: Collection[Path], statuses: Collection[str]) -> None:
    """Tell MLflow how a multirun came out, if one of these jobs was tracked there; bounded as any tracker is.

    Args:
        sweep: the multirun's folder, with ``summary.json``.
        folders: those of its jobs.
        statuses: theirs, as :class:`~counterpoise.reports.jobs.JobSummary` has them.
    """
    try:
        if not any((folder / PLACE).exists() for folder in folders) or not (sweep / PARENT).exists():
            return
        config = parse(MLflowConfig, read_mlflow_place(sweep / PARENT).get("config"))
        summary = read_multirun_summary(sweep / "summary.json")
    except (UserError, OSError, ValueError) as error:  # of a file that is damaged, or another's
        log.warning("MLflow is not told how the multirun ended: %s: %s", type(error).__name__, first_line(error))
        return
    trackers = Trackers({"mlflow": Component(MLflowSweep, config)}, sweep)
    trackers.on_result(summary)
    if "unfinished" in statuses:
        trackers.close("preempted", PREEMPTED_WAIT)
    else:
        trackers.close("finished" if set(statuses) == {"finished"} else "failed", config.wait)
