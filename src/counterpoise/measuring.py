"""What a model's answers over a split come to, and the file that keeps them: in a run, and ever after."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.records import Records
from counterpoise.engine.evaluation import Predictions
from counterpoise.jsonio import write_atomically
from counterpoise.metrics import by_criterion, calibration_error
from counterpoise.tracking.folder import predictions


def figures(found: Predictions, records: Records) -> dict[str, Any]:
    """All metrics of a split, and those of each criterion where records have one.

    Args:
        found: the answers, decided.
        records: the split.
    """
    measured = found.metrics(records.classes)
    if not records.has("criterion") or not found.finite:
        return measured
    criteria = [each or "" for each in _aligned(records, "criterion", found.rows)]
    by = by_criterion(criteria, found.labels, found.probabilities, records.classes, predicted=found.predicted)
    return {**measured, **by}


def calibration(raw: Predictions, decided: Predictions) -> dict[str, float]:
    """Expected calibration error of the probabilities of the predicted classes, ``before`` and ``after`` calibration.

    Both are NaN for probabilities that are none.
    """
    assert decided.predicted is not None
    if not raw.finite:
        return {"before": math.nan, "after": math.nan}
    tables = {"before": raw.probabilities, "after": decided.probabilities}
    return {name: calibration_error(raw.labels, decided.predicted, table) for name, table in tables.items()}


def keep(path: Path, found: Predictions, records: Records) -> None:
    """Write the answers of a split as Parquet, with the group of each record where records have one.

    Raises:
        OSError: if it cannot be written.
    """
    write_atomically(path, answers(found, records))


def answers(found: Predictions, records: Records) -> Callable[[IO[bytes]], None]:
    """What writes that file."""
    groups = {"group": _aligned(records, "group", found.rows)} if records.has("group") else {}
    return predictions(found.rows, found.labels, found.probabilities, predicted=found.predicted, **groups)


def groups_of(records: Records, rows: NDArray[np.int64]) -> NDArray[Any] | None:
    """The group of each of these rows, ``[N]``; a row without one is a group of its own. ``None`` without groups."""
    if not records.has("group"):
        return None
    given = _aligned(records, "group", rows)
    return np.array(
        [f"{row}: none" if group is None else f"group {group}" for row, group in zip(rows, given, strict=True)], str
    )


def _aligned(records: Records, column: str, rows: NDArray[np.int64]) -> list[Any]:
    of_row = dict(zip(records.rows.tolist(), records.table[column].to_pylist(), strict=True))
    return [of_row[row] for row in rows.tolist()]
