"""Which encoder reads tokens: the small one from scratch, or any pretrained Hugging Face encoder."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
from torch import Tensor, nn

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, Range
from counterpoise.errors import Problem, UserError, fail
from counterpoise.models.base import ModelContext
from counterpoise.models.encoder import Encoder, EncoderSize
from counterpoise.pretrained import LoadedEncoder, Origin, load_encoder

Pooling = Literal["mean", "max", "cls", "mean_max"]


@dataclass(frozen=True, kw_only=True)
class TextEncoderConfig:
    """Which encoder, how large, and what of it is trained."""

    pretrained: str | None = None
    """A Hugging Face encoder by name or local folder; null trains the small encoder described below from scratch."""
    hidden_size: Annotated[int, AT_LEAST_ONE] = 128
    """Width of a token's state (from scratch only, as are the next four)."""
    layers: Annotated[int, AT_LEAST_ONE] = 1
    """Encoder layers."""
    heads: Annotated[int, AT_LEAST_ONE] = 4
    """Attention heads; they divide the width."""
    feed_forward_size: Annotated[int, AT_LEAST_ONE] = 256
    """Width inside a layer's feed-forward part."""
    convolution: Annotated[int, NON_NEGATIVE] = 7
    """Tokens that the convolution in front of the layers sees, odd; 0 leaves it out."""
    dropout: Annotated[float, Range(ge=0, lt=1)] = 0.1
    """Probability of zeroing an embedding or a pooled feature."""
    pooling: Pooling = "mean_max"
    """How the states of a sequence become one vector."""
    freeze_embeddings: bool = False
    """Keep the embeddings as they are."""
    freeze_layers: Annotated[int, NON_NEGATIVE] = 0
    """Keep the first n encoder layers as they are."""
    gradient_checkpointing: bool = False
    """Recompute activations in the backward pass: less memory, about a third more time."""

    def problems(self) -> Iterable[Problem]:
        """Relations between the fields."""
        if self.pretrained is not None:
            return
        if self.hidden_size % (2 * self.heads):
            yield Problem("heads", f"must divide hidden_size={self.hidden_size} into even parts, but is {self.heads}.")
        if self.convolution and self.convolution % 2 == 0:
            yield Problem("convolution", f"must be odd, or 0 for none, but is {self.convolution}.")
        if self.freeze_layers > self.layers:
            yield Problem("freeze_layers", f"must be at most layers={self.layers}, but is {self.freeze_layers}.")


def build_encoder(config: TextEncoderConfig, context: ModelContext) -> Encoder | PretrainedEncoder:
    """The encoder that a config describes; both kinds take ``ids [B, L]`` and ``mask [B, L]`` and have a ``width``.

    Raises:
        UserError: as :class:`PretrainedEncoder`.
    """
    return _from_scratch(config, context) if config.pretrained is None else PretrainedEncoder(config, context)


def _from_scratch(config: TextEncoderConfig, context: ModelContext) -> Encoder:
    size = EncoderSize(
        hidden_size=config.hidden_size,
        layers=config.layers,
        heads=config.heads,
        feed_forward_size=config.feed_forward_size,
        convolution=config.convolution,
        dropout=config.dropout,
    )
    encoder = Encoder(size, context.encoding, gradient_checkpointing=config.gradient_checkpointing)
    _freeze([encoder.embedding] if config.freeze_embeddings else [])
    _freeze(encoder.layers[: config.freeze_layers])
    return encoder


def pooled_width(config: TextEncoderConfig, encoder: Encoder | PretrainedEncoder) -> int:
    """Width of what :func:`encode_and_pool` gives."""
    return encoder.width * ((2 if config.pooling == "mean_max" else 1) + (config.pretrained is None))


def encode_and_pool(encoder: nn.Module, ids: Tensor, mask: Tensor, how: Pooling) -> tuple[Tensor, Tensor]:
    """Sequences ``ids [B, L]`` to one vector each, ``[B, F]``, and their states ``[B, L, D]``; padding reaches neither.

    The encoder from scratch also adds the maximum of its convolution's features, past the layers: they learn from the
    first update on, while attention still finds its way.
    """
    states, local = encoder(ids, mask)
    pooled = pool(states, mask, how)
    if local is not None:
        pooled = torch.cat([pooled, pool(local, mask, "max")], dim=1)
    return pooled, states


def pool(states: Tensor, mask: Tensor, how: Pooling) -> Tensor:
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


class PretrainedEncoder(nn.Module):
    """A Hugging Face encoder.

    Raises:
        UserError: if it cannot be found, is no encoder, lacks its weights, reads fewer tokens than the encoding gives,
            or has other ids; a causal model if it is pooled at its first token.
    """

    def __init__(self, config: TextEncoderConfig, context: ModelContext) -> None:
        super().__init__()
        assert config.pretrained is not None
        loaded = load_backbone(config.pretrained, config.dropout)
        loaded.check_pooling(config.pooling, _origin(config.pretrained), "model.pooling")
        _check_fit(loaded, context)
        self.backbone, self.width = loaded.model, loaded.width
        if config.gradient_checkpointing:
            self.backbone.gradient_checkpointing_enable({"use_reentrant": False})
        if config.freeze_embeddings:
            _freeze([self.backbone.get_input_embeddings()])
        if config.freeze_layers:
            _freeze(_encoder_layers(self.backbone, config.freeze_layers))
        if getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = None  # never used here: its parameters would get no gradient

    def forward(self, ids: Tensor, mask: Tensor) -> tuple[Tensor, None]:
        """``ids [B, L]`` and ``mask [B, L]`` to states ``[B, L, D]``."""
        output = self.backbone(input_ids=ids, attention_mask=mask.long())
        return output.last_hidden_state, None


def load_backbone(name: str, dropout: float) -> LoadedEncoder:
    """A pretrained encoder by name or folder, in float32; code that comes with it is never run."""
    return load_encoder(_origin(name), {"hidden_dropout_prob": dropout, "dropout": dropout})


def _origin(name: str) -> Origin:
    remedy = "Name a local folder with config.json and model.safetensors, or train from scratch with "
    return Origin("model.pretrained", name, f"{remedy}model.pretrained=null.")


def _check_fit(loaded: LoadedEncoder, context: ModelContext) -> None:
    found = []
    length, name = context.encoding["max_length"], "window" if "window" in context.encoding else "max_length"
    if loaded.longest is not None and loaded.longest < length:
        message = f"must be at most {loaded.longest} for this encoder, but is {length}."
        found.append(Problem(f"encoding.{name}", message))
    if loaded.rows < context.encoding["vocab_size"]:
        message = f"its {context.encoding['vocab_size']} tokens do not fit the encoder's {loaded.rows}."
        found.append(Problem("encoding.pretrained", message, "Use the encoder's own tokenizer."))
    padding = getattr(loaded.model.config, "pad_token_id", None)
    if padding is not None and padding != context.encoding["pad_id"]:
        message = f"it pads with {context.encoding['pad_id']}, but the encoder expects {padding}."
        found.append(Problem("encoding.pretrained", message, "Use the encoder's own tokenizer."))
    if found:
        raise UserError(found)


def _encoder_layers(backbone: Any, count: int) -> list[nn.Module]:
    lists = [module for module in backbone.modules() if isinstance(module, nn.ModuleList)]
    layers = max(lists, key=len, default=nn.ModuleList())
    if count > len(layers):
        raise fail("model.freeze_layers", f"must be at most {len(layers)} for this encoder, but is {count}.")
    return list(layers[:count])


def _freeze(modules: Iterable[nn.Module]) -> None:
    for module in modules:
        module.requires_grad_(False)
