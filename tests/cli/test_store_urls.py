"""``mirror.url=`` and ``resume=`` with every file system that fsspec knows: one message, or the run trains."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import SMALL, Answer
from fsspec.registry import known_implementations

from counterpoise.cli.exits import EXIT_OK, EXIT_USER
from counterpoise.engine.store_url import KINDS
from counterpoise.jsonio import read_json

SCHEMES = sorted({*known_implementations, *KINDS, "jar", "nope"})
HURRY = ("mirror.timeout=3", "mirror.attempts=1", "mirror.backoff=0", "mirror.wait=3")
LONGEST = 60.0
"""Seconds for a command that is not bounded by the timeout would be more; those that are take a few."""


@pytest.fixture(autouse=True)
def _nothing_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)


def url_of(scheme: str, fresh: Path) -> str:
    return f"{scheme}://{fresh}/store" if scheme in ("file", "local") else f"{scheme}://127.0.0.1:9/store"


@pytest.mark.parametrize("scheme", SCHEMES)
def test_a_mirror_of_any_scheme_is_refused_with_one_message_or_the_run_goes_on(
    scheme: str, train: Callable[..., Answer], fresh: Path
) -> None:
    start = time.monotonic()
    answer = train(
        *SMALL, *HURRY, "dry_run=true", "hydra.run.dir=run", f"mirror.url={url_of(scheme, fresh)}", folder=fresh
    )
    assert time.monotonic() - start < LONGEST
    assert "Traceback" not in answer.err
    if scheme in KINDS and KINDS[scheme].writable and answer.code == EXIT_OK:
        assert answer.err == "" or answer.err.startswith("Warning: The mirror ")
        return
    assert answer.code == EXIT_USER
    (problem,) = answer.problems
    assert problem.startswith("mirror.url: ")
    assert "Stores are file, local, memory, s3," in problem or "Install it with: pip install" in problem
    assert not (fresh / "run").exists()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_resuming_from_any_scheme_is_refused_with_one_message(
    scheme: str, train: Callable[..., Answer], fresh: Path
) -> None:
    start = time.monotonic()
    answer = train(f"resume={url_of(scheme, fresh)}/outputs/run", "mirror.timeout=3", folder=fresh)
    assert time.monotonic() - start < LONGEST
    assert answer.code == EXIT_USER
    (problem,) = answer.problems
    assert problem.startswith("resume: ")
    assert "Traceback" not in answer.err
    assert not (fresh / "outputs").exists()


def test_a_store_that_does_not_answer_stops_no_run(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*SMALL, *HURRY, "hydra.run.dir=run", "mirror.url=ftp://127.0.0.1:9/store", folder=fresh)
    assert answer.code == EXIT_OK
    assert answer.err.startswith("Warning: The mirror ftp://127.0.0.1:9/store/run does not answer: ")
    assert "Traceback" not in answer.err
    assert read_json(fresh / "run" / "result.json")["mirror"]["failed"] > 0


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("nope", "'nope' is no URL of a store"),
        ("C:\\runs\\mine", "is no URL of a store"),
        ("s3://", "names no place within the store"),
        ("s3:///prefix", "names no host or bucket"),
        ("ftp://:21/x", "names no host or bucket"),
        ("ftp://host:port/x", "has no host, or no port, that can be one"),
        ("ftp://host:99999/x", "has no host, or no port, that can be one"),
        ("ftp://[::1/x", "has no host, or no port, that can be one"),
        ("ftp://ho st/x", "names no host or bucket"),
        ("file://here", "names no absolute folder"),
        ("file://C:/runs", "names no absolute folder"),
        ("file:///a\nb", "holds a control character"),
        ("s3://bucket/a\tb", "holds a control character"),
        ("http://host/x", "http:// can only be read"),
        ("zip://a.zip", "zip:// is no kind of store"),
        ("simplecache::s3://a/b", "is no URL of a store"),
        ("s3://a/b::file:///c", "is no URL of a store"),
        ("reference://x", "reference:// is no kind of store"),
        ("webhfds://host/x", "Did you mean 'webhdfs'?"),
    ],
)
def test_a_url_that_can_be_none_is_refused(url: str, expected: str, train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*SMALL, "dry_run=true", "hydra.run.dir=run", f'mirror.url="{url}"', folder=fresh)
    assert answer.code == EXIT_USER
    (problem,) = answer.problems
    assert expected in problem
    assert not (fresh / "run").exists()


@pytest.mark.parametrize("form", ["FILE://{}/store", "file://{}/store/", "file://{}/store//", "Local://{}/store"])
def test_capital_letters_and_trailing_slashes_mean_the_same(
    form: str, train: Callable[..., Answer], fresh: Path
) -> None:
    answer = train(*SMALL, "hydra.run.dir=outputs/run", f"mirror.url={form.format(fresh)}", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert answer.err == ""
    place = fresh / "store" / "outputs" / "run"
    assert (place / "mirror.json").is_file()
    (fresh / "outputs").rename(fresh / "away")
    answer = train(f"resume={form.format(fresh)}/outputs/run/", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert (fresh / "outputs" / "run" / "result.json").is_file()


def test_a_home_folder_is_meant_by_a_tilde(
    train: Callable[..., Answer], fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(fresh))
    answer = train(*SMALL, "hydra.run.dir=outputs/run", "mirror.url=file://~/store", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert (fresh / "store" / "outputs" / "run" / "mirror.json").is_file()
    (fresh / "outputs").rename(fresh / "away")
    assert train("resume=file://~/store/outputs/run", folder=fresh).code == EXIT_OK
    answer = train("resume=file://~nobody-here/store", folder=fresh)
    assert answer.code == EXIT_USER
    assert "home folder of a user that this machine does not know" in answer.problems[0]


@pytest.mark.parametrize("scheme", ["ftp", "webhdfs", "s3"])
def test_a_server_that_never_says_a_word_is_given_up(
    scheme: str, train: Callable[..., Answer], fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        host = f"127.0.0.1:{silent.getsockname()[1]}"
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}")
        url, start = f"{scheme}://{'bucket' if scheme == 's3' else host}/store", time.monotonic()
        hurry = [item for item in HURRY if not item.startswith("mirror.timeout")] + ["mirror.timeout=1"]
        answer = train(*SMALL, *hurry, "dry_run=true", "hydra.run.dir=run", f"mirror.url={url}", folder=fresh)
        assert answer.code == EXIT_OK
        assert answer.err.startswith(f"Warning: The mirror {url}/run does not answer: ")
        answer = train(f"resume={url}/run", "mirror.timeout=1", folder=fresh)
        assert answer.code == EXIT_USER
        assert answer.problems[0].startswith(f"resume: {url}/run cannot be read: ")
    assert time.monotonic() - start < LONGEST
    assert [path.name for path in fresh.iterdir() if path.name not in (".cache",)] == ["tiny.csv"]
