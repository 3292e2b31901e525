"""From a checked config to the records of all splits."""

from __future__ import annotations

from counterpoise.config.experiment import Experiment
from counterpoise.data.leakage import apply_leakage_policy
from counterpoise.data.records import Dataset


def load_data(experiment: Experiment) -> Dataset:
    """Records of all splits, checked, with the leakage policy applied."""
    source = experiment["data"]
    return apply_leakage_policy(source.build().load(), source.config.leakage)
