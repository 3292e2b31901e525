"""Not learning: validation at chance, and a training loss where it began."""

from __future__ import annotations

import math

from counterpoise.reports.findings import Finding
from counterpoise.reports.noise import chance_auc, too_few
from counterpoise.reports.reading import finite, number, section
from counterpoise.reports.remedies import Remedies
from counterpoise.reports.rules.course import (
    LEARNT,
    ending,
    first_loss,
    highest_loss,
    last_loss,
    ran_to_the_end,
    updates_done,
)
from counterpoise.reports.runs import RunRecord

FEW_UPDATES = 300
"""Below, a network from scratch may not have begun to learn."""
LEAST_LONGER = 2.0
OVERSHOT = 1.5
"""Times the first and the last loss, on the way from one to the other: the steps are too large."""


def not_learning(record: RunRecord) -> Finding | None:
    """Validation ranks no better than chance, and the training loss has not fallen, or there are few updates.

    A loss that a far too high learning rate has blown up may fall without anything being learnt.
    """
    evidence = at_chance(record)
    if evidence is None:
        return None
    start, last, done = first_loss(record), last_loss(record), updates_done(record)
    few, compared = 0 < done < FEW_UPDATES, ""
    if start is not None and last is not None:
        if last <= LEARNT * start and not Remedies(record).off_recipe():
            return None  # it learns the training rows by heart
        evidence |= {"first_loss": start, "last_loss": last}
        compared = f"; the training loss went from {start:.4g} to {last:.4g}"
    elif not few:
        return None
    if few and ending(record) == "interrupted":
        return None
    override, why = _rate_or_length(record, few, done)
    otherwise = "" if override else "; the learning rate is a usual one, so look at the labels and the texts"
    return Finding(
        kind="not_learning",
        severity="critical",
        message=f"{chance_sentence(evidence)}{f' after {done} updates' if done else ''}{compared}{otherwise}.",
        evidence={**evidence, "updates": done},
        override=override,
        why=why,
    )


def _rate_or_length(record: RunRecord, few: bool, done: int) -> tuple[str, str]:
    """Whether the learning rate is too low or too high, or training too short: the override, and why."""
    remedies, peak, off = Remedies(record), highest_loss(record), Remedies(record).off_recipe()
    if off:
        return remedies.recipe(), f"the model's own learning rate: {remedies.rate:.3g} is {off}"
    usual = [loss for loss in (first_loss(record), last_loss(record)) if loss is not None]
    if peak is not None and usual and peak > OVERSHOT * max(usual) > 0:
        return remedies.lower_lr(), f"the loss rose to {peak:.4g} on the way: the steps overshoot"
    if few and record.epochs:
        return _longer(record, done)
    return "", ""


def _longer(record: RunRecord, done: int) -> tuple[str, str]:
    """About 300 updates, at least twice as many as there were, by what ended the training before them."""
    remedies, times = Remedies(record), max(LEAST_LONGER, FEW_UPDATES / done)
    wanted = math.ceil(len(record.epochs) * times)
    why = f"{done} updates are too few to judge: this makes about {done * times:.0f}"
    if ending(record) == "early stopping":
        return remedies.patience(wanted), why
    return (remedies.epochs(wanted), why) if ran_to_the_end(record) else ("", "")


def at_chance(record: RunRecord) -> dict[str, float] | None:
    """The evidence that no epoch ranks validation better than chance does; ``None`` if one does, or it cannot be told.

    By the ROC AUC, which neither class weights nor a threshold move: an F1 of 0.6 can be had by always saying yes.
    Where it is not recorded, by the majority class's score.
    """
    ranked = [(auc, epoch.valid) for epoch in record.epochs if finite(auc := number(epoch.valid, "roc_auc"))]
    auc, figures = max(ranked, key=lambda found: found[0], default=(0.0, {}))
    if too_few(figures):
        return None
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
