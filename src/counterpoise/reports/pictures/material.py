"""What the pictures of a run are drawn from: its folder's files, read once."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.jsonio import to_plain
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
            UnusableError: if the file is damaged, or its answers are none of the run's classes.
        """
        for name, split in (("test", "test"), ("valid", "validation")):
            path = self.run.folder / f"predictions_{name}.parquet"
            if path.is_file():
                return _answers(path, split, self.run)
        return None


def material(folder: Path, result: Mapping[str, Any] | None = None) -> Material:
    """What a run folder holds, with this ``result`` where there is one; files may be missing."""
    run = read_run(folder)
    return Material(run if result is None else replace(run, result=to_plain(result)))


def _answers(path: Path, split: str, run: RunRecord) -> Answers | None:
    from counterpoise.reports.entries import temperature  # 0.2 s, with pyarrow
    from counterpoise.reports.predictions import read_predictions

    if not run.classes:
        return None
    found = read_predictions(path, len(run.classes))
    return Answers(split, run.classes, found.labels, found.predicted, found.probabilities, temperature(run))
