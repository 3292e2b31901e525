"""What a run writes as it goes: ``metrics.jsonl`` per logged update, ``training_history.json`` per epoch."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import IO, Any

from counterpoise.events import BaseObserver, EpochEvent, Rescue, UpdateEvent, Verdict
from counterpoise.jsonio import dumps, write_atomically, write_json
from counterpoise.tracking.folder import RunFolder


class FileRecorder(BaseObserver):
    """Keeps both files so that a resumed run leaves the same lines as one that was never interrupted."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder
        self._epochs: list[dict[str, Any]] = []
        self._file: IO[str] | None = None

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Take up the history, and drop lines of updates behind the checkpoint: they will be done again."""
        self._epochs = list(plan["history"])
        reached = plan["position"]["update"]
        lines = self._lines_up_to(reached)
        write_atomically(self.folder.metrics, lambda file: file.write("".join(lines).encode()))
        self._file = self.folder.metrics.open("a", encoding="utf-8")
        self._write_history()

    def _lines_up_to(self, update: int) -> list[str]:
        if not self.folder.metrics.exists():
            return []
        kept = []
        for line in self.folder.metrics.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            try:
                if line.endswith("\n") and json.loads(line)["update"] <= update:
                    kept.append(line)
            except (ValueError, KeyError, TypeError):
                continue  # a line that was cut off when the process was killed
        return kept

    def on_update(self, event: UpdateEvent) -> None:
        """Append one line."""
        assert self._file is not None
        self._file.write(dumps(asdict(event), indent=None) + "\n")
        self._file.flush()

    def on_epoch(self, event: EpochEvent) -> None:
        """Replace the history by one that has this epoch."""
        self._epochs.append(asdict(event))
        self._write_history()

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """Go back to where both files stood then."""
        assert self._file is not None
        self._file.close()
        self.on_start(plan)

    def _write_history(self) -> None:
        write_json(self.folder.history, {"epochs": self._epochs})

    def on_finish(self, verdict: Verdict) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
