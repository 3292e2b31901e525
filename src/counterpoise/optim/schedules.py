"""Learning-rate schedules: per update, or per epoch on the validation metric.

All scale a group's own learning rate, so the ratios between groups stay. Warm-up begins above zero and decay ends above
zero: no update is spent on a learning rate of nothing.
"""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau, StepLR

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, POSITIVE, SHARE, Range
from counterpoise.errors import Problem


@dataclass(frozen=True)
class Horizon:
    """How long a schedule is, in its own units."""

    total_updates: int
    """Updates of the whole run; accumulation counted (see ``updates.updates_per_epoch``)."""
    warmup_ratio: float
    """Share of them that warm up, after scaling."""
    maximise: bool = True
    """Whether a larger validation score is a better one."""

    @property
    def warmup_updates(self) -> int:
        """Updates of the warm-up."""
        return round(self.total_updates * self.warmup_ratio)


@dataclass(frozen=True, kw_only=True)
class ScheduleConfig:
    """What every schedule has."""

    warmup_ratio: Annotated[float, SHARE] = 0.0
    """Share of all updates over which the learning rate rises linearly; scaled with the learning rate."""


class Schedule(ABC):
    """Sets the optimizer's learning rates; ``per`` says when the loop steps it."""

    Config: ClassVar[type[ScheduleConfig]] = ScheduleConfig
    per: ClassVar[Literal["update", "epoch"]] = "update"
    scheduler: Any
    """The PyTorch scheduler that does the work."""

    def step(self, score: float | None = None) -> None:
        """One update, or one epoch with its validation score, has passed."""
        self.scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Plain values only."""
        return self.scheduler.state_dict()  # type: ignore[no-any-return]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up ``state_dict``'s answer again; the optimizer's state holds the learning rates themselves."""
        self.scheduler.load_state_dict(state)


class Constant(Schedule):
    """Warm-up (if any), then the same learning rate to the end."""

    def __init__(self, config: ScheduleConfig, optimizer: Optimizer, horizon: Horizon) -> None:
        self.scheduler = LambdaLR(optimizer, lambda update: warmup(update, horizon))


@dataclass(frozen=True, kw_only=True)
class LinearWarmupConfig(ScheduleConfig):
    """Linear warm-up, linear decay."""

    warmup_ratio: Annotated[float, SHARE] = 0.1
    """Share of all updates over which the learning rate rises linearly; scaled with the learning rate."""


class LinearWarmup(Schedule):
    """Up linearly over the warm-up, then down linearly, towards zero after the last update."""

    Config: ClassVar[type[ScheduleConfig]] = LinearWarmupConfig

    def __init__(self, config: LinearWarmupConfig, optimizer: Optimizer, horizon: Horizon) -> None:
        def factor(update: int) -> float:
            return warmup(update, horizon) * (1 - decay_progress(update, horizon))

        self.scheduler = LambdaLR(optimizer, factor)


@dataclass(frozen=True, kw_only=True)
class CosineWarmupConfig(LinearWarmupConfig):
    """Linear warm-up, cosine decay."""

    final_factor: Annotated[float, SHARE] = 0.0
    """Where the cosine ends, as a factor on the learning rate."""


class CosineWarmup(Schedule):
    """Up linearly over the warm-up, then down along half a cosine (Loshchilov and Hutter 2017, without restarts)."""

    Config: ClassVar[type[ScheduleConfig]] = CosineWarmupConfig

    def __init__(self, config: CosineWarmupConfig, optimizer: Optimizer, horizon: Horizon) -> None:
        def factor(update: int) -> float:
            return warmup(update, horizon) * _cosine(1.0, config.final_factor, decay_progress(update, horizon))

        self.scheduler = LambdaLR(optimizer, factor)


@dataclass(frozen=True, kw_only=True)
class OneCycleConfig(LinearWarmupConfig):
    """One cycle."""

    initial_divisor: Annotated[float, Range(ge=1)] = 25.0
    """The cycle starts at the learning rate divided by this."""
    final_divisor: Annotated[float, Range(ge=1)] = 10_000.0
    """The cycle ends at its start divided by this."""


class OneCycle(Schedule):
    """Half a cosine up over the warm-up, half a cosine down (Smith and Topin 2019); β1 is left alone.

    ``OneCycleLR`` over one update more, so that its last and smallest value stands behind the last update. Unlike it,
    the peak falls on the warm-up's last update for any length, and each group keeps its own.
    """

    Config: ClassVar[type[ScheduleConfig]] = OneCycleConfig

    def __init__(self, config: OneCycleConfig, optimizer: Optimizer, horizon: Horizon) -> None:
        first = 1 / config.initial_divisor
        last = first / config.final_divisor
        peak = horizon.warmup_updates - 1

        def factor(update: int) -> float:
            if update < peak:
                return _cosine(first, 1.0, update / peak)
            return _cosine(1.0, last, min(1.0, (update - peak) / max(1, horizon.total_updates - peak)))

        self.scheduler = LambdaLR(optimizer, factor)


@dataclass(frozen=True, kw_only=True)
class PlateauConfig(ScheduleConfig):
    """Cut the learning rate when the validation metric stands still."""

    factor: Annotated[float, Range(gt=0, lt=1)] = 0.5
    """Factor on the learning rate at each cut."""
    patience: Annotated[int, NON_NEGATIVE] = 2
    """Epochs without improvement before a cut."""
    min_lr: Annotated[float, NON_NEGATIVE] = 0.0
    """No cut takes the highest of the parts' learning rates below this; the others stop in proportion to it."""

    def problems(self) -> Iterable[Problem]:
        """Relations between the fields."""
        if self.warmup_ratio:
            yield Problem("warmup_ratio", "must be 0: this schedule steps per epoch and has no warm-up.")


class Plateau(Schedule):
    """``ReduceLROnPlateau`` on the validation metric, per epoch."""

    Config: ClassVar[type[ScheduleConfig]] = PlateauConfig
    per: ClassVar[Literal["update", "epoch"]] = "epoch"

    def __init__(self, config: PlateauConfig, optimizer: Optimizer, horizon: Horizon) -> None:
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        highest = max(rates)
        self.scheduler = ReduceLROnPlateau(
            optimizer,
            mode="max" if horizon.maximise else "min",
            factor=config.factor,
            patience=config.patience,
            # One for each group: the same for all would stop a part with a small factor first, and end their ratios.
            min_lr=[config.min_lr * rate / highest if highest else 0.0 for rate in rates],
            eps=0.0,  # or groups with a small rate of their own would stop being cut before the others
            threshold_mode="abs",  # relative to a score below zero, standing still would count as improving
        )

    def step(self, score: float | None = None) -> None:
        """One epoch has passed with this validation score; an undefined one counts as no improvement."""
        assert score is not None
        self.scheduler.step(score)


@dataclass(frozen=True, kw_only=True)
class StepConfig(ScheduleConfig):
    """Cut the learning rate every few epochs."""

    every: Annotated[int, AT_LEAST_ONE] = 5
    """Epochs between cuts."""
    factor: Annotated[float, POSITIVE] = 0.5
    """Factor on the learning rate at each cut."""

    def problems(self) -> Iterable[Problem]:
        """Relations between the fields."""
        if self.warmup_ratio:
            yield Problem("warmup_ratio", "must be 0: this schedule steps per epoch and has no warm-up.")


class Step(Schedule):
    """``StepLR``, per epoch."""

    Config: ClassVar[type[ScheduleConfig]] = StepConfig
    per: ClassVar[Literal["update", "epoch"]] = "epoch"

    def __init__(self, config: StepConfig, optimizer: Optimizer, horizon: Horizon) -> None:
        self.scheduler = StepLR(optimizer, step_size=config.every, gamma=config.factor)


def warmup(update: int, horizon: Horizon) -> float:
    """Linear rise that reaches 1 at the warm-up's last update; 1 from there on."""
    return min(1.0, (update + 1) / max(1, horizon.warmup_updates))


def decay_progress(update: int, horizon: Horizon) -> float:
    """How much of the decay has passed before ``update`` (zero-based): 0 in the warm-up, below 1 at the last update."""
    start = horizon.warmup_updates
    return min(1.0, max(0, update - start) / max(1, horizon.total_updates - start))


def _cosine(start: float, end: float, progress: float) -> float:
    """From ``start`` to ``end`` along half a cosine."""
    return end + (start - end) * 0.5 * (1 + math.cos(math.pi * progress))
