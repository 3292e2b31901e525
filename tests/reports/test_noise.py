"""Standard errors against simulation: what splits of a size differ by when nothing differs."""

from __future__ import annotations

import numpy as np
import pytest

from counterpoise.metrics import classification_metrics
from counterpoise.reports.noise import auc_error, chance_auc, standard_error, supports


def noisy(rng: np.random.Generator, rows: int, accuracy: float) -> dict[str, object]:
    """Metrics of a classifier that is right so often, on two classes of 30 and 70 %."""
    labels = (rng.random(rows) < 0.3).astype(int)
    guess = np.where(rng.random(rows) < accuracy, labels, 1 - labels)
    return classification_metrics(labels, np.eye(2)[guess], ("a", "b"))


@pytest.mark.parametrize("metric", ["accuracy", "f1", "macro_f1", "mcc", "recall"])
def test_errors_are_the_spread_of_repeated_splits(metric: str) -> None:
    rng = np.random.default_rng(0)
    drawn = [noisy(rng, 400, 0.75) for _ in range(1500)]
    spread = np.std([figures[metric] for figures in drawn], ddof=1)
    stated = [standard_error(metric, figures) for figures in drawn[:100]]
    assert np.mean(stated) == pytest.approx(spread, rel=0.06)


def test_the_error_of_a_better_auc_is_hanleys_and_mcneils() -> None:
    rng = np.random.default_rng(3)
    labels = np.repeat([0, 1], (140, 60))
    found = []
    for _ in range(600):
        scores = 1 / (1 + np.exp(-(rng.normal(size=200) + 1.2 * labels)))
        found.append(classification_metrics(labels, np.stack([1 - scores, scores], 1), ("a", "b")))
    spread = np.std([figures["roc_auc"] for figures in found], ddof=1)
    assert np.mean([standard_error("roc_auc", figures) for figures in found]) == pytest.approx(spread, rel=0.1)


@pytest.mark.parametrize("counts", [(40, 160), (100, 100)])
def test_the_auc_of_one_who_knows_nothing_spreads_as_said(counts: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    labels = np.repeat([0, 1], counts)
    found = []
    for _ in range(1500):
        chosen = rng.random(len(labels))
        found.append(classification_metrics(labels, np.stack([1 - chosen, chosen], 1), ("a", "b"))["roc_auc"])
    assert auc_error(counts) == pytest.approx(np.std(found, ddof=1), rel=0.06)
    assert np.mean(found) == pytest.approx(0.5, abs=0.01)


def test_with_more_classes_the_error_is_an_upper_bound() -> None:
    rng = np.random.default_rng(2)
    labels = np.repeat([0, 1, 2], (30, 60, 110))
    tables = rng.dirichlet([1, 1, 1], size=(600, len(labels)))
    found = [classification_metrics(labels, table, ("a", "b", "c"))["roc_auc"] for table in tables]
    error = auc_error((30, 60, 110))
    assert error is not None
    assert np.std(found, ddof=1) <= error * 1.05


def test_what_cannot_be_told_is_none() -> None:
    assert standard_error("pr_auc", noisy(np.random.default_rng(0), 50, 0.7)) is None
    assert standard_error("f1", {"confusion_matrix": [[1, 2, 3]] * 2}) is None
    assert standard_error("f1", {"confusion_matrix": [[0, 0, 0]] * 3}) is None
    assert standard_error("roc_auc", {"roc_auc": 0.8}) is None
    assert standard_error("f1", {"confusion_matrix": [[5, 0], [0, 0]]}) is None
    assert standard_error("accuracy", {"accuracy": 0.5}) is None
    assert standard_error("accuracy", {"accuracy": 1e308, "per_class": {"a": {"support": 1e308}}}) is None
    assert chance_auc({}) is None
    assert supports({"per_class": {"a": {"support": 1e300}, "b": 3, "c": {"support": 7}}}) == [7]
