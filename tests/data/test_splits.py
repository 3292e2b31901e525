"""Splits partition the rows, keep groups whole and give every class to every split."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedShuffleSplit

from counterpoise.data.splits import Shares, grouped, stratified
from counterpoise.errors import UserError

SHARES = st.sampled_from([Shares(0.1, 0.1), Shares(0.1, 0.0), Shares(0.3, 0.3), Shares(0.49, 0.5), Shares(0.01, 0.9)])
LABELS = st.lists(st.integers(0, 3), min_size=1, max_size=60).map(np.array)


def assert_partition(split, records):
    assert sorted(np.concatenate(split).tolist()) == list(range(records))
    assert all((np.diff(part) > 0).all() for part in split)


@given(LABELS, SHARES, st.integers(0, 2**32))
def test_stratified_partitions_and_gives_every_class_to_every_split(labels, shares, seed):
    wanted = 3 if shares.test else 2
    counts = np.bincount(labels)
    if ((counts > 0) & (counts < wanted)).any():
        with pytest.raises(UserError):
            stratified(labels, shares, seed)
        return
    split = stratified(labels, shares, seed)
    assert_partition(split, len(labels))
    for part in split[:wanted]:
        assert set(labels[part]) == set(labels)
    again = stratified(labels, shares, seed)
    assert all(np.array_equal(a, b) for a, b in zip(split, again, strict=True))


@given(st.lists(st.tuples(st.integers(0, 12), st.integers(0, 2)), min_size=1, max_size=80), SHARES, st.integers(0, 99))
def test_grouped_partitions_and_cuts_no_group(pairs, shares, seed):
    groups, labels = [f"g{group}" for group, _ in pairs], np.array([label for _, label in pairs])
    try:
        split = grouped(groups, labels, shares, seed)
    except UserError:
        return
    assert_partition(split, len(pairs))
    of_split = [{groups[index] for index in part} for part in split]
    assert sum(map(len, of_split)) == len(set(groups))
    for part in split[: 3 if shares.test else 2]:
        assert set(labels[part]) == set(labels)


@given(st.integers(3, 40), st.integers(0, 1000))
def test_grouped_succeeds_where_each_class_has_a_group_for_each_split(extra, seed):
    # groups of one class each: three of the rare class are just enough
    labels = np.repeat([0] * extra + [1] * 3, 2)
    groups = [str(n // 2) for n in range(len(labels))]
    split = grouped(groups, labels, Shares(0.1, 0.1), seed)
    assert [np.count_nonzero(labels[part]) for part in split] == [2, 2, 2]


def test_class_shares_are_as_close_as_those_of_scikit_learn():
    labels = np.random.default_rng(0).choice(4, 5000, p=[0.86, 0.08, 0.05, 0.01])
    _, reference = next(StratifiedShuffleSplit(1, test_size=0.2, random_state=0).split(labels, labels))
    split = stratified(labels, Shares(0.1, 0.2), 0)
    difference = np.bincount(labels[split.test]) - np.bincount(labels[reference])
    assert np.abs(difference).max() <= 1
    assert [len(part) for part in split] == pytest.approx([3500, 500, 1000], abs=2)


def test_grouped_keeps_shares_of_records_and_classes():
    generator = np.random.default_rng(0)
    groups = [str(group) for group in generator.zipf(1.5, 4000) % 500]
    labels = generator.choice(3, 4000, p=[0.8, 0.15, 0.05])
    split = grouped(groups, labels, Shares(0.1, 0.2), 0)
    shares = np.stack([np.bincount(labels[part], minlength=3) / np.bincount(labels) for part in split])
    assert shares == pytest.approx(np.repeat([[0.7], [0.1], [0.2]], 3, axis=1), abs=0.03)


def test_one_huge_group_is_trained_on():
    groups = ["huge"] * 50 + [str(n) for n in range(50)]
    split = grouped(groups, np.arange(100) % 2, Shares(0.1, 0.1), 0)
    assert [len(part) for part in split] == [80, 10, 10]
    assert set(range(50)) <= set(split.train.tolist())


def test_different_seeds_give_different_splits():
    labels = np.arange(100) % 2
    groups = [str(n // 2) for n in range(100)]
    assert (
        stratified(labels, Shares(0.1, 0.1), 0).valid.tolist() != stratified(labels, Shares(0.1, 0.1), 1).valid.tolist()
    )
    first, second = (grouped(groups, labels, Shares(0.1, 0.1), seed) for seed in (0, 1))
    assert first.valid.tolist() != second.valid.tolist()


def test_every_class_that_has_too_little_is_named():
    labels = np.array([0] * 10 + [1] * 2 + [2])
    with pytest.raises(UserError) as caught:
        stratified(labels, Shares(0.1, 0.1), 0, classes=["a", "b", "c", "d"])
    assert [problem.message.split(";")[0] for problem in caught.value.problems] == [
        "class 'b' has 2 records",
        "class 'c' has 1 records",
        "class 'd' has 0 records",
    ]
    with pytest.raises(UserError, match="class 1 has 1 groups; train and valid need one each"):
        grouped(list("aabbcc"), np.array([0, 1, 0, 0, 0, 0]), Shares(0.1, 0), 0)
