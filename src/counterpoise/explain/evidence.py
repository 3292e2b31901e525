"""Whether a model looks where the truth is: chunks that it ranks first against passages that are known to decide."""

from __future__ import annotations

from collections.abc import Iterable
from math import comb
from statistics import fmean
from typing import Any

import numpy as np
from numpy.typing import NDArray

from counterpoise.explain.account import Account

DEPTHS = (1, 3)


def holds_evidence(chunks: NDArray[np.int64], evidence: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which chunks hold a deciding passage, ``[L]``: at least half of one, or nothing but one for half their length.

    Args:
        chunks: spans ``[L, 2]``.
        evidence: spans ``[S, 2]``.
    """
    starts = np.maximum(chunks[:, None, 0], evidence[None, :, 0])
    ends = np.minimum(chunks[:, None, 1], evidence[None, :, 1])
    shared = np.maximum(ends - starts, 0)
    passage = np.diff(evidence, axis=1)[None, :, 0]
    own = np.diff(chunks, axis=1)
    return ((shared > 0) & ((2 * shared >= passage) | (2 * shared >= own))).any(axis=1)  # type: ignore[no-any-return]


def hit(scores: NDArray[np.float64], holds: NDArray[np.bool_], depth: int) -> bool:
    """Whether one of the ``depth`` chunks with the highest scores ``[L]`` holds evidence; the first wins ties.

    A score of -inf is that of a chunk that was not read: it is no hit.
    """
    first = np.argsort(-scores, kind="stable")[:depth]
    return bool((holds & np.isfinite(scores))[first].any())


def chance(holds: NDArray[np.bool_], depth: int) -> float:
    """Probability of a hit by ``depth`` different chunks drawn at random."""
    chunks, missing = len(holds), int((~holds).sum())
    drawn = min(depth, chunks)
    return 1 - comb(missing, drawn) / comb(chunks, drawn)


def evidence_figures(account: Account) -> dict[str, Any] | None:
    """Hit rates over all samples whose evidence is known; ``None`` where there is none.

    Chunks that were read are ranked by ``weight``, the attention that they get over all queries, and by
    ``contribution``, what they add towards the class that the sample is of.
    """
    known = [
        (index, holds_evidence(account.spans[index], evidence))
        for index, evidence in enumerate(map(account.records.spans_of_evidence, range(len(account))))
        if len(evidence)
    ]
    if not known:
        return None
    reached = [(index, holds) for index, holds in known if holds.any()]
    right = account.predicted == account.records.labels
    figures: dict[str, Any] = {
        "samples": len(known),
        "cut_off": len(known) - len(reached),
        "of": "samples whose evidence is known and stands in a chunk; cut_off: it stands in none",
        "all": _rates(account, reached),
        "predicted_rightly": _rates(account, [each for each in reached if right[each[0]]]),
    }
    return figures


def _rates(account: Account, known: list[tuple[int, NDArray[np.bool_]]]) -> dict[str, Any]:
    rates: dict[str, Any] = {"samples": len(known)}
    labels = account.records.labels
    for depth in DEPTHS:
        by_weight = [hit(_read(account, index, account.weight(index)), holds, depth) for index, holds in known]
        by_contribution = [
            hit(_read(account, index, account.towards(index, int(labels[index])).sum(axis=0)), holds, depth)
            for index, holds in known
        ]
        rates[f"hit@{depth}"] = {
            "weight": _mean(by_weight),
            "contribution": _mean(by_contribution),
            "chance": _mean(chance(holds, depth) for _, holds in known),
        }
    return rates


def _read(account: Account, index: int, scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Scores ``[L]`` of a sample's chunks, -inf for those that no query read."""
    return np.where(account.weight(index) > 0, scores, -np.inf)


def _mean(values: Iterable[float]) -> float | None:
    listed = [float(value) for value in values]
    return fmean(listed) if listed else None
