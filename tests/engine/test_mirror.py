"""The mirror: whole at every moment, never in the way, and enough to continue from to the same bits."""

from __future__ import annotations

import json
import shutil
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pytest
from engine_kit import Recorder, assert_same_bits, final_state
from mirror_kit import HURRY, METADATA, SETUP, UPDATES, Sender, begin, fit, is_whole, metrics, mirror_of, warnings

from counterpoise.config.schema import parse
from counterpoise.data.cache import file_checksum
from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.engine.mirror import MirrorConfig, NoMirror
from counterpoise.engine.remote import POINTER, DamagedError, Remote
from counterpoise.engine.restore import newest_update, restore, restore_from
from counterpoise.engine.trainer import Trainer
from counterpoise.errors import UserError
from counterpoise.jsonio import sealed, write_json
from counterpoise.tracking.folder import RunFolder


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.chdir(tmp_path)
    yield
    fsspec.filesystem("memory").store.clear()


@pytest.fixture
def whole(tmp_path: Path) -> tuple[Trainer, Path]:
    """A run that is not mirrored, and its folder."""
    return fit(tmp_path / "whole", NoMirror()), tmp_path / "whole"


@pytest.mark.parametrize("url", ["memory://store", "file://{}/store"])
@pytest.mark.parametrize("cut", [3, 4, 6])
def test_a_run_whose_folder_is_gone_ends_with_the_same_bits(
    url: str, cut: int, whole: tuple[Trainer, Path], tmp_path: Path
) -> None:
    folder, url = tmp_path / "outputs" / "run", url.format(tmp_path)
    mirror = mirror_of(folder, url)
    with pytest.raises(KeyboardInterrupt):
        fit(folder, mirror, Sender(mirror), Recorder(cut))
    assert is_whole(mirror.remote, tmp_path / "seen")
    shutil.rmtree(folder)

    recorder, again = Recorder(), mirror_of(folder, url)
    resumed = fit(folder, again, recorder)
    assert recorder.plan["position"]["update"] == cut - 1
    assert_same_bits(final_state(resumed), final_state(whole[0]))
    assert metrics(folder) == metrics(whole[1])
    assert is_whole(again.remote, tmp_path / "seen")
    assert again.facts()["mirror"]["update"] == UPDATES
    best = [CheckpointStore(path / "checkpoints").best() for path in (folder, whole[1])]
    assert len({checkpoint.manifest["checksums"]["model.safetensors"] for checkpoint in best if checkpoint}) == 1
    assert not (folder / "checkpoints" / ".mirror").exists()
    assert not (folder / ".restoring").exists()


# A kill between the last save and its upload: nothing is saved any more that could take the store further.
def test_what_a_kill_kept_from_being_sent_is_sent_when_the_run_resumes(tmp_path: Path) -> None:
    folder, url = tmp_path / "run", f"file://{tmp_path}/store"
    mirror = mirror_of(folder, url)
    with pytest.raises(KeyboardInterrupt):
        fit(folder, mirror, Sender(mirror), Recorder(3))
    fit(folder, NoMirror())  # saved, never sent
    again = mirror_of(folder, url)
    fit(folder, again)
    pointer = again.remote.pointer()
    assert pointer is not None
    assert pointer.update == UPDATES
    assert is_whole(again.remote, tmp_path / "seen")
    assert not (folder / "checkpoints" / ".mirror").exists()


def test_only_epochs_are_sent_if_that_is_asked_for(tmp_path: Path) -> None:
    mirror = mirror_of(tmp_path / "run", every="epoch")
    fit(tmp_path / "run", mirror, Sender(mirror))
    assert mirror.facts()["mirror"]["uploaded"] == SETUP.epochs


# The store answers only after training has ended: training did not wait for it.
def test_a_slow_store_does_not_hold_training_up(
    whole: tuple[Trainer, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mirror = mirror_of(tmp_path / "run")
    original, ended, started = mirror.remote.publish, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> int:
        started.set()
        assert ended.wait(20)
        return original(*arguments)

    class End(Recorder):
        def on_finish(self, verdict: Any) -> None:
            assert started.wait(20)
            ended.set()

    monkeypatch.setattr(mirror.remote, "publish", slow)
    trainer = fit(tmp_path / "run", mirror, End())
    assert_same_bits(final_state(trainer), final_state(whole[0]))
    counts = mirror.facts()["mirror"]
    assert counts["update"] == UPDATES
    # One was being sent, one waited: all in between were replaced by newer ones.
    assert (counts["uploaded"], counts["replaced"]) == (2, UPDATES - 2)
    assert is_whole(mirror.remote, tmp_path / "seen")


def test_a_store_that_never_answers_ends_nothing_and_is_told_once(
    whole: tuple[Trainer, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError("Access Denied")

    mirror = mirror_of(tmp_path / "run")
    monkeypatch.setattr(mirror.remote, "publish", refuse)
    trainer = fit(tmp_path / "run", mirror, Sender(mirror))
    assert_same_bits(final_state(trainer), final_state(whole[0]))
    (told,) = warnings(caplog)
    assert "memory://store/run cannot be kept up to date: Access Denied. Training goes on" in told
    assert mirror.facts()["mirror"] | {"url": ""} == {
        "url": "",
        "update": None,
        "uploaded": 0,
        "replaced": 0,
        "failed": UPDATES,
        "bytes": 0,
    }


def test_it_is_told_when_the_store_answers_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = mirror_of(tmp_path / "run")
    original, calls = mirror.remote.publish, iter(range(99))

    def flicker(*arguments: Any) -> int:
        if next(calls) < 2 * HURRY["attempts"]:
            raise ConnectionError("refused")
        return original(*arguments)

    monkeypatch.setattr(mirror.remote, "publish", flicker)
    fit(tmp_path / "run", mirror, Sender(mirror))
    assert [line.split(" ")[0] for line in warnings(caplog)] == ["The", "Uploads"]
    assert is_whole(mirror.remote, tmp_path / "seen")


@pytest.mark.parametrize("at", [1, 2, 3, 7, 11, 14, 15, 16, 20, 33])
def test_the_store_is_whole_wherever_an_upload_is_cut_off(at: int, tmp_path: Path) -> None:
    """The ``at``-th write to the store, and all after it, are half done and fail."""
    mirror = mirror_of(tmp_path / "run", attempts=1)
    fs = mirror.remote.fs
    writes = iter(range(1, 10_000))

    def torn(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if next(writes) < at:
                return real(*arguments, **named)
            if real.__name__ == "put_file":  # as a store does that takes what came
                fs.store[arguments[1]] = type(next(iter(fs.store.values())))(fs, arguments[1], b"half")
            raise ConnectionError("cut off")

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in ("put_file", "pipe_file", "rm_file"):
            patch.setattr(fs, name, torn(getattr(fs, name)))
        fit(tmp_path / "run", mirror, Sender(mirror))
    pointer = mirror.remote.pointer()
    if pointer is not None:
        mirror.remote.fetch(pointer, tmp_path / "seen")
        assert newest_update(RunFolder(tmp_path / "seen")) == pointer.update
    shutil.rmtree(tmp_path / "run")
    again = mirror_of(tmp_path / "run")
    fit(tmp_path / "run", again)
    assert is_whole(again.remote, tmp_path / "seen")


def store_of(tmp_path: Path) -> tuple[Path, Path, Remote]:
    """A mirrored run whose folder is gone: the folder, its place in the store, and the store."""
    folder = tmp_path / "run"
    mirror = mirror_of(folder, f"file://{tmp_path}/store")
    fit(folder, mirror)
    shutil.rmtree(folder)
    return folder, tmp_path / "store" / "run", mirror.remote


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


HARM: dict[str, Callable[[Path], object]] = {
    "flipped": flip,
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "missing": Path.unlink,
}


@pytest.mark.parametrize("harm", HARM)
@pytest.mark.parametrize("name", ["model.safetensors", "state.pt", "manifest.json", "metrics.jsonl"])
def test_what_is_damaged_is_refused_and_nothing_is_left(harm: str, name: str, tmp_path: Path) -> None:
    folder, place, _ = store_of(tmp_path)
    HARM[harm](next(place.glob(f"last-*/**/{name}")))
    with pytest.raises(DamagedError, match=r"mirror\.url: .* is damaged: last-"):
        restore(mirror_of(folder, f"file://{tmp_path}/store"), RunFolder(folder), METADATA)
    assert not folder.exists() or not list(folder.iterdir())
    with pytest.raises(UserError, match=r"resume: .* is damaged"):
        restore_from(f"file://{tmp_path}/store/run")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "3", '{"format": 2}', '{"format": 2, "folder": "run", "update": 1, "files": {"a": {"at": "b"}}}'],
)
def test_a_damaged_pointer_is_refused(content: str, tmp_path: Path) -> None:
    folder, place, _ = store_of(tmp_path)
    (place / POINTER).write_text(content)
    with pytest.raises(DamagedError, match="cannot be read"):
        restore(mirror_of(folder, f"file://{tmp_path}/store"), RunFolder(folder), METADATA)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "checkpoints/last/x.py", ".hydra/../../x.yaml", "x"])
def test_a_pointer_that_names_other_files_is_refused(name: str, tmp_path: Path) -> None:
    folder, place, _ = store_of(tmp_path)
    pointer = json.loads((place / POINTER).read_text())
    entry = next(iter(pointer["files"].values()))
    entry["at"] = entry["at"].split("/")[0] + "/" + name
    (place / POINTER).write_text(json.dumps(sealed({**pointer, "files": {name: entry}}, POINTER)))
    with pytest.raises(DamagedError, match="which no run writes"):
        restore(mirror_of(folder, f"file://{tmp_path}/store"), RunFolder(folder), METADATA)


def test_a_stale_pointer_is_refused_where_it_is_needed_and_repaired_where_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder, place, remote = store_of(tmp_path)
    shutil.copytree(place, tmp_path / "copy")
    for generation in place.glob("last-*"):
        shutil.rmtree(generation)
    with pytest.raises(DamagedError, match="is missing"):
        restore(mirror_of(folder, f"file://{tmp_path}/store"), RunFolder(folder), METADATA)
    fit(folder, NoMirror(), Recorder())  # this machine has one, and can do without
    shutil.rmtree(folder / "checkpoints" / "last")
    assert newest_update(RunFolder(folder)) is not None
    fit(folder, mirror_of(folder, f"file://{tmp_path}/store"))
    assert "replaces it" in "".join(warnings(caplog))
    assert is_whole(remote, tmp_path / "seen")


def test_another_runs_place_is_refused_naming_the_differences(tmp_path: Path) -> None:
    folder, _, _ = store_of(tmp_path)
    ours = {**METADATA, "config": {"seed": 2, "tracker": "free"}}
    with pytest.raises(UserError) as caught:
        restore(mirror_of(folder, f"file://{tmp_path}/store"), RunFolder(folder), ours)
    assert str(caught.value.problems[0]) == "seed: was 1, but is 2 now."
    assert "holds another run" in str(caught.value.problems[1])


def test_the_newer_of_folder_and_mirror_wins(tmp_path: Path) -> None:
    folder, _, _ = store_of(tmp_path)
    url = f"file://{tmp_path}/store"
    with pytest.raises(KeyboardInterrupt):
        fit(folder, NoMirror(), Recorder(3))
    assert newest_update(RunFolder(folder)) == 2
    assert restore(mirror_of(folder, url), RunFolder(folder), METADATA) == UPDATES
    assert newest_update(RunFolder(folder)) == UPDATES
    assert restore(mirror_of(folder, url), RunFolder(folder), METADATA) is None
    flip(folder / "checkpoints" / "last" / "state.pt")
    shutil.rmtree(folder / "checkpoints" / "previous", ignore_errors=True)
    assert restore(mirror_of(folder, url), RunFolder(folder), METADATA) == UPDATES, "a damaged one does not count"


def test_a_finished_run_is_left_as_it_is(tmp_path: Path) -> None:
    folder, _, _ = store_of(tmp_path)
    begin(folder)
    write_json(folder / "result.json", {})
    assert restore(mirror_of(folder, f"file://{tmp_path}/store"), RunFolder(folder), METADATA) is None


# It could not be looked at when the run began: it is not overwritten blindly later.
@pytest.mark.parametrize("theirs", [{**METADATA, "config": {"seed": 9}}, METADATA])
def test_what_could_not_be_seen_at_the_start_is_not_overwritten(
    theirs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    folder, place, _ = store_of(tmp_path)
    pointer = json.loads((place / POINTER).read_text())
    generation = next(path for path in place.glob("last-*"))
    if theirs != METADATA:
        write_json(generation / "training_metadata.json", theirs)
        entry = pointer["files"]["training_metadata.json"]
        entry["checksum"] = file_checksum(generation / "training_metadata.json")
        entry["size"] = (generation / "training_metadata.json").stat().st_size
    (place / POINTER).write_text(json.dumps(sealed({**pointer, "update": 10_000}, POINTER)))
    before = (place / POINTER).read_bytes()
    mirror = mirror_of(folder, f"file://{tmp_path}/store")
    real, calls = mirror.remote.pointer, iter(range(99))

    def late() -> Any:
        if next(calls) < HURRY["attempts"]:
            raise ConnectionError("not yet")
        return real()

    monkeypatch.setattr(mirror.remote, "pointer", late)
    fit(folder, mirror)
    assert (place / POINTER).read_bytes() == before
    assert "does not answer: not yet" in warnings(caplog)[0]
    assert ("seed: was 9" if theirs != METADATA else "later checkpoint") in warnings(caplog)[1]


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nope", "is no URL of a store"),
        ("s3://", "names no place"),
        ("file://here", "names no absolute folder"),
        ("simplecache::s3://a", "is no URL of a store"),
    ],
)
def test_a_url_that_can_be_none_is_refused(url: str, expected: str) -> None:
    with pytest.raises(UserError, match=rf"mirror\.url: .*{expected}"):
        parse(MirrorConfig, {"url": url}, "mirror")


def test_an_unknown_protocol_and_a_missing_package_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"mirror\.url: nope:// is no kind of store\. Stores are file, .* s3, "):
        mirror_of(tmp_path / "run", "nope://x")
    monkeypatch.setitem(sys.modules, "s3fs", None)
    known = sys.modules["fsspec.registry"]._registry  # what was imported before
    monkeypatch.delitem(known, "s3", raising=False)
    with pytest.raises(UserError, match=r'pip install -c constraints\.txt -e "\.\[s3\]"'):
        mirror_of(tmp_path / "run", "s3://bucket/prefix")


def test_a_run_is_fetched_to_where_it_was_and_only_there(tmp_path: Path) -> None:
    folder, place, _ = store_of(tmp_path)
    url = f"file://{tmp_path}/store/run"
    assert restore_from(url) == Path("run")
    assert newest_update(RunFolder(folder)) == UPDATES
    assert restore_from(url, tmp_path / "elsewhere") == tmp_path / "elsewhere"
    with pytest.raises(UserError, match="resume: there is no run at"):
        restore_from(f"file://{tmp_path}/store/nothing")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("mine")
    with pytest.raises(UserError, match="holds something else already"):
        restore_from(url, tmp_path / "taken")
    assert [path.name for path in (tmp_path / "taken").iterdir()] == ["thesis.txt"]
    pointer = json.loads((place / POINTER).read_text())
    (place / POINTER).write_text(json.dumps(sealed({**pointer, "folder": "/etc/cron.d"}, POINTER)))
    with pytest.raises(UserError, match="which is not how the URL ends"):
        restore_from(url)
