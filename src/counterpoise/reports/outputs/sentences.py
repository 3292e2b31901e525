"""What a report says in words: what was found, how to read a comparison, how the figures came about."""

from __future__ import annotations

from collections.abc import Iterator

from counterpoise.reports.outputs.figures import (
    corrected,
    count,
    duration,
    interval_of,
    interval_of_difference,
    mean_std,
    number,
    p_value,
    repetitions,
    span,
    tested,
    titled,
)
from counterpoise.reports.report import Comparison, DataSet, Report, Row

DEVIATION = {
    "seeds": "over seeds",
    "folds": "over folds",
    "seeds of means over folds": "over seeds, of means over folds",
}
VERDICTS = {
    "clear": "clear",
    "rows only": "beyond chance of rows",
    "unclear": "cannot be told apart",
}
"""In few words."""
NOT_TESTED = "not tested"
AHEAD, BEHIND, UNCLEAR, UNTESTED = RELATIONS = (
    *("beats", "is beaten by", "cannot be told apart from", "was not tested against"),
)
"""Of one row to another."""


def verdict_of(comparison: Comparison) -> str:
    """The verdict in few words."""
    return VERDICTS[comparison.verdict] if tested(comparison) else NOT_TESTED


def found(report: Report) -> list[str]:
    """What was found: of each data set the best model and what it beats, and what did not finish."""
    said = []
    for data in report.data:
        begin = f"On {data.name}: " if len(report.data) > 1 else ""
        said += [begin + " ".join(_of_data(report, data))]
    if not report.data:
        said.append("No run finished, so there are no figures.")
    return [*said, _of_runs(report)]


def _of_data(report: Report, data: DataSet) -> Iterator[str]:
    best = data.best
    if best is None:
        yield "no run finished."
        return
    models = [row for row in data.rows if row.kind == "model"]
    among = f" is the best of {len(models)} models by its score on validation" if len(models) > 1 else " was trained"
    yield f"{best.name}{among}; {_figures(report, data, best)}."
    if len(models) > 1:
        yield against(data, best, models[1])
    baselines = [row for row in data.rows if row.kind == "baseline"]
    if baselines:
        yield " ".join(_against_baselines(data, best, baselines))


def _figures(report: Report, data: DataSet, row: Row) -> str:
    where = {"test": "test", "valid": "validation", "out of fold": "held-out"}[data.split]
    figure = row.figures.get(data.metric)
    if figure is None:
        return f"its {titled(data.metric)} on the {data.size:,} {where} rows is not defined"
    interval, over = interval_of(figure)
    beside = [f"{repetitions(row)}"] if repetitions(row) else []
    if interval is not None:
        beside.append(f"{report.method.confidence:.0%} interval {span(interval)}, of {over}".replace("%", " %", 1))
    brackets = f" ({'; '.join(beside)})" if beside else ""
    return f"its {titled(data.metric)} on the {data.size:,} {where} rows is {mean_std(figure)}{brackets}"


def comparison_of(data: DataSet, first: str, second: str, metric: str) -> tuple[Comparison, bool] | None:
    """The comparison of two rows, and whether they stand in it the other way round."""
    for each in data.comparisons:
        if each.metric == metric and {each.first, each.second} == {first, second}:
            return each, each.first != first
    return None


def against(data: DataSet, best: Row, other: Row) -> str:
    """How the best row does against another, in a sentence."""
    there = comparison_of(data, best.name, other.name, data.metric)
    if there is None or not tested(there[0]):
        return f"It was not tested against the next, {other.name}."
    comparison, turned = there
    gain = _gain(data, comparison, turned)
    if comparison.verdict == "unclear":
        more = f"; about {count(comparison.seeds_needed, 'seed')} of each would tell" if comparison.seeds_needed else ""
        return f"It cannot be told apart from the next, {other.name}, at {_by(data, gain)}{more}."
    ahead = "beats" if gain > 0 else "is beaten by"
    if comparison.verdict == "clear":
        return f"It clearly {ahead} the next, {other.name}, by {number(abs(gain))}."
    return (
        f"It {ahead} the next, {other.name}, by {number(abs(gain))}: beyond chance of rows, but other seeds may "
        f"say otherwise."
    )


def _gain(data: DataSet, comparison: Comparison, turned: bool) -> float:
    """By how much the first is better, negative if it is worse."""
    return comparison.difference * (-1 if turned else 1) * (1 if data.maximise else -1)


def _by(data: DataSet, gain: float) -> str:
    return f"a difference of {number(abs(gain))} in {titled(data.metric)}"


def _against_baselines(data: DataSet, best: Row, baselines: list[Row]) -> Iterator[str]:
    """Which baselines it beats, and which it does not."""
    named: dict[str, list[str]] = {relation: [] for relation in RELATIONS}
    for row in baselines:
        there = comparison_of(data, best.name, row.name, data.metric)
        named[UNTESTED if there is None else _relation(data, *there)].append(row.name)
    for relation, names in named.items():
        if names:
            yield f"It {relation} the baseline{'' if len(names) == 1 else 's'} {_listed(names)}."


def _relation(data: DataSet, comparison: Comparison, turned: bool) -> str:
    if not tested(comparison):
        return UNTESTED
    if comparison.verdict == "unclear":
        return UNCLEAR
    return AHEAD if _gain(data, comparison, turned) > 0 else BEHIND


def _listed(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _of_runs(report: Report) -> str:
    missing = {status: of for status, of in report.statuses.items() if status != "finished"}
    total = sum(report.statuses.values())
    if not missing:
        said = "The run finished" if total == 1 else f"All {total:,} runs finished"
    else:
        parts = ", ".join(f"{of:,} {status}" for status, of in missing.items())
        said = f"{sum(missing.values()):,} of {count(total, 'run')} did not finish ({parts})"
    return f"{said}; {duration(report.seconds)} of computing in all."


def comparison_line(data: DataSet, comparison: Comparison) -> str:
    """A comparison as one line."""
    interval, over = interval_of_difference(comparison)
    relation = _relation(data, comparison, turned=False)
    if comparison.verdict == "clear" and tested(comparison):
        relation = "clearly beats" if relation == AHEAD else "is clearly beaten by"
    facts = [f"difference {comparison.difference:+.4f} {titled(comparison.metric)}"]
    if interval is not None:
        facts.append(f"interval {interval[0]:+.4f} to {interval[1]:+.4f}, of {over}")
    if corrected(comparison) is not None:
        facts.append(f"p {p_value(corrected(comparison))}")
    if comparison.verdict == "rows only":
        facts.append("beyond chance of rows, not of seeds")
    if comparison.verdict == "unclear" and comparison.seeds_needed:
        facts.append(f"about {count(comparison.seeds_needed, 'seed')} of each would tell")
    return f"{comparison.first} {relation} {comparison.second}: {'; '.join(facts)}"


def order_of(data: DataSet) -> str:
    """How the rows of a table are ordered, and what ± is over."""
    overs = [over for over in DEVIATION if any(row.over == over for row in data.rows if row.kind == "model")]
    return (
        f"Models stand in the order of their mean {titled(data.metric)} on validation: the held-out rows decide "
        f"nothing. ± is the standard deviation {' or '.join(DEVIATION[over] for over in overs or ['seeds'])} (n − 1)."
    )


def method_of(report: Report) -> list[str]:
    """How the figures were computed, a paragraph each."""
    method, level = report.method, f"{report.method.confidence * 100:g} %"
    return [
        "Rows. A row holds the runs of one configuration; what differs between them is the seed or the fold. Runs are "
        "compared only where they were measured on the same held-out rows. The best model, the best seed and the order "
        "of the table are chosen by the score on validation. The test split decides nothing.",
        "Deviation. The standard deviation is that of a sample, n − 1.",
        f"Intervals ({level}). Of seeds: Student's t over the repetitions, on the same rows. Of rows: a stratified "
        f"bootstrap of {method.resamples:,} resamples of the held-out rows (seed {method.seed}), with the same trained "
        "models. Of rows and seeds: both kinds of chance together. The tables show the last where it is known.",
        "Comparisons. Two rows are compared run by run, of one seed where both have it, on the same held-out rows: "
        "a paired bootstrap over rows, an exact McNemar test on which rows are predicted right, and a t test of rows "
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
        "Calibration. Expected calibration error, 15 bins of equal width, before and after the temperature that was "
        "fitted on validation.",
    ]
