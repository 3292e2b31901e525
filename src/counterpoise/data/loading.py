"""From a checked config to the records of all splits."""

from __future__ import annotations

import dataclasses

from counterpoise.config.experiment import Experiment
from counterpoise.data.class_counts import class_notes
from counterpoise.data.folds import refold
from counterpoise.data.leakage import apply_leakage_policy
from counterpoise.data.records import Dataset


def load_data(experiment: Experiment) -> Dataset:
    """Records of all splits, or of all folds, checked, with the leakage policy applied."""
    source, fold = experiment["data"], experiment.plain.fold
    dataset: Dataset = source.build().load()
    if fold is not None:
        dataset = refold(dataset, experiment.sections["folds"], fold)
    dataset = apply_leakage_policy(dataset, source.config.leakage)
    return dataclasses.replace(dataset, notes={**dataset.notes, "classes": class_notes(dataset)})
