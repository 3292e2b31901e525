"""What a report says in words: what was found, how to read a comparison, how the figures came about."""

from __future__ import annotations

from collections.abc import Iterator

from counterpoise.metrics import SAME_SCORE, tie_breaker
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
FLATTERED = "beyond chance, on rows it was chosen on"
"""What would be clear, had the epochs, the thresholds and the best not been chosen on the held-out rows."""
CHOSEN_HERE = "Epochs, thresholds and the best were chosen on these very rows, which flatters them."
AHEAD, BEHIND, UNCLEAR, UNTESTED = "beats", "is beaten by", "cannot be told apart from", "was not tested against"
"""Of one row to another."""
OF_ROWS_ONLY = {
    AHEAD: "beats, beyond chance of the rows only,",
    BEHIND: "is beaten, beyond chance of the rows only, by",
}
"""The same, where other seeds may say otherwise."""


def verdict_of(data: DataSet, comparison: Comparison) -> str:
    """The verdict in few words."""
    if not tested(comparison):
        return NOT_TESTED
    return FLATTERED if _flattered(data, comparison) else VERDICTS[comparison.verdict]


def _flattered(data: DataSet, comparison: Comparison) -> bool:
    return data.chosen_here and comparison.verdict == "clear"


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
    models = [row for row in data.rows if row.kind == "model"]
    if best is None:
        yield _without_best(data, len(models))
        return
    yield f"{_chosen(data, best, len(models))}; {_figures(report, data, best)}."
    if best.incomplete:
        yield f"It is not complete: {best.incomplete}."
    if data.chosen_here:
        yield CHOSEN_HERE
    if len(models) > 1:
        yield against(data, best, models[1])
    baselines = [row for row in data.rows if row.kind == "baseline"]
    if baselines:
        yield " ".join(_against_baselines(data, best, baselines))


def _chosen(data: DataSet, best: Row, models: int) -> str:
    """What the best model is: the only one, the best, or one of several with the same score."""
    if models == 1:
        return f"{best.name} was trained"
    if len(data.leaders) == 1:
        return f"{best.name} is the best of {models} models by its score on validation"
    others = [row for row in data.leaders if row is not best]
    named = listed([row.name for row in others])
    tied = f"{best.name} is tied with {named} on validation ({number(best.valid[data.metric].mean)})"
    breaker = tie_breaker(data.metric, two_classes=len(data.classes) == 2)
    values = [row.valid[breaker].mean if breaker in row.valid else None for row in (best, *others)]
    if values[0] is None or any(value is not None and abs(value - values[0]) <= SAME_SCORE for value in values[1:]):
        return f"{tied}, and nothing else puts it first"
    return f"{tied} and stands first by its {titled(breaker)} there"


def _without_best(data: DataSet, models: int) -> str:
    if not models:
        return "no run finished."
    why = "none has a score on validation" if data.metric else "their runs name no known objective"
    trained = "1 model was" if models == 1 else f"{models:,} models were"
    return f"{trained} trained; which is the best cannot be said: {why}."


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
        unlike = _disagreement(data, comparison)
        return f"It cannot be told apart from the next, {other.name}: it is {_by(data, gain)}{more}{unlike}."
    ahead = "beats" if gain > 0 else "is beaten by"
    if _flattered(data, comparison):
        return f"It {ahead} the next, {other.name}, by {number(abs(gain))}: {FLATTERED}."
    if comparison.verdict == "clear":
        unlike = _disagreement(data, comparison)
        return f"It clearly {ahead} the next, {other.name}, by {number(abs(gain))}{unlike}."
    return (
        f"It {ahead} the next, {other.name}, by {number(abs(gain))}: beyond chance of rows, but other seeds may "
        f"say otherwise{_disagreement(data, comparison)}."
    )


def _disagreement(data: DataSet, comparison: Comparison) -> str:
    """Where the McNemar test, of accuracy, says otherwise than the deciding metric: what it says, and which decides."""
    if comparison.metric == "accuracy" or comparison.more_right is None:
        return ""
    tests = f"(McNemar test, p {p_value(comparison.p_mcnemar_holm)}); {titled(comparison.metric)} decides"
    if comparison.more_right == "unclear":
        return "" if comparison.verdict == "unclear" else f"; in accuracy they cannot be told apart {tests}"
    ahead = "first" if _gain(data, comparison, turned=False) > 0 else "second"
    if comparison.verdict != "unclear" and comparison.more_right == ahead:
        return ""
    name = comparison.first if comparison.more_right == "first" else comparison.second
    return f"; in accuracy {name} is ahead {tests}"


def _gain(data: DataSet, comparison: Comparison, turned: bool) -> float:
    """By how much the first is better, negative if it is worse."""
    return comparison.difference * (-1 if turned else 1) * (1 if data.maximise else -1)


def _by(data: DataSet, gain: float) -> str:
    """How far a row is ahead or behind on the held-out rows, whichever it is."""
    where = "behind" if gain < 0 else "ahead"
    return f"{number(abs(gain))} {titled(data.metric)} {where} on the held-out rows"


def _against_baselines(data: DataSet, best: Row, baselines: list[Row]) -> Iterator[str]:
    """Which baselines it beats, and which it does not."""
    order = [AHEAD, OF_ROWS_ONLY[AHEAD], BEHIND, OF_ROWS_ONLY[BEHIND], UNCLEAR, UNTESTED]
    named: dict[str, list[str]] = {relation: [] for relation in order}
    unlike: dict[str, str] = {}
    for row in baselines:
        there = comparison_of(data, best.name, row.name, data.metric)
        relation = UNTESTED if there is None else _relation(data, *there)
        if there is not None and there[0].verdict == "rows only":
            relation = OF_ROWS_ONLY.get(relation, relation)
        named[relation].append(row.name)
        unlike[row.name] = "" if there is None else _disagreement(data, there[0])
    for relation, names in named.items():
        if names:
            said = "".join(_of_baseline(name, unlike[name], names) for name in names)
            yield f"It {relation} the baseline{'' if len(names) == 1 else 's'} {listed(names)}{said}."


def _of_baseline(name: str, unlike: str, names: list[str]) -> str:
    """A disagreement behind several names says whose it is."""
    return (
        unlike if len(names) == 1 or not unlike else unlike.replace("; in accuracy ", f"; beside {name}, in accuracy ")
    )


def _relation(data: DataSet, comparison: Comparison, turned: bool) -> str:
    if not tested(comparison):
        return UNTESTED
    if comparison.verdict == "unclear":
        return UNCLEAR
    return AHEAD if _gain(data, comparison, turned) > 0 else BEHIND


def listed(names: list[str]) -> str:
    """``a, b and c``."""
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
    if comparison.verdict == "clear" and tested(comparison) and not data.chosen_here:
        relation = "clearly beats" if relation == AHEAD else "is clearly beaten by"
    facts = [f"difference {comparison.difference:+.4f} {titled(comparison.metric)}"]
    if interval is not None:
        facts.append(f"interval {interval[0]:+.4f} to {interval[1]:+.4f}, of {over}")
    if corrected(comparison) is not None:
        facts.append(f"p {p_value(corrected(comparison))}")
    if _disagreement(data, comparison):
        facts.append(_disagreement(data, comparison).removeprefix("; "))
    if _flattered(data, comparison) and tested(comparison):
        facts.append(FLATTERED)
    if comparison.verdict == "rows only":
        facts.append("beyond chance of rows, not of seeds")
    if comparison.verdict == "unclear" and comparison.seeds_needed:
        facts.append(f"about {count(comparison.seeds_needed, 'seed')} of each would tell")
    facts += _incomplete(data, comparison)
    return f"{comparison.first} {relation} {comparison.second}: {'; '.join(facts)}"


def _incomplete(data: DataSet, comparison: Comparison) -> list[str]:
    """What the figures of either row lack."""
    rows = [row for row in data.rows if row.name in (comparison.first, comparison.second)]
    return [f"{row.name} is not complete ({row.incomplete})" for row in rows if row.incomplete]


def order_of(data: DataSet) -> str:
    """How the rows of a table are ordered, what that does to their figures, and what ± is over."""
    overs = [over for over in DEVIATION if any(row.over == over for row in data.rows if row.kind == "model")]
    deviation = f"± is the standard deviation {' or '.join(DEVIATION[over] for over in overs or ['seeds'])} (n − 1)."
    return f"{ranking(data)} {deviation}"


def ranking(data: DataSet) -> str:
    """How the rows are ordered, and whether the held-out rows had a say in it."""
    flattered = f" {CHOSEN_HERE}" if data.chosen_here else ""
    if data.best is None:
        return f"Nothing says which model is the best: they stand as their runs were given.{flattered}"
    nothing = "" if data.chosen_here else ": the held-out rows decide nothing"
    return f"Models stand in the order of their mean {titled(data.metric)} on validation{nothing}.{flattered}"


def published(report: Report) -> dict[str, str]:
    """The paragraphs for a publication, by the row's name; they say where the held-out rows are flattered."""
    several = len(report.data) > 1
    flattered = {
        f"{data.name}: {row.name}" if several else row.name
        for data in report.data
        for row in data.rows
        if data.chosen_here
    }
    return {name: f"{text} {CHOSEN_HERE}" if name in flattered else text for name, text in report.publication.items()}
