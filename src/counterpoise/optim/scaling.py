"""Learning rate and warm-up that follow the effective batch."""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Literal

LARGEST_WARMUP_RATIO = 0.2
"""A longer warm-up than this would leave too little of the run at a useful learning rate."""

Scaling = Literal["sqrt", "linear", "none"]


@dataclass(frozen=True)
class Scaled:
    """What the optimizer and the schedule are really given."""

    factor: float
    lr: float
    warmup_ratio: float


def scale(how: Scaling, *, lr: float, warmup_ratio: float, effective_batch: int, base_batch: int) -> Scaled:
    """Scale both by ``κ = effective batch / base batch``: ``√κ`` for Adam (Malladi et al. 2022), ``κ`` for SGD.

    The scaled warm-up ratio is capped at 0.2; a ratio that was given larger than that stays as it is.
    """
    kappa = effective_batch / base_batch
    factor = {"sqrt": sqrt(kappa), "linear": kappa, "none": 1.0}[how]
    cap = max(LARGEST_WARMUP_RATIO, warmup_ratio)
    return Scaled(factor, lr * factor, min(warmup_ratio * factor, cap))
