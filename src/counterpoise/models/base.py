"""What every model takes and gives."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn


class ModelOutput(NamedTuple):
    """What a model's ``forward`` returns."""

    logits: Tensor
    """``[B, C]``; two of them for binary tasks."""
    penalty: Tensor | None = None
    """A scalar, mean over the batch, that is added to the loss."""
    attention: Tensor | None = None
    """Weights over tokens, nodes or chunks ``[B, L]``, for explanations."""


@dataclass(frozen=True)
class ModelContext:
    """What a model must know of the data it is built for."""

    class_shares: tuple[float, ...]
    """Share of each class in the training split, ``[C]``: its log prior starts the output bias."""
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """Properties of the encoding, e.g. ``vocab_size`` and ``pad_id``."""

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_shares)


class Model(nn.Module):
    """A classifier. Its direct children are its components: they may have learning rates of their own.

    A subclass sets ``Config`` and ``encoding`` and takes ``(config, context)``. Its ``forward`` takes the inputs of its
    encoding by name and returns a :class:`ModelOutput`.
    """

    Config: ClassVar[type]
    encoding: ClassVar[str]
    """The kind of encoding it reads, e.g. ``tokens``."""
    family: ClassVar[str] = "default"
    """Which batch size of a hardware profile fits it."""


def output_layer(width: int, context: ModelContext) -> nn.Linear:
    """The last linear layer, its bias at the log prior ``log π_c`` so that training starts from the class shares."""
    layer = nn.Linear(width, context.n_classes)
    nn.init.normal_(layer.weight, std=0.002)  # small beside the bias, whatever the features' scale
    with torch.no_grad():
        layer.bias.copy_(torch.tensor(context.class_shares).log())
    return layer


def padding_mask(lengths: Tensor, width: int) -> Tensor:
    """True at real positions, ``[B, L]``, from ``lengths [B]``."""
    return torch.arange(width, device=lengths.device) < lengths[:, None]
