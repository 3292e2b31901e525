"""Long documents: an encoder reads each chunk by itself, attention over chunks makes one vector of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from counterpoise.config.schema import AT_LEAST_ONE
from counterpoise.errors import Problem
from counterpoise.models.base import (
    Attribution,
    Backbone,
    Features,
    ModelContext,
    ModelOutput,
    output_layer,
    padding_mask,
)
from counterpoise.models.chunk_attention import ChunkAttention, Positions, Weighed
from counterpoise.models.gnn.gnn import pad_nodes
from counterpoise.models.text_encoder import TextEncoderConfig, build_encoder, encode_and_pool, pooled_width

WIDTH_STEP = 64
"""Chunks are padded to multiples of this many tokens, and full passes hold as many of them each: few shapes. On a CPU a
half-precision product is compiled for every new one. So the encoder trains 1.5 to 1.8 times as fast in bf16 as in full
precision there (64 wide, windows of 256 and 512, one core with AVX-512 BF16)."""


@dataclass(frozen=True, kw_only=True)
class HierarchicalConfig(TextEncoderConfig):
    """Which encoder reads the chunks, and how they become a document."""

    hidden_size: Annotated[int, AT_LEAST_ONE] = 64
    """Width of a token's state (from scratch only, as are the next two)."""
    heads: Annotated[int, AT_LEAST_ONE] = 2
    """Attention heads among the tokens of a chunk; they divide the width."""
    feed_forward_size: Annotated[int, AT_LEAST_ONE] = 128
    """Width inside a layer's feed-forward part."""
    attention: Literal["additive", "transformer"] = "additive"
    """Additive attention over the chunks, or that behind transformer layers in which they see each other."""
    attention_size: Annotated[int, AT_LEAST_ONE] = 128
    """Width inside the additive attention."""
    chunk_size: Annotated[int, AT_LEAST_ONE] | None = None
    """Width that a chunk's vector is projected to; null leaves it as the encoder gives it."""
    positions: Positions = "learned"
    """How a chunk's place in its document is told: learned, sinusoidal, or not at all."""
    chunk_layers: Annotated[int, AT_LEAST_ONE] = 1
    """Layers over the chunks (attention=transformer only, as is the next)."""
    chunk_heads: Annotated[int, AT_LEAST_ONE] = 4
    """Their heads."""
    pass_tokens: Annotated[int, AT_LEAST_ONE] = 4096
    """Most tokens that the encoder reads at once, padding included; at least one chunk. It changes memory and speed, no
    logit; in training what dropout draws."""

    def problems(self) -> Iterable[Problem]:
        """Relations between the fields."""
        yield from super().problems()
        if self.attention == "transformer" and self.chunk_size is not None and self.chunk_size % (2 * self.chunk_heads):
            message = f"must divide chunk_size={self.chunk_size} into even parts, but is {self.chunk_heads}."
            yield Problem("chunk_heads", message)


class Hierarchical(Backbone):
    """Encoder over real chunks → one vector each → attention over a document's chunks → dropout → linear.

    The chunks of all documents of a batch are read in passes of at most ``pass_tokens``, in the order of their length:
    what stands in a batch, and how it is cut into passes, changes no logit. With gradient checkpointing a pass keeps
    nothing for the backward pass but its chunks' vectors.
    """

    Config: ClassVar[type] = HierarchicalConfig
    encoding: ClassVar[str] = "chunks"
    family: ClassVar[str] = "hierarchical"

    def __init__(self, config: HierarchicalConfig, context: ModelContext) -> None:
        super().__init__()
        self.pooling, self.pass_tokens = config.pooling, config.pass_tokens
        self.pad_id, self.window = int(context.encoding["pad_id"]), int(context.encoding["max_length"])
        self.checkpointing = config.gradient_checkpointing
        # Passes are checkpointed as a whole: layers that do it too would be computed a third time.
        self.encoder = build_encoder(replace(config, gradient_checkpointing=False), context)
        self.attention = ChunkAttention(
            pooled_width(config, self.encoder),
            size=config.chunk_size,
            attention_size=config.attention_size,
            positions=config.positions,
            max_chunks=context.encoding["max_chunks"],
            layers=config.chunk_layers if config.attention == "transformer" else 0,
            heads=config.chunk_heads,
            dropout=config.dropout,
        )
        self.dropout = nn.Dropout(config.dropout)
        self.feature_size = self.state_size = self.attention.width
        self.head = output_layer(self.feature_size, context)

    def features(self, inputs: Mapping[str, Tensor], *, states: bool = False) -> Features:
        """``ids [K, L]``, ``lengths [K]`` and ``counts [B]`` to one vector per document; ``states`` are the chunks'."""
        weighed, mask = self._weigh(inputs)
        return Features(weighed.pooled, weighed.values, mask) if states else Features(weighed.pooled)

    def forward(self, **inputs: Tensor) -> ModelOutput:
        """``ids [K, L]``, ``lengths [K]`` and ``counts [B]`` to logits ``[B, C]``, and the weight of each chunk."""
        weighed, _ = self._weigh(inputs)
        return ModelOutput(self.head(self.dropout(weighed.pooled)), attention=weighed.weights)

    def attribute(self, **inputs: Tensor) -> Attribution:
        """What each chunk adds to the logits, exactly: the head is linear, so ``α_k W v_k``; the bias is the rest.

        Chunks have seen each other before with ``attention=transformer``: a chunk's share is then what was found at its
        place. The account is that of the logits without dropout, in evaluation.
        """
        weighed, _ = self._weigh(inputs)
        with _exact(weighed.values):
            contributions = weighed.weights[:, :, None] * F.linear(weighed.values, self.head.weight)
        rest = self.head.bias.expand(len(inputs["counts"]), -1)
        return Attribution(weighed.weights[:, None], contributions[:, None], rest)

    def _weigh(self, inputs: Mapping[str, Tensor]) -> tuple[Weighed, Tensor]:
        vectors = self._read(inputs["ids"], inputs["lengths"])
        # No two batches have as many documents and chunks, and this is little work: always in full precision.
        with _exact(vectors):
            padded, mask = pad_nodes(vectors.to(self.head.weight.dtype), inputs["counts"])
            return self.attention(padded, mask), mask

    def _read(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """All chunks to their vectors ``[K, F]``, pass by pass."""
        # On a GPU each forward pass waits for this one small copy.
        sizes, order = lengths.cpu().sort(descending=True, stable=True)
        found = []
        for start, end, width in passes(sizes.tolist(), self.pass_tokens, self.window):
            chosen = order[start:end].to(ids.device)
            part = F.pad(ids[chosen, :width], (0, max(width - ids.shape[1], 0)), value=self.pad_id)
            if self.checkpointing and self.training:
                found.append(checkpoint(self._pass, part, lengths[chosen], use_reentrant=False))
            else:
                found.append(self._pass(part, lengths[chosen]))
        return torch.cat(found)[order.argsort().to(ids.device)]

    def _pass(self, ids: Tensor, lengths: Tensor) -> Tensor:
        return encode_and_pool(self.encoder, ids, padding_mask(lengths, ids.shape[1]), self.pooling)[0]


def passes(sizes: list[int], tokens: int, longest: int) -> Iterator[tuple[int, int, int]]:
    """How chunks are read: first one, the one behind the last, and the width that they are padded to.

    Args:
        sizes: of the chunks, the longest first.
        tokens: most of a pass, padding included; a single chunk may have more.
        longest: that a chunk can be, and no pass is wider.
    """
    start = 0
    while start < len(sizes):
        width = min(-(-sizes[start] // WIDTH_STEP) * WIDTH_STEP, longest)
        end = min(start + max(tokens // width, 1), len(sizes))
        yield start, end, width
        start = end


def _exact(values: Tensor) -> torch.autocast:
    """Without autocast."""
    return torch.autocast(values.device.type, enabled=False)
