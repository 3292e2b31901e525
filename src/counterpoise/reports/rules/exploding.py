"""Exploding: a loss or gradient that is no number, or that has grown by a factor."""

from __future__ import annotations

from counterpoise.reports.findings import Finding
from counterpoise.reports.reading import finite, word
from counterpoise.reports.remedies import Remedies
from counterpoise.reports.rules.course import LEARNT, first_loss, last_loss
from counterpoise.reports.runs import RunRecord

EXPLODED_LOSS = 2.0
"""Times the first loss: it ends above its start only if steps overshoot; noise between updates stays below this."""
EXPLODED_GRADIENT = 20.0
"""Times the first epoch's mean norm, while the loss has not fallen: in healthy runs it was seen to grow twofold."""


def exploding(record: RunRecord) -> Finding | None:
    """A loss or gradient that is NaN or infinite, else one that has grown."""
    return _non_finite(record) or _growing(record)


def _non_finite(record: RunRecord) -> Finding | None:
    skipped = 0
    for update in record.updates:
        overflowed, skipped = update.skipped > skipped, update.skipped
        lost = update.loss is not None and not finite(update.loss)
        steep = update.grad_norm is not None and not finite(update.grad_norm)
        if (lost or steep) and not overflowed:  # a gradient scaler looks for its scale by overflowing
            what = f"the {'loss' if lost else 'gradient norm'} of update {update.update}"
            return _no_number(record, what, {"update": update.update, "epoch": update.epoch}, update.lr)
    for epoch in record.epochs:
        train = epoch.stepped > 0 and epoch.train_loss is not None and not finite(epoch.train_loss)
        if train or (epoch.valid_loss is not None and not finite(epoch.valid_loss)):
            what = f"the {'training' if train else 'validation'} loss of epoch {epoch.number}"
            return _no_number(record, what, {"epoch": epoch.number}, epoch.lr)
    return None


def _no_number(record: RunRecord, what: str, where: dict[str, float], lr: float | None) -> Finding:
    remedies = Remedies(record)
    half = remedies.full_precision() if word(record.plan, "precision") == "fp16" else ""
    before = [u.loss for u in record.updates if finite(u.loss) and u.update < where.get("update", u.update + 1)]
    at = f" at learning rate {lr:.3g}" if finite(lr) else ""
    last = f"; the last loss that was one is {before[-1]:.4g}" if before else ""
    return Finding(
        kind="exploding",
        severity="critical",
        message=f"{what} is no number{at}{last}.",
        evidence=where | ({"lr": lr} if finite(lr) else {}) | ({"last_finite_loss": before[-1]} if before else {}),
        override=half or remedies.lower_lr(),
        why="fp16 overflows above 65504" if half else "a far smaller learning rate",
    )


def _growing(record: RunRecord) -> Finding | None:
    first, last = first_loss(record), last_loss(record)
    if first is None or last is None or first <= 0:
        return None
    # The lowest epoch's too: of a few updates without the rare class, the loss is low by chance.
    start = max(first, min(epoch.train_loss for epoch in record.epochs if finite(epoch.train_loss)))
    norms = [epoch.grad_norm for epoch in record.epochs if finite(epoch.grad_norm)]
    grown = len(norms) > 1 and norms[-1] > EXPLODED_GRADIENT * norms[0] > 0 and last > LEARNT * start
    if not grown and last < EXPLODED_LOSS * start:
        return None
    message = f"the training loss went from {start:.4g} to {last:.4g}"
    evidence = {"first_loss": start, "last_loss": last}
    if grown:
        message += f", the mean gradient norm of an epoch from {norms[0]:.3g} to {norms[-1]:.3g}"
        evidence |= {"first_grad_norm": norms[0], "last_grad_norm": norms[-1]}
    return Finding(
        kind="exploding",
        severity="critical",
        message=f"{message}.",
        evidence=evidence,
        override=Remedies(record).lower_lr(),
        why="a far smaller learning rate: the steps overshoot",
    )
