"""One optimizer update: exact under accumulation, processes, mixed precision and a partial group (see the formulas).

The gradient of an update is that of ``Σ_i w_i ℓ_i / Σ_i w_i`` over all samples of its group, over all micro-batches and
all processes. Dividing each micro-batch's mean by the number of micro-batches would only be right if all had the same
weight sum; so the loss returns sums, and the weight of the whole group is known before its first forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from counterpoise.data.encode.base import Batch
from counterpoise.data.loader import Group
from counterpoise.engine.evaluation import call
from counterpoise.engine.precision import scaler_of
from counterpoise.losses import Loss


@dataclass(frozen=True)
class UpdateResult:
    """What an update did."""

    figures: Tensor
    """Sum of weighted losses over the group with penalties, sum of weights, gradient norm before clipping, ``[3]``;
    it stays on the device until somebody logs it."""
    stepped: bool
    """False where the gradient scaler skipped the step. A step left out because the gradient is not finite counts as
    made: its figures tell, and it is an error rather than a search for a scale."""


class Updater:
    """Computes updates of one model with one optimizer.

    Args:
        fabric: device, precision and processes.
        model: as wrapped by ``fabric.setup``.
        optimizer: as it was before ``fabric.setup``.
        loss: see :class:`counterpoise.losses.Loss`.
        clip_norm: largest gradient norm; ``None`` does not clip.
        components: named parameters by component, to tell their gradient norms apart.
    """

    component_norms: dict[str, Tensor]
    """Gradient norm before clipping by component, at the last update that watched them."""

    def __init__(
        self,
        fabric: Fabric,
        model: _FabricModule,
        optimizer: Optimizer,
        loss: Loss,
        clip_norm: float | None,
        components: Mapping[str, Sequence[tuple[str, nn.Parameter]]],
    ) -> None:
        self.fabric = fabric
        self.model = model
        self.optimizer = optimizer
        self.loss = loss
        self.clip_norm = clip_norm
        self.scaler = scaler_of(fabric)
        # Fabric's wrapper adds conversions and hooks that cost a small model more than they give; what is left is this.
        self._network = model._forward_module
        self._precision = fabric.strategy.precision
        self.component_norms = {}
        self._components = {name: [parameter for _, parameter in named] for name, named in components.items()}
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    def run(self, group: Group, *, watch_components: bool = False) -> UpdateResult:
        """Forward and backward over the group's micro-batches, then one step.

        Args:
            group: this process's share of the update's samples.
            watch_components: also leave the gradient norm of every component in ``component_norms``.
        """
        batches = [batch.to(self.fabric.device) for batch in group.batches]
        weight = self._weight(batches, group.idle)
        total = torch.zeros_like(weight)
        for index, batch in enumerate(batches):
            with self._no_sync(index < len(batches) - 1):
                total += self._backward(batch, weight, group)
        norm = self._clip(watch_components)
        stepped = self._step(norm)
        self.optimizer.zero_grad(set_to_none=True)
        return UpdateResult(torch.stack([self._sum_over_processes(total), weight, norm.to(weight.dtype)]), stepped)

    def _weight(self, batches: Sequence[Batch], idle: bool) -> Tensor:
        weight = self.loss.weight(batches[0].labels)
        for batch in batches[1:]:
            weight = weight + self.loss.weight(batch.labels)
        return self._sum_over_processes(weight * 0 if idle else weight)

    def _backward(self, batch: Batch, weight: Tensor, group: Group) -> Tensor:
        with self._precision.forward_context():
            output = call(self._network, self._precision.convert_input(batch.inputs))
        total, _ = self.loss(output.logits, batch.labels)
        if output.penalty is not None:
            # The penalty is a mean over the micro-batch: it counts by the micro-batch's share of the group's samples.
            total = total + output.penalty * (weight * (len(batch) / group.samples))
        # The gradient of total / weight. DDP averages over the processes; the sum is what is wanted.
        scale = ((0 if group.idle else self.fabric.world_size) / weight).to(total.dtype)
        total.backward(scale if self.scaler is None else self.scaler.scale(scale))
        detached: Tensor = total.detach()
        return detached * 0 if group.idle else detached

    def _no_sync(self, enabled: bool) -> AbstractContextManager[None]:
        return self.fabric.no_backward_sync(self.model, enabled=enabled)

    def _clip(self, watch_components: bool) -> Tensor:
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if watch_components:
            self.component_norms = {name: _norm(named) for name, named in self._components.items()}
        norm = _norm(self._parameters)
        if self.clip_norm is not None:
            clip_grads_with_norm_(self._parameters, self.clip_norm, norm)
        return norm

    def _step(self, norm: Tensor) -> bool:
        if self.scaler is None:
            self._step_if_finite(norm)
            return True
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= before

    def _step_if_finite(self, norm: Tensor) -> None:
        """Step, unless the gradient is not finite: then parameters and the optimizer's state stay as they are.

        On a CPU the norm is simply read. Elsewhere a fused optimizer is told by a tensor, as ``GradScaler`` does, and
        nothing waits; any other optimizer there steps all the same, and it is for a judge to abort the run.
        """
        if norm.device.type == "cpu":
            if math.isfinite(norm.item()):
                self.optimizer.step()
            return
        if not getattr(self.optimizer, "_step_supports_amp_scaling", False):
            self.optimizer.step()
            return
        optimizer: Any = self.optimizer
        optimizer.found_inf = not_finite(norm)
        optimizer.step()
        del optimizer.found_inf

    def _sum_over_processes(self, value: Tensor) -> Tensor:
        if self.fabric.world_size == 1:
            return value
        return self.fabric.all_reduce(value, reduce_op="sum")  # type: ignore[return-value]


def not_finite(value: Tensor) -> Tensor:
    """1 where ``value`` is NaN or infinite, else 0; float32, as fused optimizers want it."""
    return (value - value).ne(0).float()  # NaN and infinity alike give NaN, which equals nothing


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    return get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
