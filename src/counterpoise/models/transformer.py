"""A transformer encoder: small and from scratch, or any pretrained Hugging Face encoder."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, Range
from counterpoise.errors import Problem, UserError, fail
from counterpoise.models.base import Model, ModelContext, ModelOutput, output_layer, padding_mask

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Which encoder, and how its states become one vector."""

    pretrained: str | None = None
    """A Hugging Face encoder by name or local folder; null trains the small encoder described below from scratch."""
    hidden_size: Annotated[int, AT_LEAST_ONE] = 128
    """Width of a token's state (from scratch only, as are the next four)."""
    layers: Annotated[int, AT_LEAST_ONE] = 2
    """Encoder layers."""
    heads: Annotated[int, AT_LEAST_ONE] = 4
    """Attention heads; they divide the width."""
    feed_forward_size: Annotated[int, AT_LEAST_ONE] = 256
    """Width inside a layer's feed-forward part."""
    convolution: Annotated[int, NON_NEGATIVE] = 5
    """Tokens that each layer's depthwise convolution sees, odd; 0 leaves the convolution out."""
    dropout: Annotated[float, Range(ge=0, lt=1)] = 0.1
    """Probability of zeroing an activation."""
    pooling: Literal["mean", "max", "cls", "mean_max"] = "mean_max"
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


class Transformer(Model):
    """Encoder → pooling over real tokens → dropout → linear."""

    Config: ClassVar[type] = TransformerConfig
    encoding: ClassVar[str] = "tokens"
    family: ClassVar[str] = "transformer"

    def __init__(self, config: TransformerConfig, context: ModelContext) -> None:
        super().__init__()
        self.pooling = config.pooling
        self.encoder: Encoder | PretrainedEncoder = (
            Encoder(config, context) if config.pretrained is None else PretrainedEncoder(config, context)
        )
        width = self.encoder.width * (2 if config.pooling == "mean_max" else 1)
        self.dropout = nn.Dropout(config.dropout)
        self.head = output_layer(width, context)

    def forward(self, ids: Tensor, lengths: Tensor) -> ModelOutput:
        """``ids [B, L]`` and ``lengths [B]`` to logits ``[B, C]``; padding never reaches a logit."""
        mask = padding_mask(lengths, ids.shape[1])
        states = self.encoder(ids, mask)
        return ModelOutput(self.head(self.dropout(pool(states, mask, self.pooling))))


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


class Encoder(nn.Module):
    """Pre-norm layers with rotary positions (Su et al. 2021) and a depthwise convolution in front of each.

    The convolution lets neighbouring tokens meet at once; without it a small encoder needs many more examples before
    attention finds them.
    """

    def __init__(self, config: TransformerConfig, context: ModelContext) -> None:
        super().__init__()
        self.width = config.hidden_size
        self.gradient_checkpointing = config.gradient_checkpointing
        self.embedding = nn.Embedding(
            context.encoding["vocab_size"], config.hidden_size, padding_idx=context.encoding["pad_id"]
        )
        nn.init.normal_(self.embedding.weight, std=0.5)
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(EncoderLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden_size)
        self.head_size = config.hidden_size // config.heads
        _freeze([self.embedding] if config.freeze_embeddings else [])
        _freeze(self.layers[: config.freeze_layers])

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """``ids [B, L]`` and ``mask [B, L]`` to states ``[B, L, D]``."""
        states = self.dropout(self.embedding(ids))
        rotation = rotary_angles(ids.shape[1], self.head_size, ids.device)
        for layer in self.layers:
            if self.gradient_checkpointing and self.training:
                states = checkpoint(layer, states, mask, rotation, use_reentrant=False)
            else:
                states = layer(states, mask, rotation)
        return self.norm(states)  # type: ignore[no-any-return]


class EncoderLayer(nn.Module):
    """Convolution, attention and feed-forward, each behind a norm and beside a residual."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.heads = config.heads
        self.rate = config.dropout
        self.convolution = (
            nn.Conv1d(width, width, config.convolution, padding=config.convolution // 2, groups=width)
            if config.convolution
            else None
        )
        self.attention_norm = nn.LayerNorm(width)
        self.projection = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)
        self.feed_forward_norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, config.feed_forward_size)
        self.contract = nn.Linear(config.feed_forward_size, width)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, states: Tensor, mask: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        """States ``[B, L, D]`` to states ``[B, L, D]``."""
        if self.convolution is not None:
            real = (states * mask[:, :, None]).transpose(1, 2)
            states = states + self.convolution(real).transpose(1, 2)
        states = states + self.dropout(self._attend(self.attention_norm(states), mask, rotation))
        expanded = F.gelu(self.expand(self.feed_forward_norm(states)))
        return states + self.dropout(self.contract(expanded))  # type: ignore[no-any-return]

    def _attend(self, states: Tensor, mask: Tensor, rotation: tuple[Tensor, Tensor]) -> Tensor:
        batch, length, width = states.shape
        split = self.projection(states).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)
        query, key = rotate(query, rotation), rotate(key, rotation)
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
        return self.output(attended.transpose(1, 2).reshape(batch, length, width))  # type: ignore[no-any-return]


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


class PretrainedEncoder(nn.Module):
    """A Hugging Face encoder.

    Raises:
        UserError: if it cannot be found, reads fewer tokens than the encoding gives, or has other token ids.
    """

    def __init__(self, config: TransformerConfig, context: ModelContext) -> None:
        super().__init__()
        assert config.pretrained is not None
        self.backbone = load_backbone(config.pretrained, config.dropout)
        settings = self.backbone.config
        self.width = int(settings.hidden_size)
        _check_fit(settings, context)
        if config.gradient_checkpointing:
            self.backbone.gradient_checkpointing_enable({"use_reentrant": False})
        if config.freeze_embeddings:
            _freeze([self.backbone.get_input_embeddings()])
        if config.freeze_layers:
            _freeze(_encoder_layers(self.backbone, config.freeze_layers))
        if getattr(self.backbone, "pooler", None) is not None:
            self.backbone.pooler = None  # never used here: its parameters would get no gradient

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """``ids [B, L]`` and ``mask [B, L]`` to states ``[B, L, D]``."""
        output = self.backbone(input_ids=ids, attention_mask=mask.long())
        return output.last_hidden_state  # type: ignore[no-any-return]


def load_backbone(name: str, dropout: float) -> Any:
    """A pretrained encoder by name or folder, in float32; code that comes with it is never run."""
    from transformers import AutoConfig, AutoModel  # 1 s; only who fine-tunes pays for it

    try:
        settings = AutoConfig.from_pretrained(name, trust_remote_code=False)
        for field in ("hidden_dropout_prob", "dropout"):
            if hasattr(settings, field):
                setattr(settings, field, dropout)
        return AutoModel.from_pretrained(name, config=settings, trust_remote_code=False, dtype=torch.float32)
    except Exception as error:
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise fail(
            "model.pretrained",
            f"the encoder {name!r} cannot be loaded: {first}",
            "Name a local folder with config.json and model.safetensors, or train from scratch with "
            "model.pretrained=null.",
        ) from error


def _check_fit(settings: Any, context: ModelContext) -> None:
    found = []
    longest = int(getattr(settings, "max_position_embeddings", 0) or 0)
    if getattr(settings, "model_type", "") in ("roberta", "camembert", "xlm-roberta"):
        longest -= 2  # its positions start behind the padding id
    if 0 < longest < context.encoding["max_length"]:
        length = context.encoding["max_length"]
        found.append(Problem("encoding.max_length", f"must be at most {longest} for this encoder, but is {length}."))
    if settings.vocab_size < context.encoding["vocab_size"]:
        message = f"its {context.encoding['vocab_size']} tokens do not fit the encoder's {settings.vocab_size}."
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
