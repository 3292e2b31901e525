"""Trackers: observers that a config chooses by name. Each works in a process of its own, see ``relay.py``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

from counterpoise.config.schema import NON_NEGATIVE, POSITIVE
from counterpoise.events import BaseObserver


@dataclass(frozen=True, kw_only=True)
class TrackerConfig:
    """How long a run bears with a tracker. A tracker whose ``Config`` does not inherit from this has these defaults."""

    timeout: Annotated[float, POSITIVE] = 60.0
    """Seconds without an answer after which a tracker is dropped."""
    wait: Annotated[float, NON_NEGATIVE] = 30.0
    """Seconds that the end of a run waits for what is not sent yet."""


class Tracker(BaseObserver):
    """Sends a run's figures somewhere. Built from ``(config, folder)``, in a process of its own.

    What it raises is told in one warning, and no more events are sent to it: the run goes on without it. Events arrive
    in order and one at a time; the run's own files are at least as new as the event that is told.
    """

    Config: ClassVar[type]
    needs: ClassVar[tuple[str, str] | None] = None
    """Package that it imports and the extra that installs it; looked for before training."""
    now: float = 0.0
    """When the event that is being told happened, in seconds since 1970."""

    def __init__(self, config: Any, folder: Path) -> None:
        self.config = config
        self.folder = folder

    def flush(self) -> None:
        """Send what was gathered. Called every few seconds, and before the end."""

    def on_result(self, result: Mapping[str, Any]) -> None:
        """The run has finished with these figures; its folder is complete."""

    def on_end(self, status: str) -> None:
        """The last call: the run is ``finished``, ``failed``, ``preempted``, or ``killed``, which nobody could tell."""
