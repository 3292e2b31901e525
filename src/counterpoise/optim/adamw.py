"""AdamW over named parameter groups: one pair (decayed, not decayed) for each component of the model."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import torch
from torch import nn

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, POSITIVE, Auto, Range
from counterpoise.errors import Problem, UserError, fail, nearest
from counterpoise.optim.scaling import Scaling

DIRECT = "model"
"""Component name of parameters that hang on the model itself rather than on a child."""


@dataclass(frozen=True, kw_only=True)
class AdamWConfig:
    """AdamW (Loshchilov and Hutter 2019)."""

    lr: Annotated[float | Auto, POSITIVE] = 2e-5
    """Peak learning rate at ``base_batch``; auto finds it by a range test (docs/lr_finder.md)."""
    weight_decay: Annotated[float, NON_NEGATIVE] = 0.01
    """Decoupled weight decay; biases and norms have none."""
    betas: Annotated[tuple[float, ...], Range(ge=0, lt=1)] = (0.9, 0.999)
    """Decay rates of the two moments."""
    eps: Annotated[float, POSITIVE] = 1e-8
    """Added to the denominator."""
    lr_factors: Annotated[dict[str, float], NON_NEGATIVE] = field(default_factory=dict)
    """Factor on the learning rate by component, e.g. {head: 2.0}; a component that is not named has 1."""
    scaling: Scaling = "sqrt"
    """How learning rate and warm-up follow the effective batch."""
    base_batch: Annotated[int, AT_LEAST_ONE] = 16
    """The effective batch that ``lr`` is meant for."""

    def problems(self) -> Iterable[Problem]:
        """Relations between the fields."""
        if len(self.betas) != 2:
            yield Problem("betas", f"must hold two numbers, but holds {len(self.betas)}.")


class AdamW(torch.optim.AdamW):
    """``torch.optim.AdamW`` whose groups follow the model's components.

    The fused step, one kernel for all of a group's parameters, takes a tenth of the plain one's time on a small model.

    Args:
        config: see its fields.
        model: its trainable parameters are optimised; each stands in exactly one group.
        lr: the learning rate after scaling.

    Raises:
        UserError: if ``lr_factors`` names no component, or nothing is trainable.
    """

    Config: ClassVar[type] = AdamWConfig

    def __init__(self, config: AdamWConfig, model: nn.Module, lr: float) -> None:
        groups = parameter_groups(model, lr=lr, weight_decay=config.weight_decay, factors=config.lr_factors)
        fused = all(parameter.device.type in ("cpu", "cuda") for group in groups for parameter in group["params"])
        super().__init__(groups, lr=lr, betas=(config.betas[0], config.betas[1]), eps=config.eps, fused=fused)


def components(model: nn.Module) -> dict[str, list[tuple[str, nn.Parameter]]]:
    """Trainable parameters by component: the model's direct children, in order, and ``model`` for its own."""
    every = all_components(model)
    trainable = {name: [one for one in named if one[1].requires_grad] for name, named in every.items()}
    return {name: named for name, named in trainable.items() if named}


def all_components(model: nn.Module) -> dict[str, list[tuple[str, nn.Parameter]]]:
    """The same with all parameters, frozen ones too."""
    found: dict[str, list[tuple[str, nn.Parameter]]] = {}
    for name, parameter in model.named_parameters():
        component = name.split(".", 1)[0] if "." in name else DIRECT
        found.setdefault(component, []).append((name, parameter))
    return found


def parameter_groups(
    model: nn.Module, *, lr: float, weight_decay: float, factors: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Optimizer groups: per component those with weight decay (matrices) and those without (biases, norms).

    Raises:
        UserError: if ``factors`` names no component, or nothing is trainable.
    """
    parts = components(model)
    known = all_components(model)  # the factor of a frozen one has no effect
    unknown = [name for name in factors if name not in known]
    if unknown:
        raise UserError(
            Problem(f"optimizer.lr_factors.{name}", "the model has no such component.", nearest(name, parts))
            for name in unknown
        )
    groups = []
    for component, named in parts.items():
        decayed = [parameter for _, parameter in named if parameter.ndim >= 2]
        plain = [parameter for _, parameter in named if parameter.ndim < 2]
        for suffix, parameters, decay in (("decay", decayed, weight_decay), ("no_decay", plain, 0.0)):
            if parameters:
                rate = lr * factors.get(component, 1.0)
                group = {"name": f"{component}.{suffix}", "params": parameters, "lr": rate, "weight_decay": decay}
                groups.append(group)
    if not groups:
        raise fail("model", "nothing is left to train: every parameter is frozen.", "Unfreeze a part of the model.")
    _check_partition(model, groups)
    return groups


def _check_partition(model: nn.Module, groups: list[dict[str, Any]]) -> None:
    grouped = [id(parameter) for group in groups for parameter in group["params"]]
    trainable = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    if len(grouped) != len(set(grouped)) or set(grouped) != trainable:
        raise AssertionError("every trainable parameter must stand in exactly one optimizer group")
