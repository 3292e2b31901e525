"""BiLSTM: a bidirectional LSTM over token embeddings, its states pooled by maximum and mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from torch import Tensor, nn

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
        widths = [config.embedding_size, *[2 * config.hidden_size] * (config.layers - 1)]
        self.lstm = nn.ModuleList(BothDirections(width, config.hidden_size) for width in widths)
        self.dropout = nn.Dropout(config.dropout)
        self.feature_size, self.state_size = 4 * config.hidden_size, 2 * config.hidden_size
        self.head = output_layer(self.feature_size, context)

    def features(self, inputs: Mapping[str, Tensor], *, states: bool = False) -> Features:
        """``ids [B, L]`` and ``lengths [B]`` to mean and maximum of the states; the LSTM never reads padding."""
        ids, lengths = inputs["ids"], inputs["lengths"]
        mask, reverse = padding_mask(lengths, ids.shape[1]), reversal(lengths, ids.shape[1])
        found = self.embedding(ids)
        for layer in self.lstm:
            found = layer(self.dropout(found), reverse)
        found = found.masked_fill(~mask[:, :, None], 0)
        mean = found.sum(1) / lengths[:, None].to(found.dtype)
        largest = found.masked_fill(~mask[:, :, None], float("-inf")).amax(1)
        pooled = torch.cat([mean, largest], dim=1)
        return Features(pooled, found, mask) if states else Features(pooled)


class BothDirections(nn.Module):
    """One layer of LSTM in both directions, whose states are put side by side.

    Two that read forwards: the second is given every text from its own end. Neither reads padding before it is done,
    and no sequence has to be packed, whose backward pass on a CPU takes ten times as long.
    """

    def __init__(self, width: int, hidden_size: int) -> None:
        super().__init__()
        self.forwards = nn.LSTM(width, hidden_size, batch_first=True)
        self.backwards = nn.LSTM(width, hidden_size, batch_first=True)

    def forward(self, sequence: Tensor, reverse: Tensor) -> Tensor:
        """``[B, L, D]`` to states ``[B, L, 2H]``, without meaning behind a text's length; ``reverse`` is
        :func:`reversal`'s answer."""
        ahead, back = self.forwards(sequence)[0], self.backwards(_at(sequence, reverse))[0]
        return torch.cat([ahead, _at(back, reverse)], dim=2)


def reversal(lengths: Tensor, width: int) -> Tensor:
    """Positions ``[B, L]`` that turn every text around, and turned twice give it back; padding stays where it is."""
    places = torch.arange(width, device=lengths.device)
    turned = lengths[:, None] - 1 - places
    return torch.where(turned >= 0, turned, places)


def _at(sequence: Tensor, places: Tensor) -> Tensor:
    return sequence.gather(1, places[:, :, None].expand(-1, -1, sequence.shape[2]))
