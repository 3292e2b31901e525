"""The advice of the diagnosis, tried: for each finding a training that has it, and the same with the override.

    python benchmarks/advice.py [--seeds 5] [--only STORY ...] [--folder DIR]

Each story is a small training on texts that are generated here. It is run with as many seeds as it takes until five
have the finding; each is repeated with the override that the finding proposes added to its command, and nothing else.
Printed: the commonest override, in how many of those seeds the finding went away without a critical one in its place,
and the mean objective on the test split before and after.
"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import redirect_stdout, suppress
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from counterpoise.config import resolvers
from counterpoise.errors import TrainingAbortedError
from counterpoise.reports.diagnosis import diagnose
from counterpoise.reports.findings import Finding
from counterpoise.reports.runs import RunRecord, read_run
from counterpoise.run import Invocation, run

CONF = Path(__file__).resolve().parents[1] / "conf"
TEXTCNN = ("model=textcnn", "model.embedding_size=32", "model.filters=32", "model.kernel_sizes=[1,2]")
SMALL = (
    *(
        "data=table",
        "hardware=cpu",
        "hardware.precision=fp32",
        "report.plots=false",
        "train.batch_size=32",
        "train.log_every=2",
    ),
)
TRIED = "tried"
"""Marks a run that has ended, in whatever way."""
SIGNS = 12
"""Words that tell of the positive class."""


@dataclass(frozen=True)
class Texts:
    """How a table of texts is generated: filler words, and a sign word in those of the positive class."""

    rows: int = 600
    positive: float = 0.5
    noise: float = 0.0
    """Share of labels that are turned round."""
    false_signs: float = 0.0
    """Share of negative texts with a sign word."""
    pairs: bool = False
    """Whether two sign words side by side tell, and two apart mean nothing."""
    vocabulary: int = 300
    copied: float = 0.0
    """Share of validation texts that are copies of training texts."""

    def write(self, folder: Path) -> None:
        """``train.csv``, ``valid.csv`` and ``test.csv``: 60, 20 and 20 %."""
        rng = random.Random(0)
        rows = [self._row(rng) for _ in range(self.rows)]
        cuts = int(0.6 * self.rows), int(0.8 * self.rows)
        splits = {"train": rows[: cuts[0]], "valid": rows[cuts[0] : cuts[1]], "test": rows[cuts[1] :]}
        for place in range(int(self.copied * len(splits["valid"]))):
            splits["valid"][place] = splits["train"][place]
        folder.mkdir(parents=True, exist_ok=True)
        for name, content in splits.items():
            with (folder / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows([("text", "label"), *content])

    def _row(self, rng: random.Random) -> tuple[str, int]:
        words = [f"w{rng.randrange(self.vocabulary)}" for _ in range(rng.randint(8, 16))]
        positive, at = rng.random() < self.positive, rng.randrange(len(words))
        if positive or rng.random() < self.false_signs:
            signs = [f"sign{number}" for number in rng.sample(range(SIGNS), 2 if self.pairs else 1)]
            apart = self.pairs and not positive
            words[at:at] = [signs[0], *words[at : at + 2], signs[1]] if apart else signs
        return " ".join(words), int(positive != (rng.random() < self.noise))


@dataclass(frozen=True)
class Story:
    """A training that has a finding."""

    finding: str
    about: str
    texts: Texts
    overrides: tuple[str, ...]
    model: tuple[str, ...] = TEXTCNN
    branches: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Runs that are trained first, by the key that names their folder."""


STORIES = {
    "rate too low": Story(
        "not_learning", "lr a thousandth of the model's own", Texts(), ("optimizer.lr=1e-6", "train.epochs=12")
    ),
    "rate too high": Story(
        "not_learning", "lr 100, guard off", Texts(), ("optimizer.lr=100", "train.epochs=6", "guard=off")
    ),
    "few updates": Story("not_learning", "one epoch of 6 updates", Texts(rows=300), ("train.epochs=1", "guard=off")),
    "stopped after few updates": Story(
        "not_learning",
        "early stopping after 6 of 60 epochs, each of 2 updates",
        Texts(pairs=True, false_signs=1.0),
        (
            "train.batch_size=180",
            "optimizer.base_batch=180",
            "train.epochs=60",
            "guard=off",
            "objective.metric=accuracy",
        ),
    ),
    "explodes": Story(
        "exploding",
        "lr a thousand times the model's own",
        Texts(rows=1000, noise=0.05),
        ("optimizer.lr=1", "train.batch_size=16", "train.epochs=10"),
    ),
    "memorises": Story(
        "overfitting",
        "few texts, a quarter of the labels wrong, no dropout, no early stopping",
        Texts(rows=400, noise=0.25),
        ("model.dropout=0", "optimizer.lr=2e-3", "train.epochs=25", "early_stopping.enabled=false"),
    ),
    "cut short": Story(
        "underfitting", "three epochs", Texts(rows=1500, noise=0.05, vocabulary=2000), ("train.epochs=3",)
    ),
    "stopped while learning": Story(
        "underfitting",
        "early stopping at F1 0 with a falling loss",
        Texts(rows=1200, positive=0.2),
        ("balance=none", "train.epochs=60", "early_stopping.patience=2", "guard=off"),
    ),
    "rare class without weights": Story(
        "under_prediction",
        "one in ten positive, no class weights",
        Texts(rows=1500, positive=0.1, false_signs=0.25),
        ("balance=none", "train.epochs=12", "guard=off", "early_stopping.enabled=false"),
    ),
    "rare class with weights": Story(
        "under_prediction",
        "one in ten positive, weights that are too even",
        Texts(rows=1500, positive=0.1, false_signs=0.25),
        (
            "balance=effective_number",
            "balance.beta=0.9",
            "train.epochs=12",
            "guard=off",
            "early_stopping.enabled=false",
        ),
    ),
    "two corrections": Story(
        "stacked_corrections",
        "class weights and sampler",
        Texts(rows=1500, positive=0.1, false_signs=0.2),
        ("balance.sampler=true", "balance.allow_stacked=true", "train.epochs=8"),
    ),
    "validation leaks": Story(
        "test_differs",
        "60 % of validation copied from training",
        Texts(rows=2000, noise=0.25, copied=0.6),
        ("model.dropout=0", "optimizer.lr=3e-3", "train.epochs=15"),
    ),
    "below words": Story(
        "below_baseline",
        "four epochs at a low lr",
        Texts(rows=1500, noise=0.05, vocabulary=2000),
        ("train.epochs=4", "optimizer.lr=4e-4"),
    ),
    "far from its rate": Story(
        "below_baseline",
        "lr a tenth of the model's own",
        Texts(rows=1500, noise=0.05, vocabulary=2000),
        ("train.epochs=8", "optimizer.lr=1e-4", "guard=off"),
    ),
    "worse than its branch": Story(
        "below_branch",
        "one epoch at a thousand times the lr, on trained branches",
        Texts(rows=1500, noise=0.05),
        ("optimizer.lr=1.5", "train.epochs=1", "guard=off"),
        model=("model=fusion",),
        branches={
            "model.transformer": (*TEXTCNN, "train.epochs=8"),
            "model.gnn": ("model=gnn", "model.hidden_size=16", "model.layers=2", "train.epochs=3", "guard=off"),
        },
    ),
    "collapses": Story(
        "collapsed",
        "lr a hundred times the model's own, one in ten positive",
        Texts(rows=2000, positive=0.1, pairs=True, false_signs=0.3),
        # It would be stopped for its exploding loss else, which is another finding.
        ("balance=none", "optimizer.lr=0.1", "train.batch_size=16", "train.epochs=12", "guard.collapse.explosion=1e6"),
    ),
    "is rescued": Story(
        "rescued",
        "lr a hundred times the model's own, guard=rescue",
        Texts(rows=2000, positive=0.1, pairs=True, false_signs=0.3),
        ("balance=none", "optimizer.lr=0.1", "train.batch_size=16", "train.epochs=12", "guard=rescue"),
    ),
}


def train(folder: Path, overrides: Sequence[str]) -> RunRecord:
    """Train with these overrides, unless the folder holds the run already; what it left."""
    if not (folder / TRIED).exists():
        resolvers.register()
        with initialize_config_dir(str(CONF)):
            config: Any = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
        with redirect_stdout(StringIO()), suppress(TrainingAbortedError):
            run(config, folder, Invocation(CONF / "hardware", tuple(overrides)))
        (folder / TRIED).touch()
    return read_run(folder)


@dataclass(frozen=True)
class Outcome:
    """What came of one seed."""

    override: str
    went_away: bool
    before: float | None
    after: float | None
    instead: tuple[str, ...] = ()
    """Findings of the second run."""


def try_story(name: str, story: Story, seed: int, folder: Path) -> Outcome | None:
    """Train, and train again as advised; ``None`` where the finding is not there, or comes without an override."""
    data = folder / "data" / name.replace(" ", "_").replace(",", "")
    if not data.exists():
        story.texts.write(data)
    runs = folder / "runs" / name.replace(" ", "_").replace(",", "")
    common = [*SMALL, f"data.path={data}", f"paths.cache={folder / 'cache'}"]
    branches = []
    for key, overrides in story.branches.items():
        train(runs / key, [*common, *overrides, "seed=0"])
        branches.append(f"{key}={runs / key}")
    asked = [*common, *story.model, *branches, *story.overrides, f"seed={seed}"]
    first = train(runs / str(seed), asked)
    found = of_kind(first, story.finding)
    if found is None or not found.override:
        what = "no override" if found else "no finding"
        print(f"  {name}, seed {seed}: {what}; {[each.kind for each in diagnose(first)]}", flush=True)
        return None
    second = train(runs / f"{seed}_advised_{found.override}", [*asked, found.override])
    kinds = tuple(finding.kind for finding in diagnose(second))
    print(f"  {name}, seed {seed}: {found.override}; {kinds or 'fine'}; {score(first)} -> {score(second)}", flush=True)
    grave = any(finding.severity == "critical" for finding in diagnose(second))
    return Outcome(found.override, story.finding not in kinds and not grave, score(first), score(second), kinds)


def of_kind(record: RunRecord, kind: str) -> Finding | None:
    return next((finding for finding in diagnose(record) if finding.kind == kind), None)


def score(record: RunRecord) -> float | None:
    """The objective on the test split."""
    return record.score_of(record.result.get("test") or {})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--only", nargs="*", help="stories by name")
    parser.add_argument("--folder", type=Path, help="keep the runs here; by default a temporary folder")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (options.folder or Path(temporary)).resolve()
        rows = []
        for name in options.only or STORIES:
            rows.append(table_row(STORIES[name], outcomes_of(name, options.seeds, folder)))
    print("\n| finding | story | override | went away | objective on test |\n|---|---|---|---|---|")
    print("\n".join(rows))


def outcomes_of(name: str, wanted: int, folder: Path) -> list[Outcome]:
    """Of the first seeds that have the finding, with an override; three times as many are tried at most."""
    found: list[Outcome] = []
    for seed in range(3 * wanted):
        outcome = try_story(name, STORIES[name], seed, folder)
        found += [] if outcome is None else [outcome]
        if len(found) == wanted:
            break
    return found


def table_row(story: Story, outcomes: Sequence[Outcome]) -> str:
    finding = story.finding.replace("_", " ")
    if not outcomes:
        return f"| {finding} | {story.about} | none | – | – |"
    override = Counter(each.override for each in outcomes).most_common(1)[0][0]
    away = sum(each.went_away for each in outcomes)
    return f"| {finding} | {story.about} | `{override}` | {away}/{len(outcomes)} | {means(outcomes)} |"


def means(outcomes: Sequence[Outcome]) -> str:
    """Of the objective before and after, where both are known."""
    shown = []
    for side in ("before", "after"):
        known = [value for each in outcomes if (value := getattr(each, side)) is not None]
        shown.append(f"{mean(known):.2f}" if known else "none")
    return " → ".join(shown)


if __name__ == "__main__":
    main()
