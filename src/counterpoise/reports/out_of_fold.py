"""Out-of-fold predictions: for every row of a data set those of the run that held it out, and figures over them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counterpoise.data.folds import rows_fingerprint
from counterpoise.jsonio import write_atomically
from counterpoise.metrics import classification_metrics
from counterpoise.reports.jobs import JobSummary
from counterpoise.reports.means import WHOLE, Configuration, configurations
from counterpoise.reports.predictions import UnusableError, read_predictions

FILE = "out_of_fold.parquet"
SCHEMA = pa.schema(
    {
        "configuration": pa.string(),
        "seed": pa.int64(),
        "fold": pa.int64(),
        "row": pa.int64(),
        "label": pa.int64(),
        "probabilities": pa.list_(pa.float64()),
        "predicted": pa.int64(),
    }
)


@dataclass
class OutOfFold:
    """What could be pooled of a multirun, and why the rest could not."""

    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    """By configuration: ``records``, ``classes``, metrics under ``seeds`` by seed, and ``mean``, ``std`` and ``n`` over
    these seeds of each number under ``over_seeds``."""
    refused: list[str] = field(default_factory=list)
    """One line each."""


class NotPooledError(Exception):
    """Why the folds of one configuration and seed are not put together."""


def pool(sweep: Path, jobs: Sequence[JobSummary]) -> OutOfFold:
    """Put the predictions of all folds together, for each configuration and seed of which every fold has finished.

    Writes ``out_of_fold.parquet`` into the multirun's folder, rows ascending within configuration and seed; an earlier
    command's is replaced, or removed where nothing can be pooled now. Not for jobs that hold out one fold only.
    """
    found, tables = OutOfFold(), []
    for configuration in configurations(jobs):
        if not configuration.cross_validates:
            continue
        by_seed = {}
        for seed in configuration.seeds:
            try:
                table, by_seed[str(seed)] = _pooled(configuration, seed)
                tables.append(table)
            except NotPooledError as error:
                name = "" if configuration.name == WHOLE else f"{configuration.name}, "
                found.refused.append(f"{name}seed {seed}: {error}")
        if by_seed:
            job = next(job for job in configuration.jobs if job.split)
            facts = {"records": job.split["records"], "classes": job.classes, "held_out": job.split["held_out"]}
            found.figures[configuration.name] = {**facts, "seeds": by_seed, "over_seeds": _over_seeds(by_seed)}
    if tables:
        write_atomically(sweep / FILE, lambda file: pq.write_table(pa.concat_tables(tables), file))
    else:
        (sweep / FILE).unlink(missing_ok=True)
    return found


def _pooled(configuration: Configuration, seed: int | None) -> tuple[pa.Table, dict[str, Any]]:
    """All rows with their predictions, and the figures over them.

    Raises:
        NotPooledError: if a fold is missing, or the folds do not make up one data set.
    """
    missing, folds = configuration.missing(seed), configuration.folds(seed)
    if missing:
        raise NotPooledError(f"{_listed(missing)} missing.")
    first, *others = folds.values()
    for job in others:
        if (job.split, job.classes) != (first.split, first.classes):
            raise NotPooledError(f"folds {first.fold} and {job.fold} are not of the same data, dealt in the same way.")
    parts = [_predictions(job) for job in folds.values()]
    table = pa.concat_tables(parts).sort_by("row")
    _check_rows(table["row"].to_numpy(), first.split)
    probabilities = pc.list_flatten(table["probabilities"]).to_numpy().reshape(len(table), len(first.classes))
    predicted = table["predicted"].to_numpy()  # each fold has a threshold of its own
    metrics = classification_metrics(table["label"].to_numpy(), probabilities, first.classes, predicted=predicted)
    name = "" if configuration.name == WHOLE else configuration.name
    table = table.add_column(0, "seed", pa.array([seed] * len(table), pa.int64()))
    return table.add_column(0, "configuration", pa.array([name] * len(table))).cast(SCHEMA), metrics


def _predictions(job: JobSummary) -> pa.Table:
    """What a job answered for the rows that it held out."""
    try:
        found = read_predictions(job.folder / f"predictions_{job.split['held_out']}.parquet", len(job.classes))
    except UnusableError as error:
        raise NotPooledError(str(error)) from error
    columns = {
        "fold": [job.fold] * len(found.rows),
        "row": found.rows,
        "label": found.labels,
        "probabilities": list(found.probabilities),
        "predicted": found.predicted,
    }
    return pa.table(columns, schema=pa.schema([SCHEMA.field(name) for name in columns]))


def _check_rows(rows: np.ndarray[Any, np.dtype[np.int64]], split: Mapping[str, Any]) -> None:
    """Every row of the data set must be there exactly once."""
    repeated = len(rows) - len(np.unique(rows))
    if repeated:
        raise NotPooledError(f"{repeated:,} rows stand in two folds.")
    if len(rows) != split["records"] or rows_fingerprint(rows) != split["rows"]:
        raise NotPooledError(f"the folds have {len(rows):,} rows, which are not the {split['records']:,} of the data.")


def _listed(folds: Sequence[int]) -> str:
    *most, last = map(str, folds)
    return f"folds {', '.join(most)} and {last} are" if most else f"fold {last} is"


def _over_seeds(by_seed: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    first, *_ = by_seed.values()
    answer = {}
    for name in (name for name, value in first.items() if isinstance(value, int | float)):
        values = [metrics[name] for metrics in by_seed.values()]
        answer[name] = {"mean": fmean(values), "std": stdev(values) if len(values) > 1 else None, "n": len(values)}
    return answer
