"""Randomness as a function of (seed, process, update), so that resuming needs no luck."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

_MULTIPLIER = 0x9E3779B97F4A7C15
_MASK = (1 << 63) - 1


def seed_everything(seed: int) -> None:
    """Seed Python, NumPy and PyTorch on every device."""
    random.seed(seed)
    np.random.seed(seed % (1 << 32))
    torch.manual_seed(seed)


def seed_update(seed: int, rank: int, update: int, device: torch.device) -> None:
    """Seed the generators that dropout draws from, for one update of one process.

    Written on the generators themselves: ``torch.manual_seed`` also walks over devices that are not used, which would
    cost more than a small model's forward pass.
    """
    mixed = hash_integers(seed, rank, update)
    torch.default_generator.manual_seed(mixed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(mixed)
    elif device.type == "mps":
        torch.mps.manual_seed(mixed)


def seed_draw(seed: int, epoch: int, group: int) -> None:
    """Seed all global generators of this process, for one draw from a loader that uses them."""
    mixed = hash_integers(seed, epoch, group)
    random.seed(mixed)
    np.random.seed(mixed % (1 << 32))
    torch.default_generator.manual_seed(mixed)


def hash_integers(*values: int) -> int:
    """A 63-bit hash of a few integers, the same in every process (splitmix64's finaliser over a running sum)."""
    state = 0
    for value in values:
        state = (state + value + _MULTIPLIER) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
        state ^= state >> 31
    return state & _MASK


def random_state() -> dict[str, Any]:
    """State of all global generators, as plain values and tensors (loads with ``weights_only=True``)."""
    version, internal, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    state: dict[str, Any] = {
        "python": [version, list(internal), gauss],
        "numpy": [str(name), torch.from_numpy(np.asarray(keys).astype(np.int64)), int(position), has_gauss, cached],
        "torch": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state()
    return state


def set_random_state(state: Mapping[str, Any]) -> None:
    """Take up :func:`random_state`'s answer again."""
    version, internal, gauss = state["python"]
    random.setstate((version, tuple(internal), gauss))
    name, keys, position, has_gauss, cached = state["numpy"]
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state["torch"])
    if "cuda" in state and torch.cuda.is_available():
        torch.cuda.set_rng_state(state["cuda"])
