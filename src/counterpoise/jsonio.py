"""JSON that never fails on what training produces, and files that are never half-written."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import secrets
import shutil
from collections.abc import Callable, Mapping, Sequence, Set
from datetime import date
from enum import Enum
from pathlib import Path
from typing import IO, Any

from counterpoise.errors import CONTROL, HIDDEN
from counterpoise.files import read_text

DEEPEST = 100
"""Containers within containers; what lies deeper is cut off."""
DEEPEST_READ = 200
"""Containers within containers that are read; what :func:`dumps` writes is never as deep."""
SEAL = "seal"
"""Key of a sealed object: the checksum of all else in it."""
LONGEST_INTEGER = 10_000
"""In bits: Python refuses to print integers of more than 4300 digits."""
_ESCAPES = {ord(sign): json.dumps(sign)[1:-1] for sign in HIDDEN} | {0x7F: "\\u007f"}


def to_plain(value: object) -> Any:
    """Turn anything into what JSON holds; never fails.

    Tensors and arrays become nested lists (or a number, if they hold one), NaN and infinities ``null``, dataclasses
    and mappings objects, paths and unknown objects strings. What contains itself, or lies deeper than ``DEEPEST``,
    is cut off with a string in its place.
    """
    return _plain(value, ())


def _plain(value: object, within: tuple[int, ...]) -> Any:
    """``within``: the identities of the containers around ``value``."""
    if value is None or isinstance(value, bool):
        return value
    if len(within) > DEEPEST or id(value) in within:
        return f"<{type(value).__name__}>"
    try:
        return _convert(value, (*within, id(value)))
    except Exception:  # a container whose items cannot be read
        return _text(value)


def _convert(value: object, within: tuple[int, ...]) -> Any:
    if isinstance(value, Enum):
        return _plain(value.value, within)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value) if value.bit_length() <= LONGEST_INTEGER else hex(value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name), within) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {_key(key, within): _plain(item, within) for key, item in value.items()}
    if isinstance(value, Set):
        return sorted((_plain(item, within) for item in value), key=str)
    if isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        return [_plain(item, within) for item in value]
    if isinstance(value, date):
        return value.isoformat()
    return _plain(_from_array(value), within) if hasattr(value, "tolist") else _text(value)


def _key(key: object, within: tuple[int, ...]) -> str:
    plain = _plain(key, within)
    return plain if isinstance(plain, str) else str(plain)


def _from_array(value: Any) -> Any:
    """The lists (or the number) of a tensor, without importing torch to say so, or of an array."""
    array = value.detach().cpu() if hasattr(value, "detach") else value
    if getattr(array, "is_sparse", False) or "sparse" in str(getattr(array, "layout", "")):
        array = array.to_dense()
    plain = array.tolist()
    return _text(value) if type(plain) is type(value) else plain


def _text(value: object) -> str:
    try:
        return str(value)
    except Exception:
        return f"<{type(value).__name__}>"


def dumps(value: object, indent: int | None = 2) -> str:
    """``value`` as strict JSON text: no NaN literals, always encodable, and safe to be shown in a terminal.

    What :func:`escape_control` escapes is written as JSON's own escapes, so that whoever parses it gets every
    character back.
    """
    text = json.dumps(to_plain(value), indent=indent, ensure_ascii=False, allow_nan=False)
    return escape_json(text.encode("utf-8", "backslashreplace").decode())  # a lone surrogate becomes its JSON escape


def escape_json(text: str) -> str:
    """The same JSON, with JSON's escapes for what is not to be seen; the ends of its lines stay."""
    return "\n".join(line.translate(_ESCAPES) if CONTROL.search(line) else line for line in text.split("\n"))


def write_json(path: Path, value: object) -> None:
    """Replace ``path`` by ``value`` as JSON, atomically."""
    write_bytes(path, as_bytes(value))


def as_bytes(value: object) -> bytes:
    """``value`` as the content of a JSON file."""
    return (dumps(value) + "\n").encode()


def read_json(path: Path) -> Any:
    """Read JSON. Raises ``OSError`` or ``ValueError``; the caller knows what it means."""
    return parse_json(read_text(path))


def parse_json(text: str | bytes) -> Any:
    """Parse JSON. Raises ``ValueError``, also for what is nested too deeply: all that walks over it may recurse."""
    try:
        value = json.loads(text)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    level, depth = [value], 0
    while level:
        if depth > DEEPEST_READ:
            raise ValueError("nested too deeply")
        inner = (node.values() if isinstance(node, dict) else node for node in level if isinstance(node, dict | list))
        level, depth = [item for items in inner for item in items if isinstance(item, dict | list)], depth + 1
    return value


def sealed(content: Mapping[str, Any], name: str) -> dict[str, Any]:
    """``content`` as plain values with its own checksum, so that damage shows; no protection against malice.

    Args:
        content: what is to be sealed.
        name: of its file: what was sealed under another is damage too.
    """
    plain = {key: value for key, value in to_plain(content).items() if key != SEAL}
    return {**plain, SEAL: _checksum(plain, name)}


def unsealed(content: object, name: str) -> dict[str, Any]:
    """What was sealed, the checksum taken off. Raises ``ValueError`` if it was not, or has changed since."""
    if not isinstance(content, Mapping):
        raise ValueError("it holds no JSON object")
    plain = {key: value for key, value in content.items() if key != SEAL}
    if content.get(SEAL) != _checksum(plain, name):
        raise ValueError("it does not match its own checksum")
    return plain


def _checksum(plain: Mapping[str, Any], name: str) -> str:
    return hashlib.blake2b(json.dumps([name, plain], sort_keys=True).encode(), digest_size=16).hexdigest()


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """As :func:`write_json`, sealed."""
    write_json(path, sealed(content, path.name))


def read_sealed(path: Path) -> dict[str, Any]:
    """What :func:`write_sealed` wrote. Raises ``OSError``, or ``ValueError`` if it is damaged."""
    return unsealed(read_json(path), path.name)


def remove(path: Path) -> None:
    """Remove whatever lies at ``path``, if anything does: a file, a folder with all in it, or a link, not its target.

    Raises:
        OSError: if it cannot be removed.
    """
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def write_atomically(path: Path, write: Callable[[IO[bytes]], object]) -> None:
    """Call ``write`` on a temporary file beside ``path``, flush it to disk, then rename it into place.

    A link at ``path`` is replaced, not followed. If writing fails, ``path`` stays as it was and the temporary file is
    removed. The folder may be reached through links; those of a run are made by :func:`counterpoise.files.own_folder`.

    Raises:
        OSError: if the folder cannot be written, and whatever ``write`` raises.
    """
    write_together(path.parent, {path.name: write})


def write_together(folder: Path, writers: Mapping[str, Callable[[IO[bytes]], object]]) -> None:
    """As :func:`write_atomically` for several files of a folder: none is replaced before all are on the disk.

    Args:
        folder: made if it is not there.
        writers: by name of the file, what writes its content.

    Raises:
        OSError: if the folder cannot be written. Errors of a writer are passed on.
    """
    folder.mkdir(parents=True, exist_ok=True)
    temporaries = {name: folder / f".{name}.{secrets.token_hex(4)}" for name in writers}
    try:
        for name, write in writers.items():
            with temporaries[name].open("xb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
        for name, temporary in temporaries.items():
            temporary.replace(folder / name)
    finally:
        for temporary in temporaries.values():
            temporary.unlink(missing_ok=True)


def write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` by these bytes, atomically. Raises ``OSError``."""
    write_atomically(path, lambda file: file.write(content))
