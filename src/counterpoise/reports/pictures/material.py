"""What the pictures of a run are drawn from: its folder's files, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.reports.reading import finite, number
from counterpoise.reports.runs import RunRecord, read_run

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Answers:
    """What a run predicts of a split."""

    split: str
    """``test`` or ``validation``."""
    classes: tuple[str, ...]
    labels: Ints
    """``[N]``"""
    predicted: Ints
    """``[N]``"""
    probabilities: Floats
    """``[N, C]``, as the run answers: after temperature scaling."""
    temperature: float = 1.0

    @property
    def raw(self) -> Floats:
        """``[N, C]``: before temperature scaling, ``softmax(T · log p)``."""
        if self.temperature == 1.0:
            return self.probabilities
        scaled = self.temperature * np.log(np.clip(self.probabilities, np.finfo(np.float64).tiny, None))
        powers = np.exp(scaled - scaled.max(axis=1, keepdims=True))
        return np.asarray(powers / powers.sum(axis=1, keepdims=True))

    @property
    def where(self) -> str:
        """The split and its size, for titles."""
        return f"{self.split} split, {len(self.labels):,} rows"


@dataclass(frozen=True)
class Material:
    """A run folder, for its pictures."""

    run: RunRecord

    @cached_property
    def answers(self) -> Answers | None:
        """Of the test split where there is one, else of validation; ``None`` where neither was written.

        Raises:
            OSError, ValueError: if the file is damaged.
        """
        for name, split in (("test", "test"), ("valid", "validation")):
            path = self.run.folder / f"predictions_{name}.parquet"
            if path.is_file():
                return _answers(path, split, self.run)
        return None


def material(folder: Path) -> Material:
    """What a run folder holds; files may be missing."""
    return Material(read_run(folder))


def _answers(path: Path, split: str, run: RunRecord) -> Answers | None:
    import pyarrow.parquet as pq  # 0.1 s

    table = pq.read_table(path)  # raises ArrowInvalid, a ValueError
    probabilities = np.array(table["probabilities"].to_pylist(), np.float64)
    labels = table["label"].to_numpy().astype(np.int64)
    if not len(labels) or probabilities.ndim != 2 or not np.isfinite(probabilities).all():
        return None
    count = probabilities.shape[1]
    classes = run.classes if len(run.classes) == count else tuple(str(place) for place in range(count))
    known = "predicted" in table.column_names
    predicted = table["predicted"].to_numpy().astype(np.int64) if known else probabilities.argmax(axis=1)
    for name, column in (("label", labels), ("predicted", predicted)):
        if column.min() < 0 or column.max() >= count:
            raise ValueError(f"{path.name}: {name} is none of {count} classes")
    return Answers(split, classes, labels, predicted, probabilities, temperature_of(run.result))


def temperature_of(result: Mapping[str, Any]) -> float:
    """By which the logits of a run were divided; 1 where it says nothing."""
    found = number(result, "decision", "temperature")
    return found if finite(found) and found > 0 else 1.0
