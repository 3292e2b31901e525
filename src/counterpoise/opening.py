"""A finished run, opened to be used: its model with its best weights, how it encodes and decides, and its data."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.branches import Branch
from counterpoise.config.experiment import Experiment, check
from counterpoise.config.extensions import not_named
from counterpoise.config.targets import resolve_component
from counterpoise.data.cache import Cache, dataset_fingerprint, file_checksum
from counterpoise.data.encode.base import Encoded, Learnt
from counterpoise.data.loading import load_data
from counterpoise.data.records import Dataset
from counterpoise.decision import Decision
from counterpoise.engine.checkpoints import Checkpoint
from counterpoise.errors import Problem, UserError, first_line, near
from counterpoise.finished import AGAIN, FINISH, FinishedRun
from counterpoise.models.base import FRESH, Model, ModelContext
from counterpoise.paths import user_path
from counterpoise.reports.predictions import UnusableError, read_predictions
from counterpoise.tracking.folder import RunFolder

log = logging.getLogger(__name__)

ROUNDED = ("encoder.json", "encoder_idf.npy", "encoder_components.npy")
"""Files with numbers, or versions, that another machine may give otherwise, of the same data."""


@dataclass(frozen=True, kw_only=True)
class OpenedModel:
    """What a run folder alone gives."""

    run: FinishedRun
    experiment: Experiment
    model: Model
    """With the weights of the best epoch, in evaluation mode, on the CPU."""
    decision: Decision
    classes: tuple[str, ...]
    properties: Mapping[str, Any]
    """Of the encoding."""
    branches: Mapping[str, Branch]
    """Those that came from runs, as parts of the model."""


@dataclass(frozen=True, kw_only=True)
class OpenedRun(OpenedModel):
    """A run with its data, encoded as it was trained on them."""

    dataset: Dataset
    encoded: Encoded


def open_model(folder: Path, extensions: Sequence[str] = ()) -> tuple[OpenedModel, Learnt]:
    """Open a finished run for new input, without its data.

    Args:
        folder: the run folder.
        extensions: modules that its config may name. Those that the config itself lists are not believed: what is
            loaded decides nothing about what code runs.

    Raises:
        UserError: if it is no finished run, its files are damaged or do not belong together, or its encoding cannot be
            applied to new input.
    """
    run = FinishedRun.open("run", folder)
    experiment = _experiment(run, extensions)
    _check_kept(run)
    try:
        learnt: Learnt = experiment.build_encoding().learnt(folder)
    except UserError as error:
        raise UserError(run.told(error.problems)) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"cannot encode anything, since what it learnt to encode by is not whole: {first_line(error)}."
        raise run.refuse(what, "Bring that file back, or train it again.") from error
    return OpenedModel(**_parts(run, experiment, learnt.properties)), learnt


def _check_kept(run: FinishedRun) -> None:
    """Hold the files that new input is encoded by against their checksums; one that is missing is told by its reader.

    Raises:
        UserError: if one has changed.
    """
    sums = run.metadata.get("artefacts")
    if sums is None:
        log.warning("%s keeps no checksums of what it encodes by: changes would not show.", near(run.folder))
        return
    for name, checksum in sums.items():
        path = run.folder / name
        if path.is_file() and file_checksum(path) != checksum:
            what = f"cannot encode anything, since what it learnt to encode by is not whole: {name} has changed."
            raise run.refuse(what, "Bring that file back, or train it again.")


def open_run(folder: Path, extensions: Sequence[str] = (), cache: Path | None = None) -> OpenedRun:
    """Open a finished run whose data are still there.

    Args:
        folder: the run folder.
        extensions: as for :func:`open_model`.
        cache: folder of encoded data; ``None`` takes the run's own.

    Raises:
        UserError: if it is no finished run, its data have changed or gone, or its files do not belong together.
    """
    run = FinishedRun.open("run", folder)
    experiment = _experiment(run, extensions)
    dataset = _dataset(run, experiment)
    root = cache or user_path(experiment.plain.paths.cache, "paths.cache")
    encoded = experiment.build_encoding().encode(dataset, Cache(root))
    _check_artefacts(run, encoded)
    return OpenedRun(**_parts(run, experiment, encoded.properties), dataset=dataset, encoded=encoded)


def _parts(run: FinishedRun, experiment: Experiment, properties: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of an :class:`OpenedModel`."""
    classes = run.metadata.get("classes")
    if classes is None:
        raise run.refuse("does not say what classes it tells apart.", FINISH)
    checkpoint = run.best()
    # The shares of the classes only start a bias, which the weights replace.
    shares = (1 / len(classes),) * len(classes)
    branches = _branches(run, experiment, properties, shares, checkpoint)
    context = ModelContext(shares, properties, {name: branch.model for name, branch in branches.items()})
    model = run.build(experiment["model"], context, checkpoint)
    run.load(model, checkpoint)
    model.eval()
    return {
        "run": run,
        "experiment": experiment,
        "model": model,
        "decision": run.decision(checkpoint),
        "classes": tuple(classes),
        "properties": properties,
        "branches": {name: _part(branch, model) for name, branch in branches.items()},
    }


def _branches(
    run: FinishedRun,
    experiment: Experiment,
    properties: Mapping[str, Any],
    shares: tuple[float, ...],
    checkpoint: Checkpoint,
) -> dict[str, Branch]:
    """Branches that came from runs, rebuilt from what the run wrote down of them; weights come with the whole model."""
    model = experiment["model"]
    found = {}
    for name, kind in getattr(model.target, "branches", {}).items():
        if getattr(model.config, name) == FRESH:
            continue
        try:
            facts = run.metadata["branches"][name]
        except KeyError as error:
            raise run.refuse(f"does not say what its branch {name} was.", FINISH) from error
        node = {**facts["model"]["config"], "_target_": facts["model"]["class"]}
        problems: list[Problem] = []
        component = resolve_component("model", node, experiment.plain.extensions, problems)
        if component is None:
            raise UserError(run.told(problems))
        built: Any = run.build(component, ModelContext(shares, properties[kind]), checkpoint)
        found[name] = Branch(
            name, kind, run.folder, component, built, facts["weights"], facts["vocabulary"], same_data=True
        )
    return found


def _part(branch: Branch, model: Any) -> Branch:
    """The branch as it stands in the model, where it can be told."""
    return Branch(**{**vars(branch), "model": getattr(model, branch.name, branch.model)})


def _check_artefacts(run: FinishedRun, encoded: Encoded) -> None:
    """Hold what the encoding learns today against what the run kept.

    Numbers may come out a little differently with other versions or threads: that is told, and the answers are compared
    with those that the run left.
    """
    for name, path in encoded.artefacts.items():
        kept = run.folder / name
        if kept.is_file() and file_checksum(kept) == file_checksum(path):
            continue
        if not kept.is_file() or name not in ROUNDED:
            raise run.refuse(f"has a {name} that is not what its data give today.", AGAIN)
        log.warning("%s: %s differs from what its data give on this machine.", near(run.folder), name)


def _experiment(run: FinishedRun, extensions: Sequence[str]) -> Experiment:
    config = run.metadata.get("config")
    if config is None:
        raise run.refuse("does not say how it was configured.", FINISH)
    wanted = config.get("extensions") or []
    if not isinstance(wanted, list) or not all(isinstance(name, str) for name in wanted):
        raise run.refuse("does not say which modules it was trained with.", FINISH)
    lacking = not_named(map(str, wanted), extensions)
    if lacking is not None:
        raise run.refuse(*lacking)
    own = {**config, "extensions": list(extensions)}
    try:
        return check({**own, "encoding": _from_own_folder(own.get("encoding"), run.folder)})
    except UserError as error:
        raise UserError(run.told(error.problems)) from error


def _from_own_folder(node: object, folder: Path) -> Any:
    """What was taken up from another run is taken from this one, which kept a copy: the other may be gone."""
    if not isinstance(node, Mapping):
        return node
    return {
        key: str(folder) if key == "reuse" and value is not None else _from_own_folder(value, folder)
        for key, value in node.items()
    }


def _dataset(run: FinishedRun, experiment: Experiment) -> Dataset:
    try:
        dataset = load_data(experiment)
    except UserError as error:
        raise UserError(run.told(error.problems)) from error
    if dataset_fingerprint(dataset) != run.metadata.get("data_fingerprint"):
        raise run.refuse("was trained on data that have changed since.", "Bring them back as they were.")
    return dataset


def told_split(opened: OpenedRun, asked: str | None) -> str:
    """The split that is meant: the one that is asked for, else test where there is one, else validation.

    Raises:
        UserError: if the data have no such split.
    """
    splits = opened.dataset.splits()
    if asked is None:
        return "test" if "test" in splits else "valid"
    if asked not in splits:
        raise opened.run.refuse(f"has no {asked} split.", f"There is: {', '.join(splits)}.")
    return asked


def saved_probabilities(opened: OpenedRun, split: str) -> NDArray[np.float64] | None:
    """The probabilities ``[N, C]`` that the run itself left for a split, in its order; ``None`` where it left none.

    Those that cannot be used are warned about.
    """
    path = RunFolder(opened.run.folder).predictions(split)
    if not path.exists():
        return None
    try:
        saved = read_predictions(path, len(opened.classes))
    except UnusableError as error:
        log.warning("%s", error)
        return None
    rows = opened.dataset.splits()[split].rows
    if not np.array_equal(np.sort(rows), saved.rows):
        log.warning("%s holds other rows than the %s split.", near(path), split)
        return None
    return saved.probabilities[np.searchsorted(saved.rows, rows)]
