"""A file that grows: in order and without gaps, whatever the disk does in between."""

from __future__ import annotations

import logging
import os
from contextlib import suppress
from io import FileIO
from pathlib import Path

from counterpoise.files import open_to_append, read_bytes
from counterpoise.jsonio import write_bytes
from counterpoise.storage import Storage
from counterpoise.tracking.log_lines import LineFormatter


class AppendedFile:
    """Records are added in memory and written by :meth:`flush`; what a disk refuses is written by a later one.

    After a failed write the file is cut back to its last whole record before anything else is written. A file with
    several names (hard links) is replaced by a copy before the first record: the others keep what they have.

    Args:
        path: opened when first needed, and again after a failure.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._waiting: list[bytes] = []
        self._start: bytes | None = None
        self._file: FileIO | None = None
        self._size: int | None = None

    def begin(self, content: bytes) -> None:
        """Have the next flush replace the whole file by ``content``, atomically."""
        self.close()
        self._start, self._size = content, None

    def add(self, record: bytes) -> None:
        """Append in memory."""
        self._waiting.append(record)

    def flush(self) -> None:
        """Write what was added. Raises ``OSError``; nothing is lost then."""
        try:
            self._replace()
            while self._waiting:
                self._append(list(self._waiting))
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close the file; what was not flushed still waits."""
        if self._file is not None:
            file, self._file = self._file, None
            with suppress(OSError):  # nothing is buffered: what was written is written
                file.close()

    def _replace(self) -> None:
        start = self._start
        if start is not None:
            write_bytes(self.path, start)
            self._start = None

    def _append(self, records: list[bytes]) -> None:
        file = self._opened()
        data, written = b"".join(records), 0
        while written < len(data):
            written += file.write(data[written:])
        assert self._size is not None
        self._size += len(data)
        del self._waiting[: len(records)]

    def _opened(self) -> FileIO:
        if self._file is None:
            self._file = open_to_append(self.path)
            if self._size is None and os.fstat(self._file.fileno()).st_nlink > 1:
                self._file.close()
                write_bytes(self.path, read_bytes(self.path))
                self._file = open_to_append(self.path)
            size = os.fstat(self._file.fileno()).st_size
            if self._size is not None and size > self._size:
                self._file.truncate(self._size)  # what a failed write left of a record
            else:
                self._size = size
        return self._file


class LogFile(logging.Handler):
    """Appends what is logged to a file; never raises, and never says that it could not.

    Args:
        path: of the file.
        storage: told of a disk that fails.
    """

    def __init__(self, path: Path, storage: Storage) -> None:
        super().__init__(logging.INFO)
        self.setFormatter(LineFormatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
        self.path = path
        self.storage = storage
        self._file = AppendedFile(path)
        self._busy = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, and those that wait."""
        try:
            self._file.add((self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except Exception as error:  # a message whose arguments do not fit
            message, given = "a message of %s could not be formatted: %r", (record.name, error)
            told = logging.LogRecord(__name__, record.levelno, __file__, 0, message, given, None)
            self._file.add((self.format(told) + "\n").encode("utf-8", "backslashreplace"))
        if not self._busy:  # that the disk failed is logged too, and comes back here
            self._busy = True
            try:
                self.storage.attempt(self.path.name, self.path, self._file.flush)
            finally:
                self._busy = False

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def __enter__(self) -> LogFile:
        root = logging.getLogger()
        root.addHandler(self)
        root.setLevel(logging.INFO)
        return self

    def __exit__(self, *_: object) -> None:
        logging.getLogger().removeHandler(self)
        self.close()
