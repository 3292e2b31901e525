"""Not learning: validation at chance, and a training loss where it began."""

from __future__ import annotations

import math

from counterpoise.reports.findings import Finding
from counterpoise.reports.noise import chance_auc
from counterpoise.reports.reading import finite, number, section
from counterpoise.reports.remedies import Remedies
from counterpoise.reports.rules.course import LEARNT, first_loss, highest_loss, last_loss, updates_done
from counterpoise.reports.runs import RunRecord

FEW_UPDATES = 100
"""Below, a network from scratch has hardly left its warm-up."""
OVERSHOT = 1.5
"""Times the first and the last loss, on the way from one to the other: the steps are too large."""
THIRD = 0.3
"""Of the learning rate: half an order of magnitude where it may be the cause."""


def not_learning(record: RunRecord) -> Finding | None:
    """Validation ranks no better than chance, and the training loss has not fallen, or there are few updates."""
    evidence = at_chance(record)
    if evidence is None:
        return None
    start, last, done = first_loss(record), last_loss(record), updates_done(record)
    few, compared = 0 < done < FEW_UPDATES, ""
    if start is not None and last is not None:
        if last <= LEARNT * start:
            return None
        evidence |= {"first_loss": start, "last_loss": last}
        compared = f"; the training loss went from {start:.4g} to {last:.4g}"
    elif not few:
        return None
    override, why = _rate_or_length(record, few, done)
    return Finding(
        kind="not_learning",
        severity="critical",
        message=f"{chance_sentence(evidence)}{f' after {done} updates' if done else ''}{compared}.",
        evidence={**evidence, "updates": done},
        override=override,
        why=why,
    )


def _rate_or_length(record: RunRecord, few: bool, done: int) -> tuple[str, str]:
    """Whether the learning rate is too low or too high, or training too short: the override, and why."""
    remedies, rate, peak = Remedies(record), number(record.plan, "lr"), highest_loss(record)
    low, high = remedies.usual_rates
    kind = "a pretrained encoder" if remedies.pretrained else "a model from scratch"
    if finite(rate) and 0 < rate < low:
        return remedies.usual_lr(), f"the learning rate, {rate:.3g}, is low for {kind}"
    if finite(rate) and rate > high:
        return remedies.usual_lr(), f"the learning rate, {rate:.3g}, is high for {kind}"
    usual = [loss for loss in (first_loss(record), last_loss(record)) if loss is not None]
    if peak is not None and usual and peak > OVERSHOT * max(usual) > 0:
        return remedies.lower_lr(), f"the loss rose to {peak:.4g} on the way: the steps overshoot"
    if few and record.epochs:
        wanted = math.ceil(len(record.epochs) * FEW_UPDATES / done)
        return remedies.epochs(wanted), f"{done} updates are too few to judge: this makes about {FEW_UPDATES}"
    return remedies.lr(THIRD), "the learning rate is a usual one, so a smaller one is next; then look at the labels"


def at_chance(record: RunRecord) -> dict[str, float] | None:
    """The evidence that no epoch ranks validation better than chance does; ``None`` if one does, or it cannot be told.

    By the ROC AUC, which neither class weights nor a threshold move: an F1 of 0.6 can be had by always saying yes.
    Where it is not recorded, by the majority class's score.
    """
    ranked = [(auc, epoch.valid) for epoch in record.epochs if finite(auc := number(epoch.valid, "roc_auc"))]
    auc, figures = max(ranked, key=lambda found: found[0], default=(0.0, {}))
    limit = chance_auc(figures)
    if limit is not None:
        return {"roc_auc": auc, "chance_roc_auc": limit} if auc <= limit else None
    best = {} if record.best is None else record.epochs[record.best].valid
    score, majority = (
        record.score_of(split) for split in (best, section(record.result, "baselines", "majority", "valid"))
    )
    if score is None or majority is None or record.objective is None or record.objective.better(score, majority):
        return None
    return {"score": score, "majority_score": majority}


def chance_sentence(evidence: dict[str, float]) -> str:
    """What :func:`at_chance` found, in words."""
    if "roc_auc" in evidence:
        return (
            f"validation's ROC AUC is {evidence['roc_auc']:.4f} at best, within what chance reaches "
            f"({evidence['chance_roc_auc']:.4f})"
        )
    return f"validation's score is {evidence['score']:.4f}, the majority class's {evidence['majority_score']:.4f}"
