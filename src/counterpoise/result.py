"""``result.json``: what a run came to, beside the baselines, and how it is shown."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console

from counterpoise.baselines import Probabilities, baseline_answers, baseline_metrics
from counterpoise.data.cache import Cache
from counterpoise.data.records import Dataset, Records
from counterpoise.decision import tuning_lines
from counterpoise.engine.progress import History
from counterpoise.errors import UserError, near
from counterpoise.events import Decision
from counterpoise.files import read_bytes
from counterpoise.jsonio import read_json, write_json
from counterpoise.metrics import METRICS, Objective
from counterpoise.run_files import BranchResult, Result, SplitFigures, read_result
from counterpoise.tracking.console import result_table, show_table
from counterpoise.tracking.criteria import show_protocol
from counterpoise.tracking.findings import show_findings
from counterpoise.typed import checked

log = logging.getLogger(__name__)

BASELINES = "baselines.json"
"""Their figures in the cache."""
BASELINES_FORMAT = 5
"""Raised whenever a baseline is computed differently."""


def make_result(
    dataset: Dataset, history: History, objective: Objective, bars: Mapping[str, Any], **facts: Any
) -> dict[str, Any]:
    """The content of ``result.json``; ``facts`` are further entries, ``seed``, ``valid`` and ``test`` among them.

    Args:
        dataset: what was trained on.
        history: how the training went.
        objective: the figure that decides.
        bars: the figures of :func:`baselines`.
        facts: the rest.
    """
    return {
        "status": "collapsed" if history.verdict.decision == Decision.ABORT else "finished",
        "data": dataset.name,
        "objective": _objective(history, objective),
        "best_epoch": history.best_epoch,
        "best_is_doubtful": history.best.doubtful,
        "epochs": len(history.epochs),
        "ended_by": {"judge": history.verdict.judge, "reason": history.verdict.reason},
        "alarms": len(history.alarms),
        "rescues": history.rescues,
        "baselines": bars,
        **facts,
    }


def _objective(history: History, objective: Objective) -> dict[str, Any]:
    """The score of the best epoch, and the tie breaker with its value there."""
    name = objective.tie_breaker(history.epochs[-1]["valid"] if history.epochs else {})
    tied = history.best.standing.tie_breaker
    value = None if math.isinf(tied) else tied if METRICS[name] == "maximise" else -tied
    facts = {"metric": objective.name, "score": history.best_score, "maximise": objective.maximise}
    return {**facts, "tie_breaker": {"metric": name, "score": value}}


@dataclass(frozen=True)
class Baselines:
    """What the bars of :mod:`counterpoise.baselines` come to."""

    figures: dict[str, Any]
    """By baseline and split."""
    files: dict[str, bytes]
    """By split, a Parquet file with ``row``, ``label`` and a list of probabilities for each baseline."""


def baselines(dataset: Dataset, cache: Cache, data_fingerprint: str) -> Baselines:
    """The bars on the same splits; computed once per data set, for all seeds."""

    def build(folder: Path) -> None:
        built = _make_baselines(dataset)
        write_json(folder / BASELINES, built.figures)
        for split, content in built.files.items():
            (folder / f"{split}.parquet").write_bytes(content)

    key = {"format": BASELINES_FORMAT, "data": data_fingerprint, "scikit-learn": version("scikit-learn")}
    try:
        return cache.read("baselines", key, build, _read_baselines)
    except UserError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        log.warning("%s The baselines are computed without it.", error)  # the run is trained: it shall have its result
        return _make_baselines(dataset)


def _make_baselines(dataset: Dataset) -> Baselines:
    answers, splits = baseline_answers(dataset), dataset.splits()
    names = dict.fromkeys(split for by_split in answers.values() for split in by_split)
    files = {
        split: _as_parquet(splits[split], {name: by_split[split] for name, by_split in answers.items()})
        for split in names
    }
    return Baselines(baseline_metrics(dataset, answers), files)


def _as_parquet(records: Records, answers: Mapping[str, Probabilities]) -> bytes:
    lists = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(table.ravel()), table.shape[1])
        for name, table in answers.items()
    }
    file = io.BytesIO()
    pq.write_table(pa.table({"row": records.rows, "label": records.labels, **lists}), file)
    return file.getvalue()


def _read_baselines(folder: Path) -> Baselines:
    figures = checked(dict[str, SplitFigures], read_json(folder / BASELINES))
    files = {path.stem: read_bytes(path) for path in sorted(folder.glob("*.parquet"))}
    for split, content in files.items():
        found = pq.read_schema(io.BytesIO(content)).names
        if found != ["row", "label", *figures]:
            raise ValueError(f"{split}.parquet holds other baselines than {BASELINES}")
    return Baselines(figures, files)


def earlier_result(path: Path, settings: str) -> Result | None:
    """The ``result.json`` that an earlier command left.

    Args:
        path: of the file.
        settings: fingerprint of those that it has to be a result of.

    Returns:
        its content; ``None`` where there is none, or, with a warning, where it is damaged: a run's checkpoints give
        the same again.
    """
    try:
        result = read_result(path)
        if result.get("settings") != settings:
            raise ValueError("it is another run's")
        return result
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s is damaged: %s. It is made again from the checkpoints.", path, error)
        return None


def show_result(console: Console, result: Result, folder: Path) -> None:
    """The run's figures beside the baselines', and where everything is."""
    valid, test = result.get("valid"), result.get("test")
    split = "test" if test else "validation"
    branches = result.get("branches", {})
    beside: dict[str, SplitFigures | BranchResult] = {_branch_row(name, each): each for name, each in branches.items()}
    beside |= result["baselines"]
    figures = {name: each.get("test") if test else each["valid"] for name, each in beside.items()}
    rows = {result["model"]: test or valid or {}, **{name: each or {} for name, each in figures.items()}}
    others = "its branches alone and the baselines" if branches else "the baselines"
    title = f"{split} split, best checkpoint (epoch {result['best_epoch']}), beside {others}"
    show_table(console, result_table(title, rows))
    for line in tuning_lines(result.get("decision")):
        console.print(line, soft_wrap=True)
    if "diagnosis" in result:  # not in one of an earlier version
        show_findings(console, result["diagnosis"], result["status"])
    if "protocol" in result:
        show_protocol(console, result["protocol"])
    console.print(f"Run folder: {near(folder)}", soft_wrap=True)


def _branch_row(name: str, branch: BranchResult) -> str:
    if "model" not in branch:
        return f"{name} of both"
    return f"{name} alone ({branch['model']})" if branch.get("same_data", True) else f"{name} alone, of other data"
