"""TensorBoard's files can be read back; without the package there is a command that installs it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from counterpoise.errors import UserError
from counterpoise.events import CONTINUE, EpochEvent, UpdateEvent
from counterpoise.storage import Storage
from counterpoise.tracking.base import Steady
from counterpoise.tracking.tensorboard import TensorBoard, TensorBoardConfig


def tell(folder: Path, first: int, last: int) -> None:
    tracker = TensorBoard(TensorBoardConfig(), folder)
    tracker.on_start({"position": {"update": first, "consumed": 0}, "history": []})
    for number in range(first + 1, last + 1):
        tracker.on_update(UpdateEvent(number, 0, number / 10, 1e-3, 0.5, 8, 1.0))
    valid: dict[str, Any] = {"f1": 0.5, "note": "x", "per_class": {"a": {"predicted_share": 0.25}}}
    tracker.on_epoch(EpochEvent(0, last, 0.6, 1.0, 1e-3, valid, 0.5, True, 1.0, {"head": 2.0}))
    tracker.on_finish(CONTINUE)
    tracker.on_result({})


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    return {tag: [(e.step, round(e.value, 4)) for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def test_figures_can_be_read_back(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    tell(tmp_path, 0, 3)
    found = scalars(tmp_path)
    assert found["update/loss"] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    assert found["valid/f1"] == [(3, 0.5)]
    assert found["predicted_share/a"] == [(3, 0.25)]
    assert found["grad_norm/head"] == [(3, 2.0)]
    assert "valid/note" not in found


def test_training_may_end_before_it_began(tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    TensorBoard(TensorBoardConfig(), tmp_path).on_finish(CONTINUE)
    assert not list(tmp_path.iterdir())


def test_a_missing_package_is_told_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(UserError, match=r'pip install -c constraints\.txt -e "\.\[tensorboard\]"'):
        TensorBoard(TensorBoardConfig(), tmp_path)


def test_figures_that_a_disk_refused_are_written_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    pytest.importorskip("tensorboard")
    (tmp_path / "tensorboard").write_text("in the way")
    tracker = Steady(TensorBoard(TensorBoardConfig(), tmp_path), Storage(tmp_path))
    tracker.on_start({"position": {"update": 0, "consumed": 0}, "history": []})
    for number in (1, 2, 3):
        if number == 3:
            (tmp_path / "tensorboard").unlink()
        tracker.on_update(UpdateEvent(number, 0, number / 10, 1e-3, 0.5, 8, 1.0))
    tracker.on_finish(CONTINUE)
    assert scalars(tmp_path)["update/loss"] == [(1, 0.1), (2, 0.2), (3, 0.3)]
    told = [record.getMessage() for record in caplog.records if record.name.startswith("counterpoise")]
    assert [line.split(" ")[0] for line in told] == ["tracker", "Writing"]
