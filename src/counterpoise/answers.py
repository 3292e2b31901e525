"""What an opened run answers: as in its own last measurement, on its device and in its precision where they are there.

Batches are cut as they were then, so that the same records in the same order give the same bits on the same machine.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import cast, get_args

import numpy as np
from lightning_fabric import Fabric
from rich.console import Console

from counterpoise.data.cache import Cache, records_fingerprint
from counterpoise.data.encode.base import Encoded, EncodedSplit, Learnt, at_epoch
from counterpoise.data.records import Records
from counterpoise.data.sources.reading import Column, plain_text, text
from counterpoise.engine.evaluation import Predictions, SplitBatches, predict
from counterpoise.engine.memory import MemoryPlan
from counterpoise.engine.precision import PrecisionName, best_device, make_fabric
from counterpoise.errors import UserError, fail, first_line
from counterpoise.features import FrozenFeatures
from counterpoise.finished import FINISH
from counterpoise.losses import Loss
from counterpoise.opening import OpenedModel, OpenedRun
from counterpoise.paths import user_path
from counterpoise.run_files import PlanRecord

log = logging.getLogger(__name__)


def of_split(opened: OpenedRun, name: str, loss: Loss, cache: Path | None, console: Console) -> Predictions:
    """The model's own answers, before any decision, to a split of the run's data.

    Args:
        opened: the run.
        name: of the split.
        loss: the run's.
        cache: folder of encoded data; ``None`` takes the run's own.
        console: where it is said that features are computed.
    """
    fabric = _fabric(opened)
    root = cache or user_path(opened.experiment.plain.paths.cache, "paths.cache")
    data = opened.run.metadata["data_fingerprint"]  # there: the data were held against it
    splits = _fed(opened, opened.encoded, opened.dataset.splits(), data, Cache(root), fabric, console)
    return _predicted(opened, splits[name], loss, fabric)


def of_records(opened: OpenedModel, learnt: Learnt, records: Records, console: Console) -> Predictions:
    """The model's own answers, before any decision, to new records.

    Raises:
        UserError: if the records cannot be encoded, or what the run learnt to encode by is damaged.
    """
    try:
        split = learnt.apply(records)
    except UserError:
        raise
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"cannot encode anything, since what it learnt to encode by is not whole: {first_line(error)}."
        raise opened.run.refuse(what, "Bring that file back, or train it again.") from error
    fabric = _fabric(opened)
    with tempfile.TemporaryDirectory() as folder:
        encoded = Encoded({"new": split}, learnt.properties)
        data = records_fingerprint(records)
        splits = _fed(opened, encoded, {"new": records}, data, Cache(Path(folder)), fabric, console)
        return _predicted(opened, splits["new"], None, fabric)


def column_names(opened: OpenedModel) -> dict[str, str]:
    """What the run's data call their columns."""
    names: dict[str, str] = opened.experiment["data"].build().column_names()
    return names


def table_columns(
    opened: OpenedModel, text_column: str | None, criterion_column: str | None, max_bytes: int
) -> dict[str, Column]:
    """The columns of a table that the model reads; a name that is not given is that of the run's data.

    Raises:
        UserError: for a criterion where the model knows of none.
    """
    names = column_names(opened)
    of_text = text_column or names["text"]
    columns = {"text": Column(of_text, text(of_text, max_bytes), "text_column")}
    if opened.properties.get("criteria"):
        of_criterion = criterion_column or names.get("criterion", "criterion")
        columns["criterion"] = Column(of_criterion, plain_text(of_criterion, max_bytes), "criterion_column")
    elif criterion_column is not None:
        raise fail("criterion_column", "has no effect: this run was trained without criteria.", "Leave it out.")
    return columns


def _fed(
    opened: OpenedModel,
    encoded: Encoded,
    records: Mapping[str, Records],
    data: str,
    cache: Cache,
    fabric: Fabric,
    console: Console,
) -> Mapping[str, EncodedSplit]:
    """The splits in the form that they had in the best epoch: as features, where the branches were frozen then."""
    component, epoch = opened.experiment["model"], opened.run.result["best_epoch"] - 1  # at_epoch counts from 0
    if component.target.frozen_epochs(component.config) <= epoch:  # type: ignore[attr-defined]
        return encoded.splits
    frozen = FrozenFeatures(
        records=records,
        data_fingerprint=data,
        encoded=encoded,
        branches=opened.branches,
        cache=cache,
        device=fabric.device,
        tf32=opened.experiment.plain.hardware.tf32,
        console=console,
    )
    return {name: at_epoch(split, epoch) for name, split in frozen.splits(component).items()}


def _predicted(opened: OpenedModel, split: EncodedSplit, loss: Loss | None, fabric: Fabric) -> Predictions:
    plan = _plan(opened)
    model = fabric.setup_module(opened.model)
    moved = None if loss is None else loss.to(fabric.device)
    fitted = opened.run.result.get("found_to_fit") or {}
    memory = MemoryPlan(evaluation_batch=fitted.get("evaluation_batch"))
    batches = SplitBatches(split, plan["evaluation_batch"], plan["batch_tokens"])
    found = memory.evaluate(batches, lambda fitting: predict(model, fitting, moved, fabric.device))
    undefined = int((~np.isfinite(found.probabilities)).any(axis=1).sum())
    if undefined:
        log.warning("%d of %d answers are not finite: they say nothing.", undefined, len(found.probabilities))
    return found


def _plan(opened: OpenedModel) -> PlanRecord:
    """The plan of the run, as far as it is needed. Raises ``UserError`` where the run does not say it."""
    plan = opened.run.metadata.get("plan") or {}
    used = [plan.get("precision"), *(rescue.get("precision") for rescue in opened.run.result.get("rescues") or [])]
    known = {"evaluation_batch", "batch_tokens", "device"} <= plan.keys() and used[0] is not None
    if not known or not all(name in (None, *get_args(PrecisionName)) for name in used):
        raise opened.run.refuse("does not say how it was measured: its plan is not whole.", FINISH)
    return plan


def _fabric(opened: OpenedModel) -> Fabric:
    """The run's device and number format; where its device is missing, the best one here in full precision."""
    plan = _plan(opened)
    device, precision = plan["device"], cast(PrecisionName, plan["precision"])
    for rescue in opened.run.result.get("rescues") or []:
        precision = cast(PrecisionName, rescue.get("precision") or precision)
    if device not in ("cpu", best_device()):
        log.info("This machine has no %s: %s answers, in fp32.", device, best_device())
        device, precision = best_device(), "fp32"
    return make_fabric(device, precision, tf32=opened.experiment.plain.hardware.tf32)
