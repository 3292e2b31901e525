"""The diagnosis of a run: rules over its record, the cause before its consequences, no two that contradict."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from counterpoise.jsonio import to_plain
from counterpoise.reports.findings import Finding
from counterpoise.reports.rules import class_counts, classes, fit, guarded, outcome
from counterpoise.reports.rules.exploding import exploding
from counterpoise.reports.rules.not_learning import not_learning
from counterpoise.reports.runs import RunRecord, read_run

Rule = Callable[[RunRecord], Finding | None]

COURSE: Final[tuple[Rule, ...]] = (
    guarded.collapsed,
    exploding,
    not_learning,
    fit.overfitting,
    fit.underfitting,
)
"""What explains the whole course of a training, gravest first: the first that applies is told, and no other."""

OUTCOME: Final[tuple[Rule, ...]] = (
    guarded.rescued,
    classes.stacked_corrections,
    outcome.test_differs,
    guarded.skipped_updates,
    class_counts.positive_majority,
    class_counts.few_records,
)
"""What stands beside it."""

CONSEQUENCES: Final[tuple[Rule, ...]] = (
    classes.under_prediction,
    classes.few_rows,
    outcome.below_branch,
    outcome.below_baseline,
)
"""What follows by itself from a run that learnt nothing, or not yet, and is not told of one."""

NOT_LEARNT = ("collapsed", "exploding", "not_learning", "underfitting")
SEVERITIES = ("critical", "warning", "note")


def diagnose(record: RunRecord) -> list[Finding]:
    """What the run's own files say about how it went, gravest first; empty for a healthy run. Never raises.

    No two findings propose different values for one key: the later one then proposes nothing.
    """
    course = next((finding for rule in COURSE if (finding := rule(record)) is not None), None)
    rules = list(OUTCOME)
    if course is None or course.kind not in NOT_LEARNT:
        rules += CONSEQUENCES
    elif course.kind == "collapsed":
        rules.remove(guarded.rescued)  # a collapse says how many rescues there were
    found = [course, *(rule(record) for rule in rules)]
    graded = sorted(filter(None, found), key=lambda finding: SEVERITIES.index(finding.severity))
    return _agreeing(graded)


def _agreeing(findings: list[Finding]) -> list[Finding]:
    proposed: dict[str, str] = {}
    answer = []
    for finding in findings:
        key, _, value = finding.override.partition("=")
        if not key or proposed.setdefault(key, value) != value:
            finding = dataclasses.replace(finding, override="", why="")
        answer.append(finding)
    return answer


def diagnose_folder(folder: Path, result: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """The findings of a run folder as ``result.json`` holds them.

    Args:
        folder: the run folder.
        result: what is going to be its ``result.json``, if that is not written yet.
    """
    record = read_run(folder)
    if result is not None:
        record = dataclasses.replace(record, result=to_plain(result))
    return [to_plain(finding) for finding in diagnose(record)]
