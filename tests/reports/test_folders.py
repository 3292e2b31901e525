"""Run folders are found below any folder, in natural order, and suggested where a path is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoise.jsonio import write_json
from counterpoise.reports.folders import MARKS, find_runs, runs_near


def run(folder: Path, mark: str = MARKS[0]) -> Path:
    write_json(folder / mark, {})
    return folder


def test_a_run_folder_is_itself(tmp_path: Path) -> None:
    run(tmp_path)
    run(tmp_path / "checkpoints")
    assert find_runs(tmp_path) == [tmp_path]


@pytest.mark.parametrize("mark", MARKS)
def test_every_state_of_a_run_is_found(mark: str, tmp_path: Path) -> None:
    assert find_runs(tmp_path.parent / tmp_path.name) == []
    run(tmp_path / "a" / "b", mark)
    assert find_runs(tmp_path) == [tmp_path / "a" / "b"]


def test_runs_stand_in_natural_order(tmp_path: Path) -> None:
    names = ["lr_5e-05,seed_7", "lr_5e-05,seed_42", "lr_0.001,seed_7", "model_bilstm", "model_textcnn"]
    for name in sorted(names):
        run(tmp_path / name)
    assert [found.name for found in find_runs(tmp_path)] == names


def test_what_is_no_folder_holds_no_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert find_runs(tmp_path / "file") == find_runs(tmp_path / "absent") == []


def test_the_nearest_runs_are_suggested(tmp_path: Path) -> None:
    for name in ("seed_7", "seed_42", "seed_2025", "other"):
        run(tmp_path / "sweep" / name)
    assert runs_near(tmp_path / "sweep" / "seed_43")[0] == tmp_path / "sweep" / "seed_42"
    assert len(runs_near(tmp_path / "sweeep" / "seed_7")) == 3


def test_the_working_directory_is_not_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(tmp_path / "elsewhere")
    run(tmp_path / "outputs" / "demo_code" / "textcnn" / "one")
    monkeypatch.chdir(tmp_path)
    assert runs_near(Path("output/demo_code")) == [Path("outputs/demo_code/textcnn/one")]
    assert runs_near(tmp_path / "nope") == [Path("outputs/demo_code/textcnn/one")]
