"""Trackers: observers that a config can choose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from counterpoise.events import BaseObserver


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
