"""Runs that are killed with SIGKILL again and again: every resume must succeed, and end in the same bits.

    python benchmarks/kill.py [--kills 100] [--seed 0] [--jobs 1] [--folder DIR] [--only NAME ...]

Each scenario is run once without interruption. The same command is then begun in another folder, killed, repeated,
killed, ... until it finishes, and all that it leaves is compared with the uninterrupted run. The seed draws when the
kills happen: before training, at a random moment of it, while a checkpoint is written (watched for, then struck at
once or a moment later), or after the last epoch. What counts as a kill within a write is not what was aimed at but what
lies there afterwards: a temporary file or folder, or no ``last``. These are moments of the wall clock, so that another
machine, or another day, kills elsewhere.

Importing PyTorch takes longer than such a run. So one process imports everything, computes nothing, and forks a child
for each attempt, which calls what ``src/train.py`` calls. One attempt in ten is a new ``python src/train.py``.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Literal

from attempts import Attempt, differences, epochs_of, import_everything, mark, unfinished

FRESH = 10
"""One attempt of a scenario in so many is a new process, the seventh the first."""
LATEST = 0.01
"""Seconds from the moment that a write is seen to the kill, at most."""
SIGNS = ("leak", "stale", "raw", "spill")
SETTING = (
    *("data=table", "data.path=texts.csv", "hardware=cpu", "hardware.precision=fp32", "encoding.vocab_size=300"),
    *("encoding.max_length=48", "train.epochs=4", "train.log_every=1", "train.checkpoint_seconds=0"),
    *("early_stopping.enabled=false", "guard=warn", "guard.collapse.first_update=0"),
    *("guard.collapse.sure_support=1", "guard.collapse.window_support=1", "guard.collapse.explosion=1.5"),
    "guard.collapse.chance_updates=1",
    "report.plots=false",
)
TEXTCNN = ("model=textcnn", "model.embedding_size=16", "model.filters=8")
BILSTM = ("model=bilstm", "model.embedding_size=16", "model.hidden_size=16")
TRANSFORMER = ("model=transformer", "model.hidden_size=32", "model.feed_forward_size=64", "model.heads=2")
UNWEIGHTED = (*TRANSFORMER, "scheduler=one_cycle", "loss=focal", "balance=none")
ALWAYS, SOMETIMES = ("train.checkpoint_updates=1",), ("train.checkpoint_updates=3",)
COLLAPSING = ("balance=none", "train.epochs=8", "optimizer.lr=0.3")
RESCUE = ("guard=rescue", *COLLAPSING)
SCENARIOS: dict[str, tuple[str, ...]] = {
    "textcnn": (*TEXTCNN, *ALWAYS, "train.batch_size=16", "train.accumulation=2"),
    "transformer": (*UNWEIGHTED, *SOMETIMES, "train.accumulation=2"),
    "bilstm": (*BILSTM, *ALWAYS, "scheduler=plateau", "scheduler.patience=0", "balance=sampler"),
    "textcnn-rescued": (*TEXTCNN, *RESCUE, *ALWAYS),
    "transformer-rescued": (*TRANSFORMER, *RESCUE, *SOMETIMES, "train.accumulation=2", "scheduler=cosine_warmup"),
    "transformer-stopped": (*UNWEIGHTED, *ALWAYS, "guard=stop", "guard.collapse.first_epoch=2", *COLLAPSING),
    "bilstm-bf16": (
        *(*BILSTM, *SOMETIMES, "scheduler=step", "scheduler.every=1", "hardware.precision=bf16"),
        *("hardware.workers=2", "early_stopping.enabled=true", "early_stopping.patience=1"),
    ),
    "textcnn-auto-lr": (*TEXTCNN, *SOMETIMES, "optimizer.lr=auto", "lr_range_test.updates=40"),
    "transformer-mirrored": (*TRANSFORMER, *ALWAYS, "mirror.url=file://{home}/store"),
}

Moment = Literal["before", "training", "writing", "end"]


@dataclass(frozen=True)
class Kill:
    """One kill as it was drawn."""

    moment: Moment
    share: float
    """Where in the moment's span, 0 to 1."""
    target: str
    """The temporary folder that is waited for, when a write is aimed at."""
    late: float
    """Seconds from its appearance to the kill."""


@dataclass(frozen=True)
class Whole:
    """The uninterrupted run: the seconds that its parts took, its epochs and its exit code."""

    before: float
    training: float
    end: float
    epochs: int
    code: int


@dataclass
class Outcome:
    """What became of one scenario."""

    scenario: str
    rescues: int = 0
    """Of the uninterrupted run."""
    kills: int = 0
    in_checkpoint: int = 0
    """Kills within a checkpoint's write."""
    in_file: int = 0
    """Kills within the write of another file."""
    resumes: int = 0
    fresh: int = 0
    """Attempts that were new processes."""
    runs: int = 0
    """Killed runs that came to their end."""
    failures: list[str] = field(default_factory=list)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1, help="scenarios at a time")
    parser.add_argument("--folder", type=Path, help="keep the runs here; by default a temporary folder")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME")
    options = parser.parse_args()
    started = time.monotonic()
    folder = (options.folder or Path(tempfile.mkdtemp(prefix="kill-"))).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    import_everything()
    names = list(dict.fromkeys(options.only))
    counts = [options.kills // len(names) + (number < options.kills % len(names)) for number in range(len(names))]
    with ProcessPoolExecutor(options.jobs, get_context("fork")) as pool:
        outcomes = list(pool.map(torment, [folder / name for name in names], counts, [options.seed] * len(names)))
    show(outcomes, options.seed, time.monotonic() - started)
    failed = any(outcome.failures for outcome in outcomes)
    if failed:
        print(f"The runs are in {folder}.")
    elif options.folder is None:
        shutil.rmtree(folder)
    return int(failed)


def write_texts(path: Path, size: int = 500) -> None:
    """A table of short texts, one in four positive: two sign words side by side; one alone means nothing."""
    rng = random.Random(0)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for _ in range(size):
            words = [f"w{rng.randrange(100)}" for _ in range(rng.randint(8, 24))]
            at, positive = rng.randrange(len(words)), rng.random() < 0.25
            words[at:at] = rng.sample(SIGNS, 2) if positive else rng.sample(SIGNS, rng.randrange(2))
            writer.writerow([" ".join(words), int(positive)])


# One scenario


def torment(home: Path, count: int, seed: int) -> Outcome:
    """Run the scenario that ``home`` is named by to its end, then kill other runs of it ``count`` times."""
    outcome = Outcome(home.name)
    home.mkdir()
    write_texts(home / "texts.csv")
    whole = run_whole(home, outcome)
    waiting = draw(home.name, count, seed)
    while waiting and not outcome.failures:
        outcome.runs += 1
        name = f"killed-{outcome.runs}"
        kill_and_resume(home / name, waiting, whole, outcome)
        if not outcome.failures:
            outcome.failures = [f"{name}: {one}" for one in differences(home / "whole", home / name)]
        if waiting and outcome.runs > count + 3:
            outcome.failures.append(f"the moment of {waiting[0]} never came")
        print(f"{home.name}: {outcome.kills} of {count} kills, {len(outcome.failures)} failures", flush=True)
    return outcome


def command(home: Path) -> list[str]:
    """The overrides of the scenario that ``home`` is named by."""
    return [*SETTING, *(item.format(home=home) for item in SCENARIOS[home.name])]


def draw(scenario: str, count: int, seed: int) -> list[Kill]:
    """The kills of a scenario; those after the last epoch come last."""
    rng = random.Random(f"{seed} {scenario}")
    targets = [".last.writing", ".last.writing", ".best.writing"]
    targets += [".healthy.linking"] if "guard=rescue" in SCENARIOS[scenario] else []
    kinds: list[Moment] = ["before", "training", "writing", "end"]
    moments = rng.choices(kinds, weights=[1, 3, 5, 1], k=count)
    moments.sort(key=lambda moment: moment == "end")
    return [Kill(one, rng.random(), rng.choice(targets), rng.choice([0.0, rng.uniform(0, LATEST)])) for one in moments]


def run_whole(home: Path, outcome: Outcome) -> Whole:
    """The uninterrupted run; ``outcome`` is told what is wrong with it."""
    begun = time.monotonic()
    attempt = Attempt(home / "whole", command(home), fresh=False)
    attempt.wait((attempt.run / "metrics.jsonl").exists)
    trained_from = trained_to = time.monotonic()
    epochs = 0

    def epoch_ended() -> bool:
        nonlocal epochs, trained_to
        if epochs_of(attempt.run) > epochs:
            epochs, trained_to = epochs_of(attempt.run), time.monotonic()
        return False

    attempt.wait(epoch_ended)
    settings, report = SCENARIOS[home.name], attempt.run / "collapse_report.json"
    outcome.rescues = len(json.loads(report.read_text())["rescues"]) if report.exists() else 0
    if attempt.fault or attempt.code != ("guard=stop" in settings):
        outcome.failures.append(f"the uninterrupted run: {attempt}")
    if ("guard=rescue" in settings) != (outcome.rescues > 0):
        outcome.failures.append(f"the uninterrupted run: {outcome.rescues} rescues")
    end = time.monotonic() - trained_to
    return Whole(trained_from - begun, trained_to - trained_from, end, epochs, attempt.code)


def kill_and_resume(run: Path, waiting: list[Kill], whole: Whole, outcome: Outcome) -> None:
    """One run, killed until it ends by itself; the kills that struck are taken from ``waiting``."""
    pace = whole.training * 2 / (len(waiting) + 1)  # of kills, so that about one run is enough for all
    for number in range(len(waiting) + 1):
        fresh = (outcome.kills + outcome.runs) % FRESH == FRESH - 3
        kill = waiting[0] if waiting else None
        before = unfinished(run)
        attempt = Attempt(run, command(run.parent), fresh=fresh)
        outcome.fresh += fresh
        outcome.resumes += number > 0
        if kill is None:
            attempt.wait(lambda: False)
        else:
            _await(attempt, kill, whole, pace)
            attempt.kill()
        if attempt.fault or (not attempt.killed and attempt.code != whole.code):
            outcome.failures.append(f"{run.name}, kill {outcome.kills + 1} ({kill}), attempt {number + 1}: {attempt}")
        if kill is not None and not attempt.killed:
            waiting[0] = replace(kill, share=kill.share / 2)  # it came too late: this run was faster than the whole one
        if outcome.failures or not attempt.killed:
            return
        left = unfinished(run) - before
        in_checkpoint = any(path.startswith("checkpoints") for path, _ in left)
        outcome.in_checkpoint += in_checkpoint
        outcome.in_file += bool(left) and not in_checkpoint
        outcome.kills += 1
        waiting.pop(0)


def _await(attempt: Attempt, kill: Kill, whole: Whole, pace: float) -> None:
    """Return at the moment that was drawn, or when the attempt has ended."""
    metrics = attempt.run / "metrics.jsonl"
    if kill.moment == "before":
        attempt.sleep(kill.share * whole.before)
        return
    begun = mark(metrics)
    attempt.wait(lambda: mark(metrics) != begun)
    if kill.moment == "end":
        attempt.wait(lambda: epochs_of(attempt.run) == whole.epochs)
        attempt.sleep(kill.share * whole.end)
        return
    attempt.sleep(kill.share * pace)
    if kill.moment == "writing":
        writing = attempt.run / "checkpoints" / kill.target
        written = writing.with_name(kill.target.split(".")[1])
        old = mark(written)  # a short write may come and go between two looks
        attempt.wait(lambda: writing.exists() or mark(written) != old, pause=0.0002)
        attempt.sleep(kill.late)


def show(outcomes: Sequence[Outcome], seed: int, seconds: float) -> None:
    """A table by scenario, what failed, and one line about all."""
    heads = ("kills", "in a checkpoint", "in another file", "resumes", "new processes", "rescues", "runs")
    print("\n" + f"{'scenario':20}" + "".join(f"{head:>{len(head) + 2}}" for head in heads) + "  equal")
    for one in outcomes:
        figures = (one.kills, one.in_checkpoint, one.in_file, one.resumes, one.fresh, one.rescues, one.runs)
        row = "".join(f"{figure:>{len(head) + 2}}" for figure, head in zip(figures, heads, strict=True))
        print(f"{one.scenario:20}{row}  {'NO' if one.failures else 'yes'}")
    for one in outcomes:
        for failure in one.failures:
            print(f"FAILURE {one.scenario}, seed {seed}: {failure}")
    kills, inside = (sum(getattr(one, name) for one in outcomes) for name in ("kills", "in_checkpoint"))
    failures = sum(len(one.failures) for one in outcomes)
    print(f"{kills} kills, {inside} of them within a checkpoint's write; {failures} failures; {seconds:.0f} seconds")


if __name__ == "__main__":
    sys.exit(main())
