"""A transformer encoder: small and from scratch, or any pretrained Hugging Face encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from counterpoise.models.base import Backbone, Features, ModelContext, output_layer, padding_mask
from counterpoise.models.text_encoder import TextEncoderConfig, build_encoder

Pooling = Literal["mean", "max", "cls", "mean_max"]


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(TextEncoderConfig):
    """Which encoder, and how its states become one vector."""

    pooling: Pooling = "mean_max"
    """How the states of a sequence become one vector."""


class Transformer(Backbone):
    """Encoder → pooling over real tokens → dropout → linear.

    The encoder from scratch also hands the head the maximum of its convolution's features, past the layers: they learn
    from the first update on, while attention still finds its way.
    """

    Config: ClassVar[type] = TransformerConfig
    encoding: ClassVar[str] = "tokens"
    family: ClassVar[str] = "transformer"

    def __init__(self, config: TransformerConfig, context: ModelContext) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.encoder = build_encoder(config, context)
        parts = (2 if config.pooling == "mean_max" else 1) + (config.pretrained is None)
        self.dropout = nn.Dropout(config.dropout)
        self.feature_size, self.state_size = self.encoder.width * parts, self.encoder.width
        self.head = output_layer(self.feature_size, context)

    def features(self, inputs: Mapping[str, Tensor], *, states: bool = False) -> Features:
        """``ids [B, L]`` and ``lengths [B]`` to one vector each ``[B, F]``; padding never reaches it."""
        ids, lengths = inputs["ids"], inputs["lengths"]
        mask = padding_mask(lengths, ids.shape[1])
        found, local = self.encoder(ids, mask)
        pooled = pool(found, mask, self.pooling)
        if local is not None:
            pooled = torch.cat([pooled, pool(local, mask, "max")], dim=1)
        return Features(pooled, found, mask) if states else Features(pooled)


def pool(states: Tensor, mask: Tensor, how: str) -> Tensor:
    """States ``[B, L, D]`` to one vector each, ``[B, D]`` (``[B, 2 D]`` for ``mean_max``), over ``mask [B, L]``."""
    if how == "cls":
        return states[:, 0]
    parts = []
    if "mean" in how:
        weights = mask.to(states.dtype)[:, :, None]
        parts.append((states * weights).sum(1) / weights.sum(1))
    if "max" in how:
        parts.append(states.masked_fill(~mask[:, :, None], float("-inf")).amax(1))
    return torch.cat(parts, dim=1)
