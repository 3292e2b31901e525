"""``~`` wherever a path can be typed: on the command line, and in one place of the code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

import counterpoise
from counterpoise.cli.settings import read_settings
from counterpoise.config.home import as_typed
from counterpoise.errors import UserError
from counterpoise.hub import local_or_hub
from counterpoise.paths import user_path
from counterpoise.predict import PredictConfig


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def read(argument: str) -> Any:
    (typed,) = as_typed([argument])
    return OverridesParser.create().parse_override(typed).value()


@pytest.mark.parametrize(
    ("argument", "value"),
    [
        ("data.path=~/x.csv", "~/x.csv"),
        ("data.path=~", "~"),
        ("data.path='~/a b.csv'", "~/a b.csv"),
        ('data.path="~/x.csv"', "~/x.csv"),
        ("data.path=~/a b.csv", "~/a b.csv"),
        ("data.path=~ann/x.csv", "~ann/x.csv"),
        ("data.path=x~", "x~"),
        ("mirror.url=file://~/copies", "file://~/copies"),
        ("hydra.run.dir=~/${seed}/x", "~/${seed}/x"),
        ("extensions=[~/a,b,'~/c']", ["~/a", "b", "~/c"]),
        ("seed=7", 7),
        ("model.lr={a: 1}", {"a": 1}),
    ],
)
def test_a_value_with_a_tilde_can_be_read(argument: str, value: Any) -> None:
    assert read(argument) == value


def test_a_sweep_over_paths_stays_one() -> None:
    for argument in ("data.path=~/a.csv,~/b.csv", "data.path=choice(~/a.csv,~/b.csv)"):
        (typed,) = as_typed([argument])
        override = OverridesParser.create().parse_override(typed)
        assert override.is_sweep_override()
        assert [str(item).strip("'") for item in override.sweep_string_iterator()] == ["~/a.csv", "~/b.csv"]


def test_what_is_no_value_stays(home: Path) -> None:
    given = ["~data.path", "-m", "--cfg", "job", "model=textcnn", "+a.b=c"]
    assert as_typed(given) == given
    for typed in (["--config-dir=~/conf"], ["--config-dir", "~/conf"], ["-cd", "~/conf"]):
        assert as_typed(typed)[-1].endswith(f"{home}/conf")
    assert as_typed(["--config-dir=conf"]) == ["--config-dir=conf"]


def test_lists_of_files_are_read_as_they_stand() -> None:
    def inputs(value: str) -> tuple[str, ...] | str:
        return read_settings(PredictConfig, ["run=~/r", f"input={value}"]).input

    assert inputs("[~/x.csv]") == ("~/x.csv",)
    assert inputs("[~/x.csv, b (1).c,'a, b.c',-]") == ("~/x.csv", "b (1).c", "a, b.c", "-")
    assert inputs("[]") == ()
    assert inputs("~/x=1.csv") == "~/x=1.csv"


def test_a_folder_of_the_home_is_no_name_on_the_hub(home: Path) -> None:
    (home / "codebert").mkdir()
    assert local_or_hub("~/codebert", "model.pretrained") == str(home / "codebert")
    assert local_or_hub("owner/name", "model.pretrained") == "owner/name"


def test_an_unknown_user_is_told_with_the_key() -> None:
    with pytest.raises(UserError, match=r"^data\.path: '~nobody-here/x' names the home folder of a user"):
        user_path("~nobody-here/x", "data.path")


# Handled at each place anew it was expanded here, taken for a hub name there, and made as a folder elsewhere.
def test_one_place_expands_it() -> None:
    source = Path(counterpoise.__file__).parent
    found = [path.name for path in source.rglob("*.py") if "expanduser" in path.read_text(encoding="utf-8")]
    assert found == ["paths.py"]
