"""How long a report takes, and how much memory: collection and statistics of many made-up runs.

    python benchmarks/reports.py [--runs 1000] [--rows 500] [--seeds 5] [--folder DIR]

Runs of one data set, each with a history of ten epochs, its updates, a result, predictions and the baselines'; as many
configurations of four models as the number of seeds leaves. Seconds are those of one core, in a process of its
own; last those of the whole command, which writes the page and all other files.
"""

from __future__ import annotations

import argparse
import importlib
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
    write_run = importlib.import_module("report_kit").write_run
    os.fsync = _nothing  # nobody will miss them
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


def _nothing(fd: object) -> None:
    """In place of waiting for the disk."""


def measure(folder: Path) -> None:
    """Print the time of each step; in a process that has imported nothing yet."""
    start = time.process_time()
    from counterpoise.reports.collect import collect
    from counterpoise.reports.compare import make_report
    from counterpoise.reports.folders import find_runs

    loaded = time.process_time()
    folders = find_runs(folder)
    collection = collect(folders)
    collected = time.process_time()
    report = make_report(folders, title="benchmark")
    made = time.process_time()
    rows = sum(len(data.rows) for data in report.data)
    comparisons = sum(len(data.comparisons) for data in report.data)
    print(f"{len(collection.runs):,} runs, {rows} rows, {comparisons} comparisons; seconds of one core")
    print(f"import              {loaded - start:6.2f}")
    print(f"collection          {collected - loaded:6.2f}")
    print(f"the whole value     {made - collected:6.2f}, collected once more", flush=True)
    if "torch" in sys.modules:
        raise SystemExit("torch was imported")


def command(*arguments: str) -> None:
    """Print the seconds of the report command, by the clock and of one core, and its most memory."""
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    subprocess.run(
        [sys.executable, str(ROOT / "src" / "report.py"), *arguments],
        env=environment(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    after, seconds = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic() - start
    core = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    memory = after.ru_maxrss / (1 << 20 if sys.platform == "darwin" else 1 << 10)
    what = "report.py --help" if arguments == ("--help",) else "report.py, all of it"
    print(f"{what:20}{core:6.2f}, {seconds:.2f} by the clock, {memory:.0f} MB at most", flush=True)


def environment() -> dict[str, str]:
    """One core for everything."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


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
        command("--help")
        subprocess.run([sys.executable, __file__, "--measure", "--folder", str(folder)], env=environment(), check=True)
        command(str(folder), "--out", str(folder / "report"))


if __name__ == "__main__":
    main()
