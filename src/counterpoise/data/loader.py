"""Batches in an order that is a function of (seed, epoch) alone; the position is two integers, epoch and consumed.

The unit is the group: all samples of one optimizer update, over all micro-batches and all processes. The order of
samples depends on the effective batch only, so splitting it into smaller micro-batches, or over more processes, leaves
every update's samples the same.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.encode.base import Batch, EncodedSplit, at_epoch
from counterpoise.updates import effective_batch, updates_per_epoch

T = TypeVar("T")

POOL_GROUPS = 50
"""Groups whose samples are sorted by length together. More means less padding, and less mixing of lengths."""


@dataclass(frozen=True)
class Group:
    """What one optimizer update learns from, as seen by one process."""

    batches: list[Batch]
    """Micro-batches, at least one."""
    samples: int
    """Samples of the group over all processes."""
    idle: bool = False
    """This process got no sample of a partial last group: its one batch only keeps it in step, at weight zero."""
    indices: NDArray[np.int64] | None = None
    """This process's samples in the split, where its loader knows them."""
    tokens: int | None = None
    """Of its largest micro-batch of several samples, 0 for none, where tokens rather than samples bound it."""
    split: EncodedSplit | None = None
    """With them: the split, in the form that it has in this epoch."""


class Loader:
    """Draws groups of micro-batches from an encoded split.

    Args:
        data: the encoded split.
        batch_size: samples in a micro-batch.
        accumulation: micro-batches per optimizer update.
        seed: decides the order, with the epoch's number.
        sample_weights: probability of each sample ``[N]`` for weighted sampling with replacement; ``None`` takes each
            sample once an epoch.
        bucket: sort by length within pools, so that batches hold samples of similar length.
        rank: this process.
        processes: number of processes.
        batch_tokens: a group is cut into micro-batches by tokens rather than by samples: as many samples as have this
            many together, at least one; ``None`` cuts by ``batch_size``.
    """

    def __init__(
        self,
        data: EncodedSplit,
        *,
        batch_size: int,
        accumulation: int = 1,
        seed: int = 0,
        sample_weights: NDArray[np.float64] | None = None,
        bucket: bool = True,
        rank: int = 0,
        processes: int = 1,
        batch_tokens: int | None = None,
    ) -> None:
        if not 0 <= rank < processes:
            raise ValueError(f"rank must be in [0, {processes}), but is {rank=}")
        if len(data.labels) == 0:
            raise ValueError("there is nothing to load: the split is empty")
        self.data = data
        self.batch_size = batch_size
        self.accumulation = accumulation
        self.seed = seed
        self.sample_weights = sample_weights
        self.bucket = bucket
        self.rank = rank
        self.processes = processes
        self.batch_tokens = batch_tokens
        self._lengths = np.asarray(data.lengths)  # computed once; a property of most encodings

    @property
    def effective_batch(self) -> int:
        """Samples per optimizer update."""
        return effective_batch(self.batch_size, self.accumulation, self.processes)

    @property
    def updates_per_epoch(self) -> int:
        """Optimizer updates in one epoch."""
        return updates_per_epoch(len(self), self.batch_size, self.accumulation, self.processes)

    def __len__(self) -> int:
        return len(self._lengths)

    def order(self, epoch: int) -> NDArray[np.int64]:
        """Sample indices of a whole epoch, ``[N]``; with weighted sampling some repeat."""
        n = len(self)
        rng = np.random.default_rng([self.seed, epoch])
        if self.sample_weights is not None:
            order = rng.choice(n, size=n, replace=True, p=self.sample_weights)
        else:
            order = rng.permutation(n)
        return self._bucketed(order, rng) if self.bucket else order

    def _bucketed(self, order: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        size = self.effective_batch
        whole = len(order) // size * size  # the partial group stays last, so that position is plain arithmetic
        pools = []
        for start in range(0, whole, size * POOL_GROUPS):
            pool = order[start : min(start + size * POOL_GROUPS, whole)]
            pools.append(pool[np.argsort(self._lengths[pool], kind="stable")])
        if not pools:
            return order
        groups = np.concatenate(pools).reshape(-1, size)
        return np.concatenate([groups[rng.permutation(len(groups))].reshape(-1), order[whole:]])

    def groups(self, epoch: int, consumed: int = 0) -> Iterator[Group]:
        """The groups of ``epoch``, from the one that begins at sample ``consumed`` on."""
        order, data = self.order(epoch), at_epoch(self.data, epoch)
        for start in range(consumed, len(order), self.effective_batch):
            yield self._group(data, order[start : start + self.effective_batch])

    def _group(self, data: EncodedSplit, samples: NDArray[np.int64]) -> Group:
        mine = samples[self.rank :: self.processes]
        if not len(mine):
            return Group([data.batch(samples[:1])], len(samples), idle=True)
        group = Group([], len(samples), indices=mine, split=data)
        size = self.batch_size if self.batch_tokens is None else len(mine)
        return self._cut(group, size, self.batch_tokens)

    def split(self, group: Group, size: int) -> Group:
        """The same group in micro-batches of at most ``size`` samples; where tokens bound them, of so many tokens."""
        assert group.indices is not None
        if self.batch_tokens is None:
            return self._cut(group, size, None)
        return self._cut(group, len(group.indices), size)

    def _cut(self, group: Group, size: int, tokens: int | None) -> Group:
        assert group.indices is not None
        data = group.split or self.data
        parts = cut(group.indices, self._lengths, size, tokens)
        several = [int(self._lengths[part].sum()) for part in parts if len(part) > 1]
        largest = None if tokens is None else max(several, default=0)
        return replace(group, batches=[data.batch(part) for part in parts], tokens=largest)


def cut(
    samples: NDArray[np.int64], lengths: NDArray[np.integer[Any]], size: int, tokens: int | None = None
) -> list[NDArray[np.int64]]:
    """Samples ``[B]``, in their order, in parts of at most ``size``, and of at most so many tokens together.

    Args:
        samples: indices into ``lengths``.
        lengths: tokens of every sample of the split, ``[N]``.
        size: most samples of a part.
        tokens: most tokens of a part of two samples or more; ``None`` does not look at them.
    """
    if tokens is None:
        return [samples[start : start + size] for start in range(0, len(samples), size)]
    ends = np.cumsum(lengths[samples])
    parts, start = [], 0
    while start < len(samples):
        before = int(ends[start - 1]) if start else 0
        fitting = int(np.searchsorted(ends, before + tokens, side="right"))
        end = min(max(fitting, start + 1), start + size)
        parts.append(samples[start:end])
        start = end
    return parts


def evaluation_batches(
    data: EncodedSplit, batch_size: int, batch_tokens: int | None = None
) -> Iterator[tuple[NDArray[np.int64], Batch]]:
    """Every sample once, longest first (what does not fit in memory fails at once), with its indices ``[B]``.

    Cut as :func:`cut` does.
    """
    lengths = np.asarray(data.lengths)
    for indices in cut(np.argsort(-lengths, kind="stable"), lengths, batch_size, batch_tokens):
        yield indices, data.batch(indices)


def prefetch(items: Iterator[T], depth: int) -> Generator[T, None, None]:
    """Draw up to ``depth`` items ahead in a thread, so that gathers overlap with the device's work.

    An exception in the thread is raised here, at its place in the sequence. Closing the iterator ends the thread.
    """
    if depth <= 0:
        yield from items
        return
    channel: queue.Queue[tuple[str, Any]] = queue.Queue(maxsize=depth)
    closed = threading.Event()

    def put(message: tuple[str, Any]) -> bool:
        while not closed.is_set():
            try:
                channel.put(message, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def produce() -> None:
        try:
            for item in items:
                if not put(("item", item)):
                    return
            put(("end", None))
        except BaseException as error:
            put(("error", error))

    thread = threading.Thread(target=produce, name="counterpoise-prefetch", daemon=True)
    thread.start()
    try:
        while True:
            kind, value = channel.get()
            if kind == "end":
                return
            if kind == "error":
                raise value
            yield value
    finally:
        closed.set()
        thread.join()
