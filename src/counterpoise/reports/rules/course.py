"""How a training went, in the few figures that several rules go by."""

from __future__ import annotations

from counterpoise.reports.reading import finite, number, word
from counterpoise.reports.runs import RunRecord

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


def ran_to_the_end(record: RunRecord) -> bool:
    """Whether a finished run trained all its epochs: no judge ended it."""
    limit = number(record.config, "train", "epochs")
    ended_by = word(record.result, "ended_by", "judge")
    return record.status == "finished" and not ended_by and finite(limit) and 0 < limit <= len(record.epochs)
