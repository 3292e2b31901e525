"""One optimizer update: exact under accumulation, processes, mixed precision and a partial group (see the formulas).

The gradient of an update is that of ``Σ_i w_i ℓ_i / Σ_i w_i`` over all samples of its group, over all micro-batches and
all processes. Dividing each micro-batch's mean by the number of micro-batches would only be right if all had the same
weight sum; so the loss returns sums, and the weight of the whole group is known before its first forward pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
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
from counterpoise.engine.watch import Watch
from counterpoise.losses import Loss


@dataclass(frozen=True)
class UpdateResult:
    """What an update did."""

    figures: Tensor
    """Sum of weighted losses over the group with penalties, sum of weights, gradient norm before clipping, ``[3]``;
    it stays on the device until somebody logs it."""
    stepped: bool
    """False where the gradient scaler skipped the step. A step left out because loss or gradient is not finite counts
    as made: the device alone knows of it, and it is an error rather than a search for a scale."""


class Updater:
    """Computes updates of one model with one optimizer.

    An update whose loss or gradient is not finite leaves parameters and optimizer as they are.

    Args:
        fabric: device, precision and processes.
        model: as wrapped by ``fabric.setup``.
        optimizer: as it was before ``fabric.setup``.
        loss: see :class:`counterpoise.losses.Loss`.
        clip_norm: largest gradient norm; ``None`` does not clip.
        components: named parameters by component, to tell their gradient norms apart.
    """

    component_norms: dict[str, Tensor]
    """Gradient norm before clipping by component, at the last update that watched them; without those that had no
    gradient at all, because nothing of them was run."""

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
        self.watch = Watch()
        # Fabric's wrapper adds conversions and hooks that cost a small model more than they give; what is left is this.
        self._network = model._forward_module
        self.component_norms = {}
        self._components = {name: [parameter for _, parameter in named] for name, named in components.items()}
        self._parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]

    @property
    def scaler(self) -> torch.amp.GradScaler | None:
        """The gradient scaler, where the precision has one."""
        return scaler_of(self.fabric)

    def run(self, group: Group, *, watch_components: bool = False) -> UpdateResult:
        """One whole update.

        Args:
            group: this process's share of the update's samples.
            watch_components: also leave the gradient norm of every component in ``component_norms``.
        """
        total, weight = self.gradients(group)
        return self.step(total, weight, watch_components=watch_components)

    def gradients(self, group: Group) -> tuple[Tensor, Tensor]:
        """Forward and backward over the group's micro-batches.

        Nothing but gradients has changed if this fails, for want of memory say: after ``discard`` it can be done again.

        Returns:
            sum of the weighted losses with penalties, over all processes, and sum of the weights.
        """
        self.watch.begin()
        batches = [batch.to(self.fabric.device) for batch in group.batches]
        weight = self._weight(batches, group.idle)
        total = torch.zeros_like(weight)
        for index, batch in enumerate(batches):
            with self._no_sync(index < len(batches) - 1):
                total += self._backward(batch, weight, group)
        return self._sum_over_processes(total), weight

    def discard(self) -> None:
        """Drop all gradients."""
        self.optimizer.zero_grad(set_to_none=True)

    def step(self, total: Tensor, weight: Tensor, *, watch_components: bool = False) -> UpdateResult:
        """Clip, step if loss and gradient are finite, and drop the gradients; takes ``gradients``'s answer."""
        norm = self._clip(watch_components)
        self.watch.update(total, weight, norm, scaled=self.scaler is not None)
        stepped = self._step(norm + total.to(norm.dtype))
        self.discard()
        return UpdateResult(torch.stack([total, weight, norm.to(weight.dtype)]), stepped)

    def _weight(self, batches: Sequence[Batch], idle: bool) -> Tensor:
        weight = self.loss.weight(batches[0].labels)
        for batch in batches[1:]:
            weight = weight + self.loss.weight(batch.labels)
        return self._sum_over_processes(weight * 0 if idle else weight)

    def _backward(self, batch: Batch, weight: Tensor, group: Group) -> Tensor:
        precision = self.fabric.strategy.precision
        with precision.forward_context():
            output = call(self._network, precision.convert_input(batch.inputs))
        if not group.idle:
            self.watch.batch(output.logits, batch.labels)
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
        norm = _norm(self._parameters)
        if watch_components:
            self.component_norms = {
                name: _norm(named).to(norm.device)
                for name, named in self._components.items()
                if any(parameter.grad is not None for parameter in named)
            }
        if self.clip_norm is not None:
            clip_grads_with_norm_(self._parameters, self.clip_norm, norm)
        return norm

    def _step(self, seen: Tensor) -> bool:
        if self.scaler is None:
            self._step_if_finite(seen)
            return True
        before = self.scaler.get_scale()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        return self.scaler.get_scale() >= before

    def _step_if_finite(self, seen: Tensor) -> None:
        """Step, unless ``seen``, loss plus gradient norm, is not finite.

        On a CPU it is simply read. Elsewhere a fused optimizer is told by a tensor, as ``GradScaler`` does, and nothing
        waits; any other optimizer there has to wait for it, since no step can be taken back.
        """
        optimizer: Any = self.optimizer
        told = getattr(optimizer, "_step_supports_amp_scaling", False) and optimizer.state  # the first step makes it
        if seen.device.type == "cpu" or not told:
            if math.isfinite(seen.item()):
                optimizer.step()
            return
        optimizer.found_inf = not_finite(seen)
        optimizer.step()
        del optimizer.found_inf

    def _sum_over_processes(self, value: Tensor) -> Tensor:
        if self.fabric.world_size == 1:
            return value
        return self.fabric.all_reduce(value, reduce_op="sum")  # type: ignore[return-value]


@contextmanager
def scaled_rates(optimizer: Optimizer, factor: float) -> Iterator[None]:
    """While inside, every group's learning rate is multiplied; the schedule finds its own again afterwards."""
    if factor == 1.0:
        yield
        return
    rates = [group["lr"] for group in optimizer.param_groups]
    try:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * factor
        yield
    finally:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate


def not_finite(value: Tensor) -> Tensor:
    """1 where ``value`` is NaN or infinite, else 0; float32, as fused optimizers want it."""
    return (value - value).ne(0).float()  # NaN and infinity alike give NaN, which equals nothing


def _norm(parameters: Sequence[nn.Parameter]) -> Tensor:
    return get_total_norm([parameter.grad for parameter in parameters if parameter.grad is not None])
