"""The same text in two splits, or with two labels, is counted by a slow second way too, and handled as asked."""

import json
import logging
import time
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.data.leakage import apply_leakage_policy, find_leakage
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError


def dataset(*splits, criteria=None, notes=None):
    """From (text, label) pairs for train, valid and perhaps test."""
    parts, row = [], 0
    for pairs in splits:
        columns = {
            "row": range(row, row + len(pairs)),
            "text": [text for text, _ in pairs],
            "label": [label for _, label in pairs],
        }
        if criteria is not None:
            columns["criterion"] = criteria[row : row + len(pairs)]
        row += len(pairs)
        parts.append(Records.from_columns(columns, ("a", "b")))
    return Dataset("own", parts[0], parts[1], parts[2] if len(parts) > 2 else None, notes or {})


TRAIN = [("x  y", 0), ("x\ny", 1), ("only train", 0), ("both", 1), ("test too", 0), ("more", 1)]
VALID = [(" both ", 1), ("test\ttoo", 1), ("only valid", 0), ("valid again", 1)]
TEST = [("test too", 0), ("only test", 1)]


def test_counts_and_notes():
    leaky = dataset(TRAIN, VALID, TEST, notes={"bad_records": 3})
    notes = apply_leakage_policy(leaky, "warn").notes
    assert notes["bad_records"] == 3
    assert notes["leakage"] == {
        "policy": "warn",
        "duplicates": {"train": 1, "valid": 0, "test": 0},
        "shared": {
            "train/valid": {"texts": 2, "train": 2, "valid": 2},
            "train/test": {"texts": 1, "train": 1, "test": 1},
            "valid/test": {"texts": 1, "valid": 1, "test": 1},
        },
        "contradicting": {
            "train": {"texts": 1, "records": 2},
            "valid": {"texts": 0, "records": 0},
            "test": {"texts": 0, "records": 0},
            "all": {"texts": 2, "records": 5},
        },
    }
    assert json.loads(json.dumps(notes)) == notes


PAIRS = st.lists(
    st.tuples(st.sampled_from(["a b", "a  b", " ab", "ab", "c\n", "c", "d\u00a0e", "d e"]), st.integers(0, 1))
)


@given(PAIRS, PAIRS, PAIRS)
def test_counts_agree_with_a_slow_second_way(train, valid, test):
    found = find_leakage(dataset(train, valid, test))
    splits = {"train": train, "valid": valid, "test": test}
    keys = {name: [" ".join(text.split()) for text, _ in pairs] for name, pairs in splits.items()}
    for name, own in keys.items():
        assert found.duplicates[name] == len(own) - len(set(own))
        pairs = list(zip(own, (label for _, label in splits[name]), strict=True))
        assert found.contradicting[name]["texts"] == sum((key, 0) in pairs and (key, 1) in pairs for key in set(own))
    for first, second in combinations(keys, 2):
        both = set(keys[first]) & set(keys[second])
        assert found.shared[f"{first}/{second}"] == {
            "texts": len(both),
            first: sum(key in both for key in keys[first]),
            second: sum(key in both for key in keys[second]),
        }


@given(PAIRS, PAIRS, PAIRS)
def test_after_drop_no_text_stands_in_two_splits_and_test_is_whole(train, valid, test):
    before = dataset(train, valid, test)
    try:
        after = apply_leakage_policy(before, "drop")
    except UserError:
        return
    assert not find_leakage(after).leaks
    assert after.test is before.test
    dropped = after.notes["leakage"]["dropped"]
    assert len(after.train) == len(train) - dropped["train"]
    assert len(after.valid) == len(valid) - dropped["valid"]


def test_drop_takes_from_the_earlier_split():
    after = apply_leakage_policy(dataset(TRAIN, VALID, TEST), "drop")
    assert after.train.texts == ["x  y", "x\ny", "only train", "more"]
    assert after.valid.texts == [" both ", "only valid", "valid again"]
    assert after.notes["leakage"]["dropped"] == {"train": 2, "valid": 1}


def test_drop_refuses_to_lose_a_class():
    with pytest.raises(UserError, match="leaves no record of class 'b' in train"):
        apply_leakage_policy(dataset([("x", 0), ("y", 1)], [("y", 1), ("z", 0)]), "drop")


def test_error_has_the_counts_and_the_first_rows():
    with pytest.raises(UserError) as caught:
        apply_leakage_policy(dataset(TRAIN, VALID, TEST), "error")
    (problem,) = caught.value.problems
    assert problem.where == "data.leakage"
    assert "train/valid: 2" in problem.message
    assert "row 3 of train is row 6 of valid, row 4 of train is row 7 of valid" in problem.message
    # contradicting labels inside one split are no leak
    assert apply_leakage_policy(dataset(TRAIN, [("new", 0)]), "error").notes["leakage"]["duplicates"]["train"] == 1


def test_one_warning_if_there_is_anything_and_none_otherwise(caplog):
    caplog.set_level(logging.WARNING)
    apply_leakage_policy(dataset([("a", 0), ("a", 0)], [("b", 1)]), "warn")
    assert not caplog.records
    apply_leakage_policy(dataset(TRAIN, VALID, TEST), "warn")
    (record,) = caplog.records
    assert "train/valid: 2, train/test: 1, valid/test: 1" in record.getMessage()
    assert "2 texts with contradicting labels" in record.getMessage()


def test_the_criterion_belongs_to_the_key():
    splits = [("same", 0), ("same", 1)], [("same", 0), ("same", 1)]
    found = find_leakage(dataset(*splits, criteria=["p", "q", "r", " q "]))
    assert found.shared["train/valid"]["texts"] == 1
    assert found.contradicting["all"]["texts"] == 0


def test_records_without_text_are_never_the_same():
    found = find_leakage(dataset([("", 0), (" ", 1), ("", 1)], [("", 0)]))
    assert not found.leaks
    assert found.duplicates == {"train": 0, "valid": 0}
    assert found.contradicting["all"]["texts"] == 0


def test_twenty_two_thousand_functions_take_less_than_a_second():
    words = np.random.default_rng(0).integers(0, 1000, (22_000, 200)).astype(str)
    big = dataset([(" ".join(row), 0) for row in words[:20_000]], [(" ".join(row), 1) for row in words[20_000:]])
    start = time.perf_counter()
    find_leakage(big)
    assert time.perf_counter() - start < 3  # about 0.3 s; generous for a busy machine
