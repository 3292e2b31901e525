"""Run folders of a k-fold multirun, made up: what the summary reads of them, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.folds import rows_fingerprint
from counterpoise.jsonio import write_json
from counterpoise.metrics import classification_metrics
from counterpoise.tracking.folder import write_predictions

CLASSES = ("no", "yes")
ROWS = 23
"""Records of the data set; their numbers are those from 100 on, every other one."""


def rows_of(fold: int, folds: int) -> NDArray[np.int64]:
    """Those that a fold holds out; folds differ in size."""
    return np.arange(100, 100 + 2 * ROWS, 2)[fold::folds]


def predictions(seed: int, fold: int, folds: int, classes: int = 2) -> tuple[NDArray[Any], ...]:
    """Rows ``[N]``, labels ``[N]`` and probabilities ``[N, C]`` of one run."""
    rows = rows_of(fold, folds)
    labels = rows // 2 % 3 % classes
    generator = np.random.default_rng([seed, fold])
    table = generator.dirichlet(np.ones(classes), len(rows)) + 0.4 * np.eye(classes)[labels]
    return rows, labels, table / table.sum(axis=1, keepdims=True)


def fold_run(
    sweep: Path,
    fold: int,
    *,
    folds: int = 4,
    seed: int | None = None,
    overrides: Sequence[str] = (),
    held_out: str = "test",
    metric: str = "f1",
    **facts: Any,
) -> Path:
    """The folder of one finished run; ``facts`` are put into ``data_notes["split"]``."""
    varying = [f"fold={fold}", *([f"seed={seed}"] if seed is not None else [])]
    folder = sweep / ",".join([*overrides, *varying]).replace("=", "_")
    rows, labels, probabilities = predictions(seed or 42, fold, folds)
    figures = classification_metrics(labels, probabilities, CLASSES)
    all_rows = np.concatenate([rows_of(each, folds) for each in range(folds)])
    split = {
        "kind": "folds",
        "by": "class",
        "folds": folds,
        "fold": fold,
        "held_out": held_out,
        "seed": 0,
        "records": ROWS,
        "data": "abc",
        "rows": rows_fingerprint(all_rows),
        **facts,
    }
    write_json(
        folder / "training_metadata.json",
        {
            "overrides": ["sweep=kfold", *overrides, *varying],
            "classes": CLASSES,
            "data_notes": {"split": split},
        },
    )
    majority = classification_metrics(labels, np.tile([0.6, 0.4], (len(rows), 1)), CLASSES)
    measured = {"valid": figures} if held_out == "valid" else {"valid": majority, "test": figures}
    result = {
        "status": "finished",
        "seed": seed or 42,
        "objective": {"metric": metric, "score": 0.5, "maximise": True},
        "baselines": {"majority": dict.fromkeys(measured, majority)},
        **measured,
    }
    write_json(folder / "result.json", result)
    write_predictions(folder / f"predictions_{held_out}.parquet", rows, labels, probabilities)
    return folder


def figure(seed: int, fold: int, name: str, folds: int = 4) -> float:
    """What one run measures."""
    _, labels, probabilities = predictions(seed, fold, folds)
    return float(classification_metrics(labels, probabilities, CLASSES)[name])


def pooled_figure(seed: int, name: str, folds: int = 4) -> float:
    """One figure over the rows of all folds."""
    parts = [predictions(seed, fold, folds) for fold in range(folds)]
    labels, probabilities = (np.concatenate([part[index] for part in parts]) for index in (1, 2))
    return float(classification_metrics(labels, probabilities, CLASSES)[name])
