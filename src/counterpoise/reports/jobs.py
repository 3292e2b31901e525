"""One job of a multirun, as its folder tells it, whatever state it is in."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from counterpoise.metrics import Standing, standing
from counterpoise.reports.folders import natural
from counterpoise.reports.reading import find, finite, number, section, whole, word
from counterpoise.reports.runs import RunRecord, read_run

METRICS = ("accuracy", "f1", "precision", "recall", "macro_f1", "roc_auc", "pr_auc")
"""Figures that tables show, beside the objective's."""
REPEATS = ("seed", "fold")
"""What varies between repetitions of one configuration."""

MOST_DIGITS = 18
"""Of a seed or fold; more do not fit into 64 bits."""


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
    standing: Standing = field(default_factory=Standing)
    """The same with the tie breaker: what jobs are chosen by."""
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
        return tuple(item for item in self.overrides if key_of(item) not in REPEATS)


def key_of(override: str) -> str:
    """The key that an override sets, adds (``+``) or takes away (``~``)."""
    return override.lstrip("+~").partition("=")[0]


def read_job(folder: Path) -> JobSummary:
    """Read a job's folder, whatever state it is in."""
    return job_of(read_run(folder, course=False))


def job_of(record: RunRecord) -> JobSummary:
    """What a record says as one job of a multirun. Of a latest attempt that failed, no figures of an earlier one."""
    status = record.status
    facts: dict[str, Any] = {"message": _why(record), "protocol": _passed(record.protocol), **_repeat(record)}
    if record.failure or not record.result:
        return JobSummary(record.folder, status, record.overrides, **facts)
    result = record.result
    objective = section(result, "objective")
    metric, score = word(objective, "metric") or None, number(objective, "score")
    maximise, breaker = objective.get("maximise") is not False, section(objective, "tie_breaker")
    names = dict.fromkeys([*METRICS, *([] if metric is None else [metric])])
    split = "test" if result.get("test") else "valid"
    baselines = section(result, "baselines")
    return JobSummary(
        record.folder,
        status,
        record.overrides,
        score=score if finite(score) else None,
        maximise=maximise,
        standing=standing(score, number(breaker, "score"), maximise=maximise, tie_breaker=word(breaker, "metric")),
        objective=metric,
        figures=_numbers(section(result, split), names),
        baselines={name: _numbers(section(baselines, name, split), names) for name in baselines},
        **facts,
    )


def _why(record: RunRecord) -> str:
    """Why it did not finish, line by line: a message may name several problems."""
    _, message = find(record.failure, "message")
    told = message.strip() if isinstance(message, str) else ""
    return "" if record.status == "finished" else told or record.message or record.ended_by


def _repeat(record: RunRecord) -> dict[str, Any]:
    """Seed, fold, and what the fold is of; a job that failed early has but its overrides."""
    split = record.fold_facts
    given = {key_of(item): item.partition("=")[2] for item in record.overrides}
    seed, fold = (_integer(given.get(name)) for name in REPEATS)
    told = None if record.failure else whole(record.result, "seed")
    return {
        "seed": next((each for each in (told, seed, record.seed) if each is not None), None),
        "fold": split.get("fold", fold),
        "split": {name: value for name, value in split.items() if name != "fold"},
        "classes": record.classes,
    }


def _integer(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() and len(text) <= MOST_DIGITS else None


def _numbers(figures: Mapping[str, Any], names: Iterable[str]) -> dict[str, float]:
    return {name: figures[name] for name in names if isinstance(figures.get(name), int | float)}


def _passed(protocol: Mapping[str, Any]) -> bool | None:
    return protocol.get("passed") is True if protocol else None


def collect(sweep: Path) -> list[Path]:
    """The folders of all jobs below a multirun's folder, whichever command they belong to."""
    marks = ("training_metadata.json", "failure.json")
    return in_order({path.parent for mark in marks for path in sweep.glob(f"*/{mark}")})


def in_order(folders: Iterable[Path]) -> list[Path]:
    """Folders in the natural order of their names."""
    return sorted(folders, key=lambda folder: natural(folder.name))
