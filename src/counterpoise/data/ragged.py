"""Columns of varying length: one array of values and the offsets at which each item begins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray


@dataclass(frozen=True)
class Ragged:
    """``N`` items of varying length. Item ``i`` is ``values[offsets[i] : offsets[i + 1]]``."""

    values: NDArray[Any]
    """All items, one after the other, ``[sum of lengths]``."""
    offsets: NDArray[np.int64]
    """Where each item begins, and where the last one ends, ``[N + 1]``."""

    @classmethod
    def from_items(cls, items: Sequence[Sequence[int] | NDArray[Any]], dtype: Any = np.int32) -> Ragged:
        """Join lists or arrays."""
        offsets = np.zeros(len(items) + 1, np.int64)
        np.cumsum([len(item) for item in items], out=offsets[1:])
        values = np.concatenate([np.asarray(item, dtype) for item in items]) if items else np.empty(0, dtype)
        return cls(values.astype(dtype, copy=False), offsets)

    @classmethod
    def from_arrow(cls, column: pa.LargeListArray) -> Ragged:
        """View an Arrow column without copying it; it may be memory-mapped."""
        offsets = column.offsets.to_numpy()
        return cls(column.values.to_numpy(zero_copy_only=True), offsets)

    def to_arrow(self) -> pa.LargeListArray:
        """The same memory as an Arrow column."""
        return pa.LargeListArray.from_arrays(pa.array(self.offsets), pa.array(self.values))

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> NDArray[Any]:
        return self.values[self.offsets[index] : self.offsets[index + 1]]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Length of each item, ``[N]``."""
        return np.diff(self.offsets)

    def take(self, indices: NDArray[np.integer[Any]]) -> Ragged:
        """The items at ``indices [B]``, in this order, by one vectorised gather."""
        where, offsets = positions(self.offsets, indices)
        return Ragged(self.values[where], offsets)

    def gather(self, indices: NDArray[np.integer[Any]], fill: int, width: int | None = None) -> NDArray[Any]:
        """The items at ``indices [B]`` as one padded matrix ``[B, L]``; ``L`` is the longest of them, or ``width``.

        One vectorised gather; longer items than ``width`` are cut.
        """
        starts = self.offsets[indices]
        lengths = self.offsets[np.asarray(indices) + 1] - starts
        if width is None:
            width = int(lengths.max(initial=0))
        columns = np.arange(width)
        inside = columns < lengths[:, None]
        padded = np.full((len(starts), width), fill, self.values.dtype)
        padded[inside] = self.values[(starts[:, None] + columns)[inside]]
        return padded


def positions(
    offsets: NDArray[np.int64], indices: NDArray[np.integer[Any]]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the values of the items at ``indices [B]`` stand, one item after the other, and their own offsets.

    Returns:
        positions ``[sum of the items' lengths]`` and offsets ``[B + 1]``.
    """
    starts = offsets[indices]
    lengths = offsets[np.asarray(indices) + 1] - starts
    own = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=own[1:])
    return np.repeat(starts - own[:-1], lengths) + np.arange(own[-1]), own
