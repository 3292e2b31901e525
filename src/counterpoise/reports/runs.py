"""Run folders as typed records, whatever state they are in."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from counterpoise.config.schema import parse
from counterpoise.errors import Problem, UserError
from counterpoise.events import Health
from counterpoise.files import read_text
from counterpoise.jsonio import parse_json
from counterpoise.metrics import BestEpoch, Objective, ObjectiveConfig, Standing, standing
from counterpoise.reports.reading import find, finite, items, load, number, section, whole, word

SPLIT = {"folds": int, "fold": int, "held_out": str, "records": int, "rows": str}
"""What a run's metadata must say of its folds: see :func:`counterpoise.data.folds.refold`."""

MOST_FOLDS = 10_000
"""What says that it has more is damaged."""


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One epoch. A figure is ``None`` if it is not recorded, and NaN if it was no number."""

    number: int
    """One-based, as it is shown."""
    train_loss: float | None = None
    valid_loss: float | None = None
    score: float | None = None
    """The objective's."""
    grad_norm: float | None = None
    """Mean over the epoch's updates, before clipping."""
    lr: float | None = None
    """Of the last update."""
    stepped: int = 1
    """Updates that the gradient scaler did not skip."""
    seconds: float | None = None
    """Wall time, evaluation included."""
    valid: Mapping[str, Any] = field(default_factory=dict)
    """All validation metrics."""
    health: str = Health.SOUND.word
    """What the guards thought of the model."""


@dataclass(frozen=True, kw_only=True)
class UpdateRecord:
    """One logged update; figures as in :class:`EpochRecord`."""

    update: int
    epoch: int
    """One-based."""
    loss: float | None = None
    lr: float | None = None
    grad_norm: float | None = None
    skipped: int = 0
    """Updates skipped so far."""


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """All that a run folder says about how the run went."""

    folder: Path
    metadata: Mapping[str, Any] = field(default_factory=dict)
    epochs: tuple[EpochRecord, ...] = ()
    updates: tuple[UpdateRecord, ...] = ()
    result: Mapping[str, Any] = field(default_factory=dict)
    failure: Mapping[str, Any] = field(default_factory=dict)
    collapse: Mapping[str, Any] = field(default_factory=dict)
    """``collapse_report.json``."""
    unreadable: tuple[str, ...] = ()
    """One sentence per file that is damaged."""

    @property
    def config(self) -> Mapping[str, Any]:
        """The resolved config."""
        return section(self.metadata, "config")

    @property
    def plan(self) -> Mapping[str, Any]:
        """The numbers that were derived from it."""
        return section(self.metadata, "plan")

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names, in order; empty if unknown."""
        _, names = find(self.metadata, "classes")
        return tuple(map(str, names)) if isinstance(names, list) else ()

    @property
    def status(self) -> str:
        """``finished``, ``collapsed``, ``aborted``, ``failed`` or ``unfinished``; the latest attempt decides."""
        if self.failure:
            return word(self.failure, "status") or "failed"
        return (word(self.result, "status") or "finished") if self.result else "unfinished"

    @property
    def message(self) -> str:
        """Why it failed; empty if it did not."""
        return word(self.failure, "message") or word(self.failure, "verdict", "reason")

    @property
    def ended_by(self) -> str:
        """Why it ended before its last epoch, as ``result.json`` says; empty if it did not, or failed."""
        return "" if self.failure else word(self.result, "ended_by", "reason")

    @property
    def overrides(self) -> tuple[str, ...]:
        """As they were typed."""
        _, typed = find(self.metadata or self.failure, "overrides")
        return tuple(map(str, typed)) if isinstance(typed, list) else ()

    @property
    def fold_facts(self) -> Mapping[str, Any]:
        """Which fold of what was held out; empty for the splits of the source itself, and where not all is said."""
        facts = section(self.metadata, "data_notes", "split")
        all_there = all(isinstance(facts.get(name), kind) for name, kind in SPLIT.items())
        if facts.get("kind") != "folds" or not all_there:
            return {}
        return facts if 0 <= facts["fold"] < facts["folds"] <= MOST_FOLDS else {}

    @property
    def fold(self) -> int | None:
        """The fold that it held out; ``None`` for the splits of the source itself."""
        return whole(self.fold_facts, "fold") if self.fold_facts else whole(self.config, "fold")

    @property
    def protocol(self) -> Mapping[str, Any]:
        """The criteria and whether they were met, as the latest attempt left them; empty if none were asked."""
        return section(self.failure or self.result, "protocol")

    @property
    def model(self) -> str:
        """The model's class."""
        return word(self.result, "model") or _last_part(word(self.config, "model", "_target_"))

    @property
    def data(self) -> str:
        """The data set's name, or the source's class."""
        return word(self.result, "data") or _last_part(word(self.config, "data", "_target_"))

    @property
    def seed(self) -> int | None:
        """The run's seed."""
        return whole(self.config, "seed")

    @cached_property
    def objective(self) -> Objective | None:
        """The figure that decides; ``None`` if neither config nor result name one that is known."""
        problems: list[Problem] = []
        node = section(self.config, "objective") or {"metric": word(self.result, "objective", "metric")}
        config = parse(ObjectiveConfig, node, "objective", problems)
        return None if problems else Objective(config)

    @property
    def maximise(self) -> bool:
        """Whether a larger score is better."""
        if self.objective is not None:
            return self.objective.maximise
        return find(self.result, "objective", "maximise")[1] is not False

    def score_of(self, figures: Mapping[str, Any]) -> float | None:
        """The objective's value of a split's metrics; ``None`` if they do not define it."""
        try:
            score = None if self.objective is None else self.objective.score(figures)
        except (UserError, TypeError, ValueError, OverflowError):
            return None
        return score if finite(score) else None

    @cached_property
    def scores(self) -> tuple[float, ...]:
        """Every epoch's score with its sign turned so that larger is better; minus infinity where undefined."""
        sign = 1 if self.maximise else -1
        return tuple(sign * epoch.score if finite(epoch.score) else -float("inf") for epoch in self.epochs)

    @cached_property
    def best(self) -> int | None:
        """Index of the best epoch, chosen as the run itself chooses it; ``None`` if none can be."""
        best = BestEpoch()
        for place, epoch in enumerate(self.epochs, 1):
            best.weigh(place, self._standing(epoch), Health.of(epoch.health))
        return None if best.epoch is None else best.epoch - 1

    def _standing(self, epoch: EpochRecord) -> Standing:
        if self.objective is None:
            return standing(epoch.score, None, maximise=self.maximise, tie_breaker="")
        return self.objective.standing_of(math.nan if epoch.score is None else epoch.score, epoch.valid)


def _last_part(target: str) -> str:
    return target.rsplit(".", 1)[-1]


def read_run(folder: Path, *, course: bool = True) -> RunRecord:
    """Read a run folder; never raises. Files may be missing; those that are damaged are named in ``unreadable``.

    Args:
        folder: the run's.
        course: read how it went too: ``epochs``, ``updates`` and ``collapse``. That takes ten times as long.
    """
    problems: list[str] = []
    metadata, result, failure = (
        load(folder / name, problems) for name in ("training_metadata.json", "result.json", "failure.json")
    )
    history, collapse = (
        load(folder / name, problems) if course else {} for name in ("training_history.json", "collapse_report.json")
    )
    return RunRecord(
        folder=folder,
        metadata=metadata,
        epochs=tuple(_epoch(node, index) for index, node in enumerate(items(history, "epochs"))),
        updates=tuple(_updates(folder / "metrics.jsonl", problems)) if course else (),
        result=result,
        failure=failure,
        collapse=collapse,
        unreadable=tuple(problems),
    )


def _epoch(node: Mapping[str, Any], index: int) -> EpochRecord:
    given, stepped = whole(node, "epoch"), whole(node, "stepped")
    return EpochRecord(
        number=index + 1 if given is None else given,
        valid_loss=number(node, "valid", "loss"),
        stepped=1 if stepped is None else stepped,
        valid=section(node, "valid"),
        health=word(node, "health"),
        **{name: number(node, name) for name in ("train_loss", "score", "grad_norm", "lr", "seconds")},
    )


def _updates(path: Path, problems: list[str]) -> Iterator[UpdateRecord]:
    try:
        lines = read_text(path, "replace").split("\n")
    except FileNotFoundError:
        return
    except OSError as error:
        problems.append(f"{path.name} cannot be read: {error.strerror or type(error).__name__}.")
        return
    damaged = 0
    for line in lines[:-1]:  # a line without its end was cut off when the run was killed
        node = _parsed(line)
        update = whole(node, "update")
        if update is None:
            damaged += 1
            continue
        figures = {name: number(node, name) for name in ("loss", "lr", "grad_norm")}
        where = whole(node, "epoch") or 1
        yield UpdateRecord(update=update, epoch=where, skipped=whole(node, "skipped") or 0, **figures)
    if damaged:
        problems.append(f"{path.name}: {damaged} of {len(lines) - 1} lines cannot be read and are left out.")


def _parsed(line: str) -> object:
    try:
        return parse_json(line)
    except ValueError:
        return None
