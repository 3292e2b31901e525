"""The plan of a run: every number that is derived rather than given, decided before anything is trained."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from omegaconf import OmegaConf
from torch import nn

from counterpoise.config.experiment import Experiment
from counterpoise.config.hardware import PROCESSOR, Device, HardwareConfig, closest_profile, matches_machine
from counterpoise.config.schema import parse
from counterpoise.engine.precision import DeviceName, PrecisionName, best_device, best_precision
from counterpoise.errors import fail
from counterpoise.optim.scaling import scale
from counterpoise.updates import effective_batch, updates_per_epoch

log = logging.getLogger(__name__)

FALLBACK_BATCH = 32
EVALUATED_TOGETHER = 64
"""Samples of a batch of evaluation where tokens bound it."""


@dataclass(frozen=True)
class Plan:
    """What the run will do, in numbers. A resumed run must have the same."""

    profile: str
    device: DeviceName
    precision: PrecisionName
    batch_size: int
    accumulation: int
    effective_batch: int
    """Most samples that one update learns from: never more than there are."""
    evaluation_batch: int
    batch_tokens: int | None
    """Most tokens of a micro-batch, or of a batch of evaluation; ``None`` where only samples are counted."""
    lr: float | None
    """After scaling; ``None`` while it is still to be found."""
    lr_factor: float
    """How it follows the effective batch; 1 for one that was found, at this very batch."""
    warmup_ratio: float
    """After scaling."""
    samples: int
    """In the training split."""
    epochs: int
    updates_per_epoch: int
    total_updates: int


def make_plan(experiment: Experiment, hardware: HardwareConfig, samples: int) -> Plan:
    """Derive the plan for a training split of ``samples``. ``hardware`` is :func:`settle_hardware`'s answer."""
    train = experiment.plain.train
    optimizer = experiment["optimizer"].config
    family = getattr(experiment["model"].target, "family", "default")
    automatic = hardware.batch_for(family) or FALLBACK_BATCH
    batch_size = automatic if train.batch_size == "auto" else int(train.batch_size)
    accumulation = (hardware.accumulation or 1) if train.accumulation == "auto" else int(train.accumulation)
    total = min(effective_batch(batch_size, accumulation), samples)
    encoding = experiment["encoding"]
    tokens = train.batch_tokens
    if tokens == "auto":
        largest = encoding.target.sample_tokens(encoding.config)  # type: ignore[attr-defined]
        # The profile says what the machine can hold, even where a recipe has a batch of its own.
        tokens = None if largest is None else min(batch_size, automatic) * largest
    evaluation_batch = 2 * batch_size if train.evaluation_batch == "auto" else int(train.evaluation_batch)
    if train.evaluation_batch == "auto" and tokens is not None:
        evaluation_batch = max(evaluation_batch, EVALUATED_TOGETHER)
    scaled = scale(
        optimizer.scaling,
        lr=experiment.given_lr,
        warmup_ratio=experiment["scheduler"].config.warmup_ratio,
        effective_batch=total,
        base_batch=optimizer.base_batch,
    )
    per_epoch = updates_per_epoch(samples, batch_size, accumulation)
    assert hardware.device is not None
    assert hardware.precision is not None
    return Plan(
        profile=hardware.profile,
        device=hardware.device,
        precision=hardware.precision,
        batch_size=batch_size,
        accumulation=accumulation,
        effective_batch=total,
        evaluation_batch=evaluation_batch,
        batch_tokens=tokens,
        lr=None if experiment.finds_lr else scaled.lr,
        lr_factor=scaled.factor,
        warmup_ratio=scaled.warmup_ratio,
        samples=samples,
        epochs=train.epochs,
        updates_per_epoch=per_epoch,
        total_updates=per_epoch * train.epochs,
    )


def describe_parameters(model: nn.Module) -> str:
    """How many there are, and how many of them are learnt."""
    counts = [(parameter.numel(), parameter.requires_grad) for parameter in model.parameters()]
    trainable = sum(count for count, learnt in counts if learnt)
    return f"{trainable:,} trainable of {sum(count for count, _ in counts):,}"


def detect() -> Device:
    """The best device of this machine."""
    kind = best_device()
    if kind == "cuda":
        properties = torch.cuda.get_device_properties(0)
        return Device("cuda", properties.name, properties.total_memory / 1e9)
    return PROCESSOR if kind == "cpu" else Device(kind, "Apple GPU", 0.0)


def read_profiles(folder: Path) -> dict[str, HardwareConfig]:
    """All hardware profiles of ``conf/hardware``, by name."""
    files = sorted(folder.glob("*.yaml"))
    return {
        file.stem: parse(HardwareConfig, OmegaConf.to_container(OmegaConf.load(file)), "hardware") for file in files
    }


def settle_hardware(
    asked: HardwareConfig, device: Device, profiles: Mapping[str, HardwareConfig]
) -> tuple[HardwareConfig, str]:
    """The hardware configuration with no choice left open, and one sentence on what it came to.

    ``auto`` takes the closest profile, keeping every value that was given. A profile whose hardware is not there runs
    on what is there, at the profile's sizes; device, precision and workers are then the machine's, unless they were
    asked for by themselves.

    Raises:
        UserError: if ``hardware.require`` is set and the machine has something else, or a device is asked for by name
            that is not there.
    """
    if asked.require and not matches_machine(asked, device):
        raise fail(
            "hardware.require", f"this machine has no {asked.profile}, but {device.name}.", "Drop it to run here."
        )
    own = profiles.get(asked.profile, asked)
    given = {name: value for name, value in vars(asked).items() if value != getattr(own, name)}
    if "device" in given and asked.device not in (None, "cpu", device.kind):
        raise fail("hardware.device", f"this machine has no {asked.device}, but {device.name}.", "Drop it to run here.")
    used = PROCESSOR if asked.device == "cpu" else device
    if asked.profile == "auto":
        settled = dataclasses.replace(profiles[closest_profile(used, profiles)], **given)
        there = matches_machine(settled, used)
        said = f"{used.name}, {'profile' if there else 'at the sizes of profile'} {settled.profile}"
    else:
        settled, there = asked, matches_machine(asked, used)
        instead = used.name if used != device else f"no {asked.profile} here: {used.name} runs it"
        said = f"profile {asked.profile}" if there else f"{instead}, at the sizes of profile {asked.profile}"
    if not there:
        settled = dataclasses.replace(settled, precision=given.get("precision"), workers=given.get("workers"))
    precision = settled.precision or best_precision(used.kind)
    workers = settled.workers if settled.workers is not None else (2 if used.kind == "cuda" else 0)
    kind = cast(DeviceName, used.kind)
    return dataclasses.replace(settled, device=kind, precision=precision, workers=workers), said


def describe(plan: Plan, facts: dict[str, Any]) -> list[tuple[str, str]]:
    """The plan as rows for people."""
    batch = f"{plan.batch_size} × {plan.accumulation} = {plan.batch_size * plan.accumulation} per update"
    if plan.batch_size * plan.accumulation > plan.effective_batch:
        batch = f"{plan.effective_batch} per update, all there are (of {plan.batch_size} × {plan.accumulation})"
    if plan.batch_tokens is not None:
        batch = f"{plan.effective_batch} per update, at most {plan.batch_tokens:,} tokens at once"
    scaled = f" (× {plan.lr_factor:.3g} for the batch)" if plan.lr_factor != 1 else ""
    lr = "to be found by a range test" if plan.lr is None else f"{plan.lr:.3g}{scaled}"
    return [
        ("data", str(facts["data"])),
        ("classes", str(facts["classes"])),
        ("model", str(facts["model"])),
        ("hardware", str(facts["hardware"])),
        ("precision", plan.precision),
        ("batch", batch),
        ("learning rate", f"{lr}, warm-up {plan.warmup_ratio:.1%}"),
        ("updates", f"{plan.updates_per_epoch} an epoch, {plan.total_updates} in {plan.epochs} epochs at most"),
    ]
