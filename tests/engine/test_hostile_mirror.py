"""A mirror that others have written to: nothing of it leaves the run folder, and each attempt ends in one message."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import fsspec
import pytest
from mirror_kit import METADATA, UPDATES, fit, is_whole, mirror_of, warnings

from counterpoise.engine.mirror import Mirror
from counterpoise.engine.pointer import LARGEST, LARGEST_POINTER, LARGEST_SMALL, POINTER
from counterpoise.engine.remote import DamagedError, Remote
from counterpoise.engine.restore import CHANGES, restore, restore_from
from counterpoise.engine.store import Deadline
from counterpoise.errors import UserError
from counterpoise.jsonio import sealed
from counterpoise.tracking.folder import RunFolder

METADATA_NAME = "training_metadata.json"


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one run, to be copied."""
    home = tmp_path_factory.mktemp("stored")
    before = Path.cwd()
    os.chdir(home)
    try:
        fit(home / "run", mirror_of(home / "run", f"file://{home}/store"))
    finally:
        os.chdir(before)
    return home / "store"


@pytest.fixture
def place(stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The run's place in a copy of that store; the working directory beside it is empty."""
    monkeypatch.setattr("os.fsync", lambda handle: None)
    shutil.copytree(stored, tmp_path / "store")
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path / "store" / "run"
    fsspec.filesystem("memory").store.clear()


def pointer_of(place: Path) -> dict[str, Any]:
    return dict(json.loads((place / POINTER).read_text()))


def change(place: Path, **values: Any) -> None:
    """Give the pointer other values, with a seal that fits."""
    (place / POINTER).write_text(json.dumps(sealed({**pointer_of(place), **values}, POINTER)))


def change_entry(place: Path, name: str, **values: Any) -> None:
    files = pointer_of(place)["files"]
    change(place, files={**files, name: {**files[name], **values}})


def forge(place: Path, name: str, content: bytes) -> None:
    """Another content of a file, with a checksum that fits."""
    (place / pointer_of(place)["files"][name]["at"]).write_bytes(content)
    change_entry(place, name, size=len(content), checksum=hashlib.blake2b(content, digest_size=16).hexdigest())


def fetched(place: Path) -> Path:
    return restore_from(f"file://{place}", timeout=120.0)


def mirror_at(place: Path, **changes: Any) -> Mirror:
    return mirror_of(Path("run").absolute(), f"file://{place.parent}", **changes)


def refused(place: Path, match: str, *, error: type[UserError] = DamagedError) -> None:
    """Both ways to a run in a store refuse it, and leave nothing; the message is one line."""
    with pytest.raises(error, match=rf"mirror\.url: .*{match}") as caught:
        restore(mirror_at(place), RunFolder(Path("run").absolute()), METADATA)
    assert str(caught.value).isprintable()
    with pytest.raises(error, match=rf"resume: .*{match}"):
        fetched(place)
    assert not list(Path().rglob("*"))


def test_the_store_is_one_that_can_be_used(place: Path) -> None:
    assert fetched(place) == Path("run")


def test_a_pointer_of_a_gigabyte_is_not_read(place: Path) -> None:
    os.truncate(place / POINTER, 1 << 30)
    refused(place, f"mirror.json is larger than {LARGEST_POINTER:,} bytes")


def test_a_pointer_with_a_million_files_is_not_taken(place: Path) -> None:
    entry = pointer_of(place)["files"][".hydra/overrides.yaml"]
    change(place, files={f".hydra/x{number}.yaml": entry for number in range(5000)})
    refused(place, "which no run writes")
    (place / POINTER).write_text("{" + ",".join(f'"{number}":0' for number in range(10**6)) + "}")
    refused(place, "is larger than")


@pytest.mark.parametrize("size", [-1, 1.5, True, "9", None, LARGEST + 1, 10**30])
def test_a_size_that_none_can_be_is_refused(size: Any, place: Path) -> None:
    change_entry(place, "checkpoints/last/model.safetensors", size=size)
    refused(place, r"the size of checkpoints/last/model\.safetensors is")


def test_a_small_file_may_not_be_large(place: Path) -> None:
    change_entry(place, METADATA_NAME, size=LARGEST_SMALL + 1)
    refused(place, r"the size of training_metadata\.json is")


def test_what_the_disk_cannot_hold_is_not_begun(place: Path) -> None:
    for name in pointer_of(place)["files"]:
        if name.endswith((".safetensors", ".pt")):
            change_entry(place, name, size=LARGEST)
    refused(place, "but the disk of .* free", error=UserError)


@pytest.mark.parametrize(
    "values",
    [
        {"update": -1},
        {"update": True},
        {"update": "3"},
        {"update": 1e9},
        {"update": 1 << 60},
        {"folder": 3},
        {"folder": None},
        {"files": []},
        {"files": {METADATA_NAME: "x"}},
        {"files": {METADATA_NAME: {"at": 1, "size": 1, "checksum": "0" * 32}}},
        {"files": {METADATA_NAME: {"at": "x", "size": 1, "checksum": "0" * 32, "mode": 7}}},
        {"files": {"\x1b[2J": {"at": "\x1b[2J", "size": 1, "checksum": "0" * 32}}},
        {"files": {"a\nb": {"at": "last-00000001-00000000/a\nb", "size": 1, "checksum": "0" * 32}}},
        {"files": {f"../{METADATA_NAME}": {"at": f"x/../{METADATA_NAME}", "size": 1, "checksum": "0" * 32}}},
        {"format": {"a": ["\x1b"]}},
    ],
)
def test_values_of_another_kind_are_refused(values: dict[str, Any], place: Path) -> None:
    change(place, **values)
    refused(place, "cannot be read|has format", error=UserError)


@pytest.mark.parametrize("checksum", [None, 3, "", "x" * 32, "0" * 33])
def test_a_checksum_that_is_none_is_refused(checksum: Any, place: Path) -> None:
    change_entry(place, METADATA_NAME, checksum=checksum)
    refused(place, "the checksum of")


@pytest.mark.parametrize(
    "folder", ["../../x", "/etc", "~", "~/run", "", ".", "../run", "x/../run", "run\x00", "\x1b[2Jrun", "/run", "run/"]
)
def test_the_folder_that_it_names_is_below_the_current_one(folder: str, place: Path) -> None:
    change(place, folder=folder)
    with pytest.raises(UserError, match=r"resume: .*which is not") as caught:
        fetched(place)
    assert str(caught.value).isprintable()
    assert not list(Path().iterdir())


def test_an_absolute_folder_is_only_taken_if_it_is_given(place: Path) -> None:
    home = place.parent / "abs"
    shutil.copytree(place, home / str(place).lstrip("/"))
    inner = home / str(place).lstrip("/")
    change(inner, folder=str(place))
    with pytest.raises(UserError, match="not below the current folder"):
        fetched(inner)
    assert restore_from(f"file://{inner}", Path("here"), timeout=120.0) == Path("here")


def test_a_file_that_is_larger_than_it_says_is_cut_off(place: Path) -> None:
    model = place / pointer_of(place)["files"]["checkpoints/last/model.safetensors"]["at"]
    os.truncate(model, 1 << 34)
    refused(place, "is larger than its")


@pytest.mark.parametrize("name", [METADATA_NAME, "checkpoints/last/model.safetensors", ".hydra/overrides.yaml"])
@pytest.mark.parametrize("kind", ["link", "fifo", "folder", "device"])
def test_only_regular_files_of_the_store_are_read(kind: str, name: str, place: Path, tmp_path: Path) -> None:
    path = place / pointer_of(place)["files"][name]["at"]
    (tmp_path / "secret").write_bytes(path.read_bytes())  # so that size and checksum would fit
    path.unlink()
    {
        "link": lambda: path.symlink_to(tmp_path / "secret"),
        "device": lambda: path.symlink_to("/dev/zero"),
        "fifo": lambda: os.mkfifo(path),
        "folder": path.mkdir,
    }[kind]()
    with pytest.raises(UserError, match=r"resume: .*(cannot be read: .*(link|FIFO|directory)|is damaged)"):
        fetched(place)
    assert not list(Path().rglob("*.*"))


def test_a_folder_that_is_a_link_is_not_followed(place: Path, tmp_path: Path) -> None:
    generation = next(iter(place.glob("last-*")))
    generation.rename(tmp_path / "elsewhere")
    generation.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UserError, match="it is a link"):
        fetched(place)


@pytest.mark.parametrize("name", [POINTER, f".{POINTER}.new", ".trial"])
def test_nothing_is_written_through_a_link_in_the_store(
    name: str, place: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    shutil.rmtree(place)
    place.mkdir()
    (place / name).symlink_to(victim)
    fit(Path("run").absolute(), mirror_at(place, attempts=1))
    assert victim.read_text() == "mine"


def test_old_generations_are_removed_without_following_links(place: Path, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    (victim / "sub").mkdir(parents=True)
    (victim / "sub" / "thesis.txt").write_text("mine")
    shutil.rmtree(place)
    place.mkdir()
    (place / "last-00000001-00000000").symlink_to(victim)
    (place / "last-00000002-00000000").mkdir()
    (place / "last-00000002-00000000" / "sub").symlink_to(victim)
    mirror = mirror_at(place)
    fit(Path("run").absolute(), mirror)
    assert (victim / "sub" / "thesis.txt").read_text() == "mine"
    assert is_whole(mirror.remote, tmp_path / "seen")


def test_removing_old_generations_ends_in_time_and_fails_nothing(place: Path) -> None:
    for number in range(50):
        (place / f"last-{number:08d}-00000000").mkdir()
    remote = mirror_at(place).remote
    remote._delete_but(set(), Deadline(0.0))
    assert len(list(place.glob("last-*"))) == 51
    remote._delete_but({next(iter(remote.pointer().generations))}, Deadline(20.0))  # type: ignore[union-attr]
    assert len(list(place.glob("last-*"))) <= 1


@pytest.mark.parametrize(
    ("content", "match"),
    [
        (b"[]", "holds another run"),
        (b'"x"', "holds no JSON object"),
        (b"3", "holds no JSON object"),
        (b"{" * 10, "holds no JSON object"),
        (b'{"a":' * 100_000, "holds no JSON object"),
        (b'{"config": ["\\u001b[2J\\n"], "plan": 3, "data_fingerprint": {"a": []}}', "holds another run"),
        (b'{"config": {"\\u001b[2J\\nseed": {"x": 1}}}', "holds another run"),
    ],
)
def test_metadata_of_another_shape_are_refused(content: bytes, match: str, place: Path) -> None:
    forge(place, METADATA_NAME, content)
    with pytest.raises(UserError, match=match) as caught:
        restore(mirror_at(place), RunFolder(Path("run").absolute()), METADATA)
    assert all(line.isprintable() for line in str(caught.value).splitlines())
    assert not list(Path().rglob("*"))


@pytest.mark.parametrize("changes", [1, 99])
def test_a_pointer_that_changes_while_it_is_used_is_read_again_a_few_times(
    changes: int, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a run that goes on, whose older checkpoint is removed meanwhile; or of one that is never to end."""
    original, calls = Remote.pointer, iter(range(10_000))

    def changing(self: Remote) -> Any:
        call = next(calls)
        content = pointer_of(place)
        if call < changes:
            gone = {
                name: {**entry, "at": f"last-{call:08d}-00000000/{name}"} for name, entry in content["files"].items()
            }
            content = {**content, "files": gone}
        monkeypatch.setattr(self, "read", lambda name, most: json.dumps(sealed(content, POINTER)).encode())
        try:
            return original(self)
        finally:
            monkeypatch.delattr(self, "read")

    monkeypatch.setattr(Remote, "pointer", changing)
    if changes == 1:
        assert fetched(place) == Path("run")
    else:
        with pytest.raises(DamagedError, match="is missing"):
            fetched(place)
        assert next(calls) == CHANGES + 1


# Servers on this machine.


class Server(BaseHTTPRequestHandler):
    """What each path answers is up to the test."""

    answer: Callable[[Server], None]

    def do_GET(self) -> None:
        type(self).answer(self)

    def do_HEAD(self) -> None:
        type(self).answer(self)

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Callable[[Server], None]], str]]:
    """Start a server that answers by a function; returns its URL."""
    servers = []

    def serve(answer: Callable[[Server], None]) -> str:
        monkeypatch.setattr(Server, "answer", answer, raising=False)
        server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
        server.daemon_threads = True
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()


def plain(place: Path, other: dict[str, Callable[[Server, bytes], None]]) -> Callable[[Server], None]:
    """Serve the files of a store, some of them in another way."""

    def answer(self: Server) -> None:
        path = place.parent / self.path.partition("?")[0].lstrip("/")
        if not path.is_file():
            self.send_error(404)
            return
        content = path.read_bytes()
        if path.name in other and self.command == "GET":
            other[path.name](self, content)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    return answer


def test_a_run_is_fetched_from_a_web_server(place: Path, served: Any) -> None:
    asked = []
    answer = plain(place, {})

    def noted(self: Server) -> None:
        asked.append(self.path)
        answer(self)

    url = served(noted)
    assert restore_from(f"{url}/run?version=3", timeout=120.0) == Path("run")
    assert all(path.endswith("?version=3") for path in asked), "the query belongs to each file"
    assert RunFolder(Path("run")).metadata.is_file()


def endless(self: Server, content: bytes) -> None:
    self.send_response(200)
    self.end_headers()
    try:
        while True:
            self.wfile.write(b"x" * 65536)
    except OSError:
        pass


def drip(self: Server, content: bytes) -> None:
    self.send_response(200)
    self.send_header("Content-Length", str(len(content)))
    self.end_headers()
    try:
        for byte in content:
            self.wfile.write(bytes([byte]))
            self.wfile.flush()
            time.sleep(0.2)
    except OSError:
        pass


@pytest.mark.parametrize("name", [POINTER, "model.safetensors"])
@pytest.mark.parametrize(
    ("how", "timeout", "expected"),
    [(endless, 120.0, "larger than|cannot be read"), (drip, 2.0, "no answer within|not done within")],
)
def test_a_server_that_never_ends_is_given_up(
    how: Any, timeout: float, expected: str, name: str, place: Path, served: Any
) -> None:
    url, start = served(plain(place, {name: how})), time.monotonic()
    with pytest.raises(UserError, match=expected):
        restore_from(f"{url}/run", timeout=timeout)
    assert time.monotonic() - start < 100, "the file takes minutes, or for ever"
    assert not list(Path().rglob("model*"))


def test_redirects_are_followed_to_web_servers_only_and_not_for_ever(place: Path, served: Any, tmp_path: Path) -> None:
    def elsewhere(self: Server) -> None:
        self.send_response(302)
        loop = self.path.startswith("/loop")
        self.send_header("Location", self.path if loop else f"file://{place}/{POINTER}")
        self.end_headers()

    url = served(elsewhere)
    for path in ("loop/run", "file/run"):
        with pytest.raises(UserError, match=r"resume: .*(cannot be read: |no run at)") as caught:
            restore_from(f"{url}/{path}", timeout=5.0)
        assert str(caught.value).isprintable()
    assert not list(Path().iterdir())


def test_what_a_server_says_is_shown_short_and_without_the_password(place: Path, served: Any) -> None:
    def rude(self: Server) -> None:
        self.send_response(403, "hidden1 " + "very rude " * 200)
        self.end_headers()

    url = served(rude)
    with pytest.raises(UserError, match="resume: ") as caught:
        restore_from(f"{url.replace('//', '//me:hidden1@')}/run?token=hidden2", timeout=5.0)
    assert "hidden" not in str(caught.value)
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 600


def test_a_mirror_that_hangs_costs_a_run_its_timeout_and_no_more(
    place: Path, served: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(Remote, "pointer", lambda self: time.sleep(600))
    start = time.monotonic()
    fit(Path("run").absolute(), mirror_at(place, attempts=1, timeout=0.5, wait=0.5))
    assert time.monotonic() - start < 300
    assert any("does not answer: no answer within 0.5 seconds" in line for line in warnings(caplog))


def test_a_restored_run_is_the_one_that_was_stored(place: Path) -> None:
    assert restore(mirror_at(place), RunFolder(Path("run").absolute()), METADATA) == UPDATES
