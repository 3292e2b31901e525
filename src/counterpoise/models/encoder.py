"""A small transformer encoder that learns from thousands of examples, on a CPU too.

A convolution reads the tokens first, so that neighbouring tokens meet at once: without it a small encoder needs many
more examples, or epochs, before attention finds them. Layers are pre-norm with rotary positions (Su et al. 2021).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint


@dataclass(frozen=True)
class EncoderSize:
    """Size of an encoder that is trained from scratch."""

    hidden_size: int
    layers: int
    heads: int
    feed_forward_size: int
    convolution: int
    """Tokens that the convolution sees; 0 leaves it out."""
    dropout: float


class Encoder(nn.Module):
    """Embedding → convolution beside a residual → layers → norm.

    Args:
        size: see its fields.
        encoding: ``vocab_size`` and ``pad_id``.
        gradient_checkpointing: recompute the layers' activations in the backward pass.
    """

    def __init__(self, size: EncoderSize, encoding: Mapping[str, Any], *, gradient_checkpointing: bool = False) -> None:
        super().__init__()
        self.width = size.hidden_size
        self.head_size = size.hidden_size // size.heads
        self.gradient_checkpointing = gradient_checkpointing
        self.embedding = nn.Embedding(encoding["vocab_size"], size.hidden_size, padding_idx=encoding["pad_id"])
        self.dropout = nn.Dropout(size.dropout)
        self.convolution = (
            nn.Conv1d(size.hidden_size, size.hidden_size, size.convolution, padding=size.convolution // 2)
            if size.convolution
            else None
        )
        self.stem_norm = nn.LayerNorm(size.hidden_size)
        self.layers = nn.ModuleList(EncoderLayer(size) for _ in range(size.layers))
        self.norm = nn.LayerNorm(size.hidden_size)

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """``ids [B, L]`` and ``mask [B, L]`` to the states behind the last layer and behind the convolution.

        Both are ``[B, L, D]``; the latter are what a TextCNN would see, and the embeddings where there is none.
        """
        states = self.dropout(self.embedding(ids))
        local = states
        if self.convolution is not None:
            real = (states * mask[:, :, None]).transpose(1, 2)
            local = F.relu(self.convolution(real)).transpose(1, 2)
            states = states + local
        states = self.stem_norm(states)
        rotation = rotary_angles(ids.shape[1], self.head_size, ids.device)
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                states = checkpoint(layer, states, mask, rotation, use_reentrant=False)
            else:
                states = layer(states, mask, rotation)
        return self.norm(states), local


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each behind a norm and beside a residual."""

    def __init__(self, size: EncoderSize) -> None:
        super().__init__()
        width = size.hidden_size
        self.heads = size.heads
        self.attention_norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, size.feed_forward_size)
        self.contract = nn.Linear(size.feed_forward_size, width)

    def forward(self, states: Tensor, mask: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """States ``[B, L, D]`` to states ``[B, L, D]``."""
        states = states + self._attend(self.attention_norm(states), mask, rotation)
        expanded = F.gelu(self.expand(self.feed_forward_norm(states)))
        return states + self.contract(expanded)  # type: ignore[no-any-return]

    def _attend(self, states: Tensor, mask: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        batch, length, width = states.shape
        split = self.projection(states).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        attended = attention(rotate(query, rotation), rotate(key, rotation), value, mask)
        return self.output(attended.transpose(1, 2).reshape(batch, length, width))  # type: ignore[no-any-return]


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Scaled dot-product attention of ``[B, H, L, D]`` over the positions where ``mask [B, L]`` is true.

    On a CPU it is written out: for sequences of a few hundred tokens PyTorch's fused kernel takes three times as long
    there, most of it in the backward pass.
    """
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
    scores = (query / math.sqrt(query.shape[-1])) @ key.transpose(-1, -2)
    # A bias rather than -inf: a row without any real position stays finite.
    bias = torch.zeros(mask.shape, dtype=scores.dtype).masked_fill_(~mask, -1e4)
    return (scores + bias[:, None, None, :]).softmax(-1).to(value.dtype) @ value


def rotary_angles(length: int, size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines of the rotary position embedding, each ``[L, size / 2]``."""
    frequencies = 10_000.0 ** (-torch.arange(0, size, 2, device=device) / size)
    angles = torch.arange(length, device=device)[:, None] * frequencies
    return angles.cos(), angles.sin()


def rotate(states: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
    """Rotate pairs of features of ``states [..., L, D]`` by their position's angles."""
    cosine, sine = (part.to(states.dtype) for part in rotation)
    first, second = states.chunk(2, dim=-1)
    return torch.cat([first * cosine - second * sine, first * sine + second * cosine], dim=-1)
