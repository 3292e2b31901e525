"""A run before it begins: all that is known of it before its data are encoded, and a rehearsal of what comes then.

A dry run must refuse what a run would refuse. It takes the same steps, on a few records in a folder of its own.
"""

from __future__ import annotations

import functools
import logging
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from rich.console import Console

from counterpoise.branches import Branch
from counterpoise.config.experiment import Experiment
from counterpoise.config.hardware import HardwareConfig
from counterpoise.data.cache import Cache
from counterpoise.data.records import Dataset, Records
from counterpoise.engine.mirror import NoMirror
from counterpoise.engine.precision import make_fabric
from counterpoise.engine.restore import restore
from counterpoise.features import FrozenFeatures, check_features
from counterpoise.guards.signals import SignalGuard
from counterpoise.job import Job
from counterpoise.losses import Loss
from counterpoise.metrics import Objective
from counterpoise.plan import Plan
from counterpoise.reports.protocol import Protocol
from counterpoise.storage import Storage
from counterpoise.tracking.folder import RunFolder
from counterpoise.tracking.relay import Trackers

RECORDS, CHARACTERS = 16, 1000
"""Most records of a split in a rehearsal, beside one of each class, and most characters of each."""


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What a run's job is made of."""

    experiment: Experiment
    dataset: Dataset
    plan: Plan
    hardware: HardwareConfig
    branches: Mapping[str, Branch]
    data_fingerprint: str
    settings: str
    """Fingerprint of all that decides the result, with the plan as it is now."""
    folder: RunFolder
    console: Console
    signals: SignalGuard
    mirror: NoMirror
    protocol: Protocol

    def job(self, cache: Cache) -> Job:
        """Encode the data, and put together what training needs.

        Raises:
            UserError: for data or settings that the encoding or a branch cannot take.
        """
        experiment, plan = self.experiment, self.plan
        encoded = experiment.build_encoding().encode(self.dataset, cache)
        check_features(self.branches, encoded, getattr(experiment["model"].config, "states_read", 0))
        fabric = make_fabric(plan.device, plan.precision, tf32=self.hardware.tf32)
        frozen = FrozenFeatures(
            records=self.dataset.splits(),
            data_fingerprint=self.data_fingerprint,
            encoded=encoded,
            branches=self.branches,
            cache=cache,
            device=fabric.device,
            tf32=self.hardware.tf32,
            console=self.console,
        )
        return Job(
            experiment=experiment,
            dataset=self.dataset,
            encoded=encoded,
            plan=plan,
            hardware=self.hardware,
            fabric=fabric,
            fingerprint=self.data_fingerprint,
            settings=self.settings,
            folder=self.folder,
            storage=Storage(self.folder.path, experiment.plain.train.storage_wait),
            console=self.console,
            trackers=Trackers(experiment.trackers, self.folder.path),
            signals=self.signals,
            mirror=self.mirror,
            protocol=self.protocol,
            branches=self.branches,
            features=functools.cache(lambda: frozen.splits(experiment["model"])),
        )

    def rehearse(
        self, config: Mapping[str, Any], metadata: Mapping[str, Any], cache: Cache, loss: Loss, objective: Objective
    ) -> None:
        """Everything that a run can refuse before it trains; nothing is left behind.

        Args:
            config: the resolved config.
            metadata: of the run.
            cache: of encoded data.
            loss: the run's.
            objective: the run's.

        Raises:
            UserError: as the run would.
        """
        existed = self.folder.path.exists()
        try:
            with self.folder.held(leave_lock=False):
                self.folder.check(config, metadata)
                if self.folder.result.exists():
                    return  # a run that has finished is not built again
                restore(self.mirror, self.folder, {"config": config, **metadata}, only_look=True)
                cache.try_out()
                self._build(loss, objective)
                self.folder.try_out()
        finally:
            if not existed and self.folder.path.is_dir() and not any(self.folder.path.iterdir()):
                self.folder.path.rmdir()

    def _build(self, loss: Loss, objective: Objective) -> None:
        """Encode a few records, and build all that would be trained on them."""
        components = dict(self.experiment.components)
        encoder: Any = components.get("encoder")
        if encoder is not None:
            components["encoder"] = replace(encoder, config=encoder.target.sample_config(encoder.config))
        experiment, dataset = replace(self.experiment, components=components), few(self.dataset)
        plan = self.plan if self.plan.lr is not None else replace(self.plan, lr=self.experiment.given_lr)
        with tempfile.TemporaryDirectory() as folder, _no_word_of_the_sample():
            job = replace(self, experiment=experiment, dataset=dataset, plan=plan).job(Cache(Path(folder)))
            job = replace(job, features=None)  # those of all records, which are not there
            job.build(loss, objective)
            job.loader(job.seed)


def few(dataset: Dataset) -> Dataset:
    """The first records of every split, at least one of each class, their texts cut short."""
    test = None if dataset.test is None else _first(dataset.test)
    return replace(dataset, train=_first(dataset.train), valid=_first(dataset.valid), test=test)


def _first(split: Records) -> Records:
    _, of_each_class = np.unique(split.labels, return_index=True)
    chosen = np.unique([*of_each_class.tolist(), *range(min(RECORDS, len(split)))])
    table = split.take(chosen.astype(np.int64)).table
    if split.has("text"):
        place = table.column_names.index("text")
        cut = [text[:CHARACTERS] for text in table["text"].to_pylist()]
        table = table.set_column(place, "text", pa.array(cut, pa.large_string()))
    return Records(table, split.classes)


@contextmanager
def _no_word_of_the_sample() -> Iterator[None]:
    """While inside, warnings about data are held back: they would be about a few records."""
    logger = logging.getLogger("counterpoise.data")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)
