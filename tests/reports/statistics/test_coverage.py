"""Intervals hold the true figure as often as they say: a small part of ``benchmarks/coverage.py``, always the same."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SETS = 150
ERROR = 0.0178
"""Standard error of a share of 95 % over 150 test sets."""


@pytest.fixture(scope="module")
def simulation() -> ModuleType:
    path = Path(__file__).parents[3] / "benchmarks" / "coverage.py"
    spec = importlib.util.spec_from_file_location("coverage_benchmark", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    module.ENDLESS = 100_000
    return module


def test_intervals_over_rows_hold_in_95_of_100_test_sets(simulation: ModuleType) -> None:
    found = simulation.over_rows(simulation.Setting(300, 30), SETS, 200, 0)
    for name, share in found.items():
        assert 0.95 - 3 * ERROR <= share <= 0.95 + 3 * ERROR, name


def test_t_intervals_hold_in_95_of_100_triples_of_seeds(simulation: ModuleType) -> None:
    assert simulation.over_seeds(3, 4000, 0) == pytest.approx(0.95, abs=0.011)


def test_intervals_over_both_hold_at_least_as_often_as_they_say(simulation: ModuleType) -> None:
    both, _, rows = simulation.over_both(simulation.Setting(300, 60, spread=0.3), 3, SETS, 200, 0)
    assert both >= 0.95 - 3 * ERROR
    assert rows < 0.9, "other seeds are more than other rows"


def test_equal_models_are_seldom_told_apart(simulation: ModuleType) -> None:
    alarms = simulation.false_alarms(simulation.Setting(300, 60, spread=0.2), 3, SETS, 200, 0)
    assert alarms["both"] <= 0.05 + 3 * ERROR
    assert alarms["bootstrap"] > 0.1, "of rows alone it does not know that seeds differ"
