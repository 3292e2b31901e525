"""The single criteria of a protocol: each a sentence on what is wanted, what was seen, and whether it is met."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from counterpoise.reports.reading import finite, items, number, section, whole, word
from counterpoise.reports.reference import Reference, seconds_an_epoch
from counterpoise.reports.runs import EpochRecord, RunRecord

TOLERANCE = 1e-9
"""Of comparisons: 0.80 - 0.75 is a little more than 0.05 in floating point."""
NO_EPOCH = "no such epoch was trained"
NO_RESULT = "not measured: the run has no result"


@dataclass(frozen=True)
class Criterion:
    """One row of the table."""

    name: str
    wanted: str
    seen: str
    passed: bool | None
    """``None``: shown, not judged."""


def ended(record: RunRecord) -> Criterion:
    """Whether the run came to its end, or to that of early stopping: a guard that ended it is a failure."""
    judge, reason = word(record.result, "ended_by", "judge"), word(record.result, "ended_by", "reason")
    why = record.message or (f"{judge}: {reason}" if judge else "")
    return Criterion("course", "trained to the end", _joined(record.status, why), record.status == "finished")


def epochs(least: int, record: RunRecord) -> Criterion:
    """Enough epochs."""
    count = len(record.epochs)
    return Criterion("epochs", f"at least {least}", str(count), count >= least)


def f1(bound: float, record: RunRecord, first: int) -> Criterion:
    """F1 of every epoch above a bound. An epoch without an F1 fails."""
    judged, since = _since(record, first)
    wanted = f"above {bound:.2f} in every epoch{since}"
    if not judged:
        return Criterion("F1", wanted, NO_EPOCH, False)
    scores = {epoch.number: _or(number(epoch.valid, "f1"), -math.inf) for epoch in judged}
    lowest = min(scores, key=scores.__getitem__)
    if scores[lowest] == -math.inf:
        return Criterion("F1", wanted, f"undefined in epoch {lowest}", False)
    seen = f"lowest {scores[lowest]:.4f} (epoch {lowest})"
    return Criterion("F1", wanted, seen, scores[lowest] > bound)


def every_class(record: RunRecord, first: int) -> Criterion:
    """Every class that is there is predicted."""
    judged, since = _since(record, first)
    wanted = f"each predicted in every epoch{since}"
    if not judged:
        return Criterion("classes", wanted, NO_EPOCH, False)
    missing: dict[str, list[int]] = {}
    for epoch in judged:
        shares = _shares(epoch)
        if not shares:
            return Criterion("classes", wanted, f"no figures by class in epoch {epoch.number}", False)
        for name, (predicted, _) in shares.items():
            if not predicted > 0:
                missing.setdefault(name, []).append(epoch.number)
    seen = "; ".join(f"{name!r} never in {_epochs(numbers)}" for name, numbers in missing.items())
    return Criterion("classes", wanted, seen or f"all {len(_shares(judged[-1]))}", not missing)


def least_share(part: float, record: RunRecord, first: int) -> Criterion:
    """Every class is predicted at least at ``part`` of its share.

    Of two equally frequent classes, 0.8 is the rule of 40 to 60 % each: one below 40 % is the other above 60 %. At
    other shares the bounds move along (45.8 %: 36.6 to 56.6 %), and leave room for re-weighting to predict a rare class
    more often than it occurs, as long as no other one pays for it.
    """
    judged, since = _since(record, first)
    wanted = f"each at {part:.0%} of its share or more{since}"
    if not judged:
        return Criterion("shares", wanted, NO_EPOCH, False)
    lowest: tuple[float, str] = math.inf, ""
    for epoch in judged:
        shares = _shares(epoch)
        if not shares:
            return Criterion("shares", wanted, f"no figures by class in epoch {epoch.number}", False)
        for name, (predicted, actual) in shares.items():
            seen = f"{name!r} at {predicted / actual:.0%}: {predicted:.1%} of {actual:.1%} (epoch {epoch.number})"
            lowest = min(lowest, (predicted / actual, seen))
    return Criterion("shares", wanted, f"lowest {lowest[1]}", lowest[0] >= part - TOLERANCE)


def finite_losses(record: RunRecord) -> Criterion:
    """No loss is NaN or infinite; an epoch whose every update the gradient scaler skipped has no training loss."""
    wanted = "every loss finite"
    if not record.epochs or not record.updates:
        return Criterion("losses", wanted, "no epoch was trained, or no update logged", False)
    broken = [f"training loss of epoch {e.number}" for e in record.epochs if e.stepped and not finite(e.train_loss)]
    broken += [f"validation loss of epoch {e.number}" for e in record.epochs if not finite(e.valid_loss)]
    broken += [f"update {update.update}" for update in record.updates if not finite(update.loss)]
    if broken:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        return Criterion("losses", wanted, f"not finite: {broken[0]}{more}", False)
    seen = f"all of {_count(len(record.epochs), 'epoch')} and {_count(len(record.updates), 'logged update')}"
    return Criterion("losses", wanted, seen, True)


def no_alarms(record: RunRecord) -> Criterion:
    """The guards saw nothing. A rescue is preceded by an alarm, and so counts here."""
    kinds = [word(event, "kind") for event in items(record.collapse, "events")]
    count = max(len(kinds), whole(record.result, "alarms") or 0)
    named = ", ".join(dict.fromkeys(kind.replace("_", " ") for kind in kinds if kind))
    return Criterion("alarms", "none", _joined(str(count) if count else "none", named), not count)


def skipped(most: float, record: RunRecord) -> Criterion:
    """Few updates, or none, were left out."""
    wanted = "no update left out" if most == 0 else f"at most {most:.0%} of updates left out"
    done, left = whole(record.result, "updates"), whole(record.result, "skipped_updates")
    if record.updates and (done is None or left is None):
        done, left = record.updates[-1].update, record.updates[-1].skipped
    if not done or left is None:
        return Criterion("updates", wanted, "none was recorded", False)
    return Criterion("updates", wanted, f"{left} of {done}", left / done <= most + TOLERANCE)


def test_gap(most: float, record: RunRecord) -> Criterion:
    """Accuracy, F1 and the objective's metric on test are close to validation's."""
    wanted = f"within {most:.0%} of validation"
    if not record.result:
        return Criterion("test", wanted, NO_RESULT, None)
    if not section(record.result, "test"):
        return Criterion("test", wanted, "there is no test split", None)
    gaps = []
    for metric in dict.fromkeys(("accuracy", "f1", word(record.config, "objective", "metric"))):
        before, after = (number(record.result, split, metric) for split in ("valid", "test"))
        if finite(before) and finite(after):
            gaps.append((abs(after - before), metric, before, after))
    if not gaps:
        return Criterion("test", wanted, "no figure is defined on both", False)
    gap, metric, before, after = max(gaps)
    seen = f"{metric.replace('_', ' ')} {before:.4f} on validation, {after:.4f} on test"
    return Criterion("test", wanted, seen, gap <= most + TOLERANCE)


def above_baselines(record: RunRecord) -> Criterion:
    """The objective's metric beats that of every baseline."""
    wanted = "better than every baseline"
    if not record.result:
        return Criterion("baselines", wanted, NO_RESULT, None)
    split = "test" if section(record.result, "test") else "valid"
    own = record.score_of(section(record.result, split))
    others = {
        str(name): record.score_of(section(record.result, "baselines", str(name), split))
        for name in section(record.result, "baselines")
    }
    if own is None or record.objective is None or not others or None in others.values():
        return Criterion("baselines", wanted, f"not all are defined on the {split} split", False)
    beaten = all(score is not None and record.objective.better(own, score) for score in others.values())
    beside = ", ".join(f"{name} {score:.4f}" for name, score in others.items())
    return Criterion("baselines", wanted, f"{record.objective.name} {own:.4f} ({split} split): {beside}", beaten)


def mixed_precision(record: RunRecord) -> Criterion:
    """The run computed in half precision, and no rescue took it back."""
    planned = word(record.plan, "precision") or "unknown"
    fallen = [name for rescue in items(record.result, "rescues") if (name := word(rescue, "precision"))]
    seen = planned + "".join(f", then {name}" for name in fallen)
    return Criterion("precision", "bf16 or fp16 throughout", seen, planned in ("bf16", "fp16") and not fallen)


def beside_reference(most: float, record: RunRecord, reference: Reference | None) -> list[Criterion]:
    """F1 on validation beside the reference's, and the speed, which is not judged: machines are noisy."""
    wanted = f"F1 within {most:.0%} of full precision"
    if reference is None:
        return [Criterion("reference", wanted, "none was given: protocol.reference=<run folder>", None)]
    own = number(record.result, "valid", "f1")
    if not finite(own):
        return [Criterion("reference", wanted, NO_RESULT, None)]
    seen = f"{own:.4f}, and {reference.f1:.4f} in {reference.precision} ({reference.folder})"
    found = [Criterion("reference", wanted, seen, abs(own - reference.f1) <= most + TOLERANCE)]
    seconds = seconds_an_epoch(record)
    if seconds and reference.seconds:
        speed = f"{reference.seconds / seconds:.2f}x ({reference.seconds:.1f} s to {seconds:.1f} s an epoch)"
        found.append(Criterion("speed", "1.5 to 2x on a GPU", speed, None))
    return found


def _since(record: RunRecord, first: int) -> tuple[list[EpochRecord], str]:
    """The epochs from ``first`` (one-based) on, and how that is said."""
    judged = [epoch for epoch in record.epochs if epoch.number >= first]
    return judged, "" if first == 1 else f" from epoch {first} on"


def _shares(epoch: EpochRecord) -> dict[str, tuple[float, float]]:
    """Predicted and actual share of every class that the validation split holds."""
    figures = section(epoch.valid, "per_class")
    shares = {
        str(name): (number(node, "predicted_share"), number(node, "actual_share")) for name, node in figures.items()
    }
    return {name: (_or(a, 0.0), b) for name, (a, b) in shares.items() if finite(b) and b > 0}


def _or(value: float | None, otherwise: float) -> float:
    return value if finite(value) else otherwise


def _joined(what: str, why: str) -> str:
    return f"{what}: {why.rstrip('.')}" if why else what


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _epochs(numbers: Sequence[int]) -> str:
    return f"epoch{'s' if len(numbers) > 1 else ''} {', '.join(map(str, numbers))}"
