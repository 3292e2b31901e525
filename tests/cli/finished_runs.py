"""Finished runs of every kind of encoding, trained in a moment, and the texts that they were tested on."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from cli_command import SMALL, call, write_table

from counterpoise.cli.exits import EXIT_OK
from counterpoise.config.experiment import check
from counterpoise.data.loading import load_data
from counterpoise.jsonio import read_json

TABLE = ("data=table", "data.path=tiny.csv", "train.epochs=1", "hardware=cpu", "guard=off")
PAIRS = (
    *("data=demo_criteria", "data.posts=30", "data.positive_share=0.3", "model=iris", "encoder.size=16"),
    *("train.epochs=1", "hardware=cpu", "guard=off"),
)
GNN = ("data.language=c", "encoding.workers=0", "model.hidden_size=8", "model.layers=1", "hardware.precision=fp32")
RUNS: dict[str, tuple[str, ...]] = {
    "tokens": (*SMALL, "train.epochs=2"),
    "graphs": (*TABLE, "model=gnn", *GNN),
    "fusion": (
        *(*TABLE, "model=fusion", "model.transformer=tokens", "model.gnn=graphs", "model.mode=frozen"),
        *("data.language=c", "encoding.graphs.workers=0", "model.hidden_size=8"),
    ),
    "chunks": (
        *(*TABLE, "model=hierarchical", "model.hidden_size=8", "model.layers=1", "model.heads=2"),
        *("model.feed_forward_size=8", "encoding.window=10", "encoding.max_chunks=3"),
    ),
    "hashing": (*PAIRS, "encoder=hashing"),
    "lsa": (*PAIRS, "encoder=lsa"),
    "minilm": (
        *("data=demo_criteria", "data.posts=10", "data.median_words=40", "data.positive_share=0.3", "model=iris"),
        *("encoder=minilm", "train.epochs=1", "hardware=cpu", "guard=off"),
    ),
    "three": (
        *("data=demo_documents", "data.size=80", "model=textcnn", "model.embedding_size=8", "model.filters=4"),
        *("train.epochs=1", "hardware=cpu", "guard=off", "encoding.max_length=64"),
    ),
}
NEEDS = {"fusion": ("tokens", "graphs")}


def make(folder: Path) -> Callable[[str], Path]:
    """A function from a kind to the folder of its run, which is trained when it is first asked for."""
    write_table(folder)

    def run(kind: str) -> Path:
        if not (folder / kind).exists():
            for needed in NEEDS.get(kind, ()):
                run(needed)
            answer = call(folder, [*RUNS[kind], f"hydra.run.dir={kind}", "paths.cache=cache"], lambda: ("", ""))
            assert answer.code == EXIT_OK, kind
        return folder / kind

    return run


def write_test_split(run: Path, path: Path, *, labels: bool = False) -> Path:
    """The texts that a run was tested on, as a user would have them, in JSON lines."""
    config = read_json(run / "training_metadata.json")["config"]
    if config["data"].get("path"):
        config["data"]["path"] = str(run.parent / config["data"]["path"])
    data = load_data(check(config))
    assert data.test is not None
    columns: dict[str, list[Any]] = {"text": data.test.texts}
    if data.test.has("criterion"):
        columns["criterion"] = data.test.table["criterion"].to_pylist()
    if labels:
        columns["label"] = [data.classes[label] for label in data.test.labels]
    rows = zip(*columns.values(), strict=True)
    path.write_text("".join(json.dumps(dict(zip(columns, row, strict=True))) + "\n" for row in rows))
    return path


def saved(run: Path, split: str = "test") -> tuple[np.ndarray, np.ndarray]:
    """Probabilities ``[N, C]`` and predicted classes ``[N]`` that a run left."""
    table = pq.read_table(run / f"predictions_{split}.parquet")
    return np.stack(table["probabilities"].to_numpy()), table["predicted"].to_numpy()
