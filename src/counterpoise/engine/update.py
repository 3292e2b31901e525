"""One optimizer update: exact under accumulation, processes, mixed precision and a partial group (see the formulas).

The gradient of an update is that of ``Σ_i w_i ℓ_i / Σ_i w_i`` over all samples of its group, over all micro-batches and
all processes. Dividing each micro-batch's mean by the number of micro-batches would only be right if all had the same
weight sum; so the loss returns sums, and the weight of the whole group is known before its first forward pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from torch import Tensor, nn
from torch.optim import Optimizer

from counterpoise.data.loader import Group
from counterpoise.engine.evaluation import call
from counterpoise.engine.precision import scaler_of
from counterpoise.losses import Loss


@dataclass(frozen=True)
class UpdateResult:
    """What an update did; tensors stay on the device until somebody logs them."""

    total: Tensor
    """Sum of weighted losses over the group, penalty included, float64, scalar."""
    weight: Tensor
    """Sum of weights over the group, float64, scalar."""
    grad_norm: Tensor
    """Norm of the gradient before clipping, scalar."""
    stepped: bool
    """False where the gradient scaler skipped the step."""


class Updater:
    """Computes updates of one model with one optimizer.

    Args:
        fabric: device, precision and processes.
        model: as wrapped by ``fabric.setup``.
        optimizer: as wrapped by ``fabric.setup``.
        loss: see :class:`counterpoise.losses.Loss`.
        clip_norm: largest gradient norm; ``None`` does not clip.
        components: named parameters by component, to tell their gradient norms apart.
    """

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
        self.components = components
        self.scaler = scaler_of(fabric)
        self.component_norms: dict[str, Tensor] = {}

    def run(self, group: Group, *, watch_components: bool = False) -> UpdateResult:
        """Forward and backward over the group's micro-batches, then one step.

        Args:
            group: this process's share of the update's samples.
            watch_components: also leave the gradient norm of every component in ``component_norms``.
        """
        batches = [batch.to(self.fabric.device) for batch in group.batches]
        weight = torch.stack([self.loss.weight(batch.labels) for batch in batches]).sum()
        if group.idle:
            weight = weight * 0
        weight = self._sum_over_processes(weight)
        total = torch.zeros_like(weight)
        for index, batch in enumerate(batches):
            with self._no_sync(index < len(batches) - 1):
                total += self._backward(batch, weight, group)
        norm = self._clip(watch_components)
        stepped = self._step()
        self.optimizer.zero_grad(set_to_none=True)
        return UpdateResult(self._sum_over_processes(total), weight, norm, stepped)

    def _backward(self, batch: Any, weight: Tensor, group: Group) -> Tensor:
        output = call(self.model, batch.inputs)
        total, _ = self.loss(output.logits, batch.labels)
        if output.penalty is not None:
            # The penalty is a mean over the micro-batch: it counts by the micro-batch's share of the group's samples.
            total = total + output.penalty * (weight * (len(batch) / group.samples)).to(total.dtype)
        if group.idle:
            total = total * 0
        # DDP averages gradients over the processes; the sum is what is wanted.
        objective = total * (self.fabric.world_size / weight).to(total.dtype)
        self.fabric.backward(objective, model=self.model)
        detached: Tensor = total.detach()
        return detached.to(weight.dtype)

    def _no_sync(self, enabled: bool) -> AbstractContextManager[None]:
        return self.fabric.no_backward_sync(self.model, enabled=enabled)

    def _clip(self, watch_components: bool) -> Tensor:
        if watch_components:
            # Read before clipping; under fp16 the gradients still carry the scale, which is taken out again.
            scale = 1.0 if self.scaler is None else self.scaler.get_scale()
            self.component_norms = {
                name: torch.nn.utils.get_total_norm([p.grad for _, p in named if p.grad is not None]) / scale
                for name, named in self.components.items()
            }
        limit = float("inf") if self.clip_norm is None else self.clip_norm
        norm = self.fabric.clip_gradients(self.model, self.optimizer, max_norm=limit, error_if_nonfinite=False)
        assert norm is not None
        return norm.detach()

    def _step(self) -> bool:
        if self.scaler is None:
            self.optimizer.step()
            return True
        before = self.scaler.get_scale()
        self.optimizer.step()  # Fabric's precision plug-in steps and updates the scaler
        return self.scaler.get_scale() >= before

    def _sum_over_processes(self, value: Tensor) -> Tensor:
        if self.fabric.world_size == 1:
            return value
        return self.fabric.all_reduce(value, reduce_op="sum")  # type: ignore[return-value]
