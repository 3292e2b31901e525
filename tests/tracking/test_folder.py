"""The run folder belongs to one config and to one process at a time."""

from __future__ import annotations

import errno
import hashlib
import os
import subprocess
import sys
from pathlib import Path
from threading import Timer
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from filelock import FileLock

from counterpoise.config.experiment import FREE
from counterpoise.errors import UserError
from counterpoise.jsonio import read_json, write_json
from counterpoise.storage import Storage
from counterpoise.tracking import folder as run_folder
from counterpoise.tracking.folder import FolderInUseError, RunFolder, decisive, differences, write_predictions
from mutations import contents

CONFIG: dict[str, Any] = {
    "seed": 1,
    "train": {"epochs": 3, "checkpoint_seconds": 60.0},
    "optimizer": {"lr": 0.1, "betas": (0.9, 0.999)},
    "tracker": {"_target_": "x"},
}
FACTS = {"plan": {"total_updates": 10, "lr": float("nan")}, "data_fingerprint": "abc", "hardware": "here"}
HYDRA = {"overrides.yaml": ["seed=1"], "config.yaml": {"seed": 1}}


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(tmp_path / "run")
    folder.claim(CONFIG, FACTS, HYDRA)
    return folder


def refusal(folder: RunFolder, config: Any = CONFIG, facts: Any = FACTS) -> list[str]:
    with pytest.raises(UserError) as caught:
        folder.check(config, facts)
    return [str(problem) for problem in caught.value.problems]


def test_a_claimed_folder_says_whose_it_is(folder: RunFolder) -> None:
    metadata = read_json(folder.metadata)
    assert metadata["config"]["optimizer"]["betas"] == [0.9, 0.999]
    assert metadata["plan"]["total_updates"] == 10
    assert (folder.path / ".hydra" / "overrides.yaml").read_text() == "- seed=1\n"


def test_the_same_config_may_have_it_again_and_changes_nothing(folder: RunFolder) -> None:
    before = folder.metadata.stat().st_mtime_ns
    folder.claim(CONFIG, FACTS, {})
    assert folder.metadata.stat().st_mtime_ns == before


def test_checksums_of_artefacts_are_kept_and_come_to_an_older_run(folder: RunFolder, tmp_path: Path) -> None:
    source = tmp_path / "tokenizer.json"
    for content in (b"first", b"second"):
        source.write_bytes(content)
        folder.check(CONFIG, FACTS)
        folder.claim(CONFIG, FACTS, {}, {"tokenizer.json": source})
        assert read_json(folder.metadata)["artefacts"] == {
            "tokenizer.json": hashlib.blake2b(content, digest_size=16).hexdigest()
        }
        assert read_json(folder.metadata)["plan"]["total_updates"] == 10
        assert (folder.path / "tokenizer.json").read_bytes() == content


def test_a_claim_that_the_disk_refuses_takes_nothing_of_the_run_away(
    folder: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder.checkpoints / "last").mkdir()
    (folder.checkpoints / "last" / "state.pt").write_bytes(b"hours of work")
    before = contents(folder.path)
    source = tmp_path / "tokenizer.json"
    source.write_bytes(b"made again by another version")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(run_folder, "write_json", full)
    with pytest.raises(UserError, match="No space left"):
        folder.claim(CONFIG, FACTS, {}, {"tokenizer.json": source})
    assert contents(folder.path) == before


@pytest.mark.parametrize("name", ["result.json", "training_metadata.json", "training.log", "checkpoints", ".lock"])
def test_what_an_encoding_keeps_is_no_file_of_the_run(folder: RunFolder, tmp_path: Path, name: str) -> None:
    """A cache entry lists the files that are copied, and others may have written it."""
    before = contents(folder.path)
    source = tmp_path / "kept"
    source.write_bytes(b"{}")
    with pytest.raises(UserError, match="one of the run's own"):
        folder.claim(CONFIG, FACTS, {}, {name: source})
    assert contents(folder.path) == before


def test_another_config_is_refused_naming_every_difference(folder: RunFolder) -> None:
    other = {**CONFIG, "seed": 2, "optimizer": {"lr": None, "eps": 1e-8, "betas": (0.9, 0.999)}}
    *found, remedy = refusal(folder, other)
    assert found == [
        "seed: was 1, but is 2 now.",
        "optimizer.lr: was 0.1, but is null now.",
        "optimizer.eps: was null, but is 1e-08 now.",
    ]
    assert "holds a run with another config" in remedy
    assert "hydra.run.dir" in remedy


def test_other_data_or_another_plan_is_refused(folder: RunFolder) -> None:
    *found, _ = refusal(folder, facts={**FACTS, "data_fingerprint": "xyz", "plan": {"total_updates": 12, "lr": None}})
    assert found == ["plan.total_updates: was 10, but is 12 now.", "data_fingerprint: was 'abc', but is 'xyz' now."]


def test_facts_that_are_not_known_yet_are_not_compared(folder: RunFolder) -> None:
    folder.check(CONFIG, {"data_fingerprint": "abc"})
    assert refusal(folder, facts={"data_fingerprint": "xyz"})[0].startswith("data_fingerprint: was 'abc'")
    assert refusal(folder, {**CONFIG, "seed": 2}, {})[0] == "seed: was 1, but is 2 now."


def test_what_changes_no_result_may_differ(folder: RunFolder) -> None:
    train = {"epochs": 3, "checkpoint_seconds": 1.0, "checkpoint_updates": 5}
    free = {"tracker": {"_target_": "y"}, "paths": {"cache": "z"}, "hardware": {"workers": 3}, "resume": "r"}
    folder.check({**CONFIG, "train": train, **free}, {**FACTS, "hardware": "there"})


def test_a_key_that_only_begins_like_a_free_one_is_not_free() -> None:
    assert "train.checkpoint_" in FREE
    assert differences({"train": {"epochs": 1}}, {"train": {"epochs": 2}})
    assert not differences({"train": {"checkpoint_updates": 1}}, {"train": {}})


def test_where_the_data_are_is_no_difference_but_how_they_are_split_is() -> None:
    assert not differences({"data": {"path": "a.csv"}}, {"data": {"path": "/b/a.csv"}})
    assert not differences({"data": {"train": "a", "valid": "b", "test": None}}, {"data": {"train": "c", "valid": "d"}})
    for key in ("test_share", "valid_share", "text_column"):
        assert differences({"data": {key: 1}}, {"data": {key: 2}})
    assert decisive({"data": {"path": "a", "test_share": 0.1}}) == {"data": {"test_share": 0.1}}


@pytest.mark.parametrize("content", ["", "{", "[]", "3", '{"config": 3}', "{}", "\x00"])
def test_damaged_metadata_are_refused(folder: RunFolder, content: str) -> None:
    folder.metadata.write_text(content)
    assert refusal(folder)


def test_another_format_is_refused(folder: RunFolder) -> None:
    write_json(folder.metadata, {**read_json(folder.metadata), "format": 0})
    assert refusal(folder)[0] == "format: was 0, but is 1 now."


def test_a_folder_is_locked_against_a_second_user_in_this_process(folder: RunFolder) -> None:
    lock = folder.lock()
    with pytest.raises(UserError, match="another process is training in this folder"):
        folder.lock()
    lock.release()
    folder.lock().release()


def test_a_folder_is_locked_against_another_process_until_it_dies(tmp_path: Path) -> None:
    code = "import sys, filelock; lock = filelock.FileLock(sys.argv[1]); lock.acquire(); print('held', flush=True)"
    code += "; sys.stdin.read()"
    folder = RunFolder(tmp_path)
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path / ".lock")], stdout=subprocess.PIPE, stdin=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == "held\n"
        with pytest.raises(UserError, match="another process is training"):
            folder.lock()
        other.kill()
    lock = folder.lock()
    assert isinstance(lock, FileLock)
    lock.release()


def test_a_folder_is_waited_for_and_told_once(folder: RunFolder) -> None:
    told: list[str] = []
    held = FileLock(folder.path / ".lock", thread_local=False)
    held.acquire()
    Timer(0.3, held.release).start()
    folder.lock(60, told.append).release()
    assert told == [f"Another process trains in {folder.path}: waiting for its result, 60 seconds at most."]
    folder.lock(60, told.append).release()
    assert len(told) == 1


def test_a_folder_is_not_waited_for_without_end(folder: RunFolder) -> None:
    held = folder.lock()
    with pytest.raises(FolderInUseError, match="another process is training in this folder"):
        folder.lock(0.1)
    held.release()


# Its process had nothing to leave: a mistake in the data, say.
def test_a_folder_that_is_removed_while_it_is_waited_for_is_made_again(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run")
    folder.path.mkdir()
    held = FileLock(folder.path / ".lock", thread_local=False)
    held.acquire()

    def leave() -> None:
        (folder.path / ".lock").unlink()
        folder.path.rmdir()
        held.release()

    Timer(0.3, leave).start()
    lock = folder.lock(60)
    assert (folder.path / ".lock").exists()
    with pytest.raises(FolderInUseError):
        folder.lock()
    lock.release()


# As SIGKILL leaves them: in the middle of the metadata, of ``.hydra``, of the trial of the disk, of a checkpoint.
def test_what_a_killed_process_left_half_written_is_removed(folder: RunFolder) -> None:
    names = (".training_metadata.json.0a1b2c3d", ".hydra/.config.yaml.0a1b2c3d", "checkpoints/..trial.0a1b2c3d")
    for name in (*names, "checkpoints/.last.writing/model.safetensors"):
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).write_bytes(b"half")
    kept = folder.checkpoints / ".best.retired" / "model.safetensors"
    kept.parent.mkdir()
    kept.write_bytes(b"whole")
    with folder.held():
        there = {path.name for path in folder.path.rglob("*") if path.is_file()}
    assert there == {".lock", "training_metadata.json", "config.yaml", "overrides.yaml", kept.name}


def test_a_folder_that_cannot_be_made_is_the_users_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        RunFolder(tmp_path / "file" / "run").lock()


@pytest.mark.parametrize("classes", [2, 5])
def test_predictions_come_back_as_they_were(tmp_path: Path, classes: int) -> None:
    rng = np.random.default_rng(0)
    rows, labels = rng.permutation(17).astype(np.int64), rng.integers(0, classes, 17)
    probabilities = rng.dirichlet(np.ones(classes), 17)
    write_predictions(tmp_path / "p.parquet", rows, labels, probabilities)
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["row", "label", "probabilities"]
    np.testing.assert_array_equal(table["row"].to_numpy(), rows)
    np.testing.assert_array_equal(table["label"].to_numpy(), labels)
    np.testing.assert_array_equal(np.stack(table["probabilities"].to_numpy()), probabilities)


def test_predictions_keep_further_columns(tmp_path: Path) -> None:
    columns = {"predicted": np.array([1, 0]), "group": ["a", None]}
    write_predictions(tmp_path / "p.parquet", np.arange(2), np.zeros(2, np.int64), np.full((2, 2), 0.5), **columns)
    table = pq.read_table(tmp_path / "p.parquet")
    assert table.column_names == ["row", "label", "probabilities", "predicted", "group"]
    assert str(table.schema.field("predicted").type) == "int64"
    assert table["group"].to_pylist() == ["a", None]


def test_predictions_of_a_column_major_array_keep_their_rows(tmp_path: Path) -> None:
    table = np.asfortranarray([[0.1, 0.9], [0.2, 0.8], [0.7, 0.3]])
    write_predictions(tmp_path / "p.parquet", np.arange(3), np.zeros(3, dtype=np.int64), table)
    np.testing.assert_array_equal(np.stack(pq.read_table(tmp_path / "p.parquet")["probabilities"].to_numpy()), table)


def test_an_earlier_failure_is_gone_while_the_run_goes_on_and_the_next_is_kept(folder: RunFolder) -> None:
    def attempt() -> None:
        with folder.recording(Storage(folder.path)):
            assert not folder.failure.exists(), "trackers that are told of the result would send it"
            raise ValueError("later")

    write_json(folder.failure, {"message": "earlier"})
    with pytest.raises(ValueError, match="later"):
        attempt()
    assert read_json(folder.failure)["message"] == "later"
