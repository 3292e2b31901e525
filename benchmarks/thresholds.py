"""What tuning a threshold is worth: the change of F1 on fresh rows against 0.5, always tuned and as ``threshold=tune``.

    python benchmarks/thresholds.py [--sets 40]

Validation sets are drawn from two normal distributions, a distance apart; probabilities are those of the model that
knows them, or what class weights make of these. Printed: means over the sets, and how often a threshold was tuned.
"""

from __future__ import annotations

import argparse

import numpy as np
from numpy.typing import NDArray

from counterpoise.thresholds import tune, tune_threshold

F1 = {"f1": 1.0}
FRESH = 20_000
SETTINGS = (
    (40, 0.3, 1.0, True),
    (40, 0.46, 2.0, True),
    (100, 0.3, 1.0, True),
    (100, 0.1, 1.0, False),
    (300, 0.1, 1.0, False),
    (1000, 0.05, 2.0, True),
    (4000, 0.05, 1.0, False),
    (4000, 0.05, 2.0, True),
)
"""Rows, share of positives, distance, and whether class weights have evened out the probabilities."""


def drawn(
    rng: np.random.Generator, rows: int, share: float, distance: float, balanced: bool
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Labels ``[N]`` and probabilities ``[N, 2]``."""
    labels = (np.arange(rows) < round(rows * share)).astype(np.int64)
    found = rng.normal(size=rows) + distance * labels
    logits = distance * found - distance**2 / 2 + (0.0 if balanced else np.log(share / (1 - share)))
    scores = 1 / (1 + np.exp(-logits))
    return labels, np.stack([1 - scores, scores], axis=1)


def f1_of(labels: NDArray[np.int64], table: NDArray[np.float64], threshold: float) -> float:
    predicted = table[:, 1] > threshold if threshold == 0.5 else table[:, 1] >= threshold
    hits = int((predicted & (labels == 1)).sum())
    return 2 * hits / max(1, int(predicted.sum() + labels.sum()))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sets", type=int, default=40)
    sets = parser.parse_args().sets
    print("| validation rows, positive share | best threshold, always | `threshold=tune` | tuned |\n|---|---|---|---|")
    for rows, share, distance, balanced in SETTINGS:
        rng = np.random.default_rng((rows, round(100 * share), round(distance)))
        fresh = drawn(rng, FRESH, share, distance, balanced)
        plain, changes, tuned = f1_of(*fresh, 0.5), [], 0
        for _ in range(sets):
            labels, table = drawn(rng, rows, share, distance, balanced)
            found = tune(labels, table, F1).threshold
            thresholds = tune_threshold(labels, table, F1).value, found
            changes.append([f1_of(*fresh, threshold) - plain for threshold in thresholds])
            tuned += found != 0.5
        always, careful = np.mean(changes, axis=0)
        about = f"{rows:,}, {share:.0%}, d = {distance:g}{', weights' if balanced else ''}".replace("%", " %")
        print(f"| {about} | {always:+.3f} | {careful:+.3f} | {tuned}/{sets} |")


if __name__ == "__main__":
    main()
