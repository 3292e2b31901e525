"""Features of frozen branches, computed once: in evaluation mode, in float32, for every split, and kept in the cache.

An entry depends on the branch's weights and its input alone, so that all seeds and trials share it.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from counterpoise.branches import Branch
from counterpoise.config.targets import Component
from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Encoded, EncodedSplit, StagedSplit
from counterpoise.data.encode.features import FeatureSplit, FeatureWriter, read_features
from counterpoise.data.records import Records
from counterpoise.engine.evaluation import SplitBatches
from counterpoise.engine.memory import MemoryPlan
from counterpoise.errors import Problem, UserError, near
from counterpoise.models.base import Backbone, Features
from counterpoise.models.fusion import Fusion, branch_features, named

FORMAT = 1
"""Raised whenever features are computed or laid out otherwise."""
BATCH = 64
"""Samples at once. Not the run's evaluation batch: what is computed must not depend on a trial's batch size."""


@dataclass(frozen=True, kw_only=True)
class FrozenFeatures:
    """Where features come from and on what they are computed."""

    records: Mapping[str, Records]
    """The splits, by name."""
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
        for name, records in self.records.items():
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
                name: read_features(folder / f"{name}.arrow", len(records)) for name, records in self.records.items()
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
        total = sum(map(len, self.records.values()))
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
def check_features(branches: Mapping[str, Branch], encoded: Encoded, max_states: int) -> None:
    """Make sure, on two samples of the data, that every branch gives what a :class:`Backbone` promises.

    Args:
        branches: as they were opened, on the CPU.
        encoded: the data.
        max_states: longest sequence of states that is read; 0 for none.

    Raises:
        UserError: with what is wrong with each of them.
    """
    problems: list[Problem] = []
    for name, branch in branches.items():
        split = branch.split(encoded.splits["train"])
        inputs = split.batch(np.arange(min(2, len(split.labels)))).inputs
        assert isinstance(inputs, Mapping)
        try:
            wrong = _wrong_features(branch.model, inputs, max_states)
            if wrong is None:
                branch_features(branch.model, inputs, max_states)
        except UserError as error:
            problems += error.problems
            continue
        except Exception as error:  # of a user's own class, on inputs that are as they should be
            wrong = f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0].rstrip('.')}"
        if wrong is not None:
            what = f"{near(branch.folder)} is a {type(branch.model).__name__} whose features cannot be used: {wrong}."
            problems.append(Problem(f"model.{name}", what, "See docs/extending.md."))
    if problems:
        raise UserError(problems)


def _wrong_features(model: Backbone, inputs: Mapping[str, torch.Tensor], max_states: int) -> str | None:
    """What is not as :class:`Features` says; that there are no states at all is told where they are read."""
    samples = len(next(iter(inputs[name] for name in ("lengths", "sizes") if name in inputs)))
    found: Any = model.features(inputs, states=max_states > 0)
    if not isinstance(found, Features):
        return f"features() gives a {type(found).__name__}, no Features"
    wanted = [samples, model.feature_size]
    if not _is_of(found.pooled, wanted):
        return f"pooled must be of floating point and of the shape {wanted}, but is {_shape(found.pooled)}"
    if not max_states or found.states is None or found.mask is None:
        return None
    length = found.states.shape[1] if found.states.ndim == 3 else 0
    wanted = [samples, length, model.state_size]
    if not _is_of(found.states, wanted):
        return f"states must be of floating point and of the shape [{samples}, L, {model.state_size}], " + (
            f"but is {_shape(found.states)}"
        )
    if list(found.mask.shape) != wanted[:2] or found.mask.dtype != torch.bool:
        return f"mask must be true or false and of the shape {wanted[:2]}, but is {_shape(found.mask)}"
    return None


def _is_of(value: object, shape: list[int]) -> bool:
    return isinstance(value, torch.Tensor) and list(value.shape) == shape and value.is_floating_point()


def _shape(value: object) -> str:
    if not isinstance(value, torch.Tensor):
        return f"a {type(value).__name__}"
    return f"{str(value.dtype).removeprefix('torch.')} {list(value.shape)}"


@torch.no_grad()
def _numbers(
    name: str, model: Backbone, inputs: Mapping[str, torch.Tensor], max_states: int
) -> dict[str, NDArray[Any]]:
    found = named(name, branch_features(model, inputs, max_states))
    return {key: value.cpu().numpy() for key, value in found.items()}
