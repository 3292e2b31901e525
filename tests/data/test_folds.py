"""Any data set dealt into folds: all of its records, each held out once, whatever split its source gave them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counterpoise.config.schema import parse
from counterpoise.data.folds import FoldsConfig, describe_fold, pool, refold, rows_fingerprint
from counterpoise.data.records import Dataset, Records
from counterpoise.data.sources.tu import TUConfig, TUGraphs
from counterpoise.errors import UserError

MUTAG = Path(__file__).parents[3] / "shared" / "data" / "MUTAG"


def records(rows: list[int], groups: bool = False) -> Records:
    columns: dict[str, list[Any]] = {"row": rows, "text": [f"text {row}" for row in rows]}
    columns["label"] = [row % 3 == 0 for row in rows]
    columns["label"] = [int(label) for label in columns["label"]]
    if groups:
        columns["group"] = [f"author {row // 4}" for row in rows]
    return Records.from_columns(columns, ("a", "b"))


def dataset(size: int = 90, groups: bool = False, test: bool = True) -> Dataset:
    """Rows dealt to the source's own splits in no order."""
    rows = np.random.default_rng(0).permutation(size).tolist()
    parts = [rows[: size // 2], rows[size // 2 : -size // 4], rows[-size // 4 :]]
    if not test:
        parts = [parts[0] + parts[2], parts[1]]
    splits = [records(part, groups) for part in parts]
    notes = {"bad_records": {"left_out": 3}, "split": {"kind": "given"}}
    return Dataset("texts", splits[0], splits[1], splits[2] if test else None, notes, language="c")


def rows_of(data: Dataset) -> dict[str, set[int]]:
    return {name: set(part.rows.tolist()) for name, part in data.splits().items()}


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 7), st.booleans(), st.booleans(), st.sampled_from(["test", "valid"]), st.integers(0, 9))
def test_every_record_is_held_out_once(count: int, groups: bool, test: bool, held_out: Any, seed: int) -> None:
    config, data = FoldsConfig(count=count, held_out=held_out, seed=seed), dataset(groups=groups, test=test)
    held: list[int] = []
    for fold in range(count):
        found = refold(data, config, fold)
        parts = rows_of(found)
        assert sum(map(len, parts.values())) == 90
        assert set.union(*parts.values()) == set(range(90))
        assert ("test" in parts) == (held_out == "test")
        held += parts[held_out]
        for part in found.splits().values():
            assert (np.diff(part.rows) > 0).all()
            assert [f"text {row}" for row in part.rows] == part.texts
            assert set(part.labels) == {0, 1}
        if groups:
            authors = [{row // 4 for row in part} for part in parts.values()]
            assert sum(map(len, authors)) == len(set.union(*authors))
    assert sorted(held) == list(range(90))


def test_folds_do_not_depend_on_the_splits_of_the_source() -> None:
    one, other = dataset(), dataset(test=False)
    for fold in range(5):
        assert rows_of(refold(one, FoldsConfig(), fold)) == rows_of(refold(other, FoldsConfig(), fold))
    assert pool(one).table.equals(pool(other).table)


def test_notes_say_what_all_folds_share() -> None:
    notes = [refold(dataset(), FoldsConfig(count=3), fold).notes for fold in range(3)]
    assert [note["split"].pop("fold") for note in notes] == [0, 1, 2]
    assert notes[0] == notes[1] == notes[2]
    assert notes[0]["bad_records"] == {"left_out": 3}
    everything = pool(dataset())
    expected = {"kind": "folds", "by": "class", "folds": 3, "held_out": "test", "valid_share": 0.1, "seed": 0}
    facts = notes[0]["split"]
    assert {name: facts[name] for name in expected} == expected
    assert (facts["records"], facts["rows"]) == (90, rows_fingerprint(everything.rows[::-1]))
    assert json.loads(json.dumps(facts)) == facts
    changed = dataset(groups=True)
    assert refold(changed, FoldsConfig(by="class"), 0).notes["split"]["data"] != facts["data"]


def test_language_and_name_stay() -> None:
    found = refold(dataset(), FoldsConfig(), 1)
    assert (found.name, found.language, found.classes) == ("texts", "c", ("a", "b"))
    shown = "; fold 1 of 5 (from 0) held out for test, all 90 records dealt class by class"
    assert describe_fold(found) == shown
    assert describe_fold(dataset()) == ""


def test_records_with_groups_are_dealt_by_group_unless_asked_otherwise() -> None:
    def cut(by: Any) -> int:
        parts = rows_of(refold(dataset(groups=True), FoldsConfig(by=by), 0)).values()
        authors = [{row // 4 for row in part} for part in parts]
        return sum(map(len, authors)) - len(set.union(*authors))

    assert cut("auto") == cut("group") == 0
    assert cut("class") > 0


def test_groups_that_are_not_there() -> None:
    with pytest.raises(UserError, match=r"folds\.by: is group, but the records have no groups"):
        refold(dataset(), FoldsConfig(by="group"), 0)
    train, valid = records(list(range(60)), groups=True), records(list(range(60, 90)))
    with pytest.raises(UserError, match="deals by group, but 30 of 90 records have none"):
        refold(Dataset("x", train, valid, None), FoldsConfig(), 0)
    assert refold(Dataset("x", train, valid, None), FoldsConfig(by="class"), 0).test is not None


def test_rows_that_stand_twice_are_refused() -> None:
    with pytest.raises(ValueError, match="two records of the same row"):
        pool(Dataset("x", records([1, 2, 3]), records([3, 4]), None))


def test_share_that_has_no_effect() -> None:
    with pytest.raises(UserError, match=r"folds\.valid_share: has no effect"):
        parse(FoldsConfig, {"held_out": "valid", "valid_share": 0.2}, "folds")


@pytest.mark.skipif(not MUTAG.is_dir(), reason="the data set is not here")
def test_folds_of_mutag_are_those_of_the_published_figures() -> None:
    source = TUGraphs(TUConfig(path=str(MUTAG))).load()
    parts = []
    for fold in range(10):
        found = refold(source, FoldsConfig(count=10), fold)
        assert found.test is not None
        parts.append({name: part.rows.tolist() for name, part in found.splits().items()})
        seen = refold(source, FoldsConfig(count=10, held_out="valid"), fold)
        assert (seen.test, seen.valid.rows.tolist()) == (None, parts[-1]["test"])
    assert sorted(row for part in parts for row in part["test"]) == list(range(188))
    assert {len(part["test"]) for part in parts} == {18, 19}
    assert hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16] == "4d76f7ce9eb4e6e8"
