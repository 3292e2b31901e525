"""Runs that are built to collapse, with the guard off, stopping and rescuing: how many end well, at what cost.

    python benchmarks/collapse.py [--seeds 20] [--jobs 2] [--folder DIR]

The setting: texts of which one in ten is positive (two sign words side by side, one alone means nothing), no class
weights, and a learning rate a hundred times the recipe's. A run ends well if its last epoch predicts every class and
has an F1 above the majority class's, which is 0. Compute is counted in optimizer updates, those that a rescue threw
away included, so that a busy machine changes nothing.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

TRAIN = Path(__file__).resolve().parents[1] / "src" / "train.py"
POLICIES = ("off", "stop", "rescue")
SIGNS = ("leak", "stale", "raw", "spill")
EPOCHS = 12
LR = 0.1
SETTING = (
    *("data=table", "data.path=texts.csv", "model=textcnn", "balance=none", f"optimizer.lr={LR}", "hardware=cpu"),
    *(f"train.epochs={EPOCHS}", "train.batch_size=16", "early_stopping.enabled=false", "train.checkpoint_seconds=0"),
)


@dataclass(frozen=True)
class Outcome:
    """How one run ended."""

    policy: str
    seed: int
    well: bool
    """Every class predicted in the last epoch, with an F1 above 0."""
    delivered: bool
    """The same of what the run leaves: its best checkpoint, on the test split."""
    updates: int
    rescues: int


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the runs here; by default a temporary folder")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        write_texts(folder / "texts.csv")
        run_all(folder, options.seeds, options.jobs)
        outcomes = [read_outcome(folder, policy, seed) for policy in POLICIES for seed in range(options.seeds)]
    show(outcomes)


def write_texts(path: Path, size: int = 2000, share: float = 0.1, seed: int = 0) -> None:
    """A table of texts whose label two neighbouring words decide; ``share`` of them are positive."""
    rng = random.Random(seed)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(size):
            words = [f"w{rng.randrange(300)}" for _ in range(rng.randint(10, 30))]
            at, positive = rng.randrange(len(words)), rng.random() < share
            if positive:
                words[at:at] = rng.sample(SIGNS, 2)
            elif rng.random() < 0.3:
                words.insert(at, rng.choice(SIGNS))
            writer.writerow([" ".join(words), int(positive)])


def run_all(folder: Path, seeds: int, jobs: int) -> None:
    """One multirun over policies and seeds; a run that fails is what is looked for, so its exit code says nothing."""
    launcher = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={jobs}", f"hydra.sweep.dir={folder / 'runs'}")
    varied = (f"guard={','.join(POLICIES)}", f"seed={','.join(map(str, range(seeds)))}")
    command = [sys.executable, str(TRAIN), "-m", *launcher, *SETTING, *varied]
    subprocess.run(command, cwd=folder, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=False)


def read_outcome(folder: Path, policy: str, seed: int) -> Outcome:
    """How the run of a policy and a seed ended, from its folder."""
    run = folder / "runs" / f"guard_{policy},seed_{seed}"
    last = json.loads((run / "training_history.json").read_text())["epochs"]
    update = json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["update"]
    report = read_json(run / "collapse_report.json")
    result = read_json(run / "result.json")
    thrown_away = sum(rescue["from_update"] - rescue["to_update"] for rescue in report.get("rescues", ()))
    finished = result.get("status") == "finished"
    return Outcome(
        policy=policy,
        seed=seed,
        well=finished and bool(last) and predicts_all(last[-1]["valid"]),
        delivered=finished and predicts_all(result["test"]),
        updates=update + thrown_away,
        rescues=len(report.get("rescues", ())),
    )


def predicts_all(metrics: Mapping[str, Any]) -> bool:
    """Whether every class is predicted and the F1 is above the majority class's."""
    return metrics["f1"] > 0 and all(figures["predicted"] > 0 for figures in metrics["per_class"].values())


def read_json(path: Path) -> dict[str, Any]:
    """The content of a file; empty where it is not there."""
    return dict(json.loads(path.read_text())) if path.exists() else {}


def show(outcomes: Iterable[Outcome]) -> None:
    """A table by policy, then what rescue and stop are worth on the runs that fail without them."""
    by = {policy: {one.seed: one for one in outcomes if one.policy == policy} for policy in POLICIES}
    print(f"\n{'guard':8} {'end well':>9} {'best checkpoint well':>21} {'updates (median)':>17} {'rescues (mean)':>15}")
    for policy, runs in by.items():
        well, delivered = (sum(getattr(one, name) for one in runs.values()) for name in ("well", "delivered"))
        updates = statistics.median(one.updates for one in runs.values())
        rescues = statistics.mean(one.rescues for one in runs.values())
        print(f"{policy:8} {well:>6}/{len(runs)} {delivered:>18}/{len(runs)} {updates:>17.0f} {rescues:>15.2f}")
    failing = [seed for seed, one in by["off"].items() if not one.well]
    if not failing:
        print("No run failed: the setting is not hard enough.")
        return
    back = sum(by["rescue"][seed].well for seed in failing)
    spent, without = (sum(by[policy][seed].updates for seed in failing) for policy in ("stop", "off"))
    print(f"of {len(failing)} runs that fail without it, rescue brings back {back} ({back / len(failing):.0%})")
    print(f"stop saves {1 - spent / without:.0%} of their updates")


if __name__ == "__main__":
    main()
