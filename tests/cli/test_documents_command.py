"""``model=hierarchical`` from the command line, on documents that only their later chunks tell apart."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cli_command import Answer

from counterpoise.jsonio import read_sealed

CLASSES = ("general", "teen", "mature")
RUN = (
    *("model=hierarchical", "data=table", "data.path=stories.jsonl", "hardware=cpu", "hardware.precision=fp32"),
    *("encoding.vocab_size=300", "encoding.window=32", "encoding.max_chunks=20", "model.hidden_size=16"),
    *("model.attention_size=8", "train.epochs=6", "optimizer.lr=1e-2", "optimizer.scaling=none", "guard=warn"),
    *(
        "objective.metric=custom",
        "+objective.weights.accuracy=0.6",
        "+objective.weights.macro_f1=0.4",
        "report.plots=false",
    ),
)
Quiet = Callable[..., Answer]


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 240 documents of two to six chunks; one word of the last thirty decides."""
    folder, rng = tmp_path_factory.mktemp("documents"), random.Random(0)
    rows = []
    for number in range(240):
        label = CLASSES[(number % 6 >= 3) + (number % 6 == 5)]
        words = [rng.choice("abcdefgh") for _ in range(rng.randrange(45, 140))]
        words[-rng.randrange(1, 15)] = {"general": "x", "teen": "y", "mature": "z"}[label]
        rows.append(json.dumps({"text": " ".join(words), "label": label}))
    (folder / "stories.jsonl").write_text("\n".join(rows) + "\n")
    return folder


def result(folder: Path) -> dict[str, Any]:
    return read_sealed(folder / "result.json")


def test_what_only_later_chunks_tell_is_learnt_by_chunks_alone(
    stories: Path, quiet: Quiet, capfd: pytest.CaptureFixture[str]
) -> None:
    assert quiet(stories, *RUN, "hydra.run.dir=whole", "train.epochs=16").code == 0
    found = result(stories / "whole")
    assert found["test"]["macro_f1"] > 0.9
    notes = found["notes"]["chunks"]["train"]
    assert (notes["cut_samples"], notes["cut_tokens_share"]) == (0, 0.0)
    assert notes["most_chunks"] > notes["median_chunks"] > 1
    capfd.readouterr()
    assert quiet(stories, *RUN, "hydra.run.dir=first", "encoding.max_chunks=1", "train.epochs=2").code == 0
    assert "of the training split's tokens are not read" in capfd.readouterr().err
    assert result(stories / "first")["test"]["macro_f1"] < 0.6


def test_how_an_update_is_cut_and_read_changes_no_prediction(stories: Path, quiet: Quiet) -> None:
    small = (*RUN, "train.epochs=1", "model.dropout=0.0", "hardware.precision=fp64")
    assert quiet(stories, *small, "hydra.run.dir=one").code == 0
    others = ("train.batch_tokens=150", "model.pass_tokens=64", "model.gradient_checkpointing=true")
    assert quiet(stories, *small, *others, "hydra.run.dir=other").code == 0
    one, other = (result(stories / name) for name in ("one", "other"))
    assert one["test"]["log_loss"] == pytest.approx(other["test"]["log_loss"], abs=1e-9)
    assert one["updates"] == other["updates"]


def test_an_overlap_that_leaves_no_room_is_the_users_mistake(
    stories: Path, quiet: Quiet, capfd: pytest.CaptureFixture[str]
) -> None:
    assert quiet(stories, *RUN, "encoding.overlap=30", "hydra.run.dir=none").code == 2
    said = "encoding.overlap: must be less than window=32, of which two tokens are special, but is 30."
    assert said in " ".join(capfd.readouterr().err.split())
    assert not (stories / "none").exists()
