"""How many optimizer updates an epoch has: counted here, and nowhere else."""

from __future__ import annotations

from math import ceil


def effective_batch(micro_batch: int, accumulation: int, processes: int = 1) -> int:
    """Samples that one optimizer update learns from."""
    return micro_batch * accumulation * processes


def updates_per_epoch(samples: int, micro_batch: int, accumulation: int, processes: int = 1) -> int:
    """Updates in one epoch; the last, partial group of micro-batches counts as one."""
    return ceil(samples / effective_batch(micro_batch, accumulation, processes))
