"""Metrics of weighted rows: those of the repeated rows, exactly."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.metrics import classification_metrics
from counterpoise.reports.statistics.weighted import Answers, weighted_metrics
from report_kit import labels_of, probabilities_of

NAMES = ("a", "b", "c")


def answers(classes: int, rows: int, ties: bool) -> Answers:
    labels = labels_of("data", "test", rows, classes)
    table = probabilities_of(labels, classes, 1.0, ("common", rows), ("own", rows))
    if ties:
        table = np.round(table * 4) + 1e-9
        table /= table.sum(axis=1, keepdims=True)
    return Answers(labels, table.argmax(axis=1), table)


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("classes", [2, 3])
def test_weights_of_one_give_the_metrics_of_the_rows(classes: int, ties: bool) -> None:
    given_answers = answers(classes, 200, ties)
    found = weighted_metrics(given_answers, np.ones((200, 2)))
    expected = classification_metrics(given_answers.labels, given_answers.probabilities, NAMES[:classes])
    numbers = {name: value for name, value in expected.items() if isinstance(value, float)}
    assert set(found) == set(numbers)
    for name, value in numbers.items():
        assert found[name] == pytest.approx([value, value], abs=1e-12), name


@given(st.data())
@settings(max_examples=150, deadline=None)
def test_whole_weights_give_the_metrics_of_the_repeated_rows(data: st.DataObject) -> None:
    classes = data.draw(st.integers(2, 3))
    rows = data.draw(st.integers(1, 12))
    labels = np.array(data.draw(st.lists(st.integers(0, classes - 1), min_size=rows, max_size=rows)))
    scores = data.draw(
        st.lists(st.lists(st.integers(1, 4), min_size=classes, max_size=classes), min_size=rows, max_size=rows)
    )
    table = np.array(scores) / np.array(scores).sum(axis=1, keepdims=True)
    weights = np.array(data.draw(st.lists(st.integers(0, 3), min_size=rows, max_size=rows)))
    if not weights.sum():
        weights[0] = 1
    found = weighted_metrics(Answers(labels, table.argmax(axis=1), table), weights[:, None].astype(float))
    repeated = np.repeat(np.arange(rows), weights)
    expected = classification_metrics(labels[repeated], table[repeated], NAMES[:classes])
    for name, values in found.items():
        assert values[0] == pytest.approx(expected[name], abs=1e-9, nan_ok=True), name


def test_another_threshold_is_that_of_the_predicted_column() -> None:
    own = answers(2, 100, False)
    predicted = (own.probabilities[:, 1] >= 0.3).astype(int)
    found = weighted_metrics(Answers(own.labels, predicted, own.probabilities), np.ones((100, 1)))
    expected = classification_metrics(own.labels, own.probabilities, NAMES[:2], threshold=0.3)
    assert found["f1"][0] == pytest.approx(expected["f1"])
    assert found["calibration_error"][0] == pytest.approx(expected["calibration_error"])
    assert found["roc_auc"][0] == pytest.approx(expected["roc_auc"])


def test_areas_without_positives_are_undefined() -> None:
    own = answers(2, 50, False)
    weights = np.stack([own.labels == 0, own.labels == 1, np.ones(50)], axis=1).astype(float)
    found = weighted_metrics(own, weights)
    assert [math.isnan(value) for value in found["roc_auc"]] == [True, True, False]
    assert [math.isnan(value) for value in found["pr_auc"]] == [True, False, False]
