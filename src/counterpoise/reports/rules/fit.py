"""Overfitting and underfitting: what the losses and scores of the epochs say; at most one of them holds."""

from __future__ import annotations

import math

from counterpoise.reports.findings import Finding
from counterpoise.reports.noise import standard_error, too_few
from counterpoise.reports.reading import finite, number
from counterpoise.reports.remedies import Remedies
from counterpoise.reports.rules.course import (
    LEARNT,
    OF_SEEDS,
    at_ceiling,
    ending,
    first_loss,
    last_loss,
    ran_to_the_end,
    under_predicted,
    updates_done,
)
from counterpoise.reports.rules.not_learning import at_chance, chance_sentence
from counterpoise.reports.runs import EpochRecord, RunRecord

ROSE, FELL = 1.1, 0.9
"""Overfitting: validation loss a tenth above its lowest, training loss a tenth below what it was then. In runs that
generalised, both fell, or validation's moved by a few per cent."""
LEAST_EPOCHS = 3
"""For overfitting: two points draw no course."""
EARLY = 2 / 3
"""Overfitting: the best epoch lies in the first two thirds; if it comes later, the score still gained from training."""
YOUNG = 100
"""Updates below which predictions have hardly moved from where they began."""
MORE_EPOCHS = 2
MORE_PATIENCE = 4
STILL_FELL = 0.98
"""Of validation's loss before the last third of the epochs."""


def overfitting(record: RunRecord) -> Finding | None:
    """What is learnt of the training rows does not carry over to others.

    Where early stopping ended a run whose loss rose, it has done its work: the best weights are from before.
    """
    return _by_heart(record) or _diverging(record)


def _by_heart(record: RunRecord) -> Finding | None:
    evidence, start, last = at_chance(record), first_loss(record), last_loss(record)
    if evidence is None or start is None or last is None or last > LEARNT * start:
        return None
    return Finding(
        kind="overfitting",
        severity="critical",
        message=(
            f"{chance_sentence(evidence)}, while the training loss fell from {start:.4g} to {last:.4g}: nothing "
            "carries over to other rows, so look at the labels and at how the splits were made."
        ),
        evidence=evidence | {"first_loss": start, "last_loss": last},
    )


def _diverging(record: RunRecord) -> Finding | None:
    course = [
        (epoch.number, epoch.train_loss, epoch.valid_loss)
        for epoch in record.epochs
        if finite(epoch.train_loss) and finite(epoch.valid_loss)
    ]
    if len(course) < LEAST_EPOCHS or at_ceiling(record) or ending(record) == "early stopping":
        return None
    if record.best is None or record.best + 1 > EARLY * len(record.epochs):
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
    """Training ended, by its limit of epochs or by early stopping, while the losses still fell."""
    if not record.epochs or record.best is None or at_ceiling(record):
        return None
    return _cut_short(record) or _not_yet(record)


def _cut_short(record: RunRecord) -> Finding | None:
    """The limit of epochs came while score and losses still improved."""
    count = len(record.epochs)
    if count < 2 or not ran_to_the_end(record) or record.best != count - 1:
        return None
    tail = max(1, count // 5)
    gain = record.scores[-1] - max(record.scores[:-tail])
    before, last = record.epochs[-1 - tail], record.epochs[-1]
    error = standard_error(record.objective.name if record.objective else "", last.valid)
    least = max(OF_SEEDS, 0.0 if error is None else error)
    if not (least <= gain < math.inf and _both_fell(before, last)):
        return None
    return Finding(
        kind="underfitting",
        severity="warning",
        message=(
            f"still improving when its {count} epochs were over: after epoch {before.number} the score gained "
            f"{gain:.4f}, and validation's loss fell from {before.valid_loss:.4f} to {last.valid_loss:.4f}."
        ),
        evidence={"epochs": count, "gain": gain, "least_gain": least},
        override=Remedies(record).epochs(MORE_EPOCHS * count),
        why=f"{MORE_EPOCHS} times the epochs; early stopping ends what no longer helps",
    )


def _not_yet(record: RunRecord) -> Finding | None:
    """Training ended before the predictions moved: a class is hardly predicted, and the model still learnt."""
    end, last, done = ending(record), record.epochs[-1], updates_done(record)
    few = too_few(last.valid)
    neglected = [name for name in under_predicted(last.valid) if name not in few]
    if end not in ("early stopping", "all epochs") or not neglected:
        return None
    seen = f"after {done} updates" if 0 < done < YOUNG else _still_learnt(record)
    if not seen:
        return None
    remedies, count, stopped = Remedies(record), len(record.epochs), end == "early stopping"
    enough = math.ceil(count * YOUNG / done) if done else 0
    longer = max(enough, (MORE_PATIENCE if stopped else MORE_EPOCHS) * count)
    return Finding(
        kind="underfitting",
        severity="warning",
        message=(
            f"{'early stopping' if stopped else 'its limit of epochs'} ended it in epoch {last.number}, {seen}, when "
            f"class {neglected[0]!r} was hardly predicted yet."
        ),
        evidence={"epochs": count, "updates": done, "part": under_predicted(last.valid)[neglected[0]]},
        override=remedies.patience(longer) if stopped else remedies.epochs(longer),
        why="ranking improves before predictions do: wait longer" if stopped else "train longer",
    )


def _still_learnt(record: RunRecord) -> str:
    """How validation improved in the last third of the epochs, by its loss or its ROC AUC; empty if it did not."""
    if len(record.epochs) < 2:
        return ""
    before, last = record.epochs[-1 - max(1, len(record.epochs) // 3)], record.epochs[-1]
    areas = number(before.valid, "roc_auc"), number(last.valid, "roc_auc")
    if finite(before.valid_loss) and finite(last.valid_loss) and last.valid_loss <= STILL_FELL * before.valid_loss:
        return f"while validation's loss still fell from {before.valid_loss:.4f} to {last.valid_loss:.4f}"
    if finite(areas[0]) and finite(areas[1]) and areas[1] >= areas[0] + OF_SEEDS:
        return f"while validation's ROC AUC still rose from {areas[0]:.4f} to {areas[1]:.4f}"
    return ""


def _both_fell(before: EpochRecord, last: EpochRecord) -> bool:
    pairs = ((before.train_loss, last.train_loss), (before.valid_loss, last.valid_loss))
    return all(finite(a) and finite(b) and b < a for a, b in pairs)
