"""JSON that never fails on what training produces, and files that are never half-written (SPEC D5)."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from datetime import date
from enum import Enum
from pathlib import Path
from typing import IO, Any


def to_plain(value: object) -> Any:
    """Turn anything into what JSON holds.

    Tensors and arrays become nested lists (or a number, if they hold one), NaN and infinities ``null``, dataclasses
    and mappings objects, paths and unknown objects strings.
    """
    if value is None or (isinstance(value, bool | int | str) and not isinstance(value, Enum)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Enum):
        return to_plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: to_plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key if isinstance(key, str) else str(to_plain(key)): to_plain(item) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted((to_plain(item) for item in value), key=str)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray):
        return [to_plain(item) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    return _array_or_text(value)


def _array_or_text(value: object) -> Any:
    detach = getattr(value, "detach", None)  # a tensor, without importing torch to say so
    with contextlib.suppress(Exception):
        array: Any = detach().cpu() if detach is not None else value
        if not hasattr(array, "numpy") or detach is None:
            return to_plain(array.tolist()) if hasattr(array, "tolist") else str(value)
        return to_plain((array.float() if "bfloat16" in str(array.dtype) else array).tolist())
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def dumps(value: object, indent: int | None = 2) -> str:
    """``value`` as strict JSON text (no NaN literals)."""
    return json.dumps(to_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)


def write_json(path: Path, value: object) -> None:
    """Replace ``path`` by ``value`` as JSON, atomically."""
    write_atomically(path, lambda file: file.write((dumps(value) + "\n").encode()))


def read_json(path: Path) -> Any:
    """Read JSON. Raises ``OSError`` or ``ValueError``; the caller knows what it means."""
    return json.loads(path.read_text(encoding="utf-8"))


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` on a temporary file beside ``path``, flush it to disk, then rename it into place."""
    with temporary_beside(path) as temporary:
        with temporary.open("wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)


@contextlib.contextmanager
def temporary_beside(path: Path) -> Iterator[Path]:
    """A fresh file name in ``path``'s folder; whatever is left there at the end is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    temporary.chmod(0o666 & ~_umask())
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
