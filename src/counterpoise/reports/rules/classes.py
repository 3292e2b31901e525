"""Classes that a model forgets, and corrections of imbalance that overdo it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterpoise.balance import BalanceConfig, stacked
from counterpoise.config.schema import parse
from counterpoise.errors import Problem
from counterpoise.reports.findings import Finding
from counterpoise.reports.noise import FEWEST, chance_auc, too_few
from counterpoise.reports.reading import finite, number, section, word
from counterpoise.reports.remedies import Remedies
from counterpoise.reports.rules.class_counts import few_records
from counterpoise.reports.rules.course import UNDER_PREDICTED, predicted_parts, under_predicted
from counterpoise.reports.runs import RunRecord

OVER_PREDICTED = 1.5
"""Predicted share of a class, as a multiple of its actual share: one correction is meant to predict a rare class more
often than it occurs, if at all, by less."""


def under_prediction(record: RunRecord) -> Finding | None:
    """A class that the run predicts for less than 30 % of its share; the most neglected one."""
    where, valid = _validation(record)
    few = too_few(valid)
    judged = [(part, name) for name, part in under_predicted(valid).items() if name not in few]
    if not judged:
        return None
    part, name = min(judged)
    figures = section(valid, "per_class", name)
    names = ("predicted_share", "actual_share", "recall", "precision")
    evidence = {key: value for key in names if finite(value := number(figures, key))}
    rated = [f"{key} {evidence[key]:.2f}" for key in ("recall", "precision") if evidence.get(key)]
    rates = f" ({', '.join(rated)})" if rated else ""
    others = f", and {len(judged) - 1} more classes likewise" if len(judged) > 1 else ""
    override, why = _towards(record, valid)
    return Finding(
        kind="under_prediction",
        severity="warning",
        message=(
            f"{where} class {name!r} is {evidence['predicted_share']:.1%} of the predictions but "
            f"{evidence['actual_share']:.1%} of the rows{rates}{others}."
        ),
        evidence={"part": part, "least_part": UNDER_PREDICTED, **evidence},
        override=override,
        why=why,
    )


def few_rows(record: RunRecord) -> Finding | None:
    """What looks like a finding, and rests on too few rows of a class to be one."""
    if few_records(record) is not None:  # says so of all such classes
        return None
    where, valid = _validation(record)
    few = too_few(valid)
    neglected = [name for name in under_predicted(valid) if name in few]
    area = number(valid, "roc_auc")
    limit = chance_auc(valid)
    at_chance = bool(few) and finite(area) and limit is not None and area <= limit
    if not (neglected or at_chance):
        return None
    name = neglected[0] if neglected else min(few, key=lambda name: few[name])
    what = "how often it is predicted" if neglected else f"a ROC AUC of {area:.4f} (chance reaches {limit:.4f})"
    return Finding(
        kind="few_rows",
        severity="note",
        message=(
            f"{where} class {name!r} has {few[name]} rows, fewer than the {FEWEST} from which {what} says anything "
            "about the model."
        ),
        evidence={"rows": few[name], "least_rows": FEWEST},
    )


def _validation(record: RunRecord) -> tuple[str, Mapping[str, Any]]:
    """Validation's figures as the run answers, by its threshold; before there is a result, those of the best epoch."""
    decided = section(record.result, "valid")
    if decided:
        return "in its answers to validation", decided
    if record.best is None:
        return "", {}
    epoch = record.epochs[record.best]
    return f"at epoch {epoch.number}", epoch.valid


def _towards(record: RunRecord, valid: Mapping[str, Any]) -> tuple[str, str]:
    """What makes a model predict a rare class, by what is in force already."""
    remedies, area, limit = Remedies(record), number(valid, "roc_auc"), chance_auc(valid)
    if not corrections(record) and remedies.balance():
        return remedies.balance(), "nothing evens out the classes yet: a rare one weighs more then"
    if finite(area) and limit is not None and area > limit:
        return remedies.tuned_threshold(), "its probabilities tell the classes apart: 0.5 is not where"
    return "", ""


def corrections(record: RunRecord) -> list[str]:
    """The corrections of imbalance that the config asks for, named as :func:`counterpoise.balance.stacked` does."""
    problems: list[Problem] = []
    balance = parse(BalanceConfig, section(record.config, "balance"), "balance", problems)
    loss = section(record.config, "loss")
    kind, alpha, weight = word(loss, "_target_").rsplit(".", 1)[-1], loss.get("alpha"), number(loss, "pos_weight")
    own = []
    if kind == "Focal" and alpha not in (None, 0.5) and (alpha != "auto" or len(record.classes) == 2):
        own.append("focal alpha")
    if kind == "WeightedBCE" and weight != 1:
        own.append("pos_weight")
    return own if problems else stacked(balance, own)


def stacked_corrections(record: RunRecord) -> Finding | None:
    """Several corrections of imbalance at once, which ``balance.allow_stacked`` has permitted, and that overdo it."""
    names = corrections(record)
    _, valid = _validation(record)
    few = too_few(valid)
    parts = {name: part for name, part in predicted_parts(valid).items() if name not in few}
    most = max(parts.items(), key=lambda item: item[1], default=None)
    if len(names) < 2 or most is None or most[1] < OVER_PREDICTED:
        return None
    return Finding(
        kind="stacked_corrections",
        severity="warning",
        message=(
            f"{' and '.join(names)} each even out the classes, and together overdo it; class {most[0]!r} is predicted "
            f"{most[1]:.1f} times as often as it occurs."
        ),
        evidence={"corrections": len(names), "most_over_predicted": most[1]},
        override=next((o for name in names if (o := Remedies(record).switch_off(name))), ""),
        why="one correction is enough",
    )
