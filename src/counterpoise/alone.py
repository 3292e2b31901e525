"""What each branch of a fusion comes to alone, and the plain average of their answers: the bars that it must clear."""

from __future__ import annotations

import copy
import functools
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from lightning_fabric import Fabric
from numpy.typing import NDArray

from counterpoise.branches import Branch
from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Encoded
from counterpoise.data.records import Dataset, Records
from counterpoise.decision import Decision, DecisionConfig, decide
from counterpoise.engine.evaluation import Predictions, SplitBatches, predict
from counterpoise.engine.memory import MemoryPlan
from counterpoise.errors import UserError
from counterpoise.files import check_regular
from counterpoise.losses import Loss
from counterpoise.measuring import groups_of
from counterpoise.metrics import ObjectiveConfig, classification_metrics
from counterpoise.tracking.folder import write_predictions

log = logging.getLogger(__name__)

FORMAT = 1
"""Raised whenever answers are computed or laid out otherwise."""
AVERAGE = "average"
"""Name of the mean of the branches' probabilities, beside theirs."""


@dataclass(frozen=True, kw_only=True)
class Alone:
    """The branches as they came from their runs, measured as a run measures itself."""

    dataset: Dataset
    data_fingerprint: str
    encoded: Encoded
    cache: Cache
    fabric: Fabric
    loss: Loss
    settings: DecisionConfig
    """How the average finds its threshold and temperature; a branch has those of its own run."""
    objective: ObjectiveConfig
    batch_size: int
    """Samples per evaluation batch."""

    def figures(self, branches: Mapping[str, Branch]) -> dict[str, dict[str, Any]]:
        """Metrics by branch, and of the average where there are several, on the validation and the test split.

        Returns:
            ``{"transformer": {"model": ..., "folder": ..., "same_data": ..., "valid": {...}, "test": {...}}, ...}``.
        """
        answers = {name: self._answers(branch) for name, branch in branches.items()}
        found: dict[str, dict[str, Any]] = {}
        for name, branch in branches.items():
            facts = {"model": type(branch.model).__name__, "folder": branch.folder, "same_data": branch.same_data}
            answers[name] = {split: branch.decision.calibrated(raw) for split, raw in answers[name].items()}
            found[name] = {**facts, **self._metrics(answers[name], branch.decision)}
        if len(answers) > 1:
            means = {split: np.mean([each[split] for each in answers.values()], axis=0) for split in self._splits()}
            valid = self.dataset.valid
            groups = groups_of(valid, valid.rows)
            own = decide(self.settings, self.objective, valid.labels, means["valid"], groups)
            found[AVERAGE] = self._metrics({split: own.calibrated(mean) for split, mean in means.items()}, own)
        return found

    def _splits(self) -> dict[str, Records]:
        return {name: split for name, split in self.dataset.splits().items() if name != "train"}

    def _metrics(self, answers: Mapping[str, NDArray[np.float64]], decision: Decision) -> dict[str, Any]:
        """Of calibrated answers ``[N, C]`` by split."""
        return {
            name: classification_metrics(
                split.labels, answers[name], self.dataset.classes, predicted=decision.predicted(answers[name])
            )
            for name, split in self._splits().items()
        }

    def _answers(self, branch: Branch) -> dict[str, NDArray[np.float64]]:
        """The model's own probabilities ``[N, C]`` by split; computed once for all runs with this branch."""
        key = {
            "format": FORMAT,
            **branch.answer_key(self.data_fingerprint, self.encoded),
            "batch": self.batch_size,
            "device": self.fabric.device.type,
            "precision": self.fabric.strategy.precision.precision,
        }

        predicted = functools.cache(lambda: self._predicted(branch))

        def build(folder: Path) -> None:
            for name, found in predicted().items():
                write_predictions(folder / f"{name}.parquet", found.rows, found.labels, found.probabilities)

        def read(folder: Path) -> dict[str, NDArray[np.float64]]:
            return {name: _probabilities(folder / f"{name}.parquet", split) for name, split in self._splits().items()}

        try:
            return self.cache.read("branch", key, build, read)
        except UserError as error:
            if not isinstance(error.__cause__, OSError):
                raise
            # The run is trained: it shall have its result.
            log.warning("%s What the branch %s comes to alone is computed without it.", error, branch.name)
            return {name: found.probabilities for name, found in predicted().items()}

    def _predicted(self, branch: Branch) -> dict[str, Predictions]:
        model = self.fabric.setup_module(copy.deepcopy(branch.model))
        memory = MemoryPlan()
        answers = {}
        for name in self._splits():
            batches = SplitBatches(branch.split(self.encoded.splits[name]), self.batch_size)
            answers[name] = memory.evaluate(
                batches, lambda fitting: predict(model, fitting, self.loss, self.fabric.device)
            )
        return answers


def _probabilities(path: Path, split: Records) -> NDArray[np.float64]:
    table = pq.read_table(check_regular(path))
    if not np.array_equal(table["row"].to_numpy(), split.rows):
        raise ValueError(f"{path.name} is of other rows")
    column = table["probabilities"].combine_chunks()
    found: NDArray[np.float64] = column.flatten().to_numpy().reshape(len(split), -1)
    if found.shape[1] != len(split.classes) or not np.isfinite(found).all():
        raise ValueError(f"{path.name} holds no probabilities of these classes")
    return found
