"""One finished run, measured again: on its own splits, or on a labelled table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, Annotated, Any, Literal

import numpy as np
from rich.console import Console

from counterpoise.answers import column_names, of_records, of_split, table_columns
from counterpoise.config.schema import Range
from counterpoise.data.records import Records
from counterpoise.data.sources.formats import bare_name
from counterpoise.data.sources.inputs import read_inputs
from counterpoise.data.sources.labels import group_of, label_or_number
from counterpoise.data.sources.reading import Column
from counterpoise.decision import Decision, DecisionConfig
from counterpoise.engine.evaluation import Predictions
from counterpoise.errors import CONTROL, UserError, fail, near
from counterpoise.job import build_loss
from counterpoise.jsonio import as_bytes, to_plain, write_together
from counterpoise.measuring import answers, calibration, figures
from counterpoise.metrics import ObjectiveConfig
from counterpoise.names import LONGEST_FILE, distinct
from counterpoise.opening import OpenedModel, open_model, open_run, told_split
from counterpoise.paths import user_path
from counterpoise.reports.predictions import UnusableError, read_predictions
from counterpoise.run_files import read_evaluation
from counterpoise.tracking.console import result_table, show_table
from counterpoise.tracking.folder import RunFolder


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """What to measure, on what, and where to put it."""

    run: str
    """Folder of a finished run."""
    split: Literal["train", "valid", "test"] | None = None
    """Of the run's own data; null takes test where there is one, else valid."""
    input: str | None = None
    """A labelled table in place of a split."""
    text_column: str | None = None
    """Of the table; null: as the run's data call it, like the next two."""
    label_column: str | None = None
    """Of the table: names of classes, or their numbers."""
    criterion_column: str | None = None
    """Of the table, for a run that judges texts by a criterion."""
    group_column: str | None = None
    """Of the table; kept with the predictions."""
    threshold: Annotated[float | Literal["tune"], Range(gt=0, lt=1)] | None = None
    """In place of the run's own; tune finds it on the run's validation predictions. The run stays as it is."""
    threshold_metric: str | None = None
    """What threshold=tune makes largest; null: the run's own, or its objective's."""
    out: str | None = None
    """Folder for what is written; null: the run folder."""
    cache: str | None = None
    """Folder of encoded data; null: the run's own."""
    extensions: tuple[str, ...] = ()
    """Modules of your own that the run's config may name."""


@dataclass(frozen=True)
class _Answered:
    """A model's own answers to labelled records."""

    opened: OpenedModel
    name: str
    """Of what is written: the split's, or ``input_`` and the file's."""
    records: Records
    raw: Predictions
    own: bool
    """Whether it is a split of the run's data."""


def evaluate(config: EvaluateConfig, console: Console) -> Path:
    """Measure a run again.

    Returns:
        the file of figures that was written.

    Raises:
        UserError: if the run cannot be opened, its data have changed, or the table cannot be read.
    """
    answered = _of_split(config, console) if config.input is None else _of_table(config, console)
    decision = _decision(config, answered.opened)
    found = answered.raw.decided(decision)
    measured = figures(found, answered.records)
    if not answered.own:
        del measured["loss"]  # its weights come from the training split, which is not asked for
    summary = {
        "run": near(answered.opened.run.folder),
        "model": type(answered.opened.model).__name__,
        "split" if answered.own else "input": answered.name if answered.own else config.input,
        "records": len(answered.records),
        "classes": answered.opened.classes,
        "decision": asdict(decision),
        "calibration": calibration(answered.raw, found),
        "reproduces_result": _reproduces(answered, decision, measured),
        "metrics": measured,
    }
    path = _path(config, answered.name)
    try:
        table, content = answers(found, answered.records), as_bytes(summary)
        writers: dict[str, Callable[[IO[bytes]], object]] = {
            path.with_suffix(".parquet").name: table,
            path.name: lambda file: file.write(content),
        }
        write_together(path.parent, writers)
    except OSError as error:
        raise fail(near(path.parent), f"cannot be written: {error}.", "Name another folder with out=...") from error
    _show(console, summary, decision, path)
    return path


def _path(config: EvaluateConfig, name: str) -> Path:
    """Of the figures."""
    folder = user_path(config.run, "run") if config.out is None else user_path(config.out, "out")
    return folder / f"evaluation_{name}.json"


def _refuse_others(path: Path, name: str) -> None:
    """Figures of another file that is called the same are not written over."""
    if not path.exists():
        return
    try:
        before = user_path(read_evaluation(path)["input"], "input").resolve()
    except (OSError, RuntimeError, ValueError) as error:
        raise fail(near(path), "is in the way, and no figures of a file.", "Name a folder with out=...") from error
    if before != user_path(name, "input").resolve():
        what = f"holds the figures of another file, {before}."
        raise fail(near(path), what, "Name another folder with out=..., or remove it.")


def _of_split(config: EvaluateConfig, console: Console) -> _Answered:
    given = ("text_column", "label_column", "criterion_column", "group_column")
    idle = [name for name in given if getattr(config, name) is not None]
    if idle:
        raise fail(idle[0], "has no effect without input.", "Add input=FILE, or drop it.")
    cache = None if config.cache is None else user_path(config.cache, "cache")
    opened = open_run(user_path(config.run, "run"), config.extensions, cache)
    name = told_split(opened, config.split)
    raw = of_split(opened, name, build_loss(opened.experiment, opened.dataset), cache, console)
    return _Answered(opened, name, opened.dataset.splits()[name], raw, own=True)


def _of_table(config: EvaluateConfig, console: Console) -> _Answered:
    assert config.input is not None
    if config.split is not None:
        raise fail("split", "cannot be given together with input.", "Leave one out.")
    bare = bare_name(Path(config.input))
    readable = CONTROL.sub("_", bare)
    name = f"input_{distinct(readable, bare, LONGEST_FILE)}"
    _refuse_others(_path(config, name), config.input)
    opened, learnt = open_model(user_path(config.run, "run"), config.extensions)
    limit = opened.experiment["data"].config.max_record_bytes
    columns = table_columns(opened, config.text_column, config.criterion_column, limit)
    label = config.label_column or column_names(opened).get("label", "label")
    columns["label"] = Column(label, label_or_number(label, opened.classes), "label_column")
    if config.group_column is not None:
        columns["group"] = Column(config.group_column, group_of(config.group_column), "group_column")
    records = read_inputs([config.input], columns, limit).records(opened.classes)
    raw = of_records(opened, learnt, records, console)
    return _Answered(opened, name, records, raw, own=False)


def _decision(config: EvaluateConfig, opened: OpenedModel) -> Decision:
    """The run's own, or with the threshold that is asked for.

    Raises:
        UserError: for a threshold over more than two classes, or a metric that has none.
    """
    own: DecisionConfig = opened.experiment.sections["decision"]
    if config.threshold is None and config.threshold_metric is None:
        return opened.decision
    threshold = opened.decision.threshold if config.threshold is None else config.threshold
    metric = config.threshold_metric or (own.threshold_metric if threshold == "tune" else None)
    asked = DecisionConfig(threshold=threshold, threshold_metric=metric)
    objective: ObjectiveConfig = opened.experiment.sections["objective"]
    problems = [*asked.problems(), *asked.problems_with(objective)]
    if problems:
        raise UserError(problems)
    asked.check_classes(len(opened.classes))
    if asked.threshold != "tune":
        return replace(
            opened.decision, threshold=asked.threshold, tuned=False, metric=None, gain=None, gain_interval=None
        )
    name, weights = asked.tuned_for(objective)
    try:
        saved = read_predictions(RunFolder(opened.run.folder).predictions("valid"), len(opened.classes))
    except UnusableError as error:
        raise fail("threshold", f"cannot be tuned: {error}", "Give a number.") from error
    asked.check_labels(np.bincount(saved.labels, minlength=len(opened.classes)), opened.classes)
    plain = Decision(temperature=opened.decision.temperature)
    return plain.tuned_on(name, weights, saved.labels, saved.probabilities, saved.groups)


def _reproduces(answered: _Answered, decision: Decision, measured: Mapping[str, Any]) -> bool | None:
    """Whether the figures are those of the run's result, to the bit; ``None`` where it has none to compare with."""
    before = answered.opened.run.result.get(answered.name) if answered.own else None
    if before is None or decision != answered.opened.decision:
        return None
    return bool(to_plain(measured) == before)


def _show(console: Console, summary: Mapping[str, Any], decision: Decision, path: Path) -> None:
    title = f"{summary.get('split') or summary['input']}, {summary['records']:,} records"
    show_table(console, result_table(title, {summary["model"]: summary["metrics"]}))
    error = summary["calibration"]
    console.print(f"Decided by {decision}: calibration error {error['before']:.4f} before, {error['after']:.4f} after.")
    if summary["reproduces_result"] is not None:
        same = "the same" if summary["reproduces_result"] else "not the same"
        console.print(f"The figures are {same} to the bit as those in result.json.")
    console.print(f"Figures: {near(path)}", soft_wrap=True)
