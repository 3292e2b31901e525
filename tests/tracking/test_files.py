"""A run that was interrupted leaves the same files as one that was not."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from counterpoise.events import CONTINUE, EpochEvent, UpdateEvent
from counterpoise.tracking.files import FileRecorder
from counterpoise.tracking.folder import RunFolder


def update(number: int) -> UpdateEvent:
    return UpdateEvent(number, number // 4, 1 / number, 1e-3, float("nan") if number == 3 else 0.5, number * 8, 1.0)


def epoch(number: int) -> EpochEvent:
    return EpochEvent(number + 1, 4 * number + 4, 0.5, 1.0, 1e-3, {"f1": 0.5, "loss": float("inf")}, 0.5, True, 1.0)


def train(folder: Path, first: int, last: int, epochs_before: int = 0) -> FileRecorder:
    """Updates ``first + 1 ... last``, four to an epoch, as the loop tells them."""
    recorder = FileRecorder(RunFolder(folder))
    history = [asdict(epoch(number)) for number in range(epochs_before)]
    recorder.on_start({"history": history, "position": {"update": first}})
    for number in range(first + 1, last + 1):
        recorder.on_update(update(number))
        if number % 4 == 0:
            recorder.on_epoch(epoch(number // 4 - 1))
    return recorder


def contents(folder: Path) -> tuple[str, str]:
    return (folder / "metrics.jsonl").read_text(), (folder / "training_history.json").read_text()


@pytest.fixture
def whole(tmp_path: Path) -> tuple[str, str]:
    train(tmp_path / "whole", 0, 12).on_finish(CONTINUE)
    return contents(tmp_path / "whole")


def test_every_line_is_strict_json(whole: tuple[str, str]) -> None:
    lines = [json.loads(line) for line in whole[0].splitlines()]
    assert [line["update"] for line in lines] == list(range(1, 13))
    assert lines[2]["grad_norm"] is None
    assert len(json.loads(whole[1])["epochs"]) == 3


@pytest.mark.parametrize(("killed_at", "checkpoint"), [(6, 4), (7, 6), (8, 8), (9, 4), (12, 0), (3, 0)])
def test_resuming_gives_the_same_files(tmp_path: Path, whole: tuple[str, str], killed_at: int, checkpoint: int) -> None:
    train(tmp_path / "run", 0, killed_at)
    train(tmp_path / "run", checkpoint, 12, epochs_before=checkpoint // 4).on_finish(CONTINUE)
    assert contents(tmp_path / "run") == whole


@pytest.mark.parametrize(
    "torn",
    [
        *['{"update": 5, "lo', "\n", "3\n", '{"x": 1}\n', '{"update": "a"}\n', "\x00\x00", "[]\n"],
        *["[" * 100_000 + "\n", '{"update": Infinity}\n', '{"update": null}\n'],
    ],
)
def test_a_torn_last_line_is_dropped(tmp_path: Path, whole: tuple[str, str], torn: str) -> None:
    train(tmp_path / "run", 0, 4)
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write(torn)
    train(tmp_path / "run", 4, 12, epochs_before=1).on_finish(CONTINUE)
    assert contents(tmp_path / "run") == whole


def test_a_line_is_there_as_soon_as_it_was_told(tmp_path: Path) -> None:
    recorder = train(tmp_path / "run", 0, 2)
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    recorder.on_finish(CONTINUE)
    recorder.on_finish(CONTINUE)
