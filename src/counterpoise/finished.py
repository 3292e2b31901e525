"""Finished runs, opened again: what their folder says, their best weights, and the data that they were measured on."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from counterpoise.allocation import is_out_of_memory
from counterpoise.config.saved import runs_near
from counterpoise.decision import DECISION, Decision
from counterpoise.engine.checkpoints import MODEL, Checkpoint, CheckpointStore
from counterpoise.errors import Problem, UserError, fail, first_line, near
from counterpoise.models.base import Model, ModelContext
from counterpoise.run_files import Metadata, OpenedResult, read_metadata, read_opened_result
from counterpoise.tracking.folder import RunFolder

log = logging.getLogger(__name__)

COLLAPSED = "collapsed"
"""The status of a run that a guard stopped."""
FINISH = "Name the folder of a finished run."
AGAIN = "Was either changed since it was trained? Train it again."


@dataclass(frozen=True)
class FinishedRun:
    """A folder with a result."""

    where: str
    """The key that names it, for messages: ``run``, or ``model.gnn``."""
    folder: Path
    metadata: Metadata
    """Of ``training_metadata.json``."""
    result: OpenedResult
    """Of ``result.json``, whose seal is whole."""

    @classmethod
    def open(cls, where: str, folder: Path, otherwise: str = FINISH) -> FinishedRun:
        """Read what the folder says.

        Args:
            where: the key that names it.
            folder: the run folder.
            otherwise: what to do where no run is near.

        Raises:
            UserError: if it is no run folder, its run has not finished, or its files cannot be read.
        """
        run = RunFolder(folder)
        if not run.metadata.is_file():
            sought = "" if folder.is_absolute() else f" It was looked for in {Path.cwd()}."
            message = f"is no run folder: it has no {run.metadata.name}.{sought}"
            raise _refusal(where, folder, message, runs_near(folder) or otherwise)
        if not run.result.is_file():
            resume = f"Finish it with resume={near(folder)}, or name another."
            raise _refusal(where, folder, f"is a run that has not finished: it has no {run.result.name}.", resume)
        path = run.metadata
        try:
            metadata = read_metadata(path)
            path = run.result
            opened = cls(where, folder, metadata, read_opened_result(path))
        except (OSError, ValueError) as error:
            what = f"cannot be read: {path.name}: {first_line(error)}."
            raise _refusal(where, folder, what, FINISH) from error
        if opened.result["status"] == COLLAPSED:
            epoch = opened.result["best_epoch"]
            log.warning("%s: %s collapsed; its weights are those of epoch %s, before that.", where, near(folder), epoch)
        return opened

    def refuse(self, message: str, remedy: str = "") -> UserError:
        """An error about this folder."""
        return _refusal(self.where, self.folder, message, remedy)

    def told(self, problems: Sequence[Problem]) -> list[Problem]:
        """Problems of the run's own config, as problems of naming it."""
        return [Problem(self.where, f"{near(self.folder)}: {one.where}: {one.message}", one.remedy) for one in problems]

    def best(self) -> Checkpoint:
        """The checkpoint of the best epoch.

        Raises:
            UserError: if it is not there, damaged, or another epoch's.
        """
        again = "Bring checkpoints/best back, or train the run again."
        store = CheckpointStore(RunFolder(self.folder).checkpoints, {"settings": self.result.get("settings")})
        try:
            best = store.best()
        except UserError as error:
            whole = "Bring it back, or train the run again."
            raise UserError(self.told([Problem(p.where, p.message, whole) for p in error.problems])) from error
        if best is None:
            raise self.refuse("has no best checkpoint.", again)
        epoch = self.result["best_epoch"]
        if best.manifest["position"].get("epoch") != epoch:
            raise self.refuse(f"has a best checkpoint that is not of its best epoch, {epoch}.", again)
        return best

    def decision(self, checkpoint: Checkpoint) -> Decision:
        """Threshold and temperature, found with these weights; a run of an earlier version has 0.5 and 1.

        Raises:
            UserError: if they are missing or damaged, or are not those of the result.
        """
        if "decision" not in self.result:
            return Decision()
        again = f"Bring it back, or remove {RunFolder(self.folder).result.name} and resume the run: it makes it again."
        path = checkpoint.folder / DECISION
        try:
            found = Decision.load(checkpoint.folder, checkpoint.weights)
            if found != Decision.read(self.result["decision"]):
                raise ValueError("the result was made with another")
        except FileNotFoundError as error:
            raise self.refuse(f"has no {path.relative_to(self.folder)}.", again) from error
        except (OSError, ValueError) as error:
            what = f"has a {path.relative_to(self.folder)} that cannot be used: {first_line(error)}."
            raise self.refuse(what, again) from error
        return found

    def build(self, component: Any, context: ModelContext, checkpoint: Checkpoint) -> Model:
        """The model of a component, on the CPU, without weights yet.

        Args:
            component: its class and config.
            context: what it is built for.
            checkpoint: with its weights, or those of a model that it is a part of.

        Raises:
            UserError: if it cannot be built from its config and this context any more.
        """
        self._check_size(component, context, checkpoint)
        try:
            return component.build(context)  # type: ignore[no-any-return]
        except UserError as error:
            raise UserError(self.told(error.problems)) from error
        except Exception as error:  # of a config or properties that were changed, or of a user's own class
            if is_out_of_memory(error):
                raise
            what = f"holds a model that cannot be built any more: {type(error).__name__}: {first_line(error)}."
            raise self.refuse(what, "Train it again.") from error

    def _check_size(self, component: Any, context: ModelContext, checkpoint: Checkpoint) -> None:
        """Refuse a config, or a vocabulary, whose model is larger than the weights: it may fill the memory.

        What an encoder's own files decide is left out, and a user's own class that cannot be built without numbers.
        """
        if getattr(component.config, "pretrained", None) is not None:
            return
        try:
            with torch.device("meta"), warnings.catch_warnings(action="ignore"):
                numbers = sum(parameter.numel() for parameter in component.build(context).parameters())
        except Exception:
            return
        size = (checkpoint.folder / MODEL).stat().st_size
        if numbers > size:
            what = f"holds a model of {numbers:,} parameters, but weights of {size:,} bytes."
            raise self.refuse(what, AGAIN)

    def load(self, model: Model, checkpoint: Checkpoint) -> None:
        """Put the weights into the model.

        Raises:
            UserError: if they are not this model's.
        """
        try:
            checkpoint.load_model(model)
        except UserError as error:
            what = f"holds weights that do not fit its own config: {error.problems[0].message}"
            raise self.refuse(what, AGAIN) from error


def _refusal(where: str, folder: Path, message: str, remedy: str) -> UserError:
    return fail(where, f"{near(folder)} {message}", remedy)
