"""What a run writes as it goes: ``metrics.jsonl`` per logged update, ``training_history.json`` per epoch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from counterpoise.errors import fail
from counterpoise.events import BaseObserver, EpochEvent, Rescue, UpdateEvent, Verdict
from counterpoise.files import read_text
from counterpoise.jsonio import dumps, parse_json, write_json
from counterpoise.storage import Storage
from counterpoise.tracking.appending import AppendedFile
from counterpoise.tracking.folder import RunFolder


class FileRecorder(BaseObserver):
    """Keeps both files so that a resumed run leaves the same lines as one that was never interrupted.

    Args:
        folder: the run's.
        storage: told of a disk that fails; what could not be written is kept in memory until it can.
    """

    def __init__(self, folder: RunFolder, storage: Storage | None = None) -> None:
        self.folder = folder
        self.storage = storage or Storage(folder.path)
        self._epochs: list[dict[str, Any]] = []
        self._metrics = AppendedFile(folder.metrics)

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Take up the history, and drop lines of updates behind the checkpoint: they will be done again."""
        self._epochs = list(plan["history"])
        self._metrics.begin("".join(self._lines_up_to(plan["position"]["update"])).encode())
        self._write_metrics()
        self._write_history()

    def _lines_up_to(self, update: int) -> list[str]:
        try:
            content = read_text(self.folder.metrics, "replace")
        except FileNotFoundError:
            return []
        except OSError as error:
            raise fail(
                str(self.folder.metrics), f"cannot be read: {error}.", "Remove the folder to start over."
            ) from error
        kept = []
        for line in content.splitlines(keepends=True):
            try:
                if line.endswith("\n") and parse_json(line)["update"] <= update:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue  # a line that was cut off when the process was killed
        return kept

    def on_update(self, event: UpdateEvent) -> None:
        """Append one line."""
        self._metrics.add((dumps(asdict(event), indent=None) + "\n").encode())
        self._write_metrics()

    def on_epoch(self, event: EpochEvent) -> None:
        """Replace the history by one that has this epoch."""
        self._epochs.append(asdict(event))
        self._write_history()

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """Go back to where both files stood then."""
        self._write_metrics()
        self._metrics.close()
        self.on_start(plan)

    def _write_metrics(self) -> None:
        self.storage.attempt(self.folder.metrics.name, self.folder.metrics, self._metrics.flush)

    def _write_history(self) -> None:
        path = self.folder.history
        self.storage.attempt(path.name, path, lambda: write_json(path, {"epochs": self._epochs}))

    def on_finish(self, verdict: Verdict) -> None:
        """Close the file."""
        self._metrics.close()
