"""States and weights of somebody else, whole by their checksums: taken up and trained on with, or refused at once."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_kit import Recorder, Setup
from safetensors.torch import load_file, save_file

from counterpoise.data.cache import read_manifest, write_manifest
from counterpoise.engine.checkpoints import LAST, MODEL, PREVIOUS, STATE
from counterpoise.engine.trainer import Trainer
from counterpoise.errors import TrainingAbortedError, UserError
from counterpoise.guards.causes import Circumstances
from counterpoise.guards.collapse import CollapseConfig, CollapseGuard
from counterpoise.guards.non_finite import NonFiniteConfig, NonFiniteGuard
from counterpoise.guards.rescue import RescueConfig
from mutations import copied

EDITS, PER_TEST = 60, 20
"""Of all places and values; of 10_000 all are made, in a quarter of an hour."""
GONE: Any = object()
SPARSE = torch.sparse_coo_tensor(torch.zeros(2, 1, dtype=torch.int64), torch.ones(1), (2, 2))
OTHERS: tuple[Any, ...] = (
    *(GONE, None, True, -1, 0.5, 2**62, 10**400, float("nan"), float("inf"), "x", [], [None], {}, {"x": 1}),
    *(torch.zeros(3), torch.zeros(2, 2, dtype=torch.int64), torch.zeros(0), torch.zeros(1).expand(1 << 20)),
    *(SPARSE, torch.zeros(1 << 20, 1 << 20, device="meta"), torch.zeros(3, dtype=torch.complex64)),
    *(torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8), torch.full((), float("nan"))),
)
RUN = Circumstances(classes=("0", "1"), weighted=False, precision="fp32", base_lr=1e-3, recipe_lr=1e-3)


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The checkpoints of a run that was cut off within its third epoch."""
    folder = tmp_path_factory.mktemp("states") / "base"
    with pytest.raises(KeyboardInterrupt):
        fit(folder, Recorder(fail_at=25))
    shutil.rmtree(folder / PREVIOUS)
    return folder


def fit(folder: Path, *observers: Any) -> Trainer:
    guards = [
        CollapseGuard(CollapseConfig(), "rescue", replace(RUN)),
        NonFiniteGuard(NonFiniteConfig(), "rescue", replace(RUN)),
    ]
    setup = Setup(folder=folder, rescue=RescueConfig(), judges=guards)
    trainer = setup.trainer(*observers)
    trainer.classes, trainer.state.classes = ("0", "1"), 2
    trainer.fit(setup.loader(), setup.valid())
    return trainer


def places(node: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if at:
        yield at
    if isinstance(node, dict):
        for key, value in node.items():
            yield from places(value, (*at, key))
    elif isinstance(node, list) and node:
        for place in range(len(node)) if at[0] == "random" and len(at) == 2 else (0,):
            yield from places(node[place], (*at, place))


def put(node: Any, at: tuple[Any, ...], value: Any) -> Any:
    if not at:
        return value
    copy = dict(node) if isinstance(node, dict) else list(node)
    if value is GONE and len(at) == 1:
        del copy[at[0]]
    else:
        copy[at[0]] = put(node[at[0]], at[1:], value)
    return copy


def write_state(folder: Path, state: Any) -> None:
    """Make it the state of the newest checkpoint, sealed and of the same position."""
    (folder / LAST / STATE).unlink()
    torch.save(state, folder / LAST / STATE)
    manifest = read_manifest(folder / LAST)
    if isinstance(state.get("position"), dict):
        manifest["position"] = state["position"]
    write_manifest(folder / LAST, manifest)


def load(folder: Path) -> Any:
    return torch.load(folder / LAST / STATE, weights_only=True)


@pytest.mark.parametrize("start", range(0, EDITS, PER_TEST))
def test_an_edited_state_is_trained_on_with_or_refused(start: int, stopped: Path, tmp_path: Path) -> None:
    state = load(stopped)
    every = [(at, value) for at in places(state) for value in OTHERS if not (value is GONE and isinstance(at[-1], int))]
    share = max(1, len(every) // EDITS) | 1
    outcomes = []
    for at, value in every[start * share :: share][:PER_TEST]:
        label = f"{at}: {'removed' if value is GONE else repr(value)[:60]}"
        folder = copied(stopped, tmp_path / "run")
        edited = put(state, at, value)
        if "position" in edited and isinstance(edited["position"], dict) and 10**400 in edited["position"].values():
            continue  # no manifest holds it
        write_state(folder, edited)
        try:
            fit(folder)
            outcomes.append("used")
        except (UserError, TrainingAbortedError) as error:
            outcomes.append(type(error).__name__)
        except Exception as error:
            raise AssertionError(label) from error
    assert len(outcomes) > PER_TEST // 2


MOMENT = ("optimizer", "state", 0, "exp_avg_sq")


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        # These made a fused kernel write beyond its memory.
        (MOMENT, torch.zeros(3), r"exp_avg_sq: expected a tensor \[20, 6\], got \[3\]"),
        (MOMENT, torch.zeros(20, 6, dtype=torch.float16), r"exp_avg_sq: expected torch.float32, got torch.float16"),
        (MOMENT, torch.zeros(1, 6).expand(20, 6), r"exp_avg_sq: expected a tensor with memory for each"),
        (MOMENT, torch.zeros(6, 20).t(), r"exp_avg_sq: expected numbers one after the other"),
        (MOMENT[:3], {"step": torch.tensor(1.0)}, r"expected step, exp_avg and exp_avg_sq, got step"),
        (("optimizer", "state"), {}, r"optimizer\.state: missing"),
        (("optimizer", "state"), {99: {}}, r"optimizer\.state\[99\]: there is no such parameter"),
        (("optimizer", "param_groups", 0, "amsgrad"), True, r"amsgrad: expected false, got true"),
        (("optimizer", "param_groups", 0, "lr"), float("inf"), r"lr: must be a finite number"),
        (("history", "epochs"), [], r"history\.epochs: expected 2 of them"),
        (("random", "numpy", 2), 10**6, r"random\.numpy\[2\]: expected a position of 0 to 624"),
        (("epoch", "sums"), torch.zeros(5), r"epoch\.sums: expected a tensor \[4\], got \[5\]"),
        (("watch", "counts"), None, r"watch: expected all of its tensors, or none"),
        (("schedule",), None, r"schedule: missing"),
        (("schedule", "_last_lr"), 3, r"schedule\._last_lr: expected a list"),
        (("judges", "collapse", "ranking", "classes"), {}, r"ranking\.classes: expected 0, 1"),
        (("judges", "collapse", "window", "events", 0, "loss"), "x", r"window\.events\[0\]\.loss: expected a number"),
    ],
)
def test_a_state_that_no_run_writes_is_named(
    at: tuple[Any, ...], value: Any, message: str, stopped: Path, tmp_path: Path
) -> None:
    folder = copied(stopped, tmp_path / "run")
    write_state(folder, put(load(folder), at, value))
    with pytest.raises(UserError, match=r"last: holds no state that this run can go on from: ") as caught:
        fit(folder)
    assert len(str(caught.value).splitlines()) == 1
    with pytest.raises(UserError, match=message):
        fit(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda weights: weights.to(torch.int32), r"holds torch\.int32, but must hold torch\.float32"),
        (lambda weights: weights.half(), r"holds torch\.float16, but must hold torch\.float32"),
        (lambda weights: torch.full_like(weights, float("nan")), r"holds numbers that are not finite"),
        (lambda weights: torch.full_like(weights, float("inf")), r"holds numbers that are not finite"),
        (lambda weights: weights.reshape(-1)[:1].contiguous(), r" is \[1\], but must be "),
    ],
)
def test_weights_of_another_kind_are_refused(change: Any, message: str, stopped: Path, tmp_path: Path) -> None:
    folder = copied(stopped, tmp_path / "run")
    weights = load_file(folder / LAST / MODEL)
    (folder / LAST / MODEL).unlink()
    save_file({name: change(tensor) for name, tensor in weights.items()}, folder / LAST / MODEL)
    write_manifest(folder / LAST, read_manifest(folder / LAST))
    with pytest.raises(UserError, match=rf"model\.safetensors: holds no weights of this model: .*{message}"):
        fit(folder)
