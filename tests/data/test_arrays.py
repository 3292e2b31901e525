"""NumPy files of somebody else: no objects, no more than the file holds, nothing but the kind that is asked for."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.lib import format as npy

from counterpoise.data.arrays import read_array

GOOD = np.arange(6, dtype=np.float32).reshape(2, 3)


def saved(array: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


def claimed(shape: tuple[int, ...], kind: str = "<f4", data: bytes = GOOD.tobytes(), order: bool = False) -> bytes:
    """A file whose header says what it likes."""
    file = io.BytesIO()
    npy.write_array_header_1_0(file, {"descr": kind, "fortran_order": order, "shape": shape})
    return file.getvalue() + data


def zipped() -> bytes:
    file = io.BytesIO()
    np.savez(file, GOOD)
    return file.getvalue()


HOSTILE: dict[str, Callable[[], bytes]] = {
    "objects": lambda: saved(np.array([[{}]], dtype=object), allow_pickle=True),
    "an archive": zipped,
    "Fortran": lambda: claimed((2, 3), order=True),
    "float64": lambda: saved(GOOD.astype(np.float64)),
    "big endian": lambda: saved(GOOD.astype(">f4")),
    "one dimension": lambda: saved(GOOD.ravel()),
    "fields": lambda: saved(np.zeros((2, 3), [("a", "f4")])),
    "terabytes": lambda: claimed((10**12, 3)),
    "beyond 64 bits": lambda: claimed((2**62, 2**62)),
    "below zero": lambda: claimed((-2, -3)),
    "of nothing": lambda: claimed((0, 10**12)),
    "cut off": lambda: saved(GOOD)[:-1],
    "too long": lambda: saved(GOOD) + b"x",
    "no header": lambda: b"\x93NUMPY\x01\x00\xff\xff",
    "another version": lambda: b"\x93NUMPY\x09\x00" + saved(GOOD)[8:],
    "code in the header": lambda: saved(GOOD).replace(b"(2, 3)", b"exit()"),
    "empty": lambda: b"",
    "text": lambda: b"0 1 2",
}


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("kind", HOSTILE)
def test_what_numpy_did_not_write_so_is_a_value_error(kind: str, mapped: bool, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(HOSTILE[kind]())
    with pytest.raises(ValueError):  # noqa: PT011 - NumPy's own are some of them
        read_array(tmp_path / "a.npy", (np.float32,), 2, mapped=mapped)


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("array", [GOOD, GOOD[:0], GOOD[:, :0]])
def test_what_was_saved_is_read(array: Any, mapped: bool, tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", array)
    found = read_array(tmp_path / "a.npy", (np.float64, np.float32), 2, mapped=mapped)
    assert found.dtype == np.float32
    assert found.shape == array.shape
    assert np.array_equal(found, array)
