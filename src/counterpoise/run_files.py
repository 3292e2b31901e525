"""The JSON files of a run and of a multirun: what is in each, and one reader for each that holds it against that.

Folders come from others, and a checksum is made again by whoever edits a file. So a reader believes nothing: what it
returns has the types that stand here, and values that can be used as they are. It raises ``OSError`` where a file
cannot be read, and ``ValueError``, which names the key, where it holds something else; its caller knows what a user
should do then. What may be absent is absent in runs of earlier versions.

Reports do without: they read what is there, see :mod:`counterpoise.reports.reading`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

from counterpoise.config.values import POSITIVE
from counterpoise.jsonio import read_json, read_sealed
from counterpoise.typed import Count, Figures, Plain, Positive, checked

FEWEST_CLASSES = 2
LONGEST_NAME = 255
"""Bytes of a file's name."""
_NO_NAME = re.compile(r"[/\\\x00-\x1f\x7f]")


class FittingSizes(TypedDict):
    """Sizes that memory was found to be enough for; null where the planned ones are."""

    micro_batch: NotRequired[Positive | None]
    evaluation_batch: NotRequired[Positive | None]


class RescueRecord(TypedDict):
    """What is used of one rescue."""

    precision: NotRequired[str | None]


class OpenedResult(TypedDict):
    """``result.json`` as far as opening a run to use it needs it."""

    status: Literal["finished", "collapsed"]
    best_epoch: Positive
    settings: NotRequired[str]
    data_fingerprint: NotRequired[str]
    decision: NotRequired[Figures]
    found_to_fit: NotRequired[FittingSizes | None]
    rescues: NotRequired[list[RescueRecord] | None]
    train: NotRequired[Figures | None]
    valid: NotRequired[Figures | None]
    test: NotRequired[Figures | None]


class ObjectiveRecord(TypedDict):
    """The figure that decided."""

    metric: str
    score: float
    maximise: bool


class EndRecord(TypedDict):
    """Why training ended before its last epoch; empty where it did not."""

    judge: str
    reason: str


class FindingRecord(TypedDict):
    """A finding of the diagnosis."""

    kind: NotRequired[str]
    severity: NotRequired[str]
    message: NotRequired[str]
    override: NotRequired[str | None]
    why: NotRequired[str | None]


class CriterionRecord(TypedDict):
    """One criterion of a protocol; ``passed`` is null where it was not judged."""

    name: str
    wanted: str
    seen: str
    passed: bool | None


class ProtocolRecord(TypedDict):
    """A protocol that was judged."""

    name: str
    passed: bool
    criteria: list[CriterionRecord]


class BranchResult(TypedDict):
    """Figures of a branch by itself, or the mean of all."""

    model: NotRequired[str]
    same_data: NotRequired[bool]
    valid: Figures
    test: NotRequired[Figures | None]


class SplitFigures(TypedDict):
    """A baseline's metrics."""

    valid: Figures
    test: NotRequired[Figures | None]


class Result(OpenedResult):
    """``result.json`` as it is shown."""

    model: str
    objective: ObjectiveRecord
    ended_by: EndRecord
    baselines: Mapping[str, SplitFigures]
    branches: NotRequired[Mapping[str, BranchResult]]
    diagnosis: NotRequired[list[FindingRecord]]
    protocol: NotRequired[ProtocolRecord]


class PlanRecord(TypedDict):
    """The plan of a run as far as its answers depend on it."""

    device: NotRequired[str]
    precision: NotRequired[str]
    evaluation_batch: NotRequired[Positive]
    batch_tokens: NotRequired[Positive | None]


ModelRecord = TypedDict("ModelRecord", {"class": str, "config": Mapping[str, Any]})


class BranchRecord(TypedDict):
    """Which run a branch came from."""

    model: ModelRecord
    weights: str
    vocabulary: str


class Metadata(TypedDict):
    """``training_metadata.json``. The config is held against its schema by whoever uses it."""

    config: NotRequired[Mapping[str, Any] | None]
    plan: NotRequired[PlanRecord | None]
    data_fingerprint: NotRequired[str]
    classes: NotRequired[list[str] | None]
    artefacts: NotRequired[Mapping[str, str]]
    branches: NotRequired[Mapping[str, BranchRecord]]
    machine: NotRequired[Figures]
    overrides: NotRequired[list[str]]
    data_notes: NotRequired[Figures]
    sweep: NotRequired[str | None]


class PositionRecord(TypedDict):
    """Where a run stood."""

    epoch: Count
    consumed: Count
    update: Count
    skipped: Count


class CheckpointManifest(TypedDict):
    """``manifest.json`` of a checkpoint."""

    format: NotRequired[Plain]
    position: Mapping[str, Count]
    healthy: NotRequired[bool]
    identity: NotRequired[Figures]
    checksums: Mapping[str, str]


class SuggestionRecord(TypedDict):
    """A learning rate, and how it came about."""

    lr: Annotated[float, POSITIVE]
    verdict: Literal["usable", "flat", "diverging"]
    how: str
    clipped_from: NotRequired[float | None]
    range: NotRequired[list[float] | None]


class CurveRecord(TypedDict):
    """The curve of a range test."""

    lrs: list[float]
    losses: list[float]
    ended: Literal["complete", "diverged", "not_finite"]


class LRFinderReport(TypedDict):
    """``lr_finder.json``."""

    suggestion: SuggestionRecord
    method: str
    curve: CurveRecord
    smoothed: list[float]
    cached: bool
    measured_at: str
    key: Figures


class CachedCurve(TypedDict):
    """A curve in the cache."""

    curve: CurveRecord
    measured_at: str


class Marks(TypedDict):
    """What was sent to a tracker last: rescues before it, and its number."""

    update: list[int]
    epoch: list[int]


class MLflowPlace(TypedDict):
    """``mlflow.json`` of a run and ``.mlflow.json`` of a multirun: which run of which store it is."""

    uri: str
    experiment: str
    run: str
    attempt: NotRequired[str]
    sent: NotRequired[Marks]
    config: NotRequired[Mapping[str, Any]]


class MultirunSummary(TypedDict):
    """``summary.json`` of a multirun, as far as a tracker sends it."""

    mean: Mapping[str, Figures]


class EvaluationRecord(TypedDict):
    """``evaluation_input_*.json``, as far as it says what was measured."""

    input: str


def read_opened_result(path: Path) -> OpenedResult:
    """``result.json`` of a run that is opened to be used."""
    return checked(OpenedResult, read_sealed(path))


def read_result(path: Path) -> Result:
    """``result.json`` as it is shown: all that stands in the table has figures of the same splits."""
    result = checked(Result, read_sealed(path))
    if result.get("valid") is None:
        raise ValueError("valid: missing, expected an object")
    if result.get("test"):
        others: Mapping[str, Mapping[str, Any]] = {
            "baselines": result["baselines"],
            "branches": result.get("branches", {}),
        }
        for where, named in others.items():
            for name, figures in named.items():
                if not figures.get("test"):
                    raise ValueError(f"{where}.{name}.test: missing, expected an object")
    return result


def read_metadata(path: Path) -> Metadata:
    """``training_metadata.json``."""
    metadata = checked(Metadata, read_json(path))
    classes = metadata.get("classes")
    if classes is not None and (len(classes) < FEWEST_CLASSES or len(set(classes)) < len(classes)):
        raise ValueError(f"classes: expected the names of {FEWEST_CLASSES} classes or more, each once")
    check_names("artefacts", metadata.get("artefacts", {}))
    return metadata


def read_checkpoint_manifest(path: Path) -> CheckpointManifest:
    """``manifest.json`` of a checkpoint."""
    manifest = checked(CheckpointManifest, read_sealed(path))
    check_names("checksums", manifest["checksums"])
    return manifest


def read_lr_finder(path: Path) -> LRFinderReport:
    """``lr_finder.json``."""
    return checked(LRFinderReport, read_sealed(path))


def read_cached_curve(path: Path) -> CachedCurve:
    """A curve in the cache."""
    return checked(CachedCurve, read_json(path))


def read_mlflow_place(path: Path) -> MLflowPlace:
    """``mlflow.json`` or ``.mlflow.json``."""
    place = checked(MLflowPlace, read_json(path))
    for name, mark in place.get("sent", {}).items():
        if len(mark) != 2:  # type: ignore[arg-type]
            raise ValueError(f"sent.{name}: expected two numbers")
    return place


def read_multirun_summary(path: Path) -> MultirunSummary:
    """``summary.json`` of a multirun."""
    return checked(MultirunSummary, read_json(path))


def read_evaluation(path: Path) -> EvaluationRecord:
    """Which file an evaluation was of."""
    return checked(EvaluationRecord, read_json(path))


def check_names(where: str, names: Iterable[str]) -> None:
    """Raises ``ValueError`` unless all are names of files in a folder: joined with it, none leads out of it."""
    for name in names:
        if name in ("", ".", "..") or _NO_NAME.search(name) or len(name.encode("utf-8", "replace")) > LONGEST_NAME:
            raise ValueError(f"{where}: expected names of files, got {name!r}")
