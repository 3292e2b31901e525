"""A disk that may fail while a run trains: what could not be written waits, and is tried again.

Nothing here knows what is written. Whoever writes calls :meth:`Storage.attempt`; a failure is told once, kept by its
name, and does no harm until the end of training, where :meth:`Storage.settle` gives the user time to repair the disk.
"""

from __future__ import annotations

import errno
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from counterpoise.errors import Problem, StorageError, near

log = logging.getLogger(__name__)

WAIT = 300.0
"""Seconds that the end of training waits for a disk, unless told otherwise."""
POLL = 5.0
"""Seconds between two attempts of that wait."""
_PERMISSION = "Give the permission to write back (chmod u+w)"
_REMEDIES = {
    errno.ENOSPC: "Free some space there",
    errno.EDQUOT: "Free some space there, or ask for a larger quota",
    errno.EFBIG: "Raise the limit on file sizes (ulimit -f)",
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.EROFS: "Make the file system writable again",
    errno.ENOENT: "Put the folder back",
}


@dataclass(frozen=True)
class Fault:
    """A write that failed."""

    path: Path
    error: OSError
    again: Callable[[], object] | None
    """Writes what is missing now; ``None`` where the run can end without it."""

    @property
    def reason(self) -> str:
        """What the system said."""
        return self.error.strerror or str(self.error) or type(self.error).__name__

    @property
    def remedy(self) -> str:
        """What a user can do about it, as the beginning of a sentence."""
        return _REMEDIES.get(self.error.errno or 0, "Check the disk")


class Storage:
    """What one run could not write yet.

    Args:
        folder: the run's folder, for messages; ``None`` where there is none.
        wait: seconds that :meth:`settle` waits; 0 tries once.
    """

    def __init__(self, folder: Path | None = None, wait: float = WAIT) -> None:
        self.folder = folder
        self.wait = wait
        self.whole = "No checkpoint was written, so the run begins anew."
        """What a run that ends now can be continued from; said when it has to end."""
        self._faults: dict[str, Fault] = {}

    @property
    def waiting(self) -> list[str]:
        """Names of what must still be written."""
        return [what for what, fault in list(self._faults.items()) if fault.again is not None]

    def attempt(self, what: str, path: Path, write: Callable[[], object], *, required: bool = True) -> bool:
        """Write something; if the disk refuses, tell the user once and remember it.

        Args:
            what: its name, for people. A later attempt of the same name replaces what waits under it.
            path: where to.
            write: writes all of it, or raises ``OSError``; called again by :meth:`settle`.
            required: the run cannot end without it. Otherwise its owner tries again by itself.

        Returns:
            whether it was written.
        """
        try:
            write()
        except OSError as error:
            self._failed(what, Fault(path, error, write if required else None))
            return False
        self.written(what)
        return True

    def written(self, what: str) -> None:
        """It was written, alone or together with something else: it waits no longer."""
        if self._faults.pop(what, None) is not None and not self._faults:
            log.warning("Writing works again: nothing waits any longer.")

    def drop(self, what: str) -> None:
        """It shall not be written any more."""
        self._faults.pop(what, None)

    def insist(self, what: str, path: Path, write: Callable[[], object]) -> None:
        """Write something that nothing can go on without, waiting for the disk if it must; raises as ``settle``."""
        if not self.attempt(what, path, write):
            self.settle()

    def settle(self) -> None:
        """Write what waits, for ``wait`` seconds at most.

        Raises:
            StorageError: if something could not be written even then; it stays where it is, nothing is half-written.
        """
        deadline = time.monotonic() + self.wait
        told = False
        while True:
            for what in self.waiting:
                fault = self._faults.get(what)  # one that waited may have been written with another
                if fault is not None and fault.again is not None:
                    self.attempt(what, fault.path, fault.again)
            remaining = deadline - time.monotonic()
            if not self.waiting:
                return
            if remaining <= 0:
                raise StorageError(self._problem())
            if not told:
                fault = self._faults[self.waiting[0]]
                message = "Training has ended, but not everything could be written (%s). %s within %.0f seconds."
                log.warning(message, ", ".join(self.waiting), fault.remedy, self.wait)
                told = True
            time.sleep(min(POLL, remaining))

    def _failed(self, what: str, fault: Fault) -> None:
        first, known = not self._faults, what in self._faults
        self._faults[what] = fault
        if first:
            log.warning(
                "%s could not be written to %s: %s. %s. Training goes on: what cannot be written is kept and tried "
                "again; what is on the disk stays as it is.",
                *(what, near(fault.path), fault.reason, fault.remedy),
            )
        elif not known:
            log.warning("%s could not be written to %s either: %s.", what, near(fault.path), fault.reason)

    def _problem(self) -> Problem:
        faults = [self._faults[what] for what in self.waiting]
        where = near(self.folder if self.folder is not None else faults[0].path.parent)
        reasons = ", ".join(dict.fromkeys(fault.reason for fault in faults))
        command = f" with: python src/train.py resume={where}" if self.folder is not None else ""
        return Problem(
            where,
            f"could not be written: {', '.join(self.waiting)} ({reasons}).",
            f"{faults[0].remedy}, or copy the folder to another disk, and continue{command}. {self.whole}",
        )
