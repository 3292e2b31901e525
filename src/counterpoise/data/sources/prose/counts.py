"""How many of what: exact shares, and lengths with a long tail."""

from __future__ import annotations

import math
from collections.abc import Sequence
from random import Random


def apportion(weights: Sequence[float], count: int) -> list[int]:
    """Split ``count`` in proportion to ``weights`` by largest remainders, the earlier first among equals.

    Each part differs from its exact share by less than one.
    """
    total = math.fsum(weights)
    exact = [count * weight / total for weight in weights]
    parts = [math.floor(share) for share in exact]
    order = sorted(range(len(exact)), key=lambda index: parts[index] - exact[index])
    for index in order[: count - sum(parts)]:
        parts[index] += 1
    return parts


def poisson(mean: float, rng: Random) -> int:
    """A Poisson number, as the count of exponential steps that fit into ``mean``."""
    count, reached = 0, rng.expovariate(1)
    while reached < mean:
        count, reached = count + 1, reached + rng.expovariate(1)
    return count


def long_tailed(median: float, spread: float, rng: Random, bounds: tuple[float, float]) -> float:
    """A log-normal length: ``median * exp(spread * z)``, held within ``bounds``."""
    return min(max(median * math.exp(spread * rng.gauss(0, 1)), bounds[0]), bounds[1])
