"""What the guards and the gradient scaler did while the run was going: stopped it, rescued it, skipped updates."""

from __future__ import annotations

from counterpoise.reports.findings import Finding
from counterpoise.reports.reading import find, finite, items, number, whole, word
from counterpoise.reports.remedies import Remedies
from counterpoise.reports.runs import RunRecord

LEAST_FACTOR = 1e-3
"""Of the learning rate: more rescues than ten say nothing about it."""
EXPLOSIONS = ("exploding", "non_finite", "scaler")
"""Kinds of events in which figures grew without bound, rather than predictions that became one class."""
SKIPPED_SHARE = 0.02
"""Of the updates. A scaler doubles its scale every 2000 updates, so one skip in 2000 is how it works."""
USUAL_SKIPS = 20
"""A scaler that starts at 65536 may halve it so often before the first step fits."""


def collapsed(record: RunRecord) -> Finding | None:
    """A collapse that stopped the run, or would have under another policy: the last one that was seen."""
    grave = [event for event in items(record.collapse, "events") if word(event, "severity") == "stop"]
    stopped = [event for event in grave if word(event, "action") == "stopped"]
    ended = record.status in ("collapsed", "aborted")
    event = next(reversed(stopped or [e for e in grave if ended or word(e, "action") != "rescued"]), None)
    if event is None and record.status != "collapsed":
        return None
    event = event or {}
    update, losses = whole(event, "update"), find(event, "loss_window")[1]
    window = [loss for loss in losses if isinstance(loss, int | float)] if isinstance(losses, list) else []
    rescues = len(items(record.collapse, "rescues"))
    seen = word(event, "message").rstrip(".") or "the guard ended the run"
    at = f" (update {update})" if update is not None and str(update) not in seen else ""
    cause = word(event, "cause").rstrip(".").replace("_", " ")
    evidence: dict[str, float | str] = {"events": len(grave), "rescues": rescues}
    evidence |= {"event": word(event, "kind")} if word(event, "kind") else {}
    evidence |= {key: value for key in ("update", "lr", "grad_norm") if finite(value := number(event, key))}
    evidence |= {"first_loss": window[0], "last_loss": window[-1]} if window else {}
    return Finding(
        kind="exploding" if word(event, "kind") in EXPLOSIONS else "collapsed",
        severity="critical" if stopped or ended else "warning",
        message=f"{seen}{at}{f'; likely cause: {cause}' if cause else ''}{_after(rescues)}.",
        evidence=evidence,
        override=Remedies(record).known(word(event, "override")) or Remedies(record).lr(0.5),
        why=word(event, "explanation").rstrip(".") or "half the learning rate",
    )


def rescued(record: RunRecord) -> Finding | None:
    """A run that went on from an earlier checkpoint with a smaller learning rate: start there next time."""
    rescues = items(record.collapse, "rescues")
    if not rescues:
        return None
    factors = [factor for rescue in rescues if finite(factor := number(rescue, "lr_factor")) and 0 < factor <= 1]
    factor = max(min(factors, default=1.0), LEAST_FACTOR)  # each says what all of them together came to
    last = rescues[-1]
    start, end = whole(last, "from_update"), whole(last, "to_update")
    back = "" if start is None or end is None else f", back from update {start} to {end}"
    reason = word(last, "reason").rstrip(".")
    full = Remedies(record).full_precision() if word(last, "precision") == "fp32" else ""
    return Finding(
        kind="rescued",
        severity="warning",
        message=(
            f"rescued {_times(len(rescues))}, its learning rate at {factor:.3g} of what it was in the end"
            f"{f'; last{back}: {reason}' if reason else ''}."
        ),
        evidence={"rescues": len(rescues), "lr_factor": factor},
        override=full or Remedies(record).lr(factor if factor < 1 else 0.5),
        why="the precision that held" if full else "the learning rate that held, from the start",
    )


def skipped_updates(record: RunRecord) -> Finding | None:
    """Too many updates that the gradient scaler skipped because fp16 overflowed."""
    counted, done = number(record.result, "skipped_updates"), number(record.result, "updates")
    last = record.updates[-1] if record.updates else None
    skipped = counted if finite(counted) else float(last.skipped if last else 0)
    total = done if finite(done) else float(last.update if last else 0)
    if skipped <= USUAL_SKIPS or skipped <= SKIPPED_SHARE * total:
        return None
    return Finding(
        kind="skipped_updates",
        severity="warning",
        message=f"{skipped:.0f} of {total:.0f} updates were skipped because fp16 overflowed.",
        evidence={"skipped": skipped, "updates": total, "limit": SKIPPED_SHARE},
        override=Remedies(record).full_precision(),
        why="no gradient scaler, nothing is skipped; bf16 does as well where the GPU has it",
    )


def _after(rescues: int) -> str:
    return f"; rescued {_times(rescues)}, in vain" if rescues else ""


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"
