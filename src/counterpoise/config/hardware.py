"""Hardware profiles: sizes per kind of model, and what they become on the machine that is really there (SPEC D6)."""

from __future__ import annotations

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
    """Part of the GPU's name by which ``hardware=auto`` knows this profile."""
    memory_gb: Annotated[float, NON_NEGATIVE] = 0.0
    """Memory of the device; an unknown GPU gets the largest profile that fits into its own."""
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
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass, where the model can: less memory, more time."""
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


def closest_profile(device: Device, profiles: Mapping[str, HardwareConfig]) -> str:
    """The profile for a detected device: by its name, else the largest that fits into its memory, else ``cpu``."""
    if device.kind != "cuda":
        return "cpu"
    lowered = device.name.lower()
    for name, profile in profiles.items():
        if profile.matches and profile.matches.lower() in lowered:
            return name
    fitting = {
        name: profile.memory_gb
        for name, profile in profiles.items()
        if profile.device == "cuda" and profile.memory_gb <= device.memory_gb * 1.02
    }
    return max(fitting, key=lambda name: fitting[name], default="cpu")


def matches_machine(profile: HardwareConfig, device: Device) -> bool:
    """Whether the machine has the hardware that a profile is made for."""
    if profile.device in (None, "cpu"):
        return True  # every machine has a processor
    if profile.device != device.kind:
        return False
    return profile.matches is None or profile.matches.lower() in device.name.lower()
