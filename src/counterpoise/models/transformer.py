"""A transformer encoder: small and from scratch, or any pretrained Hugging Face encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn

from counterpoise.models.base import Backbone, Features, ModelContext, output_layer, padding_mask
from counterpoise.models.text_encoder import TextEncoderConfig, build_encoder, encode_and_pool, pooled_width


@dataclass(frozen=True, kw_only=True)
class TransformerConfig(TextEncoderConfig):
    """Which encoder, and how its states become one vector."""


class Transformer(Backbone):
    """Encoder → pooling over real tokens → dropout → linear."""

    Config: ClassVar[type] = TransformerConfig
    encoding: ClassVar[str] = "tokens"
    family: ClassVar[str] = "transformer"

    def __init__(self, config: TransformerConfig, context: ModelContext) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.encoder = build_encoder(config, context)
        self.dropout = nn.Dropout(config.dropout)
        self.feature_size, self.state_size = pooled_width(config, self.encoder), self.encoder.width
        self.head = output_layer(self.feature_size, context)

    def features(self, inputs: Mapping[str, Tensor], *, states: bool = False) -> Features:
        """``ids [B, L]`` and ``lengths [B]`` to one vector each ``[B, F]``; padding never reaches it."""
        mask = padding_mask(inputs["lengths"], inputs["ids"].shape[1])
        pooled, found = encode_and_pool(self.encoder, inputs["ids"], mask, self.pooling)
        return Features(pooled, found, mask) if states else Features(pooled)
