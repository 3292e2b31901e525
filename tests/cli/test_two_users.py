"""A cache and run folders that two users share: what one may not do is one message, and what he may do works."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import traceback
from pathlib import Path

import pytest
from cli_command import SMALL, Answer, call, write_table

from counterpoise.cli import evaluate as evaluate_cli
from counterpoise.cli import predict as predict_cli
from counterpoise.cli import report as report_cli
from counterpoise.cli.exits import EXIT_OK, EXIT_USER

OTHER = 65534
OTHERS = {"report": report_cli.report, "predict": predict_cli.predict, "evaluate": evaluate_cli.evaluate}
pytestmark = pytest.mark.skipif(sys.platform != "linux" or os.getuid() != 0, reason="needs to be two users")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with the table that every user may write to."""
    folder = write_table(tmp_path / "place")
    folder.chmod(0o777)
    return folder


def as_user(umask: int, folder: Path, *arguments: str, command: str = "train") -> Answer:
    """A command of a user without rights beyond his own files', in a child of this process.

    He is root without capabilities, who can read what Python imports late.
    """
    out = folder.parent / f"{folder.name}.out"
    child = os.fork()
    if child == 0:
        code = 99
        try:
            sys.stdout = sys.stderr = out.open("w")
            no_rights = (ctypes.c_uint32 * 6)()
            header = (ctypes.c_uint32 * 2)(0x20080522, 0)
            assert ctypes.CDLL(None, use_errno=True).capset(header, no_rights) == 0
            os.umask(umask)
            os.chdir(folder)
            if command == "train":
                code = call(folder, arguments, lambda: ("", "")).code
            else:
                code = OTHERS[command](list(arguments))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    text = out.read_text()
    out.unlink()
    return Answer(code, text, text)


def give_away(*paths: Path) -> None:
    """Let these and all in them be another user's."""
    for path in (each for top in paths for each in (top, *top.rglob("*"))):
        os.chown(path, OTHER, OTHER, follow_symlinks=False)


def told(answer: Answer, *words: str) -> bool:
    whole = "Traceback" not in answer.out and answer.out.count("1 problem:") == 1
    return answer.code == EXIT_USER and whole and all(word in answer.out for word in words)


def test_a_cache_that_another_user_keeps_to_himself(place: Path) -> None:
    command = (*SMALL, "paths.cache=cache")
    assert as_user(0o077, place, *command, "hydra.run.dir=one").code == EXIT_OK
    give_away(place)
    answer = as_user(0o022, place, *command, "hydra.run.dir=two")
    assert told(answer, "paths.cache", "Permission denied", "another folder with paths.cache="), answer
    assert not (place / "two").exists()
    answer = as_user(0o022, place, *command, "hydra.run.dir=two", "dry_run=true")
    assert told(answer, "paths.cache", "Permission denied"), answer


def test_a_cache_that_another_user_may_read_is_read(place: Path) -> None:
    command = (*SMALL, "paths.cache=cache")
    assert as_user(0o022, place, *command, "hydra.run.dir=one").code == EXIT_OK
    give_away(place)
    before = sorted((place / "cache").iterdir())
    answer = as_user(0o022, place, *command, "hydra.run.dir=two")
    assert answer.code == EXIT_OK, answer
    assert "Warning" not in answer.out
    assert sorted((place / "cache").iterdir()) == before
    answer = as_user(0o022, place, *command, "encoding.vocab_size=310", "hydra.run.dir=three")
    assert told(answer, "paths.cache", "Permission denied"), answer


@pytest.mark.parametrize("mode", [0o777, 0o1777], ids=["everyone's", "sticky"])
def test_locks_and_entries_that_another_user_left_in_a_folder_of_all(mode: int, place: Path) -> None:
    (place / "cache").mkdir()
    (place / "cache").chmod(mode)
    command = (*SMALL, "paths.cache=cache")
    assert as_user(0o022, place, *command, "hydra.run.dir=one").code == EXIT_OK
    give_away(place)
    for entry in (place / "cache").iterdir():  # its entries are gone, and its locks are still there
        if entry.is_dir():
            shutil.rmtree(entry)
    answer = as_user(0o022, place, *command, "hydra.run.dir=two")
    assert told(answer, "paths.cache", ".lock", "Permission denied"), answer
    assert not list((place / "cache").glob(".*.building"))


def test_a_finished_run_of_another_user(place: Path) -> None:
    command = (*SMALL, "paths.cache=cache", "hydra.run.dir=run")
    assert as_user(0o022, place, *command).code == EXIT_OK
    give_away(place)
    answer = as_user(0o022, place, *command)
    assert told(answer, "run", "Permission denied"), answer
    assert as_user(0o022, place, "run", "--text", command="report").code == EXIT_OK
    answer = as_user(0o022, place, "run", command="report")
    assert told(answer, "run/report", "Permission denied", "--out"), answer
    answer = as_user(0o022, place, "run=run", "input=tiny.csv", "output=out.jsonl", command="predict")
    assert answer.code == EXIT_OK, answer
    answer = as_user(0o022, place, "run=run", command="evaluate")
    assert told(answer, "Permission denied", "out=..."), answer
    assert as_user(0o022, place, "run=run", "out=measured", command="evaluate").code == EXIT_OK


def test_a_run_that_another_user_keeps_to_himself(place: Path) -> None:
    command = (*SMALL, "paths.cache=cache", "hydra.run.dir=run")
    assert as_user(0o077, place, *command).code == EXIT_OK
    give_away(place)
    (place / "cache").chmod(0o777)
    for name, arguments in {
        "train": command,
        "report": ("run", "--text"),
        "predict": ("run=run", "input=tiny.csv"),
        "evaluate": ("run=run", "out=measured"),
    }.items():
        answer = as_user(0o022, place, *arguments, command=name)
        assert told(answer, "run"), (name, answer)
    answer = as_user(0o022, place, "resume=run")
    assert told(answer, "run"), answer


def test_a_working_directory_that_cannot_be_written(place: Path) -> None:
    place.chmod(0o755)
    give_away(place)
    answer = as_user(0o022, place, *SMALL)
    assert told(answer, "outputs", "Permission denied"), answer
    answer = as_user(0o022, place, "-m", *SMALL, "seed=1")
    assert told(answer, "multirun", "Permission denied"), answer
