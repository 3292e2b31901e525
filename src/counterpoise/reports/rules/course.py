"""How a training went, in the few figures that several rules go by."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from counterpoise.metrics import METRICS, Objective
from counterpoise.reports.reading import finite, number, section, word
from counterpoise.reports.runs import RunRecord

Ending = Literal["all epochs", "early stopping", "guard", "interrupted"]
"""``guard``: it collapsed, or was aborted. ``interrupted``: it failed, was preempted, or still runs."""

UNDER_PREDICTED = 0.3
"""Predicted share of a class, as a part of its actual share."""
OF_SEEDS = 0.02
"""Score that seeds alone make a difference of."""
START = 0.1
"""Share of a run's updates whose losses count as those that it began with."""
WINDOW = 5
"""Logged updates whose losses are averaged: one update's loss alone is noise, the more the rarer a class is."""
LEARNT = 0.9
"""Of the first training loss: a smaller fall than 10 % can be had by adjusting the output bias alone."""


def first_loss(record: RunRecord) -> float | None:
    """The training loss at the start: of the first logged updates, else of the first epoch if there are others."""
    reached = record.updates[-1].update if record.updates else 0
    logged = [u.loss for u in record.updates if finite(u.loss) and u.update <= START * reached]
    if len(logged) >= WINDOW:
        return sum(logged[:WINDOW]) / WINDOW
    losses = [epoch.train_loss for epoch in record.epochs]
    return losses[0] if len(losses) > 1 and finite(losses[0]) else None


def highest_loss(record: RunRecord) -> float | None:
    """The highest training loss on the way, as a mean over neighbouring logged updates."""
    logged = [u.loss for u in record.updates if finite(u.loss)]
    means = [sum(logged[at : at + WINDOW]) / WINDOW for at in range(len(logged) - WINDOW + 1)]
    return max(means, default=None)


def last_loss(record: RunRecord) -> float | None:
    """The training loss of the last epoch that has one."""
    return next((epoch.train_loss for epoch in reversed(record.epochs) if finite(epoch.train_loss)), None)


def updates_done(record: RunRecord) -> int:
    """Optimizer updates of the run; 0 if neither result nor logged updates tell."""
    counted = number(record.result, "updates")
    return max([int(counted) if finite(counted) else 0, *(update.update for update in record.updates)])


def ending(record: RunRecord) -> Ending:
    """Why the training ended."""
    if record.status != "finished":
        return "guard" if record.status in ("aborted", "collapsed") else "interrupted"
    judge = word(record.result, "ended_by", "judge")
    if not judge:
        return "all epochs"
    return "early stopping" if judge == "early_stopping" else "guard"


def ran_to_the_end(record: RunRecord) -> bool:
    """Whether a finished run trained all its epochs: no judge ended it."""
    limit = number(record.config, "train", "epochs")
    return ending(record) == "all epochs" and finite(limit) and 0 < limit <= len(record.epochs)


def at_ceiling(record: RunRecord) -> bool:
    """Whether the best score leaves no more to be gained than seeds make a difference of."""
    if record.best is None or record.objective is None:
        return False
    score, ceiling = record.epochs[record.best].score, _ceiling(record.objective)
    return finite(score) and ceiling is not None and abs(ceiling - score) <= OF_SEEDS


def _ceiling(objective: Objective) -> float | None:
    """The best value that the deciding figure can have; ``None`` where that is not known."""
    best = {"maximise": 1.0, "minimise": 0.0}
    weights = objective.config.weights if objective.name == "custom" else {}
    names = list(weights or [objective.name])
    if any(name not in METRICS for name in names):
        return None
    return sum(weights.get(name, 1.0) * best[METRICS[name]] for name in names)


def predicted_parts(valid: Mapping[str, Any]) -> dict[str, float]:
    """Predicted share over actual share, by class."""
    parts = {}
    for name, figures in section(valid, "per_class").items():
        predicted, actual = number(figures, "predicted_share"), number(figures, "actual_share")
        if finite(predicted) and finite(actual) and actual > 0:
            parts[str(name)] = predicted / actual
    return parts


def under_predicted(valid: Mapping[str, Any]) -> dict[str, float]:
    """The same of classes that are predicted for less than 30 % of their share."""
    return {name: part for name, part in predicted_parts(valid).items() if part < UNDER_PREDICTED}
