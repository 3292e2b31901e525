"""One job of a multirun, as its folder tells it, whatever state it is in."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from counterpoise.jsonio import read_json

METRICS = ("accuracy", "f1", "precision", "recall", "macro_f1", "roc_auc", "pr_auc")
"""Figures that tables show, beside the objective's."""
REPEATS = ("seed", "fold")
"""What varies between repetitions of one configuration."""

SPLIT = {"folds": int, "fold": int, "held_out": str, "records": int, "rows": str}
"""What a run's metadata must say of its folds: see :func:`counterpoise.data.folds.refold`."""


@dataclass(frozen=True)
class JobSummary:
    """One job of a multirun, as its folder tells it."""

    folder: Path
    status: str
    """``finished``, ``collapsed``, ``failed``, ``aborted`` or ``unfinished``."""
    overrides: tuple[str, ...] = ()
    score: float | None = None
    """The objective on the validation split."""
    maximise: bool = True
    """Whether a larger score is a better one."""
    objective: str | None = None
    """The objective's name."""
    figures: Mapping[str, float] = field(default_factory=dict)
    """On the test split where there is one, else on validation."""
    baselines: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The same of each baseline, on the same split."""
    message: str = ""
    protocol: bool | None = None
    """Whether it met its own criteria; ``None`` if it has none."""
    seed: int | None = None
    fold: int | None = None
    """The part of the data that it held out; ``None`` if it has the data set's own splits."""
    split: Mapping[str, Any] = field(default_factory=dict)
    """How the data were dealt into folds, and hashes of them: the same for all folds of one configuration."""
    classes: tuple[str, ...] = ()

    @property
    def configuration(self) -> tuple[str, ...]:
        """What this job shares with those that differ in the seed or the fold alone."""
        return tuple(item for item in self.overrides if item.lstrip("+").partition("=")[0] not in REPEATS)


def read_job(folder: Path) -> JobSummary:
    """Read a job's folder, whatever state it is in."""
    failure = _read(folder / "failure.json")  # of the latest attempt: it outweighs the result of an earlier one
    metadata = _read(folder / "training_metadata.json")
    overrides = tuple(metadata.get("overrides") or failure.get("overrides") or ())
    result = _read(folder / "result.json")
    repeat = _repeat(overrides, metadata, result)
    if failure:
        message = str(failure.get("message") or _mapping(failure, "verdict").get("reason", ""))
        status = str(failure.get("status", "failed"))
        return JobSummary(folder, status, overrides, message=message.strip(), protocol=_passed(failure), **repeat)
    if not result:
        return JobSummary(folder, "unfinished", overrides, **repeat)
    objective = _mapping(result, "objective")
    names = dict.fromkeys([*METRICS, str(objective.get("metric"))])
    split = "test" if result.get("test") else "valid"
    status = str(result.get("status", "finished"))
    baselines = _mapping(result, "baselines")
    return JobSummary(
        folder,
        status,
        overrides,
        score=objective.get("score"),
        maximise=objective.get("maximise") is not False,
        objective=objective.get("metric"),
        figures=_numbers(_mapping(result, split), names),
        baselines={name: _numbers(_mapping(_mapping(baselines, name), split), names) for name in baselines},
        message="" if status == "finished" else str(_mapping(result, "ended_by").get("reason", "")),
        protocol=_passed(result),
        **repeat,
    )


def _repeat(overrides: tuple[str, ...], metadata: Mapping[str, Any], result: Mapping[str, Any]) -> dict[str, Any]:
    """Seed, fold, and what the fold is of; a job that failed early has but its overrides."""
    split = _mapping(_mapping(metadata, "data_notes"), "split")
    if split.get("kind") != "folds" or not all(isinstance(split.get(name), kind) for name, kind in SPLIT.items()):
        split = {}
    given = dict(item.lstrip("+").partition("=")[::2] for item in overrides)
    seed, fold = (_integer(given.get(name)) for name in REPEATS)
    return {
        "seed": result.get("seed", seed),
        "fold": split.get("fold", fold),
        "split": {name: value for name, value in split.items() if name != "fold"},
        "classes": tuple(metadata.get("classes") or ()),
    }


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None


def _numbers(figures: Mapping[str, Any], names: Iterable[str]) -> dict[str, float]:
    return {name: figures[name] for name in names if isinstance(figures.get(name), int | float)}


def _passed(content: Mapping[str, Any]) -> bool | None:
    protocol = content.get("protocol")
    return protocol.get("passed") is True if isinstance(protocol, Mapping) else None


def _mapping(content: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """An entry that is a mapping; an empty one if it is not there, or damaged."""
    value = content.get(name)
    return value if isinstance(value, Mapping) else {}


def _read(path: Path) -> dict[str, Any]:
    try:
        content = read_json(path)
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def collect(sweep: Path) -> list[Path]:
    """The folders of all jobs below a multirun's folder, whichever command they belong to."""
    marks = ("training_metadata.json", "failure.json")
    return in_order({path.parent for mark in marks for path in sweep.glob(f"*/{mark}")})


def in_order(folders: Iterable[Path]) -> list[Path]:
    """Folders in the natural order of their names."""
    return sorted(folders, key=lambda folder: _natural(folder.name))


def _natural(name: str) -> list[tuple[int, float, str]]:
    """Sort key by which ``seed_7`` stands before ``seed_42``, and ``lr_5e-05`` before ``lr_0.001``."""
    return [_number_or_text(part) for part in re.split("[_,=]", name)]


def _number_or_text(part: str) -> tuple[int, float, str]:
    try:
        number = float(part)
    except ValueError:
        return 1, 0.0, part
    return (0, number, "") if math.isfinite(number) else (1, 0.0, part)
