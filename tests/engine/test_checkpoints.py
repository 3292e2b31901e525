"""What a checkpoint survives, and what it refuses."""

from __future__ import annotations

import logging
import pickle
import random
import shutil
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

import pytest
import torch
from engine_kit import Setup, assert_same_bits, final_state
from torch import nn

from counterpoise.data.cache import read_manifest, write_manifest
from counterpoise.engine.checkpoints import FORMAT, CheckpointStore
from counterpoise.errors import UserError
from counterpoise.jsonio import read_json, write_json

FILES = ["model.safetensors", "state.pt", "manifest.json"]


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)


def store_with(folder: Path, *values: float) -> CheckpointStore:
    store = CheckpointStore(folder, {"data": "abc"})
    for value in values:
        store.save_last(linear(value), {"value": value, "tensor": torch.full((300,), value)}, {"update": int(value)})
    return store


def linear(value: float) -> nn.Linear:
    model = nn.Linear(3, 2)
    for parameter in model.parameters():
        nn.init.constant_(parameter, value)
    return model


def value_of(store: CheckpointStore) -> float:
    checkpoint = store.newest()
    assert checkpoint is not None
    model = nn.Linear(3, 2)
    checkpoint.load_model(model)
    state = checkpoint.load_state()
    assert torch.equal(model.weight, torch.full((2, 3), state["value"]))
    assert torch.equal(state["tensor"], torch.full((300,), state["value"]))
    return float(state["value"])


def flip_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    at = random.Random(1).randrange(len(content))
    content[len(content) // 2 if path.suffix == ".json" else at] ^= 0x80
    path.write_bytes(bytes(content))


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove(path: Path) -> None:
    path.unlink()


def test_nothing_there(tmp_path: Path) -> None:
    assert CheckpointStore(tmp_path / "none").newest() is None
    assert CheckpointStore(tmp_path / "none").best() is None


def test_newest_previous_and_manifest(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1.0, 2.0, 3.0)
    assert value_of(store) == 3.0
    manifest = read_json(tmp_path / "last" / "manifest.json")
    assert manifest["position"] == {"update": 3}
    assert manifest["identity"] == {"data": "abc"}
    assert manifest["versions"]["torch"] == version("torch")
    assert set(manifest["checksums"]) == {"model.safetensors", "state.pt"}
    shutil.rmtree(tmp_path / "last")  # killed between the renamings
    assert value_of(store) == 2.0


@pytest.mark.parametrize("name", ["data_fingerprint", "model"])
def test_anothers_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    identity = {"data_fingerprint": "abc", "model": "TextCNN"}
    store = CheckpointStore(tmp_path, identity)
    store.save_last(linear(1.0), {}, {})
    store.save_best(linear(1.0), {})
    assert CheckpointStore(tmp_path, identity).newest() is not None
    assert CheckpointStore(tmp_path).best() is not None  # whoever only looks need not know
    other = CheckpointStore(tmp_path, {**identity, name: "other"})
    for read in (other.newest, other.best):
        with pytest.raises(UserError, match=f"{name} is '{identity[name]}', but this run's is 'other'"):
            read()


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", [flip_bit, truncate, remove])
def test_a_damaged_last_falls_back(tmp_path: Path, file: str, harm, caplog: pytest.LogCaptureFixture) -> None:
    store = store_with(tmp_path, 1.0, 2.0)
    harm(tmp_path / "last" / file)
    with caplog.at_level(logging.WARNING):
        assert value_of(store) == 1.0
    assert "damaged" in caplog.text
    assert str(tmp_path / "previous") in caplog.text
    # The whole one is not given up for the damaged one, at no moment of the next save.
    original = Path.rename

    def interrupted(self: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        with pytest.raises(KeyboardInterrupt):
            store.save_last(linear(5.0), {"value": 5.0}, {})
    assert Path.rename is original
    assert value_of(CheckpointStore(tmp_path)) == 1.0
    store = CheckpointStore(tmp_path)
    store.newest()
    store.save_last(linear(6.0), {"value": 6.0, "tensor": torch.full((300,), 6.0)}, {})
    assert value_of(store) == 6.0
    shutil.rmtree(tmp_path / "last")
    assert value_of(store) == 1.0


@pytest.mark.parametrize("file", FILES)
def test_both_damaged_is_the_users_to_decide(tmp_path: Path, file: str) -> None:
    store = store_with(tmp_path, 1.0, 2.0)
    for name in ("last", "previous"):
        truncate(tmp_path / name / file)
    with pytest.raises(UserError, match="no checkpoint is whole") as caught:
        store.newest()
    assert len(caught.value.problems) == 3


def test_killed_while_writing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = store_with(tmp_path, 1.0, 2.0)
    steps = ["save_model", "torch.save", "write_manifest", "_versions"]
    for step in steps:
        with monkeypatch.context() as patch:
            patch.setattr(f"counterpoise.engine.checkpoints.{step}", lambda *a, **k: (_ for _ in ()).throw(SystemExit))
            with pytest.raises(SystemExit):
                store.save_last(linear(9.0), {"value": 9.0}, {})
        assert value_of(CheckpointStore(tmp_path)) == 2.0
    assert (tmp_path / ".last.writing").exists()
    store.save_last(linear(3.0), {"value": 3.0, "tensor": torch.full((300,), 3.0)}, {})
    assert value_of(store) == 3.0
    assert not (tmp_path / ".last.writing").exists()


@pytest.mark.parametrize("at", [1, 2])
def test_killed_between_renamings(tmp_path: Path, at: int, monkeypatch: pytest.MonkeyPatch) -> None:
    original = Path.rename
    for save in ("save_last", "save_best"):
        store = store_with(tmp_path / save, 1.0, 2.0)
        store.save_best(linear(2.0), {"update": 2})
        calls = iter(range(1, 9))

        def rename(self: Path, target: Path, calls=calls) -> Path:
            if next(calls) == at:
                raise SystemExit
            return original(self, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "rename", rename)
            with pytest.raises(SystemExit):
                store.save_last(linear(3.0), {"value": 3.0}, {}) if save == "save_last" else store.save_best(
                    linear(3.0), {}
                )
        assert value_of(CheckpointStore(tmp_path / save)) == 2.0
        best = CheckpointStore(tmp_path / save).best()
        assert best is not None
        model = linear(0.0)
        best.load_model(model)
        assert float(model.weight.detach()[0, 0]) == 2.0


class Malice:
    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self):
        return Path.touch, (self.target,)


def test_a_malicious_state_is_not_executed(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1.0)
    for content in (pickle.dumps(Malice(tmp_path / "owned")), None):
        state = tmp_path / "last" / "state.pt"
        if content is None:
            torch.save({"value": Malice(tmp_path / "owned")}, state)
        else:
            state.write_bytes(content)
        write_manifest(tmp_path / "last", read_manifest(tmp_path / "last"))
        checkpoint = store.newest()
        assert checkpoint is not None
        with pytest.raises(UserError, match="could run code"):
            checkpoint.load_state()
        assert not (tmp_path / "owned").exists()


def test_what_could_not_be_loaded_is_not_saved(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1.0)
    with pytest.raises(UserError, match="more than numbers"):
        store.save_last(linear(2.0), {"value": Path("x")}, {})
    assert value_of(store) == 1.0


def test_another_format_is_named(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1.0)
    manifest = read_json(tmp_path / "last" / "manifest.json")
    write_manifest(tmp_path / "last", {**manifest, "format": FORMAT + 1})
    with pytest.raises(UserError, match=f"format {FORMAT + 1}"):
        store.newest()


def test_a_run_goes_on_from_the_one_before(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    whole = Setup(folder=tmp_path / "whole").fit()
    setup = Setup(folder=tmp_path / "cut")
    replace(setup, epochs=2, schedule="constant").trainer()  # building alone writes nothing
    assert not (tmp_path / "cut").exists()
    setup.fit()
    truncate(tmp_path / "cut" / "last" / "state.pt")
    with caplog.at_level(logging.WARNING):
        again = setup.fit()
    assert "Falling back" in caplog.text
    assert len(again.module.trace) == 3  # from update 27 on
    assert_same_bits(final_state(whole), final_state(again))


def test_tied_weights(tmp_path: Path) -> None:
    def tied() -> nn.Module:
        model = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
        model["b"].weight = model["a"].weight
        return model

    model = tied()
    store = CheckpointStore(tmp_path)
    store.save_last(model, {}, {})
    other = tied()
    checkpoint = store.newest()
    assert checkpoint is not None
    checkpoint.load_model(other)
    assert_same_bits(dict(model.state_dict()), dict(other.state_dict()))
    assert other["b"].weight is other["a"].weight


IN_THE_WAY = {
    "file": lambda path: path.write_text("x"),
    "loop": lambda path: path.symlink_to(path.name),
    "dangling": lambda path: path.symlink_to("nowhere"),
    "empty": lambda path: path.mkdir(),
}


@pytest.mark.parametrize("kind", IN_THE_WAY)
@pytest.mark.parametrize("name", ["last", "previous", "healthy", "first", "best", ".last.writing", ".best.retired"])
def test_whatever_lies_in_the_place_of_a_folder_is_no_checkpoint_and_stops_no_save(
    name: str, kind: str, tmp_path: Path
) -> None:
    store = store_with(tmp_path, 1.0, 2.0)
    if (tmp_path / name).exists():
        shutil.rmtree(tmp_path / name)
    IN_THE_WAY[kind](tmp_path / name)
    assert value_of(store) == (1.0 if name == "last" else 2.0)
    for value in (3.0, 4.0):
        store.save_last(linear(value), {"value": value, "tensor": torch.full((300,), value)}, {}, healthy=True)
        assert value_of(CheckpointStore(tmp_path)) == value
    store.save_best(linear(5.0), {})
    assert store.best() is not None


@pytest.mark.parametrize("position", [None, [], 3, {"update": -1}, {"update": "3"}, {"update": 2**63}, {"update": 0.5}])
def test_a_position_that_is_none_is_damage(position: object, tmp_path: Path) -> None:
    store = store_with(tmp_path, 1.0, 2.0)
    write_manifest(tmp_path / "last", {**read_manifest(tmp_path / "last"), "position": position})
    assert value_of(store) == 1.0


def test_best_weights_and_whole_states_do_not_stand_in_for_each_other(tmp_path: Path) -> None:
    store = store_with(tmp_path, 1.0, 2.0)
    store.save_best(linear(2.0), {"update": 2})
    (tmp_path / "best").rename(tmp_path / "b")
    (tmp_path / "last").rename(tmp_path / "best")
    (tmp_path / "b").rename(tmp_path / "last")
    assert value_of(store) == 1.0
    with pytest.raises(UserError, match=r"lists model\.safetensors, state\.pt rather than model\.safetensors"):
        store.best()


@pytest.mark.parametrize("format", [0, 3])
def test_a_format_without_seals_is_named_too(format: int, tmp_path: Path) -> None:
    store = store_with(tmp_path, 1.0)
    write_json(tmp_path / "last" / "manifest.json", {**read_manifest(tmp_path / "last"), "format": format})
    with pytest.raises(UserError, match=f"format {format}, but this version reads {FORMAT}"):
        store.newest()


def test_a_state_of_another_moment_than_its_manifests_is_refused(tmp_path: Path) -> None:
    setup = Setup(folder=tmp_path)
    setup.fit()
    shutil.copy(tmp_path / "previous" / "state.pt", tmp_path / "last" / "state.pt")
    write_manifest(tmp_path / "last", read_manifest(tmp_path / "last"))
    with pytest.raises(UserError, match=r"last: holds no state that this run can go on from: ValueError: it is of"):
        setup.trainer().state.resume()


@pytest.mark.parametrize("state", [{}, {"position": 3}, [], None, 7, {"position": {"update": 0}, "history": []}])
def test_a_state_of_another_shape_is_refused(state: object, tmp_path: Path) -> None:
    setup = Setup(folder=tmp_path)
    setup.fit()
    torch.save(state, tmp_path / "last" / "state.pt")
    write_manifest(tmp_path / "last", read_manifest(tmp_path / "last"))
    with pytest.raises(UserError, match="holds no state that this run can go on from"):
        setup.trainer().state.resume()


# Without them the run cannot end; hours of training come before that.
@pytest.mark.parametrize("harm", [lambda best: truncate(best / "model.safetensors"), shutil.rmtree])
def test_best_weights_that_are_not_whole_are_found_out_before_training(tmp_path: Path, harm) -> None:
    setup = Setup(folder=tmp_path)
    replace(setup, epochs=1, schedule="constant").fit()
    harm(tmp_path / "best")
    with pytest.raises(UserError, match=r"best: .*(damaged|gone).* to start over\."):
        replace(setup, schedule="constant").fit()
