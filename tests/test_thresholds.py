"""A tuned threshold is taken where it gains more than chance: on sets drawn from known populations."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from numpy.typing import NDArray

from counterpoise.decision import Decision, DecisionConfig, decide, tuning_lines
from counterpoise.metrics import ObjectiveConfig, classification_metrics
from counterpoise.thresholds import tune, tune_threshold

F1 = {"f1": 1.0}


def drawn(
    rng: np.random.Generator, rows: int, share: float, distance: float, *, balanced: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels, and the probabilities of the model that knows the population; as class weights leave them if balanced."""
    labels = (np.arange(rows) < round(rows * share)).astype(np.int64)
    found = rng.normal(size=rows) + distance * labels
    logits = distance * found - distance**2 / 2 + (0.0 if balanced else np.log(share / (1 - share)))
    scores = 1 / (1 + np.exp(-logits))
    return labels, np.stack([1 - scores, scores], axis=1)


def f1_of(labels: NDArray[np.int64], table: NDArray[np.float64], threshold: float) -> float:
    predicted = Decision(threshold=threshold).predicted(table)
    hits = int((predicted & labels).sum())
    return 2 * hits / max(1, int(predicted.sum() + labels.sum()))


def effects(sets: int, rows: int, share: float, distance: float, *, balanced: bool) -> NDArray[np.float64]:
    """Gain in F1 on many fresh rows by the best threshold, and by ``tune``, ``[sets, 2]``."""
    rng = np.random.default_rng(1)
    fresh = drawn(rng, 20_000, share, distance, balanced=balanced)
    plain = f1_of(*fresh, 0.5)
    found = []
    for _ in range(sets):
        labels, table = drawn(rng, rows, share, distance, balanced=balanced)
        thresholds = tune_threshold(labels, table, F1).value, tune(labels, table, F1).threshold
        found.append([f1_of(*fresh, threshold) - plain for threshold in thresholds])
    return np.array(found)


@pytest.mark.parametrize(
    ("rows", "share", "distance", "balanced"),
    [(40, 0.3, 1.0, True), (40, 0.46, 2.0, True), (100, 0.3, 1.0, True), (40, 0.3, 2.0, False)],
)
def test_on_small_splits_tuning_does_not_hurt(rows: int, share: float, distance: float, balanced: bool) -> None:
    best, tuned = effects(40, rows, share, distance, balanced=balanced).mean(axis=0)
    assert best < -0.004, "the best threshold of so few rows is worse on others"
    assert tuned > -0.003, "what little is left is one unlucky set in 40, as 95 % intervals have it"


@pytest.mark.parametrize(("distance", "balanced"), [(1.0, False), (2.0, True)])
def test_on_large_imbalanced_splits_the_gain_is_kept(distance: float, balanced: bool) -> None:
    best, tuned = effects(6, 4000, 0.05, distance, balanced=balanced).mean(axis=0)
    assert best > 0.1
    assert tuned == pytest.approx(best)


def test_the_gain_is_that_on_other_rows() -> None:
    """Cross-fitted, it is not flattered by the rows that the threshold was chosen on."""
    rng = np.random.default_rng(2)
    sets = [drawn(rng, 200, 0.3, 1.0, balanced=True) for _ in range(25)]
    found = [gain.mean for labels, table in sets if (gain := tune(labels, table, F1).gain) is not None]
    flattered = [
        f1_of(labels, table, tune_threshold(labels, table, F1).value) - f1_of(labels, table, 0.5)
        for labels, table in sets
    ]
    true = effects(40, 200, 0.3, 1.0, balanced=True)[:, 0].mean()
    assert np.mean(flattered) > true + 0.02
    assert np.mean(found) == pytest.approx(true, abs=0.015)


def test_the_same_input_gives_the_same_answer() -> None:
    labels, table = drawn(np.random.default_rng(3), 300, 0.1, 1.0, balanced=False)
    assert tune(labels, table, F1) == tune(labels, table, F1)


def test_rows_of_one_group_are_one_draw() -> None:
    """Thirty copies of each row say no more than the row."""
    rng = np.random.default_rng(5)
    labels, table = drawn(rng, 40, 0.3, 1.0, balanced=True)
    copies = np.repeat(np.arange(40), 30)
    alone, grouped = tune(labels[copies], table[copies], F1), tune(labels[copies], table[copies], F1, copies)
    assert alone.threshold != 0.5
    assert grouped.threshold == 0.5
    assert grouped.gain is not None
    assert alone.gain is not None
    assert grouped.gain.high - grouped.gain.low > 2 * (alone.gain.high - alone.gain.low)


@pytest.mark.parametrize(("positives", "judged"), [(4, False), (5, True)])
def test_too_few_rows_of_a_class_are_named(positives: int, judged: bool) -> None:
    labels, table = drawn(np.random.default_rng(0), 100, positives / 100, 1.0, balanced=False)
    found = tune(labels, table, F1)
    assert (found.gain is not None) is judged
    if not judged:
        assert found == (
            0.5,
            None,
            "kept at 0.5: validation has 4 rows of a class, and 5 are needed to judge a threshold",
        )


def test_a_split_of_one_class_keeps_half() -> None:
    assert tune([1] * 20, [[0.6, 0.4]] * 20, F1).threshold == 0.5


@pytest.mark.parametrize("rows", [60, 3000])
def test_the_decision_says_what_tuning_came_to(rows: int) -> None:
    labels, table = drawn(np.random.default_rng(0), rows, 0.1, 2.0, balanced=True)
    config = DecisionConfig(threshold="tune", threshold_metric="f1")
    found = decide(config, ObjectiveConfig(metric="pr_auc"), labels, table)
    kept = json.loads(json.dumps(asdict(found)))
    assert Decision.read(kept) == found
    (line,) = tuning_lines(kept)
    assert found.metric == "f1"
    assert found.gain is not None
    assert found.gain_interval is not None
    assert f"gain {found.gain:+.4f} on validation, 95 % interval {found.gain_interval[0]:+.4f} to" in line
    assert found.tuned is (found.gain_interval[0] > 0) is (rows == 3000)
    assert line.startswith(
        f"Threshold {found.threshold:.4g}, tuned for f1" if found.tuned else "Threshold kept at 0.5: "
    )


def test_nothing_is_said_where_tuning_was_not_asked_for() -> None:
    assert tuning_lines(asdict(Decision(threshold=0.3))) == []
    assert tuning_lines(None) == []


def test_a_temperature_changes_neither_the_gain_nor_the_predictions() -> None:
    labels, table = drawn(np.random.default_rng(4), 2000, 0.1, 1.0, balanced=False)
    objective = ObjectiveConfig(metric="f1")
    with_one, without = (
        decide(DecisionConfig(threshold="tune", calibration=calibration), objective, labels, table)
        for calibration in ("temperature", "none")
    )
    assert with_one.temperature != 1
    assert with_one.gain == pytest.approx(without.gain)
    assert with_one.predicted(with_one.calibrated(table)).tolist() == without.predicted(table).tolist()
    measured = classification_metrics(labels, table, "ab", predicted=without.predicted(table))
    assert measured["f1"] > classification_metrics(labels, table, "ab")["f1"]
