"""What the class counts leave undecided is said before training, with the number that says why."""

from __future__ import annotations

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from counterpoise.data.class_counts import class_notes, class_warnings, describe_classes, turned
from counterpoise.data.records import Dataset, Records


def dataset(classes: tuple[str, ...], **counts: tuple[int, ...]) -> Dataset:
    """Records of each class in each split."""
    parts, row = {}, 0
    for split, by_class in counts.items():
        labels = [index for index, n in enumerate(by_class) for _ in range(n)]
        columns = {"row": range(row, row + len(labels)), "label": labels, "text": ["x"] * len(labels)}
        parts[split], row = Records.from_columns(columns, classes), row + len(labels)
    return Dataset("d", parts["train"], parts["valid"], parts.get("test"))


def test_a_class_of_few_records_is_named_with_what_one_record_moves() -> None:
    data = dataset(("no", "yes"), train=(54, 9), valid=(58, 4), test=(30, 10))
    train, valid = class_warnings(data, ordered_by_name=True)
    assert train == "train has fewer than 10 records of 'yes' (9): too few to learn such a class from."
    assert "valid has fewer than 10 records of 'yes' (4): one record moves the recall of 'yes' by 25 points" in valid
    assert class_notes(data)["few"] == {"train": {"yes": 9}, "valid": {"yes": 4}}


def test_a_split_of_one_class_says_what_looks_perfect() -> None:
    (message,) = class_warnings(dataset(("no", "yes"), train=(50, 50), valid=(20, 0)), ordered_by_name=True)
    assert message.startswith("valid has no record of class 'yes': all are 'no', so that always answering 'no'")
    (message,) = class_warnings(dataset(("a", "b", "c"), train=(50, 50, 50), valid=(20, 0, 20)), ordered_by_name=True)
    assert message == "valid has no record of class 'b'."


@pytest.mark.parametrize(("positive", "told"), [(95, True), (60, True), (59, False), (50, False), (5, False)])
def test_a_positive_class_that_is_common_is_warned_about(positive: int, told: bool) -> None:
    data = dataset(("fraud", "legit"), train=(1000 - 10 * positive, 10 * positive), valid=(10, 10))
    assert class_notes(data)["positive_share"] == positive / 100
    found = class_warnings(data, ordered_by_name=True)
    assert bool(found) == told
    if told:
        assert f"class 1 is 'legit', {positive:.1f}% of the training records" in found[0]
        assert found[0].endswith("To make 'fraud' the positive class: data.labels=[legit,fraud]")
    assert not class_warnings(data, ordered_by_name=False)


def test_the_console_shows_shares_and_the_positive_class() -> None:
    two = dataset(("fraud", "legit"), train=(5, 95), valid=(1, 1))
    assert describe_classes(two) == "'fraud' 5.0%, 'legit' 95.0% (class 1, the positive one)"
    eight = dataset(tuple("abcdefgh"), train=(10,) * 8, valid=(1,) * 8)
    assert describe_classes(eight).startswith("8: 'a' 12.5%, ")
    assert describe_classes(eight).endswith("'f' 12.5% and 2 more")


def test_many_small_classes_are_one_line_a_split() -> None:
    data = dataset(tuple(f"c{n}" for n in range(50)), train=(20,) * 50, valid=tuple(n % 12 for n in range(50)))
    absent, few = class_warnings(data, ordered_by_name=True)
    assert absent.startswith("valid has no record of class 'c0', 'c12', 'c24', 'c36', 'c48'")
    assert len(few) < 300


@pytest.mark.parametrize(
    "classes", [("b", "a"), ("0", "1"), ("null", "true"), ("it's", "a, b"), ("x=y", "[z]"), ("a\\'b", "007")]
)
def test_the_proposed_order_parses_to_the_classes_turned_round(classes: tuple[str, str]) -> None:
    value = OverridesParser.create().parse_override(turned(classes)).value()
    assert isinstance(value, list)
    read = [str(item).lower() if isinstance(item, bool) else str(item) for item in value]
    assert tuple(read) == classes[::-1]
