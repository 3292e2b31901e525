"""Features of frozen branches: computed once, in evaluation mode, whatever memory there is."""

from __future__ import annotations

import errno
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from cli.cli_command import CONF, call
from counterpoise import alone
from counterpoise import features as module
from counterpoise.branches import open_branches
from counterpoise.cli.exits import EXIT_PREEMPTED
from counterpoise.config import resolvers
from counterpoise.config.experiment import Experiment, check
from counterpoise.data.cache import Cache, dataset_fingerprint
from counterpoise.data.encode.base import StagedSplit
from counterpoise.data.encode.features import FeatureSplit
from counterpoise.data.loading import load_data
from counterpoise.features import FrozenFeatures
from counterpoise.jsonio import read_sealed
from counterpoise.models.base import Features, ModelContext
from counterpoise.models.fusion import Fusion
from counterpoise.tracking.console import make_console
from fusion_kit import FUSION_RUN, WordGraph

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
        records=data.splits(),
        data_fingerprint=fingerprint,
        encoded=asked.build_encoding().encode(data, Cache(cache)),
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


ASKED = (*FUSION_RUN, "model.transformer=text", "model.gnn=graph", "model.mode=frozen", "hydra.run.dir=mine")


# While features are computed nothing has begun: the run ends at once, and nothing of it is left.
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_computation_at_once(
    number: signal.Signals, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    real, seen = module.branch_features, []

    def told(*given: Any) -> Any:
        seen.append(given)
        if len(seen) == 4:  # two are the check, the others of the training split
            os.kill(os.getpid(), number)
        return real(*given)

    monkeypatch.setattr(module, "branch_features", told)
    answer = call(place, ASKED, lambda: tuple(capfd.readouterr()))
    assert answer.code == EXIT_PREEMPTED
    kept = "nothing was saved yet but encoded data, in .cache/counterpoise"
    assert answer.err.strip() == f"{number.name} was received; {kept}. To continue: give the same command again."
    assert len(seen) == 4
    assert not (place / "mine").exists()
    assert not list((place / ".cache").rglob("features-*/*"))
    assert not list((place / ".cache").rglob(".*.building"))
    monkeypatch.setattr(module, "branch_features", real)
    assert call(place, ASKED, lambda: tuple(capfd.readouterr())).code == 0


def test_what_features_refuse_leaves_no_run_begun(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    def full(self: Any, *given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    def too_much(*given: Any) -> Any:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(FrozenFeatures, "_compute", full)
    answer = call(place, ASKED, lambda: tuple(capfd.readouterr()))
    assert (answer.code, len(answer.problems)) == (2, 1)
    assert "paths.cache: the cache folder .cache/counterpoise cannot be used" in answer.err
    assert not (place / "mine").exists()
    monkeypatch.undo()
    monkeypatch.chdir(place)
    monkeypatch.setattr(module, "_numbers", too_much)
    answer = call(place, ASKED, lambda: tuple(capfd.readouterr()))
    assert answer.code == 1
    assert "Out of memory in evaluation, and the batch cannot be made smaller" in answer.err
    assert not (place / "mine").exists()


def test_a_finished_run_needs_no_features(place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    assert call(place, ASKED, lambda: tuple(capfd.readouterr())).code == 0
    shutil.rmtree(place / ".cache")
    answer = call(place, ASKED, lambda: tuple(capfd.readouterr()))
    assert "This run has finished already." in answer.out
    assert not (place / ".cache").exists()


# What the branches come to alone is an addition to a run that is trained: it is not lost for a full disk.
def test_a_full_cache_does_not_cost_a_trained_run_its_result(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    asked = [item.replace("hydra.run.dir=mine", "hydra.run.dir=whole") for item in ASKED]
    assert call(place, asked, lambda: tuple(capfd.readouterr())).code == 0
    for entry in (place / ".cache" / "counterpoise").glob("branch-*"):
        shutil.rmtree(entry, ignore_errors=True)
        entry.unlink(missing_ok=True)

    def full(*given: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(alone, "write_predictions", full)
    answer = call(place, ASKED, lambda: tuple(capfd.readouterr()))
    assert answer.code == 0, answer
    for name in ("transformer", "gnn"):
        assert f"What the branch {name} comes to alone is computed without it." in answer.err
    found, whole = (read_sealed(place / run / "result.json")["branches"] for run in ("mine", "whole"))
    assert found == whole


def promise(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Change what the graph branch's model is when it has been built."""
    init = WordGraph.__init__

    def changed(self: Any, *given: Any) -> None:
        init(self, *given)
        change(self)

    monkeypatch.setattr(WordGraph, "__init__", changed)


def give(monkeypatch: pytest.MonkeyPatch, change: Any) -> None:
    """Change what it gives as features."""
    real = WordGraph.features
    monkeypatch.setattr(WordGraph, "features", lambda self, *given, **named: change(real(self, *given, **named)))


PROMISES: dict[str, tuple[Any, Any, str]] = {
    "head": (
        promise,
        lambda model: setattr(model, "head", torch.nn.Sequential(model.head)),
        "model.gnn: graph is a WordGraph, which is no whole Backbone: head must be an nn.Linear, but is a Sequential.",
    ),
    "no head": (promise, lambda model: delattr(model, "head"), "head must be an nn.Linear, but is missing."),
    "feature_size": (
        promise,
        lambda model: setattr(model, "feature_size", 5),
        "head must read the feature_size of 5, but reads 8.",
    ),
    "no size": (
        promise,
        lambda model: delattr(model, "state_size"),
        "state_size must be a whole number above zero, but is null.",
    ),
    "state_size": (
        promise,
        lambda model: setattr(model, "state_size", 5),
        "model.gnn: graph is a WordGraph whose features cannot be used: "
        "states must be of floating point and of the shape [2, L, 5], but is float32 [2, ",
    ),
    "pooled": (
        give,
        lambda found: found._replace(pooled=found.pooled[:, :3]),
        "pooled must be of floating point and of the shape [2, 8], but is float32 [2, 3].",
    ),
    "mask": (give, lambda found: found._replace(mask=found.mask.long()), "mask must be true or false and of the shape"),
    "no features": (give, lambda found: found.pooled, "features() gives a Tensor, no Features."),
    "no states": (
        give,
        lambda found: Features(found.pooled),
        "model.layer: cross_attention reads single states, but WordGraph gives none. "
        "Use model.layer=gated or model.layer=concat.",
    ),
    "an error": (give, lambda found: found.nothing, "AttributeError: 'Features' object has no attribute 'nothing'."),
}


@pytest.mark.parametrize("broken", PROMISES)
def test_a_branch_that_breaks_its_promises_is_refused(
    broken: str, place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    how, change, told = PROMISES[broken]
    how(monkeypatch, change)
    asked = [*ASKED, "model.layer=cross_attention", "model.mode=discriminative"]
    answer = call(place, asked, lambda: tuple(capfd.readouterr()))
    assert answer.code == 2, answer
    (problem,) = answer.problems
    assert told in problem
    assert problem.startswith("model.")
    assert not (place / "mine").exists()


def test_a_branch_without_states_is_one_for_layers_that_read_none(
    place: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    give(monkeypatch, lambda found: Features(found.pooled))
    assert call(place, [*ASKED, "model.layer=gated", "train.epochs=1"], lambda: tuple(capfd.readouterr())).code == 0
