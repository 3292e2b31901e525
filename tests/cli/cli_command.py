"""The training command in this process, on a table of 120 short functions; see ``Command``."""

from __future__ import annotations

import csv
import logging
import os
import random
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from counterpoise.cli import train as cli

ROOT = Path(__file__).resolve().parents[2]
CONF = ROOT / "conf"
TRAIN = ROOT / "src" / "train.py"

SMALL = (
    *("data=table", "data.path=tiny.csv", "model=textcnn", "model.embedding_size=8", "model.filters=4"),
    *("encoding.vocab_size=300", "train.epochs=1", "hardware=cpu", "hardware.precision=fp32"),
    *("report.plots=false", "report.multirun=false"),
)
"""Overrides for a run of about half a second."""


@dataclass(frozen=True)
class Answer:
    """What a command left on the screen, and its exit code."""

    code: int
    out: str
    err: str

    @property
    def problems(self) -> list[str]:
        """The listed problems, one line each."""
        return [line.strip() for line in self.err.splitlines()[1:]]


def write_table(folder: Path) -> Path:
    """``tiny.csv``: 120 short functions; the label can be read off a word."""
    rng = random.Random(0)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "tiny.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        for number in range(120):
            word = "unchecked" if number % 2 else "guarded"
            writer.writerow([f"int f{number}(int a) {{ return {word}(a, {rng.randrange(10_000)}); }}", number % 2])
    return folder


def call(folder: Path, arguments: Sequence[str], capture: Callable[[], tuple[str, str]]) -> Answer:
    """``python src/train.py ARGUMENTS`` in ``folder``, without a process of its own."""
    before, argv, path, variables = Path.cwd(), sys.argv, list(sys.path), dict(os.environ)
    capture()
    try:
        os.chdir(folder)
        sys.argv = [str(TRAIN), *arguments]
        code = cli.train(CONF)
    finally:
        os.chdir(before)
        sys.argv, sys.path[:] = argv, path
        for name in [name for name in os.environ if name not in variables]:  # processes of other tests start as usual
            del os.environ[name]
        for handler in [h for h in logging.getLogger().handlers if h.get_name() == cli.__name__]:
            logging.getLogger().removeHandler(handler)  # it holds on to this test's stderr
    out, err = capture()
    return Answer(code, out, err)
