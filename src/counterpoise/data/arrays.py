"""NumPy files of a run or a cache entry, read within bounds: numbers alone, and no more than the file holds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from counterpoise.files import open_regular

_HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}


def read_array(path: Path, kinds: Sequence[type[np.generic]], ndim: int, *, mapped: bool = False) -> NDArray[Any]:
    """An array that ``numpy.save`` wrote.

    Args:
        path: of the file.
        kinds: that its numbers may be of, in this machine's byte order.
        ndim: how many dimensions it has.
        mapped: map it into memory, read-only, in place of reading it.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is no such file, or holds other numbers, objects, or more or fewer than its header says.
    """
    with open_regular(path) as file:
        version = npy.read_magic(file)
        if version not in _HEADERS:
            raise ValueError(f"{path.name} is a file of NumPy's format {version}")
        shape, fortran, dtype = _HEADERS[version](file)
        if dtype not in [np.dtype(kind) for kind in kinds] or len(shape) != ndim or fortran:
            what = f"{path.name} is {dtype} {list(shape)}" + (" in the order of Fortran" if fortran else "")
            raise ValueError(f"{what}, not {np.dtype(kinds[0])} in {ndim} dimensions")
        start, count = file.tell(), math.prod(shape)
        size = file.seek(0, 2)
        if any(not isinstance(length, int) or length < 0 for length in shape) or size - start != count * dtype.itemsize:
            raise ValueError(f"{path.name} does not hold the {list(shape)} numbers that it says")
        if mapped and count:
            return np.memmap(file, dtype, "r", start, shape)
        file.seek(start)
        return np.frombuffer(file.read(), dtype).reshape(shape).copy()
