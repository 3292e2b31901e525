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
    """Weights over tokens, nodes or chunks, for explanations: ``[B, L]``, or ``[B, Q, L]`` for each of several queries.
    """


class Attribution(NamedTuple):
    """What of a sample's parts an answer rests on: an exact account, not an estimate."""

    attention: Tensor
    """The weight that each query gives to each part, ``[B, Q, L]``; each query's sum to 1."""
    contributions: Tensor
    """What each query adds to each logit by each part, ``[B, Q, L, C]``: the logits are their sum and ``rest``."""
    rest: Tensor
    """What adds to the logits whatever the parts are: ``[B, C]``."""


@dataclass(frozen=True)
class ModelContext:
    """What a model must know of the data it is built for."""

    class_shares: tuple[float, ...]
    """Share of each class in the training split, ``[C]``: its log prior starts the output bias."""
    encoding: Mapping[str, Any] = field(default_factory=dict)
    """Properties of the encoding, e.g. ``vocab_size`` and ``pad_id``."""
    branches: Mapping[str, Backbone] = field(default_factory=dict)
    """Models of earlier runs with their best weights, under the names of ``Model.branches``; to be copied, not changed.
    """

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
    branches: ClassVar[Mapping[str, str]] = {}
    """Fields of its config that name a finished run, or ``fresh``, and the kind of encoding that run's model reads. It
    is then handed over in ``ModelContext.branches``."""

    @classmethod
    def frozen_epochs(cls, config: Any) -> float:
        """Epochs, from the first on, in which its branches are only read: it is then fed with their features."""
        return 0


FRESH = "fresh"
"""In place of a run's folder: a branch that is trained from scratch."""


class Features(NamedTuple):
    """What a backbone makes of its input, before its head."""

    pooled: Tensor
    """One vector per sample, ``[B, F]``: what the head reads, behind dropout."""
    states: Tensor | None = None
    """Where asked for: the states of tokens or nodes, ``[B, L, D]``."""
    mask: Tensor | None = None
    """With them: true at real positions, ``[B, L]``."""


class Backbone(Model):
    """A model whose features others can build on: features → ``dropout`` → ``head``.

    A subclass sets ``feature_size``, ``state_size``, ``dropout`` and ``head`` and defines :meth:`features`.
    """

    feature_size: int
    """Width of ``Features.pooled``."""
    state_size: int
    """Width of ``Features.states``."""
    dropout: nn.Dropout
    head: nn.Linear

    def features(self, inputs: Mapping[str, Tensor], *, states: bool = False) -> Features:
        """The features of a batch.

        Args:
            inputs: those of this model's encoding, by name.
            states: also give the states of single tokens or nodes.
        """
        raise NotImplementedError

    def forward(self, **inputs: Tensor) -> ModelOutput:
        """The inputs of this model's encoding, by name, to logits ``[B, C]``."""
        return ModelOutput(self.head(self.dropout(self.features(inputs).pooled)))


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
