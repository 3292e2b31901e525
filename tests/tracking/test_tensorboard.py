"""TensorBoard's files can be read back, whatever the disk did in between."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tracker_kit import RESULT, epoch, plan, relayed, run_folder, told, update, warned

from counterpoise.events import CONTINUE, Alarm, Rescue
from counterpoise.tracking.tensorboard import TensorBoard, TensorBoardConfig
from hostile_names import NAMES, hidden

pytest.importorskip("tensorboard")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return run_folder(tmp_path / "run")


def opened(folder: Path) -> TensorBoard:
    return TensorBoard(TensorBoardConfig(), folder)


def events(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    found = events(folder)
    return {tag: [(e.step, round(e.value, 4)) for e in found.Scalars(tag)] for tag in found.Tags()["scalars"]}


def texts(folder: Path) -> dict[str, list[str]]:
    found = events(folder)
    return {tag: [e.tensor_proto.string_val[0].decode() for e in found.Tensors(tag)] for tag in found.Tags()["tensors"]}


def test_figures_can_be_read_back(folder: Path) -> None:
    with relayed(folder, TensorBoard, "tensorboard") as trackers:
        told(trackers)
    found = scalars(folder)
    assert found["update/loss"] == [(1, 0.1), (2, 0.2), (3, 0.3), (4, 0.4)]
    assert found["update/lr"] == [(number, 0.001) for number in (1, 2, 3, 4)]
    assert found["update/grad_norm"] == [(number, 0.5) for number in (1, 2, 3, 4)]
    assert found["update/grad_norm/head"] == [(number, 0.25) for number in (1, 2, 3, 4)]
    assert found["valid/f1"] == [(4, 0.5)]
    assert found["train/loss"] == [(4, 0.6)]
    assert found["predicted_share/a/ü?"] == [(4, 0.25)]
    assert found["grad_norm/head"] == [(4, 2.0)]
    assert not {"valid/note", "valid/flag"} & set(found)
    assert '"seed": 7' in texts(folder)["config"][0]
    assert "password" not in texts(folder)["config"][0], "the section of trackers is left out"


def test_the_runs_pictures_are_shown(folder: Path) -> None:
    (folder / "plots").mkdir()
    content = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x02\x00\x00\x00\x03 and so on"
    (folder / "plots" / "gradient_stats.png").write_bytes(content)
    tracker = opened(folder)
    tracker.on_start(plan())
    tracker.on_result(RESULT)
    tracker.on_end("finished")
    (image,) = events(folder).Images("gradient_stats")
    assert (image.width, image.height) == (2, 3)
    assert image.encoded_image_string == content


def test_what_a_rescue_throws_away_is_hidden_and_told(folder: Path) -> None:
    tracker = opened(folder)
    tracker.on_start(plan())
    for number in (1, 2, 3):
        tracker.on_update(update(number, number / 10))
    tracker.on_alarm(
        Alarm("non_finite", "stop", 3, 0, "The loss is NaN", "lr_too_high", "it is", "optimizer.lr=1"), "x"
    )
    tracker.on_rescue(Rescue(1, 3, 1, 0, 0.5, 10, None, "guard", "Because."), plan(1))
    tracker.on_update(update(2, 0.9))
    tracker.on_finish(CONTINUE)
    tracker.on_end("finished")
    assert scalars(folder)["update/loss"] == [(1, 0.1), (2, 0.9)]
    said = texts(folder)["guard"]
    assert "Rescue 1 by guard: back from update 3 to 1, learning rate × 0.5. Because." in said


def test_a_resumed_run_hides_what_was_written_behind_the_checkpoint(folder: Path) -> None:
    for first, last, loss in ((0, 3, 0.1), (1, 2, 0.2)):
        tracker = opened(folder)
        tracker.on_start(plan(first))
        for number in range(first + 1, last + 1):
            tracker.on_update(update(number, loss))
        tracker.on_end("killed")
    assert scalars(folder)["update/loss"] == [(1, 0.1), (2, 0.2)]


def test_a_clock_that_went_back_hides_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """TensorBoard reads files by name, and what a resumed run wrote has to come last."""
    for stamp, loss in ((2_000, 0.5), (1_000, 0.25)):
        monkeypatch.setattr("counterpoise.tracking.tensorboard.time.time_ns", lambda stamp=stamp: stamp)
        tracker = opened(folder)
        tracker.on_start(plan(update=0))
        tracker.on_update(update(1, loss))
        tracker.on_end("finished")
    assert scalars(folder)["update/loss"] == [(1, 0.25)]


def test_an_epoch_that_a_kill_took_is_there_again(folder: Path) -> None:
    from dataclasses import asdict

    tracker = opened(folder)
    before = {"position": {"update": 4, "consumed": 0}, "history": [asdict(epoch(0, 4))]}
    tracker.on_start(plan() | before)
    tracker.on_end("finished")
    assert scalars(folder)["valid/f1"] == [(4, 0.5)]


def test_training_may_end_before_it_began(tmp_path: Path) -> None:
    tracker = opened(tmp_path)
    tracker.on_finish(CONTINUE)
    tracker.on_end("failed")
    assert not list(tmp_path.iterdir())


def test_figures_that_a_disk_refused_are_written_later(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "tensorboard").write_text("in the way")
    tracker = opened(folder)
    tracker.on_start(plan())
    for number in (1, 2, 3):
        if number == 3:
            (folder / "tensorboard").unlink()
        tracker.on_update(update(number, number / 10))
    tracker.on_finish(CONTINUE)
    assert scalars(folder)["update/loss"] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert [line.split(" ")[0] for line in warned(caplog)] == ["tracker", "Writing"]


def test_tags_hold_no_control_characters(folder: Path) -> None:
    tracker = opened(folder)
    tracker.on_start(plan())
    shares = {name: {"predicted_share": 0.5} for name in (*NAMES.values(), "a\\x07", "a\x07")}
    tracker.on_epoch(replace(epoch(0, 4), valid={**epoch(0, 4).valid, "per_class": shares}))
    tracker.on_end("finished")
    tags = [tag for tag in scalars(folder) if tag.startswith("predicted_share/")]
    assert len(tags) == len(shares), "each class has its own"
    assert not hidden("".join(tags))
    assert max(map(len, tags)) <= 500
