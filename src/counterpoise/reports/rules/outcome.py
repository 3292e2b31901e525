"""What a run came to beside the test split and the baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from counterpoise.reports.findings import Finding
from counterpoise.reports.noise import DEVIATIONS, standard_error
from counterpoise.reports.reading import finite, number, section, word
from counterpoise.reports.remedies import Remedies
from counterpoise.reports.runs import RunRecord

FAR = 0.05
"""A test figure this far from validation's is pointed out."""


def test_differs(record: RunRecord) -> Finding | None:
    """A figure on the test split that lies more than 5 points from validation's."""
    valid, test = section(record.result, "valid"), section(record.result, "test")
    named = word(record.config, "objective", "metric")
    gaps = []
    for metric in dict.fromkeys(("accuracy", named)):
        before, after = number(valid, metric), number(test, metric)
        if finite(before) and finite(after):
            gaps.append((abs(after - before), metric, before, after))
    gap, metric, before, after = max(gaps, key=lambda found: found[0], default=(0.0, "", 0.0, 0.0))
    if gap <= FAR:
        return None
    errors = standard_error(metric, valid), standard_error(metric, test)
    noise = None if errors[0] is None or errors[1] is None else DEVIATIONS * (errors[0] ** 2 + errors[1] ** 2) ** 0.5
    chance = noise is not None and gap <= noise
    said = "" if noise is None else f"; splits of these sizes differ by up to {noise:.4f} by chance"
    return Finding(
        kind="test_differs",
        severity="note" if chance else "warning",
        message=f"{metric} is {after:.4f} on the test split but {before:.4f} on validation{said}.",
        evidence={"valid": before, "test": after, "limit": FAR} | ({} if noise is None else {"chance": noise}),
        override=Remedies(record).other_split(),
        why="whether the difference stays tells whether it is the splits' or the model's",
    )


@dataclass(frozen=True)
class _Better:
    """Something that does better than the model, the best of its kind."""

    name: str
    score: float
    own: float
    split: str
    """That both figures are of: test where there is one."""
    metric: str
    close: bool
    """Chance explains the difference."""
    evidence: Mapping[str, float]


def _better(record: RunRecord, among: str) -> _Better | None:
    """The best of a section of the result, if it is better than the model."""
    split = "test" if section(record.result, "test") else "valid"
    own = record.score_of(section(record.result, split))
    if own is None or record.objective is None:
        return None
    sign = 1 if record.maximise else -1
    scores = {
        str(name): score
        for name in section(record.result, among)
        if (score := record.score_of(section(record.result, among, str(name), split))) is not None
    }
    name = max(scores, key=lambda name: sign * scores[name], default=None)
    if name is None or not record.objective.better(scores[name], own):
        return None
    metric = record.objective.name
    error = standard_error(metric, section(record.result, split))
    close = error is not None and abs(scores[name] - own) <= DEVIATIONS * 2**0.5 * error
    return _Better(name, scores[name], own, split, metric, close, {"model": own, **scores})


def below_baseline(record: RunRecord) -> Finding | None:
    """A baseline that does better than the model, on the test split where there is one; the best such baseline."""
    found, remedies = _better(record, "baselines"), Remedies(record)
    if found is None:
        return None
    late = record.best is not None and record.best == len(record.epochs) - 1
    return Finding(
        kind="below_baseline",
        severity="note" if found.close else "critical" if found.name == "majority" else "warning",
        message=(
            f"{found.metric} on the {found.split} split is {found.own:.4f}, below the baseline {found.name}'s "
            f"{found.score:.4f}{', by no more than chance explains' if found.close else ''}."
        ),
        evidence=found.evidence,
        override=remedies.epochs(2 * len(record.epochs)) if late else remedies.lr(0.5),
        why="the best epoch is the last: train longer" if late else "half the learning rate; else use the baseline",
    )


def below_branch(record: RunRecord) -> Finding | None:
    """A branch of a fusion, or the plain average of both, that does better than the fusion."""
    found, remedies = _better(record, "branches"), Remedies(record)
    if found is None:
        return None
    what = "the plain average of its branches'" if found.name == "average" else f"its branch {found.name}'s alone,"
    frozen = remedies.frozen_branches()
    return Finding(
        kind="below_branch",
        severity="note" if found.close else "warning",
        message=(
            f"{found.metric} on the {found.split} split is {found.own:.4f}, below {what} {found.score:.4f}"
            f"{', by no more than chance explains' if found.close else ''}."
        ),
        evidence=found.evidence,
        override=frozen or remedies.lr(0.5),
        why="leave the branches as they are" if frozen else "half the learning rate; else use what is better",
    )
