"""One run, told top to bottom: config → data → plan → model → training → result."""

from __future__ import annotations

import functools
import logging
import platform
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import torch
from rich.console import Console

from counterpoise.allocation import as_out_of_memory
from counterpoise.branches import Branch, open_branches
from counterpoise.config.experiment import Experiment, check
from counterpoise.data.cache import Cache, dataset_fingerprint, fingerprint
from counterpoise.data.class_counts import class_warnings, describe_classes
from counterpoise.data.folds import describe_fold
from counterpoise.data.loading import load_data
from counterpoise.data.records import Dataset
from counterpoise.data.words import warn_of_texts_without_blanks
from counterpoise.engine.restore import open_mirror, restore
from counterpoise.errors import PreemptedError, UserError
from counterpoise.guards.signals import SignalGuard
from counterpoise.job import build_loss
from counterpoise.jsonio import to_plain
from counterpoise.lr_search import REPORT, find, taken_up
from counterpoise.metrics import Objective, classification_metrics, undefined_metrics
from counterpoise.paths import user_path
from counterpoise.plan import Plan, describe, describe_parameters, detect, make_plan, read_profiles, settle_hardware
from counterpoise.preemption import Leavings
from counterpoise.preparation import Preparation
from counterpoise.reports.after import explained
from counterpoise.reports.pictures.run import draw_missing
from counterpoise.reports.protocol import Protocol, open_protocol
from counterpoise.result import earlier_result, show_result
from counterpoise.run_files import Result, read_metadata
from counterpoise.tracking.console import make_console
from counterpoise.tracking.folder import RunFolder, decisive
from counterpoise.tracking.relay import check_available

log = logging.getLogger(__name__)

PACKAGES = ("counterpoise", "torch", "lightning-fabric", "transformers", "tokenizers", "numpy", "pyarrow")


@dataclass(frozen=True)
class Invocation:
    """How a run was asked for, beside its config."""

    profiles: Path
    """Folder of the hardware profiles."""
    overrides: tuple[str, ...] = ()
    hydra_files: Mapping[str, Any] = field(default_factory=dict)
    """What goes into ``.hydra``, by file name."""
    sweep: Path | None = None
    """Folder of the multirun that this is a job of."""


def run(config: Mapping[str, Any], folder: Path, invocation: Invocation) -> Mapping[str, Any]:
    """Train, or resume, or take up a finished result.

    Args:
        config: the composed config as plain containers, interpolations resolved.
        folder: the run folder.
        invocation: how the run was asked for.

    Returns:
        the content of ``result.json``; for a dry run the plan.

    Raises:
        UserError: for anything that is wrong with config or data.
        TrainingAbortedError: if a judge ended the run as failed; a FailedProtocolError if it has a protocol.
        StorageError: if the disk failed, and did not come back.
    """
    signals = SignalGuard()
    leavings = Leavings(RunFolder(folder), multirun=invocation.sweep is not None)
    try:
        with signals.listening(), as_out_of_memory("the preparation of the run"):
            return _run(config, folder, invocation, signals, leavings)
    except PreemptedError as error:
        raise leavings.said(error) from None


def _run(
    config: Mapping[str, Any], folder: Path, invocation: Invocation, signals: SignalGuard, leavings: Leavings
) -> Mapping[str, Any]:
    console = make_console()
    experiment = check(config)
    check_available(experiment.trackers)
    mirror = open_mirror(experiment.sections["mirror"], folder)
    dataset = load_data(experiment)
    hardware, said = settle_hardware(experiment.plain.hardware, detect(), read_profiles(invocation.profiles))
    plan = make_plan(experiment, hardware, len(dataset.train))
    loss = build_loss(experiment, dataset)
    objective = build_objective(experiment, dataset)
    experiment.sections["decision"].check_classes(len(dataset.classes))
    run_folder, data_fingerprint = leavings.folder, dataset_fingerprint(dataset)
    try:
        branches = open_branches(experiment, dataset, data_fingerprint)
        experiment.build_encoding().check(dataset)
    except UserError as error:
        result = None if experiment.plain.dry_run else finished_before(run_folder, config, data_fingerprint, plan)
        if result is None:
            raise
        log.warning("This run has finished, but could not be made again: %s", error)
        return _show_finished(console, result, run_folder)
    plots = experiment.sections["report"].plots
    branch_facts = _branch_facts(branches)
    protocol = Protocol(experiment.sections["protocol"])
    if not run_folder.result.exists():  # one that has finished was judged then
        now = {"config": config, "plan": asdict(plan), "data_fingerprint": data_fingerprint, **branch_facts}
        protocol = open_protocol(protocol.config, now)
    model = experiment["model"].target.__name__
    _announce(console, dataset, plan, {"model": model, "hardware": said})
    for message in class_warnings(dataset, ordered_by_name=getattr(experiment["data"].config, "labels", ()) is None):
        console.print(f"{'warning':>14}  {message}", soft_wrap=True)
    warn_of_texts_without_blanks(dataset.train)
    cache = leavings.cache = Cache(user_path(experiment.plain.paths.cache, "paths.cache"))
    facts = {**_metadata(plan, data_fingerprint, dataset, invocation, said), **branch_facts}
    preparation = Preparation(
        experiment=experiment,
        dataset=dataset,
        plan=plan,
        hardware=hardware,
        branches=branches,
        data_fingerprint=data_fingerprint,
        settings=settings_fingerprint(config, data_fingerprint, plan, branch_facts),
        folder=run_folder,
        console=console,
        signals=signals,
        mirror=mirror,
        protocol=protocol,
    )
    if experiment.plain.dry_run:
        known = facts if plan.lr is not None else {name: facts[name] for name in facts if name != "plan"}
        preparation.rehearse(config, known, cache, loss, objective)
        return {"status": "dry_run", "plan": asdict(plan)}

    # The data are encoded once, and not for a run that has finished.
    job = functools.cache(lambda: preparation.job(cache))
    wait = 0.0 if invocation.sweep is None else experiment.plain.train.folder_wait
    with run_folder.held(wait, console.print), mirror:
        settled, measured = plan, None
        if plan.lr is None:
            # What is another run's is refused before anything is measured.
            run_folder.check(config, {"data_fingerprint": data_fingerprint, **branch_facts})
            taken = taken_up(run_folder)
            found = taken or find(job(), loss, cache)
            settled, measured = found.settle(plan), None if taken else found
            console.print(f"{'learning rate':>14}  {found.describe()}")
        metadata = {**_metadata(settled, data_fingerprint, dataset, invocation, said), **branch_facts}
        run_folder.check(config, metadata)
        restored = restore(mirror, run_folder, {"config": config, **metadata})
        if restored is not None:
            console.print(f"Restored update {restored} from the mirror.")
            run_folder.check(config, metadata)
        settings = settings_fingerprint(config, data_fingerprint, settled, branch_facts)
        result = earlier_result(run_folder.result, settings)
        if result is not None:
            if plots:
                draw_missing(run_folder.path)
            return _show_finished(console, result, run_folder)
        ready = replace(job(), plan=settled, settings=settings)
        trainer = ready.build(loss, objective)  # what can be refused is refused before anything is written
        storage = ready.storage
        console.print(f"{'parameters':>14}  {describe_parameters(trainer.module)}")
        run_folder.claim(config, metadata, invocation.hydra_files, ready.encoded.artefacts)
        if measured is not None:
            storage.attempt(REPORT, run_folder.path / REPORT, partial(measured.leave, run_folder, model))
        with (
            explained(console, folder, protocol, storage, plots=plots),
            run_folder.recording(storage),
            as_out_of_memory("the run, outside of training"),
        ):
            log.info("Command: %s", " ".join(sys.argv))
            with ready.trackers:
                trained = ready.train(trainer, cache)
        show_result(console, cast(Result, trained), folder)
    return trained


def _announce(console: Console, dataset: Dataset, plan: Plan, facts: Mapping[str, str]) -> None:
    """What is going to be done, in numbers."""
    counts = ", ".join(f"{len(split):,} {name}" for name, split in dataset.splits().items())
    data = f"{dataset.name}: {counts}{describe_fold(dataset)}"
    for name, value in describe(plan, {"data": data, "classes": describe_classes(dataset), **facts}):
        console.print(f"{name:>14}  {value}")


def _show_finished(console: Console, result: Result, folder: RunFolder) -> Mapping[str, Any]:
    """Show the result of an earlier command, and remove the record of a later failure."""
    with suppress(OSError):  # a folder that is kept where nothing can be written
        folder.failure.unlink(missing_ok=True)
    console.print("This run has finished already.")
    show_result(console, result, folder.path)
    return result


def settings_fingerprint(
    config: Mapping[str, Any], data_fingerprint: str, plan: Plan, branches: Mapping[str, Any]
) -> str:
    """Hash of all that decides a run's result, machine and versions aside; ``branches`` as in its metadata."""
    key = {"config": decisive(to_plain(config)), "data": data_fingerprint, "plan": asdict(plan)}
    return fingerprint({**key, **branches})


def finished_before(folder: RunFolder, config: Mapping[str, Any], data_fingerprint: str, plan: Plan) -> Result | None:
    """The result of this very run, where its branches cannot be opened any more; ``None`` unless it is whole.

    What its branches were is taken from the run's own metadata, of which the result's settings are a hash.
    """
    if not folder.result.exists():
        return None
    try:
        folder.check(config, {"data_fingerprint": data_fingerprint})
        metadata = read_metadata(folder.metadata)
        branches = {"branches": metadata["branches"]} if "branches" in metadata else {}
    except (UserError, OSError, ValueError):
        return None  # what is wrong with the branches is told instead
    if plan.lr is None:
        found = taken_up(folder)
        plan = plan if found is None else found.settle(plan)
    return earlier_result(folder.result, settings_fingerprint(config, data_fingerprint, plan, branches))


def _branch_facts(branches: Mapping[str, Branch]) -> dict[str, Any]:
    """What of the branches decides a run's result; nothing for a model without."""
    return {"branches": to_plain({name: branch.facts for name, branch in branches.items()})} if branches else {}


def build_objective(experiment: Experiment, dataset: Dataset) -> Objective:
    """The figure that decides, and by which the threshold is tuned.

    Raises:
        UserError: where the validation split does not define it, before anything is trained.
    """
    objective = Objective(experiment.sections["objective"])
    counts = dataset.train.class_counts()
    constant = (counts / counts.sum())[None].repeat(len(dataset.valid), axis=0)
    objective.score(classification_metrics(dataset.valid.labels, constant, dataset.classes))
    measured = dataset.valid.class_counts()
    problems = list(undefined_metrics(objective.metrics, measured, dataset.classes, "validation"))
    if problems:
        raise UserError(problems)
    experiment.sections["decision"].check_labels(measured, dataset.classes)
    return objective


def _metadata(plan: Plan, fingerprint: str, dataset: Dataset, invocation: Invocation, hardware: str) -> dict[str, Any]:
    return {
        "plan": asdict(plan),
        "data_fingerprint": fingerprint,
        "overrides": list(invocation.overrides),
        "sweep": None if invocation.sweep is None else str(invocation.sweep.absolute()),
        "hardware": hardware,
        "data_notes": dataset.notes,
        "classes": dataset.classes,
        "machine": machine(),
    }


def machine() -> dict[str, Any]:
    """What a run's bits depend on beside its config and data."""
    versions = {name: version(name) for name in PACKAGES} | {"python": platform.python_version()}
    return {"processor": torch.backends.cpu.get_cpu_capability(), "threads": torch.get_num_threads(), **versions}
