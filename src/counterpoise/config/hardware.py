"""Hardware profiles: sizes per kind of model, and what they become on the machine that is really there."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """What to train on. ``null`` leaves a choice to detection."""

    profile: str = "auto"
    """Name of the profile, for messages."""
    matches: str | None = None
    """Words of the GPU's name by which this profile's hardware is known."""
    memory_gb: Annotated[float, NON_NEGATIVE] = 0.0
    """Memory of the device; an unknown GPU gets the largest profile that fits into its own, else the smallest."""
    device: Literal["cpu", "cuda", "mps"] | None = None
    """Device; null takes the best there is."""
    require: bool = False
    """Stop if the machine does not have this profile's hardware, instead of running on what there is."""
    precision: Literal["fp32", "bf16", "fp16", "fp64"] | None = None
    """Number format; null takes the fastest safe one of the device (bf16, or fp16 with a gradient scaler)."""
    tf32: bool = True
    """Let fp32 matrix products use TF32 where the GPU has it."""
    batch_size: Annotated[dict[str, int], AT_LEAST_ONE] = field(default_factory=dict)
    """Micro-batch by kind of model; ``default`` stands for all others."""
    accumulation: Annotated[int, AT_LEAST_ONE] | None = None
    """Micro-batches per update; null is 1."""
    workers: Annotated[int, NON_NEGATIVE] | None = None
    """Groups of batches drawn ahead in a thread; null is 2 on a GPU and 0 on a CPU."""
    compile: bool = False
    """Run the model through torch.compile."""

    def batch_for(self, family: str) -> int | None:
        """The micro-batch for this kind of model, if the profile knows one."""
        return self.batch_size.get(family, self.batch_size.get("default"))


@dataclass(frozen=True)
class Device:
    """A device that is really there."""

    kind: str
    """``cpu``, ``cuda`` or ``mps``."""
    name: str
    memory_gb: float


PROCESSOR = Device("cpu", "this machine's processor", 0.0)


def closest_profile(device: Device, profiles: Mapping[str, HardwareConfig]) -> str:
    """The profile for a detected device.

    A GPU is known by its name; another one gets the largest profile that fits into its memory, or the smallest if none
    does. Everything that is no CUDA device has the sizes of ``cpu``.
    """
    if device.kind != "cuda":
        return "cpu"
    named = [name for name, profile in profiles.items() if profile.matches and matches_machine(profile, device)]
    if named:
        return named[0]
    memory = {name: profile.memory_gb for name, profile in profiles.items() if profile.device == "cuda"}
    fitting = [name for name in memory if memory[name] <= device.memory_gb * 1.02]
    return max(fitting, key=memory.__getitem__) if fitting else min(memory, key=memory.__getitem__, default="cpu")


def matches_machine(profile: HardwareConfig, device: Device) -> bool:
    """Whether the machine has the hardware that a profile is made for.

    The name must hold the profile's as words of their own: an RTX A1000 is no A100, a GH200 no H200.
    """
    if profile.matches is None:
        return profile.device in (None, "cpu", device.kind)  # every machine has a processor
    words = rf"\b{re.escape(profile.matches)}\b"
    return device.kind == "cuda" and re.search(words, device.name, re.IGNORECASE) is not None
