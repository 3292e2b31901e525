"""Trackers: observers that a config can choose."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from counterpoise.events import Alarm, BaseObserver, EpochEvent, Rescue, UpdateEvent, Verdict
from counterpoise.storage import Storage


@dataclass(frozen=True, kw_only=True)
class NoTrackerConfig:
    """Nothing to choose."""


class Tracker(BaseObserver):
    """An observer that sends a run's figures somewhere. Built from ``(config, folder)``."""

    Config: ClassVar[type]

    def __init__(self, config: Any, folder: Path) -> None:
        self.config = config
        self.folder = folder

    def on_result(self, result: Mapping[str, Any]) -> None:
        """The run has finished with these figures."""


class NoTracker(Tracker):
    """Sends nothing anywhere: the run folder holds everything already."""

    Config: ClassVar[type] = NoTrackerConfig


class Steady(BaseObserver):
    """Passes events on to a tracker; a disk that fails there is told and does not end training.

    The run can end without a tracker's files: its figures are in the run folder's own.

    Args:
        tracker: whatever it raises but ``OSError`` is passed on.
        storage: told of that.
    """

    def __init__(self, tracker: Tracker, storage: Storage) -> None:
        self.tracker = tracker
        self.storage = storage

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Pass it on."""
        self._try(lambda: self.tracker.on_start(plan))

    def on_update(self, event: UpdateEvent) -> None:
        """Pass it on."""
        self._try(lambda: self.tracker.on_update(event))

    def on_alarm(self, alarm: Alarm, action: str) -> None:
        """Pass it on."""
        self._try(lambda: self.tracker.on_alarm(alarm, action))

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """Pass it on."""
        self._try(lambda: self.tracker.on_rescue(rescue, plan))

    def on_epoch(self, event: EpochEvent) -> None:
        """Pass it on."""
        self._try(lambda: self.tracker.on_epoch(event))

    def on_finish(self, verdict: Verdict) -> None:
        """Pass it on."""
        self._try(lambda: self.tracker.on_finish(verdict))

    def on_result(self, result: Mapping[str, Any]) -> None:
        """Pass it on."""
        self._try(lambda: self.tracker.on_result(result))

    def _try(self, call: Callable[[], None]) -> None:
        self.storage.attempt(f"tracker {type(self.tracker).__name__}", self.tracker.folder, call, required=False)
