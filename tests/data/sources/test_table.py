"""A user's own table: labels of any kind, splits given or made here, contradictory settings."""

import json
import re
from pathlib import Path

import pytest

from counterpoise.config.schema import field_types, parse
from counterpoise.data.sources.table import Table, TableConfig
from counterpoise.errors import UserError

ROOT = Path(__file__).parents[3]
SHARED = ROOT.parent / "shared" / "data"


def table(**settings):
    return Table(parse(TableConfig, settings, "data"))


def problems(**settings):
    with pytest.raises(UserError) as caught:
        table(**settings).load()
    return {problem.where: str(problem) for problem in caught.value.problems}


def write(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def labelled(labels, **columns):
    return [
        {"text": f"text {n}", "label": label} | {name: values[n] for name, values in columns.items()}
        for n, label in enumerate(labels)
    ]


def label_names(dataset):
    return [dataset.classes[label] for part in dataset.splits().values() for label in part.labels]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, -1] * 4, ("-1", "9", "10")),
        (["10", "9", 2] * 4, ("2", "9", "10")),
        ([0.0, 1.0] * 6, ("0", "1")),
        (["spam", "ham", "eggs"] * 4, ("eggs", "ham", "spam")),
        (["01", "1"] * 6, ("01", "1")),
    ],
)
def test_classes_are_integers_by_number_or_strings_by_alphabet(tmp_path, labels, classes):
    dataset = table(path=write(tmp_path / "own.jsonl", labelled(labels))).load()
    assert dataset.classes == classes
    assert sorted(label_names(dataset)) == sorted(str(int(x)) if isinstance(x, float) else str(x) for x in labels)


def test_given_labels_set_the_order_and_find_unknown_ones(tmp_path):
    path = write(tmp_path / "own.jsonl", labelled(["low", "high", "mid"] * 4))
    dataset = table(path=path, labels=["low", "mid", "high"]).load()
    assert dataset.classes == ("low", "mid", "high")
    texts = {
        text: label for part in dataset.splits().values() for text, label in zip(part.texts, part.labels, strict=True)
    }
    assert [texts[f"text {n}"] for n in range(3)] == [0, 2, 1]
    path = write(tmp_path / "own.jsonl", labelled(["low", "high"] * 4 + ["hihg"]))
    found = problems(path=path, labels=["low", "high"])
    assert "'hihg', which is none of the labels. Did you mean 'high'?" in found[f"{path}:9"]
    assert table(path=path, labels=["low", "high"], on_bad_record="skip").load().classes == ("low", "high")


def test_integer_labels_can_be_listed_as_integers(tmp_path):
    path = write(tmp_path / "own.jsonl", labelled([0, 1] * 4))
    assert table(path=path, labels=[1, 0]).load().classes == ("1", "0")


def test_a_class_with_too_few_records_is_named(tmp_path):
    path = write(tmp_path / "own.jsonl", labelled(["a"] * 9 + ["b"] * 2))
    assert "class 'b' has 2 records; train, valid and test need one each" in problems(path=path)["data.split"]
    assert set(table(path=path, test_share=0).load().splits()) == {"train", "valid"}


def test_a_column_that_is_no_class_is_noticed(tmp_path):
    path = write(tmp_path / "own.jsonl", labelled(range(40)))
    assert "40 different labels in 40 records" in problems(path=path)["data.label_column"]


def test_one_file_is_split_the_same_way_for_the_same_seed(tmp_path):
    path = write(tmp_path / "own.jsonl", labelled([0, 1] * 50))
    first, again, other = (table(path=path, split_seed=seed).load() for seed in (0, 0, 1))
    assert first.train.rows.tolist() == again.train.rows.tolist() != other.train.rows.tolist()
    assert [len(part) for part in first.splits().values()] == [80, 10, 10]
    assert first.notes["split"] == {"kind": "stratified", "seed": 0}
    assert sorted(row for part in first.splits().values() for row in part.rows) == list(range(100))


def test_a_group_column_means_grouped_and_integers_are_groups_too(tmp_path):
    path = write(tmp_path / "own.jsonl", labelled([0, 1] * 50, post=[n // 4 for n in range(100)]))
    dataset = table(path=path, group_column="post").load()
    assert dataset.notes["split"]["kind"] == "grouped"
    groups = [set(part.table["group"].to_pylist()) for part in dataset.splits().values()]
    assert set.union(*groups) == {str(n) for n in range(25)}
    assert sum(len(part) for part in groups) == 25


def test_a_null_group_or_criterion_is_a_bad_record(tmp_path):
    rows = labelled([0, 1] * 5, post=["a", None, *"bcdefghi"], question=["why"] * 9 + [""])
    path = write(tmp_path / "own.jsonl", rows)
    found = problems(path=path, group_column="post", criterion_column="question")
    assert list(found) == [f"{path}:2", f"{path}:10"]
    assert "'post' is null" in found[f"{path}:2"]
    assert "'question' is empty" in found[f"{path}:10"]


def test_a_folder_of_split_files_is_taken_as_it_is(tmp_path):
    write(tmp_path / "train.jsonl", labelled([0, 1, 1]))
    write(tmp_path / "valid.ndjson", labelled([1, 0]))
    (tmp_path / "test.csv").write_text("label,text\n1,a\n1,b\n")
    dataset = table(path=str(tmp_path)).load()
    assert {name: part.rows.tolist() for name, part in dataset.splits().items()} == {
        "train": [0, 1, 2],
        "valid": [3, 4],
        "test": [5, 6],
    }
    assert dataset.name == tmp_path.name
    assert dataset.notes["split"] == {"kind": "given", "seed": None}


def test_split_files_may_have_any_name_and_lie_relative_to_here(tmp_path, monkeypatch):
    write(tmp_path / "a.jsonl", labelled([0, 1]))
    write(tmp_path / "b.jsonl", labelled([1, 0]))
    monkeypatch.chdir(tmp_path)
    dataset = table(train="a.jsonl", valid="b.jsonl").load()
    assert (dataset.name, len(dataset.train), dataset.test) == ("a", 2, None)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert len(table(train="~/a.jsonl", valid="~/b.jsonl").load().valid) == 2
    found = problems(train="c.jsonl", valid="b.jsonl", test=str(tmp_path))
    assert "there is no file 'c.jsonl'" in found["data.train"]
    assert "is a folder; expected a file" in found["data.test"]


def test_folders_with_too_little_or_too_much_are_told_apart(tmp_path):
    write(tmp_path / "train.jsonl", labelled([0, 1]))
    write(tmp_path / "train.csv", [])
    write(tmp_path / "validation.jsonl", labelled([0, 1]))
    with pytest.raises(UserError) as caught:
        table(path=str(tmp_path)).load()
    both, missing = (str(problem) for problem in caught.value.problems)
    assert "train.csv and train.jsonl; which is the train split?" in both
    assert "there is no valid split" in missing
    assert "'validation.jsonl'" in missing
    assert "which" not in problems(path=str(tmp_path / "train.jsonl"), split="given")["data.split"]


def test_a_split_that_loses_all_its_records_to_skip_is_an_error(tmp_path):
    train = write(tmp_path / "train.jsonl", labelled([0, 1] * 4))
    valid = write(tmp_path / "valid.jsonl", labelled(["x", "y"]))
    found = problems(train=train, valid=valid, on_bad_record="skip")
    assert "no usable record is left in valid" in found["data.label_column"]


def test_a_training_split_must_have_every_class(tmp_path):
    train = write(tmp_path / "train.jsonl", labelled(["a", "b"]))
    valid = write(tmp_path / "valid.jsonl", labelled(["a", "c"]))
    assert "train has no record of class 'c'" in problems(train=train, valid=valid)["data.label_column"]
    valid = write(tmp_path / "valid.jsonl", labelled(["a", "a"]))
    assert table(train=train, valid=valid).load().classes == ("a", "b")


def test_problems_of_several_files_come_together(tmp_path):
    train = write(tmp_path / "train.jsonl", [*labelled([0, 1]), {"text": "", "label": 1}])
    valid = write(tmp_path / "valid.jsonl", [])
    test = write(tmp_path / "test.jsonl", [{"txt": "a", "label": 1}])
    assert list(problems(train=train, valid=valid, test=test)) == [valid, test, f"{train}:3"]


@pytest.mark.parametrize(
    ("settings", "where"),
    [
        ({}, ["data.path"]),
        ({"path": "a.csv", "train": "b.csv"}, ["data.path"]),
        ({"train": "a.csv"}, ["data.valid"]),
        ({"test": "a.csv"}, ["data.train", "data.valid"]),
        ({"train": "a.csv", "valid": "b.csv", "split": "stratified"}, ["data.split"]),
        ({"path": "a.csv", "split": "grouped"}, ["data.group_column"]),
        ({"path": "a.csv", "valid_share": 0.5, "test_share": 0.5}, ["data.valid_share"]),
        ({"path": "a.csv", "valid_share": 0}, ["data.valid_share"]),
        ({"path": "a.csv", "text_column": "label"}, ["data.label_column"]),
        ({"path": "a.csv", "labels": ["a"]}, ["data.labels"]),
        ({"path": "a.csv", "labels": [1, "1"]}, ["data.labels"]),
        ({"split": "grouped", "labels": []}, ["data.path", "data.group_column", "data.labels"]),
    ],
)
def test_contradictory_settings_are_found_before_anything_is_read(settings, where):
    assert list(problems(**settings)) == where


def test_data_table_alone_says_what_to_add():
    assert "Add data.path=FILE" in problems()["data.path"]


@pytest.mark.parametrize("name", ["table", "codexglue"])
def test_the_yaml_lists_every_field_with_its_default(name):
    import yaml

    from counterpoise.data.sources.codexglue import CodeXGlueConfig

    schema = {"table": TableConfig, "codexglue": CodeXGlueConfig}[name]
    text = (ROOT / "conf" / "data" / f"{name}.yaml").read_text()
    node = yaml.safe_load(text)
    module, target = node.pop("_target_").rsplit(".", 1)
    assert getattr(__import__(module, fromlist=[target]), target).Config is schema
    assert set(node) == set(field_types(schema))
    assert all(getattr(schema, key) == value for key, value in node.items())
    assert re.match(r"# \w", text)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
def test_wikiqa_is_split_by_question():
    dataset = table(
        path=str(SHARED / "wikiqa" / "pairs.jsonl.gz"), group_column="group", criterion_column="criterion"
    ).load()
    assert sum(len(part) for part in dataset.splits().values()) == 8672
    groups = [set(part.table["group"].to_pylist()) for part in dataset.splits().values()]
    assert sum(len(part) for part in groups) == len(set.union(*groups)) == 873
    shares = [part.class_counts()[1] / len(part) for part in dataset.splits().values()]
    assert shares == pytest.approx([0.12] * 3, abs=0.005)
    assert [len(part) / 8672 for part in dataset.splits().values()] == pytest.approx([0.8, 0.1, 0.1], abs=0.005)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared data are not here")
def test_reviews_load_with_their_four_classes():
    dataset = table(path=str(SHARED / "reviews")).load()
    assert dataset.classes == ("oral", "poster", "reject", "spotlight")
    assert [len(part) for part in dataset.splits().values()] == [1681, 360, 360]
