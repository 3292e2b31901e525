"""The files of ``conf/`` say what the dataclasses say: every field once, every default valid, every preset composes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

from counterpoise.config import resolvers
from counterpoise.config.experiment import SECTIONS, TOP_LEVEL, PathsConfig, PlainSections, TrainConfig, check
from counterpoise.config.hardware import Device, HardwareConfig, closest_profile
from counterpoise.config.targets import BASES, resolve_target
from counterpoise.errors import UserError
from counterpoise.guards.causes import CauseName, Circumstances, Evidence, likely_cause
from counterpoise.plan import detect, read_profiles

CONF = Path(__file__).resolve().parents[2] / "conf"
PLAIN = {"train": TrainConfig, "paths": PathsConfig, "hardware": HardwareConfig}
NEEDS = {
    "manual": ["balance.class_weights=[1.0,1.0]"],
    **{source: ["data.path=x"] for source in ("table", "tu", "pyg")},
    "graphs": ["model=gnn"],
    "mutag_gin": ["data.path=x"],
    "fusion_v17": ["model.transformer=x", "model.gnn=y"],
    "tokens_and_graphs": ["model=fusion"],
    "embeddings": ["model=iris"],
    **{encoder: ["model=iris"] for encoder in ("lsa", "hashing", "minilm")},
    "pretrained": ["model=iris", "encoder.name=x"],
    "chunks": ["model=hierarchical"],
}
"""What some options cannot do without."""


def options(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml"))


@cache
def read(group: str, option: str) -> dict[str, Any]:
    """The section that an option fills; a file for the whole config holds it under its name."""
    content = yaml.safe_load((CONF / group / f"{option}.yaml").read_text())
    return dict(content.get(group, content) if group == "model" else content)


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    resolvers.register()
    with initialize_config_dir(str(CONF)):
        yield


def composed(*overrides: str) -> dict[str, Any]:
    config = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    assert isinstance(config, dict)
    return {str(key): value for key, value in config.items()}


COMPONENTS = [(group, option) for group in BASES for option in options(group) if option != "none" or group == "balance"]


@pytest.mark.parametrize(("group", "option"), COMPONENTS)
def test_an_option_lists_every_field_of_its_component(group: str, option: str) -> None:
    content = read(group, option)
    schema = resolve_target(group, content["_target_"], ()).Config
    assert set(content) - {"_target_"} == {field.name for field in fields(schema)}


@pytest.mark.parametrize("option", options("hardware"))
def test_a_hardware_profile_lists_every_field(option: str) -> None:
    content = read("hardware", option)
    assert set(content) == {field.name for field in fields(HardwareConfig)}
    assert content["profile"] == option


def test_the_first_page_lists_every_section_and_every_field() -> None:
    page = yaml.safe_load((CONF / "config.yaml").read_text())
    chosen = {next(iter(item)) for item in page["defaults"] if isinstance(item, dict)}
    groups = {path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra"}
    assert groups <= chosen
    named = set(page) - {"defaults", "hydra"} | chosen
    assert named >= {field.name for field in fields(PlainSections)} | set(BASES) | set(SECTIONS)
    for name, target in TOP_LEVEL.items():
        assert named >= {field.name for field in fields(resolve_target(name, target, ()))}
    for name, target in SECTIONS.items():
        if name in page:
            assert set(page[name]) == {field.name for field in fields(resolve_target(name, target, ()))}
    for name, schema in PLAIN.items():
        if name in page:
            assert set(page[name]) == {field.name for field in fields(schema)}


@pytest.mark.parametrize("option", options("guard"))
def test_a_guard_lists_every_field(option: str) -> None:
    assert set(read("guard", option)) == {
        field.name for field in fields(resolve_target("guard", SECTIONS["guard"], ()))
    }


EVERY = [(group, option) for group in [*BASES, "hardware", "guard"] for option in options(group)]


@pytest.mark.parametrize(("group", "option"), EVERY)
def test_every_option_composes_and_is_valid(group: str, option: str) -> None:
    check(composed(f"{group}={option}", *NEEDS.get(option, [])))


@pytest.mark.parametrize("preset", options("experiment"))
def test_every_preset_composes_and_is_valid(preset: str) -> None:
    check(composed(f"experiment={preset}", *NEEDS.get(preset, [])))


@pytest.mark.parametrize("model", options("model"))
def test_a_model_brings_the_encoding_that_it_reads(model: str) -> None:
    experiment = check(composed(f"model={model}"))
    assert experiment["encoding"].target.kind == experiment["model"].target.encoding  # type: ignore[attr-defined]
    other = "tokens" if experiment["encoding"].target.kind == "graphs" else "graphs"  # type: ignore[attr-defined]
    config = composed(f"model={model}", f"encoding={other}")
    with pytest.raises(UserError, match="encoding"):
        check(config)


# Focal loss and weighted sampler are two corrections: alpha is the one that yields.
def test_balance_for_graphs() -> None:
    experiment = check(composed("model=gnn", "loss=focal", "loss.gamma=1.5", "loss.alpha=null", "balance=sampler"))
    assert experiment["loss"].config.gamma == 1.5
    preset = composed("experiment=gnn_v17", "hardware=rtx3080")
    assert preset["loss"]["gamma"] == 1.5
    assert preset["loss"]["alpha"] is None
    assert preset["balance"]["sampler"]
    assert preset["balance"]["class_weights"] == "none"
    assert (preset["train"]["batch_size"], preset["train"]["accumulation"], preset["train"]["epochs"]) == (64, 1, 15)
    assert preset["optimizer"]["weight_decay"] == 1e-4
    assert 1e-4 <= preset["optimizer"]["lr"] <= 1e-3


def test_a_preset_yields_to_the_command_line() -> None:
    config = composed("experiment=transformer_v17", "train.epochs=2", "model=textcnn")
    assert config["train"]["epochs"] == 2
    assert config["model"]["_target_"].endswith("TextCNN")


@pytest.mark.parametrize("preset", ["stability_check", "full_training", "amp_check"])
@pytest.mark.parametrize("model", options("model"))
def test_the_protocol_can_be_asked_of_every_model(preset: str, model: str) -> None:
    experiment = check(composed(f"experiment={preset}", f"model={model}"))
    assert experiment.sections["protocol"].active
    assert experiment.sections["protocol"].name == preset
    assert experiment.sections["guard"].policy == ("warn" if preset == "stability_check" else "stop")


@pytest.mark.parametrize(
    ("asked", "first"), [((), 3), (("train.epochs=4",), 4), (("model=textcnn",), 3), (("model.pretrained=x",), 1)]
)
def test_shares_are_judged_from_the_last_epoch_on_from_scratch_alone(asked: tuple[str, ...], first: int) -> None:
    assert composed("experiment=stability_check", *asked)["protocol"]["shares_from"] == first


def test_a_run_has_no_protocol_by_default() -> None:
    assert not check(composed()).sections["protocol"].active


@pytest.mark.parametrize("preset", options("sweep"))
@pytest.mark.parametrize("model", options("model"))
def test_every_sweep_composes_with_every_model(preset: str, model: str) -> None:
    config = compose("config", overrides=[f"sweep={preset}", f"model={model}"], return_hydra_config=True)
    params = OmegaConf.to_container(config.hydra.sweeper.params, resolve=True)
    assert isinstance(params, dict)
    plain = OmegaConf.to_container(config, resolve=False)
    for key in params:
        node: Any = plain
        for part in str(key).split("."):
            assert part in node, f"{preset} varies {key}, which is not in the config"
            node = node[part]


def test_a_wrong_preset_is_seen_by_the_same_check() -> None:
    with pytest.raises(UserError, match=r"train\.epochs: must be >= 1"):
        check(composed("train.epochs=0"))


def test_every_profile_is_found_by_its_gpus_name() -> None:
    profiles = read_profiles(CONF / "hardware")
    for name, profile in profiles.items():
        if profile.matches:
            assert closest_profile(Device("cuda", f"NVIDIA {profile.matches}-SXM", 1.0), profiles) == name
    assert closest_profile(detect(), profiles) in profiles


@pytest.mark.parametrize(
    ("name", "memory", "profile"),
    [
        ("NVIDIA GeForce RTX 3080 Ti", 12.5, "rtx3080"),
        ("NVIDIA A100-PCIE-40GB", 42.3, "a100"),
        ("NVIDIA RTX A1000 Laptop GPU", 4.3, "rtx3080"),  # no A100
        ("NVIDIA T400 4GB", 4.1, "rtx3080"),  # no T4
        ("NVIDIA GH200 480GB", 102.0, "h100"),  # no H200
        ("NVIDIA Unheard Of", 81.0, "h100"),
        ("NVIDIA Unheard Of", 1.0, "rtx3080"),
    ],
)
def test_a_gpus_profile_is_named_by_whole_words_else_the_largest_that_fits(
    name: str, memory: float, profile: str
) -> None:
    assert closest_profile(Device("cuda", name, memory), read_profiles(CONF / "hardware")) == profile


@pytest.mark.parametrize("device", [Device("mps", "Apple GPU", 0.0), Device("cpu", "A100", 0.0)])
def test_what_is_no_gpu_of_cuda_has_the_processors_sizes(device: Device) -> None:
    assert closest_profile(device, read_profiles(CONF / "hardware")) == "cpu"


@pytest.mark.parametrize(
    ("chosen", "names"),
    [
        ([], []),
        (["tracker=none"], []),
        (["tracker=[]"], []),
        (["tracker=tensorboard"], ["tensorboard"]),
        (["tracker=[tensorboard,mlflow]", "tracker.mlflow.uri=http://x"], ["tensorboard", "mlflow"]),
        (["+tracker.mine._target_=counterpoise.tracking.tensorboard.TensorBoard"], ["mine"]),
    ],
)
def test_any_number_of_trackers_can_be_chosen(chosen: list[str], names: list[str]) -> None:
    assert list(check(composed(*chosen)).trackers) == names


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            "tracker=3",
            r"tracker: expected trackers by name, got 3\. Choose some, e\.g\. 'tracker=\[tensorboard,mlflow\]'",
        ),
        ("+tracker.folder=x", r"tracker\.folder: stands below the name of a tracker.* Write tracker\.NAME\.folder"),
        ("+tracker.x.folder=x", r"tracker\.x\._target_: expected the dotted name of a class, got null"),
        ("+tracker._target_=a.B", r"tracker\._target_: stands below the name of a tracker"),
    ],
)
def test_what_is_no_tracker_is_told_where_it_stands(given: str, said: str) -> None:
    key, _, value = given.lstrip("+").partition("=")
    config = composed(*([given] if given.startswith("+") else []))
    if not given.startswith("+"):
        config[key] = int(value)
    with pytest.raises(UserError, match=said):
        check(config)


def test_weights_by_hand_must_be_given() -> None:
    with pytest.raises(UserError, match=r"balance\.class_weights: must be given"):
        check(composed("balance=manual"))


def test_a_beta_that_nothing_reads_is_refused() -> None:
    with pytest.raises(UserError, match=r"balance\.beta: has no effect without class_weights=effective_number"):
        check(composed("balance=class_weights", "balance.beta=0.99"))
    check(composed("balance=effective_number", "balance.beta=0.99"))


def test_the_fusion_preset_asks_for_its_branches() -> None:
    with pytest.raises(UserError) as caught:
        check(composed("experiment=fusion_v17"))
    assert [problem.where for problem in caught.value.problems] == ["model.transformer", "model.gnn"]


# model.transformer and model.gnn alone decide what is taken up again, and how fast what is learnt.
@pytest.mark.parametrize(
    ("given", "lr", "factors"),
    [
        ([], 1e-3, (1.0, 1.0)),
        (["model.transformer=a", "model.gnn=b"], 2e-4, (0.1, 0.5)),
        (["model.transformer=a", "model.gnn=b", "model.mode=frozen"], 3e-4, (0.1, 0.5)),
        (["model.transformer=a", "model.gnn=b", "model.mode=staged"], 2e-4, (0.1, 0.5)),
        (["model.gnn=b"], 1e-3, (1.0, 0.5)),
        (["model.transformer=a"], 2e-4, (0.1, 1.0)),
        (["model.gnn=b", "model.fresh_transformer.pretrained=x"], 2e-4, (0.1, 0.5)),
    ],
)
def test_a_fusions_recipe_follows_its_branches(given: list[str], lr: float, factors: tuple[float, float]) -> None:
    config = composed("model=fusion", *given)
    check(config)
    optimizer, encoding = config["optimizer"], config["encoding"]
    assert optimizer["lr"] == config["lr_range_test"]["recipe"] == lr
    assert optimizer["lr_factors"] == {"transformer": factors[0], "gnn": factors[1], "fusion": 1.0}
    assert config["lr_range_test"]["range"][0] <= lr <= config["lr_range_test"]["range"][1]
    assert encoding["tokens"]["reuse"] == ("a" if "model.transformer=a" in given else None)
    assert encoding["graphs"]["reuse"] == ("b" if "model.gnn=b" in given else None)


def test_a_fusions_own_networks_have_the_recipe_of_theirs() -> None:
    fusion = composed("model=fusion")["model"]
    for name in ("transformer", "gnn"):
        own = composed(f"model={name}")["model"]
        assert fusion[f"fresh_{name}"] == {key: value for key, value in own.items() if key != "_target_"}
    encodings = {name: composed(f"encoding={name}")["encoding"] for name in ("tokens", "graphs", "tokens_and_graphs")}
    for name in ("tokens", "graphs"):
        plain = {key: value for key, value in encodings[name].items() if key != "_target_"}
        assert encodings["tokens_and_graphs"][name] == {**plain, "pretrained": None} if name == "tokens" else plain


@pytest.mark.parametrize("preset", ["codebert_codexglue", "textcnn_codexglue"])
def test_a_published_recipe_has_its_batch_on_every_machine(preset: str) -> None:
    train = composed(f"experiment={preset}", "hardware=rtx3080")["train"]
    assert (train["batch_size"], train["accumulation"]) == (32, 1)


@pytest.mark.parametrize("model", [*((name,) for name in options("model")), ("transformer", "model.pretrained=x")])
def test_a_models_recipe_lies_within_its_range_and_the_range_within_the_test(model: tuple[str, ...]) -> None:
    name, *more = model
    config = composed(f"model={name}", *more)
    test = config["lr_range_test"]
    assert config["optimizer"]["lr"] == test["recipe"]
    assert test["start"] < test["range"][0] <= test["recipe"] <= test["range"][1] < test["end"]
    if more:
        assert (test["range"], test["end"]) == ([1e-5, 5e-5], 1e-2)


# What a guard proposes can be typed behind whatever the run was started with.
@pytest.mark.parametrize("model", options("model"))
@pytest.mark.parametrize("balance", ["none", "class_weights", "effective_number"])
def test_every_override_of_a_guard_composes(model: str, balance: str) -> None:
    run = Circumstances(
        classes=("no", "yes"), weighted=False, precision="fp16", base_lr=1e-3, recipe_lr=1e-3, accumulation=2
    )
    calm = Evidence(
        loss=0.5,
        first_loss=0.6,
        best_loss=0.5,
        lr=1e-3,
        peak_lr=1e-3,
        grad_norm=1.0,
        largest_grad_norm=1.0,
        components={},
        one_label=0.0,
        one_label_by_chance=0.1,
        half_precision=False,
        majority_share=0.5,
        broken=False,
    )
    cases = [
        (calm, run),
        (replace(calm, one_label=1.0), run),
        (replace(calm, one_label=1.0), replace(run, bucket=False)),
        (replace(calm, broken=True, half_precision=True), run),
        (replace(calm, lr=1e-9), run),
        (replace(calm, loss=0.6, lr=1e-7, peak_lr=1e-7), run),
        (replace(calm, majority_share=0.9), run),
        (replace(calm, peak_lr=0.0), run),
    ]
    found = [likely_cause(*case) for case in cases]
    assert {cause.name for cause in found} == set(get_args(CauseName))
    for cause in found:
        check(composed(f"model={model}", f"balance={balance}", cause.override))


# E2 and E3: encoder and attention at 2e-5, the head at twice that, one cycle, 16 documents an update.
@pytest.mark.parametrize(("given", "lr", "head"), [([], 2e-3, 0.2), (["model.pretrained=roberta-base"], 2e-5, 2.0)])
def test_the_recipe_for_long_documents(given: list[str], lr: float, head: float) -> None:
    config = composed("experiment=hierarchical_ratings", *given)
    check(config)
    assert config["optimizer"]["lr_factors"] == {"head": head}
    assert config["optimizer"]["weight_decay"] == 0.01
    assert config["optimizer"]["lr"] == lr
    assert config["model"]["pooling"] == ("cls" if given else "mean_max")
    assert config["model"]["gradient_checkpointing"] == bool(given)
    assert config["encoding"]["pretrained"] == config["model"]["pretrained"]
    assert config["scheduler"]["_target_"].endswith("OneCycle")
    assert config["scheduler"]["warmup_ratio"] == 0.1
    assert (config["train"]["batch_size"], config["train"]["accumulation"], config["train"]["epochs"]) == (4, 4, 15)
    assert config["early_stopping"]["patience"] == 5
    assert config["objective"]["metric"] == "custom"
    assert config["objective"]["weights"] == {"accuracy": 0.3, "weighted_f1": 0.3, "macro_f1": 0.4}
    assert config["balance"]["class_weights"] == "inverse_frequency"
    if given:
        assert (config["encoding"]["window"], config["encoding"]["max_chunks"]) == (512, 20)


@pytest.mark.parametrize("scheduler", options("scheduler"))
def test_every_schedule_can_be_asked_of_the_hierarchical_model(scheduler: str) -> None:
    config = composed("model=hierarchical", f"scheduler={scheduler}")
    assert config["scheduler"] == composed(f"scheduler={scheduler}")["scheduler"]
