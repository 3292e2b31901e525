"""Every command on a real disk that is full: one message, the right exit code, nothing half-written."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cli_command import SMALL, Answer, write_table
from finished_runs import RUNS
from test_links_and_fifos import Capture, ask

from counterpoise.cli import evaluate as evaluate_cli
from counterpoise.cli import explain as explain_cli
from counterpoise.cli import predict as predict_cli
from counterpoise.cli import report as report_cli
from counterpoise.cli.exits import EXIT_FAULT, EXIT_OK, EXIT_USER
from mutations import contents

Train = Callable[..., Answer]
FULL = "No space left on device"


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this machine does not let tests mount a file system")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def fill(disk: Path, *, leave: int = 0) -> None:
    """Leave this many bytes free."""
    with (disk / "filler").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate((disk / "filler").stat().st_size - leave)


def said(answer: Answer, code: int, *words: str) -> bool:
    """One message without a traceback."""
    told = answer.code == code and "Traceback" not in answer.err + answer.out
    return told and all(word in answer.err for word in words)


COMMANDS = {
    "report": (report_cli.report, ["tokens"], "--out"),
    "predict": (
        predict_cli.predict,
        ["run=tokens", "input=tiny.csv", "text_column=text", "output=out.jsonl"],
        "output",
    ),
    "evaluate": (evaluate_cli.evaluate, ["run=tokens", "cache=cache"], "out=..."),
    "explain": (explain_cli.explain, ["run=chunks", "cache=cache"], "out=..."),
}


@pytest.mark.parametrize("leave", [0, 4096], ids=["full", "almost full"])
@pytest.mark.parametrize("command", COMMANDS)
def test_what_is_made_of_a_finished_run_is_whole_or_not_there(
    command: str, leave: int, disk: Path, finished: Callable[[str], Path], capfd: Capture
) -> None:
    run, arguments, remedy = COMMANDS[command]
    kind = "chunks" if command == "explain" else "tokens"
    folder = finished(kind).parent
    shutil.copytree(folder / kind, disk / kind)
    shutil.copytree(folder / "cache", disk / "cache")
    write_table(disk)
    fill(disk, leave=leave)
    before = contents(disk)
    answer = ask(run, disk, capfd, *arguments)
    assert said(answer, EXIT_USER, FULL, remedy), answer
    assert contents(disk) == before
    assert not list(disk.rglob(".*.????????"))
    (disk / "filler").unlink()
    assert ask(run, disk, capfd, *arguments).code == EXIT_OK
    made = contents(disk)
    assert set(made) > set(before) - {"filler"}
    fill(disk, leave=leave)
    before = contents(disk)
    ask(run, disk, capfd, *arguments)
    assert contents(disk) == before, "what an earlier command left is as it was"


@pytest.mark.parametrize("leave", [0, 8192], ids=["full", "almost full"])
@pytest.mark.parametrize("kind", ["tokens", "chunks", "graphs", "lsa"])
def test_a_cache_on_a_full_disk_is_the_users_to_repair(
    kind: str, leave: int, disk: Path, fresh: Path, train: Train
) -> None:
    fill(disk, leave=leave)
    answer = train(*RUNS[kind], f"paths.cache={disk}/cache", "hydra.run.dir=run", folder=fresh)
    assert said(answer, EXIT_USER, "paths.cache", "cannot be used", "Free some space"), answer
    assert not (fresh / "run").exists()
    assert not [path for path in disk.rglob("*") if path.is_dir() and path.name != "cache"]


@pytest.mark.parametrize("leave", [0, 4096])
def test_a_multirun_on_a_full_disk_says_so(leave: int, disk: Path, fresh: Path, train: Train) -> None:
    fill(disk, leave=leave)
    command = ("-m", *SMALL, "report.multirun=true", "seed=1", f"hydra.sweep.dir={disk}/s", "train.storage_wait=0")
    answer = train(*command, folder=fresh)
    assert answer.code in (EXIT_FAULT, EXIT_USER), answer
    assert said(answer, answer.code, FULL), answer
    (disk / "filler").unlink()
    answer = train(*command, folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert (disk / "s" / "summary.json").exists()


def test_a_summary_that_a_disk_refuses_is_written_by_the_same_command(
    disk: Path, fresh: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterpoise.sweeps import summary

    command = ("-m", *SMALL, "report.multirun=true", "seed=1", f"hydra.sweep.dir={disk}/s")
    original = summary.pool
    monkeypatch.setattr(summary, "pool", lambda *given: (fill(disk), original(*given))[1])
    answer = train(*command, folder=fresh)
    assert said(answer, EXIT_FAULT, "the summary of the jobs could not be written", FULL, "same command"), answer
    monkeypatch.undo()
    assert not (disk / "s" / "summary.json").exists()
    (disk / "filler").unlink()
    answer = train(*command, folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert "This run has finished already" in answer.out
    assert (disk / "s" / "summary.json").exists()
    assert (disk / "s" / "report" / "report.html").exists()


def test_a_run_on_a_disk_that_has_no_room_for_a_folder(disk: Path, fresh: Path, train: Train) -> None:
    subprocess.run(["mount", "-o", "remount,nr_inodes=2", str(disk)], check=True)
    (disk / "filler").write_bytes(b"x")
    for command in ((f"hydra.run.dir={disk}/run",), ("-m", "seed=1", f"hydra.sweep.dir={disk}/s")):
        answer = train(*SMALL, *command, folder=fresh)
        assert said(answer, EXIT_USER, FULL, str(disk)), answer
    assert [path.name for path in disk.iterdir()] == ["filler"]


def test_a_search_whose_storage_is_full(disk: Path, fresh: Path, train: Train) -> None:
    fill(disk)
    search = ("-m", "sweep=optuna", "hydra.sweeper.n_trials=2", "model.filters=choice(2,3)", "hydra.sweep.dir=s")
    command = (*(text for text in SMALL if not text.startswith("model.filters")), *search)
    answer = train(*command, f"hydra.sweeper.storage=sqlite:///{disk}/search.db", folder=fresh)
    assert said(answer, EXIT_USER, "hydra.sweeper.storage", "full"), answer
    (disk / "filler").unlink()
    answer = train(*command, f"hydra.sweeper.storage=sqlite:///{disk}/search.db", folder=fresh)
    assert answer.code == EXIT_OK, answer
