"""TextCNN: convolutions of several widths over token embeddings, max-pooled over the sequence (Kim 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from counterpoise.config.schema import AT_LEAST_ONE, Range
from counterpoise.models.base import Backbone, Features, ModelContext, output_layer, padding_mask


@dataclass(frozen=True, kw_only=True)
class TextCNNConfig:
    """Size of the network."""

    embedding_size: Annotated[int, AT_LEAST_ONE] = 128
    """Width of a token's embedding."""
    kernel_sizes: Annotated[tuple[int, ...], AT_LEAST_ONE] = (3, 4, 5)
    """Tokens that each kind of filter sees."""
    filters: Annotated[int, AT_LEAST_ONE] = 128
    """Filters of each width."""
    dropout: Annotated[float, Range(ge=0, lt=1)] = 0.3
    """Probability of zeroing an embedding or a pooled feature."""


class TextCNN(Backbone):
    """Embeddings → convolutions → max over real positions → linear."""

    Config: ClassVar[type] = TextCNNConfig
    encoding: ClassVar[str] = "tokens"
    family: ClassVar[str] = "textcnn"

    def __init__(self, config: TextCNNConfig, context: ModelContext) -> None:
        super().__init__()
        properties = context.encoding
        width = config.embedding_size
        self.embedding = nn.Embedding(properties["vocab_size"], width, padding_idx=properties["pad_id"])
        self.convolutions = nn.ModuleList(
            nn.Conv1d(width, config.filters, size, padding=size // 2) for size in config.kernel_sizes
        )
        self.dropout = nn.Dropout(config.dropout)
        self.feature_size = self.state_size = config.filters * len(config.kernel_sizes)
        self.head = output_layer(self.feature_size, context)

    def features(self, inputs: Mapping[str, Tensor], *, states: bool = False) -> Features:
        """``ids [B, L]`` and ``lengths [B]`` to the largest answer of each filter; padding never reaches it."""
        ids, lengths = inputs["ids"], inputs["lengths"]
        mask = padding_mask(lengths, ids.shape[1])
        embedded = self.dropout(self.embedding(ids)) * mask[:, :, None]
        channels = embedded.transpose(1, 2)
        found, pooled = [], []
        for convolution in self.convolutions:
            features = convolution(channels)[:, :, : ids.shape[1]]  # an even width would add one position
            found.append(features)
            pooled.append(features.masked_fill(~mask[:, None, :], float("-inf")).amax(dim=2))
        pooled_features = torch.cat(pooled, dim=1).relu()
        if not states:
            return Features(pooled_features)
        return Features(pooled_features, torch.cat(found, dim=1).relu().transpose(1, 2), mask)
