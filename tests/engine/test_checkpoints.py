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

from counterpoise.data.cache import folder_checksums
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
    steps = ["save_model", "torch.save", "write_json", "folder_checksums"]
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
        manifest = read_json(tmp_path / "last" / "manifest.json")
        write_json(tmp_path / "last" / "manifest.json", {**manifest, "checksums": folder_checksums(tmp_path / "last")})
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
    write_json(tmp_path / "last" / "manifest.json", {**manifest, "format": FORMAT + 1})
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
