"""The plan: batch, updates and learning rate that follow from config and machine; profiles without their hardware."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from torch import nn

from counterpoise.config import resolvers
from counterpoise.config.experiment import Experiment, check
from counterpoise.config.hardware import Device, HardwareConfig
from counterpoise.errors import UserError
from counterpoise.plan import Plan, describe, describe_parameters, make_plan, read_profiles, settle_hardware

CONF = Path(__file__).resolve().parents[1] / "conf"
PROFILES = read_profiles(CONF / "hardware")
CPU = Device("cpu", "this machine's processor", 0.0)
A100 = Device("cuda", "NVIDIA A100-SXM4-80GB", 80.0)


T4 = Device("cuda", "Tesla T4", 15.8)


@pytest.fixture
def fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU without bf16."""
    monkeypatch.setattr("counterpoise.plan.best_precision", lambda device: "fp16" if device == "cuda" else "fp32")


def experiment(*overrides: str) -> Experiment:
    resolvers.register()
    with initialize_config_dir(str(CONF)):
        config: Any = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    return check(config)


def plan_of(*overrides: str, samples: int = 1000) -> Plan:
    checked = experiment("hardware=cpu", *overrides)
    hardware, _ = settle_hardware(checked.plain.hardware, CPU, PROFILES)
    return make_plan(checked, hardware, samples)


@pytest.mark.parametrize(("samples", "batch", "accumulation"), [(1000, 32, 1), (1000, 32, 4), (33, 32, 1), (5, 8, 2)])
def test_an_update_takes_an_effective_batch_and_the_last_of_an_epoch_the_rest(
    samples: int, batch: int, accumulation: int
) -> None:
    plan = plan_of(f"train.batch_size={batch}", f"train.accumulation={accumulation}", "train.epochs=3", samples=samples)
    assert plan.effective_batch == min(batch * accumulation, samples)
    assert plan.updates_per_epoch == math.ceil(math.ceil(samples / batch) / accumulation)
    assert plan.total_updates == 3 * plan.updates_per_epoch


def test_no_learning_rate_is_scaled_for_records_that_are_not_there() -> None:
    plan = plan_of("train.batch_size=4096", "optimizer.lr=1e-3", samples=48)
    assert plan.effective_batch == 48
    assert plan.lr_factor == pytest.approx(math.sqrt(48 / 16))  # the recipe's base batch is 16
    assert plan.updates_per_epoch == 1
    rows = dict(describe(plan, {"data": "d", "classes": "c", "model": "m", "hardware": "h"}))
    assert rows["batch"] == "48 per update, all there are (of 4096 × 1)"


@pytest.mark.parametrize(("scaling", "factor"), [("sqrt", 2.0), ("linear", 4.0), ("none", 1.0)])
def test_learning_rate_and_warm_up_follow_the_effective_batch(scaling: str, factor: float) -> None:
    sizes = ["train.batch_size=32", "train.accumulation=2", "optimizer.base_batch=16", "optimizer.lr=1e-3"]
    plan = plan_of(*sizes, f"optimizer.scaling={scaling}", "scheduler.warmup_ratio=0.06")
    assert plan.lr == pytest.approx(1e-3 * factor)
    assert plan.lr_factor == factor
    assert plan.warmup_ratio == pytest.approx(min(0.06 * factor, 0.2))


def test_auto_takes_the_profiles_sizes_and_evaluation_twice_that() -> None:
    plan = plan_of("model=textcnn", "hardware.batch_size={textcnn: 7, default: 3}", "hardware.accumulation=5")
    assert (plan.batch_size, plan.accumulation, plan.evaluation_batch) == (7, 5, 14)
    assert plan_of("model=bilstm", "hardware.batch_size.bilstm=3").batch_size == 3
    assert plan_of("train.evaluation_batch=9").evaluation_batch == 9


def test_auto_takes_the_closest_profile_and_keeps_what_was_given() -> None:
    settled, said = settle_hardware(HardwareConfig(precision="fp32", workers=5), A100, PROFILES)
    assert settled.profile == "a100"
    assert (settled.precision, settled.workers, settled.device) == ("fp32", 5, "cuda")
    assert settled.batch_size == PROFILES["a100"].batch_size
    assert "A100" in said


def test_a_profile_without_its_hardware_runs_on_what_is_there_at_its_sizes() -> None:
    settled, said = settle_hardware(PROFILES["a100"], CPU, PROFILES)
    assert settled.device == "cpu"
    assert settled.batch_size == PROFILES["a100"].batch_size
    assert settled.precision in ("fp32", "bf16")
    assert "no a100 here" in said


@pytest.mark.usefixtures("fp16")
def test_a_profile_on_another_gpu_keeps_its_sizes_and_says_so() -> None:
    settled, said = settle_hardware(PROFILES["a100"], T4, PROFILES)
    assert said == "no a100 here: Tesla T4 runs it, at the sizes of profile a100"
    assert (settled.device, settled.precision) == ("cuda", "fp16")
    assert settled.batch_size == PROFILES["a100"].batch_size
    settled, _ = settle_hardware(replace(PROFILES["a100"], precision="fp32", workers=7), T4, PROFILES)
    assert (settled.precision, settled.workers) == ("fp32", 7)
    with pytest.raises(UserError, match=r"hardware\.require: this machine has no a100, but Tesla T4"):
        settle_hardware(replace(PROFILES["a100"], require=True), T4, PROFILES)


@pytest.mark.usefixtures("fp16")
@pytest.mark.parametrize(
    ("name", "memory", "profile"),
    [("NVIDIA GeForce RTX 2080 Ti", 11.5, "rtx3080"), ("NVIDIA RTX 2070", 8.4, "rtx3080")],
)
def test_a_gpu_without_a_profile_lends_sizes_alone(name: str, memory: float, profile: str) -> None:
    device = Device("cuda", name, memory)
    settled, said = settle_hardware(HardwareConfig(), device, PROFILES)
    assert said == f"{name}, at the sizes of profile {profile}"
    assert (settled.device, settled.precision) == ("cuda", "fp16")
    assert settled.batch_size == PROFILES[profile].batch_size
    assert settle_hardware(HardwareConfig(precision="fp32"), device, PROFILES)[0].precision == "fp32"


def test_auto_stays_on_the_device_that_is_there_unless_another_was_given() -> None:
    settled, said = settle_hardware(HardwareConfig(), Device("mps", "Apple GPU", 0.0), PROFILES)
    assert (settled.device, settled.batch_size) == ("mps", PROFILES["cpu"].batch_size)
    assert said.startswith("Apple GPU")
    settled, said = settle_hardware(HardwareConfig(device="cpu"), A100, PROFILES)
    assert (settled.device, settled.profile) == ("cpu", "cpu")
    assert said == "this machine's processor, profile cpu"


def test_a_profiles_sizes_on_the_processor_as_asked() -> None:
    settled, said = settle_hardware(replace(PROFILES["a100"], device="cpu"), A100, PROFILES)
    assert (settled.device, settled.workers) == ("cpu", 0)
    assert said == "this machine's processor, at the sizes of profile a100"
    with pytest.raises(UserError, match=r"hardware\.device: this machine has no cuda"):
        settle_hardware(HardwareConfig(device="cuda"), CPU, PROFILES)


def test_required_hardware_that_is_not_there_is_the_users_mistake() -> None:
    with pytest.raises(UserError, match=r"hardware\.require: this machine has no a100"):
        settle_hardware(replace(PROFILES["a100"], require=True), CPU, PROFILES)
    settled, _ = settle_hardware(replace(PROFILES["a100"], require=True), A100, PROFILES)
    assert settled.device == "cuda"


@pytest.mark.parametrize("settle", [lambda: settle_hardware(HardwareConfig(), CPU, PROFILES)])
def test_nothing_is_left_open(settle: Callable[[], tuple[HardwareConfig, str]]) -> None:
    settled, _ = settle()
    assert None not in (settled.device, settled.precision, settled.workers)


def test_the_plan_is_shown_in_words() -> None:
    plan = plan_of("train.batch_size=32", "train.accumulation=2", "optimizer.lr=1e-3", "train.epochs=2")
    rows = dict(describe(plan, {"data": "d", "classes": "c", "model": "m", "hardware": "h"}))
    assert rows["batch"] == "32 × 2 = 64 per update"
    assert rows["learning rate"].startswith("0.002 (× 2 for the batch)")
    assert rows["updates"] == "16 an epoch, 32 in 2 epochs at most"


@pytest.mark.parametrize("asked", ["optimizer.lr=auto", "lr_finder=true"])
def test_a_learning_rate_that_is_to_be_found_is_none_yet(asked: str) -> None:
    plan = plan_of(asked, "train.batch_size=64", "scheduler.warmup_ratio=0.06")
    assert (plan.lr, plan.lr_factor, plan.warmup_ratio) == (None, 2.0, pytest.approx(0.12))
    rows = dict(describe(plan, {"data": "d", "classes": "c", "model": "m", "hardware": "h"}))
    assert rows["learning rate"] == "to be found by a range test, warm-up 12.0%"


def test_the_recipe_stands_in_for_auto_and_a_number_for_itself() -> None:
    assert experiment("model=textcnn", "optimizer.lr=auto").given_lr == 1e-3
    assert experiment("model.pretrained=x", "optimizer.lr=auto").given_lr == 2e-5
    given = experiment("optimizer.lr=0.5", "lr_finder=true")
    assert (given.given_lr, given.finds_lr) == (0.5, True)
    assert not experiment().finds_lr


# The recipe decides how many documents an update has, the machine how many tokens it holds at once.
def test_documents_in_chunks_are_bounded_by_tokens() -> None:
    largest = 20 * 512
    size = ["model=hierarchical", "encoding.window=512", "encoding.max_chunks=20"]
    plan = plan_of(*size)
    assert (plan.effective_batch, plan.batch_tokens) == (16, 2 * largest)
    assert plan_of(*size, "hardware.batch_size.hierarchical=12").batch_tokens == 4 * largest
    assert plan_of(*size, "train.batch_size=1", "train.accumulation=16").batch_tokens == largest
    assert plan_of(*size, "train.batch_size=auto").batch_tokens == 2 * largest
    assert plan_of(*size, "train.batch_tokens=777").batch_tokens == 777
    assert plan_of(*size).lr_factor == 1.0
    assert plan_of("model=transformer").batch_tokens is None


def test_parameters_for_people() -> None:
    model = nn.Sequential(nn.Linear(100, 20), nn.Linear(20, 1))
    model[1].requires_grad_(False)
    assert describe_parameters(model) == "2,020 trainable of 2,041"
