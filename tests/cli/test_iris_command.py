"""model=iris from the command line: what it prints, what it keeps, and that a run comes back the same."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from cli_command import Answer

from counterpoise.data.encode.passages import cut_texts
from counterpoise.data.encoders.lsa import LSA, LSAConfig
from counterpoise.jsonio import read_json

TOPICS = {"sleep": "lies awake at night", "money": "cannot pay the rent", "work": "quarrels with the boss"}
GIVEN = (
    *("data=table", "data.path=pairs.csv", "data.criterion_column=criterion", "data.group_column=group"),
    *("model=iris", "hardware=cpu", "train.epochs=2", "encoder.size=16", "encoding.window=6", "encoding.overlap=2"),
    "report.plots=false",
)


@pytest.fixture
def pairs(fresh: Path) -> Path:
    """90 pairs of 30 posts and three criteria."""
    rng = np.random.default_rng(0)
    fillers = ["the weather was fine", "we went to the harbour", "a new lantern", "copper and stone", "paper on a desk"]
    with (fresh / "pairs.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "criterion", "label", "group"])
        for post in range(30):
            holds = [topic for topic in TOPICS if rng.random() < 0.4]
            parts = [*(TOPICS[topic] for topic in holds), *rng.choice(fillers, 6)]
            text = f"{' and '.join(rng.permutation(parts))} number {post}"
            writer.writerows([text, f"about {topic}", int(topic in holds), f"g{post}"] for topic in TOPICS)
    return fresh


def test_a_run_from_end_to_end(pairs: Path, train: Callable[..., Answer]) -> None:
    answer = train(*GIVEN, "hydra.run.dir=one", folder=pairs)
    assert answer.code == 0, answer.err
    size = json.loads((pairs / "one/encoding.json").read_text())["size"]
    parameters = 8 * size + size + 8 * size + 1
    assert f"parameters  {parameters:,} trainable of {parameters:,}" in answer.out
    result = json.loads((pairs / "one/result.json").read_text())
    assert result["trainable_parameters"] == parameters
    assert result["notes"]["embeddings"]["train"]["texts"] * 3 == result["notes"]["embeddings"]["train"]["samples"]
    properties = read_json(pairs / "one/encoding.json")
    encoder = LSA(LSAConfig(size=16))
    encoder.load(pairs / "one")
    text = "cannot pay the rent and a new lantern"
    spans = cut_texts([text], **{k: v for k, v in properties["chunks"].items() if k != "max_chunks"}, maximum=64).spans
    assert encoder.encode([text[start:end] for start, end in spans.tolist()]).shape == (len(spans), size)


def test_the_same_command_gives_the_same_figures(pairs: Path, train: Callable[..., Answer]) -> None:
    results = []
    for name in ("one", "two"):
        assert train(*GIVEN, f"hydra.run.dir={name}", f"paths.cache={name}_cache", folder=pairs).code == 0
        results.append(json.loads((pairs / name / "result.json").read_text()))
    assert results[0]["valid"] == results[1]["valid"]


def test_a_curve_of_the_range_test_depends_on_the_encoder(pairs: Path, train: Callable[..., Answer]) -> None:
    search = ("lr_finder=true", "lr_range_test.updates=20", "train.epochs=1")
    keys = []
    for name, more in (("lsa", ()), ("terms", ("encoder.max_terms=40",))):
        assert train(*GIVEN, *search, *more, f"hydra.run.dir={name}", folder=pairs).code == 0
        keys.append(read_json(pairs / name / "lr_finder.json")["key"]["encoding"])
    assert keys[0]["encoder"]["class"] == "counterpoise.data.encoders.lsa.LSA"
    assert keys[1]["encoder"]["config"]["max_terms"] == 40
    assert keys[0]["files"].keys() >= {"encoder.json", "encoder_terms.json"}
    assert keys[0]["files"] != keys[1]["files"]


def test_what_does_not_fit_is_one_problem(pairs: Path, train: Callable[..., Answer]) -> None:
    without = [item for item in GIVEN if "criterion" not in item]
    answer = train(*without, "model.conditioning=gate", folder=pairs)
    assert answer.code == 2
    assert answer.problems[0] == "1 problem:"
    assert "model.conditioning: is gate, but the records of these data have no criterion." in answer.problems[1]
    answer = train("model=gnn", "encoder=lsa", folder=pairs)
    assert answer.code == 2
    assert "encoder: GraphEncoding uses none." in answer.problems[0]
    assert len(answer.problems) == 1
