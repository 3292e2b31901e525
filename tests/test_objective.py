"""An objective that the validation split leaves undefined is refused before anything is trained."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from counterpoise.config import resolvers
from counterpoise.config.experiment import Experiment, check
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError
from counterpoise.run import build_objective

CONF = Path(__file__).resolve().parents[1] / "conf"


def experiment(*overrides: str) -> Experiment:
    resolvers.register()
    with initialize_config_dir(str(CONF)):
        config: Any = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    return check(config)


def dataset(valid: list[int]) -> Dataset:
    def records(labels: list[int]) -> Records:
        columns = {"row": range(len(labels)), "label": labels, "text": ["x"] * len(labels)}
        return Records.from_columns(columns, ("no", "yes"))

    return Dataset("d", records([0, 1] * 10), records(valid), None)


@pytest.mark.parametrize(
    ("overrides", "valid", "where"),
    [
        (["objective.metric=roc_auc"], [0] * 30, ["objective.metric"]),
        (["objective.metric=pr_auc"], [1] * 30, ["objective.metric"]),
        (["objective.metric=f1"], [0] * 30, ["objective.metric"]),
        (["objective.metric=specificity"], [1] * 30, ["objective.metric"]),
        (
            ["objective.metric=custom", "+objective.weights={accuracy: 1, roc_auc: 1, mcc: 1}"],
            [0] * 30,
            ["objective.weights.roc_auc", "objective.weights.mcc"],
        ),
        (["objective.metric=macro_f1", "threshold=tune", "threshold_metric=recall"], [0] * 30, ["threshold_metric"]),
        (["objective.metric=roc_auc"], [0] * 29 + [1], []),
        (["objective.metric=accuracy"], [0] * 30, []),
        (["objective.metric=log_loss"], [1] * 30, []),
    ],
)
def test_what_validation_leaves_undefined_is_refused_by_its_key(
    overrides: list[str], valid: list[int], where: list[str]
) -> None:
    asked = experiment(*overrides)
    if not where:
        build_objective(asked, dataset(valid))
        return
    with pytest.raises(UserError) as caught:
        build_objective(asked, dataset(valid))
    assert [problem.where for problem in caught.value.problems] == where
    absent = "yes" if valid[0] == 0 else "no"
    assert all(f"'{absent}'" in problem.message for problem in caught.value.problems)
