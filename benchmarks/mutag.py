"""GIN on MUTAG over ten folds, by an honest protocol and by the published one, beside the published figure.

    python benchmarks/mutag.py FOLDER [--keep DIR] [OVERRIDE ...]

FOLDER holds MUTAG in TU format. Two multiruns of ``experiment=mutag_gin``, one thread each:

honest     the epoch is chosen on a validation split, and the fold, which decided nothing, measures it
published  (Xu et al. 2019) the fold is looked at after every epoch, and one epoch, the same for all folds, is chosen by
           the mean curve over the folds: what is reported decided what is reported

Both are the mean ± standard deviation (n - 1) of accuracy over the folds.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TRAIN = Path(__file__).resolve().parents[1] / "src" / "train.py"
FOLDS = 10
PUBLISHED = "89.4 ± 5.6"


def main() -> None:
    """Run both, print both."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="folder of MUTAG_A.txt and the other files")
    parser.add_argument("--keep", type=Path, help="keep the runs here; by default a temporary folder")
    options, overrides = parser.parse_known_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.keep or Path(temporary)).resolve()
        honest = train(options.data, folder / "honest", "test", overrides)
        tests = [json.loads((run / "result.json").read_text())["test"]["accuracy"] for run in honest]
        bars = [baseline(run) for run in honest]
        published = train(options.data, folder / "published", "valid", overrides)
        curves = [accuracies(run) for run in published]
    means = [statistics.mean(values) for values in zip(*curves, strict=True)]
    best = means.index(max(means))
    print(f"\nhonest: epoch by validation   {spread(tests)} %")
    print(f"published: epoch by the folds {spread([curve[best] for curve in curves])} % (epoch {best + 1})")
    print(f"  its last epoch              {spread([curve[-1] for curve in curves])} %")
    print(f"published figure              {PUBLISHED} %")
    print(f"counts of types, logistic     {spread(bars)} %")


def train(data: Path, folder: Path, held_out: str, overrides: Sequence[str]) -> list[Path]:
    """The run folders of all folds."""
    command = [sys.executable, str(TRAIN), "-m", "experiment=mutag_gin", f"data.path={data.resolve()}"]
    command += ["sweep=kfold", f"folds.held_out={held_out}", "hardware=cpu", *overrides]
    command += [f"paths.multirun={folder}", f"paths.cache={folder / 'cache'}"]
    started = time.perf_counter()
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "OMP_NUM_THREADS": "1"}
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    runs = sorted(path.parent for path in folder.glob("**/result.json"))
    if len(runs) != FOLDS:
        sys.exit(f"{len(runs)} runs have a result, not {FOLDS}: see {folder}")
    print(f"{held_out}: {FOLDS} folds in {time.perf_counter() - started:.0f} s", flush=True)
    return runs


def accuracies(run: Path) -> list[float]:
    """Validation accuracy after each epoch."""
    history: Any = json.loads((run / "training_history.json").read_text())
    return [float(epoch["valid"]["accuracy"]) for epoch in history["epochs"]]


def baseline(run: Path) -> float:
    """Test accuracy of logistic regression over counts of types."""
    return float(json.loads((run / "result.json").read_text())["baselines"]["type_counts_logistic"]["test"]["accuracy"])


def spread(values: Sequence[float]) -> str:
    """Mean ± standard deviation, in percent."""
    return f"{100 * statistics.mean(values):.1f} ± {100 * statistics.stdev(values):.1f}"


if __name__ == "__main__":
    main()
