"""Which chunks of a document count: attention that weighs their vectors into one, and can say how much each adds."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from counterpoise.errors import fail
from counterpoise.models.encoder import EncoderLayer, EncoderSize

Positions = Literal["learned", "sinusoidal", "none"]


class Weighed(NamedTuple):
    """Documents, as their chunks make them up."""

    pooled: Tensor
    """``Σ_k α_k v_k``, ``[B, F]``."""
    weights: Tensor
    """``α``, summing to 1 over each document's chunks and 0 at padding, ``[B, L]``."""
    values: Tensor
    """``v``: what of each chunk is weighed, ``[B, L, F]``."""


class ChunkAttention(nn.Module):
    """Projection → position → layers in which chunks see each other → additive attention.

    Additive attention is ``α = softmax(uᵀ tanh(W v + b))`` (Bahdanau et al. 2015; over the parts of a document: Yang et
    al. 2016, Hierarchical Attention Networks).

    Args:
        width: of a chunk's vector.
        size: that it is projected to; ``None`` leaves it as it is.
        attention_size: rows of ``W``.
        positions: how a chunk's place in its document is told.
        max_chunks: of a document.
        layers: pre-norm transformer layers in front; 0 for none.
        heads: of each.
        dropout: probability of zeroing a feature of a chunk.

    Raises:
        UserError: if the heads do not divide the width into even parts.
    """

    def __init__(
        self,
        width: int,
        *,
        size: int | None,
        attention_size: int,
        positions: Positions,
        max_chunks: int,
        layers: int,
        heads: int,
        dropout: float,
    ) -> None:
        super().__init__()
        self.projection = None if size is None else nn.Linear(width, size)
        self.width = size or width
        self.position = _position(positions, max_chunks, self.width)
        self.dropout = nn.Dropout(dropout)
        if layers and self.width % (2 * heads):
            what = f"must divide a chunk's width of {self.width} into even parts, but is {heads}."
            raise fail("model.chunk_heads", what, "Or set model.chunk_size, which is that width.")
        inner = EncoderSize(self.width, layers, heads, 2 * self.width, convolution=0, dropout=dropout)
        self.layers = nn.ModuleList(EncoderLayer(inner) for _ in range(layers))
        self.head_size = self.width // heads
        self.norm = nn.LayerNorm(self.width) if layers else None
        self.hidden = nn.Linear(self.width, attention_size)
        self.score = nn.Linear(attention_size, 1, bias=False)

    def forward(self, chunks: Tensor, mask: Tensor) -> Weighed:
        """``chunks [B, L, D]``, real where ``mask [B, L]`` is true, to documents."""
        values = self._values(chunks, mask)
        scores = self.score(torch.tanh(self.hidden(values))).squeeze(-1)
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1)
        return Weighed((weights[:, None] @ values).squeeze(1), weights, values)

    def _values(self, chunks: Tensor, mask: Tensor) -> Tensor:
        states: Tensor = chunks if self.projection is None else self.projection(chunks)
        if self.position is not None:
            states = states + self.position(torch.arange(states.shape[1], device=states.device))
        states = self.dropout(states)
        if self.norm is None:
            return states
        # Positions are told above: by a rotation of nothing the layers add none of their own.
        still = states.new_zeros(states.shape[1], self.head_size // 2)
        for layer in self.layers:
            states = layer(states, mask, (still.cos(), still))
        return self.norm(states)  # type: ignore[no-any-return]


class Sinusoids(nn.Module):
    """Sine and cosine of a position, in frequencies that are not learnt (Vaswani et al. 2017)."""

    table: Tensor

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        angles = torch.arange(count)[:, None] * torch.exp(-math.log(1e4) * torch.arange(0, width, 2) / width)
        table = torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[:, :width]
        self.register_buffer("table", table, persistent=False)

    def forward(self, positions: Tensor) -> Tensor:
        """``positions [L]`` to ``[L, D]``."""
        chosen: Tensor = self.table[positions]
        return chosen


def _position(kind: Positions, count: int, width: int) -> nn.Module | None:
    if kind == "none":
        return None
    if kind == "sinusoidal":
        return Sinusoids(count, width)
    learned = nn.Embedding(count, width)
    nn.init.normal_(learned.weight, std=0.02)  # small beside a chunk's vector, as BERT's
    return learned
