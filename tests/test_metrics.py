"""Metrics against scikit-learn and plain loops, on random and on degenerate predictions."""

from __future__ import annotations

import json
import math
import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from counterpoise.config.schema import parse
from counterpoise.errors import UserError
from counterpoise.events import Health
from counterpoise.jsonio import dumps
from counterpoise.metrics import (
    METRICS,
    BestEpoch,
    Objective,
    ObjectiveConfig,
    Standing,
    by_criterion,
    classification_metrics,
    confusion_matrix,
    metrics_by,
    predicted_classes,
    undefined_metrics,
)

NAMES = ("a", "b", "c", "d")
Case = tuple[np.ndarray, np.ndarray]


def draw(n: int, n_classes: int, seed: int, *, coarse: bool = False, skew: float = 1.0) -> Case:
    """Labels ``[n]`` and probabilities ``[n, C]``; coarse ones have many ties, skewed ones leave classes out."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(n_classes, skew))
    labels = rng.choice(n_classes, size=n, p=shares)
    scores = rng.integers(1, 4, (n, n_classes)) if coarse else rng.random((n, n_classes)) + 1e-3
    scores = scores + (0 if coarse else 0.3) * np.eye(n_classes)[labels]
    return labels, scores / scores.sum(axis=1, keepdims=True)


@st.composite
def cases(draw_from: st.DrawFn) -> Case:
    return draw(
        draw_from(st.integers(1, 60)),
        draw_from(st.integers(2, 4)),
        draw_from(st.integers(0, 10**6)),
        coarse=draw_from(st.booleans()),
        skew=draw_from(st.sampled_from([0.05, 1.0, 20.0])),
    )


def ours(case: Case, threshold: float | None = None) -> dict[str, Any]:
    labels, table = case
    return classification_metrics(labels, table, NAMES[: table.shape[1]], threshold)


def plain_calibration_error(labels: np.ndarray, table: np.ndarray) -> float:
    total = 0.0
    for b in range(15):
        inside = [i for i, row in enumerate(table) if b / 15 < row.max() <= (b + 1) / 15]
        if inside:
            correct = np.mean([table[i].argmax() == labels[i] for i in inside])
            confidence = np.mean([table[i].max() for i in inside])
            total += len(inside) / len(labels) * abs(correct - confidence)
    return total


@given(cases())
@settings(deadline=None, max_examples=150)
def test_counts_equal_scikit_learn(case: Case) -> None:
    labels, table = case
    n_classes = table.shape[1]
    predicted = table.argmax(axis=1)
    found = ours(case)
    every = range(n_classes)
    matrix = reference.confusion_matrix(labels, predicted, labels=every)
    assert found["confusion_matrix"] == matrix.tolist()
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, predicted))
    for average in ("macro", "weighted"):
        precision, recall, f1, _ = reference.precision_recall_fscore_support(
            labels, predicted, labels=every, average=average, zero_division=0
        )
        assert found[f"{average}_f1"] == pytest.approx(f1)
        if average == "macro":
            assert (found["macro_precision"], found["macro_recall"]) == pytest.approx((precision, recall))
    with warnings.catch_warnings(action="ignore"):
        assert found["mcc"] == pytest.approx(reference.matthews_corrcoef(labels, predicted), abs=1e-12)


@given(cases())
@settings(deadline=None)
def test_per_class_equals_scikit_learn(case: Case) -> None:
    labels, table = case
    predicted = table.argmax(axis=1)
    columns = reference.precision_recall_fscore_support(
        labels, predicted, labels=range(table.shape[1]), zero_division=0
    )
    for i, values in enumerate(ours(case)["per_class"].values()):
        expected = [column[i] for column in columns]
        assert [values[key] for key in ("precision", "recall", "f1", "support")] == pytest.approx(expected)
        assert values["predicted"] == (predicted == i).sum()
        assert values["predicted_share"] == pytest.approx((predicted == i).mean())
        assert values["actual_share"] == pytest.approx((labels == i).mean())


@pytest.mark.parametrize("n_classes", [2, 4])
def test_the_area_of_each_class_is_scikit_learns(n_classes: int) -> None:
    labels, table = draw(400, n_classes, 3)
    for c, values in enumerate(ours((labels, table))["per_class"].values()):
        assert values["roc_auc"] == pytest.approx(reference.roc_auc_score(labels == c, table[:, c]), abs=2e-3)


def test_a_class_of_a_constant_model_is_ranked_at_chance_whatever_the_rounding() -> None:
    labels = np.arange(40) % 2
    table = np.tile([0.9, 0.1], (40, 1)) + np.outer(labels, [-1e-9, 1e-9])
    figures = classification_metrics(labels, table, NAMES[:2])
    assert figures["roc_auc"] == 1.0
    assert [of_class["roc_auc"] for of_class in figures["per_class"].values()] == [0.5, 0.5]
    alone = classification_metrics(np.zeros(3, int), np.tile([0.9, 0.1], (3, 1)), NAMES[:2])
    assert all(math.isnan(of_class["roc_auc"]) for of_class in alone["per_class"].values())


@given(cases())
@settings(deadline=None, max_examples=150)
def test_areas_equal_scikit_learn_where_they_are_defined(case: Case) -> None:
    labels, table = case
    columns = [1] if table.shape[1] == 2 else range(table.shape[1])
    roc = [reference.roc_auc_score(labels == c, table[:, c]) for c in columns if 0 < (labels == c).sum() < len(labels)]
    pr = [reference.average_precision_score(labels == c, table[:, c]) for c in columns if (labels == c).any()]
    found = ours(case)
    assert found["roc_auc"] == pytest.approx(np.mean(roc) if roc else math.nan, nan_ok=True)
    assert found["pr_auc"] == pytest.approx(np.mean(pr) if pr else math.nan, nan_ok=True)


def test_areas_of_three_present_classes_equal_scikit_learn_macro() -> None:
    labels, table = draw(300, 3, 5)
    found = ours((labels, table))
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(labels, table, multi_class="ovr"))
    assert found["pr_auc"] == pytest.approx(reference.average_precision_score(labels, table))


@given(cases())
@settings(deadline=None)
def test_log_loss_and_calibration_error(case: Case) -> None:
    labels, table = case
    found = ours(case)
    expected = reference.log_loss(labels, table, labels=range(table.shape[1]))
    assert found["log_loss"] == pytest.approx(expected)
    assert found["calibration_error"] == pytest.approx(plain_calibration_error(labels, table), abs=1e-12)


@given(cases().filter(lambda case: case[1].shape[1] == 2), st.sampled_from([None, 0.2, 0.5, 0.75]))
@settings(deadline=None)
def test_binary_figures_are_those_of_class_one(case: Case, threshold: float | None) -> None:
    labels, table = case
    predicted = table.argmax(axis=1) if threshold is None else table[:, 1] >= threshold
    found = ours(case, threshold)
    assert found["f1"] == pytest.approx(reference.f1_score(labels, predicted, zero_division=0))
    assert found["precision"] == pytest.approx(reference.precision_score(labels, predicted, zero_division=0))
    recall = reference.recall_score(labels, predicted, zero_division=0)
    assert found["recall"] == found["sensitivity"] == pytest.approx(recall)
    specificity = reference.recall_score(labels, predicted, pos_label=0, zero_division=0)
    assert found["specificity"] == pytest.approx(specificity)


def test_more_classes_have_macro_figures_and_no_sensitivity() -> None:
    found = ours(draw(100, 3, 1))
    for name in ("f1", "precision", "recall"):
        assert found[name] == found[f"macro_{name}"]
    assert not {"sensitivity", "specificity"} & set(found)


def test_every_metric_has_a_direction() -> None:
    assert set(METRICS) == set(ours(draw(100, 2, 1))) - {"per_class", "confusion_matrix"}
    assert {name for name, way in METRICS.items() if way == "minimise"} == {"log_loss", "calibration_error"}


@given(cases())
@example((np.array([0]), np.array([[1.0, 0.0]])))
@example((np.array([1]), np.array([[1.0, 0.0]])))
@example((np.array([1, 1, 1]), np.array([[0.0, 1.0]] * 3)))
@example((np.array([2, 2]), np.array([[0.2, 0.5, 0.3]] * 2)))
@settings(deadline=None)
def test_no_warnings_and_ready_for_json(case: Case) -> None:
    with warnings.catch_warnings(action="error"), np.errstate(all="raise"):
        found = ours(case)
    again = json.loads(json.dumps(found))
    assert set(again) == set(found)
    assert all(type(found[name]) is float for name in METRICS if name in found)
    assert all(math.isfinite(found[name]) for name in METRICS if name in found and not name.endswith("_auc"))


def test_labels_of_one_class_leave_the_areas_undefined() -> None:
    table = np.array([[0.4, 0.6], [0.7, 0.3]])
    negative, positive = (classification_metrics([c, c], table, ("a", "b")) for c in (0, 1))
    assert math.isnan(negative["roc_auc"])
    assert math.isnan(negative["pr_auc"])
    assert math.isnan(positive["roc_auc"])
    assert positive["pr_auc"] == 1
    assert negative["mcc"] == positive["mcc"] == 0


def test_certain_and_wrong_is_finite_and_calibration_follows_the_threshold() -> None:
    found = classification_metrics([1, 0], [[1.0, 0.0], [0.8, 0.2]], ("a", "b"), threshold=0.1)
    assert found["log_loss"] == pytest.approx((-math.log(np.finfo(float).eps) - math.log(0.8)) / 2)
    # Both predictions are wrong; their confidence is the probability of what was predicted: 1.0 and 0.2.
    assert found["calibration_error"] == pytest.approx((1.0 + 0.2) / 2)


def test_predicted_classes_ties_and_thresholds() -> None:
    table = [[0.5, 0.5], [0.4, 0.6]]
    assert predicted_classes(table).tolist() == [0, 1]
    assert predicted_classes(table, 0.5).tolist() == [1, 1]
    with pytest.raises(ValueError, match="two classes"):
        predicted_classes([[0.2, 0.3, 0.5]], 0.5)


def test_half_precision_probabilities_are_accepted() -> None:
    labels, table = draw(200, 4, 2)
    exact, half = ours((labels, table)), ours((labels, table.astype(np.float16)))
    assert half["log_loss"] == pytest.approx(exact["log_loss"], rel=1e-2)


@pytest.mark.parametrize(
    ("labels", "table", "message"),
    [
        ([], np.zeros((0, 2)), "N > 0"),
        ([0, 1], [[0.5, 0.5]], "probabilities"),
        ([0], [[0.2, 0.3, 0.5]], "probabilities"),
        ([2], [[0.5, 0.5]], "labels"),
        ([-1], [[0.5, 0.5]], "labels"),
        ([0.5], [[0.5, 0.5]], "labels"),
        ([0], [[math.nan, 0.5]], "finite"),
        ([0], [[math.inf, 0.0]], "finite"),
        ([0], [[-0.5, 1.5]], "not negative"),
        ([0], [[-3.0, 2.0]], "not negative"),
        ([0], [[3.0, 2.0]], "sum to 1"),
    ],
)
def test_unusable_input_is_a_value_error(labels: Any, table: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        classification_metrics(labels, table, ("a", "b"))


def test_counts_of_many_rows_do_not_overflow() -> None:
    n = 4_000_000
    labels = np.arange(n) % 2
    matrix = confusion_matrix(labels, labels, 2)
    assert matrix.tolist() == [[n // 2, 0], [0, n // 2]]
    table = np.stack([1 - labels, labels], axis=1)
    found = classification_metrics(labels, table, ("a", "b"))
    assert found["mcc"] == found["roc_auc"] == found["pr_auc"] == 1


def objective(**values: Any) -> Objective:
    return Objective(parse(ObjectiveConfig, values, "objective"))


def test_objective_reads_its_metric_and_knows_its_direction() -> None:
    metrics = {"macro_f1": 0.5, "log_loss": 0.7}
    assert objective().name == "macro_f1"
    assert objective().score(metrics) == 0.5
    loss = objective(metric="log_loss")
    assert not loss.maximise
    assert loss.score(metrics) == 0.7
    assert loss.better(0.6, 0.7)
    assert not loss.better(0.7, 0.6)


def test_custom_objective_is_a_weighted_sum() -> None:
    custom = objective(metric="custom", weights={"accuracy": 0.3, "weighted_f1": 0.3, "macro_f1": 0.4})
    metrics = {"accuracy": 0.9, "weighted_f1": 0.8, "macro_f1": 0.5, "log_loss": 2.0}
    assert custom.maximise
    assert custom.score(metrics) == pytest.approx(0.27 + 0.24 + 0.2)
    # A metric that is better when small must not be rewarded for being large.
    mixed = objective(metric="custom", weights={"accuracy": 1.0, "log_loss": 0.1})
    assert mixed.score(metrics) == pytest.approx(0.9 - 0.2)


def test_better_needs_more_than_min_delta_and_nan_never_wins() -> None:
    f1 = objective()
    assert f1.better(0.502, 0.5, min_delta=0.001)
    assert not f1.better(0.5005, 0.5, min_delta=0.001)
    assert not f1.better(0.5, 0.5)
    assert f1.better(0.1, math.nan)
    assert not f1.better(math.nan, 0.1)
    assert not f1.better(math.nan, math.nan)
    assert f1.better(0.1, -math.inf)


def test_equal_scores_are_told_apart_by_a_metric_without_threshold() -> None:
    # A pretrained encoder after one and two epochs, 17 % positive: F1 is 0 in both.
    first = {"f1": 0.0, "pr_auc": 0.475, "log_loss": 0.544, "specificity": 1.0}
    second = {"f1": 0.0, "pr_auc": 0.627, "log_loss": 0.494, "specificity": 1.0}
    f1 = objective(metric="f1")
    assert f1.standing(second).beats(f1.standing(first))
    assert not f1.standing(first).beats(f1.standing(second))
    assert f1.standing(first).ties(f1.standing(second))
    assert max([first, second, first], key=lambda metrics: f1.standing(metrics).order) is second


@pytest.mark.parametrize(
    ("metric", "classes", "breaker"),
    [
        ("f1", 2, "pr_auc"),
        ("pr_auc", 2, "log_loss"),
        ("log_loss", 2, "pr_auc"),
        ("accuracy", 3, "log_loss"),
        ("log_loss", 3, "pr_auc"),
    ],
)
def test_the_tie_breaker_is_another_metric(metric: str, classes: int, breaker: str) -> None:
    metrics = ours(draw(60, classes, 0))
    assert objective(metric=metric).tie_breaker(metrics) == breaker
    better = {**metrics, breaker: metrics[breaker] + (0.01 if METRICS[breaker] == "maximise" else -0.01)}
    judge = objective(metric=metric)
    assert judge.standing(better).beats(judge.standing(metrics))


def test_a_tie_is_one_whatever_the_order_of_a_sum() -> None:
    one, other = sum([0.1, 0.2, 0.3]) / 3, sum([0.3, 0.2, 0.1]) / 3
    assert one != other
    assert Standing(one, 0.5).ties(Standing(other, 0.9))
    assert Standing(other, 0.9).beats(Standing(one, 0.5))
    assert not Standing().ties(Standing())
    assert not Standing().beats(Standing())
    assert Standing(0.0).beats(Standing())


def test_the_best_epoch_is_a_sound_one_even_if_a_doubtful_one_scores_higher() -> None:
    best = BestEpoch()
    told = [
        (0.9, Health.DOUBTFUL, True),
        (0.2, Health.SOUND, True),
        (0.95, Health.DOUBTFUL, False),
        (0.99, Health.COLLAPSED, False),
        (0.3, Health.ALARMED, True),
        (0.3, Health.SOUND, False),
    ]
    taken = [best.weigh(epoch, Standing(score), health) for epoch, (score, health, _) in enumerate(told, 1)]
    assert taken == [is_best for *_, is_best in told]
    assert (best.epoch, best.standing.value) == (5, 0.3)
    assert BestEpoch.from_state(best.state_dict()) == best


@given(st.floats(allow_nan=True), st.floats(allow_nan=True), st.sampled_from(sorted(METRICS)))
@settings(deadline=None)
def test_better_is_asymmetric(a: float, b: float, metric: str) -> None:
    judge = objective(metric=metric)
    assert not (judge.better(a, b) and judge.better(b, a))
    assert not judge.better(a, a)


def test_a_metric_that_the_data_does_not_define_is_named() -> None:
    with pytest.raises(UserError, match="specificity"):
        objective(metric="specificity").score(ours(draw(50, 3, 0)))


def test_objective_lists_all_problems() -> None:
    with pytest.raises(UserError) as caught:
        objective(metric="custom", weights={"acuracy": 0.3, "makro_f1": 0.7})
    assert [p.where for p in caught.value.problems] == ["objective.weights.acuracy", "objective.weights.makro_f1"]
    assert "'accuracy'" in str(caught.value)
    with pytest.raises(UserError, match="finite"):
        objective(metric="custom", weights={"macro_f1": math.inf})


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"metric": "makro_f1"}, "Did you mean 'macro_f1'?"),
        ({"metric": "custom"}, "must not be empty"),
        ({"metric": "f1", "weights": {"f1": 1.0}}, "no effect"),
        ({"metric": "custom", "weights": {"f1": 0.0}}, "> 0"),
    ],
)
def test_objective_refuses(values: dict[str, Any], expected: str) -> None:
    with pytest.raises(UserError) as caught:
        objective(**values)
    assert expected in str(caught.value)


def test_figures_of_a_criterion_are_those_of_its_samples() -> None:
    rng = np.random.default_rng(0)
    criteria = [f"c{number}" for number in rng.integers(0, 4, 200)]
    labels = rng.integers(0, 2, 200)
    labels[[name == "c3" for name in criteria]] = 0
    positive = rng.random(200)
    table = np.stack([1 - positive, positive], axis=1)
    found = metrics_by(criteria, labels, table, ("no", "yes"))
    assert list(found) == ["c0", "c1", "c2", "c3"]
    for criterion, figures in found.items():
        mine = np.array(criteria) == criterion
        truth, predicted = labels[mine], (positive[mine] > 0.5).astype(int)
        assert figures["n"] == mine.sum()
        assert figures["positives"] == truth.sum()
        assert figures["f1"] == pytest.approx(reference.f1_score(truth, predicted, zero_division=0))
        assert figures["precision"] == pytest.approx(reference.precision_score(truth, predicted, zero_division=0))
        assert figures["recall"] == pytest.approx(reference.recall_score(truth, predicted, zero_division=0))
        if truth.any():
            assert figures["roc_auc"] == pytest.approx(reference.roc_auc_score(truth, positive[mine]))
    assert np.isnan(found["c3"]["roc_auc"])
    assert json.loads(dumps(found))["c3"]["roc_auc"] is None


def test_three_classes_have_no_positives_by_criterion() -> None:
    found = metrics_by(["a", "b"], [0, 2], np.eye(3)[[0, 2]], ("x", "y", "z"))
    assert set(found["a"]) == {"n", "f1", "precision", "recall", "roc_auc"}


def test_more_criteria_than_are_listed_have_no_figures() -> None:
    table = np.full((101, 2), 0.5)
    names = [str(number) for number in range(101)]
    assert by_criterion(names, [0] * 101, table, ("no", "yes")) == {}
    assert len(by_criterion(names[:100], [0] * 100, table[:100], ("no", "yes"))["criteria"]) == 100
    with pytest.raises(ValueError, match="probabilities"):
        metrics_by(names, [0] * 101, table[:5], ("no", "yes"))
    with pytest.raises(ValueError, match="each of 101 samples, got 3"):
        metrics_by(names[:3], [0] * 101, table, ("no", "yes"))


def test_what_is_predicted_may_have_been_decided_elsewhere() -> None:
    labels, table = draw(80, 3, seed=5)
    chosen = np.random.default_rng(0).integers(0, 3, 80)
    found = classification_metrics(labels, table, NAMES[:3], predicted=chosen)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(labels, chosen))
    assert found["macro_f1"] == pytest.approx(reference.f1_score(labels, chosen, average="macro", zero_division=0))
    own = classification_metrics(labels, table, NAMES[:3])
    assert (found["roc_auc"], found["log_loss"]) == (own["roc_auc"], own["log_loss"])
    assert classification_metrics(labels, table, NAMES[:3], predicted=table.argmax(axis=1)) == own
    criteria = ["x", "y"] * 40
    by = metrics_by(criteria, labels, table, NAMES[:3], predicted=chosen)
    half = classification_metrics(labels[::2], table[::2], NAMES[:3], predicted=chosen[::2])
    assert by["x"]["f1"] == half["f1"]
    assert by_criterion(criteria, labels, table, NAMES[:3], predicted=chosen) == {"criteria": by}


@pytest.mark.parametrize("wrong", [[0, 1], [0, 1, 2], [0.0, 1.0, 1.0], [0, 1, -1]])
def test_predicted_classes_that_are_none_are_refused(wrong: list[float]) -> None:
    with pytest.raises(ValueError, match="predicted"):
        classification_metrics([0, 1, 1], [[0.5, 0.5]] * 3, NAMES[:2], predicted=wrong)


def test_a_threshold_and_what_is_predicted_contradict_each_other() -> None:
    with pytest.raises(ValueError, match="not both"):
        classification_metrics([0, 1], [[0.5, 0.5]] * 2, NAMES[:2], 0.5, predicted=[0, 1])


LEARNT = {
    # Metrics of two classes by what the split lacks, over every way of predicting six records.
    "no class 1": [0] * 6,
    "no class 0": [1] * 6,
    "both": [0, 0, 1, 1, 1, 0],
}


@pytest.mark.parametrize("labels", LEARNT.values(), ids=LEARNT)
def test_a_metric_is_undefined_where_no_prediction_changes_it(labels: list[int]) -> None:
    probabilities = [[0.1, 0.3, 0.45, 0.55, 0.7, 0.9], [0.9, 0.7, 0.55, 0.45, 0.3, 0.1], [0.9] * 6, [0.1] * 6]
    found = [classification_metrics(labels, [[1 - p, p] for p in column], ["0", "1"]) for column in probabilities]
    counts = np.bincount(labels, minlength=2)
    for metric in METRICS:
        values = [figures[metric] for figures in found]
        same = math.isnan(values[0]) or max(values) - min(values) < 1e-12
        told = list(undefined_metrics({"objective.metric": metric}, counts, ["0", "1"], "validation"))
        assert bool(told) == same, metric


def test_of_more_classes_one_class_alone_leaves_areas_undefined() -> None:
    alone, two = [5, 0, 0], [5, 5, 0]
    for metric in METRICS:
        told = list(undefined_metrics({"k": metric}, alone, ["a", "b", "c"], "validation"))
        assert bool(told) == (metric in ("roc_auc", "pr_auc", "mcc"))
        assert not list(undefined_metrics({"k": metric}, two, ["a", "b", "c"], "validation"))
    (problem,) = undefined_metrics({"objective.weights.mcc": "mcc"}, alone, ["a", "b", "c"], "validation")
    assert problem.where == "objective.weights.mcc"
    assert "none of the 5 records of the validation split is of class 'b', 'c'" in problem.message
