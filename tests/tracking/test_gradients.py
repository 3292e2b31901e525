"""Gradient norms by component and epoch: figures that can be computed again, the same after a resume."""

from __future__ import annotations

import io
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.axes import Axes

from counterpoise.events import CONTINUE, EpochEvent, Rescue, UpdateEvent
from counterpoise.tracking.files import FileRecorder
from counterpoise.tracking.folder import RunFolder
from counterpoise.tracking.gradients import GradientRecorder, draw, summary

NAN = float("nan")
NAMES = ("transformer", "gnn", "fusion")
PER_EPOCH = 4


def norms(update: int) -> dict[str, float]:
    """The transformer rests in the first epoch; one norm of the GNN is not finite."""
    found = {"gnn": math.inf if update == 6 else 1 / update, "fusion": 0.5 * update}
    return found if update <= PER_EPOCH else {"transformer": 2.0 * update, **found}


def update(number: int) -> UpdateEvent:
    epoch = (number - 1) // PER_EPOCH + 1
    return UpdateEvent(number, epoch, 0.5, 1e-3, 1.0, 8, 1.0, component_grad_norms=norms(number))


def epoch(number: int) -> EpochEvent:
    return EpochEvent(number + 1, PER_EPOCH * (number + 1), 0.5, 1.0, 1e-3, {"f1": 0.5}, 0.5, True, 1.0)


def train(folder: Path, first: int, last: int, names: tuple[str, ...] = NAMES, end: bool = True) -> GradientRecorder:
    """Updates ``first + 1 ... last``, as the loop tells them to both observers."""
    run = RunFolder(folder)
    observers: tuple[Any, ...] = FileRecorder(run), GradientRecorder(run, names)
    plan = {"history": [{}] * (first // PER_EPOCH), "position": {"update": first}}
    for observer in observers:
        observer.on_start(plan)
    for number in range(first + 1, last + 1):
        for observer in observers:
            observer.on_update(update(number))
            if number % PER_EPOCH == 0:
                observer.on_epoch(epoch(number // PER_EPOCH - 1))
    if end:
        for observer in observers:
            observer.on_finish(CONTINUE)
    return observers[1]


def test_every_figure_is_what_numpy_says(tmp_path: Path) -> None:
    train(tmp_path, 0, 12)
    content = json.loads((tmp_path / "gradient_stats.json").read_text())
    assert [entry["epoch"] for entry in content["epochs"]] == [1, 2, 3]
    for number, entry in enumerate(content["epochs"]):
        updates = range(PER_EPOCH * number + 1, PER_EPOCH * (number + 1) + 1)
        assert list(entry["components"]) == list(NAMES)
        for name, figures in entry["components"].items():
            every = [norms(update)[name] for update in updates if name in norms(update)]
            if not every:
                assert figures is None
                continue
            kept = np.array([norm for norm in every if math.isfinite(norm)])
            expected = {"mean": kept.mean(), "median": np.median(kept), "min": kept.min(), "max": kept.max()}
            assert {key: figures[key] for key in expected} == pytest.approx(expected)
            assert figures["last"] == every[-1]
            assert (figures["updates"], figures["not_finite"]) == (len(every), len(every) - len(kept))
    assert content["epochs"][0]["components"]["transformer"] is None
    assert content["epochs"][1]["components"]["gnn"]["not_finite"] == 1


def test_a_component_without_a_finite_norm_says_so() -> None:
    found = summary([NAN, NAN])
    assert found is not None
    assert (found["updates"], found["not_finite"]) == (2, 2)
    assert all(math.isnan(found[key]) for key in ("mean", "median", "min", "max", "last"))
    assert summary([]) is None


@pytest.mark.parametrize(("killed_at", "checkpoint"), [(6, 4), (7, 6), (8, 8), (9, 4), (12, 0), (3, 0)])
def test_a_resumed_run_leaves_the_same_file(tmp_path: Path, killed_at: int, checkpoint: int) -> None:
    train(tmp_path / "whole", 0, 12)
    train(tmp_path / "cut", 0, killed_at, end=False)
    train(tmp_path / "cut", checkpoint, 12)
    name = "gradient_stats.json"
    assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_a_rescue_takes_back_what_came_after(tmp_path: Path) -> None:
    run = RunFolder(tmp_path)
    files, recorder = FileRecorder(run), GradientRecorder(run, NAMES)
    plan: dict[str, Any] = {"history": [], "position": {"update": 0}}
    for observer in (files, recorder):
        observer.on_start(plan)
        for number in range(1, 7):
            observer.on_update(update(number))
        observer.on_epoch(epoch(0))
    rescue = Rescue(1, 6, 4, 1, 0.5, 1, None, "test", "")
    for observer in (files, recorder):
        observer.on_rescue(rescue, {"history": [{}], "position": {"update": 4}})
    for number in range(5, 9):
        recorder.on_update(update(number))
    recorder.on_epoch(epoch(1))
    train(tmp_path / "whole", 0, 8)
    assert recorder.stats() == GradientRecorder.stats(train(tmp_path / "again", 0, 8, end=False))


def test_a_model_of_one_component_has_nothing_to_tell_apart(tmp_path: Path) -> None:
    train(tmp_path, 0, 12, names=("model",))
    assert not (tmp_path / "gradient_stats.json").exists()
    assert not (tmp_path / "plots").exists()


def test_the_picture_is_one_of_all_epochs(tmp_path: Path) -> None:
    train(tmp_path / "two", 0, 8)
    assert (tmp_path / "two" / "plots" / "gradient_stats.png").read_bytes().startswith(b"\x89PNG")
    train(tmp_path / "none", 0, 3)
    assert not (tmp_path / "none" / "plots").exists()


# No area and no line: there is a mark for the median of each part, and one from its least to its largest norm.
def test_the_picture_of_a_single_epoch_shows_its_points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(Axes, "plot", noting(drawn, Axes.plot))
    monkeypatch.setattr(Axes, "vlines", noting(drawn, Axes.vlines))
    train(tmp_path, 0, 4)
    assert (tmp_path / "plots" / "gradient_stats.png").read_bytes().startswith(b"\x89PNG")
    resting, *parts = drawn
    assert resting[0] == ([], [])
    (span, point), (other_span, other_point) = (parts[:2], parts[2:])
    assert span[0][1:] == ([1 / 4], [1.0])
    assert point[0][1] == [pytest.approx((1 / 2 + 1 / 3) / 2)]
    assert point[1]["marker"]
    assert other_span[0][1:] == ([0.5], [2.0])
    assert span[0][0] == point[0][0] != other_span[0][0] == other_point[0][0], "beside each other"


def noting(drawn: list[Any], method: Any) -> Any:
    def noted(self: Any, *given: Any, **named: Any) -> Any:
        drawn.append((given, named))
        return method(self, *given, **named)

    return noted


def test_what_cannot_be_drawn_on_a_logarithmic_scale_leaves_a_gap() -> None:
    rows = [{"a": summary([0.0, 0.0]), "b": None}, {"a": summary([NAN]), "b": None}, {"a": summary([1.0]), "b": None}]
    stats = {"epochs": [{"epoch": number + 1, "components": row} for number, row in enumerate(rows)]}
    file = io.BytesIO()
    draw(file, stats)
    assert file.getvalue().startswith(b"\x89PNG")


INFINITE = '{"update": 1, "epoch": Infinity, "component_grad_norms": {}}'
HUGE = f'{{"update": 1, "epoch": 99, "component_grad_norms": {{"a": {10**400}}}}}'


def test_lines_that_cannot_be_read_are_left_out(tmp_path: Path) -> None:
    train(tmp_path, 0, 8, end=False)
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    strange = [
        "{",
        "3",
        "[]",
        '{"update": "a"}',
        '{"update": 1, "epoch": 0, "component_grad_norms": 3}',
        INFINITE,
        HUGE,
    ]
    (tmp_path / "metrics.jsonl").write_text("\n".join([*strange, *lines]) + "\n")
    recorder = GradientRecorder(RunFolder(tmp_path), NAMES)
    recorder.on_start({"history": [{}, {}], "position": {"update": 8}})
    assert recorder.stats() == json.loads((tmp_path / "gradient_stats.json").read_text())


def test_it_needs_no_torch() -> None:
    code = "import sys; import counterpoise.tracking.gradients; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
