"""Features of frozen branches, computed once: in evaluation mode, in float32, for every split, and kept in the cache.

An entry depends on the branch's weights and its input alone, so that all seeds and trials share it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from counterpoise.branches import Branch
from counterpoise.config.targets import Component
from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Encoded, EncodedSplit, StagedSplit
from counterpoise.data.encode.features import FeatureSplit, FeatureWriter, read_features
from counterpoise.data.records import Dataset
from counterpoise.engine.evaluation import SplitBatches
from counterpoise.engine.memory import MemoryPlan
from counterpoise.models.base import Backbone
from counterpoise.models.fusion import Fusion, branch_features, named

FORMAT = 1
"""Raised whenever features are computed or laid out otherwise."""
BATCH = 64
"""Samples at once. Not the run's evaluation batch: what is computed must not depend on a trial's batch size."""


@dataclass(frozen=True, kw_only=True)
class FrozenFeatures:
    """Where features come from and on what they are computed."""

    dataset: Dataset
    data_fingerprint: str
    encoded: Encoded
    branches: Mapping[str, Branch]
    cache: Cache
    device: torch.device
    tf32: bool
    console: Console

    def splits(self, model: Component) -> Mapping[str, EncodedSplit]:
        """The splits as the model is fed with them: as features for as long as its branches are frozen.

        Raises:
            OutOfMemoryError: if not even one sample fits.
        """
        frozen = model.target.frozen_epochs(model.config)  # type: ignore[attr-defined]
        if not frozen or not issubclass(model.target, Fusion):
            return self.encoded.splits
        columns = {name: self._columns(branch, model.config.states_read) for name, branch in self.branches.items()}
        features: dict[str, EncodedSplit] = {}
        for name, records in self.dataset.splits().items():
            own = {key: value for each in columns.values() for key, value in each[name].items()}
            lengths = self.encoded.splits[name].lengths
            features[name] = FeatureSplit(own, records.labels, records.rows, lengths)
        if frozen == float("inf"):
            return features
        return {name: StagedSplit(features[name], split, int(frozen)) for name, split in self.encoded.splits.items()}

    def _columns(self, branch: Branch, max_states: int) -> dict[str, dict[str, NDArray[Any]]]:
        """The features of a branch by split and name."""

        def build(folder: Path) -> None:
            self._compute(branch, max_states, folder)

        def read(folder: Path) -> dict[str, dict[str, NDArray[Any]]]:
            return {
                name: read_features(folder / f"{name}.arrow", len(records))
                for name, records in self.dataset.splits().items()
            }

        return self.cache.read("features", self._key(branch, max_states), build, read)

    def _key(self, branch: Branch, max_states: int) -> dict[str, Any]:
        return {
            "format": FORMAT,
            "branch": branch.name,
            **branch.answer_key(self.data_fingerprint, self.encoded),
            "max_states": max_states,
            "device": {"type": self.device.type, "tf32": self.tf32 and self.device.type == "cuda"},
            "batch": BATCH,
        }

    def _compute(self, branch: Branch, max_states: int, folder: Path) -> None:
        self.console.print(f"Features of the branch {branch.name} are computed, once for all runs with it.")
        model = copy.deepcopy(branch.model).to(self.device).eval()
        total = sum(map(len, self.dataset.splits().values()))
        memory = MemoryPlan()
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        shown = self.console.is_terminal
        with Progress(*columns, console=self.console, transient=True, disable=not shown) as progress:
            task = progress.add_task(f"features of {branch.name}", total=total)
            done = 0
            for name, split in self.encoded.splits.items():

                def attempt(batches: SplitBatches, before: int = done, where: str = name) -> None:
                    progress.update(task, completed=before)
                    writer = FeatureWriter(folder, len(batches.data.labels))
                    for indices, batch in batches:
                        moved = batch.to(self.device).inputs
                        assert isinstance(moved, Mapping)
                        values = _numbers(branch.name, model, moved, max_states)
                        writer.add(indices, values, {f"{branch.name}_states": max_states})
                        progress.advance(task, len(indices))
                    writer.finish(folder / f"{where}.arrow")

                memory.evaluate(SplitBatches(branch.split(split), BATCH), attempt)
                done += len(split.labels)


@torch.no_grad()
def _numbers(
    name: str, model: Backbone, inputs: Mapping[str, torch.Tensor], max_states: int
) -> dict[str, NDArray[Any]]:
    found = named(name, branch_features(model, inputs, max_states))
    return {key: value.cpu().numpy() for key, value in found.items()}
