"""How long a report takes, and how much memory: collection and statistics of many made-up runs.

    python benchmarks/report.py [--runs 1000] [--rows 500] [--seeds 5] [--folder DIR]

Runs of one data set, each with a history of ten epochs, its updates, a result, predictions and the baselines'; as many
configurations of four models as the number of seeds leaves. The clock runs in a process of its own, on one core.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("TextCNN", "BiLSTM", "Transformer", "GNN")
SKILLS = (1.0, 1.3, 1.6, 1.9)


def make(folder: Path, runs: int, rows: int, seeds: int) -> None:
    """Write the runs."""
    sys.path.insert(0, str(ROOT / "tests"))
    from report_kit import write_run

    os.fsync = lambda _: None  # nobody will miss them
    for number in range(runs):
        place, seed = divmod(number, seeds)
        lr = 1e-3 * (1 + place // len(MODELS))
        write_run(
            folder / f"job_{number}",
            model=MODELS[place % len(MODELS)],
            seed=seed,
            rows=rows,
            skill=SKILLS[place % len(SKILLS)],
            overrides=[f"optimizer.lr={lr:g}"],
            changes={"optimizer.lr": lr},
            epochs=10,
        )


def measure(folder: Path) -> None:
    """Print the time of each step and the most memory; in a process that has imported nothing yet."""
    start = time.perf_counter()
    from counterpoise.reports.collect import collect
    from counterpoise.reports.compare import make_report
    from counterpoise.reports.folders import find_runs

    loaded = time.perf_counter()
    folders = find_runs(folder)
    collection = collect(folders)
    collected = time.perf_counter()
    report = make_report(folders, title="benchmark")
    made = time.perf_counter()
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    rows = sum(len(data.rows) for data in report.data)
    print(
        f"{len(collection.runs):,} runs, {rows} rows, {sum(len(data.comparisons) for data in report.data)} comparisons"
    )
    print(f"import      {loaded - start:6.2f} s")
    print(f"collection  {collected - loaded:6.2f} s")
    print(f"whole report{made - collected:6.2f} s, collected once more")
    print(f"memory      {memory:6.0f} MB at most")
    if "torch" in sys.modules:
        raise SystemExit("torch was imported")


def main() -> None:
    """Make runs and measure their report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=500, help="held-out rows of each run")
    parser.add_argument("--seeds", type=int, default=5, help="runs of each configuration")
    parser.add_argument("--folder", type=Path, help="keep the runs there; those that are there are measured")
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.measure:
        measure(given.folder)
        return
    with nullcontext(given.folder) if given.folder else tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if not any(folder.glob("job_*")):
            make(folder, given.runs, given.rows, given.seeds)
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        command = [sys.executable, __file__, "--measure", "--folder", str(folder)]
        subprocess.run(command, env=environment, check=True)


if __name__ == "__main__":
    main()
