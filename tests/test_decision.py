"""Temperature and threshold: against scikit-learn, a grid and brute force, and what is stored comes back."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.calibration import CalibratedClassifierCV
from sklearn.frozen import FrozenEstimator

from counterpoise.config.schema import parse
from counterpoise.decision import (
    COLDEST,
    DECISION,
    HOTTEST,
    Decision,
    DecisionConfig,
    decide,
    fit_temperature,
)
from counterpoise.errors import UserError
from counterpoise.metrics import METRICS, ObjectiveConfig, calibration_error, classification_metrics
from counterpoise.thresholds import TUNABLE, tune_threshold

F1 = ObjectiveConfig(metric="f1")


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    table: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return table


def drawn(n: int, classes: int, sharpness: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels that follow ``softmax(z)``, and the probabilities of a model that answers ``softmax(sharpness · z)``."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, classes)) * 2
    labels = (softmax(logits).cumsum(axis=1) > rng.random((n, 1))).argmax(axis=1)
    return labels, softmax(sharpness * logits)


def log_loss(labels: np.ndarray, table: np.ndarray, temperature: float) -> float:
    calibrated = Decision(temperature=temperature).calibrated(table)
    return float(-np.log(calibrated[np.arange(len(labels)), labels]).mean())


class Given(ClassifierMixin, BaseEstimator):
    """A classifier of scikit-learn whose inputs are its probabilities."""

    def fit(self, table: Any, labels: Any) -> Given:
        self.classes_ = np.unique(labels)
        return self

    def decision_function(self, table: Any) -> Any:
        logits = np.log(table)
        return (logits[:, 1] - logits[:, 0]) / 2 if len(self.classes_) == 2 else logits  # two: read as (-x, x)

    def predict(self, table: Any) -> Any:
        return self.classes_[np.argmax(table, axis=1)]


@pytest.mark.parametrize(("classes", "sharpness"), [(2, 3.0), (2, 0.4), (3, 2.0), (5, 0.7)])
def test_the_temperature_is_scikit_learns(classes: int, sharpness: float) -> None:
    labels, table = drawn(400, classes, sharpness, seed=classes)
    found = fit_temperature(labels, table)
    assert not found.note
    theirs = CalibratedClassifierCV(FrozenEstimator(Given().fit(table, labels)), method="temperature", cv=2)
    theirs.fit(table, labels)
    decision = Decision(temperature=found.value)
    np.testing.assert_allclose(decision.calibrated(table), theirs.predict_proba(table), atol=1e-6)
    assert found.value == pytest.approx(sharpness, rel=0.35)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(4, 60), classes=st.integers(2, 4), sharpness=st.floats(0.05, 10), seed=st.integers(0, 10_000))
def test_no_temperature_of_a_grid_is_better(n: int, classes: int, sharpness: float, seed: int) -> None:
    labels, table = drawn(n, classes, sharpness, seed)
    found = fit_temperature(labels, table)
    assert COLDEST <= found.value <= HOTTEST
    if found.note.startswith("not calibrated"):
        assert found.value == 1
        return
    grid = np.exp(np.linspace(math.log(COLDEST), math.log(HOTTEST), 200))
    least = min(log_loss(labels, table, temperature) for temperature in grid)
    assert log_loss(labels, table, found.value) <= least + 1e-9


def test_calibration_helps_a_model_that_is_too_sure() -> None:
    labels, table = drawn(4_000, 3, 4.0, seed=1)
    fitted, fresh = slice(0, 2_000), slice(2_000, None)
    decision = decide(DecisionConfig(), F1, labels[fitted], table[fitted])
    after = decision.calibrated(table[fresh])
    errors = [calibration_error(labels[fresh], t.argmax(axis=1), t) for t in (table[fresh], after)]
    assert errors[1] < errors[0] / 3
    np.testing.assert_array_equal(after.argmax(axis=1), table[fresh].argmax(axis=1))
    before, now = (classification_metrics(labels[fresh], t, "abc") for t in (table[fresh], after))
    assert now["roc_auc"] == pytest.approx(before["roc_auc"], abs=0.02)  # one against the rest: a row's scale changed
    assert now["log_loss"] < before["log_loss"]


def test_of_two_classes_the_temperature_changes_no_ranking() -> None:
    labels, table = drawn(500, 2, 3.0, seed=2)
    decision = decide(DecisionConfig(), F1, labels, table)
    before, now = (classification_metrics(labels, t, "ab") for t in (table, decision.calibrated(table)))
    assert decision.temperature > 2
    for name in set(METRICS) - {"log_loss", "calibration_error"}:
        assert now[name] == before[name]


@pytest.mark.parametrize(
    ("labels", "table", "said"),
    [
        ([1, 1, 1], [[0.2, 0.8], [0.6, 0.4], [0.5, 0.5]], "are the same"),
        ([0, 1, 1], [[0.9, 0.1], [0.4, 0.6], [0.0, 1.0]], "predicted rightly"),
        ([0, 1, 1], [[0.9, 0.1], [float("nan")] * 2, [0.0, 1.0]], "not finite"),
    ],
)
def test_what_says_nothing_of_the_temperature_leaves_it_at_one(labels: Any, table: Any, said: str) -> None:
    found = fit_temperature(labels, table)
    assert found.value == 1
    assert said in found.note
    assert said in "".join(decide(DecisionConfig(), F1, labels, table).notes)


def test_zeros_are_no_infinite_loss() -> None:
    labels = np.array([0, 1, 0, 1, 1, 0])
    table = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 1.0], [0.3, 0.7], [0.6, 0.4], [0.8, 0.2]])
    found = fit_temperature(labels, table)
    assert 1 < found.value <= HOTTEST
    calibrated = Decision(temperature=found.value).calibrated(table)
    assert calibrated[0].tolist() == [1.0, 0.0]
    assert np.isfinite(calibrated).all()


def test_a_model_that_knows_the_reverse_is_made_as_unsure_as_can_be() -> None:
    found = fit_temperature([0, 1, 0, 1], [[0.2, 0.8], [0.9, 0.1], [0.3, 0.7], [0.6, 0.4]])
    assert found.value == HOTTEST
    assert "bound" in found.note


def test_a_temperature_of_one_changes_no_bit() -> None:
    _, table = drawn(50, 3, 1.0, seed=0)
    assert np.array_equal(Decision().calibrated(table), table)


@settings(max_examples=50, deadline=None)
@given(classes=st.integers(2, 5), temperature=st.floats(COLDEST, HOTTEST), seed=st.integers(0, 1000))
def test_raw_undoes_calibrated(classes: int, temperature: float, seed: int) -> None:
    _, table = drawn(20, classes, 0.2, seed)
    decision = Decision(temperature=temperature)
    np.testing.assert_allclose(decision.raw(decision.calibrated(table)), table, atol=1e-6)


# The metric of every threshold there could be, one by one, as the package measures predictions.
def brute_force(labels: np.ndarray, table: np.ndarray, name: str) -> float:
    scores = table[:, 1]
    between = [(a + b) / 2 for a, b in zip(np.unique(scores)[:-1], np.unique(scores)[1:], strict=True)]
    ends = scores.min() / 2, np.nextafter(scores.max(), 2)
    thresholds = [t for t in (*scores, *between, *ends, 0.5) if 0 < t <= 1]
    answers = [Decision(threshold=threshold).predicted(table) for threshold in thresholds]
    return max(classification_metrics(labels, table, "ab", predicted=each)[name] for each in answers)


Case = tuple[list[int], list[float]]
CASES = st.lists(st.tuples(st.integers(0, 1), st.integers(0, 20).map(lambda n: n / 20) | st.floats(0, 1)), min_size=1)


@settings(max_examples=300, deadline=None)
@given(case=CASES, name=st.sampled_from(sorted(TUNABLE)))
@example(case=[(1, 0.0), (0, 0.0)], name="f1")
@example(case=[(0, 1.0), (1, 1.0)], name="specificity")
@example(case=[(1, 0.5), (0, 0.5), (1, 0.7)], name="accuracy")
def test_no_threshold_is_better(case: list[tuple[int, float]], name: str) -> None:
    labels, scores = np.array([label for label, _ in case]), np.array([score for _, score in case])
    table = np.stack([1 - scores, scores], axis=1)
    found = tune_threshold(labels, table, {name: 1.0})
    assert 0 < found.value <= 1
    predicted = Decision(threshold=found.value).predicted(table)
    own = classification_metrics(labels, table, "ab", predicted=predicted)[name]
    assert own == pytest.approx(brute_force(labels, table, name), abs=1e-9)
    plain = classification_metrics(labels, table, "ab")[name]
    if plain >= own - 1e-13:
        assert found.value == 0.5, "where nothing is better than 0.5, it stays"


def test_of_thresholds_as_good_the_one_nearest_to_half_is_taken_in_the_middle() -> None:
    labels = [0, 0, 1, 0, 1, 1, 1, 0, 1]
    scores = np.array([0.05, 0.1, 0.2, 0.3, 0.6, 0.62, 0.66, 0.68, 0.9])
    found = tune_threshold(labels, np.stack([1 - scores, scores], axis=1), {"accuracy": 1.0})
    assert found.value == 0.5  # of (0.3, 0.6]
    scores = scores * 0.1
    found = tune_threshold(labels, np.stack([1 - scores, scores], axis=1), {"accuracy": 1.0})
    assert found.value == pytest.approx(0.045)


def test_a_weighted_sum_is_tuned_too() -> None:
    labels, table = drawn(200, 2, 1.0, seed=5)
    found = tune_threshold(labels, table, {"precision": 0.9, "recall": 0.1})
    one, other = (tune_threshold(labels, table, {name: 1.0}).value for name in ("precision", "recall"))
    assert other <= found.value <= one
    assert "as class" in tune_threshold(labels, table, {"recall": 1.0}).note or other > table[:, 1].min()


def test_rare_positives_are_found_below_half() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(2_000) < 0.05).astype(int)
    table = softmax(np.stack([np.full(2_000, 2.5), labels * 1.5 + rng.normal(size=2_000)], axis=1))
    objective = ObjectiveConfig(metric="pr_auc")
    decision = decide(DecisionConfig(threshold="tune", threshold_metric="f1"), objective, labels, table)
    calibrated = decision.calibrated(table)
    own, plain = (
        classification_metrics(labels, calibrated, "ab", predicted=each.predicted(calibrated))["f1"]
        for each in (decision, replace(decision, threshold=0.5))
    )
    assert (decision.tuned, decision.metric) == (True, "f1")
    assert decision.threshold < 0.5
    assert own > plain + 0.1


def test_a_threshold_that_is_given_is_taken_as_it_is() -> None:
    labels, table = drawn(60, 2, 1.0, seed=9)
    decision = decide(DecisionConfig(threshold=0.3, calibration="none"), F1, labels, table)
    assert decision == Decision(threshold=0.3)
    np.testing.assert_array_equal(decision.predicted(table), (table[:, 1] >= 0.3).astype(int))


def test_half_is_the_more_probable_class_of_any_number_of_classes() -> None:
    assert Decision().predicted([[0.5, 0.5], [0.4, 0.6]]).tolist() == [0, 1]
    assert Decision().predicted([[0.3, 0.3, 0.4], [0.4, 0.35, 0.25]]).tolist() == [2, 0]
    with pytest.raises(UserError, match=r"threshold: is 0\.3, but there are 3 classes"):
        DecisionConfig(threshold=0.3).check_classes(3)
    DecisionConfig(threshold="tune").check_classes(2)
    DecisionConfig().check_classes(3)


def problems(objective: ObjectiveConfig = F1, **node: Any) -> str:
    try:
        config = parse(DecisionConfig, node)
    except UserError as error:
        return str(error)
    return "\n".join(map(str, config.problems_with(objective)))


def test_settings_that_cannot_be_meant_are_refused() -> None:
    assert "must be > 0 and < 1" in problems(threshold=1.0)
    assert "threshold: expected" in problems(threshold="best")
    assert "roc_auc does not depend on the threshold" in problems(threshold="tune", threshold_metric="roc_auc")
    assert "Did you mean 'recall'?" in problems(threshold="tune", threshold_metric="recal")
    assert "has no effect with threshold=0.5" in problems(threshold_metric="f1")
    assert "calibration" in problems(calibration="platt")
    area = ObjectiveConfig(metric="roc_auc")
    assert "threshold_metric: must be given: objective.metric=roc_auc" in problems(area, threshold="tune")
    assert not problems(area, threshold="tune", threshold_metric="f1")
    custom = ObjectiveConfig(metric="custom", weights={"roc_auc": 0.5, "f1": 0.5})
    assert DecisionConfig(threshold="tune").tuned_for(custom) == ("custom", {"f1": 0.5})
    assert not problems(custom, threshold="tune")


def test_what_is_saved_comes_back_with_its_own_weights_only(tmp_path: Path) -> None:
    decision = Decision(threshold=0.25, tuned=True, metric="f1", temperature=1.75, notes=("one",))
    decision.save(tmp_path, "abc")
    assert Decision.load(tmp_path, "abc") == decision
    assert Decision.read(json.loads(json.dumps(asdict(decision)))) == decision
    with pytest.raises(ValueError, match="other weights"):
        Decision.load(tmp_path, "abd")
    path = tmp_path / DECISION
    path.write_text(path.read_text().replace("0.25", "0.75"))
    with pytest.raises(ValueError, match="checksum"):
        Decision.load(tmp_path, "abc")


@pytest.mark.parametrize(
    "content", [None, [], {"threshold": 0}, {"threshold": "0.5"}, {"temperature": 1e9}, {"hot": True}, {"notes": 3}]
)
def test_what_is_no_decision_is_refused(content: Any) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        Decision.read(content)


@pytest.mark.parametrize(
    ("settings", "counts", "where"),
    [
        ({"threshold": "tune", "threshold_metric": "f1"}, [9, 0], "threshold_metric"),
        ({"threshold": "tune", "threshold_metric": "specificity"}, [0, 9], "threshold_metric"),
        ({"threshold": "tune", "threshold_metric": "accuracy"}, [9, 0], "threshold"),
        ({"threshold": "tune"}, [0, 9], "threshold"),
        ({"threshold": "tune", "threshold_metric": "f1"}, [9, 1], None),
        ({"threshold": 0.3}, [9, 0], None),
    ],
)
def test_a_threshold_is_not_tuned_on_labels_that_say_nothing(
    settings: dict[str, Any], counts: list[int], where: str | None
) -> None:
    config = parse(DecisionConfig, settings)
    if where is None:
        config.check_labels(counts, ["no", "yes"])
        return
    with pytest.raises(UserError) as caught:
        config.check_labels(counts, ["no", "yes"])
    assert [problem.where for problem in caught.value.problems] == [where]
