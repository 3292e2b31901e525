"""One file of records in memory, and what reading any text file needs: compression, encoding, line numbers."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from counterpoise.errors import Problem, fail, first_line
from counterpoise.files import open_regular

_BOM = b"\xef\xbb\xbf"
_ICONV = "Convert the file to UTF-8, for example: iconv -f {} -t UTF-8 FILE > NEW."
SHORTEN = "Shorten it or raise data.max_record_bytes."
"""What to do with a record that is too long for training."""
DAMAGED = (EOFError, zlib.error, gzip.BadGzipFile)
"""What reading raises of compressed data that are not whole."""

Stream = io.BufferedReader | gzip.GzipFile
Row = dict[str, object]


@dataclass(frozen=True, slots=True)
class Fault:
    """Why one record cannot be used."""

    reason: str
    """A few words that many records share; what is counted."""
    message: str
    remedy: str = ""


@dataclass
class Sheet:
    """What was read from one file, in order."""

    source: str
    """The file as the user named it."""
    by_row: bool = False
    """Places are row numbers (Parquet) instead of lines."""
    names: dict[str, None] = field(default_factory=dict)
    """Columns found, in the order in which they were seen; the keys count."""
    entries: list[tuple[int, Row | Fault]] = field(default_factory=list)
    """Place (1-based line or row) and record; of a record only the wanted columns, those that it has."""
    problems: list[Problem] = field(default_factory=list)
    """What concerns the file rather than a record."""
    line: int = 0
    """Physical lines read so far."""

    def where(self, place: int) -> str:
        """``file:line``, or ``file:row n``."""
        return f"{self.source}:row {place}" if self.by_row else f"{self.source}:{place}"


@contextmanager
def opened(path: Path) -> Iterator[Stream]:
    """The bytes of a text file, unpacked if need be.

    Raises:
        UserError: if compression and name disagree, or the file is not UTF-8 as a whole.
    """
    with open_regular(path) as raw:
        start = raw.peek(2)
        zipped = start[:2] == b"\x1f\x8b"
        if zipped and path.suffix.lower() != ".gz":
            raise fail(str(path), "is compressed with gzip, but its name does not end with .gz.", "Rename it.")
        if start and not zipped and path.suffix.lower() == ".gz":
            raise fail(str(path), "is not compressed with gzip, though its name ends with .gz.", "Rename it.")
        stream = gzip.GzipFile(fileobj=raw) if zipped else raw
        head = stream.peek(4)[:4]
        if head[:2] in (b"\xff\xfe", b"\xfe\xff") or (b"\0" in head and head.strip(b"\0")):
            raise fail(f"{path}:1", "is encoded as UTF-16 or UTF-32, expected UTF-8.", _ICONV.format("UTF-16"))
        yield stream


def lines(stream: Stream, sheet: Sheet, limit: int) -> Iterator[bytes | Fault]:
    """Physical lines with their ending; one that is longer than ``limit`` bytes is passed over in pieces."""
    while raw := stream.readline(limit):
        sheet.line += 1
        if len(raw) < limit or raw.endswith(b"\n"):
            yield raw.removeprefix(_BOM) if sheet.line == 1 else raw
            continue
        size = len(raw)
        while not raw.endswith(b"\n") and (raw := stream.readline(limit)):
            size += len(raw)
        yield Fault("record too long", f"the line has {size:,} bytes; at most {limit:,} are read.", SHORTEN)


def too_long(name: str, size: int, max_bytes: int, remedy: str = SHORTEN) -> Fault:
    """What to say of a text of ``size`` bytes in the column ``name``."""
    return Fault("record too long", f"{name!r} has {size:,} bytes; at most {max_bytes:,} are allowed.", remedy)


def damaged(where: str, error: BaseException) -> Problem:
    """What to say of compressed data that are ``DAMAGED``."""
    what = f"the compressed data are damaged or cut off here ({first_line(error)})."
    return Problem(where, what, "Copy the file again; gzip -t FILE checks it.")


def not_utf8(raw: bytes, error: UnicodeDecodeError) -> Fault:
    """What to say of a line that cannot be decoded."""
    message = f"is not UTF-8 (byte 0x{raw[error.start]:02x} at position {error.start + 1} of the line)."
    return Fault("not UTF-8", message, _ICONV.format("LATIN1"))


def short(value: object) -> str:
    """A value as messages show it, at most 60 characters."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    text = repr(value[:80] if isinstance(value, str | bytes) else value)
    return text if len(text) <= 60 else text[:57] + "..."
