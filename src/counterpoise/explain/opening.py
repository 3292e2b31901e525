"""A finished run with its data and its best weights, as far as explaining needs them."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from counterpoise.config.experiment import Experiment, check
from counterpoise.data.cache import Cache, dataset_fingerprint, file_checksum
from counterpoise.data.encode.base import Encoded
from counterpoise.data.loading import load_data
from counterpoise.data.records import Dataset
from counterpoise.errors import UserError, near
from counterpoise.finished import AGAIN, FINISH, FinishedRun
from counterpoise.models.base import Model, ModelContext

log = logging.getLogger(__name__)

ROUNDED = ("encoder.json", "encoder_idf.npy", "encoder_components.npy")
"""Files with numbers, or versions, that another machine may give otherwise, of the same data."""


@dataclass(frozen=True)
class OpenedRun:
    """A run's data, encoded as it was trained on them, and its model."""

    run: FinishedRun
    experiment: Experiment
    dataset: Dataset
    encoded: Encoded
    model: Model
    """With the weights of the best epoch, in evaluation mode, on the CPU."""


def open_run(folder: Path, extensions: Sequence[str] = (), cache: Path | None = None) -> OpenedRun:
    """Open a finished run whose data are still there.

    Args:
        folder: the run folder.
        extensions: modules that its config may name. Those that the config itself lists are not believed: what is
            loaded decides nothing about what code runs.
        cache: folder of encoded data; ``None`` takes the run's own.

    Raises:
        UserError: if it is no finished run, its data have changed or gone, or its files do not belong together.
    """
    run = FinishedRun.open("run", folder)
    experiment = _experiment(run, extensions)
    dataset = _dataset(run, experiment)
    root = cache or Path(experiment.plain.paths.cache).expanduser()
    encoded = experiment.build_encoding().encode(dataset, Cache(root))
    _check_artefacts(run, encoded)
    counts = dataset.train.class_counts()
    context = ModelContext(tuple((counts / counts.sum()).tolist()), encoded.properties)
    model = run.build(experiment["model"], context)
    run.load(model, run.best())
    return OpenedRun(run, experiment, dataset, encoded, model.eval())


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
    if not isinstance(config, Mapping):
        raise run.refuse("does not say how it was configured.", FINISH)
    wanted = config.get("extensions") or []
    if not isinstance(wanted, list):
        raise run.refuse("does not say which modules it was trained with.", FINISH)
    lacking = [name for name in wanted if name not in extensions]
    if lacking:
        what = f"was trained with modules of your own: {', '.join(map(str, lacking))}."
        raise run.refuse(what, f"If you trust them, add extensions={json.dumps([*extensions, *lacking])}.")
    try:
        return check({**config, "extensions": list(extensions)})
    except UserError as error:
        raise UserError(run.told(error.problems)) from error


def _dataset(run: FinishedRun, experiment: Experiment) -> Dataset:
    try:
        dataset = load_data(experiment)
    except UserError as error:
        raise UserError(run.told(error.problems)) from error
    if dataset_fingerprint(dataset) != run.metadata.get("data_fingerprint"):
        raise run.refuse("was trained on data that have changed since.", "Bring them back as they were.")
    return dataset


def told_split(opened: OpenedRun, asked: str | None) -> str:
    """The split that is explained: the one that is asked for, else test where there is one, else validation.

    Raises:
        UserError: if the data have no such split.
    """
    splits = opened.dataset.splits()
    if asked is None:
        return "test" if "test" in splits else "valid"
    if asked not in splits:
        raise opened.run.refuse(f"has no {asked} split.", f"There is: {', '.join(splits)}.")
    return asked


def saved_probabilities(opened: OpenedRun, split: str) -> Any:
    """The probabilities ``[N, C]`` that the run itself left for a split; ``None`` where it left none."""
    import pyarrow.parquet as pq

    path = opened.run.folder / f"predictions_{split}.parquet"
    try:
        table = pq.read_table(path)
        return table["probabilities"].combine_chunks().flatten().to_numpy().reshape(table.num_rows, -1)
    except (OSError, ValueError, KeyError) as error:
        if path.exists():
            log.warning("%s cannot be read: %s", near(path), error)
        return None
