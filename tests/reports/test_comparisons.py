"""Which runs are held beside which, and what very large and dependent test sets change."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from counterpoise.reports import draws
from counterpoise.reports.compare import make_report
from counterpoise.reports.draws import FEWEST, MOST_DRAWN, affordable
from counterpoise.reports.folders import find_runs
from counterpoise.reports.report import DataSet, Method
from counterpoise.reports.statistics import weighted
from counterpoise.reports.statistics.weighted import Answers, weighted_metrics
from report_kit import write_run


def data_of(folder: Path) -> DataSet:
    (data,) = make_report(find_runs(folder), title="test", method=Method(resamples=200)).data
    return data


def test_no_seed_is_lost_where_only_some_are_shared(tmp_path: Path) -> None:
    for seed in (42, 2025, 7):
        write_run(tmp_path / f"cnn{seed}", seed=seed, skill=1.0)
    for seed in (42, 123, 456, 789, 2024):
        write_run(tmp_path / f"gnn{seed}", seed=seed, model="GNN", skill=2.4)
    data = data_of(tmp_path)
    (found,) = (each for each in data.comparisons if {each.first, each.second} == {"GNN", "TextCNN"})
    assert found.pairs == 15
    means = {row.name: row.figures["f1"].mean for row in data.rows}
    assert found.difference == pytest.approx(means[found.first] - means[found.second])
    assert found.p_both is not None
    assert found.verdict == "clear"


def test_the_same_seeds_are_paired(tmp_path: Path) -> None:
    for seed in (1, 2, 3):
        write_run(tmp_path / f"cnn{seed}", seed=seed)
        write_run(tmp_path / f"gnn{seed}", seed=seed, model="GNN")
    (found,) = (each for each in data_of(tmp_path).comparisons if {each.first, each.second} == {"GNN", "TextCNN"})
    assert found.pairs == 3


def test_mcnemar_is_not_told_of_rows_that_share_groups(tmp_path: Path) -> None:
    for model in ("TextCNN", "GNN"):
        write_run(tmp_path / model, model=model, seed=1, rows=300, groups=100)
    found = data_of(tmp_path).comparisons[0]
    assert found.p_mcnemar is None
    assert found.p_bootstrap is not None


@pytest.mark.parametrize(
    ("rows", "expected"), [(0, 2000), (500, 2000), (25_000, 2000), (100_000, 500), (10**8, FEWEST)]
)
def test_a_very_large_test_set_is_drawn_less_often(rows: int, expected: int) -> None:
    assert affordable(2000, rows) == expected
    assert affordable(100, rows) == 100
    assert rows * expected <= MOST_DRAWN or expected == FEWEST


def test_fewer_draws_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(draws, "MOST_DRAWN", 15_000)
    monkeypatch.setattr(draws, "FEWEST", 20)
    for model in ("TextCNN", "GNN"):
        write_run(tmp_path / model, model=model, seed=1, rows=300)
    assert "There are many held-out rows: 50 resamples instead of 200." in data_of(tmp_path).notes


def test_a_curve_of_few_points_has_nearly_the_same_area(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(0)
    labels = (random.random(6000) < 0.2).astype(np.int64)
    scores = 1 / (1 + np.exp(-random.normal(1.2 * labels, 1)))
    answers = Answers(labels, (scores > 0.5).astype(np.int64), np.stack([1 - scores, scores], axis=1))
    weights = random.integers(0, 4, (6000, 3)).astype(float)
    exact = weighted_metrics(answers, weights)
    monkeypatch.setattr(weighted, "MOST_STEPS", 1000)
    coarse = weighted_metrics(answers, weights)
    for name in ("roc_auc", "pr_auc"):
        np.testing.assert_allclose(coarse[name], exact[name], atol=1e-3)
        assert (coarse[name] != exact[name]).any()


def test_of_many_models_the_best_are_averaged(tmp_path: Path) -> None:
    for number in range(4):
        for seed in (1, 2):
            typed = {"overrides": [f"optimizer.lr={number}"], "changes": {"optimizer.lr": number}}
            write_run(tmp_path / f"{number}-{seed}", seed=seed, skill=1 + number / 2, **typed)
    (data,) = make_report(find_runs(tmp_path), title="test", method=Method(resamples=50, compared=2)).data
    models = [row.name for row in data.rows if row.kind == "model"]
    assert [row.members for row in data.rows if row.kind == "average"] == [(name,) for name in models[:2]]
    assert "Averages over seeds are those of the 2 best models of 4." in data.notes


def test_which_predicts_more_rows_right_follows_the_corrected_p(tmp_path: Path) -> None:
    write_run(tmp_path / "cnn", seed=1, skill=0.5)
    write_run(tmp_path / "gnn", seed=1, model="GNN", skill=2.4)
    compared = data_of(tmp_path).comparisons
    assert {each.more_right for each in compared} >= {"first"} or {each.more_right for each in compared} >= {"second"}
    for each in compared:
        assert each.p_mcnemar_holm is not None
        ahead = "first" if each.discordant[0] > each.discordant[1] else "second"
        assert each.more_right == (ahead if each.p_mcnemar_holm < 0.05 else "unclear")
