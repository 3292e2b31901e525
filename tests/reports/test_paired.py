"""A run beside its baselines: the diagnosis says what the report's test of the same predictions says."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoise.reports.compare import make_report
from counterpoise.reports.diagnosis import diagnose
from counterpoise.reports.folders import find_runs
from counterpoise.reports.paired import against_baselines
from counterpoise.reports.report import Comparison, Method
from counterpoise.reports.runs import read_run
from report_kit import write_run

WORSE, LEVEL = 0.2, 0.75
"""Skills of models: far below the baseline's 0.8, and about as good."""


def compared_by_the_report(folder: Path) -> Comparison:
    (data,) = make_report(find_runs(folder), title="test", method=Method()).data
    return next(each for each in data.comparisons if each.second == "tfidf_logistic")


@pytest.mark.parametrize("metric", ["f1", "macro_f1", "roc_auc"])
@pytest.mark.parametrize("skill", [WORSE, LEVEL])
def test_the_diagnosis_and_the_report_agree(skill: float, metric: str, tmp_path: Path) -> None:
    write_run(tmp_path / "run", skill=skill, seed=3, metric=metric)
    record = read_run(tmp_path / "run")
    compared = compared_by_the_report(tmp_path)
    paired = against_baselines(record, "test")["tfidf_logistic"]
    assert compared.difference < 0
    assert compared.over_rows is not None
    assert (paired.low, paired.high) == pytest.approx(compared.over_rows, abs=0.02), "other resamples of the same rows"
    assert compared.p_bootstrap_holm is not None
    assert (paired.p < 0.05) is (compared.p_bootstrap_holm < 0.05) is (skill == WORSE)
    (finding,) = (each for each in diagnose(record) if each.kind == "below_baseline")
    assert finding.severity == ("warning" if compared.verdict == "rows only" else "note")
    assert ("cannot be told apart" in finding.message) is (compared.verdict == "unclear")
    assert f"interval {paired.low:+.4f} to {paired.high:+.4f}" in finding.message
    assert not finding.override or skill == WORSE


def test_an_objective_of_several_metrics_is_compared_too(tmp_path: Path) -> None:
    changes = {"objective.metric": "custom", "objective.weights": {"f1": 0.5, "log_loss": 0.5}}
    write_run(tmp_path, skill=WORSE, metric="custom", changes=changes)
    paired = against_baselines(read_run(tmp_path), "test")["tfidf_logistic"]
    assert paired.high < 0


def test_groups_are_drawn_as_a_whole(tmp_path: Path) -> None:
    widths = []
    for groups in (0, 12):
        write_run(tmp_path / str(groups), skill=LEVEL, groups=groups)
        paired = against_baselines(read_run(tmp_path / str(groups)), "test")["tfidf_logistic"]
        widths.append(paired.high - paired.low)
    assert widths[0] != widths[1]


def test_without_predictions_nothing_is_compared(tmp_path: Path) -> None:
    write_run(tmp_path, skill=WORSE, baselines=False)
    assert against_baselines(read_run(tmp_path), "test") == {}
    (finding,) = (each for each in diagnose(read_run(tmp_path)) if each.kind == "below_baseline")
    assert "are chance" in finding.message
    (tmp_path / "predictions_test.parquet").write_bytes(b"damaged")
    assert against_baselines(read_run(tmp_path), "test") == {}
