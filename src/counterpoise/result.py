"""``result.json``: what a run came to, beside the baselines, and how it is shown."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from counterpoise.baselines import baseline_metrics
from counterpoise.data.cache import Cache
from counterpoise.data.records import Dataset
from counterpoise.engine.progress import History
from counterpoise.errors import UserError, near
from counterpoise.events import Decision
from counterpoise.jsonio import read_json, read_sealed, write_json
from counterpoise.metrics import Objective
from counterpoise.tracking.console import result_table, show_table
from counterpoise.tracking.criteria import show_protocol
from counterpoise.tracking.findings import show_findings

log = logging.getLogger(__name__)

BASELINES_FORMAT = 3
"""Raised whenever a baseline is computed differently."""


def make_result(
    dataset: Dataset, history: History, objective: Objective, cache: Cache, *, data_fingerprint: str, **facts: Any
) -> dict[str, Any]:
    """The content of ``result.json``; ``facts`` are further entries, ``seed``, ``valid`` and ``test`` among them."""
    return {
        "status": "collapsed" if history.verdict.decision == Decision.ABORT else "finished",
        "data": dataset.name,
        "data_fingerprint": data_fingerprint,
        "objective": {"metric": objective.name, "score": history.best_score, "maximise": objective.maximise},
        "best_epoch": history.best_epoch,
        "best_is_doubtful": history.best_is_doubtful,
        "epochs": len(history.epochs),
        "ended_by": {"judge": history.verdict.judge, "reason": history.verdict.reason},
        "alarms": len(history.alarms),
        "rescues": history.rescues,
        "baselines": baselines(dataset, cache, data_fingerprint),
        **facts,
    }


def baselines(dataset: Dataset, cache: Cache, data_fingerprint: str) -> dict[str, Any]:
    """The bars of :mod:`counterpoise.baselines` on the same splits; computed once per data set, for all seeds."""

    def build(folder: Path) -> None:
        write_json(folder / "baselines.json", baseline_metrics(dataset))

    key = {"format": BASELINES_FORMAT, "data": data_fingerprint, "scikit-learn": version("scikit-learn")}
    try:
        return cache.read("baselines", key, build, _read_baselines)
    except UserError as error:
        if not isinstance(error.__cause__, OSError):
            raise
        log.warning("%s The baselines are computed without it.", error)  # the run is trained: it shall have its result
        return baseline_metrics(dataset)


def _read_baselines(folder: Path) -> dict[str, Any]:
    found = dict(read_json(folder / "baselines.json"))
    if not all(isinstance(splits, Mapping) and isinstance(splits.get("valid"), Mapping) for splits in found.values()):
        raise ValueError("baselines.json holds no figures")
    return found


def earlier_result(path: Path, settings: str) -> dict[str, Any] | None:
    """The ``result.json`` that an earlier command left.

    Args:
        path: of the file.
        settings: fingerprint of those that it has to be a result of.

    Returns:
        its content; ``None`` where there is none, or, with a warning, where it is damaged: a run's checkpoints give
        the same again.
    """
    try:
        result = read_sealed(path)
        if result.get("settings") != settings:
            raise ValueError("it is another run's")
        return result
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s is damaged: %s. It is made again from the checkpoints.", path, error)
        return None


def show_result(console: Console, result: Mapping[str, Any], folder: Path) -> None:
    """The run's figures beside the baselines', and where everything is."""
    valid, test = result["valid"], result.get("test")
    split = "test" if test else "validation"
    rows = {result["model"]: test or valid}
    branches = result.get("branches", {})
    rows |= {_branch_row(name, each): each["test" if test else "valid"] for name, each in branches.items()}
    rows |= {name: splits["test" if test else "valid"] for name, splits in result["baselines"].items()}
    beside = "its branches alone and the baselines" if branches else "the baselines"
    title = f"{split} split, best checkpoint (epoch {result['best_epoch'] + 1}), beside {beside}"
    show_table(console, result_table(title, rows))
    if "diagnosis" in result:  # not in one of an earlier version
        show_findings(console, result["diagnosis"])
    if "protocol" in result:
        show_protocol(console, result["protocol"])
    console.print(f"Run folder: {near(folder)}", soft_wrap=True)


def _branch_row(name: str, branch: Mapping[str, Any]) -> str:
    if "model" not in branch:
        return f"{name} of both"
    return f"{name} alone ({branch['model']})" if branch.get("same_data", True) else f"{name} alone, of other data"
