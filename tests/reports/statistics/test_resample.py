"""Bootstrap resamples: what is drawn, from where, and that it is the same for all."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import chisquare

from counterpoise.reports.statistics.resample import repeats, resamples

LABELS = np.array([0] * 70 + [1] * 25 + [2] * 5)


def whole(**more: int) -> np.ndarray:
    return np.concatenate(list(resamples(LABELS, None, 300, 1, **more)), axis=1)


def test_each_class_keeps_its_size() -> None:
    weights = whole()
    for label, size in ((0, 70), (1, 25), (2, 5)):
        assert (weights[label == LABELS].sum(axis=0) == size).all()


def test_rows_of_a_class_are_drawn_alike() -> None:
    drawn = np.concatenate(list(resamples(LABELS, None, 4000, 5)), axis=1)
    for label in (0, 1, 2):
        assert chisquare(drawn[label == LABELS].sum(axis=1)).pvalue > 1e-3
    # Multinomial: the variance of a count of n draws from n is (n - 1) / n.
    assert drawn[LABELS == 1].var() == pytest.approx(24 / 25, rel=0.02)


def test_resamples_do_not_depend_on_the_chunks_but_on_the_seed() -> None:
    assert (whole() == whole(most_cells=700)).all()
    other = np.concatenate(list(resamples(LABELS, None, 300, 2)), axis=1)
    assert (whole() != other).any()


def test_whole_groups_are_drawn_where_rows_share_them() -> None:
    groups = np.array([f"g{index // 4}" for index in range(100)])
    assert repeats(groups)
    weights = np.concatenate(list(resamples(LABELS, groups, 200, 0)), axis=1)
    assert (weights.reshape(25, 4, 200) == weights.reshape(25, 4, 200)[:, :1]).all()
    assert (weights.sum(axis=0) == 100).all()
    assert len(set(weights[LABELS == 2].sum(axis=0))) > 1, "class shares vary"


def test_groups_of_one_row_each_change_nothing() -> None:
    groups = np.array([f"g{index}" for index in range(100)])
    assert not repeats(groups)
    assert (np.concatenate(list(resamples(LABELS, groups, 300, 1)), axis=1) == whole()).all()
