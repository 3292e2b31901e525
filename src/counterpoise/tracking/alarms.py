"""``collapse_report.json``: what the guards saw, when, why it probably happened, and what to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from counterpoise.events import Alarm, BaseObserver, Rescue
from counterpoise.jsonio import write_json
from counterpoise.storage import Storage
from counterpoise.tracking.folder import RunFolder

FORMAT = 1
"""Raised whenever the report's layout changes."""


class AlarmRecorder(BaseObserver):
    """Writes the report when it first matters, and anew with every alarm and rescue.

    Args:
        folder: of the run.
        storage: told of a disk that fails.
        policy: the guard's.
    """

    def __init__(self, folder: RunFolder, storage: Storage, policy: str) -> None:
        self.folder = folder
        self.storage = storage
        self.policy = policy
        self._events: list[dict[str, Any]] = []
        self._rescues: list[dict[str, Any]] = []

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Take up what the checkpoint knows; what came after it will be seen again."""
        self._events, self._rescues = list(plan["alarms"]), list(plan["rescues"])
        if self._events or self._rescues:
            self._write()
        else:
            path = self.folder.collapse_report
            self.storage.attempt(path.name, path, lambda: path.unlink(missing_ok=True))

    def on_alarm(self, alarm: Alarm, action: str) -> None:
        """Add an event."""
        self._events.append({**asdict(alarm), "action": action})
        self._write()

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """Add a rescue."""
        self._rescues.append(asdict(rescue))
        self._write()

    def _write(self) -> None:
        report = {"format": FORMAT, "policy": self.policy, "events": self._events, "rescues": self._rescues}
        path = self.folder.collapse_report
        self.storage.attempt(path.name, path, lambda: write_json(path, report))
