"""What is learnt from data is learnt from the fold's training part alone, shown by planting a leak.

Two tables differ in the texts and labels of the held-out fold and of validation only, which the planted one gives
away by a marker word. Everything that a run learns before training must be the same bits for both. To hold another
encoding to it, add a model that reads it to ``MODELS``.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from counterpoise.baselines import tfidf_logistic
from counterpoise.config import resolvers
from counterpoise.config.experiment import Experiment, check
from counterpoise.data.cache import Cache
from counterpoise.data.encode.graphs import PICTURE, STATISTICS
from counterpoise.data.loading import load_data
from counterpoise.data.records import Dataset, Records
from counterpoise.job import build_loss

CONF = Path(__file__).resolve().parents[2] / "conf"
MODELS = {
    "textcnn": ["encoding.vocab_size=300"],
    "gnn": [],
    "fusion": ["encoding.tokens.vocab_size=300"],
    "iris": ["encoder.size=8"],
}
"""One model for each encoding, and what makes it small."""
DESCRIBES = (STATISTICS, PICTURE)
"""Artefacts that describe all splits; nothing reads them."""
MARKER = "zzyzxquux"
FOLD = 1


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    resolvers.register()
    with initialize_config_dir(str(CONF)):
        yield


def experiment(path: Path, *overrides: str) -> Experiment:
    data = ["data=table", f"data.path={path}", "data.group_column=group", "data.language=c"]
    config = compose("config", overrides=[*data, f"fold={FOLD}", "folds.count=3", *overrides])
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    return check({str(key): value for key, value in plain.items()})


def table(folder: Path, marked: Mapping[int, str]) -> Path:
    """Ninety short functions in thirty groups; a marked one holds another text."""
    path = folder / "functions.jsonl"
    rng = np.random.default_rng(0)
    with path.open("w") as file:
        for row in range(90):
            text = f"int f{row % 7}(int a) {{ return a + g{rng.integers(5)}({rng.integers(9)}); }}"
            line = {"text": marked.get(row, text), "label": int(row % 3 == 0), "group": f"g{row // 3}"}
            file.write(json.dumps(line) + "\n")
    return path


def unlike(records: Records) -> Records:
    """With every label exchanged for the other."""
    position = records.table.column_names.index("label")
    return Records(records.table.set_column(position, "label", [1 - records.labels]), records.classes)


@pytest.fixture
def paths(tmp_path: Path) -> tuple[Path, Path, Path]:
    """The table as it is, with a leak planted outside the training part, and with one record in it changed."""
    plain = table(tmp_path, {})
    splits = load_data(experiment(plain)).splits()
    outside = [row for name in ("valid", "test") for row in splits[name].rows.tolist()]
    folders = [tmp_path / name for name in ("planted", "changed")]
    for folder in folders:
        folder.mkdir()
    text = f"int {MARKER}(int a) {{ {MARKER}({MARKER}); while (a) a--; {MARKER}(); }}"
    planted = table(folders[0], {row: f"{text} {row % 3 == 0}" for row in outside})
    changed = table(folders[1], {int(row): text for row in splits["train"].rows[:3]})
    return plain, planted, changed


def load(path: Path, *overrides: str, relabel: bool) -> tuple[Experiment, Dataset]:
    """The data as a run sees them; with ``relabel`` other labels stand outside the training part."""
    asked = experiment(path, *overrides)
    data = load_data(asked)
    if relabel:
        assert data.test is not None
        data = dataclasses.replace(data, valid=unlike(data.valid), test=unlike(data.test))
    return asked, data


def test_folds_are_dealt_without_a_look_at_texts(paths: tuple[Path, ...]) -> None:
    one, *others = (load(path, relabel=False)[1] for path in paths)
    for other in others:
        assert {n: p.rows.tolist() for n, p in one.splits().items()} == {
            n: p.rows.tolist() for n, p in other.splits().items()
        }
    planted = others[0]
    assert one.train.table.equals(planted.train.table)
    assert all(MARKER in text for part in (planted.valid, planted.test) if part for text in part.texts)


def learnt(path: Path, model: str, cache: Path, *, relabel: bool) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Artefacts of the encoding by name, and the inputs of all training samples."""
    asked, data = load(path, f"model={model}", *MODELS[model], relabel=relabel)
    encoded = asked.build_encoding().encode(data, Cache(cache))
    kept = {name: file.read_bytes() for name, file in encoded.artefacts.items() if name not in DESCRIBES}
    batch = encoded.splits["train"].batch(np.arange(len(data.train)))
    assert isinstance(batch.inputs, Mapping)
    return kept, {name: value.numpy() for name, value in batch.inputs.items()}


@pytest.mark.parametrize("model", MODELS)
def test_encodings_learn_from_the_training_part_alone(tmp_path: Path, paths: tuple[Path, ...], model: str) -> None:
    plain, planted, changed = paths
    files, inputs = learnt(plain, model, tmp_path / "one", relabel=False)
    same_files, same_inputs = learnt(planted, model, tmp_path / "other", relabel=True)
    assert files
    assert same_files == files
    assert not any(MARKER.encode() in content for content in files.values())
    assert set(same_inputs) == set(inputs)
    for name, values in inputs.items():
        assert np.array_equal(values, same_inputs[name]), name
    assert learnt(changed, model, tmp_path / "third", relabel=False)[0] != files, "what is in it is learnt"


BALANCES = ("class_weights", "effective_number", "sampler")


@pytest.mark.parametrize("balance", BALANCES)
def test_weights_come_from_the_training_part_alone(paths: tuple[Path, ...], balance: str) -> None:
    def weights(path: Path, *, relabel: bool) -> tuple[Any, ...]:
        asked, data = load(path, f"balance={balance}", relabel=relabel)
        balancing = asked["balance"].build()
        counts, labels = data.train.class_counts(), data.train.labels
        of_loss = build_loss(asked, data).class_weights
        return (
            balancing.class_weights(counts, data.classes),
            balancing.sample_weights(labels, len(data.classes), data.classes),
            None if of_loss is None else of_loss.numpy(),
        )

    plain, planted, _ = paths
    assert any(found is not None for found in weights(plain, relabel=False))
    np.testing.assert_equal(weights(planted, relabel=True), weights(plain, relabel=False))


def test_the_baseline_learns_from_the_training_part_alone(paths: tuple[Path, ...]) -> None:
    third = Records.from_columns(
        {"row": [0, 1], "text": [f"{MARKER} True", "int f1(int a) { return a + g1(3); }"], "label": [0, 1]}, ("0", "1")
    )
    plain, planted, changed = (
        tfidf_logistic(load(path, relabel=path == paths[1])[1].train, {"third": third})["third"] for path in paths
    )
    assert np.array_equal(planted, plain)
    assert not np.array_equal(changed, plain)
