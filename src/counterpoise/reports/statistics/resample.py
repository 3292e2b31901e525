"""Bootstrap resamples of a test set as weights: how often each row was drawn.

The same resamples serve every run that was measured on the same rows, so that the difference of two runs is that of two
arrays, resample by resample: a paired bootstrap.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

MOST_CELLS = 1 << 23
"""Rows times resamples that are worked on at once: 64 MB of weights, and a few times that in between."""


def repeats(groups: NDArray[Any] | None) -> bool:
    """Whether some rows share a group, so that they are no independent draws."""
    return groups is not None and len(np.unique(groups)) < len(groups)


def resamples(
    labels: Ints, groups: NDArray[Any] | None, count: int, seed: int | Sequence[int], most_cells: int = MOST_CELLS
) -> Iterator[Floats]:
    """Weights ``[N, b]`` of ``count`` resamples, in chunks over the resamples; they do not depend on the chunks.

    Within each class of the true label as many rows are drawn as it has, with replacement (stratified bootstrap: Efron
    and Tibshirani 1993, An Introduction to the Bootstrap): the class shares are held fixed. Where rows share a group
    whole groups are drawn instead, as many as there are (cluster bootstrap: Field and Welsh 2007, Bootstrapping
    Clustered Data), and class shares vary with them.

    Args:
        labels: the true classes ``[N]``.
        groups: the group of each row ``[N]``; ``None`` without.
        count: resamples in all.
        seed: decides them.
        most_cells: bound of ``N b``.
    """
    if groups is not None and repeats(groups):
        unit_of = np.unique(groups, return_inverse=True)[1]
        strata = [np.arange(int(unit_of.max()) + 1)]
    else:
        unit_of = np.arange(len(labels))
        strata = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    generators = np.random.default_rng(seed).spawn(len(strata))
    size = max(1, most_cells // len(labels))
    for start in range(0, count, size):
        chunk = min(size, count - start)
        drawn = np.zeros((sum(map(len, strata)), chunk))
        for generator, stratum in zip(generators, strata, strict=True):
            drawn[stratum] = _counts(generator, len(stratum), chunk)
        yield drawn if len(drawn) == len(labels) else drawn[unit_of]


def _counts(generator: np.random.Generator, size: int, chunk: int) -> Ints:
    """How often each of ``size`` is drawn when ``size`` are, ``[size, chunk]``."""
    drawn = generator.integers(0, size, (chunk, size))
    drawn += np.arange(chunk)[:, None] * size
    return np.bincount(drawn.ravel(), minlength=chunk * size).reshape(chunk, size).T
