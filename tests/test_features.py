"""Features of frozen branches: computed once, in evaluation mode, whatever memory there is."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cli.cli_command import CONF
from counterpoise import features as module
from counterpoise.branches import open_branches
from counterpoise.config import resolvers
from counterpoise.config.experiment import Experiment, check
from counterpoise.data.cache import Cache, dataset_fingerprint
from counterpoise.data.encode.base import StagedSplit
from counterpoise.data.encode.features import FeatureSplit
from counterpoise.features import FrozenFeatures
from counterpoise.models.base import ModelContext
from counterpoise.models.fusion import Fusion
from counterpoise.run import load_data
from counterpoise.tracking.console import make_console
from fusion_kit import FUSION_RUN

pytestmark = pytest.mark.usefixtures("chained_words")


@pytest.fixture
def place(branch_runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    shutil.copytree(branch_runs, tmp_path / "place", ignore=shutil.ignore_patterns(".cache"))
    monkeypatch.chdir(tmp_path / "place")
    return tmp_path / "place"


def experiment(*changes: str) -> Experiment:
    resolvers.register()
    with initialize_config_dir(str(CONF)):
        given = [*FUSION_RUN, "model.transformer=text", "model.gnn=graph", *changes]
        config: Any = OmegaConf.to_container(compose("config", overrides=given), resolve=True)
    return check(config)


def frozen(asked: Experiment, cache: Path) -> FrozenFeatures:
    data = load_data(asked)
    fingerprint = dataset_fingerprint(data)
    return FrozenFeatures(
        dataset=data,
        data_fingerprint=fingerprint,
        encoded=asked["encoding"].build().encode(data, Cache(cache)),
        branches=open_branches(asked, data, fingerprint),
        cache=Cache(cache),
        device=torch.device("cpu"),
        tf32=True,
        console=make_console(),
    )


def fusion(asked: Experiment, found: FrozenFeatures) -> Fusion:
    torch.manual_seed(0)
    branches = {name: branch.model for name, branch in found.branches.items()}
    context = ModelContext((0.5, 0.5), found.encoded.properties, branches)
    model: Fusion = asked["model"].build(context)
    torch.nn.init.normal_(model.fusion.output.weight)  # type: ignore[union-attr]
    return model.eval()


@pytest.mark.parametrize("layer", ["concat", "cross_attention"])
def test_features_of_a_split_give_the_logits_of_its_inputs(layer: str, place: Path) -> None:
    asked = experiment("model.mode=frozen", f"model.layer={layer}", "model.max_states=4")
    found = frozen(asked, place / "cache")
    model, splits = fusion(asked, found), found.splits(asked["model"])
    assert set(splits) == {"train", "valid", "test"}
    for name, split in splits.items():
        assert isinstance(split, FeatureSplit)
        whole = found.encoded.splits[name]
        assert split.lengths.tolist() == whole.lengths.tolist()
        indices = np.random.default_rng(0).permutation(len(split.labels))[:9]
        one, other = split.batch(indices), whole.batch(indices)
        with torch.no_grad():
            torch.testing.assert_close(model(**one.inputs).logits, model(**other.inputs).logits, atol=1e-6, rtol=1e-5)
        assert one.rows.tolist() == other.rows.tolist()
        assert one.labels.tolist() == other.labels.tolist()


def test_the_mode_decides_the_form(place: Path) -> None:
    for mode, kind in (("frozen", FeatureSplit), ("staged", StagedSplit)):
        asked = experiment(f"model.mode={mode}", "model.stage_epochs=1")
        found = frozen(asked, place / "cache")
        assert all(isinstance(split, kind) for split in found.splits(asked["model"]).values())
    asked = experiment()
    found = frozen(asked, place / "cache")
    assert found.splits(asked["model"]) is found.encoded.splits


def test_too_little_memory_changes_nothing_but_the_time(
    place: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = experiment("model.mode=frozen", "model.layer=cross_attention", "model.max_states=4")
    plenty = frozen(asked, place / "cache").splits(asked["model"])
    real, sizes = module.branch_features, []

    def hungry(branch: Any, inputs: Any, max_states: int) -> Any:
        size = len(inputs["lengths" if branch.encoding == "tokens" else "sizes"])
        if size > 20:
            raise torch.OutOfMemoryError("no room")
        sizes.append(size)
        return real(branch, inputs, max_states)

    monkeypatch.setattr(module, "branch_features", hungry)
    little = frozen(asked, place / "another cache").splits(asked["model"])
    assert max(sizes) == 16
    assert "Out of memory with 64 samples at once in evaluation" in caplog.text
    for name, split in plenty.items():
        for column, values in split.columns.items():  # type: ignore[attr-defined]
            np.testing.assert_allclose(little[name].columns[column], values, atol=1e-6)  # type: ignore[attr-defined]


# Whatever does not change what a branch answers shares an entry: another partner, layer size, rate or seed.
def test_what_an_entry_depends_on(place: Path) -> None:
    asked = experiment("model.mode=frozen")
    base = frozen(asked, place / "cache")

    def key(found: FrozenFeatures, states: int = 0) -> dict[str, Any]:
        return found._key(found.branches["transformer"], states)

    assert key(frozen(experiment("model.mode=frozen", "model.hidden_size=9", "seed=3"), place / "cache")) == key(base)
    alone = frozen(experiment("model.gnn=fresh"), place / "cache")
    assert key(alone) == key(base), "with another partner"
    branch = replace(base.branches["transformer"], weights="others")
    assert base._key(branch, 0) != key(base)
    assert key(base, 4) != key(base)
    assert key(replace(base, device=torch.device("cuda"))) != key(base)
    assert key(replace(base, data_fingerprint="other")) != key(base)
