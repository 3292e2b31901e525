"""BiLSTM: a bidirectional LSTM over token embeddings, its states pooled by maximum and mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from counterpoise.config.schema import AT_LEAST_ONE, Range
from counterpoise.models.base import Backbone, Features, ModelContext, output_layer, padding_mask


@dataclass(frozen=True, kw_only=True)
class BiLSTMConfig:
    """Size of the network."""

    embedding_size: Annotated[int, AT_LEAST_ONE] = 128
    """Width of a token's embedding."""
    hidden_size: Annotated[int, AT_LEAST_ONE] = 128
    """Width of the state in each direction."""
    layers: Annotated[int, AT_LEAST_ONE] = 1
    """Stacked LSTM layers."""
    dropout: Annotated[float, Range(ge=0, lt=1)] = 0.3
    """Probability of zeroing an embedding, a state between layers or a pooled feature."""


class BiLSTM(Backbone):
    """Embeddings → LSTM in both directions → max and mean over real positions → linear."""

    Config: ClassVar[type] = BiLSTMConfig
    encoding: ClassVar[str] = "tokens"
    family: ClassVar[str] = "bilstm"

    def __init__(self, config: BiLSTMConfig, context: ModelContext) -> None:
        super().__init__()
        properties = context.encoding
        self.embedding = nn.Embedding(properties["vocab_size"], config.embedding_size, padding_idx=properties["pad_id"])
        self.lstm = nn.LSTM(
            config.embedding_size,
            config.hidden_size,
            config.layers,
            batch_first=True,
            bidirectional=True,
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.feature_size, self.state_size = 4 * config.hidden_size, 2 * config.hidden_size
        self.head = output_layer(self.feature_size, context)

    def features(self, inputs: Mapping[str, Tensor], *, states: bool = False) -> Features:
        """``ids [B, L]`` and ``lengths [B]`` to mean and maximum of the states; the LSTM never reads padding.

        Packing needs the lengths on the CPU: on a GPU each forward pass waits for this one small copy.
        """
        ids, lengths = inputs["ids"], inputs["lengths"]
        embedded = self.dropout(self.embedding(ids))
        packed = pack_padded_sequence(embedded, lengths.cpu(), batch_first=True, enforce_sorted=False)
        found, _ = pad_packed_sequence(self.lstm(packed)[0], batch_first=True, total_length=ids.shape[1])
        mask = padding_mask(lengths, ids.shape[1])
        mean = found.sum(1) / lengths[:, None].to(found.dtype)  # padded states are zero
        largest = found.masked_fill(~mask[:, :, None], float("-inf")).amax(1)
        pooled = torch.cat([mean, largest], dim=1)
        return Features(pooled, found, mask) if states else Features(pooled)
