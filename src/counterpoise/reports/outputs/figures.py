"""How figures are written, in every form alike."""

from __future__ import annotations

import math
from collections.abc import Sequence

from counterpoise.errors import escape_control
from counterpoise.inks import shorter
from counterpoise.metrics import METRICS as DIRECTIONS
from counterpoise.reports.report import Comparison, DataSet, Figure, Interval, Row

NONE = "–"
"""What is not defined."""
METRICS = ("f1", "macro_f1", "accuracy", "precision", "recall", "roc_auc", "pr_auc", "mcc")
"""Their order, behind the one that decides; others follow as they come."""
MAIN_METRICS = 6
"""Columns of a table that is to fit on paper."""
_NAMES = {
    "f1": "F1",
    "macro_f1": "macro F1",
    "weighted_f1": "weighted F1",
    "roc_auc": "ROC-AUC",
    "pr_auc": "PR-AUC",
    "mcc": "MCC",
}


LONGEST_NAME = 120
"""Characters of a name in a table for readers; JSON, CSV and Markdown have all of it."""


def shortened(name: str) -> str:
    """A name of that length at most, cut in its middle: names of one model differ at their ends."""
    return shorter(name, LONGEST_NAME)


def titled(metric: str) -> str:
    """``roc_auc`` as ``ROC-AUC``; what is not known, with blanks for underscores."""
    return _NAMES.get(metric, escape_control(metric).replace("_", " "))


def larger_is_better(data: DataSet, metric: str) -> bool:
    """Whether a larger figure is a better one."""
    return data.maximise if metric == data.metric else DIRECTIONS.get(metric, "maximise") == "maximise"


def metrics_of(data: DataSet) -> list[str]:
    """The metrics that some row has, in the order in which they are shown: the one that decides comes first."""
    known = dict.fromkeys(metric for row in data.rows for metric in row.figures)
    return [metric for metric in dict.fromkeys([data.metric, *METRICS, *known]) if metric in known]


def shown_metrics(data: DataSet) -> list[str]:
    """Those of them that a page has room for; CSV and JSON have all."""
    return [metric for metric in metrics_of(data) if metric in METRICS or metric == data.metric]


def leading(data: DataSet) -> str:
    """The first of them: the one that decides, where it is known."""
    return next(iter(shown_metrics(data)), data.metric)


def number(value: float | None) -> str:
    """Four decimals; ``–`` for what is not defined."""
    if value is None or not math.isfinite(value):
        return NONE
    return f"{value:.4f}".replace("-0.0000", "0.0000")


def signed(value: float | None) -> str:
    """As :func:`number`, with its sign."""
    return NONE if value is None or not math.isfinite(value) else f"{value:+.4f}"


def mean_std(figure: Figure | None) -> str:
    """``0.6543 ± 0.0123``; without a deviation, of one repetition, the mean alone."""
    if figure is None:
        return NONE
    return number(figure.mean) + (f" ± {number(figure.std)}" if figure.std is not None else "")


def span(interval: Interval | None) -> str:
    """``0.6301 to 0.6785``."""
    return NONE if interval is None else f"{number(interval[0])} to {number(interval[1])}"


def interval_of(figure: Figure) -> tuple[Interval | None, str]:
    """The interval that takes most into account, and what it is over; empty where there is none."""
    for interval, over in (
        (figure.over_both, "rows and seeds"),
        (figure.over_rows, "rows"),
        (figure.over_seeds, "seeds"),
    ):
        if interval is not None:
            return interval, over
    return None, ""


def interval_of_difference(comparison: Comparison) -> tuple[Interval | None, str]:
    """The same of a difference."""
    if comparison.over_both is not None:
        return comparison.over_both, "rows and seeds"
    return comparison.over_rows, "rows" if comparison.over_rows is not None else ""


def p_value(value: float | None) -> str:
    """Four decimals, and no zero."""
    if value is None:
        return NONE
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def corrected(comparison: Comparison) -> float | None:
    """The p value that belongs to :func:`interval_of_difference`, with Holm's correction."""
    return comparison.p_bootstrap_holm if comparison.over_both is None else comparison.p_both_holm


def tested(comparison: Comparison) -> bool:
    """Whether chance was accounted for at all: not where the predictions of either were not kept."""
    return interval_of_difference(comparison)[0] is not None or comparison.p_mcnemar is not None


def duration(seconds: float | None) -> str:
    """``42 s``, ``3 min 5 s``, ``2 h 13 min``, ``3 d 4 h``."""
    if seconds is None or not math.isfinite(seconds):
        return NONE
    whole = round(seconds)
    for unit, size, smaller, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size:,} {unit}" + (f" {rest} {smaller}" if rest else "")
    return f"{whole} s" if whole else f"{seconds:.1f} s"


def count(number_of: int, one: str, many: str = "") -> str:
    """``1 run``, ``2,000 runs``."""
    return f"{number_of:,} {one if number_of == 1 else many or one + 's'}"


def repetitions(row: Row) -> str:
    """``5 seeds``, ``5 folds``, ``3 seeds of 5 folds``; empty for baselines."""
    if not row.repetitions:
        return ""
    folds = {len(each.folds) for each in row.repetitions}
    if row.over == "folds":
        return count(sum(max(len(each.folds), 1) for each in row.repetitions), "fold")
    said = count(len(row.repetitions), "seed")
    return f"{said} of {count(max(folds), 'fold')}" if row.over != "seeds" and max(folds) > 0 else said


def range_of(rows: Sequence[Row], metric: str) -> tuple[float, float]:
    """From where to where an axis goes: around the models, and whatever else is not far off.

    One baseline at 0 would press all models together.
    """
    ends = [(row.kind, _ends(row.figures[metric])) for row in rows if metric in row.figures]
    models = [end for kind, of in ends if kind != "baseline" for end in of]
    models = models or [end for _, of in ends for end in of] or [0.0, 1.0]
    low, high = min(models), max(models)
    room = max(high - low, 0.02)
    near = [end for _, of in ends if min(of) >= low - 0.8 * room and max(of) <= high + 0.8 * room for end in of]
    low, high = min([low, *near]), max([high, *near])
    room = max(high - low, 0.02)
    return low - 0.12 * room, high + 0.08 * room


def _ends(figure: Figure) -> list[float]:
    return [figure.mean, *figure.values, *(interval_of(figure)[0] or ())]
