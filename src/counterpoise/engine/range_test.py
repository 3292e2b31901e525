"""The LR range test on a trainer's own pieces; afterwards everything is as it was, bit for bit."""

from __future__ import annotations

import copy
import math
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from counterpoise.data.loader import Group, Loader
from counterpoise.engine.loaders import GroupSource
from counterpoise.engine.rng import random_state, seed_update, set_random_state
from counterpoise.engine.trainer import Trainer
from counterpoise.engine.update import UpdateResult
from counterpoise.optim.lr_finder import Curve, LRRangeTestConfig, has_diverged


def range_test(trainer: Trainer, train: Loader | Iterable[Any], config: LRRangeTestConfig) -> Curve:
    """Raise the learning rate exponentially from update to update, and keep the losses.

    The updates are the trainer's own: its batches, accumulation, precision and clipping. One factor scales all
    parameter groups, so that their ratios stay; a rate of the curve stands where the optimizer's own ``lr`` does. It
    ends early once the smoothed loss is ``config.diverged`` times its best, or a loss is not finite. Batches are drawn
    from further epochs where one has too few. Model, optimizer, scaler, randomness and loaders are left as they were.

    Args:
        trainer: made, not necessarily fitted; its schedule, observers, judges and checkpoints take no part.
        train: as for :meth:`Trainer.fit`.
        config: see its fields.
    """
    optimizer = trainer.optimizer
    factors = _factors(optimizer)
    source = trainer._source(train)
    losses: list[float] = []
    with undisturbed(trainer, train), closing(_cycle(source)) as groups:
        trainer.model.train()
        for number, (lr, group) in enumerate(zip(config.rates().tolist(), groups, strict=False)):
            for settings, factor in zip(optimizer.param_groups, factors, strict=True):
                settings["lr"] = lr * factor
            total, weight, _ = _update(trainer, source, group, number).figures.tolist()
            loss = total / weight if weight else math.nan
            if not math.isfinite(loss):
                return Curve.of(config, losses, "not_finite")
            losses.append(loss)
            if has_diverged(losses, config.smoothing, config.diverged):
                return Curve.of(config, losses, "diverged")
    return Curve.of(config, losses, "complete")


def _update(trainer: Trainer, source: GroupSource, group: Group, number: int) -> UpdateResult:
    """An update as in training: done again in smaller micro-batches where memory runs out."""

    def attempt(group: Group) -> tuple[Tensor, Tensor]:
        trainer.updater.discard()
        seed_update(trainer.seed, trainer.fabric.global_rank, number, trainer.fabric.device)
        return trainer.updater.gradients(group)

    return trainer.updater.step(*trainer.state.memory.train(group, source, attempt))


def _factors(optimizer: Optimizer) -> list[float]:
    """Each group's learning rate in units of the optimizer's own, warm-up aside."""
    own = float(optimizer.defaults["lr"])
    return [float(group.get("initial_lr", group["lr"])) / own for group in optimizer.param_groups]


def _cycle(source: GroupSource) -> Generator[Group, None, None]:
    """Groups of one epoch after another, for as long as there are any."""
    for epoch in count():
        group = None
        for group in source.groups(epoch):
            yield group
        if group is None:
            return


@contextmanager
def undisturbed(trainer: Trainer, train: Loader | Iterable[Any]) -> Iterator[None]:
    """Whatever is trained inside, afterwards everything that training changes is as it was, bit for bit.

    That is: parameters, buffers, gradients, train or eval mode, the optimizer's state and settings, the gradient
    scaler, the generators of Python, NumPy and PyTorch and those of ``train``. Copies stay on the device meanwhile.
    """
    modules = [*trainer.module.modules(), *trainer.loss.modules()]
    scaler = trainer.updater.scaler
    with ExitStack() as stack:
        stack.callback(set_random_state, random_state())
        for generator in _generators(train):
            stack.callback(generator.set_state, generator.get_state())
        if scaler is not None:
            stack.callback(scaler.load_state_dict, scaler.state_dict())
        stack.callback(_restore_modules, [_keep_module(module) for module in modules])
        stack.callback(_restore_gradients, [(p, p.grad) for p in trainer.module.parameters()])
        stack.callback(_restore_optimizer, trainer.optimizer, *_keep_optimizer(trainer.optimizer))
        stack.callback(trainer.updater.watch.load_state_dict, trainer.updater.watch.state_dict())
        stack.callback(trainer.state.memory.load_state_dict, trainer.state.memory.state_dict())
        trainer.optimizer.zero_grad(set_to_none=True)
        yield


def _generators(train: Any) -> Iterator[torch.Generator]:
    """Generators that a user's ``DataLoader`` draws from, beside the global ones."""
    for owner in (train, *(getattr(train, name, None) for name in ("loader", "sampler", "batch_sampler"))):
        for holder in (owner, getattr(owner, "sampler", None)):
            generator = getattr(holder, "generator", None)
            if isinstance(generator, torch.Generator):
                yield generator


@dataclass(frozen=True)
class _KeptModule:
    """One module's own state, without its children's."""

    module: nn.Module
    training: bool
    buffers: dict[str, Tensor | None]
    contents: list[tuple[Tensor, Tensor]]
    """Each parameter and buffer with a copy of what it held."""


def _keep_module(module: nn.Module) -> _KeptModule:
    tensors = [t for t in (*module._parameters.values(), *module._buffers.values()) if t is not None]
    contents = [(tensor, _copy(tensor)) for tensor in tensors]
    return _KeptModule(module, module.training, dict(module._buffers), contents)


@torch.no_grad()
def _restore_modules(kept: Sequence[_KeptModule]) -> None:
    for one in kept:
        one.module.training = one.training
        one.module._buffers.update(one.buffers)  # a forward pass may have put another tensor in its place
        for tensor, content in one.contents:
            tensor.copy_(content)


def _restore_gradients(kept: Sequence[tuple[nn.Parameter, Tensor | None]]) -> None:
    for parameter, gradient in kept:
        parameter.grad = gradient


def _keep_optimizer(optimizer: Optimizer) -> tuple[dict[Any, Any], list[dict[str, Any]]]:
    """State by parameter, and each group's settings."""
    state = {parameter: {name: _copy(v) for name, v in own.items()} for parameter, own in optimizer.state.items()}
    settings = [{k: copy.deepcopy(v) for k, v in group.items() if k != "params"} for group in optimizer.param_groups]
    return state, settings


def _restore_optimizer(optimizer: Optimizer, state: dict[Any, Any], settings: Sequence[dict[str, Any]]) -> None:
    optimizer.state.clear()
    optimizer.state.update(state)
    for group, kept in zip(optimizer.param_groups, settings, strict=True):
        parameters = group["params"]
        group.clear()
        group.update(kept, params=parameters)


def _copy(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else copy.deepcopy(value)
