"""TextCNN: convolutions of several widths over token embeddings, max-pooled over the sequence (Kim 2014)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

from counterpoise.config.schema import AT_LEAST_ONE, Range
from counterpoise.models.base import Model, ModelContext, ModelOutput, output_layer, padding_mask


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


class TextCNN(Model):
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
        self.head = output_layer(config.filters * len(config.kernel_sizes), context)

    def forward(self, ids: Tensor, lengths: Tensor) -> ModelOutput:
        """``ids [B, L]`` and ``lengths [B]`` to logits ``[B, C]``; padding never reaches a logit."""
        mask = padding_mask(lengths, ids.shape[1])
        embedded = self.dropout(self.embedding(ids)) * mask[:, :, None]
        channels = embedded.transpose(1, 2)
        pooled = []
        for convolution in self.convolutions:
            features = convolution(channels)[:, :, : ids.shape[1]]  # an even width would add one position
            pooled.append(features.masked_fill(~mask[:, None, :], float("-inf")).amax(dim=2))
        return ModelOutput(self.head(self.dropout(torch.cat(pooled, dim=1).relu())))
