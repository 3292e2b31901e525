"""TensorBoard: loss, learning rate and gradient norm of logged updates, metrics of every epoch."""

from __future__ import annotations

import io
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

from counterpoise.errors import missing_extra
from counterpoise.events import EpochEvent, Rescue, UpdateEvent, Verdict
from counterpoise.tracking.appending import AppendedFile
from counterpoise.tracking.base import Tracker


@dataclass(frozen=True, kw_only=True)
class TensorBoardConfig:
    """Where the event files go."""

    folder: str = "tensorboard"
    """Within the run folder."""


class TensorBoard(Tracker):
    """Writes event files into the run folder.

    The events are TensorBoard's own, the file is ours: its writer loses whatever a full disk refused, and stays dead.

    Raises:
        UserError: if the extra ``tensorboard`` is not installed.
    """

    Config: ClassVar[type] = TensorBoardConfig

    def __init__(self, config: TensorBoardConfig, folder: Path) -> None:
        super().__init__(config, folder)
        try:
            from tensorboard.compat.proto.event_pb2 import Event, SessionLog
            from tensorboard.summary.writer.record_writer import RecordWriter
            from torch.utils.tensorboard import summary
        except ImportError as error:
            raise missing_extra("tracker", "tensorboard", "tensorboard") from error
        self._event, self._session = Event, SessionLog
        self._framed, self._scalar = RecordWriter, cast(Callable[..., Any], summary.scalar)
        self._file: AppendedFile | None = None

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Begin a file; on resume, hide what was written behind the checkpoint."""
        name = f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}.{os.getpid()}"
        self._file = AppendedFile(self.folder / self.config.folder / name)
        buffer = io.BytesIO()
        for event in (
            self._event(wall_time=time.time(), file_version="brain.Event:2"),
            self._event(
                wall_time=time.time(),
                step=plan["position"]["update"] + 1,
                session_log=self._session(status=self._session.START),
            ),
        ):
            self._framed(buffer).write(event.SerializeToString())
        self._file.begin(buffer.getvalue())
        if plan["history"] and plan["position"]["consumed"] == 0:
            # Killed between the checkpoint and these points, an epoch would be missing; told twice, it is the same.
            self.on_epoch(EpochEvent(**plan["history"][-1]))
        self._flush()

    def on_update(self, event: UpdateEvent) -> None:
        """Figures of a logged update."""
        for name, value in (("loss", event.loss), ("lr", event.lr), ("grad_norm", event.grad_norm)):
            self._add(f"update/{name}", value, event.update)
        self._flush()

    def on_epoch(self, event: EpochEvent) -> None:
        """Validation figures, predicted class shares and gradient norms per component."""
        self._add("train/loss", event.train_loss, event.update)
        for name, value in event.valid.items():
            if isinstance(value, int | float):
                self._add(f"valid/{name}", value, event.update)
        for name, figures in event.valid.get("per_class", {}).items():
            self._add(f"predicted_share/{name}", figures["predicted_share"], event.update)
        for name, norm in event.component_grad_norms.items():
            self._add(f"grad_norm/{name}", norm, event.update)
        self._flush()

    def _add(self, tag: str, value: float, step: int) -> None:
        event = self._event(wall_time=time.time(), step=step, summary=self._scalar(tag, value))
        buffer = io.BytesIO()
        self._framed(buffer).write(event.SerializeToString())
        assert self._file is not None
        self._file.add(buffer.getvalue())

    def _flush(self) -> None:
        assert self._file is not None
        self._file.flush()

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """Hide what was written behind the checkpoint."""
        assert self._file is not None
        self._flush()
        self._file.close()
        self.on_start(plan)

    def on_finish(self, verdict: Verdict) -> None:
        """Write what still waits, and close the file."""
        if self._file is not None:  # training ended before it began
            self._flush()
            self._file.close()
