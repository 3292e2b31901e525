"""Small data sets that are trained as they should be: how often does the collapse guard want to stop such a run?

    python benchmarks/false_alarms.py [--data DIR] [--runs 40] [--jobs 2] [--folder DIR] [--train src/train.py]

Three kinds of set: MUTAG and ENZYMES (molecules and proteins as graphs in TU format, below DIR; left out where they are
not there), and tables of 300 texts of which one in five is positive, a new one for each seed. Every run has
`guard=warn`, so that an alarm that would have stopped it is recorded while it trains on. A run is healthy if its last
epoch ranks some class of the validation split above chance, by two standard errors; an alarm in such a run is a false
one. `--train` takes another checkout's entry, to compare versions on the same runs.
"""

from __future__ import annotations

import argparse
import math
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from collapse import read_json, write_texts

ROOT = Path(__file__).resolve().parents[1]
GRAPHS = ("data=tu", "model=gnn", "model.conv=gin", "train.epochs=15", "sweep=kfold")
TEXTS = (
    *("data=table", "data.path='texts_${seed}.csv'", "model=textcnn", "train.epochs=15", "train.batch_size=16"),
    *("encoding.max_length=64", "encoding.vocab_size=500", "early_stopping.enabled=false"),
)
ROWS, POSITIVE = 300, 0.2


@dataclass(frozen=True)
class Outcome:
    """How one run went."""

    stops: int
    """Alarms that would have ended it."""
    warnings: int
    healthy: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--runs", type=int, default=40, help="of each set; of graphs a multiple of the folds")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="keep the runs here; by default a temporary folder")
    parser.add_argument("--train", type=Path, default=ROOT / "src" / "train.py")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        folder.mkdir(parents=True, exist_ok=True)
        print(f"{'set':10} {'runs':>5} {'healthy':>8} {'false alarms':>13} {'alarms in others':>17} {'warned':>7}")
        for name, setting in settings(options.data.resolve(), options.runs).items():
            show(name, run_all(name, setting, folder, options))


def settings(data: Path, runs: int) -> dict[str, Sequence[str]]:
    """Overrides of each set."""
    found: dict[str, Sequence[str]] = {}
    for name, folds, more in (("MUTAG", 10, ()), ("ENZYMES", 5, ("objective.metric=accuracy",))):
        if (data / name).is_dir():
            folded = (f"data.path={data / name}", f"folds.count={folds}", _seeds(max(1, runs // folds)))
            found[name] = (*GRAPHS, *more, *folded)
        else:
            print(f"{name} is left out: it is not in {data}.")
    return {**found, "texts": (*TEXTS, _seeds(runs))}


def _seeds(count: int) -> str:
    return f"seed={','.join(map(str, range(count)))}"


def run_all(name: str, setting: Sequence[str], folder: Path, options: argparse.Namespace) -> list[Outcome]:
    """Train all runs of a set in one multirun and read what they left."""
    if name == "texts":
        for seed in range(options.runs):
            write_texts(folder / f"texts_{seed}.csv", ROWS, POSITIVE, seed)
    launcher = ("hydra/launcher=joblib", f"hydra.launcher.n_jobs={options.jobs}") if options.jobs > 1 else ()
    asked = ("hardware=cpu", "guard=warn", "report.plots=false", "report.multirun=false")
    where = (f"hydra.sweep.dir={folder / name}", f"paths.cache={folder / 'cache'}")
    command = [sys.executable, str(options.train.resolve()), "-m", *launcher, *setting, *asked, *where]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(options.train.resolve().parent)}
    log = folder / f"{name}.log"
    with log.open("w") as file:
        subprocess.run(command, cwd=folder, env=environment, check=False, stdout=file, stderr=subprocess.STDOUT)
    return [read_outcome(path.parent) for path in sorted((folder / name).glob("*/training_history.json"))]


def read_outcome(run: Path) -> Outcome:
    """What a run left."""
    events = read_json(run / "collapse_report.json").get("events", ())
    last = read_json(run / "training_history.json")["epochs"][-1]["valid"]
    severities = [event["severity"] for event in events]
    return Outcome(severities.count("stop"), severities.count("warning"), is_above_chance(last))


def is_above_chance(valid: Mapping[str, Any]) -> bool:
    """Whether the area under the ROC curve, or its mean over the classes, is by two standard errors."""
    supports = [of_class["support"] for of_class in valid["per_class"].values()]
    rows = sum(supports)
    errors = [math.sqrt((rows + 1) / (12 * own * (rows - own))) for own in supports if 0 < own < rows]
    area = valid["roc_auc"]
    return area is not None and bool(errors) and area - 0.5 >= 2 * max(errors) / math.sqrt(max(1, len(errors) - 1))


def show(name: str, outcomes: Sequence[Outcome]) -> None:
    """One line of the table."""
    healthy = [one for one in outcomes if one.healthy]
    false = sum(one.stops > 0 for one in healthy)
    others = sum(one.stops > 0 for one in outcomes if not one.healthy)
    warned = sum(one.warnings > 0 for one in outcomes)
    print(f"{name:10} {len(outcomes):>5} {len(healthy):>8} {false:>13} {others:>17} {warned:>7}", flush=True)


if __name__ == "__main__":
    main()
