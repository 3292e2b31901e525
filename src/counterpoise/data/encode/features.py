"""Features of a frozen model: dense columns of numbers in place of the inputs that they were computed from."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray

from counterpoise.data.encode.base import Batch

STATES, LENGTHS = "_states", "_lengths"
"""A column ``x_states [N, L, D]`` holds sequences whose real lengths are ``x_lengths [N]``."""


@dataclass(frozen=True)
class FeatureSplit:
    """One split as features; a batch is one gather per column."""

    columns: Mapping[str, NDArray[Any]]
    """``[N, ...]`` each, by the name of the model's input; may be memory-mapped."""
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]
    lengths: NDArray[np.int64]
    """Of the inputs that they were computed from, ``[N]``: batches are then the same samples as without features."""

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """Every column at ``indices [B]``; sequences as long as the longest of the batch."""
        inputs = {name: torch.from_numpy(self._gather(name, indices)) for name in self.columns}
        return Batch(inputs, torch.from_numpy(self.labels[indices]), torch.from_numpy(self.rows[indices]))

    def _gather(self, name: str, indices: NDArray[np.int64]) -> NDArray[Any]:
        column = self.columns[name]
        if not name.endswith(STATES):
            return column[indices]
        longest = int(self.columns[name.removesuffix(STATES) + LENGTHS][indices].max(initial=0))
        return column[:, :longest][indices]


class FeatureWriter:
    """Collects columns batch by batch, in any order of samples, without holding them in memory.

    Args:
        folder: where columns are kept until :meth:`finish`.
        samples: ``N``.
    """

    def __init__(self, folder: Path, samples: int) -> None:
        self.folder = folder
        self.samples = samples
        self._columns: dict[str, NDArray[Any]] = {}

    def add(self, indices: NDArray[np.int64], values: Mapping[str, NDArray[Any]], widths: Mapping[str, int]) -> None:
        """Put a batch in its place.

        Args:
            indices: of its samples, ``[B]``.
            values: ``[B, ...]`` by name. Sequences may be shorter than their column: the rest is zero.
            widths: longest sequence of each ``x_states``, by name.
        """
        for name, value in values.items():
            if name not in self._columns:
                self._columns[name] = self._column(name, value, widths.get(name))
            if name in widths:
                self._columns[name][indices, : value.shape[1]] = value
            else:
                self._columns[name][indices] = value

    def _column(self, name: str, value: NDArray[Any], width: int | None) -> NDArray[Any]:
        sample = value.shape[1:] if width is None else (width, *value.shape[2:])
        path, shape = self.folder / f".{name}.npy", (self.samples, *sample)
        return np.lib.format.open_memmap(path, mode="w+", dtype=value.dtype, shape=shape)

    def finish(self, path: Path) -> None:
        """Write all columns as one Arrow file, and remove what they were kept in."""
        arrays, fields = [], []
        for name, column in self._columns.items():
            width = int(np.prod(column.shape[1:], dtype=np.int64))
            flat = pa.array(column.reshape(-1))
            arrays.append(pa.FixedSizeListArray.from_arrays(flat, width))
            shape = ",".join(map(str, column.shape[1:]))
            fields.append(pa.field(name, arrays[-1].type, metadata={"shape": shape}))
        schema = pa.schema(fields)
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.record_batch(arrays, schema=schema))
        del arrays
        for name in list(self._columns):
            del self._columns[name]
            (self.folder / f".{name}.npy").unlink()


def read_features(path: Path, samples: int) -> dict[str, NDArray[Any]]:
    """The columns of :meth:`FeatureWriter.finish`, memory-mapped.

    Raises:
        ValueError: if they are not those of ``samples`` samples, or sequences are longer than their column.
    """
    with pa.memory_map(str(path)) as file:
        table = pa.ipc.open_file(file).read_all()
    table.validate(full=True)
    columns = {}
    for field in table.schema:
        shape = [int(size) for size in (field.metadata or {})[b"shape"].split(b",") if size]
        chunks = table[field.name].chunks
        whole = len(chunks) == 1 and not chunks[0].null_count and min(shape, default=0) >= 0
        values = chunks[0].values.to_numpy(zero_copy_only=True) if whole else np.empty(0)
        if not whole or len(chunks[0]) != samples or len(values) != samples * math.prod(shape):
            raise ValueError(f"{path.name} does not hold {samples} samples of {field.name}")
        if values.dtype.kind != ("i" if field.name.endswith(LENGTHS) else "f"):
            raise ValueError(f"{path.name} holds {values.dtype} in {field.name}")
        columns[field.name] = values.reshape(samples, *shape)
    for name, column in columns.items():
        if name.endswith(STATES):
            lengths = columns[name.removesuffix(STATES) + LENGTHS]
            if lengths.min(initial=0) < 0 or lengths.max(initial=0) > column.shape[1]:
                raise ValueError(f"{path.name}: {name} is shorter than its sequences")
    return columns
