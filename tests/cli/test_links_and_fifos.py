"""Links, FIFOs and folders in the place of what a run writes and reads: nothing elsewhere changes, nothing waits."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cli_command import SMALL, Answer
from finished_runs import RUNS
from interrupted_run import CACHE, COMMAND, DONE, RUN, in_a_hurry, outcome

from counterpoise.cli import evaluate as evaluate_cli
from counterpoise.cli import explain as explain_cli
from counterpoise.cli import predict as predict_cli
from counterpoise.cli import report as report_cli
from counterpoise.cli.exits import EXIT_OK, EXIT_USER
from counterpoise.jsonio import remove
from counterpoise.tracking.folder import _FOLDERS as CHECKED
from mutations import contents, copied, files_below

Train = Callable[..., Answer]
Capture = pytest.CaptureFixture[str]
LONGEST = 60
"""Seconds after which a command is taken to wait for ever."""


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_hurry(monkeypatch)


@pytest.fixture
def at(interrupted: Path, tmp_path: Path) -> Path:
    """A copy of the runs and their cache, to be changed."""
    return copied(interrupted, tmp_path / "base")


@contextmanager
def bounded() -> Iterator[None]:
    """Fail what waits for ever."""

    def fail(*_: object) -> None:
        raise AssertionError("the command waits for ever")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(LONGEST)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def ask(command: Callable[[list[str]], int], at: Path, capfd: Capture, *arguments: str) -> Answer:
    """A command other than training, in ``at``."""
    before = Path.cwd()
    capfd.readouterr()
    os.chdir(at)
    try:
        code = command(list(arguments))
    finally:
        os.chdir(before)
    return Answer(code, *capfd.readouterr())


def moved_away(path: Path, outside: Path) -> Path:
    """Put ``path``, or an empty folder where nothing is, ``outside`` and a link in its place."""
    outside.mkdir()
    target = outside / path.name
    if path.exists():
        path.rename(target)
    else:
        target.mkdir()
    (target if target.is_dir() else outside).joinpath("notes.txt").write_text("mine")
    if target.is_dir():  # what a command would tidy away
        (target / ".result.json.0123abcd").write_text("mine")
        (target / ".last.writing").mkdir()
    path.symlink_to(target)
    return target


def refused(answer: Answer, *names: str) -> bool:
    """One message that names what was refused."""
    told = answer.code == EXIT_USER and answer.err.count("1 problem:") == 1 and "Traceback" not in answer.err
    return told and all(name in answer.err for name in names)


FOLDERS = [
    *("checkpoints", "checkpoints/last", "checkpoints/best", "checkpoints/.mirror", ".hydra", "plots", ".restoring"),
    *("report", "explanations", "tensorboard"),
]
FILES = [
    *("training.log", "metrics.jsonl", "training_history.json", "training_metadata.json", "result.json"),
    *("failure.json", "collapse_report.json", "predictions_test.parquet", "lr_finder.json", "tokenizer.json"),
    *("checkpoints/last/state.pt", ".hydra/config.yaml", ".lock"),
]


@pytest.mark.parametrize("name", FOLDERS)
@pytest.mark.parametrize("run", [RUN, DONE])
def test_a_folder_of_a_run_is_no_link(run: str, name: str, at: Path, tmp_path: Path, train: Train) -> None:
    target = moved_away(at / run / name, tmp_path / "outside")
    before = contents(tmp_path / "outside")
    answer = train(*COMMAND, f"hydra.run.dir={run}", folder=at)
    assert refused(answer, name.rpartition("/")[2], "it is a link", "Remove it"), answer
    assert contents(tmp_path / "outside") == before
    assert (target / ".last.writing").exists()
    again = train(f"resume={run}", "mirror.url=null", folder=at)
    assert again.code == EXIT_USER
    assert contents(tmp_path / "outside") == before


def test_every_folder_that_commands_make_in_a_run_is_among_those_that_are_checked(
    fresh: Path, train: Train, capfd: Capture
) -> None:
    pytest.importorskip("tensorboard")
    more = ("report.plots=true", "tracker=tensorboard", f"mirror.url=file://{fresh}/store", "hydra.run.dir=run")
    assert train(*RUNS["chunks"], *more, "paths.cache=cache", folder=fresh).code == EXIT_OK
    for command, arguments in (
        (report_cli.report, ["run"]),
        (explain_cli.explain, ["run=run", "cache=cache"]),
        (evaluate_cli.evaluate, ["run=run", "cache=cache"]),
    ):
        answer = ask(command, fresh, capfd, *arguments)
        assert answer.code == EXIT_OK, answer
    made = {path.name for path in (fresh / "run").iterdir() if path.is_dir()}
    assert made >= {".hydra", "checkpoints", "plots", "report", "explanations", "tensorboard"}
    assert made <= set(CHECKED)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, "link") for name in FILES),
        *((name, "dangling") for name in ("training.log", "metrics.jsonl", "result.json", ".lock")),
        *((name, "fifo") for name in ("training.log", "predictions_test.parquet", "checkpoints/last/state.pt")),
    ],
)
def test_a_file_of_a_run_that_is_trained_is_a_file(
    name: str, kind: str, at: Path, tmp_path: Path, train: Train
) -> None:
    path, target = at / RUN / name, tmp_path / "start_file"
    if path.exists():
        path.rename(target)
    if kind == "dangling":
        target = tmp_path / "nowhere"
    path.symlink_to(target) if kind != "fifo" else os.mkfifo(path)
    before = contents(at / RUN / "checkpoints") | contents(tmp_path)
    with bounded():
        answer = train(*COMMAND, f"hydra.run.dir={RUN}", folder=at)
    assert refused(answer, path.name), answer
    assert "waiting" not in answer.err + answer.out
    after = contents(at / RUN / "checkpoints") | contents(tmp_path)
    assert {key: after.get(key) for key in before} == before
    assert not (tmp_path / "nowhere").exists()


def test_a_log_with_several_names_is_copied_before_it_is_appended_to(
    at: Path, tmp_path: Path, train: Train, interrupted: Path
) -> None:
    for name in ("training.log", "metrics.jsonl"):
        os.link(at / RUN / name, tmp_path / name)
    before = {name: (tmp_path / name).read_bytes() for name in ("training.log", "metrics.jsonl")}
    assert train(f"resume={RUN}", "mirror.url=null", folder=at).code == EXIT_OK
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    assert (at / RUN / "training.log").read_bytes().startswith(before["training.log"])
    assert outcome(at / RUN) == outcome(interrupted / DONE)


def test_the_run_folder_itself_may_be_reached_through_a_link(at: Path, train: Train, interrupted: Path) -> None:
    (at / RUN).rename(at / "elsewhere")
    (at / RUN).symlink_to("elsewhere")
    assert train(f"resume={RUN}", "mirror.url=null", folder=at).code == EXIT_OK
    assert outcome(at / "elsewhere") == outcome(interrupted / DONE)


# A multirun's own folder. Hydra writes two of these files, and follows links.
@pytest.mark.parametrize("kind", ["link", "fifo"])
@pytest.mark.parametrize("name", ["multirun.yaml", "summary.json", "out_of_fold.parquet", "report", "plots"])
def test_a_multirun_writes_through_no_link(name: str, kind: str, fresh: Path, tmp_path: Path, train: Train) -> None:
    (fresh / "s").mkdir()
    if kind == "fifo":
        os.mkfifo(fresh / "s" / name)
    else:
        (tmp_path / "outside").mkdir()
        (fresh / "s" / name).symlink_to(tmp_path / "outside")
    with bounded():
        answer = train("-m", *SMALL, "report.multirun=true", "seed=1", "hydra.sweep.dir=s", folder=fresh)
    assert refused(answer, f"s/{name}", "hydra.sweep.dir"), answer
    assert not (fresh / "s" / "seed_1").exists()
    if kind == "link":
        assert list((tmp_path / "outside").iterdir()) == []


def test_a_report_is_written_into_no_link_in_a_run_folder(at: Path, tmp_path: Path, capfd: Capture) -> None:
    (tmp_path / "outside").mkdir()
    (at / DONE / "report").symlink_to(tmp_path / "outside")
    answer = ask(report_cli.report, at, capfd, DONE)
    assert refused(answer, "report", "link", "--out"), answer
    assert list((tmp_path / "outside").iterdir()) == []
    assert ask(report_cli.report, at, capfd, DONE, "--out", f"{DONE}/report").code == EXIT_OK, "the user's own choice"
    assert (tmp_path / "outside" / "report.html").exists()


@pytest.mark.parametrize("name", ["lock", "entry", "building"])
def test_a_cache_writes_through_no_link(name: str, at: Path, tmp_path: Path, train: Train, interrupted: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "mine").write_text("mine")
    (entry,) = (path for path in (at / CACHE).iterdir() if path.is_dir() and path.name.startswith("tok"))
    place = {
        "lock": at / CACHE / f"{entry.name}.lock",
        "entry": entry,
        "building": at / CACHE / f".{entry.name}.building",
    }[name]
    if name != "entry":
        remove(entry)
    remove(place)
    place.symlink_to(tmp_path / "outside" / "mine" if name == "lock" else tmp_path / "outside")
    answer = train(*COMMAND, "hydra.run.dir=new", folder=at)
    if name == "lock":
        assert refused(answer, "paths.cache", ".lock"), answer
    else:
        assert outcome(at / "new") == outcome(interrupted / DONE)
    assert contents(tmp_path / "outside") == {"mine": b"mine"}


# FIFOs: whatever is read is a regular file.


def with_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def run_files(run: Path) -> list[str]:
    return [path.relative_to(run).as_posix() for path in files_below(run)]


def test_no_command_waits_for_a_fifo_in_a_finished_run(at: Path, train: Train, capfd: Capture) -> None:
    shutil.copytree(at / DONE, at / "copy")
    for name in run_files(at / DONE):
        copied(at / "copy", at / DONE)
        with_fifo(at / DONE / name)
        with bounded():
            answers = {
                "report": ask(report_cli.report, at, capfd, DONE, "--text"),
                "predict": ask(predict_cli.predict, at, capfd, f"run={DONE}", "input=tiny.csv", "text_column=text"),
                "evaluate": ask(evaluate_cli.evaluate, at, capfd, f"run={DONE}", "out=measured"),
            }
            if "checkpoints" not in name:
                answers["train"] = train(*COMMAND, f"hydra.run.dir={DONE}", folder=at)
        for command, answer in answers.items():
            assert answer.code in (EXIT_OK, EXIT_USER), (name, command, answer)
            assert "Traceback" not in answer.err + answer.out, (name, command, answer)
        if name in ("training_metadata.json", "result.json"):
            assert answers["predict"].code == answers["evaluate"].code == EXIT_USER, answers
            assert "cannot be read" in answers["report"].out, answers["report"]


def test_no_command_waits_for_a_fifo_in_a_cache(at: Path, train: Train, interrupted: Path) -> None:
    shutil.copytree(at / CACHE, at / "copy")
    for name in [path.relative_to(at / CACHE).as_posix() for path in files_below(at / CACHE)]:
        copied(at / "copy", at / CACHE)
        with_fifo(at / CACHE / name)
        remove(at / "new")
        with bounded():
            answer = train(*COMMAND, "hydra.run.dir=new", folder=at)
        assert answer.code == EXIT_OK, (name, answer)
        assert "it is built again" in answer.err, (name, answer)
        assert outcome(at / "new") == outcome(interrupted / DONE)


def test_a_fifo_beside_the_files_of_a_cache_entry_is_damage(at: Path, train: Train) -> None:
    for entry in (at / CACHE).iterdir():
        if entry.is_dir():
            os.mkfifo(entry / "more.parquet")
    with bounded():
        answer = train(*COMMAND, "hydra.run.dir=new", folder=at)
    assert answer.code == EXIT_OK, answer
    assert answer.err.count("more.parquet does not belong to it") == 3, answer.err


@pytest.mark.parametrize("name", ["data.csv", "data.parquet", "data.jsonl"])
def test_data_that_are_a_fifo_are_refused_with_what_to_do(name: str, fresh: Path, train: Train) -> None:
    os.mkfifo(fresh / name)
    with bounded():
        answer = train(*SMALL, f"data.path={name}", "hydra.run.dir=run", folder=fresh)
    assert refused(answer, f"'{name}' is a FIFO; expected a regular file. Write the content to a file first."), answer


def test_splits_that_are_fifos_are_refused(fresh: Path, train: Train) -> None:
    (fresh / "data").mkdir()
    for name in ("train.parquet", "valid.csv"):
        os.mkfifo(fresh / "data" / name)
    with bounded():
        answer = train(*SMALL, "data.path=data", "hydra.run.dir=run", folder=fresh)
    assert refused(answer, "train.parquet' is a FIFO"), answer


def test_saved_overrides_that_are_a_fifo_are_refused(at: Path, train: Train) -> None:
    with_fifo(at / RUN / ".hydra" / "hydra.yaml")
    with bounded():
        answer = train(f"resume={RUN}", "mirror.url=null", folder=at)
    assert refused(answer, "hydra.yaml", "a FIFO"), answer


def test_pictures_are_not_drawn_through_a_link(at: Path, tmp_path: Path, train: Train) -> None:
    remove(at / DONE / "plots")
    moved_away(at / DONE / "plots", tmp_path / "outside")
    before = contents(tmp_path / "outside")
    assert train(*COMMAND, f"hydra.run.dir={DONE}", "report.plots=true", folder=at).code == EXIT_USER
    assert contents(tmp_path / "outside") == before
