"""Which jobs a multirun starts: Hydra tells nobody, and a folder may hold jobs of earlier commands too."""

from __future__ import annotations

import os
import secrets
import shutil
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.utils import JobReturn, JobStatus
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf

from counterpoise.errors import UserError, fail
from counterpoise.tracking.addresses import has_credentials


class Refused(BaseException):
    """A user's mistake, out of a callback: Hydra swallows every ``Exception`` there."""

    def __init__(self, error: UserError) -> None:
        self.error = error


def _check_counts(config: DictConfig) -> None:
    """Raises ``Refused`` for several numbers of folds beside ``sweep=kfold``, which has one range of them."""
    varied = [text for text in config.hydra.overrides.task if text.startswith("folds.count=") and "," in text]
    if varied and "fold" in (config.hydra.sweeper.get("params") or {}):
        what = f"{varied[0].partition('=')[2]} are several, but the folds of a sweep are one range."
        raise Refused(fail("folds.count", what, "Give one command for each."))


def _check_addresses(config: DictConfig) -> None:
    """Raises ``Refused`` for a password: what was typed is kept in ``multirun.yaml`` before a job could refuse it."""
    for text in config.hydra.overrides.task:
        key, _, value = text.partition("=")
        if key.lstrip("+~").startswith("tracker") and has_credentials(value.strip("'\"")):
            what = "must hold no password: it is kept in the multirun's files."
            raise Refused(fail(key, what, "Leave it out, and set it in the environment: see docs/trackers.md."))


class Multirun(Callback):
    """One command's multirun: its folder, and a mark for each job that it starts.

    Jobs may run in other processes, where a copy of this object is called: so a mark is a file, in a folder of this
    command alone.
    """

    OVERRIDE: ClassVar[str] = f"+hydra.callbacks.multirun._target_={__name__}.Multirun"
    """Makes Hydra construct and call it."""
    current: ClassVar[Multirun | None] = None
    """The multirun of this process's command."""

    path: Path
    """Where its jobs have their folders."""
    marks: Path
    reports: bool = True
    """Whether its end is to be reported on."""

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra is about to start the jobs."""
        if "direction" in config.hydra.sweeper:
            _check_search(config)
        count = OmegaConf.select(config, "folds.count")
        if isinstance(count, int) and count < 1:  # sweep=kfold would start no job, and nobody would be told
            raise Refused(fail("folds.count", f"must be >= 2, but is {count}."))
        _check_counts(config)
        _check_addresses(config)
        self.path = Path(config.hydra.sweep.dir)
        self.reports = OmegaConf.select(config, "report.multirun") is not False
        self.marks = self.path.absolute() / f".jobs-{secrets.token_hex(4)}"
        Multirun.current = self

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Mark a job as one of this command's."""
        self.marks.mkdir(parents=True, exist_ok=True)
        self._mark(config).write_text(config.hydra.runtime.output_dir, encoding="utf-8")

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Take the mark of a dry run back."""
        if job_return.status == JobStatus.COMPLETED and job_return.return_value is None:
            self._mark(config).unlink(missing_ok=True)

    def _mark(self, config: DictConfig) -> Path:
        return self.marks / str(config.hydra.job.num)

    def jobs(self) -> list[Path]:
        """The folders of all jobs that were started, once each; the marks are gone afterwards."""
        marks = list(self.marks.iterdir()) if self.marks.is_dir() else []
        folders = sorted({mark.read_text(encoding="utf-8") for mark in marks})
        shutil.rmtree(self.marks, ignore_errors=True)
        return [Path(folder if self.path.is_absolute() else os.path.relpath(folder)) for folder in folders]


def _check_search(config: DictConfig) -> None:
    """Refuse what a search cannot do.

    Raises:
        Refused: saying what.
    """
    if config.get("dry_run") is True:
        what = "a search needs the scores of its trials."
        raise Refused(fail("dry_run", what, "Leave out sweep=... to see the plan."))
    overrides = OverridesParser.create().parse_overrides(list(config.hydra.overrides.task))
    if any(override.key_or_group == "fold" and override.is_sweep_override() for override in overrides):
        what = "would be searched for as if it were a setting: the easiest fold would win."
        raise Refused(fail("fold", what, "Give one, or search first and then use -m sweep=kfold with what was found."))
