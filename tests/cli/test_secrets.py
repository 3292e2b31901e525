"""A password that stands in an address of the config, or of ``resume=``, is in no file and on no screen afterwards."""

from __future__ import annotations

import base64
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cli_command import SMALL, TRAIN, Answer

from counterpoise import job
from counterpoise.cli.exits import EXIT_FAULT, EXIT_OK, EXIT_USER

Train = Callable[..., Answer]
SECRET = "hidden1"
ADDRESS = f"webhdfs://me:{SECRET}@127.0.0.1:9/x"
RUN = (*SMALL, "hydra.run.dir=run")
SWEEP = ("-m", *SMALL, "seed=1,2", "hydra.sweep.dir=run")
KINDS = {"run": RUN, "dry run": (*RUN, "dry_run=true"), "multirun": SWEEP}


def assert_nowhere(folder: Path, answer: Answer) -> None:
    """Every file below the folder, its names, and what the command said."""
    assert SECRET not in answer.out + answer.err
    for path in folder.rglob("*"):
        assert SECRET not in str(path)
        assert not path.is_file() or SECRET.encode() not in path.read_bytes(), path


def assert_refused(folder: Path, answer: Answer, key: str) -> None:
    assert answer.code == EXIT_USER
    assert answer.problems[0].startswith(f"{key}: must hold no password, token or key")
    assert "Traceback" not in answer.err
    assert_nowhere(folder, answer)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("argument", "key"),
    [
        (f"mirror.url=webhdfs://me:{SECRET}@host/x", "mirror.url"),
        (f"mirror.url=http://{SECRET}@host/x", "mirror.url"),
        (f"mirror.url=ftp://me:{SECRET}@host/x", "mirror.url"),
        (f"mirror.url=memory://me:{SECRET}@host/x", "mirror.url"),
        (f"mirror.url='http://host/x?token={SECRET}'", "mirror.url"),
        (f"mirror.url='http://me:{SECRET} b@host/x'", "mirror.url"),
        (rf"mirror.url=ftp\://me\:{SECRET}@host/x", "mirror.url"),
        (f"mirror.url='ftp%3A//me%3A{SECRET}%40host/x'", "mirror.url"),
        (f"++data.path='host=h user=u password={SECRET}'", "data.path"),
        (f"+mine=[1,{{a:'ftp://me:{SECRET}@host'}}]", "mine"),
        (f"+mine.at={{'ftp://me:{SECRET}@host':1}}", "mine.at"),
        (f"~mirror.url=ftp://me:{SECRET}@host/x", "mirror.url"),
        (f"hydra.sweeper.storage='postgresql://me:{SECRET}@host/db'", "hydra.sweeper.storage"),
        (f"+hydra.job.env_set.X=http://me:{SECRET}@host", "hydra.job.env_set.X"),
        (f"tracker.mlflow.uri=http://me:{SECRET}@host", "tracker.mlflow.uri"),
        (f"http://me:{SECRET}@host", "command line"),
    ],
)
def test_what_is_typed_is_refused(argument: str, key: str, kind: str, train: Train, fresh: Path) -> None:
    assert_refused(fresh, train(*KINDS[kind], argument, folder=fresh), key)
    assert [path.name for path in fresh.iterdir()] == ["tiny.csv"]


@pytest.mark.parametrize("value", [f"ftp://me:{SECRET}@host/a,ftp://host/b", f"choice(ftp://me:{SECRET}@host/a,x)"])
def test_values_that_are_swept_over_are_refused(value: str, train: Train, fresh: Path) -> None:
    assert_refused(fresh, train(*SWEEP, f"mirror.url={value}", folder=fresh), "mirror.url")
    assert not (fresh / "run").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_what_comes_from_the_environment_is_refused_too(
    kind: str, train: Train, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIRROR", ADDRESS)
    monkeypatch.setenv("WORD", SECRET)
    assert_refused(fresh, train(*KINDS[kind], "mirror.url=${oc.env:MIRROR}", folder=fresh), "mirror.url")
    part = "mirror.url='ftp://me:${oc.env:WORD}@host/x'"
    assert_refused(fresh, train(*KINDS[kind], part, folder=fresh), "mirror.url")
    assert not (fresh / "run").exists()


CONFIGS = {
    "value": (f"mirror:\n  url: {ADDRESS}\n", "mirror.url"),
    "list": (f"mine:\n  deep:\n    - 1\n    - [x, '{ADDRESS}']\n", "mine.deep[1][1]"),
    "key": (f"mine:\n  '{ADDRESS}': 1\n", "mine.webhdfs://...@127.0.0.1:9/x"),
    "parts": (f"pw: {SECRET}\nmirror:\n  url: ftp://me:${{pw}}@host/x\n", "mirror.url"),
    "hydra": (f"hydra:\n  job:\n    env_set:\n      AT: {ADDRESS}\n", "hydra.job.env_set.AT"),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("what", CONFIGS)
def test_what_stands_in_a_config_file_is_refused(
    what: str, kind: str, train: Train, fresh: Path, tmp_path: Path
) -> None:
    content, key = CONFIGS[what]
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "mine.yaml").write_text(f"# @package _global_\n{content}")
    given = ("--config-dir", str(tmp_path / "conf"), "experiment=mine")
    assert_refused(fresh, train(*KINDS[kind], *given, folder=fresh), key)
    assert not (fresh / "run").exists()


def test_one_of_several_config_files_ends_its_own_job_only(train: Train, fresh: Path, tmp_path: Path) -> None:
    folder = tmp_path / "conf" / "experiment"
    folder.mkdir(parents=True)
    (folder / "bad.yaml").write_text(f"# @package _global_\nmirror:\n  url: {ADDRESS}\n")
    (folder / "good.yaml").write_text("# @package _global_\nseed: 3\n")
    given = ("--config-dir", str(tmp_path / "conf"), "experiment=good,bad")
    answer = train("-m", *SMALL, "hydra.sweep.dir=run", *given, folder=fresh)
    assert answer.code == EXIT_FAULT
    assert_nowhere(fresh, answer)
    assert len(list((fresh / "run").glob("*/result.json"))) == 1
    assert "must hold no password" in (next((fresh / "run").glob("*/failure.json"))).read_text()


def test_a_storage_of_a_search_is_named_by_its_variable_and_kept_in_no_file(
    train: Train, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STORAGE", f"sqlite:///file:s.db?uri=true&token={SECRET}")
    search = ("-m", *SMALL, "sweep=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.study_name=s")
    storage = "hydra.sweeper.storage=${oc.env:STORAGE}"
    answer = train(*search, storage, "hydra.sweep.dir=run", "report.multirun=true", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert (fresh / "s.db").is_file()
    assert (fresh / "run" / "report" / "report.html").is_file()
    assert len(list((fresh / "run").glob("*/.hydra/hydra.yaml"))) == 2
    assert_nowhere(fresh, answer)
    for bad in (f"postgresql://me:{SECRET}@127.0.0.1:9/db", f"nope://me:{SECRET}@host"):
        monkeypatch.setenv("STORAGE", bad)
        answer = train(*search, storage, "hydra.sweep.dir=other", folder=fresh)
        assert answer.code == EXIT_USER
        assert_nowhere(fresh, answer)
    monkeypatch.setenv("WORD", SECRET)
    part = "hydra.sweeper.storage='postgresql://me:${oc.env:WORD}@127.0.0.1:9/db'"
    answer = train(*search, part, "hydra.sweep.dir=other", folder=fresh)
    assert "cannot be used" in answer.problems[0], "an interpolation is none"
    assert_nowhere(fresh, answer)


def test_an_error_that_repeats_an_address_is_shown_without_its_password(
    train: Train, fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unreachable(*_: Any, **__: Any) -> None:
        raise ConnectionError(f"no answer from {ADDRESS}, token={SECRET}")

    monkeypatch.setattr(job.Job, "_fit", unreachable)
    answer = train(*RUN, folder=fresh)
    assert answer.code == EXIT_FAULT
    assert "no answer from webhdfs://...@127.0.0.1:9/x" in answer.err
    assert "no answer from webhdfs://...@" in (fresh / "run" / "failure.json").read_text()
    assert_nowhere(fresh, answer)
    answer = train(*SWEEP[:-1], "hydra.sweep.dir=sweep", folder=fresh)
    assert answer.code == EXIT_FAULT
    assert_nowhere(fresh, answer)


# ``resume=URL`` may hold a password, which is used and written nowhere.


class Guarded(SimpleHTTPRequestHandler):
    """Serves a folder to who knows the password."""

    def do_GET(self) -> None:
        self._if_allowed(super().do_GET)

    def do_HEAD(self) -> None:
        self._if_allowed(super().do_HEAD)

    def _if_allowed(self, then: Callable[[], None]) -> None:
        expected = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()
        if self.headers.get("Authorization") == expected or f"token={SECRET}" in self.path:
            then()
        else:
            self.send_error(403, f"not {self.path}")

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server(fresh: Path) -> Iterator[str]:
    """Host and port of a server of the folder ``store``."""
    made = ThreadingHTTPServer(("127.0.0.1", 0), lambda *given: Guarded(*given, directory=str(fresh / "store")))
    threading.Thread(target=made.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{made.server_port}"
    made.shutdown()
    made.server_close()


@pytest.mark.parametrize("form", ["http://me:{secret}@{host}/{run}", "http://{host}/{run}?token={secret}"])
def test_resuming_by_an_address_with_a_password(form: str, server: str, train: Train, fresh: Path) -> None:
    run = "outputs/mine"
    answer = train(*SMALL, f"hydra.run.dir={run}", f"mirror.url=file://{fresh}/store", folder=fresh)
    assert answer.code == EXIT_OK
    shutil.rmtree(fresh / "outputs")
    url = form.format(secret=SECRET, host=server, run=run)
    answer = train(f"resume={url}", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert f"is in {run}." in answer.out
    assert (fresh / run / "result.json").is_file()
    assert_nowhere(fresh, answer)
    for wrong in (url.replace(server, "127.0.0.1:9"), url.replace(run, "outputs/none"), f"-m resume={url}"):
        answer = train(*wrong.split(" resume=")[:-1], f"resume={wrong.split('resume=')[-1]}", folder=fresh)
        assert answer.code == EXIT_USER
        assert answer.problems[0].startswith("resume: ")
        assert_nowhere(fresh, answer)


def test_credentials_of_a_store_are_given_by_the_environment(server: str, fresh: Path) -> None:
    """As docs/runs.md says: fsspec reads them when it is imported."""
    (fresh / "store").mkdir()
    (fresh / "store" / "mirror.json").write_text("{}")
    client = '{"client_kwargs": {"headers": {"Authorization": "Basic %s"}}}'
    given = {"FSSPEC_HTTP": client % base64.b64encode(f"me:{SECRET}".encode()).decode()}
    for extra, expected in (({}, "no run at|cannot be read"), (given, "mirror.json cannot be read (KeyError")):
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **extra}
        command = [sys.executable, str(TRAIN), f"resume=http://{server}/"]
        done = subprocess.run(command, cwd=fresh, env=environment, capture_output=True, text=True, timeout=120)
        assert done.returncode == EXIT_USER
        assert any(part in done.stderr for part in expected.split("|")), done.stderr
        assert_nowhere(fresh, Answer(done.returncode, done.stdout, done.stderr))
