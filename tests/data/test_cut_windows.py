"""Windows of long sequences."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.data.chunks import cut_windows


def reference(length: int, window: int, overlap: int, maximum: int | None) -> list[tuple[int, int]]:
    found, start = [], 0
    while True:
        found.append((start, min(start + window, length)))
        if start + window >= length or len(found) == maximum:
            return found
        start += window - overlap


@given(
    st.lists(st.integers(0, 60), max_size=8),
    st.integers(1, 12),
    st.integers(0, 11),
    st.none() | st.integers(1, 6),
)
def test_windows_are_those_of_a_plain_walk(lengths: list[int], window: int, overlap: int, maximum: int | None) -> None:
    overlap = min(overlap, window - 1)
    found = cut_windows(np.array(lengths, np.int64), window, overlap, maximum)
    assert len(found.offsets) == len(lengths) + 1
    for index, length in enumerate(lengths):
        own = slice(found.offsets[index], found.offsets[index + 1])
        spans = list(zip(found.starts[own].tolist(), found.ends[own].tolist(), strict=True))
        assert spans == reference(length, window, overlap, maximum)
        assert found.cut[index] == length - spans[-1][1]
        covered = {position for start, end in spans for position in range(start, end)}
        assert covered == set(range(length - found.cut[index])), "nothing between two windows is lost"
        assert all(later[1] > earlier[1] for earlier, later in pairwise(spans))


@pytest.mark.parametrize(("window", "overlap", "maximum"), [(0, 0, None), (4, 4, None), (4, -1, None), (4, 0, 0)])
def test_windows_that_would_not_move_are_refused(window: int, overlap: int, maximum: int | None) -> None:
    with pytest.raises(ValueError, match="forward"):
        cut_windows(np.array([5]), window, overlap, maximum)
