"""The order of samples: a function of seed and epoch, whatever the batches and processes."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.data.encode.base import Batch
from counterpoise.data.loader import Group, Loader, cut, evaluation_batches, prefetch


class Rows:
    """A split whose batches hold nothing but row numbers and padded lengths."""

    def __init__(self, lengths: list[int]) -> None:
        self.lengths = np.array(lengths, np.int64)
        self.labels = np.zeros(len(lengths), np.int64)

    def batch(self, indices: np.ndarray) -> Batch:
        width = torch.tensor(self.lengths[indices].max())
        rows = torch.from_numpy(np.asarray(indices))
        return Batch({"width": width.expand(len(rows))}, torch.zeros(len(rows), dtype=torch.long), rows)


def rows(group: Group) -> list[int]:
    return [] if group.idle else [int(row) for batch in group.batches for row in batch.rows]


LENGTHS = st.lists(st.integers(1, 20), min_size=1, max_size=60)
SMALL = st.integers(1, 5)


@settings(deadline=None)
@given(lengths=LENGTHS, micro=SMALL, accumulation=SMALL, processes=st.integers(1, 4), bucket=st.booleans())
def test_an_epoch(lengths: list[int], micro: int, accumulation: int, processes: int, bucket: bool) -> None:
    data, n = Rows(lengths), len(lengths)
    settings_ = {"seed": 3, "bucket": bucket}
    whole = Loader(data, batch_size=micro * accumulation * processes, **settings_)
    parts = [
        Loader(data, batch_size=micro, accumulation=accumulation, rank=rank, processes=processes, **settings_)
        for rank in range(processes)
    ]
    expected = list(whole.groups(2))
    assert sorted(row for group in expected for row in rows(group)) == list(range(n))  # each sample once
    groups = [list(part.groups(2)) for part in parts]
    assert {len(g) for g in groups} == {len(expected)} == {part.updates_per_epoch for part in parts}
    for number, group in enumerate(expected):
        mine = [g[number] for g in groups]
        assert sorted(row for g in mine for row in rows(g)) == sorted(rows(group))
        assert {g.samples for g in mine} == {len(rows(group))}
        assert all(g.batches and max(map(len, g.batches)) <= micro for g in mine)
        assert all(len(g.batches) <= accumulation for g in mine)
    # from any position on, the same groups
    consumed = 0
    for number, group in enumerate(expected):
        again = [rows(g) for g in parts[0].groups(2, consumed)]
        assert again == [rows(g) for g in groups[0][number:]]
        consumed += group.samples
    assert list(parts[0].groups(2, consumed)) == []


def test_order_depends_on_seed_and_epoch_only() -> None:
    data = Rows([3] * 40)
    one, other = (Loader(data, batch_size=4, seed=1) for _ in range(2))
    list(one.groups(0))
    assert one.order(5).tolist() == other.order(5).tolist()
    assert one.order(5).tolist() != one.order(6).tolist()
    assert one.order(5).tolist() != Loader(data, batch_size=4, seed=2).order(5).tolist()


def test_buckets_waste_little() -> None:
    lengths = np.random.default_rng(0).lognormal(5.5, 0.8, 4000).astype(int).clip(8, 512)
    padded = {}
    for bucket in (True, False):
        loader = Loader(Rows(lengths.tolist()), batch_size=32, bucket=bucket)
        batches = [batch for group in loader.groups(0) for batch in group.batches]
        padded[bucket] = sum(int(batch.inputs["width"][0]) * len(batch) for batch in batches) / lengths.sum()
    assert padded[True] < 1.06
    assert padded[False] > 1.5


def test_buckets_still_mix() -> None:
    loader = Loader(Rows(list(range(1, 2001))), batch_size=10)
    first = [np.mean(rows(group)) for group in loader.groups(0)]
    assert abs(np.corrcoef(np.arange(len(first)), first)[0, 1]) < 0.2  # not from short to long
    second = [tuple(sorted(rows(group))) for group in loader.groups(1)]
    assert not set(second) & {tuple(sorted(rows(group))) for group in loader.groups(0)}


def test_weighted_sampling_follows_its_weights() -> None:
    n = 200
    weights = np.arange(1, n + 1) / (n * (n + 1) / 2)
    loader = Loader(Rows([1] * n), batch_size=8, sample_weights=weights)
    counts = np.bincount(np.concatenate([loader.order(epoch) for epoch in range(300)]), minlength=n)
    expected = weights * 300 * n
    assert np.abs((counts - expected) / np.sqrt(expected)).max() < 4.5
    assert len(loader.order(0)) == n


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fewer_samples_than_a_batch(n: int) -> None:
    loader = Loader(Rows([2] * n), batch_size=8, accumulation=2)
    groups = list(loader.groups(0))
    assert len(groups) == loader.updates_per_epoch == 1
    assert sorted(rows(groups[0])) == list(range(n))
    idle = list(Loader(Rows([2] * n), batch_size=8, rank=3, processes=4).groups(0))
    assert idle[0].idle
    assert idle[0].samples == n


def test_what_cannot_be_loaded() -> None:
    with pytest.raises(ValueError, match="empty"):
        Loader(Rows([]), batch_size=2)
    with pytest.raises(ValueError, match="rank"):
        Loader(Rows([1]), batch_size=2, rank=2, processes=2)


def test_evaluation_takes_each_once_longest_first() -> None:
    lengths = [3, 9, 1, 9, 4]
    found = list(evaluation_batches(Rows(lengths), 2))
    indices = np.concatenate([where for where, _ in found])
    assert sorted(indices) == list(range(5))
    assert [lengths[i] for i in indices] == sorted(lengths, reverse=True)
    assert all(where.tolist() == batch.rows.tolist() for where, batch in found)


# Drawing ahead


def prefetch_threads() -> int:
    return sum(thread.name == "counterpoise-prefetch" for thread in threading.enumerate())


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_prefetch_gives_the_same_items(depth: int) -> None:
    assert list(prefetch(iter(range(50)), depth)) == list(range(50))
    assert prefetch_threads() == 0


@pytest.mark.parametrize("depth", [0, 2])
def test_an_exception_comes_at_its_place(depth: int) -> None:
    def failing() -> Iterator[int]:
        yield from (1, 2)
        raise KeyError("here")

    items = prefetch(failing(), depth)
    assert [next(items), next(items)] == [1, 2]
    with pytest.raises(KeyError, match="here"):
        next(items)
    assert prefetch_threads() == 0


def test_closing_ends_the_thread() -> None:
    drawn = []

    def endless() -> Iterator[int]:
        while True:
            drawn.append(len(drawn))
            yield drawn[-1]

    items = prefetch(endless(), 2)
    assert next(items) == 0
    time.sleep(0.05)
    assert len(drawn) <= 5  # no further ahead than asked
    items.close()
    assert prefetch_threads() == 0


@given(st.lists(st.integers(1, 30), min_size=1, max_size=40), st.integers(1, 60), st.integers(1, 12))
def test_micro_batches_are_as_full_as_tokens_and_samples_allow(lengths: list[int], tokens: int, size: int) -> None:
    samples = np.arange(len(lengths))[::-1]
    parts = cut(samples, np.array(lengths), size, tokens)
    assert np.concatenate(parts).tolist() == samples.tolist()
    for part, following in zip(parts, [*parts[1:], None], strict=True):
        total = sum(lengths[i] for i in part)
        assert len(part) <= size
        assert total <= tokens or len(part) == 1
        if following is not None:
            assert len(part) == size or total + lengths[following[0]] > tokens, "one more would have fitted"


def test_micro_batches_by_tokens_leave_the_updates_as_they_are() -> None:
    lengths = np.array([3, 9, 1, 7, 5, 8, 2, 6, 4, 10, 3, 3, 5])
    data = Rows(lengths.tolist())
    plain = Loader(data, batch_size=2, accumulation=3, seed=1)
    bounded = Loader(data, batch_size=2, accumulation=3, seed=1, batch_tokens=12)
    for one, other in zip(plain.groups(0), bounded.groups(0), strict=True):
        assert rows(one) == rows(other)
        assert all(lengths[batch.rows].sum() <= 12 for batch in other.batches)
        halved = bounded.split(other, 1)
        assert [len(batch) for batch in halved.batches] == [1] * len(rows(one))
