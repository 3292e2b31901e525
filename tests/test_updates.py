"""Counting updates: one function, against plain counting."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from counterpoise.updates import effective_batch, updates_per_epoch

SMALL = st.integers(1, 9)


@given(samples=st.integers(1, 300), micro=SMALL, accumulation=SMALL, processes=SMALL)
def test_against_counting(samples: int, micro: int, accumulation: int, processes: int) -> None:
    left, updates = samples, 0
    while left > 0:
        left -= micro * accumulation * processes
        updates += 1
    assert updates_per_epoch(samples, micro, accumulation, processes) == updates
    assert effective_batch(micro, accumulation, processes) == micro * accumulation * processes


# 684 batches, accumulation 2, 342 updates an epoch; 21,854 samples in batches of 32 are 683 and a part.
def test_published_numbers() -> None:
    assert updates_per_epoch(21_854, 32, 1) == 683
    assert updates_per_epoch(684, 1, 2) == 342
    assert updates_per_epoch(683, 1, 2) == 342
