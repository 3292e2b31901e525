"""TensorBoard: figures of logged updates and epochs, what the guards saw, the config, and the run's pictures."""

from __future__ import annotations

import io
import os
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from counterpoise.errors import escape_control, escape_lines
from counterpoise.events import Alarm, EpochEvent, Rescue, UpdateEvent, Verdict
from counterpoise.files import own_folder, read_bytes
from counterpoise.jsonio import dumps
from counterpoise.names import distinct
from counterpoise.paths import user_path
from counterpoise.run_files import read_metadata
from counterpoise.storage import Storage
from counterpoise.tracking.appending import AppendedFile
from counterpoise.tracking.base import Tracker, TrackerConfig
from counterpoise.tracking.figures import of_epoch, of_update
from counterpoise.tracking.folder import RunFolder

PREFIX = "events.out.tfevents."
"""How TensorBoard knows its files, which it reads in the order of their names."""
LONGEST_TAG = 500
"""Bytes of a tag, which may hold the name of a class."""


@dataclass(frozen=True, kw_only=True)
class TensorBoardConfig(TrackerConfig):
    """Where the event files go."""

    folder: str = "tensorboard"
    """Within the run folder."""


class TensorBoard(Tracker):
    """Writes event files into the run folder.

    The events are TensorBoard's own, the file is ours: its writer loses whatever a full disk refused, and stays dead.
    A disk that fails is told once; what it refuses is kept, and written when it works again.
    """

    Config: ClassVar[type] = TensorBoardConfig
    needs: ClassVar[tuple[str, str] | None] = ("tensorboard", "tensorboard")

    def __init__(self, config: TensorBoardConfig, folder: Path) -> None:
        super().__init__(config, folder)
        from tensorboard.compat.proto import event_pb2, summary_pb2
        from tensorboard.summary.writer.record_writer import RecordWriter

        self._event, self._session = event_pb2.Event, event_pb2.SessionLog
        self._summary, self._framed = summary_pb2.Summary, RecordWriter
        self._storage = Storage(folder)
        self._file: AppendedFile | None = None
        self._step = 0

    def on_start(self, plan: Mapping[str, Any]) -> None:
        """Begin a file; on resume, hide what was written behind the checkpoint."""
        self._begin(plan)
        config = read_metadata(RunFolder(self.folder).metadata).get("config") or {}
        config = {key: value for key, value in config.items() if key != "tracker"}
        self._text("config", f"```json\n{dumps(config)}\n```")
        self._write()

    def _begin(self, plan: Mapping[str, Any]) -> None:
        folder = self.folder / user_path(self.config.folder, "tracker.tensorboard.folder")
        name = f"{PREFIX}{_later(folder)}.{socket.gethostname()}.{os.getpid()}"
        self._file = AppendedFile(folder / name)
        self._step = plan["position"]["update"]
        start = self._session(status=self._session.START)
        first = self._record(file_version="brain.Event:2") + self._record(step=self._step + 1, session_log=start)
        self._file.begin(first)
        if plan["history"] and plan["position"]["consumed"] == 0:
            # Killed between the checkpoint and these points, an epoch would be missing; told twice, it is the same.
            self._add_all(of_epoch(EpochEvent(**plan["history"][-1])))

    def on_update(self, event: UpdateEvent) -> None:
        """Figures of a logged update."""
        self._step = event.update
        self._add_all(of_update(event))
        self._write()

    def on_epoch(self, event: EpochEvent) -> None:
        """Figures of an epoch."""
        self._step = event.update
        self._add_all(of_epoch(event))
        self._write()

    def on_alarm(self, alarm: Alarm, action: str) -> None:
        """What a guard saw, as text."""
        why = f"Likely cause: {alarm.cause.replace('_', ' ')}: {alarm.explanation}.\n\nTry: `{alarm.override}`"
        self._text("guard", f"{alarm.message} ({action}).\n\n{why}")
        self._write()

    def on_rescue(self, rescue: Rescue, plan: Mapping[str, Any]) -> None:
        """Hide what was written behind the checkpoint, and say why."""
        self._write()
        assert self._file is not None
        self._file.close()
        self._begin(plan)
        back = f"back from update {rescue.from_update} to {rescue.to_update}, learning rate × {rescue.lr_factor:g}"
        self._text("guard", f"Rescue {rescue.number} by {rescue.judge}: {back}. {rescue.reason}")
        self._write()

    def on_finish(self, verdict: Verdict) -> None:
        """Write what still waits."""
        if self._file is not None:  # training ended before it began
            self._write()

    def on_result(self, result: Mapping[str, Any]) -> None:
        """The pictures of the run folder."""
        for path in sorted((self.folder / "plots").glob("*.png")):
            picture = read_bytes(path)
            width, height = struct.unpack(">II", picture[16:24])  # of the header, which is always the first chunk
            image = self._summary.Image(width=width, height=height, colorspace=4, encoded_image_string=picture)
            self._add(self._summary.Value(tag=path.stem, image=image))
        self._write()

    def on_end(self, status: str) -> None:
        """Write what still waits, and close the file."""
        if self._file is not None:
            self._write()
            self._file.close()

    def _add_all(self, figures: Mapping[str, float]) -> None:
        for tag, value in figures.items():
            self._add(self._summary.Value(tag=_tag(tag), simple_value=value))

    def _text(self, tag: str, markdown: str) -> None:
        value = self._summary.Value(tag=tag)
        value.metadata.plugin_data.plugin_name = "text"
        value.tensor.dtype = 7  # DT_STRING
        value.tensor.string_val.append(escape_lines(markdown).encode())
        value.tensor.tensor_shape.dim.add(size=1)
        self._add(value)

    def _add(self, value: Any) -> None:
        assert self._file is not None
        self._file.add(self._record(step=self._step, summary=self._summary(value=[value])))

    def _record(self, **content: Any) -> bytes:
        buffer = io.BytesIO()
        event = self._event(wall_time=self.now, **content)
        self._framed(buffer).write(event.SerializeToString())
        return buffer.getvalue()

    def _write(self) -> None:
        self._storage.attempt("tracker tensorboard", self.folder, self._flush, required=False)

    def _flush(self) -> None:
        """Raises ``OSError``, also for a link in the place of a folder in the run folder."""
        assert self._file is not None
        given = user_path(self.config.folder, "tracker.tensorboard.folder")
        own_folder(given) if given.is_absolute() else own_folder(self.folder, *given.parts)
        self._file.flush()


def _later(folder: Path) -> int:
    """The time in nanoseconds, or one behind the newest file's: the clock may have gone back since."""
    stamps = (path.name.removeprefix(PREFIX).partition(".")[0] for path in folder.glob(f"{PREFIX}*"))
    return max([time.time_ns(), *(int(stamp) + 1 for stamp in stamps if stamp.isdecimal())])


def _tag(name: str) -> str:
    """A tag without control characters; where it is not all of the name, a hash keeps it apart from others."""
    return distinct(escape_control(name), name, LONGEST_TAG)
