"""The command line before Hydra sees it: resuming, the names of a multirun's folders, unknown options."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from counterpoise.config.arguments import is_multirun, parse_options, prepare, quoted
from counterpoise.config.resolvers import LONGEST_FOLDER, job_folder
from counterpoise.errors import UserError


def folder_of(arguments: list[str]) -> str:
    """The name that a multirun's folder gets."""
    (given_name,) = [item for item in prepare(arguments) if item.startswith("hydra.sweep.dir=")]
    return given_name.removeprefix("hydra.sweep.dir='${paths.multirun}/").removesuffix("'")


def excluded(arguments: list[str]) -> list[str]:
    """The keys that a job's folder is not named by."""
    (text,) = [item for item in prepare(arguments) if "exclude_keys" in item]
    return list(OverridesParser.create().parse_override(text).value())


def test_a_single_run_is_left_as_it_is() -> None:
    assert prepare(["model=textcnn", "seed=7"]) == ["model=textcnn", "seed=7"]
    assert prepare(["--cfg", "job"]) == ["--cfg", "job"]


@pytest.mark.parametrize("flag", ["-m", "--multirun", "--multi", "hydra.mode=MULTIRUN"])
def test_several_jobs_are_asked_for_in_several_ways(flag: str) -> None:
    assert is_multirun(parse_options(["seed=1,2", flag]))
    assert folder_of(["seed=1,2", flag]).startswith("seed")


def test_a_folder_is_named_by_what_varies_and_by_what_is_fixed() -> None:
    assert folder_of(["-m", "seed=1,2"]) == "seed"
    assert folder_of(["-m", "sweep=three_seeds"]) == "three_seeds"
    assert folder_of(["-m", "sweep=three_seeds", "optimizer.lr=1e-3,1e-4"]) == "three_seeds_lr"
    assert folder_of(["-m", "seed=1,2", "model=textcnn"]) == "seed-model_textcnn"
    assert folder_of(["-m", "model=textcnn"]) == "single-model_textcnn"


def test_a_folder_does_not_depend_on_the_order() -> None:
    overrides = ["seed=1,2", "optimizer.lr=1e-3,1e-4", "model=textcnn", "train.epochs=3"]
    assert len({folder_of(["-m", *order]) for order in itertools.permutations(overrides)}) == 1


def test_a_folder_does_not_depend_on_what_changes_no_result() -> None:
    free = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "paths.cache=x", "tracker=none", "dry_run=true"]
    assert folder_of(["-m", "seed=1,2", *free]) == "seed"


def test_other_values_give_another_folder() -> None:
    assert folder_of(["-m", "seed=1,2", "optimizer.lr=1"]) != folder_of(["-m", "seed=1,2", "optimizer.lr=2"])


def test_jobs_are_named_by_what_varies() -> None:
    assert excluded(["-m", "seed=1,2", "model=textcnn", "+train.x=1", "data.path=a b"]) == [
        "data.path",
        "model",
        "train.x",
    ]


def test_a_folder_that_was_given_is_kept() -> None:
    assert sum("hydra.sweep.dir" in item for item in prepare(["-m", "seed=1,2", "hydra.sweep.dir=mine"])) == 1


@pytest.mark.parametrize("override", ["data.path='a/b c, d$(e)'", 'data.path="it\'s"', "data.path=" + "x" * 500])
def test_a_folder_has_a_safe_name_whatever_is_fixed(override: str) -> None:
    name = folder_of(["-m", "seed=1,2", override])
    assert "/" not in name
    assert len(name) <= LONGEST_FOLDER
    assert all(c.isalnum() or c in "._-" for c in name)


def test_long_names_are_cut_but_differ() -> None:
    names = {job_folder("x" * 200 + str(number)) for number in range(50)}
    assert len(names) == 50
    assert max(map(len, names)) == LONGEST_FOLDER
    assert job_folder("") == "job"


def saved_run(folder: Path, overrides: list[str]) -> Path:
    (folder / ".hydra").mkdir(parents=True)
    OmegaConf.save(OmegaConf.create(overrides), folder / ".hydra" / "overrides.yaml")
    return folder


@pytest.mark.parametrize("name", ["run", "a b, c=d", "it's", "ünï", "a\\b", "${x}", "[1]"])
def test_resume_takes_up_the_overrides_of_the_run(tmp_path: Path, name: str) -> None:
    folder = saved_run(tmp_path / name, ["model=textcnn", "seed=7", "sweep=three_seeds"])
    *before, place, after = prepare([f"resume={folder}", "train.epochs=9"])
    assert before == ["model=textcnn", "seed=7"]
    assert after == "train.epochs=9"
    assert place.startswith("hydra.run.dir=")
    value = OverridesParser.create().parse_override(place).value()
    assert OmegaConf.create({"x": value}).x == str(folder)


@given(st.text(st.characters(exclude_categories=["C", "Z"], exclude_characters="\\$"), min_size=1))
def test_any_text_can_be_quoted(text: str) -> None:
    assert OverridesParser.create().parse_override(f"x={quoted(text)}").value() == text


@pytest.mark.parametrize("nothing", ["resume=", "resume=null", "resume=''"])
def test_resume_may_be_empty(nothing: str) -> None:
    assert prepare([nothing, "seed=1"]) == [nothing, "seed=1"]


def refusal(arguments: list[str]) -> str:
    with pytest.raises(UserError) as caught:
        prepare(arguments)
    (problem,) = caught.value.problems
    return str(problem)


def test_resume_of_no_run_names_those_that_are_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert refusal(["resume=nowhere"]) == "resume: 'nowhere' is no run folder: it has no .hydra/overrides.yaml."
    saved_run(tmp_path / "outputs" / "table" / "textcnn" / "now", [])
    assert refusal(["resume=nowhere"]).endswith("Runs there: outputs/table/textcnn/now.")
    assert refusal(["resume=outputs/table/textcnn/then"]).endswith("Runs there: outputs/table/textcnn/now.")


@pytest.mark.parametrize("content", ["a: 1", "[", "\x00", "3"])
def test_resume_of_a_damaged_run(tmp_path: Path, content: str) -> None:
    (saved_run(tmp_path / "run", []) / ".hydra" / "overrides.yaml").write_text(content)
    assert "overrides.yaml: " in refusal([f"resume={tmp_path / 'run'}"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["-m", "resume=x"], "resume: continues a single run. To resume a multirun, give the same command again."),
        (["sweep=three_seeds"], "sweep=three_seeds: starts several jobs, but this is a single run. Add -m."),
        (["--multirunn"], "command line: there is no option --multirunn. Did you mean '--multirun'?"),
        (["--cfg", "nonsense"], "command line: argument --cfg/-c: invalid choice: 'nonsense'"),
    ],
)
def test_refuses_options_that_cannot_be_meant(arguments: list[str], said: str) -> None:
    assert refusal(arguments).startswith(said)


def test_showing_a_sweeps_config_needs_no_m() -> None:
    assert prepare(["sweep=three_seeds", "--cfg", "all"]) == ["sweep=three_seeds", "--cfg", "all"]
