"""The loop on a user's own loaders: any iterable of batches becomes groups of micro-batches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sized
from dataclasses import replace
from itertools import count, islice
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoise.data.encode.base import Batch
from counterpoise.data.loader import Group
from counterpoise.engine.rng import seed_draw
from counterpoise.errors import SMALLER_RUN, OutOfMemoryError
from counterpoise.updates import updates_per_epoch


class GroupSource(Protocol):
    """What the loop draws from: :class:`counterpoise.data.loader.Loader`, or :class:`ForeignLoader` around another."""

    @property
    def updates_per_epoch(self) -> int:
        """Optimizer updates in one epoch."""

    def groups(self, epoch: int, consumed: int = 0) -> Iterator[Group]:
        """The groups of ``epoch``, from the one that begins at sample ``consumed`` on."""

    def split(self, group: Group, size: int) -> Group:
        """The same group in micro-batches of at most ``size`` samples, or tokens where they bound micro-batches."""


def as_batch(item: Any, first_row: int = 0) -> Batch:
    """A batch from what loaders commonly yield: a :class:`Batch`, ``(inputs..., labels)``, a mapping with ``labels``.

    Raises:
        TypeError: for anything else.
    """
    if isinstance(item, Batch):
        return item
    if isinstance(item, Mapping) and "labels" in item:
        inputs: Any = {name: value for name, value in item.items() if name not in ("labels", "rows")}
        labels, rows = item["labels"], item.get("rows")
    elif isinstance(item, tuple | list) and len(item) >= 2:
        inputs, labels, rows = tuple(item[:-1]), item[-1], None
    else:
        raise TypeError(f"a batch must be a Batch, (inputs, labels) or a mapping with 'labels', but is {type(item)}")
    labels = torch.as_tensor(labels).long()
    numbers = torch.arange(first_row, first_row + len(labels)) if rows is None else torch.as_tensor(rows)
    return Batch(inputs, labels, numbers)


class ForeignLoader:
    """Groups from any sized iterable of batches, e.g. a ``torch.utils.data.DataLoader``.

    A sampler with ``set_epoch`` is told the epoch, and the global generators of Python, NumPy and PyTorch are seeded
    before every draw: a shuffling ``DataLoader`` without a generator of its own has an order that is a function of
    (seed, epoch). On resume the batches that were consumed are drawn again and thrown away.

    Args:
        loader: yields what :func:`as_batch` takes. With several processes each has its own share of the samples, in
            equal parts (``DistributedSampler``).
        accumulation: micro-batches per optimizer update.
        seed: decides what the global generators give.
        processes: number of processes.
    """

    def __init__(self, loader: Iterable[Any], accumulation: int = 1, seed: int = 0, processes: int = 1) -> None:
        if not isinstance(loader, Sized):
            raise TypeError("the training loader must have a length: schedules and progress need it")
        if len(loader) == 0:
            raise ValueError("there is nothing to train on: the training loader is empty")
        self.loader = loader
        self.accumulation = accumulation
        self.seed = seed
        self.processes = processes

    @property
    def updates_per_epoch(self) -> int:
        """Optimizer updates in one epoch."""
        assert isinstance(self.loader, Sized)
        return updates_per_epoch(len(self.loader), 1, self.accumulation)

    def groups(self, epoch: int, consumed: int = 0) -> Iterator[Group]:
        """The groups of ``epoch``, from the one that begins at sample ``consumed`` on."""
        for owner in (self.loader, getattr(self.loader, "sampler", None), getattr(self.loader, "batch_sampler", None)):
            set_epoch = getattr(owner, "set_epoch", None)
            if set_epoch is not None:
                set_epoch(epoch)
        seed_draw(self.seed, epoch, 0)
        items = iter(self.loader)
        seen = 0
        for number in count():
            seed_draw(self.seed, epoch, number)
            group = [as_batch(item) for item in islice(items, self.accumulation)]
            if not group:
                return
            samples = sum(len(batch) for batch in group) * self.processes
            if seen >= consumed:
                yield Group(group, samples)
            seen += samples

    def split(self, group: Group, size: int) -> Group:
        """The same group in micro-batches of at most ``size`` samples.

        Raises:
            OutOfMemoryError: if a batch holds more than tensors that have its samples in their first dimension.
        """
        return replace(group, batches=[part for batch in group.batches for part in split_batch(batch, size)])


def split_batch(batch: Batch, size: int) -> list[Batch]:
    """A batch cut into parts of at most ``size`` samples; raises as :meth:`ForeignLoader.split`."""

    def part(value: Any, start: int) -> Any:
        if not isinstance(value, torch.Tensor) or value.ndim == 0 or len(value) != len(batch):
            shape = tuple(value.shape) if isinstance(value, torch.Tensor) else type(value).__name__
            reason = f"an input ({shape}) does not have the {len(batch)} samples first"
            raise OutOfMemoryError("training, and the batch cannot be made smaller", reason, SMALLER_RUN)
        return value[start : start + size]

    def inputs(start: int) -> Any:
        if isinstance(batch.inputs, Mapping):
            return {name: part(value, start) for name, value in batch.inputs.items()}
        return tuple(part(value, start) for value in batch.inputs)

    starts = range(0, len(batch), size)
    return [Batch(inputs(start), part(batch.labels, start), part(batch.rows, start)) for start in starts]


class ForeignBatches:
    """A user's validation loader as batches with their indices; can be iterated again if the loader can."""

    def __init__(self, loader: Iterable[Any]) -> None:
        self.loader = loader

    def __iter__(self) -> Iterator[tuple[NDArray[np.int64], Batch]]:
        start = 0
        for item in self.loader:
            batch = as_batch(item, start)
            yield np.arange(start, start + len(batch)), batch
            start += len(batch)
