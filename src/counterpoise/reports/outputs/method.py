"""How the figures of a report came about, in words."""

from __future__ import annotations

from counterpoise.metrics import CALIBRATION_BINS
from counterpoise.reports.outputs.sentences import listed
from counterpoise.reports.report import Report


def method_of(report: Report) -> list[str]:
    """How the figures were computed, a paragraph each."""
    method, level = report.method, f"{report.method.confidence * 100:g} %"
    return [
        "Rows. A row holds the runs of one configuration; what differs between them is the seed or the fold. Runs are "
        "compared only where they were measured on the same held-out rows. The best model, the best seed and the order "
        f"of the table are chosen by the score on validation. {_decides(report)}",
        "Deviation. The standard deviation is that of a sample, n − 1.",
        f"Intervals ({level}). Of seeds: Student's t over the repetitions, on the same rows. Of rows: a stratified "
        f"bootstrap of {method.resamples:,} resamples of the held-out rows (seed {method.seed}), with the same trained "
        "models. Of rows and seeds: both kinds of chance together. The tables show the last where it is known.",
        "Comparisons. Two rows are compared run by run, of one seed where both have it, on the same held-out rows: "
        "a paired bootstrap over rows, an exact McNemar test on which rows are predicted right (of accuracy, whatever "
        "metric decides), and a t test of rows "
        "and seeds together. p values carry Holm's correction over all comparisons of a data set"
        + (
            f"; where there are more than {method.compared} models, each is compared with the best."
            if method.compared
            else "."
        ),
        "Verdicts. Clear: beyond chance of rows and seeds after correction. Beyond chance of rows: the same trained "
        "models would differ on other rows too, but other seeds may not. Effect is Cohen's d of the pairs' differences "
        "with Hedges' correction; the seeds needed are those with which a paired t test sees this difference with "
        "power 0.8.",
        f"Calibration. Expected calibration error, {CALIBRATION_BINS} bins of equal width, before and after the "
        "temperature that was fitted on validation.",
    ]


def _decides(report: Report) -> str:
    """Whether the held-out rows had a say in anything."""
    flattered = [data.name for data in report.data if data.chosen_here]
    if not flattered:
        return "The test split decides nothing."
    where = "" if len(flattered) == len(report.data) else f" of {listed(flattered)}"
    return (
        f"The held-out rows{where} are validation rows: epochs, thresholds and the best were chosen on them, which "
        "flatters them, so that no difference there is called clear."
    )
