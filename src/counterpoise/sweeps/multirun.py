"""Which jobs a multirun starts: Hydra tells nobody, and a folder may hold jobs of earlier commands too."""

from __future__ import annotations

import errno
import logging
import os
import secrets
import shutil
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from counterpoise.config.credentials import check_composed
from counterpoise.config.overrides import typed
from counterpoise.errors import Problem, UserError, fail
from counterpoise.files import check_own_files, check_own_folders, own_folder, read_bytes
from counterpoise.jsonio import write_bytes
from counterpoise.sweeps.search import check_search, swept

log = logging.getLogger(__name__)


FILES = (
    *("multirun.yaml", "optimization_results.yaml", "summary.json", "out_of_fold.parquet"),
    *(".mlflow.json", ".mlflow.json.lock"),
)
"""What is written into a multirun's folder, by Hydra too, which follows links."""
FOLDERS = ("report", "plots")
"""Its folders beside those of jobs."""


class Refused(BaseException):
    """An error, a user's mistake mostly, out of a callback: Hydra swallows every ``Exception`` there."""

    def __init__(self, error: Exception) -> None:
        self.error = error


def _unwritable(folder: Path, error: OSError) -> UserError:
    if error.errno == errno.ENAMETOOLONG:
        return fail(str(folder), f"cannot be written: {error.strerror}.")
    remedy = "Remove what is in the way, free some space, or name another folder with hydra.sweep.dir=..."
    return fail(str(folder), f"the multirun's folder cannot be written: {error}.", remedy)


def _check_counts(config: DictConfig) -> None:
    """Raises ``UserError`` for several numbers of folds beside ``sweep=kfold``, which has one range of them."""
    varied = [text for text in typed(config.hydra.overrides.task) if text.startswith("folds.count=") and "," in text]
    if varied and "fold" in (config.hydra.sweeper.get("params") or {}):
        what = f"{varied[0].partition('=')[2]} are several, but the folds of a sweep are one range."
        raise fail("folds.count", what, "Give one command for each.")


def _check_grid(config: DictConfig) -> None:
    """Raises ``UserError`` for what Hydra's own sweeper cannot vary, naming every key."""
    problems = []
    size = config.hydra.sweeper.get("max_batch_size")
    if isinstance(size, int) and size < 1:
        problems.append(Problem("hydra.sweeper.max_batch_size", f"must be >= 1 or null, but is {size}."))
    for override in swept(config.hydra.sweeper, config.hydra.overrides.task):
        key, given = override.key_or_group, override.get_value_string()
        if override.is_interval_sweep():
            how = "List its values, as 1,2,3, or search it with sweep=optuna."
            problems.append(Problem(key, f"{given} is an interval, of which only a search draws values.", how))
        elif override.is_range_sweep() and next(override.sweep_string_iterator(), None) is None:
            problems.append(Problem(key, f"{given} holds no value, so that no job would start."))
    if problems:
        raise UserError(problems)


def _check(config: DictConfig) -> None:
    """Raises ``UserError`` for what would start no job, or the wrong ones."""
    check_composed(config, config.hydra)  # before ``multirun.yaml`` is written
    count = OmegaConf.select(config, "folds.count")
    if isinstance(count, int) and count < 1:  # sweep=kfold would start no job, without a message
        raise fail("folds.count", f"must be >= 2, but is {count}.")
    _check_counts(config)
    if "direction" in config.hydra.sweeper:
        check_search(config)
    else:
        _check_grid(config)


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
        try:
            _check(config)
        except (HydraException, OmegaConfBaseException) as error:  # the sweeper refuses it too, and that is explained
            log.debug("A multirun could not be checked: %s", error)
        except Exception as error:
            raise Refused(error) from None
        self.path = Path(config.hydra.sweep.dir)
        try:
            check_own_folders(self.path, FOLDERS)
            check_own_files(self.path, FILES)
        except OSError as error:
            raise Refused(_unwritable(self.path, error)) from error
        self.reports = OmegaConf.select(config, "report.multirun") is not False
        self.marks = self.path.absolute() / f".jobs-{secrets.token_hex(4)}"
        Multirun.current = self

    def on_job_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Mark a job as one of this command's; without its mark nothing would be said of it at the end."""
        try:
            own_folder(self.path.absolute(), self.marks.name)
            write_bytes(self._mark(config), os.fsencode(config.hydra.runtime.output_dir))
        except OSError as error:
            raise Refused(_unwritable(self.path, error)) from error

    def on_job_end(self, config: DictConfig, job_return: JobReturn, **kwargs: Any) -> None:
        """Take the mark of a dry run back."""
        if job_return.status == JobStatus.COMPLETED and job_return.return_value is None:
            self._mark(config).unlink(missing_ok=True)

    def _mark(self, config: DictConfig) -> Path:
        return self.marks / str(config.hydra.job.num)

    @property
    def started(self) -> list[Path]:
        """The marks of the jobs that were started."""
        try:
            return list(self.marks.iterdir())
        except OSError:  # none was, or the folder cannot even be looked at
            return []

    def jobs(self) -> list[Path]:
        """The folders of all jobs that were started, once each; the marks are gone afterwards."""
        marks = self.started
        folders = sorted({os.fsdecode(read_bytes(mark)) for mark in marks})
        shutil.rmtree(self.marks, ignore_errors=True)
        return [Path(folder if self.path.is_absolute() else os.path.relpath(folder)) for folder in folders]
