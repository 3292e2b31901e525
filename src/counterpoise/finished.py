"""Finished runs, opened again: what their folder says, their best weights, and the data that they were measured on."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.allocation import is_out_of_memory
from counterpoise.config.saved import runs_near
from counterpoise.decision import DECISION, Decision
from counterpoise.engine.checkpoints import Checkpoint, CheckpointStore
from counterpoise.errors import Problem, UserError, fail, first_line, near
from counterpoise.jsonio import read_json, read_sealed
from counterpoise.models.base import Model, ModelContext
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
    metadata: Mapping[str, Any]
    """Of ``training_metadata.json``."""
    result: Mapping[str, Any]
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
        unread = cls(where, folder, {}, {})
        if not run.metadata.is_file():
            sought = "" if folder.is_absolute() else f" It was looked for in {Path.cwd()}."
            message = f"is no run folder: it has no {run.metadata.name}.{sought}"
            raise unread.refuse(message, runs_near(folder) or otherwise)
        if not run.result.is_file():
            resume = f"Finish it with resume={near(folder)}, or name another."
            raise unread.refuse(f"is a run that has not finished: it has no {run.result.name}.", resume)
        try:
            opened = cls(where, folder, dict(read_json(run.metadata)), read_sealed(run.result))
        except (OSError, ValueError, TypeError) as error:
            raise unread.refuse(f"cannot be read: {first_line(error)}.", FINISH) from error
        if opened.result.get("status") == COLLAPSED:
            epoch = opened.result.get("best_epoch")
            log.warning("%s: %s collapsed; its weights are those of epoch %s, before that.", where, near(folder), epoch)
        return opened

    def refuse(self, message: str, remedy: str = "") -> UserError:
        """An error about this folder."""
        return fail(self.where, f"{near(self.folder)} {message}", remedy)

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
        epoch = self.result.get("best_epoch")
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

    def build(self, component: Any, context: ModelContext) -> Model:
        """The model of a component, on the CPU, without weights yet.

        Raises:
            UserError: if it cannot be built from its config and this context any more.
        """
        try:
            return component.build(context)  # type: ignore[no-any-return]
        except UserError as error:
            raise UserError(self.told(error.problems)) from error
        except Exception as error:  # of a config or properties that were changed, or of a user's own class
            if is_out_of_memory(error):
                raise
            what = f"holds a model that cannot be built any more: {type(error).__name__}: {first_line(error)}."
            raise self.refuse(what, "Train it again.") from error

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
