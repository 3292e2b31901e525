"""One finished run, used: new texts in, classes and probabilities out."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from counterpoise.answers import of_records, table_columns
from counterpoise.config.schema import Range
from counterpoise.data.sources.formats import format_of
from counterpoise.data.sources.inputs import STANDARD_INPUT, TOO_LONG, Inputs, read_inputs
from counterpoise.data.sources.reading import Column, identifier, plain_text
from counterpoise.data.sources.sheet import Fault
from counterpoise.decision import DecisionConfig
from counterpoise.engine.evaluation import Predictions
from counterpoise.errors import fail, near
from counterpoise.jsonio import dumps, write_atomically
from counterpoise.opening import OpenedModel, open_model
from counterpoise.paths import user_path
from counterpoise.reports.outputs.tables import cell
from counterpoise.tracking.console import show_table

Format = Literal["jsonl", "csv", "parquet"]
TO_STANDARD_OUTPUT = ("-", "/dev/stdout", "/dev/fd/1", "/proc/self/fd/1")
SHOWN_ROWS, SHOWN_CLASSES = 20, 5
"""Most on the terminal."""


@dataclass(frozen=True, kw_only=True)
class PredictConfig:
    """What to answer by, to what, and where to put it."""

    run: str
    """Folder of a finished run."""
    input: str | tuple[str, ...]
    """Tables, files that are one text each, or - for a text on the standard input; several as a list."""
    output: str | None = None
    """File for the answers; - is the standard output; null only shows them."""
    format: Format | None = None
    """Of the output; null goes by its name, and is jsonl for all other names."""
    text_column: str | None = None
    """Of tables; null: as the run's data call it, like the next."""
    criterion_column: str | None = None
    """Of tables, for a run that judges texts by a criterion."""
    criterion: str | None = None
    """For what is one text, and for tables without such a column, likewise."""
    id_column: str | None = None
    """Of tables: names of the records, kept with the answers."""
    threshold: Annotated[float, Range(gt=0, lt=1)] | None = None
    """In place of the run's own."""
    extensions: tuple[str, ...] = ()
    """Modules of your own that the run's config may name."""


def predict(config: PredictConfig, console: Console) -> Predictions:
    """Answer to everything that is put in.

    Returns:
        calibrated probabilities and predicted classes, in the order of the inputs.

    Raises:
        UserError: if the run cannot be opened, an input cannot be read, or the output cannot be written.
    """
    kind = _format(config)
    names = (config.input,) if isinstance(config.input, str) else config.input
    if not names:
        raise fail("input", "is an empty list.", "Name a file.")
    _refuse_idle(config, names)
    path = _output(config, names)
    opened, learnt = open_model(user_path(config.run, "run"), config.extensions)
    decision = opened.decision
    if config.threshold is not None:
        DecisionConfig(threshold=config.threshold).check_classes(len(opened.classes))
        decision = replace(decision, threshold=config.threshold, tuned=False, metric=None)
    limit = opened.experiment["data"].config.max_record_bytes
    columns, given = _columns(opened, config, limit), _given(opened, config, limit)
    named = [] if config.criterion_column is None else ["criterion"]
    inputs = read_inputs(names, columns, limit, given, named=named)
    if not inputs.used.issuperset(given):
        what = f"has no effect: every input has a column {columns['criterion'].name!r} of its own."
        raise fail("criterion", what, "Leave it out.")
    found = of_records(opened, learnt, inputs.records(opened.classes), console).decided(decision)
    entries = _entries(inputs, found, opened.classes)
    if config.output in TO_STANDARD_OUTPUT:
        sys.stdout.buffer.write(_content(entries, kind))
        sys.stdout.buffer.flush()
        return found
    _show(console, entries, opened.classes)
    if path is not None:
        _write(path, _content(entries, kind))
        console.print(f"Answers: {near(path)}", soft_wrap=True)
    return found


def _refuse_idle(config: PredictConfig, names: Sequence[str]) -> None:
    """Names of columns do nothing without a table."""
    if any(format_of(Path(name)) is not None for name in names):
        return
    for key in ("text_column", "criterion_column"):
        if getattr(config, key) is not None:
            raise fail(key, "has no effect: no input is a table.", "Leave it out.")


def _output(config: PredictConfig, names: Sequence[str]) -> Path | None:
    """The file for the answers, links followed; ``None`` where there is none.

    Raises:
        UserError: if it is one of the inputs, lies in the run folder, or cannot be a file.
    """
    if config.output is None or config.output in TO_STANDARD_OUTPUT:
        return None
    try:
        path = user_path(config.output, "output")
        if path.exists() and not path.is_file() and not path.is_dir():
            return path  # a device or a pipe, whose links lead nowhere
        path = path.resolve()
        same = [name for name in names if name != STANDARD_INPUT and _same(path, user_path(name, "input"))]
        within = path.is_relative_to(user_path(config.run, "run").resolve())
    except (OSError, RuntimeError, ValueError) as error:
        raise fail("output", f"{config.output!r} cannot be looked up: {error}.", "Name another file.") from error
    if same:
        raise fail("output", f"{config.output!r} is the input {same[0]!r}.", "Name another file.")
    if within:
        raise fail("output", f"{config.output!r} lies in the run folder, which stays as it is.", "Name another file.")
    if path.is_dir():
        raise fail("output", f"{config.output!r} is a folder.", "Name a file.")
    return path


def _same(path: Path, other: Path) -> bool:
    """Whether both are one file, by whatever links."""
    return path.exists() and other.exists() and path.samefile(other)


def _write(path: Path, content: bytes) -> None:
    """Replace a file; what is there and is none, a device or a pipe, takes the bytes as it is."""
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)
        else:
            write_atomically(path, lambda file: file.write(content))
    except OSError as error:
        raise fail("output", f"{near(path)} cannot be written: {error}.", "Name another file.") from error


def _format(config: PredictConfig) -> Format:
    if config.output is None:
        if config.format is not None:
            raise fail("format", "has no effect without output.", "Add output=FILE, or drop it.")
        return "jsonl"
    if config.format is not None:
        return config.format
    suffixes: Mapping[str, Format] = {".csv": "csv", ".parquet": "parquet"}
    return suffixes.get(Path(config.output).suffix.lower(), "jsonl")


def _columns(opened: OpenedModel, config: PredictConfig, limit: int) -> dict[str, Column]:
    columns = table_columns(opened, config.text_column, config.criterion_column, limit)
    if config.id_column is not None:
        columns["id"] = Column(config.id_column, identifier(config.id_column), "id_column")
    return columns


def _given(opened: OpenedModel, config: PredictConfig, limit: int) -> dict[str, str]:
    if config.criterion is None:
        return {}
    if not opened.properties.get("criteria"):
        raise fail("criterion", "has no effect: this run was trained without criteria.", "Leave it out.")
    found = plain_text("the criterion", limit, TOO_LONG)(config.criterion)
    if isinstance(found, Fault):
        raise fail("criterion", found.message, found.remedy)
    return {"criterion": str(found)}


def _entries(inputs: Inputs, found: Predictions, classes: Sequence[str]) -> list[dict[str, Any]]:
    """One per record, in order: where it stood, what it is called, what is predicted, and how sure that is."""
    assert found.predicted is not None
    named = [name for name in ("id", "criterion") if name in inputs.columns]
    return [
        {
            "input": origin,
            "row": row,
            **{name: inputs.columns[name][index] for name in named},
            "predicted": classes[predicted],
            "probabilities": dict(zip(classes, probabilities, strict=True)),
        }
        for index, (origin, row, predicted, probabilities) in enumerate(
            zip(inputs.origins, inputs.rows, found.predicted.tolist(), found.probabilities.tolist(), strict=True)
        )
    ]


def _content(entries: Sequence[Mapping[str, Any]], kind: Format) -> bytes:
    if kind == "jsonl":
        return "".join(f"{dumps(entry, indent=None)}\n" for entry in entries).encode()
    flat = [_flat(entry) for entry in entries]
    if kind == "parquet":
        sink = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(flat), sink)
        return sink.getvalue()
    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(_headings(flat[0]))
    writer.writerows([cell(value) if isinstance(value, str) else value for value in entry.values()] for entry in flat)
    return table.getvalue().encode()


def _headings(names: Iterable[str]) -> list[str]:
    """Names of columns in one line each; two that escapes make equal differ by a number."""
    found: list[str] = []
    for name in map(cell, names):
        numbered = (f"{name} ({number})" for number in count(2))
        found.append(name if name not in found else next(each for each in numbered if each not in found))
    return found


def _flat(entry: Mapping[str, Any]) -> dict[str, Any]:
    """A column per class in place of a mapping."""
    own = {name: value for name, value in entry.items() if name != "probabilities"}
    return own | {f"probability_{name}": value for name, value in entry["probabilities"].items()}


def _show(console: Console, entries: Sequence[Mapping[str, Any]], classes: Sequence[str]) -> None:
    what = "1 record" if len(entries) == 1 else f"{len(entries):,} records"
    table = Table(title=what, title_justify="left")
    shown = list(classes) if len(classes) <= SHOWN_CLASSES else []
    for name in ("record", "predicted", *(shown or ["probability"])):
        table.add_column(name, justify="left" if name in ("record", "predicted") else "right")
    alone = len({entry["input"] for entry in entries}) == len(entries)
    for entry in entries[:SHOWN_ROWS]:
        name = entry.get("id") or (entry["input"] if alone else f"{entry['input']}, row {entry['row']}")
        own = entry["probabilities"]
        values = [own[each] for each in shown] or [own[entry["predicted"]]]
        table.add_row(str(name), entry["predicted"], *(f"{value:.4f}" for value in values))
    if len(entries) > SHOWN_ROWS:
        table.caption, table.caption_justify = f"and {len(entries) - SHOWN_ROWS:,} more", "left"
    show_table(console, table)
