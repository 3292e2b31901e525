"""What a run that a signal ended has left on the disk, and how to go on from it, in words."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass

from counterpoise.config.saved import needed_again, overrides_file
from counterpoise.data.cache import Cache, read_manifest
from counterpoise.engine.checkpoints import LAST, PREVIOUS
from counterpoise.errors import PreemptedError, near
from counterpoise.tracking.folder import RunFolder


@dataclass
class Leavings:
    """What is on the disk of one run."""

    folder: RunFolder
    multirun: bool
    """Whether the run is a job of one."""
    cache: Cache | None = None
    """Where its data are encoded, once that is known."""

    def said(self, error: PreemptedError) -> PreemptedError:
        """The same error, which says what is kept and how to go on."""
        again = "give the same command again"
        resume = " ".join([f"resume={near(self.folder.path)}", *needed_again(self.folder.path)])
        on = again if self.multirun else resume
        update = self._update()
        if self.folder.result.is_file():
            return PreemptedError(error.reason, "the result of the run is saved", on)
        if update is not None:
            return PreemptedError(error.reason, f"the checkpoint of update {update} is saved", on)
        if overrides_file(self.folder.path).is_file() and not self.multirun:
            how = f"{resume}, which starts at the beginning"
            return PreemptedError(error.reason, "no checkpoint was written yet", how)
        kept = "nothing was saved yet"
        if self.cache is not None and any(entry.is_dir() for entry in self.cache.entries):
            kept = f"nothing was saved yet but encoded data, in {near(self.cache.root)}"
        return PreemptedError(error.reason, kept, again)

    def _update(self) -> int | None:
        """That of the newest checkpoint that is there; a resumed run checks whether it is whole."""
        for name in (LAST, PREVIOUS):
            with suppress(OSError, ValueError, LookupError, TypeError):
                return int(read_manifest(self.folder.checkpoints / name)["position"]["update"])
        return None
