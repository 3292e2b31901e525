"""What a run came to beside the test split and the baselines."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from counterpoise.reports.findings import Finding
from counterpoise.reports.noise import DEVIATIONS, standard_error, too_few
from counterpoise.reports.reading import finite, number, section, word
from counterpoise.reports.remedies import Remedies
from counterpoise.reports.rules.course import ran_to_the_end
from counterpoise.reports.runs import RunRecord

FAR = 0.05
"""A test figure this far from validation's is pointed out."""
LONGER = 3
CHOSEN = 3.0
"""Standard errors within which a test figure may be from validation's: the best of many epochs was chosen there, which
flatters it by about one."""
SIGNIFICANCE = 0.05


def test_differs(record: RunRecord) -> Finding | None:
    """A figure on the test split that lies more than 5 points from validation's, and further than chance explains."""
    valid, test = section(record.result, "valid"), section(record.result, "test")
    if too_few(valid) or too_few(test):
        return None
    gaps = []
    for metric in dict.fromkeys(("accuracy", word(record.config, "objective", "metric"))):
        before, after = number(valid, metric), number(test, metric)
        errors = standard_error(metric, valid), standard_error(metric, test)
        if finite(before) and finite(after) and errors[0] is not None and errors[1] is not None:
            gaps.append((abs(after - before), metric, before, after, CHOSEN * math.hypot(errors[0], errors[1])))
    gaps = [gap for gap in gaps if gap[0] > max(FAR, gap[4])]
    if not gaps:
        return None
    _, metric, before, after, chance = max(gaps, key=lambda gap: gap[0])
    override = Remedies(record).without_leaks()
    otherwise = "" if override else "; the splits differ: look at where their rows come from"
    return Finding(
        kind="test_differs",
        severity="warning",
        message=(
            f"{metric} is {after:.4f} on the test split but {before:.4f} on validation; splits of these sizes differ "
            f"by up to {chance:.4f} by chance{otherwise}."
        ),
        evidence={"valid": before, "test": after, "limit": FAR, "chance": chance},
        override=override,
        why="records are in two splits: what was seen in training is no test",
    )


@dataclass(frozen=True)
class _Better:
    """Something that has a better figure than the model, the best of its kind."""

    name: str
    own: float
    score: float
    split: str
    """That both figures are of: test where there is one."""
    metric: str
    beyond_chance: bool | None
    """``None``: not known."""
    compared: str
    """By what, and how it came out."""
    evidence: Mapping[str, float]


def _better(record: RunRecord, among: str) -> _Better | None:
    """The best of a section of the result, if its figure is better than the model's."""
    split = "test" if section(record.result, "test") else "valid"
    own = record.score_of(section(record.result, split))
    if own is None or record.objective is None or too_few(section(record.result, split)):
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
    beyond, compared = _compared(record, split, name, scores[name] - own)
    metric = record.objective.name
    return _Better(name, own, scores[name], split, metric, beyond, compared, {"model": own, **scores})


def _compared(record: RunRecord, split: str, name: str, difference: float) -> tuple[bool | None, str]:
    """Whether a difference is beyond chance: by a paired bootstrap where predictions are kept, else by an error."""
    from counterpoise.reports.paired import against_baselines  # 0.4 s, for a run that is below one

    paired = against_baselines(record, split).get(name)
    if paired is not None:
        test = f"paired bootstrap, interval {paired.low:+.4f} to {paired.high:+.4f}, p {paired.p:.2g}"
        return paired.p < SIGNIFICANCE, test
    metric = record.objective.name if record.objective is not None else ""
    error = standard_error(metric, section(record.result, split))
    if error is None:
        return None, "not tested: its predictions are not kept"
    chance = DEVIATIONS * 2**0.5 * error
    return abs(difference) > chance, f"differences of up to {chance:.4f} are chance"


def below_baseline(record: RunRecord) -> Finding | None:
    """A baseline that does better than the model, on the test split where there is one; the best such baseline."""
    found, remedies = _better(record, "baselines"), Remedies(record)
    if found is None:
        return None
    at = f"{found.metric} on the {found.split} split is {found.own:.4f}"
    other = f"the baseline {found.name}'s {found.score:.4f} ({found.compared})"
    if not found.beyond_chance:
        relation = "below" if found.beyond_chance is None else "which cannot be told apart from"
        return Finding(
            kind="below_baseline", severity="note", message=f"{at}, {relation} {other}.", evidence=found.evidence
        )
    override, why = "", ""
    if remedies.off_recipe():
        override, why = remedies.recipe(), "the model's own learning rate"
    elif ran_to_the_end(record) and _lowest_last(record):
        override, why = remedies.epochs(LONGER * len(record.epochs)), "validation's loss was lowest at the end: go on"
    otherwise = "" if override else "; use the baseline, or more data"
    return Finding(
        kind="below_baseline",
        severity="critical" if found.name == "majority" else "warning",
        message=f"{at}, below {other}{otherwise}.",
        evidence=found.evidence,
        override=override,
        why=why,
    )


def _lowest_last(record: RunRecord) -> bool:
    """Whether the last epoch has the lowest validation loss."""
    losses = [epoch.valid_loss for epoch in record.epochs if finite(epoch.valid_loss)]
    return bool(losses) and record.epochs[-1].valid_loss == min(losses)


def below_branch(record: RunRecord) -> Finding | None:
    """A branch of a fusion, or the plain average of both, that does better than the fusion, beyond chance."""
    found = _better(record, "branches")
    if found is None or not found.beyond_chance:
        return None
    what = "the plain average of its branches'" if found.name == "average" else f"its branch {found.name}'s alone,"
    remedies = Remedies(record)
    override = remedies.recipe() if remedies.off_recipe() else ""
    otherwise = "" if override else "; use what is better, or train the fusion layer alone (model.mode=frozen)"
    return Finding(
        kind="below_branch",
        severity="warning",
        message=(
            f"{found.metric} on the {found.split} split is {found.own:.4f}, below {what} {found.score:.4f} "
            f"({found.compared}){otherwise}."
        ),
        evidence=found.evidence,
        override=override,
        why="the model's own learning rate",
    )
