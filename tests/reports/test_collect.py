"""Which runs repeat one configuration, which are compared, and what they are called."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from counterpoise.reports.collect import Collection, collect
from counterpoise.reports.folders import find_runs
from report_kit import THREE, plan, write_run

OLDER = {"machine": {"counterpoise": "0.0.9"}}


def collected(folder: Path) -> Collection:
    return collect(find_runs(folder))


def names(folder: Path) -> list[list[str]]:
    """Rows of each data set."""
    return [sorted(each.name for each in group.configurations if each.runs) for group in collected(folder).groups]


def test_seeds_are_repetitions_and_settings_are_not(tmp_path: Path) -> None:
    for seed in (2025, 7, 42):
        write_run(tmp_path / f"a{seed}", seed=seed)
        write_run(tmp_path / f"b{seed}", seed=seed, overrides=["optimizer.lr=0.01"], changes={"optimizer.lr": 0.01})
    assert names(tmp_path) == [["TextCNN", "TextCNN optimizer.lr=0.01"]]
    (group,) = collected(tmp_path).groups
    assert [[run.job.seed for run in each.runs] for each in group.configurations] == [[7, 42, 2025]] * 2
    assert [dict(each.settings) for each in group.configurations] == [{}, {"optimizer.lr": "0.01"}]


@pytest.mark.parametrize("free", [{"paths.cache": "/elsewhere"}, {"tracker._target_": "x.Y"}, {"hardware.workers": 4}])
def test_what_changes_no_result_makes_no_configuration(free: dict[str, Any], tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=1)
    write_run(tmp_path / "b", seed=2, changes=free)
    assert names(tmp_path) == [["TextCNN"]]


def test_a_key_that_an_earlier_version_lacks_is_taken_to_agree(tmp_path: Path) -> None:
    write_run(tmp_path / "old", seed=1, facts=OLDER)
    write_run(tmp_path / "new", seed=2, changes={"calibration": "temperature"})
    (group,) = collected(tmp_path).groups
    assert len(group.configurations) == 1
    assert group.notes == ("TextCNN: not all runs say calibration, as of other versions; they are taken to agree.",)


def test_a_key_that_a_run_of_the_same_version_lacks_is_a_difference(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=1)
    write_run(tmp_path / "b", seed=2, changes={"calibration": "temperature"})
    assert len(names(tmp_path)[0]) == 2


def test_a_run_of_another_version_does_not_outdate_one_of_the_same_seed(tmp_path: Path) -> None:
    write_run(tmp_path / "old", seed=1, facts=OLDER)
    write_run(tmp_path / "new", seed=1, changes={"calibration": "temperature"})
    (group,) = collected(tmp_path).groups
    assert [len(each.runs) for each in group.configurations] == [1, 1]
    (note,) = group.notes
    assert note.endswith("their seeds are the same, so they are not taken to repeat each other.")


@pytest.mark.parametrize("other", [{"effective_batch": 64}, {"precision": "fp32"}, {"lr_factor": 2.0}])
def test_what_auto_came_to_is_a_setting(other: dict[str, Any], tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=1)
    write_run(tmp_path / "b", seed=2, facts={"plan": plan() | other})
    (found,) = names(tmp_path)
    assert len(found) == 2
    assert all(f"plan.{next(iter(other))}=" in name for name in found)


def test_a_learning_rate_that_was_searched_for_is_no_setting(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=1)
    write_run(tmp_path / "b", seed=2, facts={"plan": plan() | {"lr": 0.1, "batch_size": 16, "device": "cuda"}})
    assert names(tmp_path) == [["TextCNN"]]


@pytest.mark.parametrize("sign", ["+", "++", "~"])
def test_signs_of_overrides_are_no_part_of_the_key(sign: str, tmp_path: Path) -> None:
    for seed in (1, 2):
        given = [f"{sign}seed" if sign == "~" else f"{sign}seed={seed}", f"{sign}data.x=3"]
        write_run(tmp_path / str(seed), seed=seed, overrides=given, facts={"overrides": given})
    write_run(tmp_path / "c", overrides=[f"{sign}model.dropout"], changes={"model.dropout": 0.1})
    (found,) = names(tmp_path)
    assert len(found) == 2


def test_a_run_without_its_config_repeats_no_other(tmp_path: Path) -> None:
    for seed in (1, 2):
        write_run(tmp_path / str(seed), seed=seed)
    (tmp_path / "2" / "training_metadata.json").write_text("[1, 2")
    (group,) = collected(tmp_path).groups
    assert [len(each.runs) for each in group.configurations] == [1, 1]


def test_a_failed_run_has_the_seed_of_its_config(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=7, status="failed", facts={"overrides": ["model=textcnn"]})
    write_run(tmp_path / "b", seed=8)
    assert [run.job.seed for run in collected(tmp_path).runs] == [7, 8]


def test_two_classes_of_models_never_share_a_name(tmp_path: Path) -> None:
    write_run(tmp_path / "a", model="A x=1")
    for number in (1, 2):
        write_run(tmp_path / str(number), model="A", overrides=[f"x={number}"], changes={"x": number})
    assert names(tmp_path) == [["A x=1", "A x=1 (2)", "A x=2"]]


def test_a_missing_key_on_which_others_differ_is_a_configuration_of_its_own(tmp_path: Path) -> None:
    write_run(tmp_path / "old", seed=1)
    for value in ("temperature", "none"):
        write_run(tmp_path / value, seed=1, changes={"calibration": value})
    assert len(names(tmp_path)[0]) == 3


def test_a_key_that_only_some_were_given_is_a_difference(tmp_path: Path) -> None:
    write_run(tmp_path / "a", changes={"optimizer.lr_factors": {}})
    write_run(tmp_path / "b", changes={"optimizer.lr_factors": {"head": 2.0}})
    write_run(tmp_path / "c", overrides=["+model.new=3"], changes={"optimizer.lr_factors": {}, "model.new": 3})
    assert len(names(tmp_path)[0]) == 3


def test_settings_that_were_not_typed_are_named_by_the_config(tmp_path: Path) -> None:
    for dropout in (0.1, 0.5):
        write_run(tmp_path / str(dropout), overrides=["experiment=mine"], changes={"model.dropout": dropout})
    assert names(tmp_path) == [["TextCNN model.dropout=0.1", "TextCNN model.dropout=0.5"]]


def test_names_are_unique_however_much_differs(tmp_path: Path) -> None:
    for number in range(3):
        changes = {f"model.setting_{key}": key for key in "abcde"} | {"model.setting_z": number}
        write_run(tmp_path / str(number), changes=changes, overrides=["model=textcnn"])
    write_run(tmp_path / "many", changes={f"model.other_{key}": key for key in "abcdef"})
    (found,) = names(tmp_path)
    assert len(set(found)) == 4


def test_other_data_are_another_data_set(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    write_run(tmp_path / "b", model="GNN")
    write_run(tmp_path / "c", data="posts", classes=THREE)
    assert names(tmp_path) == [["GNN", "TextCNN"], ["TextCNN"]]


def test_folds_of_one_deal_belong_together_and_other_deals_do_not(tmp_path: Path) -> None:
    for fold in range(3):
        write_run(tmp_path / f"three{fold}", fold=fold, folds=3)
    for fold in range(2):
        write_run(tmp_path / f"two{fold}", fold=fold, folds=2)
    assert [len(group.finished) for group in collected(tmp_path).groups] == [3, 2]


def test_the_newest_of_a_seed_counts_and_the_other_is_told(tmp_path: Path) -> None:
    write_run(tmp_path / "newer")
    write_run(tmp_path / "older")
    os.utime(tmp_path / "older" / "result.json", (1, 1))
    (group,) = collected(tmp_path).groups
    (repeated,) = group.configurations
    assert [run.record.folder.name for run in repeated.runs] == ["newer"]
    told = (
        f"{tmp_path}/older is outdated by {tmp_path}/newer, of the same config and seed 42, by the time of result.json."
    )
    assert group.notes == (told,)


def test_runs_that_did_not_finish_stand_beside_their_configuration(tmp_path: Path) -> None:
    write_run(tmp_path / "a", seed=1)
    for number, status in enumerate(("collapsed", "failed", "aborted", "pruned", "unfinished")):
        write_run(tmp_path / status, seed=10 + number, status=status)
    write_run(tmp_path / "z", data="nowhere", status="failed")
    found = collected(tmp_path)
    (repeated,) = found.groups[0].configurations
    assert len(repeated.runs) == 1
    assert len(repeated.others) == 5
    assert [run.record.folder.name for run in found.alone] == ["z"]


def test_damaged_folders_are_collected_all_the_same(tmp_path: Path) -> None:
    write_run(tmp_path / "a")
    for name, content in (("b", "[1, 2"), ("c", "[]"), ("d", json.dumps({"config": 3, "overrides": {"a": 1}}))):
        (tmp_path / name).mkdir()
        (tmp_path / name / "training_metadata.json").write_text(content)
        (tmp_path / name / "result.json").write_text(content)
    found = collected(tmp_path)
    assert len(found.runs) == 4
    assert sum(len(group.finished) for group in found.groups) >= 1
