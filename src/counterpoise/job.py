"""A run whose data are encoded and whose plan is made: model, trainer, training, measurement."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from lightning_fabric import Fabric
from rich.console import Console

from counterpoise.config.experiment import Experiment
from counterpoise.config.hardware import HardwareConfig
from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Encoded
from counterpoise.data.loader import Loader
from counterpoise.data.records import Dataset
from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.engine.evaluation import SplitBatches, predict
from counterpoise.engine.progress import History
from counterpoise.engine.rng import seed_everything
from counterpoise.engine.trainer import Trainer
from counterpoise.errors import TrainingAbortedError
from counterpoise.events import Decision
from counterpoise.guards.early_stopping import EarlyStopping
from counterpoise.guards.non_finite import NonFiniteGuard
from counterpoise.jsonio import write_json
from counterpoise.losses import Loss
from counterpoise.metrics import Objective
from counterpoise.models.base import Model, ModelContext
from counterpoise.optim.schedules import Horizon
from counterpoise.plan import Plan
from counterpoise.reports.diagnosis import diagnose_folder
from counterpoise.result import make_result
from counterpoise.tracking.base import Tracker
from counterpoise.tracking.console import ConsoleObserver
from counterpoise.tracking.files import FileRecorder
from counterpoise.tracking.folder import RunFolder, write_predictions


@dataclass(frozen=True, kw_only=True)
class Job:
    """Everything that training needs, decided."""

    experiment: Experiment
    dataset: Dataset
    encoded: Encoded
    plan: Plan
    hardware: HardwareConfig
    fabric: Fabric
    fingerprint: str
    folder: RunFolder
    console: Console
    tracker: Tracker

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.experiment.plain.seed

    def build(self, loss: Loss, objective: Objective) -> Trainer:
        """Model, optimizer, schedule and trainer; writes nothing.

        Raises:
            UserError: for whatever the model or the optimizer cannot take.
        """
        seed_everything(self.seed)
        return self._trainer(self.experiment["model"].build(self._context()), loss, objective)

    def train(self, trainer: Trainer, cache: Cache) -> dict[str, Any]:
        """Train to the end, measure the best checkpoint, leave ``result.json``.

        Raises:
            TrainingAbortedError: if a judge ended the run as failed, or no epoch could be scored.
        """
        started = time.monotonic()
        self.folder.keep(self.encoded.artefacts)
        history = trainer.fit(self._loader(), self.encoded.splits["valid"])
        measured = self._measure(trainer, history)
        result = make_result(
            self.dataset,
            history,
            trainer.objective,
            cache,
            data_fingerprint=self.fingerprint,
            model=type(trainer.module).__name__,
            seed=self.seed,
            updates=trainer.position.update,
            skipped_updates=trainer.position.skipped,
            trainable_parameters=sum(p.numel() for p in trainer.module.parameters() if p.requires_grad),
            valid=measured["valid"],
            test=measured.get("test"),
            notes={**self.dataset.notes, **self.encoded.notes},
            seconds=time.monotonic() - started,
        )
        result["diagnosis"] = diagnose_folder(self.folder.path, result)
        write_json(self.folder.result, result)
        self.tracker.on_result(result)
        return result

    def _context(self) -> ModelContext:
        counts = self.dataset.train.class_counts()
        return ModelContext(tuple((counts / counts.sum()).tolist()), self.encoded.properties)

    def _loader(self) -> Loader:
        balance = self.experiment["balance"].build()
        labels, classes = self.dataset.train.labels, self.dataset.classes
        return Loader(
            self.encoded.splits["train"],
            batch_size=self.plan.batch_size,
            accumulation=self.plan.accumulation,
            seed=self.seed,
            sample_weights=balance.sample_weights(labels, len(classes), classes),
            bucket=self.experiment.plain.train.bucket,
        )

    def _trainer(self, model: Model, loss: Loss, objective: Objective) -> Trainer:
        train = self.experiment.plain.train
        optimizer = self.experiment["optimizer"].build(model, self.plan.lr)
        horizon = Horizon(self.plan.total_updates, self.plan.warmup_ratio, objective.maximise)
        identity = {"data_fingerprint": self.fingerprint, "model": type(model).__qualname__}
        return Trainer(
            model,
            optimizer,
            loss,
            epochs=train.epochs,
            classes=self.dataset.classes,
            schedule=self.experiment["scheduler"].build(optimizer, horizon),
            objective=objective,
            fabric=self.fabric,
            clip_norm=train.clip_norm,
            seed=self.seed,
            log_every=train.log_every,
            evaluation_batch=self.plan.evaluation_batch,
            prefetch=self.hardware.workers or 0,
            observers=[
                FileRecorder(self.folder),
                ConsoleObserver(self.console, self.dataset.classes, objective.name),
                self.tracker,
            ],
            judges=[
                EarlyStopping(self.experiment.judges["early_stopping"], objective),
                NonFiniteGuard(self.experiment.judges["guard"]),
            ],
            checkpoints=CheckpointStore(self.folder.checkpoints, identity),
            checkpoint_updates=train.checkpoint_updates,
            checkpoint_seconds=train.checkpoint_seconds,
            compile=self.hardware.compile,
        )

    def _measure(self, trainer: Trainer, history: History) -> dict[str, dict[str, Any]]:
        """Metrics and predictions of the best checkpoint on validation and test."""
        if history.verdict.decision == Decision.ABORT:
            raise TrainingAbortedError(f"{history.verdict.judge}: {history.verdict.reason}.")
        assert trainer.checkpoints is not None
        best = trainer.checkpoints.best()
        if best is None:
            raise TrainingAbortedError("No epoch had a defined validation score, so there is no best checkpoint.")
        best.load_model(trainer.module)
        measured = {}
        for name in ("valid", "test"):
            if name in self.encoded.splits:
                batches = SplitBatches(self.encoded.splits[name], self.plan.evaluation_batch)
                found = predict(trainer.model, batches, trainer.loss, trainer.fabric.device)
                write_predictions(self.folder.predictions(name), found.rows, found.labels, found.probabilities)
                measured[name] = found.metrics(self.dataset.classes)
        return measured
