"""Cutting what is too long into windows: of tokens, or of words."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Windows(NamedTuple):
    """Windows of ``N`` sequences, one sequence after the other."""

    starts: NDArray[np.int64]
    """Where each window begins in its own sequence, ``[K]``."""
    ends: NDArray[np.int64]
    """Where it ends, ``[K]``."""
    offsets: NDArray[np.int64]
    """Windows ``offsets[i] : offsets[i + 1]`` are those of sequence ``i``, ``[N + 1]``."""
    cut: NDArray[np.int64]
    """What of each sequence stands in no window, ``[N]``: what is behind the last one."""


def cut_windows(
    lengths: NDArray[np.integer[Any]], window: int, overlap: int = 0, maximum: int | None = None
) -> Windows:
    """Cut every sequence into windows, of which each begins ``window - overlap`` behind the one before.

    The last window ends with the sequence, so it may be shorter; none lies within the one before. A sequence without
    anything has one empty window.

    Args:
        lengths: of the sequences, ``[N]``.
        window: longest window.
        overlap: what each shares with the one before; less than ``window``.
        maximum: most windows of a sequence; ``None`` for any number.

    Raises:
        ValueError: if ``overlap`` leaves no way forward, or something is not positive.
    """
    if window < 1 or not 0 <= overlap < window or (maximum is not None and maximum < 1):
        raise ValueError(f"windows must move forward, but got {window=}, {overlap=}, {maximum=}")
    sizes = np.asarray(lengths, np.int64)
    stride = window - overlap
    counts = 1 + np.maximum(-(-(sizes - window) // stride), 0)
    if maximum is not None:
        counts = np.minimum(counts, maximum)
    offsets = np.zeros(len(sizes) + 1, np.int64)
    np.cumsum(counts, out=offsets[1:])
    starts = (np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)) * stride
    ends = np.minimum(starts + window, np.repeat(sizes, counts))
    return Windows(starts, ends, offsets, sizes - ends[offsets[1:] - 1])
