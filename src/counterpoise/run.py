"""One run, told top to bottom: config → data → model → training → result."""

from __future__ import annotations

import logging
import platform
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

from rich.console import Console

from counterpoise.balance import check_stacked
from counterpoise.baselines import baseline_metrics
from counterpoise.config.experiment import Experiment, check
from counterpoise.data.cache import Cache, dataset_fingerprint
from counterpoise.data.encode.base import Encoded
from counterpoise.data.leakage import apply_leakage_policy
from counterpoise.data.loader import Loader
from counterpoise.data.records import Dataset
from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.engine.evaluation import SplitBatches, predict
from counterpoise.engine.precision import make_fabric
from counterpoise.engine.rng import seed_everything
from counterpoise.engine.trainer import History, Trainer
from counterpoise.events import Decision
from counterpoise.guards.early_stopping import EarlyStopping
from counterpoise.guards.non_finite import NonFiniteGuard
from counterpoise.jsonio import read_json, write_atomically, write_json
from counterpoise.losses import Loss, LossContext
from counterpoise.metrics import Objective, classification_metrics
from counterpoise.models.base import Model, ModelContext
from counterpoise.optim.schedules import Horizon
from counterpoise.plan import Plan, describe, detect, make_plan, read_profiles, settle_hardware
from counterpoise.tracking.base import Tracker
from counterpoise.tracking.console import ConsoleObserver, make_console, result_table
from counterpoise.tracking.files import FileRecorder
from counterpoise.tracking.folder import RunFolder, log_to, write_predictions

log = logging.getLogger(__name__)

PACKAGES = ("counterpoise", "torch", "lightning-fabric", "transformers", "tokenizers", "numpy", "pyarrow")


class TrainingAbortedError(Exception):
    """A judge ended the run as failed; its checkpoints stay. Exit code 1, without a traceback."""


@dataclass(frozen=True)
class Invocation:
    """How a run was asked for, beside its config."""

    profiles: Path
    """Folder of the hardware profiles."""
    overrides: tuple[str, ...] = ()
    hydra_files: Mapping[str, Any] | None = None
    """What goes into ``.hydra``, by file name."""


def run(config: Mapping[str, Any], folder: Path, invocation: Invocation) -> dict[str, Any]:
    """Train, or resume, or take up a finished result.

    Args:
        config: the composed config as plain containers, interpolations resolved.
        folder: the run folder.
        invocation: how the run was asked for.

    Returns:
        the content of ``result.json``; for a dry run the plan.

    Raises:
        UserError: for anything that is wrong with config or data.
        TrainingAbortedError: if a judge ended the run as failed.
    """
    console = make_console()
    experiment = check(config)
    cache = Cache(Path(experiment.plain.paths.cache).expanduser())
    dataset = load_data(experiment)
    hardware, said = settle_hardware(experiment.plain.hardware, detect(), read_profiles(invocation.profiles))
    plan = make_plan(experiment, hardware, len(dataset.train))
    loss = build_loss(experiment, dataset)
    objective = build_objective(experiment, dataset)
    counts = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits().items())
    facts = {"data": f"{dataset.name}: {counts}", "model": experiment["model"].target.__name__, "hardware": said}
    for name, value in describe(plan, facts):
        console.print(f"{name:>14}  {value}")
    if experiment.plain.dry_run:
        return {"status": "dry_run", "plan": asdict(plan)}

    run_folder = RunFolder(folder)
    lock = run_folder.lock()
    handler = None
    try:
        metadata = {
            "plan": asdict(plan),
            "data_fingerprint": dataset_fingerprint(dataset),
            "overrides": list(invocation.overrides),
            "hardware": said,
            "data_notes": dataset.notes,
            "classes": dataset.classes,
            "versions": {name: version(name) for name in PACKAGES} | {"python": platform.python_version()},
        }
        run_folder.claim(config, metadata, invocation.hydra_files or {})
        if run_folder.result.exists():
            console.print(f"This run has finished already: {folder}")
            result = dict(read_json(run_folder.result))
        else:
            handler = log_to(run_folder.log)
            log.info("Command: %s", " ".join(sys.argv))
            encoded = experiment["encoding"].build().encode(dataset, cache)
            job = Job(experiment, dataset, encoded, plan, hardware.workers or 0, hardware.compile, run_folder, console)
            result = job.train(loss, objective, cache)
            run_folder.failure.unlink(missing_ok=True)
        show_result(console, result, folder)
        return result
    finally:
        lock.release()
        if handler is not None:
            logging.getLogger().removeHandler(handler)
            handler.close()


def load_data(experiment: Experiment) -> Dataset:
    """Records of all splits, checked, with the leakage policy applied."""
    source = experiment["data"]
    return apply_leakage_policy(source.build().load(), source.config.leakage)


def build_loss(experiment: Experiment, dataset: Dataset) -> Loss:
    """The loss, its weights from the training split alone.

    Raises:
        UserError: if two corrections of imbalance are stacked without being asked for by name.
    """
    counts = dataset.train.class_counts()
    balance = experiment["balance"].build()
    weights = balance.class_weights(counts, dataset.classes)
    loss: Loss = experiment["loss"].build(LossContext(counts, dataset.classes, weights))
    warning = check_stacked(experiment["balance"].config, loss.corrections)
    if warning:
        log.warning(warning)
    return loss


def build_objective(experiment: Experiment, dataset: Dataset) -> Objective:
    """The figure that decides; whether this data defines it is found out before training, not after an epoch."""
    objective = Objective(experiment.judges["objective"])
    counts = dataset.train.class_counts()
    constant = (counts / counts.sum())[None].repeat(len(dataset.valid), axis=0)
    objective.score(classification_metrics(dataset.valid.labels, constant, dataset.classes))
    return objective


@dataclass
class Job:
    """A run whose data are encoded and whose plan is made."""

    experiment: Experiment
    dataset: Dataset
    encoded: Encoded
    plan: Plan
    workers: int
    compile: bool
    folder: RunFolder
    console: Console

    def train(self, loss: Loss, objective: Objective, cache: Cache) -> dict[str, Any]:
        """Train to the end and measure the best checkpoint."""
        started = time.monotonic()
        seed_everything(self.experiment.plain.seed)
        model: Model = self.experiment["model"].build(self._model_context())
        keep_artefacts(self.encoded, self.folder)
        tracker: Tracker = self.experiment["tracker"].build(self.folder.path)
        trainer = self._trainer(model, loss, objective, tracker)
        history = trainer.fit(self._loader(), self.encoded.splits["valid"])
        if history.verdict.decision == Decision.ABORT:
            write_json(self.folder.failure, {"status": "aborted", "verdict": history.verdict})
            raise TrainingAbortedError(
                f"{history.verdict.judge}: {history.verdict.reason}. Run folder: {self.folder.path}"
            )
        result = self._result(trainer, history, objective, cache)
        result["seconds"] = time.monotonic() - started
        write_json(self.folder.result, result)
        tracker.on_result(result)
        return result

    def _model_context(self) -> ModelContext:
        counts = self.dataset.train.class_counts()
        return ModelContext(tuple((counts / counts.sum()).tolist()), self.encoded.properties)

    def _loader(self) -> Loader:
        train = self.experiment.plain.train
        balance = self.experiment["balance"].build()
        labels = self.dataset.train.labels
        return Loader(
            self.encoded.splits["train"],
            batch_size=self.plan.batch_size,
            accumulation=self.plan.accumulation,
            seed=self.experiment.plain.seed,
            sample_weights=balance.sample_weights(labels, len(self.dataset.classes), self.dataset.classes),
            bucket=train.bucket,
            rank=self._fabric().global_rank,
            processes=self.plan.processes,
        )

    def _fabric(self) -> Any:
        if not hasattr(self, "_made_fabric"):
            hardware = self.experiment.plain.hardware
            self._made_fabric = make_fabric(
                self.plan.device,
                self.plan.precision,  # type: ignore[arg-type]
                devices=hardware.devices,
                nodes=hardware.nodes,
                tf32=hardware.tf32,
            )
        return self._made_fabric

    def _trainer(self, model: Model, loss: Loss, objective: Objective, tracker: Tracker) -> Trainer:
        train = self.experiment.plain.train
        optimizer = self.experiment["optimizer"].build(model, self.plan.lr)
        horizon = Horizon(self.plan.total_updates, self.plan.warmup_ratio, objective.maximise)
        identity = {"data_fingerprint": dataset_fingerprint(self.dataset), "model": type(model).__qualname__}
        return Trainer(
            model,
            optimizer,
            loss,
            epochs=train.epochs,
            classes=self.dataset.classes,
            schedule=self.experiment["scheduler"].build(optimizer, horizon),
            objective=objective,
            fabric=self._fabric(),
            clip_norm=train.clip_norm,
            seed=self.experiment.plain.seed,
            log_every=train.log_every,
            evaluation_batch=self.plan.evaluation_batch,
            prefetch=self.workers,
            observers=[
                FileRecorder(self.folder),
                ConsoleObserver(self.console, self.dataset.classes, objective.name),
                tracker,
            ],
            judges=[
                EarlyStopping(self.experiment.judges["early_stopping"], objective),
                NonFiniteGuard(self.experiment.judges["guard"]),
            ],
            checkpoints=CheckpointStore(self.folder.checkpoints, identity),
            checkpoint_updates=train.checkpoint_updates,
            checkpoint_seconds=train.checkpoint_seconds,
            compile=self.compile,
        )

    def _result(self, trainer: Trainer, history: History, objective: Objective, cache: Cache) -> dict[str, Any]:
        best = trainer.checkpoints.best() if trainer.checkpoints is not None else None
        if best is None:
            raise TrainingAbortedError("no epoch had a defined validation score, so there is no best checkpoint")
        best.load_model(trainer.module)
        measured = {}
        for name in ("valid", "test"):
            if name in self.encoded.splits:
                batches = SplitBatches(self.encoded.splits[name], self.plan.evaluation_batch)
                predictions = predict(trainer.model, batches, trainer.loss, trainer.fabric.device)
                measured[name] = predictions.metrics(self.dataset.classes)
                path = self.folder.predictions(name)
                write_predictions(path, predictions.rows, predictions.labels, predictions.probabilities)
        parameters = [parameter.numel() for parameter in trainer.module.parameters() if parameter.requires_grad]
        return {
            "status": "finished",
            "data": self.dataset.name,
            "model": type(trainer.module).__name__,
            "seed": self.experiment.plain.seed,
            "objective": {"metric": objective.name, "score": history.best_score, "maximise": objective.maximise},
            "best_epoch": history.best_epoch,
            "epochs": len(history.epochs),
            "updates": trainer.position.update,
            "skipped_updates": trainer.position.skipped,
            "ended_by": {"judge": history.verdict.judge, "reason": history.verdict.reason},
            "valid": measured["valid"],
            "test": measured.get("test"),
            "baselines": cached_baselines(self.dataset, self.experiment.plain.seed, cache),
            "trainable_parameters": sum(parameters),
            "notes": {**self.dataset.notes, **self.encoded.notes},
        }


def cached_baselines(dataset: Dataset, seed: int, cache: Cache) -> dict[str, Any]:
    """Majority class and TF-IDF + logistic regression on the same splits; computed once per data set and seed."""

    def build(folder: Path) -> None:
        write_json(folder / "baselines.json", baseline_metrics(dataset, seed))

    key = {"format": 1, "data": dataset_fingerprint(dataset), "seed": seed}
    return dict(read_json(cache.entry("baselines", key, build) / "baselines.json"))


def keep_artefacts(encoded: Encoded, folder: RunFolder) -> None:
    """Copy what is needed to encode new input in the same way."""
    for name, source in encoded.artefacts.items():
        content = source.read_bytes()
        write_atomically(folder.path / name, partial(_write, content))


def _write(content: bytes, file: Any) -> None:
    file.write(content)


def show_result(console: Console, result: Mapping[str, Any], folder: Path) -> None:
    """The run's figures beside the baselines', and where everything is."""
    split = "test" if result.get("test") else "valid"
    rows = {result["model"]: result[split]}
    rows |= {name: splits[split] for name, splits in result["baselines"].items()}
    epoch = result["best_epoch"] + 1
    console.print(result_table(f"{split} split, best checkpoint (epoch {epoch}), beside the baselines", rows))
    valid, test = result["valid"], result.get("test")
    if test and abs(test["accuracy"] - valid["accuracy"]) > FAR:
        difference = test["accuracy"] - valid["accuracy"]
        console.print(f"Test accuracy is {difference:+.1%} from validation's: the two splits differ.")
    console.print(f"Run folder: {folder}", soft_wrap=True)


FAR = 0.05
"""A test figure further than this from validation is pointed out (SPEC A11)."""
