"""``~`` in every path of every command: found where it lies, and never made as a folder of that name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import SMALL, Answer

from counterpoise.cli.evaluate import evaluate
from counterpoise.cli.explain import explain
from counterpoise.cli.predict import predict
from counterpoise.cli.report import report

Train = Callable[..., Answer]


@pytest.fixture
def home(fresh: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with the table in it; the working folder has none."""
    home = tmp_path / "home"
    home.mkdir()
    (fresh / "tiny.csv").rename(home / "tiny.csv")
    monkeypatch.setenv("HOME", str(home))
    return home


HOME = (*SMALL, "data.path=~/tiny.csv", "paths.cache=~/cache")


def run_in(folder: Path) -> bool:
    return len(list(folder.rglob("result.json"))) == 1


def test_of_single_runs(train: Train, fresh: Path, home: Path) -> None:
    assert train(*HOME, "hydra.run.dir=~/named", folder=fresh).code == 0
    assert run_in(home / "named")
    assert train("resume=~/named", folder=fresh).code == 0
    compared = ("protocol.reference=~/named", "protocol.f1_gap=0.9", "mirror.url=file://~/copies")
    assert train(*HOME, *compared, "paths.outputs='~/o'", folder=fresh).code == 0
    assert run_in(home / "o")
    assert list((home / "copies").rglob("mirror.json"))
    assert not [*fresh.rglob("*")], "nothing was written where the command ran"


def test_of_a_config_folder(train: Train, fresh: Path, home: Path) -> None:
    (home / "conf" / "experiment").mkdir(parents=True)
    (home / "conf" / "experiment" / "mine.yaml").write_text("# @package _global_\nhydra: {run: {dir: ~/of_yaml}}\n")
    answer = train("--config-dir=~/conf", "experiment=mine", *HOME, folder=fresh)
    assert (answer.code, run_in(home / "of_yaml")) == (0, True)


@pytest.mark.parametrize(("key", "place"), [("paths.multirun", "*/*"), ("hydra.sweep.dir", "*")])
def test_of_multiruns(train: Train, fresh: Path, home: Path, key: str, place: str) -> None:
    assert train("-m", *HOME, "seed=1,2", f"{key}=~/m", folder=fresh).code == 0
    assert len(list((home / "m").glob(f"{place}/result.json"))) == 2
    assert not [*fresh.rglob("*")]


def test_of_the_other_commands(
    train: Train, fresh: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(*HOME, "hydra.run.dir=~/r", folder=fresh).code == 0
    monkeypatch.chdir(fresh)
    assert report(["~/r", "--out=~/rep"]) == 0
    assert (home / "rep" / "report.html").is_file()
    assert predict(["run=~/r", "input=[~/tiny.csv]", "output=~/p.csv"]) == 0
    assert (home / "p.csv").is_file()
    assert evaluate(["run=~/r", "input=~/tiny.csv", "out=~/e"]) == 0
    assert (home / "e" / "evaluation_input_tiny.json").is_file()
    capfd.readouterr()
    assert explain(["run=~/r", "out=~/x"]) == 2  # of another kind of model
    assert str(home / "r") in capfd.readouterr().err
    assert not [*fresh.rglob("*")]


def test_an_unknown_user_is_one_message(train: Train, fresh: Path, home: Path) -> None:
    for key in ("hydra.run.dir", "paths.outputs", "paths.cache", "data.path"):
        answer = train(*HOME, f"{key}=~nobody-here/x", folder=fresh)
        assert answer.code == 2
        assert len(answer.problems) == 1
        assert "names the home folder of a user" in answer.problems[0]
    assert not [*fresh.rglob("*")]
