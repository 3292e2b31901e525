"""What ``state.pt`` holds, and whether this run can go on from it: looked at before anything of it is used.

PyTorch runs no code of such a file, and checks no more: a tensor of another size in an optimizer's state would have its
kernels write beyond their memory.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn
from torch.optim import Adam, AdamW, Optimizer

from counterpoise.config.values import show
from counterpoise.events import Alarm, EpochEvent, Rescue
from counterpoise.metrics import BestEpoch
from counterpoise.run_files import FittingSizes, PositionRecord
from counterpoise.typed import LARGEST, Plain, Real, built, checked

NUMPY_WORDS = 624
"""Of the Mersenne Twister; its position is one of them, or behind the last."""
_EXACT = (Adam, AdamW)
"""Optimizers whose state is known: a count and two or three tensors like each parameter."""


class HistoryState(TypedDict):
    """What training went through."""

    epochs: list[dict[str, Any]]
    best: list[Any]
    verdict: list[Any]
    alarms: list[dict[str, Any]]
    rescues: list[dict[str, Any]]


class EpochState(TypedDict):
    """The running figures of an epoch."""

    sums: Tensor
    lr: Real
    component_norms: dict[str, Any]


class WatchState(TypedDict):
    """What was counted since the last logged update."""

    counts: Tensor | None
    figures: Tensor | None
    moments: Tensor | None


class OptimizerState(TypedDict):
    """As every optimizer of PyTorch gives it."""

    state: dict[int, dict[str, Any]]
    param_groups: list[dict[str, Any]]


class RandomState(TypedDict):
    """Of all global generators."""

    python: list[Any]
    numpy: list[Any]
    torch: Tensor
    cuda: NotRequired[Tensor]


class State(TypedDict):
    """``state.pt``."""

    position: PositionRecord
    history: HistoryState
    epoch: EpochState
    watch: WatchState
    memory: FittingSizes
    optimizer: OptimizerState
    schedule: dict[str, Any] | None
    scaler: dict[str, Any] | None
    judges: dict[str, dict[str, Any]]
    random: RandomState


def checked_state(content: object, classes: int | None) -> State:
    """A state whose values have the types and sizes that they must have, for any optimizer and schedule.

    Args:
        content: what was loaded.
        classes: of the model; ``None`` where that is not known.

    Raises:
        ValueError: naming what is not so.
    """
    for where, tensor in _tensors(content):
        _check_tensor(tensor, where)
    state = checked(State, content)
    _check_history(state["history"])
    _check_shape(state["epoch"]["sums"], (4,), "epoch.sums")
    for name, norm in state["epoch"]["component_norms"].items():
        _check_scalar(norm, f"epoch.component_norms.{name}")
    _check_watch(state["watch"], classes)
    _check_random(state["random"])
    return state


def check_optimizer(state: OptimizerState, optimizer: Optimizer, steps: int) -> None:
    """Hold an optimizer's state against the optimizer: its groups, and tensors of its parameters.

    Args:
        state: as it was loaded.
        optimizer: that is to take it up.
        steps: that were done.

    Raises:
        ValueError: naming what does not fit.
    """
    own = optimizer.state_dict()["param_groups"]
    if len(state["param_groups"]) != len(own):
        raise ValueError(f"optimizer.param_groups: expected {len(own)} of them, got {len(state['param_groups'])}")
    for place, (saved, group) in enumerate(zip(state["param_groups"], own, strict=True)):
        _check_group(saved, group, f"optimizer.param_groups[{place}]")
    if isinstance(optimizer, _EXACT) and steps and not state["state"]:
        raise ValueError("optimizer.state: missing")
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    for place, values in state["state"].items():
        where = f"optimizer.state[{show(place)}]"
        if isinstance(place, bool) or not 0 <= place < len(parameters):
            raise ValueError(f"{where}: there is no such parameter")
        if isinstance(optimizer, _EXACT):
            _check_moments(values, parameters[place], where)


def _check_group(saved: Mapping[str, Any], own: Mapping[str, Any], where: str) -> None:
    """Flags decide which kernel runs, so they are one's own; another version of PyTorch may know more or fewer."""
    for key, value in own.items():
        flag = value is None or isinstance(value, bool)
        if key not in saved:
            if flag:
                continue
            raise ValueError(f"{where}.{key}: missing")
        fixed = key in ("params", "name") or (flag and key != "fused")
        if fixed and saved[key] != value:
            raise ValueError(f"{where}.{key}: expected {show(value)}, got {show(saved[key])}")
        check_alike(saved[key], value, f"{where}.{key}")
        checked(Plain, saved[key], f"{where}.{key}")


def _check_moments(values: Mapping[str, Any], parameter: nn.Parameter, where: str) -> None:
    names = set(values) - {"max_exp_avg_sq"}
    if names != {"step", "exp_avg", "exp_avg_sq"}:
        raise ValueError(f"{where}: expected step, exp_avg and exp_avg_sq, got {', '.join(map(str, values))}")
    _check_scalar(values["step"], f"{where}.step")
    for name in values:
        if name == "step":
            continue
        tensor, key = values[name], f"{where}.{name}"
        _check_shape(tensor, tuple(parameter.shape), key)
        if tensor.dtype != parameter.dtype:
            raise ValueError(f"{key}: expected {parameter.dtype}, got {tensor.dtype}")
        if not tensor.is_contiguous() and tensor.stride() != parameter.stride():
            raise ValueError(f"{key}: expected numbers one after the other")


def check_alike(saved: object, own: object, where: str) -> None:
    """Raises ``ValueError`` unless plain values have the form of one's own: keys, lengths and types.

    A number may stand where one's own is null: what is still to come is null.
    """
    if isinstance(own, Mapping):
        if not isinstance(saved, Mapping) or saved.keys() != own.keys():
            raise ValueError(f"{where}: expected the keys {', '.join(map(str, own))}")
        for key in own:
            check_alike(saved[key], own[key], f"{where}.{key}")
    elif isinstance(own, list | tuple):
        if not isinstance(saved, list | tuple) or len(saved) != len(own):
            raise ValueError(f"{where}: expected a list of {len(own)}, got {show(saved)}")
        for place, (one, other) in enumerate(zip(saved, own, strict=True)):
            check_alike(one, other, f"{where}[{place}]")
    elif not _same_kind(saved, own):
        raise ValueError(f"{where}: expected a value such as {show(own)}, got {show(saved)}")


def _same_kind(saved: object, own: object) -> bool:
    if isinstance(own, bool | str | Tensor):
        return type(saved) is type(own)
    if saved is None:
        return own is None
    if isinstance(saved, bool) or not isinstance(saved, int | float):
        return False
    return not isinstance(saved, int) or abs(saved) < LARGEST


def _check_history(history: HistoryState) -> None:
    for place, epoch in enumerate(history["epochs"]):
        built(EpochEvent, epoch, f"history.epochs[{place}]")
    for place, rescue in enumerate(history["rescues"]):
        built(Rescue, rescue, f"history.rescues[{place}]")
    for place, alarm in enumerate(history["alarms"]):
        where = f"history.alarms[{place}]"
        checked(str, alarm.get("action"), f"{where}.action")
        built(Alarm, {key: value for key, value in alarm.items() if key != "action"}, where)
    BestEpoch.from_state(history["best"])
    check_alike(history["verdict"], [0, "", ""], "history.verdict")
    checked(int, history["verdict"][0], "history.verdict[0]")


def _check_watch(watch: WatchState, classes: int | None) -> None:
    counts, figures, moments = watch["counts"], watch["figures"], watch["moments"]
    if counts is None or figures is None or moments is None:
        if not counts is figures is moments is None:
            raise ValueError("watch: expected all of its tensors, or none")
        return
    if classes is None:
        classes = moments.shape[-1] if moments.ndim == 2 else 0
    _check_shape(counts, (2 * classes + 5,), "watch.counts")
    _check_shape(figures, (3,), "watch.figures")
    _check_shape(moments, (3, classes), "watch.moments")
    if counts.dtype != torch.int64:
        raise ValueError(f"watch.counts: expected {torch.int64}, got {counts.dtype}")


def _check_random(state: RandomState) -> None:
    if len(state["python"]) != 3 or not isinstance(state["python"][1], list):
        raise ValueError("random.python: expected a version, a list and a number")
    name, keys, position, has_gauss, cached = _of_length(state["numpy"], 5, "random.numpy")
    checked(str, name, "random.numpy[0]")
    if not isinstance(keys, Tensor) or keys.shape != (NUMPY_WORDS,) or keys.dtype != torch.int64:
        raise ValueError(f"random.numpy[1]: expected {NUMPY_WORDS} integers")
    if not 0 <= checked(int, position, "random.numpy[2]") <= NUMPY_WORDS:  # NumPy reads there without a look
        raise ValueError(f"random.numpy[2]: expected a position of 0 to {NUMPY_WORDS}, got {show(position)}")
    if checked(int, has_gauss, "random.numpy[3]") not in (0, 1):
        raise ValueError(f"random.numpy[3]: expected 0 or 1, got {show(has_gauss)}")
    checked(float, cached, "random.numpy[4]")


def _of_length(values: Sequence[Any], length: int, where: str) -> Sequence[Any]:
    if len(values) != length:
        raise ValueError(f"{where}: expected {length} values, got {len(values)}")
    return values


def _tensors(content: object) -> Iterator[tuple[str, Tensor]]:
    """All tensors of nested containers, by dotted key."""
    waiting: list[tuple[str, object]] = [("", content)]
    while waiting:
        where, node = waiting.pop()
        if isinstance(node, Tensor):
            yield where, node
        elif isinstance(node, Mapping):
            waiting += [(f"{where}.{key}" if where else str(key), item) for key, item in node.items()]
        elif isinstance(node, list | tuple):
            waiting += [(f"{where}[{place}]", item) for place, item in enumerate(node)]


def _check_tensor(tensor: Tensor, where: str) -> None:
    """Only plain tensors that own their numbers: neither sparse, quantized nor on no device, none of them twice."""
    plain = type(tensor) is Tensor and tensor.layout == torch.strided and tensor.device.type == "cpu"
    if not plain or tensor.is_quantized or tensor.is_complex() or tensor.requires_grad:
        raise ValueError(f"{where}: expected a plain tensor of numbers")
    end = (tensor.storage_offset() + tensor.numel()) * tensor.element_size()
    if end > tensor.untyped_storage().nbytes():
        raise ValueError(f"{where}: expected a tensor with memory for each of its numbers")


def _check_shape(tensor: object, shape: tuple[int, ...], where: str) -> None:
    if not isinstance(tensor, Tensor) or tensor.shape != shape:
        found = list(tensor.shape) if isinstance(tensor, Tensor) else show(tensor)
        raise ValueError(f"{where}: expected a tensor {list(shape)}, got {found}")
    if not (tensor.is_floating_point() or tensor.dtype == torch.int64):
        raise ValueError(f"{where}: expected numbers, got {tensor.dtype}")


def _check_scalar(value: object, where: str) -> None:
    if isinstance(value, Tensor):
        _check_shape(value, (), where)
        if not value.is_floating_point():
            raise ValueError(f"{where}: expected a floating point number, got {value.dtype}")
    else:
        checked(float, value, where)
