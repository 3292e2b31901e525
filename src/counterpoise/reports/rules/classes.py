"""Classes that a model forgets, and corrections of imbalance that overdo it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from counterpoise.balance import BalanceConfig, stacked
from counterpoise.config.schema import parse
from counterpoise.errors import Problem
from counterpoise.reports.findings import Finding
from counterpoise.reports.reading import finite, number, section, word
from counterpoise.reports.remedies import Remedies
from counterpoise.reports.runs import RunRecord

UNDER_PREDICTED = 0.3
"""Predicted share of a class, as a part of its actual share."""
LEAST_SUPPORT = 10
"""Samples of a class below which its predicted share is chance."""
TIMID = 0.5
"""Precision from which a class that is rarely predicted is known but not dared, rather than not known."""


def under_prediction(record: RunRecord) -> Finding | None:
    """A class that the best epoch predicts for less than 30 % of its share; the most neglected one."""
    if record.best is None:
        return None
    epoch = record.epochs[record.best]
    found = [(part, name) for name, part in _neglect(epoch.valid).items() if part < UNDER_PREDICTED]
    if not found:
        return None
    part, name = min(found)
    figures = section(epoch.valid, "per_class", name)
    names = ("predicted_share", "actual_share", "recall", "precision")
    evidence = {key: value for key in names if finite(value := number(figures, key))}
    rated = [f"{key} {evidence[key]:.2f}" for key in ("recall", "precision") if evidence.get(key)]
    rates = f" ({', '.join(rated)})" if rated else ""
    others = f", and {len(found) - 1} more classes likewise" if len(found) > 1 else ""
    override, why = _towards(record, evidence.get("precision", 0.0))
    return Finding(
        kind="under_prediction",
        severity="warning",
        message=(
            f"at epoch {epoch.number} class {name!r} is {evidence['predicted_share']:.1%} of the predictions but "
            f"{evidence['actual_share']:.1%} of the rows{rates}{others}."
        ),
        evidence={"part": part, "least_part": UNDER_PREDICTED, **evidence},
        override=override,
        why=why,
    )


def _neglect(valid: Mapping[str, Any]) -> dict[str, float]:
    """Predicted share over actual share, by class, of those with enough samples to say."""
    parts = {}
    for name, figures in section(valid, "per_class").items():
        predicted, actual = number(figures, "predicted_share"), number(figures, "actual_share")
        support = number(figures, "support")
        if finite(predicted) and finite(actual) and actual > 0 and finite(support) and support >= LEAST_SUPPORT:
            parts[str(name)] = predicted / actual
    return parts


def _towards(record: RunRecord, precision: float) -> tuple[str, str]:
    """What makes a model dare a rare class, by what is in force already."""
    remedies = Remedies(record)
    if not corrections(record) and remedies.balance():
        return remedies.balance(), "nothing evens out the classes yet: a rare one weighs more then"
    if remedies.objective():
        return remedies.objective(), "the best epoch is then one that serves every class"
    known = "it is right where it dares" if precision >= TIMID else "it hardly knows the class"
    return remedies.lr(0.5), f"the classes are evened out already and {known}: a calmer course"


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
    """Several corrections of imbalance at once, which ``balance.allow_stacked`` has permitted."""
    names = corrections(record)
    if len(names) < 2:
        return None
    valid = {} if record.best is None else record.epochs[record.best].valid
    most = max(_neglect(valid).items(), key=lambda item: item[1], default=None)
    seen = f"; class {most[0]!r} is predicted {most[1]:.1f} times as often as it occurs" if most else ""
    return Finding(
        kind="stacked_corrections",
        severity="warning",
        message=f"{' and '.join(names)} each even out the classes, and together overdo it{seen}.",
        evidence={"corrections": len(names)} | ({"most_over_predicted": most[1]} if most else {}),
        override=next((o for name in names if (o := Remedies(record).switch_off(name))), ""),
        why="one correction is enough",
    )
