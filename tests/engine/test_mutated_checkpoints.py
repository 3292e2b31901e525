"""Damaged checkpoints and mirrors, by the hundred: what is taken up is whole and right, or nothing is taken up."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import pytest
from engine_kit import Recorder, Setup, assert_same_bits
from mirror_kit import METADATA, fit, mirror_of

from counterpoise.engine.checkpoints import BEST, FIRST, HEALTHY, LAST, PREVIOUS, Checkpoint, CheckpointStore
from counterpoise.engine.restore import restore, restore_from
from counterpoise.engine.trainer import Trainer
from counterpoise.errors import UserError
from counterpoise.guards.rescue import RescueConfig
from counterpoise.tracking.folder import RunFolder
from mutations import Mutation, contents, copied, files_below

PER_TEST = 20
CHECKPOINTS, MIRRORS = 120, 40
T = TypeVar("T")


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a run that was cut off within its third epoch."""
    folder = tmp_path_factory.mktemp("checkpoints") / "base"
    with pytest.raises(KeyboardInterrupt):
        setup(folder).fit(Recorder(fail_at=25))
    assert {path.name for path in folder.iterdir()} == {LAST, PREVIOUS, BEST, FIRST, HEALTHY}
    return folder


def setup(folder: Path) -> Setup:
    return Setup(folder=folder, rescue=RescueConfig())


def resumed(folder: Path) -> Trainer:
    trainer = setup(folder).trainer()
    trainer.state.resume()
    return trainer


def taken_up(trainer: Trainer) -> dict[str, Any]:
    """All that a run goes on from."""
    return {**trainer.state.state_dict(), "model": {k: v.clone() for k, v in trainer.module.state_dict().items()}}


def attempt(action: Callable[[], T]) -> tuple[T | None, str]:
    """What came of it, or how it was refused."""
    try:
        return action(), ""
    except UserError as error:
        return None, str(error)


def state_of(checkpoint: Checkpoint) -> dict[str, Any]:
    return dict(checkpoint.load_state())


@pytest.mark.parametrize("start", range(0, CHECKPOINTS, PER_TEST))
def test_a_run_goes_on_from_a_whole_checkpoint_or_not_at_all(start: int, stopped: Path, tmp_path: Path) -> None:
    newest = taken_up(resumed(copied(stopped, tmp_path / "whole")))
    shutil.rmtree(tmp_path / "whole" / LAST)
    before = taken_up(resumed(tmp_path / "whole"))
    assert newest["position"]["update"] > before["position"]["update"]
    reserves = {name: state_of(Checkpoint(stopped / name, {})) for name in (FIRST, HEALTHY)}
    for number in range(start, start + PER_TEST):
        folder = copied(stopped, tmp_path / "run")
        path, label = Mutation(number).apply(folder, files_below(folder))
        good = contents(folder)
        trainer, refusal = attempt(lambda folder=folder: resumed(folder))
        if trainer is None:
            assert path.parent.name in refusal, label
            assert "remove the run folder to start over" in refusal.lower(), label
            assert contents(folder) == good, f"{label}: a refusal changed something"
            continue
        found = taken_up(trainer)
        expected = newest if found["position"] == newest["position"] else before
        try:
            assert_same_bits(found, expected)
            assert trainer.checkpoints is not None
            for name in (FIRST, HEALTHY):
                reserve = trainer.checkpoints.healthy(first=name == FIRST)
                if reserve is not None:
                    # A healthy checkpoint is linked again if the newest is one: then it is as good.
                    assert_same_bits(state_of(reserve), reserves[name])
        except AssertionError as error:
            raise AssertionError(label) from error
        trainer.state.save()  # what lies in the way must not stand in the way of the next one
        assert_same_bits(taken_up(resumed(folder)), found)


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store, and the run folder as it comes back from it."""
    place = tmp_path_factory.mktemp("mirror")
    folder = place / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        patch.chdir(place)
        fit(folder, mirror_of(folder, f"file://{place}/store"))
        shutil.rmtree(folder)
        assert restore(mirror_of(folder, f"file://{place}/store"), RunFolder(folder), METADATA)
    return place


HOW: dict[str, Callable[[], object]] = {
    "same command": lambda: restore(
        mirror_of(Path("run"), f"file://{Path.cwd()}/store"), RunFolder(Path("run")), METADATA
    ),
    "resume=URL": lambda: restore_from(f"file://{Path.cwd()}/store/run"),
}


@pytest.mark.parametrize("start", range(0, MIRRORS // 2, PER_TEST))
@pytest.mark.parametrize("how", HOW)
def test_a_damaged_mirror_gives_back_the_run_or_nothing(
    how: str, start: int, mirrored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    expected = contents(mirrored / "run")
    for number in range(start, start + PER_TEST):
        store = copied(mirrored / "store", tmp_path / "store")
        shutil.rmtree(tmp_path / "run", ignore_errors=True)
        _, label = Mutation(number + (500 if how == "resume=URL" else 0)).apply(store, files_below(store))
        good = contents(store)
        refusal = attempt(HOW[how])[1]
        if refusal:
            assert f"file://{store}/run is damaged" in refusal, label
            assert contents(tmp_path / "run") == {}, f"{label}: something was left"
            assert contents(store) == good, label
            continue
        assert contents(tmp_path / "run") == expected, label
        assert CheckpointStore(tmp_path / "run" / "checkpoints").newest() is not None
