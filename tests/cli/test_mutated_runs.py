"""The training command on damaged files: the same bits as without the damage, or one message and nothing changed."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_command import Answer, call
from interrupted_run import CACHE, COMMAND, DONE, RUN, STORE, in_a_hurry, outcome, without_times

from counterpoise.cli.exits import EXIT_FAULT, EXIT_OK, EXIT_USER
from counterpoise.jsonio import read_json, remove
from mutations import Mutation, contents, copied, files_below

PER_TEST = 6


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    in_a_hurry(monkeypatch)


TARGETS: dict[str, tuple[Callable[[Path], list[Path]], tuple[str, ...], str]] = {
    "resume": (lambda at: files_below(at / RUN), ("resume=run", "mirror.url=null"), "run"),
    "same": (lambda at: files_below(at / RUN), (*COMMAND, "hydra.run.dir=run"), "run"),
    "finished": (lambda at: files_below(at / DONE), (*COMMAND, "hydra.run.dir=done"), "done"),
    "cache": (lambda at: files_below(at / CACHE), (*COMMAND, "hydra.run.dir=new"), "new"),
    "mirror": (lambda at: files_below(at / STORE), ("resume=file://{at}/store/run", "mirror.url=null"), "run"),
}
"""What is damaged, the command that meets it, and the run that it should bring to its end."""
CASES = [("resume", 18), ("same", 18), ("finished", 12), ("cache", 12), ("mirror", 6)]
CHUNKS = [(name, start) for name, count in CASES for start in range(0, count, PER_TEST)]
OFFSET = {"resume": 2040, "same": 3000, "finished": 4000, "cache": 300, "mirror": 400}


@pytest.mark.parametrize(("name", "start"), CHUNKS)
def test_damage_is_made_up_for_or_refused(
    name: str,
    start: int,
    interrupted: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    record_property: Callable[[str, object], None],
) -> None:
    files, command, run = TARGETS[name]
    expected, seen = outcome(interrupted / DONE), Counter[str]()
    for number in range(OFFSET[name] + start, OFFSET[name] + start + PER_TEST):
        at = copied(interrupted, tmp_path / "base")
        if name == "mirror":
            for path in files_below(at / RUN):
                path.unlink()
            (at / RUN).rename(at / "gone")
        path, label = Mutation(number).apply(at, files(at))
        before = contents(at)
        arguments = [item.format(at=at) if item.startswith("resume=file") else item for item in command]
        answer = call(at, arguments, lambda: tuple(capfd.readouterr()))  # type: ignore[arg-type,return-value]
        problem = check(answer, at, path, before, lambda at=at: ended_well(at / run, expected))  # type: ignore[misc]
        assert problem is None, f"{label}\n{problem}\n{answer.code} {answer.out[-800:]}\n{answer.err}"
        told = "Warning" in answer.err or "Restored" in answer.out
        seen["refused" if answer.code else "recovered with a warning" if told else "recovered"] += 1
    record_property("outcomes", json.dumps(seen))


def ended_well(run: Path, expected: dict[str, Any]) -> bool:
    """Whether a run came to what it comes to undamaged; of one that had finished its result alone is read again."""
    name = "result.json"
    return without_times(read_json(run / name)) == expected[name] if run.name == DONE else outcome(run) == expected


def check(answer: Answer, at: Path, path: Path, before: dict[str, bytes], well: Callable[[], bool]) -> str | None:
    """What is wrong with how a command dealt with damage to ``path``; ``None`` if nothing is."""
    if "Traceback" in answer.out + answer.err:
        return "a traceback"
    if answer.code == EXIT_OK:
        return None if well() else "it ended otherwise than without the damage"
    if answer.code not in (EXIT_USER, EXIT_FAULT):
        return "another exit code"
    names = [path.name, path.parent.name, path.relative_to(at).parts[0]]
    if not any(name in answer.err for name in names):
        return "the message names neither the file nor its folder"
    after = contents(at)
    spoilt = [name for name, content in before.items() if after.get(name) != content and at / name != path]
    return f"these were good, and are changed or gone: {spoilt}" if spoilt else None


def at_seed_2(at: Path, capfd: pytest.CaptureFixture[str]) -> Answer:
    return call(at, [*COMMAND, "seed=2", "hydra.run.dir=two"], lambda: tuple(capfd.readouterr()))  # type: ignore[arg-type,return-value]


# Whole, sealed, and of the same data and model; but of another seed.
def test_checkpoints_and_results_of_another_run_are_not_this_runs(
    interrupted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    at = copied(interrupted, tmp_path / "base")
    assert at_seed_2(at, capfd).code == EXIT_OK
    two = outcome(at / "two")
    shutil.copy(at / DONE / "result.json", at / "two" / "result.json")
    answer = at_seed_2(at, capfd)
    assert "result.json is damaged: it is another run's. It is made again from the checkpoints." in answer.err
    assert outcome(at / "two") == two
    (at / "two" / "result.json").unlink()
    copied(at / DONE / "checkpoints", at / "two" / "checkpoints")
    answer = at_seed_2(at, capfd)
    assert answer.code == EXIT_USER
    assert "last: this checkpoint's settings is" in answer.err


@pytest.mark.parametrize("run", [RUN, DONE])
def test_a_run_that_nobody_knows_is_not_taken_for_this_one(
    run: str, interrupted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    at = copied(interrupted, tmp_path / "base")
    (at / run / "training_metadata.json").unlink()
    before = contents(at)
    answer = call(at, [*COMMAND, "seed=2", f"hydra.run.dir={run}"], lambda: tuple(capfd.readouterr()))  # type: ignore[arg-type,return-value]
    assert answer.code == EXIT_USER
    assert "training_metadata.json: is missing" in answer.err
    assert {name: content for name, content in contents(at).items() if CACHE not in name} == {
        name: content for name, content in before.items() if CACHE not in name
    }


@pytest.mark.parametrize("name", ["training_history.json", "predictions_test.parquet", "training.log", "result.json"])
def test_a_folder_in_the_place_of_a_file_is_found_out_before_training(
    name: str, interrupted: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    at = copied(interrupted, tmp_path / "base")
    remove(at / RUN / name)
    (at / RUN / name).mkdir()
    answer = call(at, [f"resume={RUN}", "mirror.url=null"], lambda: tuple(capfd.readouterr()))  # type: ignore[arg-type,return-value]
    assert answer.code == EXIT_USER
    assert f"{name}'" in answer.err
    assert "epoch" not in answer.err
