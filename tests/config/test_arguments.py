"""The command line before Hydra sees it: resuming, the names of a multirun's folders, unknown options."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from counterpoise.config.arguments import is_multirun, parse_options, prepare
from counterpoise.config.overrides import literal, quoted
from counterpoise.config.resolvers import job_folder
from counterpoise.errors import UserError
from counterpoise.names import LONGEST_FOLDER


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


def test_of_a_key_that_is_given_twice_the_last_counts() -> None:
    assert excluded(["-m", "seed=1", "model=textcnn", "seed=1,2"]) == ["model"]
    assert folder_of(["-m", "seed=1", "model=gnn", "seed=1,2", "model=textcnn"]) == "seed-model_textcnn"


def test_a_folder_that_was_given_is_kept() -> None:
    assert sum("hydra.sweep.dir" in item for item in prepare(["-m", "seed=1,2", "hydra.sweep.dir=mine"])) == 1


@pytest.mark.parametrize(
    "override",
    ["data.path='a/b c, d$(e)'", 'data.path="it\'s"', "data.path=" + "x" * 500, f"data.path='{'河山' * 90}'"],
)
def test_a_folder_has_a_safe_name_whatever_is_fixed(override: str) -> None:
    name = folder_of(["-m", "seed=1,2", override])
    assert "/" not in name
    assert len(name.encode()) <= LONGEST_FOLDER
    assert all(c.isalnum() or c in "._-" for c in name)
    assert folder_of(["-m", override, "seed=1,2"]) == name


ALIKE = (
    *("'a/b.csv'", "'a_b.csv'", "'a b.csv'", "'ab.csv'", "'a:b.csv'", "'a=b.csv'", "'a,b.csv'", "'_a_b.csv'"),
    *(
        "'a_b.csv_'",
        "'a_b.csv,seed=1'",
        "'a_b.csv-seed=1'",
        "'é.csv'",
        "'e\u0301.csv'",
        "'~'",
        "'?'",
        "1",
        "'1'",
        "'null'",
    ),
    *("null", "'" + "河" * 150 + "'", "'" + "河" * 151 + "'", "'" + "x" * 300 + "'", "'" + "x" * 301 + "'"),
)
"""Values that one name could stand for."""


def test_other_values_give_other_folders_to_multiruns_and_jobs() -> None:
    multiruns = {folder_of(["-m", "seed=1,2", f"data.path={value}"]) for value in ALIKE}
    jobs = {job_folder([f"data.path={value}", "seed=1"]) for value in ALIKE}
    assert len(multiruns) == len(jobs) == len(ALIKE)
    assert max(len(name.encode()) for name in multiruns | jobs) <= LONGEST_FOLDER


def test_a_value_with_or_without_quotes_is_one_value() -> None:
    assert job_folder(["data.path='tiny.csv'"]) == job_folder(["data.path=tiny.csv"]) == "data.path_tiny.csv"
    assert folder_of(["-m", "seed=1,2", "data.path='tiny.csv'"]) == "seed-data.path_tiny.csv"


def test_a_jobs_folder_says_what_varies() -> None:
    overrides = ["seed=1", "optimizer.lr=0.001", "model=demo", "data.path=${oc.env:NOBODY}"]
    assert job_folder(OmegaConf.create(overrides), ["model", "data.path"]) == "optimizer.lr_0.001,seed_1"
    assert job_folder(["optimizer.lr=1e-3", "seed=-1"]) == "optimizer.lr_0.001,seed_-1"
    assert job_folder(["seed=1"], ["seed"]) == job_folder([]) == "job"


def test_long_names_are_cut_but_differ() -> None:
    names = {job_folder(["x=" + "x" * 200 + str(number)]) for number in range(50)}
    assert len(names) == 50
    assert max(map(len, names)) == LONGEST_FOLDER


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


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.from_regex(r"[a-z][a-z_0-9.]{0,5}", fullmatch=True), inner)
    ),
    max_leaves=5,
)


@given(PLAIN)
@example("${x}")
@example("\\${x}")
@example("a (1),b=c.csv'\\")
def test_any_value_can_be_written_for_hydra(value: object) -> None:
    read = OverridesParser.create().parse_override(f"x={literal(value)}").value()
    assert OmegaConf.to_container(OmegaConf.create({"x": read}), resolve=True) == {"x": value}


@given(st.text(min_size=1))
def test_any_text_can_be_quoted(text: str) -> None:
    value = OverridesParser.create().parse_override(f"x={quoted(text)}").value()
    assert OmegaConf.create({"x": value}).x == text


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
