"""One label, whatever the format of the file and however it is spelled there."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counterpoise.config.schema import parse
from counterpoise.data.records import Dataset
from counterpoise.data.sources.labels import any_label, group_of, label_of, label_or_number, zero_or_one
from counterpoise.data.sources.reading import plain_text
from counterpoise.data.sources.sheet import Fault
from counterpoise.data.sources.spelling import label_spelling, look_alikes
from counterpoise.data.sources.table import Table, TableConfig
from counterpoise.errors import UserError


def load(path: Path, **settings: Any) -> Dataset:
    return Table(parse(TableConfig, {"path": str(path), "test_share": 0, **settings}, "data")).load()


def labels(dataset: Dataset) -> list[str]:
    """In the order of the file."""
    splits = dataset.splits().values()
    rows = {int(row): int(label) for part in splits for row, label in zip(part.rows, part.labels, strict=True)}
    return [dataset.classes[rows[row]] for row in sorted(rows)]


def csv(path: Path, values: list[str]) -> Path:
    path.write_text("text,label\n" + "".join(f"t{n},{value}\n" for n, value in enumerate(values)), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("value", "spelling"),
    [
        ("1", "1"),
        ("1.0", "1"),
        ("1.", "1"),
        ("+1", "1"),
        (" 1\t", "1"),
        ("1\u200b", "1"),
        ("-0", "0"),
        ("-0.00", "0"),
        ("-12.0", "-12"),
        (1, "1"),
        (1.0, "1"),
        (-0.0, "0"),
        (Decimal("2.00"), "2"),
        (True, "true"),
        ("FALSE", "false"),
        ("007", "007"),
        ("1e3", "1e3"),
        ("1_000", "1_000"),
        ("0x1", "0x1"),
        ("\u0661", "\u0661"),
        ("9" * 18, "9" * 18),
        ("+" + "9" * 19, "+" + "9" * 19),
        (10**20, "1" + "0" * 20),
        (" pos", "pos"),
        ("\ufeffpos\u200b ", "pos"),
        ("cafe\u0301", "caf\u00e9"),
        ("very\u00a0 good", "very good"),
        ("n\u00adeg", "neg"),
        ("Pos", "Pos"),
        ("\U0001f469\u200d\U0001f52c", "\U0001f469\u200d\U0001f52c"),
        (None, None),
        ([1], None),
    ],
)
def test_each_label_has_one_spelling(value: object, spelling: str | None) -> None:
    assert label_spelling(value) == spelling
    assert spelling is None or label_spelling(spelling) == spelling


FORMS = [0, "0", 0.0, "0.0", "-0", "+0", " 0", 1, "1", 1.0, "1.0", "+1", "1 ", "1\u200b"]


def test_every_format_reads_numbers_alike(tmp_path: Path) -> None:
    expected = ["0"] * 7 + ["1"] * 7
    assert labels(load(csv(tmp_path / "a.csv", [str(form) for form in FORMS]))) == expected
    lines = [json.dumps({"text": f"t{n}", "label": form}) for n, form in enumerate(FORMS)]
    (tmp_path / "a.jsonl").write_text("\n".join(lines), encoding="utf-8")
    assert labels(load(tmp_path / "a.jsonl")) == expected
    texts = [f"t{n}" for n in range(14)]
    for column in (pa.array([float(str(form).strip(" \u200b")) for form in FORMS]), pa.array([str(f) for f in FORMS])):
        pq.write_table(pa.table({"text": texts, "label": column}), tmp_path / "a.parquet")
        assert labels(load(tmp_path / "a.parquet")) == expected


@pytest.mark.parametrize("policy", ["error", "skip"])
@pytest.mark.parametrize("given", [None, ["-1", 1], ["-1.0", "+1"], [-1.0, 1.0]])
def test_signed_labels_are_two_classes_by_number(tmp_path: Path, policy: str, given: list[Any] | None) -> None:
    path = csv(tmp_path / "a.csv", ["+1", "-1", "-1.0", "1"] * 5)
    dataset = load(path, on_bad_record=policy, labels=given)
    assert dataset.classes == ("-1", "1")
    assert labels(dataset) == ["1", "-1", "-1", "1"] * 5


def test_booleans_are_the_same_two_classes_in_every_format(tmp_path: Path) -> None:
    expected = ["false", "true", "true"] * 4
    assert labels(load(csv(tmp_path / "a.csv", ["False", "TRUE", "true"] * 4))) == expected
    texts = [f"t{n}" for n in range(12)]
    pq.write_table(pa.table({"text": texts, "label": [False, True, True] * 4}), tmp_path / "a.parquet")
    assert labels(load(tmp_path / "a.parquet")) == expected
    assert load(tmp_path / "a.parquet", labels=[True, False]).classes == ("true", "false")


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        (["pos", "pos ", " neg", "neg"], ("neg", "pos")),
        (["caf\u00e9", "cafe\u0301", "th\u00e9", "the\u0301"], ("caf\u00e9", "th\u00e9")),
        (["pos", "pos\u200b", "\ufeffneg", "neg\u2060"], ("neg", "pos")),
        (["very good", "very\u00a0good", "very  good", "bad"], ("bad", "very good")),
    ],
)
def test_what_nobody_sees_makes_no_class(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, values: list[str], classes: tuple[str, ...]
) -> None:
    assert load(csv(tmp_path / "a.csv", values * 5)).classes == classes
    assert "look alike" not in caplog.text


def test_blanks_and_invisible_signs_around_the_names_of_csv_columns(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text\u200b, label\n" + "a, pos\nb, neg\n" * 5, encoding="utf-8")
    assert load(tmp_path / "a.csv").classes == ("neg", "pos")
    assert load(tmp_path / "a.csv", label_column=" label").classes == ("neg", "pos")


@pytest.mark.parametrize(
    "pair", [("Pos", "pos"), ("pos", "\uff50os"), ("p\u043es", "pos"), ("007", "7"), ("a-b", "a\u2013b"), ("'a'", "a")]
)
def test_classes_that_look_alike_are_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, pair: tuple[str, str]
) -> None:
    first, second = sorted(pair)
    dataset = load(csv(tmp_path / "a.csv", [first, second, second, "other"] * 5))
    assert dataset.classes == tuple(sorted((first, second, "other")))
    assert f"{first!r} (5 records) and {second!r} (10 records) look alike" in caplog.text


def test_different_names_do_not_look_alike() -> None:
    names = ["1", "10", "-1", "a", "b", "a.b", "1.5", "15", "c", "c++", "\u5929", "\u597d", "nan", "0"]
    assert look_alikes(names) == []


MISSING = {
    "nan": "'label' is 'nan', a missing value",
    "NaN": "'label' is 'NaN', a missing value",
    "0.5": "'label' is '0.5'; expected an integer or a string",
    "\u200b ": "'label' is empty",
}


@pytest.mark.parametrize("value", MISSING)
def test_what_is_no_label_is_a_bad_record(tmp_path: Path, value: str) -> None:
    path = csv(tmp_path / "a.csv", ["x", "y"] * 5 + [value])
    with pytest.raises(UserError) as caught:
        load(path)
    (problem,) = caught.value.problems
    assert problem.where == f"{path}:12"
    assert MISSING[value] in problem.message


def test_listed_labels_may_be_fractions_or_nan(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", ["0.5", "nan", "1.0"] * 5)
    assert load(path, labels=["nan", 0.5, 1]).classes == ("nan", "0.5", "1")


@pytest.mark.parametrize("value", [1e300, 2.0**53, float("inf"), float("nan"), 0.5])
def test_a_number_that_is_no_exact_integer_is_refused(value: float) -> None:
    assert isinstance(any_label("label")(value), Fault)


def test_labels_listed_twice_in_two_spellings_are_refused() -> None:
    for twice in ([1, "1.0"], ["pos", "pos "], ["true", True]):
        with pytest.raises(UserError, match="twice"):
            parse(TableConfig, {"path": "a.csv", "labels": twice}, "data")


def test_a_finished_model_reads_labels_by_the_same_rule() -> None:
    numbers = label_or_number("label", ("0", "1"))
    assert [numbers(v) for v in ("0.0", "-0", "+1", 1.0, "1 ", True, "x")][:5] == [0, 0, 1, 1, 1]
    assert all(isinstance(numbers(value), Fault) for value in (True, "x", "2"))
    named = label_or_number("label", ("neg", "pos"))
    assert [named(v) for v in ("pos ", "neg\u200b", 1, "1.0", "-0", "True", False)] == [1, 0, 1, 1, 0, 1, 0]
    assert isinstance(label_or_number("label", ("a", "b", "c"))(True), Fault)
    # A model of an earlier version may have classes of the same spelling: the exact name decides.
    earlier = label_of("label", ("1", "1.0", "+1"))
    assert [earlier(value) for value in ("1", "1.0", "+1")] == [0, 1, 2]
    assert zero_or_one("target")("1.0") == zero_or_one("target")("TRUE") == 1


def test_groups_and_criteria_are_told_apart_by_what_they_say() -> None:
    group = group_of("post")
    assert {group(value) for value in ("7", " 7", "7.0", 7, 7.0)} == {"7"}
    assert [group(value) for value in ("ann\u200b", "Ann", "07")] == ["ann", "Ann", "07"]
    assert all(isinstance(group(value), Fault) for value in (None, "", "\u200b", 0.5, True, "a\0"))
    criterion = plain_text("question", 100)
    assert criterion(" who\u00a0 is it? ") == "who is it?"
    assert all(isinstance(criterion(value), Fault) for value in (None, "\u200b", 1, "a\0"))
