"""A run whose data are encoded and whose plan is made: model, trainer, training, measurement."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import Any

from lightning_fabric import Fabric
from rich.console import Console

from counterpoise.allocation import as_out_of_memory
from counterpoise.alone import Alone
from counterpoise.balance import check_stacked
from counterpoise.branches import Branch
from counterpoise.config.experiment import Experiment
from counterpoise.config.hardware import HardwareConfig
from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Encoded, EncodedSplit, at_epoch
from counterpoise.data.loader import Loader
from counterpoise.data.records import Dataset
from counterpoise.decision import DECISION, decide
from counterpoise.engine.checkpoints import Checkpoint, CheckpointStore
from counterpoise.engine.evaluation import SplitBatches
from counterpoise.engine.keeper import Keeper
from counterpoise.engine.mirror import NoMirror
from counterpoise.engine.progress import History
from counterpoise.engine.rng import seed_everything
from counterpoise.engine.trainer import Trainer
from counterpoise.errors import TrainingAbortedError, fail
from counterpoise.events import BaseJudge, Decision
from counterpoise.guards.causes import Circumstances
from counterpoise.guards.collapse import CollapseGuard
from counterpoise.guards.config import GuardConfig
from counterpoise.guards.early_stopping import EarlyStopping
from counterpoise.guards.non_finite import NonFiniteGuard
from counterpoise.guards.signals import SignalGuard
from counterpoise.jsonio import write_bytes, write_sealed
from counterpoise.losses import Loss, LossContext
from counterpoise.measuring import calibration, figures, groups_of, keep
from counterpoise.metrics import Objective
from counterpoise.models.base import Model, ModelContext
from counterpoise.optim.adamw import all_components
from counterpoise.optim.scaling import scale
from counterpoise.optim.schedules import Horizon
from counterpoise.plan import Plan
from counterpoise.reports.diagnosis import diagnose_folder
from counterpoise.reports.pictures.run import PLOTS, draw_run
from counterpoise.reports.protocol import Protocol
from counterpoise.result import baselines, make_result
from counterpoise.storage import Storage
from counterpoise.tracking.alarms import AlarmRecorder
from counterpoise.tracking.console import ConsoleObserver
from counterpoise.tracking.files import FileRecorder
from counterpoise.tracking.folder import RunFolder
from counterpoise.tracking.gradients import GradientRecorder
from counterpoise.tracking.relay import Trackers

log = logging.getLogger(__name__)


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
    """Of the data."""
    settings: str
    """Fingerprint of all that decides the result: checkpoints and results of other settings are another run's."""
    folder: RunFolder
    storage: Storage
    console: Console
    trackers: Trackers
    signals: SignalGuard
    mirror: NoMirror
    protocol: Protocol
    branches: Mapping[str, Branch] = field(default_factory=dict)
    """Of the model, those that come from earlier runs."""
    features: Callable[[], Mapping[str, EncodedSplit]] | None = None
    """The splits in the form that the model is fed with in each epoch; ``None`` where that is as they were encoded."""

    @property
    def splits(self) -> Mapping[str, EncodedSplit]:
        """What the model is fed with, by name."""
        return self.encoded.splits if self.features is None else self.features()

    @property
    def seed(self) -> int:
        """The run's seed."""
        return self.experiment.plain.seed

    def build(self, loss: Loss, objective: Objective) -> Trainer:
        """Model, optimizer, schedule and trainer, and what the model is fed with; writes nothing but cache entries.

        Features are computed here, and not in training: a signal ends that at once, and leaves no run begun.

        Raises:
            UserError: for whatever the model or the optimizer cannot take.
            OutOfMemoryError: if features are to be computed, and not even one sample fits.
        """
        seed_everything(self.seed)
        trainer = self._trainer(self.experiment["model"].build(self.context()), loss, objective)
        if self.features is not None:
            self.features()
        return trainer

    def train(self, trainer: Trainer, cache: Cache) -> dict[str, Any]:
        """Train to the end, measure the best checkpoint, leave ``result.json``.

        Raises:
            TrainingAbortedError: if a judge ended the run as failed, or no epoch could be scored.
            StorageError: if something could not be written, though the disk was waited for.
        """
        started = time.monotonic()
        with self.signals.deferring():
            history = self._fit(trainer)
        if history.verdict.decision < Decision.ABORT:
            self.signals.obey()  # resuming a run that was aborted would only abort it again
        measured = self._measure(trainer, history)
        alone = self._alone(trainer, cache)
        self.mirror.finish()
        result = make_result(
            self.dataset,
            history,
            trainer.objective,
            self._baselines(cache),
            data_fingerprint=self.fingerprint,
            settings=self.settings,
            model=type(trainer.module).__name__,
            seed=self.seed,
            updates=trainer.position.update,
            skipped_updates=trainer.position.skipped,
            found_to_fit=trainer.state.memory.state_dict(),
            trainable_parameters=sum(p.numel() for p in trainer.module.parameters() if p.requires_grad),
            **{"test": None, **measured},
            notes={**self.dataset.notes, **self.encoded.notes},
            seconds=time.monotonic() - started,
            **({"branches": alone} if alone else {}),
            **self.mirror.facts(),
        )
        self.storage.settle()  # a folder that has a result lacks nothing
        result["diagnosis"] = diagnose_folder(self.folder.path, result)
        judged = self.protocol.of_result(self.folder.path, result)
        if judged is not None:
            result["protocol"] = judged
        # The pictures come before the result: a run that is killed here has none, and draws them when it is repeated.
        if self.experiment.sections["report"].plots:
            path = self.folder.path / PLOTS
            with self.signals.deferring():  # what takes seconds must not cost the result
                self.storage.attempt(path.name, path, lambda: draw_run(self.folder.path, result), required=False)
        self.storage.insist(
            self.folder.result.name, self.folder.result, lambda: write_sealed(self.folder.result, result)
        )
        if history.verdict.decision < Decision.ABORT:
            self.signals.obey()
        self.trackers.on_result(result)
        return result

    def _baselines(self, cache: Cache) -> dict[str, Any]:
        """The baselines' figures; their answers are left in the run folder."""
        found = baselines(self.dataset, cache, self.fingerprint)
        for split, content in found.files.items():
            path = self.folder.baselines(split)
            self.storage.insist(path.name, path, partial(write_bytes, path, content))
        return found.figures

    def _fit(self, trainer: Trainer) -> History:
        # A batch that does not fit is halved within: what is left is the optimizer's own state, or drawing a batch.
        with as_out_of_memory("training, outside of the model"):
            return trainer.fit(self.loader(self.seed), self.splits["valid"])

    def context(self) -> ModelContext:
        """What the model must know of the data."""
        counts = self.dataset.train.class_counts()
        branches = {name: branch.model for name, branch in self.branches.items()}
        return ModelContext(tuple((counts / counts.sum()).tolist()), self.encoded.properties, branches)

    def loader(self, seed: int, *, last_form: bool = False) -> Loader:
        """Batches of the training split, in the order of this seed.

        Args:
            seed: decides the order.
            last_form: give every epoch the form of the last one, in which all that is ever trained is trained.
        """
        train = self.splits["train"]
        if last_form:
            train = at_epoch(train, self.experiment.plain.train.epochs - 1)
        balance = self.experiment["balance"].build()
        labels, classes = self.dataset.train.labels, self.dataset.classes
        return Loader(
            train,
            batch_size=self.plan.batch_size,
            accumulation=self.plan.accumulation,
            seed=seed,
            sample_weights=balance.sample_weights(labels, len(classes), classes),
            bucket=self.experiment.plain.train.bucket,
            batch_tokens=self.plan.batch_tokens,
        )

    def _trainer(self, model: Model, loss: Loss, objective: Objective) -> Trainer:
        train, guard = self.experiment.plain.train, self.experiment.sections["guard"]
        optimizer = self.experiment["optimizer"].build(model, self.plan.lr)
        horizon = Horizon(self.plan.total_updates, self.plan.warmup_ratio, objective.maximise)
        identity = {"data_fingerprint": self.fingerprint, "model": type(model).__qualname__, "settings": self.settings}
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
            evaluation_tokens=self.plan.batch_tokens,
            prefetch=self.hardware.workers or 0,
            observers=[
                FileRecorder(self.folder, self.storage),
                GradientRecorder(self.folder, list(all_components(model)), self.storage),
                AlarmRecorder(self.folder, self.storage, guard.policy),
                ConsoleObserver(self.console, self.dataset.classes, objective.name),
                self.trackers,
            ],
            judges=[
                *self._guards(loss),
                EarlyStopping(self.experiment.sections["early_stopping"], objective),  # hears what the guards said
                self.signals,
            ],
            rescue=guard.rescue if guard.policy == "rescue" else None,
            checkpoints=Keeper(CheckpointStore(self.folder.checkpoints, identity), self.storage, self.mirror.offer),
            checkpoint_updates=train.checkpoint_updates,
            checkpoint_seconds=train.checkpoint_seconds,
            compile=self.hardware.compile,
        )

    def _guards(self, loss: Loss) -> list[BaseJudge]:
        guard: GuardConfig = self.experiment.sections["guard"]
        balance, train = self.experiment["balance"].config, self.experiment.plain.train
        if guard.policy == "off":
            return []
        assert self.plan.lr is not None
        optimizer = self.experiment["optimizer"].config
        batches = {"effective_batch": self.plan.effective_batch, "base_batch": optimizer.base_batch}
        factor = scale(optimizer.scaling, lr=1.0, warmup_ratio=0.0, **batches).factor
        circumstances = Circumstances(
            classes=self.dataset.classes,
            weighted=bool(loss.corrections) or balance.sampler or balance.reweights,
            precision=self.plan.precision,
            base_lr=self.plan.lr / factor,
            recipe_lr=float(self.experiment.sections["lr_range_test"].recipe or self.plan.lr / factor),
            clip_norm=train.clip_norm,
            bucket=train.bucket,
            accumulation=self.plan.accumulation,
        )
        return [
            CollapseGuard(guard.collapse, guard.policy, circumstances),
            NonFiniteGuard(guard.non_finite, guard.policy, circumstances),
        ]

    def _alone(self, trainer: Trainer, cache: Cache) -> dict[str, dict[str, Any]]:
        """What the branches from earlier runs come to by themselves."""
        measure = Alone(
            dataset=self.dataset,
            data_fingerprint=self.fingerprint,
            encoded=self.encoded,
            cache=cache,
            fabric=self.fabric,
            loss=trainer.loss,
            settings=self.experiment.sections["decision"],
            objective=trainer.objective.config,
            batch_size=self.plan.evaluation_batch,
        )
        return measure.figures(self.branches)

    def _load_best(self, trainer: Trainer, history: History) -> tuple[Checkpoint, int]:
        """Put the weights of the best epoch into the model; the checkpoint, and the epoch's number."""
        assert trainer.checkpoints is not None
        best = trainer.checkpoints.best() if history.best_epoch is not None else None
        if best is None and history.verdict.decision == Decision.ABORT:
            raise TrainingAbortedError(f"{history.verdict.judge}: {history.verdict.reason}.")
        if best is None or history.best_epoch is None:
            raise TrainingAbortedError(
                "No epoch can be the best: in each a class was never predicted, or the score undefined. "
                "collapse_report.json says more; guard=off measures such an epoch all the same."
            )
        if best.manifest["position"].get("epoch") != history.best_epoch:
            message = f"does not hold the weights of the best epoch, {history.best_epoch}."
            raise fail(str(best.folder), message, "Bring them back, or remove the run folder to start over.")
        best.load_model(trainer.module)
        return best, history.best_epoch

    def _measure(self, trainer: Trainer, history: History) -> dict[str, Any]:
        """What the best checkpoint decides by, and its metrics and predictions on validation and test."""
        best, epoch = self._load_best(trainer, history)
        raw = {
            name: trainer.evaluate(self._batches(name).at(epoch - 1))
            for name in ("valid", "test")
            if name in self.splits
        }
        valid = raw["valid"]
        settings = self.experiment.sections["decision"]
        groups = groups_of(self.dataset.valid, valid.rows)
        decision = decide(settings, trainer.objective.config, valid.labels, valid.probabilities, groups)
        for note in decision.notes:
            log.info("Decision: %s.", note)
        records, decided = self.dataset.splits(), {name: found.decided(decision) for name, found in raw.items()}
        for name, found in decided.items():
            path = self.folder.predictions(name)
            self.storage.insist(path.name, path, partial(keep, path, found, records[name]))
        path = best.folder / DECISION
        self.storage.insist(DECISION, path, partial(decision.save, best.folder, best.weights))
        return {
            "decision": asdict(decision),
            "calibration": {name: calibration(raw[name], found) for name, found in decided.items()},
            **{name: figures(found, records[name]) for name, found in decided.items()},
        }

    def _batches(self, split: str) -> SplitBatches:
        return SplitBatches(self.splits[split], self.plan.evaluation_batch, self.plan.batch_tokens)


def build_loss(experiment: Experiment, dataset: Dataset) -> Loss:
    """The loss, its weights from the training split alone.

    Raises:
        UserError: if two corrections of imbalance are stacked without being asked for by name.
    """
    counts = dataset.train.class_counts()
    weights = experiment["balance"].build().class_weights(counts, dataset.classes)
    loss: Loss = experiment["loss"].build(LossContext(counts, dataset.classes, weights))
    warning = check_stacked(experiment["balance"].config, loss.corrections)
    if warning:
        log.warning(warning)
    return loss
