"""Overfitting, underfitting, plateau: what the losses and scores of the epochs say; at most one of them holds."""

from __future__ import annotations

import math

from counterpoise.reports.findings import Finding
from counterpoise.reports.reading import finite, number
from counterpoise.reports.remedies import Remedies
from counterpoise.reports.rules.course import LEARNT, first_loss, last_loss, ran_to_the_end
from counterpoise.reports.rules.not_learning import at_chance, chance_sentence
from counterpoise.reports.runs import RunRecord

ROSE, FELL = 1.1, 0.9
"""Overfitting: validation loss a tenth above its lowest, training loss a tenth below what it was then. In runs that
generalised, both fell, or validation's moved by a few per cent."""
LEAST_EPOCHS = 3
"""For overfitting: two points draw no course."""
EARLY = 2 / 3
"""Overfitting: the best epoch lies in the first two thirds; if it comes later, the score still gained from training."""
STILL_GAINING = 0.02
"""Underfitting: score gained in the last fifth of the epochs. Seeds alone make a difference of about as much."""
PLATEAU_EPOCHS = 6
"""A plateau's last third must be two epochs."""
MEMORISING = 0.95
"""Plateau: a training loss that falls by another 5 % while the score stands still learns the rows by heart."""
UNDECAYED = 0.5
"""Plateau: a last learning rate of half the highest has not come down."""


def overfitting(record: RunRecord) -> Finding | None:
    """What is learnt of the training rows does not carry over to others."""
    return _by_heart(record) or _diverging(record)


def _by_heart(record: RunRecord) -> Finding | None:
    evidence, start, last = at_chance(record), first_loss(record), last_loss(record)
    if evidence is None or start is None or last is None or last > LEARNT * start:
        return None
    return Finding(
        kind="overfitting",
        severity="critical",
        message=f"{chance_sentence(evidence)}, while the training loss fell from {start:.4g} to {last:.4g}.",
        evidence=evidence | {"first_loss": start, "last_loss": last},
        override=Remedies(record).regularise(),
        why="harder to learn by heart; if nothing carries over, look at the labels",
    )


def _diverging(record: RunRecord) -> Finding | None:
    course = [
        (epoch.number, epoch.train_loss, epoch.valid_loss)
        for epoch in record.epochs
        if finite(epoch.train_loss) and finite(epoch.valid_loss)
    ]
    if len(course) < LEAST_EPOCHS or record.best is None or record.best + 1 > EARLY * len(record.epochs):
        return None
    turn, train_then, valid_then = min(course[:-1], key=lambda point: point[2])
    _, train_now, valid_now = course[-1]
    if not (valid_now >= ROSE * valid_then > 0 and 0 <= train_now <= FELL * train_then and valid_now > train_now):
        return None
    best, count = record.epochs[record.best].number, len(record.epochs)
    return Finding(
        kind="overfitting",
        severity="warning",
        message=(
            f"since epoch {turn} the training loss fell from {train_then:.4f} to {train_now:.4f} while validation's "
            f"rose from {valid_then:.4f} to {valid_now:.4f}; of {count} epochs the best is {best}."
        ),
        evidence={
            "turn_epoch": turn,
            "best_epoch": best,
            "epochs": count,
            "train_loss_then": train_then,
            "train_loss": train_now,
            "valid_loss_then": valid_then,
            "valid_loss": valid_now,
            "gap": valid_now - train_now,
        },
        override=Remedies(record).regularise(),
        why="harder to learn by heart",
    )


def underfitting(record: RunRecord) -> Finding | None:
    """The run reached its limit of epochs while score and losses still improved."""
    count = len(record.epochs)
    if count < 2 or not ran_to_the_end(record) or record.best != count - 1:
        return None
    tail = max(1, count // 5)
    gain = record.scores[-1] - max(record.scores[:-tail])
    before, last = record.epochs[-1 - tail], record.epochs[-1]
    pairs = ((before.train_loss, last.train_loss), (before.valid_loss, last.valid_loss))
    if not (STILL_GAINING <= gain < math.inf and all(finite(a) and finite(b) and b < a for a, b in pairs)):
        return None
    return Finding(
        kind="underfitting",
        severity="note",
        message=(
            f"still improving when its {count} epochs were over: after epoch {before.number} the score gained "
            f"{gain:.4f}, and validation's loss fell from {before.valid_loss:.4f} to {last.valid_loss:.4f}."
        ),
        evidence={"epochs": count, "gain": gain, "least_gain": STILL_GAINING},
        override=Remedies(record).epochs(2 * count),
        why="twice the epochs; early stopping ends what no longer helps",
    )


def plateau(record: RunRecord) -> Finding | None:
    """The run reached its limit of epochs, and the last third of them brought nothing."""
    count = len(record.epochs)
    if count < PLATEAU_EPOCHS or record.best is None or not ran_to_the_end(record):
        return None
    tail = count // 3
    gain = max(record.scores[-tail:]) - max(record.scores[:-tail])
    least = number(record.config, "early_stopping", "min_delta")
    if not gain <= (least if finite(least) else 0.0):
        return None
    best = record.epochs[record.best].number
    override, why = _beyond(record, tail, best)
    return Finding(
        kind="plateau",
        severity="note",
        message=f"the last {tail} of {count} epochs brought no improvement; the best is epoch {best}.",
        evidence={"epochs": count, "last_third": tail, "best_epoch": best},
        override=override,
        why=why,
    )


def _beyond(record: RunRecord, tail: int, best: int) -> tuple[str, str]:
    """What a plateau means: rows learnt by heart, steps too large to settle, or the end of what can be learnt."""
    remedies, before, last = Remedies(record), record.epochs[-1 - tail].train_loss, record.epochs[-1].train_loss
    if finite(before) and finite(last) and last < MEMORISING * before:
        return remedies.regularise(), "the training loss still falls: harder to learn by heart"
    rates = [epoch.lr for epoch in record.epochs if finite(epoch.lr)]
    if rates and rates[-1] >= UNDECAYED * max(rates):
        return remedies.lr(0.5), "the learning rate never came down: half of it can settle"
    return remedies.epochs(best), "the same result sooner; for a better one, change model or data"
