"""Devices and number formats: which there are, and the Fabric that runs on them."""

from __future__ import annotations

from typing import Any, Literal, get_args

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins import DoublePrecision, MixedPrecision, Precision

PrecisionName = Literal["fp32", "bf16", "fp16", "fp64"]
DeviceName = Literal["cpu", "cuda", "mps"]


def best_device() -> DeviceName:
    """The device that training should use on this machine."""
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def best_precision(device: str) -> PrecisionName:
    """bf16 where the device computes in it, fp16 (with a gradient scaler) on older GPUs, fp32 elsewhere."""
    if device == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp16"
    if device == "cpu" and cpu_has_bf16():
        return "bf16"
    return "fp32"


def cpu_has_bf16() -> bool:
    """Whether this CPU multiplies bf16 matrices in hardware (AVX-512 BF16 or AMX); emulated, it would be slower."""
    capability = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(capability and capability())


def make_fabric(
    device: str, precision: PrecisionName, *, devices: int = 1, nodes: int = 1, tf32: bool = True
) -> Fabric:
    """A launched Fabric; under ``torchrun`` it joins the other processes.

    The gradient scaler of fp16 is part of its precision plugin: see :func:`scaler_of`.
    """
    if precision not in get_args(PrecisionName):
        raise ValueError(f"`precision` must be one of {get_args(PrecisionName)}, but is {precision!r}")
    if device == "cuda":
        allow_tf32(tf32)
    plugin = precision_plugin(device, precision)
    strategy = "ddp" if devices * nodes > 1 else "auto"
    fabric = Fabric(accelerator=device, devices=devices, num_nodes=nodes, strategy=strategy, plugins=[plugin])
    fabric.launch()
    return fabric


def allow_tf32(allowed: bool) -> None:
    """Whether float32 matrix products and convolutions may round their factors to TF32.

    PyTorch keeps two switches for the whole process, and its own defaults differ between them: both are set, both ways.
    """
    torch.set_float32_matmul_precision("high" if allowed else "highest")
    torch.backends.cudnn.allow_tf32 = allowed


class Double(DoublePrecision):
    """float64 throughout; Fabric's own would hand the logits on in float32."""

    def convert_output(self, data: Any) -> Any:
        """As it is."""
        return data


class Autocast(MixedPrecision):
    """Autocast; Fabric's own would also round every floating-point input to half precision."""

    def convert_input(self, data: Any) -> Any:
        """As it is: autocast rounds what it multiplies."""
        return data


def precision_plugin(device: str, precision: PrecisionName) -> Precision:
    """Fabric's plug-in for a number format."""
    if precision == "fp64":
        return Double()
    if precision == "fp32":
        return Precision()
    if precision == "bf16":
        return Autocast("bf16-mixed", device)
    return Autocast("16-mixed", device, scaler=torch.amp.GradScaler(device))


def switch_precision(fabric: Fabric, precision: PrecisionName) -> None:
    """Compute in another number format from here on; parameters are kept in float32 by all but fp64.

    What Fabric has wrapped already asks the strategy for its precision at every call.
    """
    fabric.strategy.precision = precision_plugin(fabric.device.type, precision)


def exact_dtype(device: torch.device) -> torch.dtype:
    """float64 where the device has it: what sums over an epoch are kept in."""
    return torch.float32 if device.type == "mps" else torch.float64


def scaler_of(fabric: Fabric) -> torch.amp.GradScaler | None:
    """The gradient scaler, where the precision has one."""
    return getattr(fabric.strategy.precision, "scaler", None)
