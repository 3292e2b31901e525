"""Folds partition the records, are even in size and in each class, and cut no group."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import StratifiedGroupKFold

from counterpoise.data.fold_splits import fold_split, grouped_folds, stratified_folds
from counterpoise.errors import UserError


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(2, 30), min_size=2, max_size=4), st.integers(2, 10), st.integers(0, 99))
def test_folds_are_even_in_size_and_in_each_class(sizes, folds, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    if min(sizes) < folds:
        with pytest.raises(UserError) as caught:
            stratified_folds(labels, folds, seed)
        few = [f"class {label} has {size} records" for label, size in enumerate(sizes) if size < folds]
        assert [str(problem).split(": ")[1].split(";")[0] for problem in caught.value.problems] == few
        return
    found = stratified_folds(labels, folds, seed)
    assert set(found.tolist()) == set(range(folds))
    for members in (found, *(found[labels == label] for label in range(len(sizes)))):
        counts = np.bincount(members, minlength=folds)
        assert counts.max() - counts.min() <= 1
    assert np.array_equal(found, stratified_folds(labels, folds, seed))


def test_folds_differ_by_seed_and_name_what_is_missing():
    labels = np.tile([0, 1], 30)
    assert not np.array_equal(stratified_folds(labels, 5, 0), stratified_folds(labels, 5, 1))
    with pytest.raises(UserError, match=r"class 'c' has 0 records; each of the 5 folds needs one"):
        stratified_folds(labels, 5, 0, classes=("a", "b", "c"))
    with pytest.raises(UserError, match=r"Use folds\.count=30 at most"):
        stratified_folds(labels, 31, 0)


RECORDS = st.lists(st.tuples(st.integers(0, 25), st.integers(0, 2)), min_size=1, max_size=120)


@settings(max_examples=150, deadline=None)
@given(RECORDS, st.integers(2, 6), st.integers(0, 99))
def test_grouped_folds_cut_no_group_and_have_every_class(pairs, folds, seed):
    groups, labels = [f"g{group}" for group, _ in pairs], np.array([label for _, label in pairs])
    groups_of = {label: {group for group, other in pairs if other == label} for label in set(labels.tolist())}
    few = sorted(label for label, members in groups_of.items() if len(members) < folds)
    try:
        found = grouped_folds(groups, labels, folds, seed)
    except UserError as error:
        named = [problem.message for problem in error.problems]
        if few:
            starts = [f"class {label} has {len(groups_of[label])} groups" for label in few]
            assert [message.split(";")[0] for message in named] == starts
        else:
            assert "without cutting a group" in named[0]
        return
    assert not few
    assert len(set(zip(groups, found.tolist(), strict=True))) == len(set(groups))
    for fold in range(folds):
        assert set(labels[found == fold]) == set(labels)
    assert np.array_equal(found, grouped_folds(groups, labels, folds, seed))


@given(st.integers(2, 8), st.integers(0, 30), st.integers(0, 1000))
def test_grouped_folds_succeed_where_each_class_has_a_group_for_each(folds, extra, seed):
    # groups of one class each: as many of the rare class as there are folds are just enough
    labels = np.repeat([0] * (folds + extra) + [1] * folds, 2)
    groups = [str(n // 2) for n in range(len(labels))]
    found = grouped_folds(groups, labels, folds, seed)
    assert [np.count_nonzero(labels[found == fold]) for fold in range(folds)] == [2] * folds


def unevenness(labels, found, folds):
    """Root mean square of how far each class's share of each fold is from even."""
    counts = np.zeros((folds, labels.max() + 1))
    np.add.at(counts, (found, labels), 1)
    return np.sqrt(((counts / counts.sum(axis=0) - 1 / folds) ** 2).mean())


def some_groups(seed):
    """A number of folds, groups of uneven sizes, and labels whose shares differ by group."""
    generator = np.random.default_rng(seed)
    folds, kinds = int(generator.integers(2, 9)), int(generator.integers(2, 5))
    sizes = np.minimum(generator.zipf(1.7, int(generator.integers(60, 200))), 60)
    shares = generator.dirichlet(np.full(kinds, 1.5), len(sizes))
    labels = np.concatenate([generator.choice(kinds, n, p=p) for n, p in zip(sizes, shares, strict=True)])
    return folds, np.repeat(np.arange(len(sizes)), sizes), labels


def test_class_shares_are_closer_than_those_of_scikit_learn():
    ours, theirs = [], []
    for seed in range(40):
        folds, groups, labels = some_groups(seed)
        reference = np.empty(len(labels), int)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a class in fewer groups than folds: refused here
            for fold, (_, members) in enumerate(StratifiedGroupKFold(folds).split(labels, labels, groups)):
                reference[members] = fold
        theirs.append(unevenness(labels, reference, folds))
        ours.append(unevenness(labels, grouped_folds([str(g) for g in groups], labels, folds, 0), folds))
    assert np.mean(ours) < np.mean(theirs)
    assert np.max(np.subtract(ours, theirs)) < 0.03


def test_sizes_of_grouped_folds_are_close():
    groups = np.repeat(np.arange(300), np.random.default_rng(0).integers(1, 10, 300))
    labels = np.random.default_rng(1).choice(3, len(groups), p=[0.8, 0.15, 0.05])
    counts = np.bincount(grouped_folds([str(g) for g in groups], labels, 5, 0), minlength=5)
    assert counts / len(groups) == pytest.approx(np.full(5, 0.2), abs=0.01)


@pytest.mark.parametrize("share", [0.25, None])
def test_one_fold_is_held_out(share):
    labels = np.tile([0, 1, 1], 40)
    held_out = []
    for fold in range(4):
        split = fold_split(labels, 4, fold, share, 7)
        everything = np.concatenate(split)
        assert sorted(everything.tolist()) == list(range(120))
        held_out.append(split.valid if share is None else split.test)
        assert np.array_equal(held_out[-1], np.flatnonzero(stratified_folds(labels, 4, 7) == fold))
        if share is None:
            assert len(split.test) == 0
        else:
            assert len(split.valid) == pytest.approx(0.25 * 90, abs=1)
            assert labels[split.valid].mean() == pytest.approx(2 / 3, abs=0.05)
    assert sorted(np.concatenate(held_out).tolist()) == list(range(120))


@settings(max_examples=60, deadline=None)
@given(RECORDS, st.integers(2, 4), st.sampled_from([0.1, 0.4, None]))
def test_no_group_stands_in_two_parts(pairs, folds, share):
    groups, labels = [f"g{group}" for group, _ in pairs], np.array([label for _, label in pairs])
    for fold in range(folds):
        try:
            split = fold_split(labels, folds, fold, share, 3, groups=groups)
        except UserError:
            continue
        assert sorted(np.concatenate(split).tolist()) == list(range(len(pairs)))
        of_part = [{groups[index] for index in part} for part in split]
        assert sum(map(len, of_part)) == len(set(groups))
        assert all(set(labels[part]) == set(labels) for part in split if len(part))


def test_what_is_missing_outside_the_fold_is_told():
    labels = np.array([0] * 20 + [1] * 2)
    with pytest.raises(UserError, match="fold=0: outside the fold class 1 has 1 records; train and valid need one"):
        fold_split(labels, 2, 0, 0.1, 0)
    assert len(fold_split(labels, 2, 0, None, 0).valid) == 11
