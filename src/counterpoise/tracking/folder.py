"""The run folder: the only interface between a run and everything after it."""

from __future__ import annotations

import errno
import hashlib
import logging
import re
import shutil
import time
import traceback
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from omegaconf import OmegaConf

from counterpoise.addresses import without_credentials
from counterpoise.config.experiment import DATA_PATHS, FREE
from counterpoise.config.values import show
from counterpoise.errors import Problem, StorageError, TrainingAbortedError, UserError, escape_lines, fail, near
from counterpoise.files import check_own_files, check_own_folders, own_folder, read_bytes
from counterpoise.jsonio import to_plain, write_atomically, write_bytes, write_json
from counterpoise.run_files import read_metadata
from counterpoise.storage import Storage
from counterpoise.tracking.appending import LogFile

log = logging.getLogger(__name__)

LOCK = ".lock"
LOCK_POLL = 5.0
"""Seconds between two looks at whether a folder that is waited for is still there."""
_FOLDERS = (".hydra", "checkpoints", "plots", "explanations", "report", "tensorboard", ".restoring")
"""Below a run's folder, those that commands make."""
_OF_TRACKERS = ("tensorboard",)
"""Of these, those that a run can do without: something else in their place costs the tracker, not the run."""
_TIDIED = ("", ".hydra", "checkpoints", "checkpoints/best", "plots")
"""Those with files that are written under a temporary name first."""
_FILES = ("lr_finder.json", "lr_finder.png", "mlflow.json")
"""In a run's folder, files without a property of :class:`RunFolder`."""
_IN_THE_WAY = (errno.ELOOP, errno.EISDIR, errno.ENOTDIR, errno.EINVAL)
"""Numbers of errors that tell of something in the place of a file or a folder."""
TRIAL_BYTES = 1 << 16
"""Size of the file that tells whether a folder can be written."""
_TEMPORARY = re.compile(r"\..+\.[0-9a-f]{8}")
"""How ``write_atomically`` names them."""
ARTEFACTS = "artefacts"
"""In the metadata: checksums (blake2b, 16 bytes) of what new input is encoded by, by name of the file."""
FORMAT = 1
"""Raised whenever the layout of a run folder changes."""


def _warn(text: str) -> None:
    log.warning("%s", text)


class FolderInUseError(UserError):
    """Another process trains in a run folder."""


@dataclass(frozen=True)
class RunFolder:
    """Names of everything in a run's folder."""

    path: Path

    @property
    def metadata(self) -> Path:
        """Config, plan, versions, fingerprints: written before training."""
        return self.path / "training_metadata.json"

    @property
    def history(self) -> Path:
        """One entry per epoch."""
        return self.path / "training_history.json"

    @property
    def metrics(self) -> Path:
        """One line per logged update."""
        return self.path / "metrics.jsonl"

    @property
    def gradient_stats(self) -> Path:
        """Gradient norms of every component, by epoch."""
        return self.path / "gradient_stats.json"

    @property
    def gradient_picture(self) -> Path:
        """The same as a picture."""
        return self.path / "plots" / "gradient_stats.png"

    @property
    def log(self) -> Path:
        """All that was logged."""
        return self.path / "training.log"

    @property
    def result(self) -> Path:
        """Written last: a folder that has it holds a finished run."""
        return self.path / "result.json"

    @property
    def failure(self) -> Path:
        """Why a run did not finish, if it failed."""
        return self.path / "failure.json"

    @property
    def collapse_report(self) -> Path:
        """What the guards saw; not there as long as they saw nothing."""
        return self.path / "collapse_report.json"

    @property
    def checkpoints(self) -> Path:
        """``last``, ``previous`` and ``best``."""
        return self.path / "checkpoints"

    def predictions(self, split: str) -> Path:
        """Row, label, probabilities and predicted class of every sample of a split."""
        return self.path / f"predictions_{split}.parquet"

    def baselines(self, split: str) -> Path:
        """Row, label and each baseline's probabilities of every sample of a split."""
        return self.path / f"baselines_{split}.parquet"

    def lock(self, wait: float = 0.0, tell: Callable[[str], None] = _warn) -> FileLock:
        """Held while a process trains here; the system releases it when the process dies.

        Args:
            wait: seconds to wait for another process that holds it.
            tell: called once, if it has to be waited for.

        Raises:
            FolderInUseError: if another process holds it even then.
            UserError: if the folder cannot be written, or a folder in it is a link, behind which nothing is changed.
        """
        # filelock opens the file without following a link, and writes nothing into it.
        lock, deadline, told = FileLock(self.path / LOCK), time.monotonic() + wait, False
        while True:
            try:
                self.path.mkdir(parents=True, exist_ok=True)
                lock.acquire(timeout=max(0.0, min(LOCK_POLL, deadline - time.monotonic())) if told else 0)
                return self._checked(lock)
            except Timeout as error:
                if time.monotonic() >= deadline:
                    what = "another process is training in this folder."
                    raise FolderInUseError(Problem(str(self.path), what, "Wait, or use another.")) from error
            except FileNotFoundError as error:  # the other process has left nothing, and removed the folder
                if time.monotonic() >= deadline:
                    raise self._unwritable(error) from error
            except OSError as error:
                raise self._unwritable(error) from error
            if not told:
                where = near(self.path)
                tell(f"Another process trains in {where}: waiting for its result, {wait:g} seconds at most.")
                told = True

    def _checked(self, lock: FileLock) -> FileLock:
        """The lock, released if this raises ``OSError``."""
        try:
            self._check_folders()
        except OSError:
            lock.release()
            raise
        return lock

    @contextmanager
    def held(
        self, wait: float = 0.0, tell: Callable[[str], None] = _warn, *, leave_lock: bool = True
    ) -> Iterator[None]:
        """Keep every other process out while inside; ``wait``, ``tell`` and errors are those of :meth:`lock`.

        Args:
            wait: seconds to wait for another process.
            tell: called once, if it has to be waited for.
            leave_lock: keep the lock's file beside those of a run; else it is removed, unless it was there before.
        """
        leave_lock = leave_lock or (self.path / LOCK).exists()
        lock = self.lock(wait, tell)
        try:
            self._tidy()
            yield
        finally:
            self._tidy()
            with suppress(OSError):  # the disk may have failed meanwhile
                if not leave_lock or [path.name for path in self.path.iterdir()] == [LOCK]:
                    (self.path / LOCK).unlink()  # nothing was written: leave nothing behind
            lock.release()

    def _tidy(self) -> None:
        """Remove temporary files that a process left when it was killed, or when the disk failed."""
        for path in [path for folder in _TIDIED for path in (self.path / folder).glob(".*")]:
            if path.is_dir() and path.suffix == ".writing":
                shutil.rmtree(path, ignore_errors=True)
            elif path.is_file() and _TEMPORARY.fullmatch(path.name):
                with suppress(OSError):
                    path.unlink()

    @contextmanager
    def recording(self, storage: Storage) -> Iterator[None]:
        """While inside, log to ``training.log``; an error leaves its traceback there, and ``failure.json``."""
        if self.failure.exists():  # of an earlier attempt: it is gone before there is a result
            storage.attempt(self.failure.name, self.failure, lambda: self.failure.unlink(missing_ok=True))
        with LogFile(self.log, storage):
            try:
                yield
            except Exception as error:
                expected = isinstance(error, UserError | TrainingAbortedError | StorageError)
                status = "aborted" if isinstance(error, TrainingAbortedError) else "failed"
                log.error("The run failed: %s", error, exc_info=None if expected else error)
                trace = "" if expected else without_credentials("".join(traceback.format_exception(error)))
                content = {"status": status, "message": without_credentials(str(error)), "traceback": trace}
                storage.attempt(self.failure.name, self.failure, lambda: write_json(self.failure, content))
                raise

    def claim(
        self,
        config: Mapping[str, Any],
        facts: Mapping[str, Any],
        hydra: Mapping[str, Any],
        artefacts: Mapping[str, Path] | None = None,
    ) -> None:
        """Make the folder this run's: metadata and ``.hydra`` unless they are there, and copies of ``artefacts``.

        Args:
            config: the resolved config.
            facts: what else a resumed run is held against, see :meth:`check`.
            hydra: files for ``.hydra``, by name.
            artefacts: files to copy into the folder, each under its name; the metadata keep their checksums.

        Raises:
            UserError: if the folder, or that of the checkpoints, cannot be written; what was begun is taken back.
        """
        before = set(self.path.rglob("*"))
        try:
            self._try_places(artefacts or {})
            sums = {name: self._keep(name, source) for name, source in (artefacts or {}).items()}
            if not self.metadata.exists():
                for name, content in hydra.items():
                    write_atomically(own_folder(self.path, ".hydra") / name, _yaml_writer(content))
                write_json(self.metadata, {"format": FORMAT, "config": config, **facts, ARTEFACTS: sums})
            else:
                kept = read_metadata(self.metadata)
                if kept.get("artefacts", {}) != sums:  # of an earlier version, or made again on another machine
                    write_json(self.metadata, {**kept, ARTEFACTS: sums})
        except OSError as error:
            self._take_back(before)
            raise self._unwritable(error) from error

    def try_out(self) -> None:
        """Find out whether a run can be written here; nothing is left behind.

        Raises:
            UserError: as :meth:`claim`.
        """
        before = set(self.path.rglob("*"))
        try:
            self._try_places()
        except OSError as error:
            raise self._unwritable(error) from error
        finally:
            self._take_back(before)

    def _try_places(self, artefacts: Iterable[str] = ()) -> None:
        """Make sure that the files of a run can be written.

        Raises ``OSError`` where they cannot, and ``UserError`` for an artefact that has the name of one of them.
        A folder, a link or a FIFO in the place of a file that is only written hours later is found out now.
        """
        own = [self.metadata, self.history, self.metrics, self.log, self.result, self.failure, self.collapse_report]
        own += [path(split) for path in (self.predictions, self.baselines) for split in ("valid", "test")]
        own += [self.gradient_stats, self.gradient_picture]
        names = [*(str(path.relative_to(self.path)) for path in own), *_FILES]
        taken = next((name for name in artefacts if name in (*names, *_FOLDERS, LOCK)), None)
        if taken is not None:
            what = f"the encoding keeps a file named {taken}, which is one of the run's own."
            raise fail(str(self.path), what, "Rename it in your encoding or encoder, or remove the cache entry.")
        self._check_folders()
        check_own_files(self.path, [*names, *artefacts], _FOLDERS)
        for folder in (own_folder(self.path), own_folder(self.path, self.checkpoints.name)):
            _try_out(folder)

    def _check_folders(self) -> None:
        """Raises ``OSError`` for a link in the place of a folder of the run, or below one."""
        spared = [name for name in _OF_TRACKERS if (self.path / name).exists() and not (self.path / name).is_dir()]
        check_own_folders(self.path, [name for name in _FOLDERS if name not in spared])

    def _unwritable(self, error: OSError) -> UserError:
        if error.errno in _IN_THE_WAY:
            remedy = "Remove it, or name another folder."
        else:
            remedy = "Free some space, change its permissions, or name another one."
        return fail(str(self.path), f"the run folder cannot be written: {error}.", remedy)

    def _keep(self, name: str, source: Path) -> str:
        """Copy a file into the folder; its checksum. Raises ``OSError``."""
        content = read_bytes(source)
        write_bytes(self.path / name, content)
        return hashlib.blake2b(content, digest_size=16).hexdigest()

    def _take_back(self, before: Collection[Path]) -> None:
        for path in sorted(set(self.path.rglob("*")) - set(before), reverse=True):
            with suppress(OSError):
                path.rmdir() if path.is_dir() else path.unlink()

    def check(self, config: Mapping[str, Any], facts: Mapping[str, Any]) -> None:
        """Make sure that the folder is free, or holds this very run.

        Args:
            config: the resolved config.
            facts: those of ``plan``, ``data_fingerprint``, ``classes``, ``branches`` that are given must be the same;
                another ``machine`` is warned about.

        Raises:
            UserError: if the folder holds a run with another config, plan or data, naming each difference, or one that
                nobody knows.
        """
        if not self.metadata.exists():
            if self.result.exists() or any((self.checkpoints / name).exists() for name in ("last", "previous")):
                message = "is missing, so nobody can tell whose checkpoints and results those beside it are."
                raise fail(str(self.metadata), message, "Bring it back, or remove the run folder to start over.")
            return
        try:
            before: Mapping[str, Any] = read_metadata(self.metadata)
        except (OSError, ValueError) as error:
            raise fail(
                str(self.metadata), f"cannot be read: {error}.", "Remove the run folder to start over."
            ) from error
        now = to_plain({"format": FORMAT, **facts})
        problems = differences(before.get("config"), to_plain(config))
        for name in ("format", "plan", "data_fingerprint", "classes", "branches"):
            problems += differences(before.get(name), now[name], name) if name in now else []
        changed = differences(before.get("machine"), now["machine"], "machine") if "machine" in now else []
        if changed and not self.result.exists():
            # Another number of threads, say, adds in another order: the run goes on, but not to the same bits.
            listed = " ".join(str(problem) for problem in changed)
            log.warning(
                "%s was begun on another machine or version; it may not end in the same bits. %s", self.path, listed
            )
        if problems:
            remedy = Problem(
                str(self.path),
                "holds a run with another config.",
                "Give those values back, or use another folder (hydra.run.dir=..., for multiruns hydra.sweep.dir=...).",
            )
            raise UserError([*problems, remedy])


def decisive(config: Mapping[str, Any], where: str = "") -> dict[str, Any]:
    """A config without the keys that are ``FREE``, and those of where the data are."""
    kept = {}
    for key, value in config.items():
        name = f"{where}.{key}" if where else str(key)
        if not _free(name):
            kept[str(key)] = decisive(value, name) if isinstance(value, Mapping) else value
    return kept


def _free(key: str) -> bool:
    return key.startswith(FREE) or key in DATA_PATHS


def differences(before: object, now: object, where: str = "") -> list[Problem]:
    """What differs between two plain structures, by dotted key; keys that :func:`decisive` leaves out aside."""
    if where and _free(where):
        return []
    if isinstance(before, Mapping | None) and isinstance(now, Mapping | None) and before != now:
        before, now = before or {}, now or {}
        keys = list(dict.fromkeys([*before, *now]))
        return [
            problem
            for key in keys
            for problem in differences(before.get(key), now.get(key), f"{where}.{key}" if where else str(key))
        ]
    if before == now:
        return []
    return [Problem(where, f"was {show(before)}, but is {show(now)} now.")]


def _try_out(folder: Path) -> None:
    """Find out before training whether files of some size can be written and removed. Raises ``OSError``."""
    trial = folder / ".trial"
    try:
        write_bytes(trial, bytes(TRIAL_BYTES))
    finally:
        trial.unlink(missing_ok=True)


def _yaml_writer(content: Any) -> Any:
    return lambda file: file.write(_yaml(content).encode())


def _yaml(content: Any) -> str:
    """As OmegaConf writes it; with YAML's own escapes where it holds what a terminal would obey."""
    text = OmegaConf.to_yaml(content)
    if escape_lines(text) == text:
        return text
    return str(yaml.serialize(yaml.compose(text, yaml.SafeLoader), Dumper=yaml.SafeDumper, allow_unicode=False))


def write_predictions(
    path: Path,
    rows: NDArray[np.int64],
    labels: NDArray[np.int64],
    probabilities: NDArray[np.float64],
    **columns: object,
) -> None:
    """``row``, ``label`` and ``probabilities`` (a list per row) as Parquet, atomically; see :func:`predictions`."""
    write_atomically(path, predictions(rows, labels, probabilities, **columns))


def predictions(
    rows: NDArray[np.int64], labels: NDArray[np.int64], probabilities: NDArray[np.float64], **columns: object
) -> Callable[[IO[bytes]], None]:
    """What writes such a table into a file.

    Args:
        rows: ``[N]``.
        labels: class indices, ``[N]``.
        probabilities: ``[N, C]``.
        columns: further ones ``[N]``, by name: ``predicted``, ``group``.
    """
    lists = pa.FixedSizeListArray.from_arrays(pa.array(probabilities.ravel()), probabilities.shape[1])
    table = pa.table({"row": rows, "label": labels, "probabilities": lists, **columns})

    def write(file: IO[bytes]) -> None:
        pq.write_table(table, file)

    return write
