"""What a run came to beside the test split and the baselines."""

from __future__ import annotations

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


def below_baseline(record: RunRecord) -> Finding | None:
    """A baseline that does better than the model, on the test split where there is one; the best such baseline."""
    split = "test" if section(record.result, "test") else "valid"
    own = record.score_of(section(record.result, split))
    if own is None or record.objective is None:
        return None
    sign = 1 if record.maximise else -1
    scores = {
        name: score
        for name in section(record.result, "baselines")
        if (score := record.score_of(section(record.result, "baselines", str(name), split))) is not None
    }
    name = max(scores, key=lambda name: sign * scores[name], default=None)
    if name is None or not record.objective.better(scores[name], own):
        return None
    metric, remedies = record.objective.name, Remedies(record)
    error = standard_error(metric, section(record.result, split))
    close = error is not None and abs(scores[name] - own) <= DEVIATIONS * 2**0.5 * error
    late = record.best is not None and record.best == len(record.epochs) - 1
    return Finding(
        kind="below_baseline",
        severity="note" if close else "critical" if name == "majority" else "warning",
        message=(
            f"{metric} on the {split} split is {own:.4f}, below the baseline {name}'s {scores[name]:.4f}"
            f"{', by no more than chance explains' if close else ''}."
        ),
        evidence={"model": own, **{str(key): value for key, value in scores.items()}},
        override=remedies.epochs(2 * len(record.epochs)) if late else remedies.lr(0.5),
        why="the best epoch is the last: train longer" if late else "half the learning rate; else use the baseline",
    )
