"""Predictions that runs leave behind, read and checked: what a split's rows truly are, and what was answered."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from counterpoise.allocation import is_out_of_memory
from counterpoise.errors import first_line
from counterpoise.files import open_regular
from counterpoise.metrics import predicted_classes

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

KEYS = ("row", "label")
SUM_TOLERANCE = 0.01
"""Probabilities may have been kept in half precision."""


MOST_NUMBERS = 1 << 28
"""That a file may hold, over all its columns: two gigabytes of them."""


class UnusableError(Exception):
    """Why a file of predictions cannot be used, in one sentence."""


@dataclass(frozen=True)
class Predictions:
    """Answers for the rows of one split, in the order of ``rows``."""

    rows: Ints
    """Row numbers ``[N]``, ascending, each once."""
    labels: Ints
    """Class indices ``[N]``."""
    probabilities: Floats
    """``[N, C]``."""
    predicted: Ints
    """Class indices ``[N]``; the most probable one where the file does not say."""
    groups: NDArray[Any] | None = None
    """The group of each row ``[N]``, as strings; ``None`` without."""

    @cached_property
    def fingerprint(self) -> str:
        """Hash of rows and labels."""
        return hashlib.blake2b(self.rows.tobytes() + self.labels.tobytes(), digest_size=16).hexdigest()


def read_predictions(path: Path, n_classes: int) -> Predictions:
    """The predictions of a run for a split.

    Raises:
        UnusableError: if the file is missing or damaged, or its answers are no probabilities of these classes.
    """
    with _readable(path):
        return _predictions(_read(path), path, n_classes)


def _predictions(table: pa.Table, path: Path, n_classes: int) -> Predictions:
    rows, labels = _keys(table, path, n_classes)
    order = np.argsort(rows, kind="stable")
    probabilities = _probabilities(table, "probabilities", path, n_classes)
    given = table.column_names
    predicted = _integers(table, "predicted", path) if "predicted" in given else predicted_classes(probabilities)
    if predicted.min(initial=0) < 0 or predicted.max(initial=0) >= n_classes:
        raise UnusableError(f"{path}: predicted classes must be from 0 to {n_classes - 1}.")
    groups = _groups(table["group"]) if "group" in given else None
    members = None if groups is None else groups[order]
    return Predictions(rows[order], labels[order], probabilities[order], predicted[order], members)


def _groups(column: pa.ChunkedArray) -> NDArray[Any] | None:
    """The group of each row ``[N]``; a row without one is a group of its own. ``None`` where none has one."""
    values = column.to_pylist()
    if all(value is None for value in values):
        return None
    names = [f"{place}: none" if value is None else f"group {value}" for place, value in enumerate(values)]
    return np.array(names, str)


def read_baselines(path: Path, n_classes: int) -> dict[str, Predictions]:
    """The baselines' predictions for a split, by name; raises as :func:`read_predictions`."""
    with _readable(path):
        table = _read(path)
        rows, labels = _keys(table, path, n_classes)
        order = np.argsort(rows, kind="stable")
        found = {}
        for name in table.column_names:
            if name not in KEYS:
                answers = _probabilities(table, name, path, n_classes)[order]
                found[name] = Predictions(rows[order], labels[order], answers, predicted_classes(answers))
        return found


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Whatever Arrow or NumPy raise at columns of odd types is that the file cannot be used."""
    try:
        yield
    except (OSError, ValueError, TypeError, LookupError, ArithmeticError, AttributeError, NotImplementedError) as error:
        raise UnusableError(f"{path} cannot be used: {first_line(error)}.") from error


def _read(path: Path) -> pa.Table:
    try:
        with open_regular(path) as stream, pq.ParquetFile(stream) as file:
            _check_size(file.metadata, path)
            table = file.read()
    except FileNotFoundError as error:
        raise UnusableError(f"{path} is missing.") from error
    twice = [name for name, count in Counter(table.column_names).items() if count > 1]
    if twice:
        raise UnusableError(f"{path} has column {twice[0]} twice.")
    return table


def _check_size(metadata: pq.FileMetaData, path: Path) -> None:
    """Raises ``UnusableError`` for more numbers than any split has: encoded as one that repeats they fit anywhere."""
    numbers = sum(
        group.column(place).num_values
        for group in map(metadata.row_group, range(metadata.num_row_groups))
        for place in range(group.num_columns)
    )
    if metadata.num_rows > MOST_NUMBERS or numbers > MOST_NUMBERS:
        raise UnusableError(f"{path} says that it holds {max(metadata.num_rows, numbers):,} numbers.")


def _keys(table: pa.Table, path: Path, n_classes: int) -> tuple[Ints, Ints]:
    rows, labels = (_integers(table, name, path) for name in KEYS)
    if not len(rows):
        raise UnusableError(f"{path} holds no rows.")
    if len(np.unique(rows)) < len(rows):
        raise UnusableError(f"{path} holds a row twice.")
    if labels.min() < 0 or labels.max() >= n_classes:
        raise UnusableError(f"{path}: labels must be from 0 to {n_classes - 1}.")
    return rows, labels


def _integers(table: pa.Table, name: str, path: Path) -> Ints:
    column = _column(table, name, path)
    if not pa.types.is_integer(column.type):
        raise UnusableError(f"{path}: column {name} holds no whole numbers.")
    values: Ints = column.to_numpy().astype(np.int64)
    return values


def _probabilities(table: pa.Table, name: str, path: Path, n_classes: int) -> Floats:
    column = _column(table, name, path)
    inner = getattr(column.type, "value_type", pa.null())
    if not (pa.types.is_floating(inner) or pa.types.is_integer(inner)):
        raise UnusableError(f"{path}: column {name} holds no lists of numbers.")
    try:
        lengths = pc.unique(pc.list_value_length(column)).to_pylist() if len(column) else [n_classes]
        flat = pc.list_flatten(column).to_numpy().astype(np.float64)
    except (pa.ArrowException, TypeError, ValueError, NotImplementedError) as error:
        if is_out_of_memory(error):
            raise
        raise UnusableError(f"{path}: column {name} holds no lists of numbers.") from error
    if lengths != [n_classes]:
        raise UnusableError(f"{path}: expected {n_classes} probabilities in each row of {name}.")
    answers: Floats = flat.reshape(-1, n_classes)
    if not (answers.min() >= 0 and np.abs(answers.sum(axis=1) - 1).max() <= SUM_TOLERANCE):  # NaN fails too
        raise UnusableError(f"{path}: the rows of {name} are no probabilities.")
    return answers


def _column(table: pa.Table, name: str, path: Path) -> pa.ChunkedArray:
    if name not in table.column_names:
        raise UnusableError(f"{path} has no column {name}.")
    column = table[name]
    if column.null_count:
        raise UnusableError(f"{path}: column {name} has gaps.")
    return column


def average(members: Sequence[Predictions]) -> Floats:
    """The mean of their probabilities, ``[N, C]``; all have the same rows."""
    return np.asarray(np.mean([member.probabilities for member in members], axis=0))
