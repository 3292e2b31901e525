"""The mirror against a server that speaks S3: what a fake in memory would not show."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from engine_kit import Recorder, assert_same_bits, final_state
from mirror_kit import METADATA, UPDATES, Sender, fit, is_whole, metrics, mirror_of, warnings

from counterpoise.engine.mirror import NoMirror
from counterpoise.engine.restore import restore, restore_from
from counterpoise.errors import UserError
from counterpoise.tracking.folder import RunFolder

pytest.importorskip("s3fs")
moto_server = pytest.importorskip("moto.server")

BUCKET = "models"


class Gate:
    """Stands before the server: counts, holds back or cuts what is uploaded."""

    def __init__(self, application: Any) -> None:
        self.application = application
        self.uploads = 0
        self.open = threading.Event()
        self.open.set()

    def __call__(self, environment: Any, start: Any) -> Any:
        if environment["REQUEST_METHOD"] == "PUT":
            self.uploads += 1
            assert self.open.wait(30)
        return self.application(environment, start)


class Server:
    """An S3 server on loopback that can be stopped and started again, its buckets kept."""

    def __init__(self) -> None:
        self.gate: Gate | None = None
        self.port = 0
        self.start()

    def start(self) -> None:
        self._server = moto_server.ThreadedMotoServer(ip_address="127.0.0.1", port=self.port, verbose=False)
        self._server.start()
        self.port = self._server.get_host_and_port()[1]
        self.gate = Gate(self._server._server.app)
        self._server._server.app = self.gate

    def stop(self) -> None:
        self._server.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@pytest.fixture(scope="module")
def one_server() -> Iterator[Server]:
    server = Server()
    yield server
    server.stop()


@pytest.fixture
def server(one_server: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Server:
    import boto3

    monkeypatch.setattr("os.fsync", lambda handle: None)
    monkeypatch.chdir(tmp_path)
    for name, value in (
        ("AWS_ENDPOINT_URL", one_server.url),
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ):
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket=BUCKET)
    for item in client.list_objects_v2(Bucket=BUCKET).get("Contents", ()):
        client.delete_object(Bucket=BUCKET, Key=item["Key"])
    return one_server


URL = f"s3://{BUCKET}/a prefix"


def test_a_run_whose_folder_is_gone_ends_with_the_same_bits(server: Server, tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole", NoMirror())
    folder = tmp_path / "outputs" / "class_weights=[1,3]"  # no pattern, whatever it looks like
    mirror = mirror_of(folder, URL)
    with pytest.raises(KeyboardInterrupt):
        fit(folder, mirror, Sender(mirror), Recorder(4))
    assert is_whole(mirror.remote, tmp_path / "seen")
    shutil.rmtree(folder)

    assert restore_from(f"{URL}/outputs/class_weights=[1,3]") == folder.relative_to(tmp_path)
    recorder, again = Recorder(), mirror_of(folder, URL)
    resumed = fit(folder, again, recorder)
    assert recorder.plan["position"]["update"] == 3
    assert_same_bits(final_state(resumed), final_state(whole))
    assert metrics(folder) == metrics(tmp_path / "whole")
    assert is_whole(again.remote, tmp_path / "seen")


def test_a_server_that_stops_in_mid_run_and_comes_back_changes_nothing(
    server: Server, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = fit(tmp_path / "whole", NoMirror())

    class Interruption(Sender):
        def on_update(self, event: Any) -> None:
            super().on_update(event)
            if event.update == 2:
                server.stop()
            if event.update == 5:
                server.start()

    mirror = mirror_of(tmp_path / "run", URL)
    trainer = fit(tmp_path / "run", mirror, Interruption(mirror))
    assert_same_bits(final_state(trainer), final_state(whole))
    counts = mirror.facts()["mirror"]
    assert counts["failed"] > 0
    assert counts["update"] == UPDATES
    assert [line.split(" ")[0] for line in warnings(caplog)] == ["The", "Uploads"]
    assert is_whole(mirror.remote, tmp_path / "seen")


# The server takes nothing in before training has ended: training did not wait for it.
def test_a_slow_server_does_not_hold_training_up(server: Server, tmp_path: Path) -> None:
    assert server.gate is not None

    class Closed(Recorder):
        def on_start(self, plan: Any) -> None:
            server.gate.open.clear()

        def on_finish(self, verdict: Any) -> None:
            self.before = server.gate.uploads
            server.gate.open.set()

    mirror, recorder = mirror_of(tmp_path / "run", URL), Closed()
    server.gate.uploads = 0
    fit(tmp_path / "run", mirror, recorder)
    assert recorder.before <= 2, "the trial at the start, and one upload that hangs"
    assert server.gate.uploads > recorder.before
    assert mirror.facts()["mirror"]["update"] == UPDATES
    assert is_whole(mirror.remote, tmp_path / "seen")


def test_an_upload_that_arrives_cut_off_is_not_believed(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    mirror = mirror_of(tmp_path / "run", URL)
    original, cut = mirror.remote.fs.put_file, iter([True])

    def truncated(local: str, at: str, **named: Any) -> None:
        if at.endswith("state.pt") and next(cut, False):
            mirror.remote.fs.pipe_file(at, Path(local).read_bytes()[:100])
        else:
            original(local, at, **named)

    monkeypatch.setattr(mirror.remote.fs, "put_file", truncated)
    fit(tmp_path / "run", mirror, Sender(mirror))
    assert not warnings(caplog), "the second attempt did it"
    assert is_whole(mirror.remote, tmp_path / "seen")


@pytest.mark.parametrize("case", ["bucket", "server"])
def test_what_is_wrong_at_the_start_is_told_and_ends_nothing(
    case: str, server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    if case == "server":
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    url = "s3://no-such-bucket/x" if case == "bucket" else URL
    mirror = mirror_of(tmp_path / "run", url)
    assert restore(mirror, RunFolder(tmp_path / "run"), METADATA) is None
    (told,) = warnings(caplog)
    assert "does not answer" in told
    with pytest.raises(UserError, match=r"resume: (there is no run at|.* cannot be read)"):
        restore_from(f"{url}/run")
