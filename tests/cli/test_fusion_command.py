"""``model=fusion`` from the command line, on two small runs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from cli_command import Answer

from counterpoise.data.encode import graphs
from counterpoise.engine.update import Updater
from counterpoise.features import FrozenFeatures
from counterpoise.jsonio import read_sealed
from counterpoise.metrics import classification_metrics
from counterpoise.models.textcnn import TextCNN
from counterpoise.tracking.gradients import GradientRecorder
from fusion_kit import FUSION_RUN, WordGraph, chains

OWN = "extensions=[fusion_kit]"
"""What a run with a model of this kit is resumed with: its folder alone decides nothing about what is imported."""
BRANCHES = ("model.transformer=text", "model.gnn=graph")
Quiet = Callable[..., Answer]


pytestmark = pytest.mark.usefixtures("chained_words")


@pytest.fixture(scope="module")
def made(branch_runs: Path, tmp_path_factory: pytest.TempPathFactory, quiet: Quiet) -> Path:
    """A folder with the runs ``text`` and ``graph``, and a fusion of them in each mode."""
    folder = tmp_path_factory.mktemp("fusion") / "made"
    shutil.copytree(branch_runs, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "make_graphs", chains)
        for mode in ("frozen", "staged", "discriminative"):
            changes = ("model.stage_epochs=1", "train.epochs=3", "train.log_every=2", f"hydra.run.dir={mode}")
            assert quiet(folder, *FUSION_RUN, *BRANCHES, f"model.mode={mode}", *changes).code == 0
    return folder


def result(folder: Path) -> dict[str, Any]:
    return read_sealed(folder / "result.json")


def probabilities(run: Path, split: str) -> np.ndarray:
    return np.array(pq.read_table(run / f"predictions_{split}.parquet")["probabilities"].to_pylist())


@pytest.mark.parametrize("mode", ["frozen", "staged", "discriminative"])
def test_a_result_says_what_the_branches_are_worth_alone(mode: str, made: Path) -> None:
    found = result(made / mode)["branches"]
    assert list(found) == ["transformer", "gnn", "average"]
    for name, folder in (("transformer", "text"), ("gnn", "graph")):
        own = result(made / folder)
        assert found[name]["model"] == own["model"]
        for split in ("valid", "test"):
            expected = {key: value for key, value in own[split].items() if key != "loss"}
            assert_close(found[name][split], expected)
            assert found[name][split]["log_loss"] == pytest.approx(own[split]["log_loss"], abs=1e-7)
    for split in ("valid", "test"):
        mean = (probabilities(made / "text", split) + probabilities(made / "graph", split)) / 2
        labels = np.array(pq.read_table(made / "text" / f"predictions_{split}.parquet")["label"])
        assert_close(found["average"][split], classification_metrics(labels, mean, ("0", "1")))


def assert_close(found: Any, expected: Any) -> None:
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for key, value in expected.items():
            assert_close(found[key], value)
    elif isinstance(expected, float):
        assert found == pytest.approx(expected, abs=1e-6)
    else:
        assert found == expected


def test_the_table_shows_all_of_them(made: Path, train: Callable[..., Answer]) -> None:
    again = train(*FUSION_RUN, *BRANCHES, "model.mode=frozen", "model.stage_epochs=1", "train.epochs=3",
                  "train.log_every=2", "hydra.run.dir=frozen", folder=made)  # fmt: skip
    assert "This run has finished already." in again.out
    for row in ("Fusion", "transformer alone (TextCNN)", "gnn alone (WordGraph)", "average of both", "majority"):
        assert row in again.out


# Of the branches nothing is run in training; and what one run has computed, others of any seed and batch take up.
def test_features_are_computed_once(made: Path, tmp_path: Path, quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    place = tmp_path / "place"
    shutil.copytree(made, place)
    shutil.rmtree(place / ".cache")
    computed: list[str] = []
    ran: list[bool] = []
    compute = FrozenFeatures._compute

    def counted(self: Any, branch: Any, *rest: Any) -> None:
        computed.append(branch.name)
        compute(self, branch, *rest)

    monkeypatch.setattr(FrozenFeatures, "_compute", counted)
    for kind in (TextCNN, WordGraph):
        features = kind.features
        monkeypatch.setattr(
            kind, "features", lambda self, *a, f=features, **k: (ran.append(self.training), f(self, *a, **k))[1]
        )
    frozen = (*FUSION_RUN, *BRANCHES, "model.mode=frozen")
    assert quiet(place, *frozen, "seed=1", "hydra.run.dir=one").code == 0
    assert computed == ["transformer", "gnn"]
    assert ran
    assert not any(ran)
    ran.clear()
    assert quiet(place, *frozen, "seed=2", "hydra.run.dir=two", "train.batch_size=5", "optimizer.lr=0.1").code == 0
    assert computed == ["transformer", "gnn"]
    assert quiet(place, *frozen, "model.layer=cross_attention", "hydra.run.dir=three").code == 0
    assert computed == ["transformer", "gnn"] * 2


@pytest.mark.parametrize("layer", ["concat", "cross_attention"])
def test_a_staged_run_that_is_killed_ends_with_the_same_files(
    layer: str, made: Path, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    often = ("train.epochs=3", "train.log_every=1", "train.checkpoint_updates=2", "train.batch_size=32")
    stages = ("model.mode=staged", "model.stage_epochs=2", f"model.layer={layer}", "model.heads=2")
    changes = (*FUSION_RUN, *BRANCHES, *often, *stages)
    whole, cut = made / f"whole {layer}", made / f"cut {layer}"
    assert quiet(made, *changes, f"hydra.run.dir='{whole}'").code == 0
    for update in (5, 7):  # the last but one of the first stage, and the first of the second
        told = GradientRecorder.on_update

        def die(self: Any, event: Any, at: int = update, told: Any = told) -> None:
            told(self, event)
            if event.update == at:
                raise RuntimeError("killed")

        with monkeypatch.context() as patch:
            patch.setattr(GradientRecorder, "on_update", die)
            assert quiet(made, *changes, f"hydra.run.dir='{cut}'").code == 1
    assert quiet(made, f"resume='{cut}'", OWN).code == 0
    for name in ("gradient_stats.json", "predictions_test.parquet", "predictions_valid.parquet"):
        assert (cut / name).read_bytes() == (whole / name).read_bytes(), name
    weights = "checkpoints/last/model.safetensors"
    assert (cut / weights).read_bytes() == (whole / weights).read_bytes()


def test_gradients_of_every_component_are_kept(made: Path) -> None:
    frozen, staged = (json.loads((made / mode / "gradient_stats.json").read_text()) for mode in ("frozen", "staged"))
    for epoch in frozen["epochs"]:
        assert epoch["components"]["transformer"] is None
        assert epoch["components"]["fusion"]["min"] > 0
    first, second = staged["epochs"][0]["components"], staged["epochs"][1]["components"]
    assert first["gnn"] is None
    assert second["gnn"]["updates"] == second["fusion"]["updates"] == 3
    for mode in ("frozen", "staged", "text"):
        assert (made / mode / "plots" / "gradient_stats.png").read_bytes()[:4] == b"\x89PNG"


def test_a_resumed_run_must_find_the_same_branches(made: Path, tmp_path: Path, train: Callable[..., Answer]) -> None:
    place = tmp_path / "place"
    shutil.copytree(made, place, ignore=shutil.ignore_patterns(".cache"))
    command = (*FUSION_RUN, *BRANCHES, "hydra.run.dir=mine", "train.epochs=1")
    assert train(*command, folder=place).code == 0
    shutil.rmtree(place / "graph")
    again = ("model=textcnn", "model._target_=fusion_kit.WordGraph", "encoding=graphs", "encoding.workers=0")
    table = ("data=table", "data.path=tiny.csv", "extensions=[fusion_kit]", "model.embedding_size=8", "train.epochs=1")
    assert train(*table, *again, "hardware=cpu", "seed=9", "hydra.run.dir=graph", folder=place).code == 0
    answer = train(*command, folder=place)
    assert answer.code == 2
    assert "branches.gnn.weights: was '" in answer.err
    assert "Traceback" not in answer.err
    judged = ("protocol.f1_gap=1", "protocol.reference=mine", "hydra.run.dir=other")
    compared = train(*command, *judged, folder=place)
    assert compared.code == 2
    assert "branches.gnn.weights: in the reference it was '" in compared.err


@pytest.mark.parametrize(
    ("mode", "scheduler"),
    [("frozen", "one_cycle"), ("staged", "linear_warmup"), ("discriminative", "plateau")],
)
def test_parts_keep_their_ratio_in_the_range_test_and_under_a_schedule(
    mode: str, scheduler: str, made: Path, quiet: Quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, float]] = []
    step = Updater.step

    def watched(self: Updater, *args: Any, **named: Any) -> Any:
        seen.append({group["name"].split(".")[0]: group["lr"] for group in self.optimizer.param_groups})
        return step(self, *args, **named)

    monkeypatch.setattr(Updater, "step", watched)
    changes = ("optimizer.lr=auto", f"scheduler={scheduler}", "train.epochs=3", "lr_range_test.updates=60")
    folder = f"hydra.run.dir=auto_{mode}_{scheduler}"
    assert quiet(made, *FUSION_RUN, *BRANCHES, f"model.mode={mode}", "model.stage_epochs=1", *changes, folder).code == 0
    factors = {"fusion": 1.0} if mode == "frozen" else {"transformer": 0.1, "gnn": 0.5, "fusion": 1.0}
    assert len({round(np.log10(rates["fusion"])) for rates in seen}) > 3, "the range test ran"
    for rates in seen:
        assert {name: rate / rates["fusion"] for name, rate in rates.items()} == pytest.approx(factors)


# The range test of a staged run is one of what is trained in the end: of everything.
def test_the_range_test_of_a_staged_run_reads_inputs(made: Path, quiet: Quiet, monkeypatch: pytest.MonkeyPatch) -> None:
    from counterpoise.models.fusion import Fusion

    fed: list[bool] = []
    forward = Fusion.forward

    def watched(self: Fusion, **inputs: torch.Tensor) -> Any:
        if self.training:
            fed.append("ids" in inputs)
        return forward(self, **inputs)

    monkeypatch.setattr(Fusion, "forward", watched)
    changes = ("optimizer.lr=auto", "lr_range_test.updates=50", "model.mode=staged", "model.stage_epochs=1", "seed=5")
    run = ("hydra.run.dir=range", "optimizer.weight_decay=0.03")  # a curve that is not cached
    assert quiet(made, *FUSION_RUN, *BRANCHES, *changes, *run).code == 0
    training = [False] * 6 + [True] * 6
    assert fed[-12:] == training
    assert len(fed) > 30
    assert all(fed[:-12])


def test_seeds_of_a_multirun_and_fresh_branches(made: Path, train: Callable[..., Answer]) -> None:
    small = ("model.fresh_transformer.hidden_size=8", "model.fresh_transformer.feed_forward_size=8",
             "model.fresh_gnn.hidden_size=8", "model.fresh_gnn.layers=1", "encoding.tokens.vocab_size=300")  # fmt: skip
    answer = train("-m", "seed=1,2", *FUSION_RUN, *small, "model.layer=gated", folder=made)
    assert answer.code == 0, answer
    runs = sorted((made / "multirun").rglob("result.json"))
    assert len(runs) == 2
    assert all("branches" not in read_sealed(path) for path in runs)
    half = train(*FUSION_RUN, *small, "model.transformer=text", "hydra.run.dir=half", folder=made)
    assert half.code == 0, half
    assert list(result(made / "half")["branches"]) == ["transformer"]
    assert "average" not in half.out


def test_a_fusion_is_no_branch(made: Path, train: Callable[..., Answer]) -> None:
    answer = train(*FUSION_RUN, "model.transformer=frozen", "model.gnn=graph", folder=made)
    assert answer.code == 2
    assert (
        "model.transformer: frozen is a Fusion, which has branches itself. Name the runs of its branches." in answer.err
    )


FINISHED = ("model.mode=frozen", "model.stage_epochs=1", "train.epochs=3", "train.log_every=2", "hydra.run.dir=frozen")


def test_a_finished_fusion_is_shown_though_its_branches_are_gone(
    made: Path, tmp_path: Path, train: Callable[..., Answer]
) -> None:
    place = tmp_path / "place"
    shutil.copytree(made, place, ignore=shutil.ignore_patterns(".cache", "graph"))
    files = {path: path.read_bytes() for path in place.rglob("*") if path.is_file()}
    for command in ((*FUSION_RUN, *BRANCHES, *FINISHED), ("resume=frozen", OWN)):
        answer = train(*command, folder=place)
        assert answer.code == 0, answer
        assert "This run has finished already." in answer.out
        assert "gnn alone (WordGraph)" in answer.out
        assert "This run has finished, but could not be made again: model.gnn: graph is no run folder" in answer.err
    assert {path: path.read_bytes() for path in place.rglob("*") if path.is_file()} == files
    # What has not finished, is another run or is damaged needs its branches.
    for changes in (("hydra.run.dir=new",), ("seed=2",), ("data.split_seed=3",), ("dry_run=true",)):
        answer = train(*FUSION_RUN, *BRANCHES, *FINISHED, *changes, folder=place)
        assert answer.code == 2, answer
        assert "This run has finished" not in answer.out + answer.err
    (place / "frozen" / "result.json").write_text("{}")
    assert train(*FUSION_RUN, *BRANCHES, *FINISHED, folder=place).code == 2


def test_finished_jobs_of_a_multirun_need_no_branches(made: Path, tmp_path: Path, train: Callable[..., Answer]) -> None:
    place = tmp_path / "place"
    shutil.copytree(made, place, ignore=shutil.ignore_patterns(".cache"))
    command = ("-m", "seed=1,2", *FUSION_RUN, *BRANCHES, "model.mode=frozen", "hydra.sweep.dir=many")
    assert train(*command, "optimizer.lr=auto", "lr_range_test.updates=20", folder=place).code == 0
    results = {path: path.read_bytes() for path in (place / "many").rglob("result.json")}
    assert len(results) == 2
    shutil.rmtree(place / "text")
    again = train(*command, "optimizer.lr=auto", "lr_range_test.updates=20", folder=place)
    assert again.code == 0, again
    assert again.out.count("This run has finished already.") == 2
    assert {path: path.read_bytes() for path in (place / "many").rglob("result.json")} == results


def test_a_relative_branch_is_looked_for_where_the_command_is_run(
    made: Path, tmp_path: Path, train: Callable[..., Answer]
) -> None:
    place = tmp_path / "place"
    shutil.copytree(made, place, ignore=shutil.ignore_patterns(".cache"))
    (place / "frozen" / "result.json").unlink()
    (tmp_path / "elsewhere").mkdir()
    data = ("data.path=../place/tiny.csv", "paths.cache=cache")
    answer = train("resume=../place/frozen", OWN, *data, folder=tmp_path / "elsewhere")
    assert answer.code == 2
    sought = f"It was looked for in {tmp_path / 'elsewhere'}."
    assert f"model.gnn: graph is no run folder: it has no training_metadata.json. {sought}" in answer.err
    absolute = train(*FUSION_RUN, *BRANCHES, f"model.gnn={tmp_path / 'gone'}", folder=place)
    assert absolute.code == 2
    assert "It was looked for" not in absolute.err
