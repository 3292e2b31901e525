"""IRIS: a few learnable queries retrieve chunks of a document and read them; all else is frozen (Li et al., ACL 2025).

With unit vectors ``e_k`` of the document's chunks, queries ``q_i`` of length 1 and a temperature ``T``::

    s_ik = q_i · e_k                         the k largest of this document's chunks are retrieved, per query
    α_i  = softmax_k(s_ik / T)               over the retrieved ones
    a_i  = Σ_k α_ik e_k
    z    = w · [a_1, ..., a_Q] + b

All that is learnt are the queries and one linear layer. As it is linear in the chunks, every chunk's part in an answer
is known exactly: see :meth:`IRIS.attribute`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, POSITIVE, Range
from counterpoise.errors import fail
from counterpoise.models.base import Attribution, Model, ModelContext, ModelOutput, output_layer, padding_mask

Conditioning = Literal["auto", "none", "concat", "product", "gate"]


@dataclass(frozen=True, kw_only=True)
class IRISConfig:
    """How much is retrieved, and how a criterion takes part."""

    queries: Annotated[int, AT_LEAST_ONE] = 8
    """Learnable queries, Q."""
    retrieved: Annotated[int, AT_LEAST_ONE] = 12
    """Chunks that each query reads, k; all of a document that has no more."""
    temperature: Annotated[float, POSITIVE] = 0.1
    """Of the softmax over the retrieved chunks' cosine similarities."""
    diversity: Annotated[float, NON_NEGATIVE] = 0.1
    """Weight in the loss of the queries' mean squared cosine similarity with each other."""
    conditioning: Conditioning = "auto"
    """What becomes of a record's criterion: nothing, an input of the head beside what was read (concat), times what was
    read and beside it (product), or a part of the queries and times what was read (gate). auto: product where records
    have one, else none."""
    dropout: Annotated[float, Range(ge=0, lt=1)] = 0.0
    """Probability of zeroing a number that the head reads."""


class _Read(NamedTuple):
    """What the queries found in a batch."""

    attention: Tensor
    """Weights ``[B, Q, L]``, zero for what was not retrieved."""
    heard: Tensor
    """``a_i``, ``[B, Q, D]``."""


class IRIS(Model):
    """Queries → retrieval within each document → attention → linear.

    Chunks must be unit vectors, as :class:`counterpoise.data.encode.embeddings.Embeddings` gives them.
    """

    Config: ClassVar[type] = IRISConfig
    encoding: ClassVar[str] = "embeddings"
    family: ClassVar[str] = "iris"

    def __init__(self, config: IRISConfig, context: ModelContext) -> None:
        super().__init__()
        size, asked = int(context.encoding["size"]), bool(context.encoding["criteria"])
        self.config = config
        self.conditioning = _settled(config.conditioning, asked)
        self.retrieval = Retrieval(config, size, self.conditioning)
        self.dropout = nn.Dropout(config.dropout)
        beside = 1 if self.conditioning in ("concat", "product") else 0
        self.head = decision((config.queries + beside) * size, context)

    def forward(self, chunks: Tensor, lengths: Tensor, criterion: Tensor | None = None) -> ModelOutput:
        """Logits, the diversity penalty and the attention over chunks ``[B, Q, L]``.

        Args:
            chunks: unit vectors ``[B, L, D]``; what is behind a document's length is never read.
            lengths: chunks per document, ``[B]``.
            criterion: unit vectors ``[B, D]``; may be left out where they take no part.
        """
        # The similarities are divided by the temperature: in half precision their error would be as large as the
        # differences that decide what is retrieved. There is little to multiply in any case.
        with torch.autocast(chunks.device.type, enabled=False):
            attention, heard = self._read(chunks, lengths, criterion)
            if (factor := self._factor(criterion)) is not None:
                heard = heard * factor[:, None]
            features = heard.flatten(1)
            if (beside := self._beside(criterion)) is not None:
                features = torch.cat([features, beside], dim=1)
            logits = both_sides(self.head(self.dropout(features)))
            penalty = self.config.diversity * self.retrieval.similarity()
        return ModelOutput(logits, penalty, attention)

    @torch.no_grad()
    def attribute(self, chunks: Tensor, lengths: Tensor, criterion: Tensor | None = None) -> Attribution:
        """What each query adds to each logit by each chunk in evaluation mode; arguments as for :meth:`forward`."""
        with torch.autocast(chunks.device.type, enabled=False):
            attention, heard = self._read(chunks, lengths, criterion)
            _, queries, size = heard.shape
            read = self.head.weight[:, : queries * size].view(-1, queries, size)
            factor = self._factor(criterion)
            weights = read[None].expand(len(chunks), -1, -1, -1)
            if factor is not None:
                weights = weights * factor[:, None, None]
            parts = torch.einsum("bql,boql->bqlo", attention, torch.einsum("boqd,bld->boql", weights, chunks))
            rest = self.head.bias.expand(len(chunks), -1)
            if (beside := self._beside(criterion)) is not None:
                rest = rest + beside @ self.head.weight[:, queries * size :].T
        return Attribution(attention, both_sides(parts), both_sides(rest))

    def _read(self, chunks: Tensor, lengths: Tensor, criterion: Tensor | None) -> _Read:
        if self.conditioning != "none" and criterion is None:
            raise ValueError(f"conditioning={self.conditioning} needs the criterion of every record")
        attention = self.retrieval(chunks, lengths, criterion)
        return _Read(attention, attention @ chunks)

    def _factor(self, criterion: Tensor | None) -> Tensor | None:
        """What is read is multiplied by it, ``[B, D]``. Numbers of a unit vector are about ``1 / √D``: scaled to 1, a
        product of two has the size of one."""
        if self.conditioning not in ("product", "gate"):
            return None
        assert criterion is not None
        return criterion * math.sqrt(criterion.shape[1])

    def _beside(self, criterion: Tensor | None) -> Tensor | None:
        """What the head reads beside it, ``[B, D]``."""
        return criterion if self.conditioning in ("concat", "product") else None


class Retrieval(nn.Module):
    """The queries, and which chunks of a document each of them attends to."""

    def __init__(self, config: IRISConfig, size: int, conditioning: Conditioning) -> None:
        super().__init__()
        self.retrieved = config.retrieved
        self.temperature = config.temperature
        self.queries = nn.Parameter(F.normalize(torch.randn(config.queries, size), dim=1))
        self.gate = nn.Parameter(torch.ones(size)) if conditioning == "gate" else None

    def forward(self, chunks: Tensor, lengths: Tensor, criterion: Tensor | None) -> Tensor:
        """Attention ``[B, Q, L]`` over each document's own chunks; one and the same query retrieves and attends."""
        scores = self._scores(chunks, criterion)
        kept = padding_mask(lengths, chunks.shape[1])[:, None].expand_as(scores)
        if chunks.shape[1] > self.retrieved:
            best = scores.detach().masked_fill(~kept, float("-inf")).topk(self.retrieved, dim=2).indices
            kept = kept & torch.zeros_like(kept).scatter(2, best, True)
        return (scores / self.temperature).masked_fill(~kept, float("-inf")).softmax(dim=2)

    def _scores(self, chunks: Tensor, criterion: Tensor | None) -> Tensor:
        """Cosine similarity of every query with every chunk, ``[B, Q, L]``.

        That of a query with a criterion in it is taken apart, ``(q + gc) · e / ‖q + gc‖``: the queries of all samples,
        ``[B, Q, D]``, are then never made.
        """
        queries = self.directions()
        scores = F.linear(chunks, queries)
        if self.gate is not None:
            assert criterion is not None
            shift = self.gate * criterion
            scores = scores + (chunks @ shift[:, :, None])
            lengths = (1 + 2 * F.linear(shift, queries) + shift.square().sum(1, keepdim=True)).clamp(min=1e-12).sqrt()
            scores = scores / lengths[:, None]
        return scores.transpose(1, 2)

    def directions(self) -> Tensor:
        """The queries at length 1, ``[Q, D]``, without a criterion."""
        return F.normalize(self.queries, dim=1)

    def similarity(self) -> Tensor:
        """Mean squared cosine similarity of two different queries, a scalar; 0 for a single one."""
        queries = self.directions()
        count = len(queries)
        others = (queries @ queries.T).square().sum() - count  # each with itself is 1
        return others / max(count * (count - 1), 1)


def _settled(asked: Conditioning, criteria: bool) -> Conditioning:
    if asked == "auto":
        return "product" if criteria else "none"
    if asked != "none" and not criteria:
        what = f"is {asked}, but the records of these data have no criterion."
        raise fail("model.conditioning", what, "Use model.conditioning=auto, or name data.criterion_column.")
    return asked


def decision(width: int, context: ModelContext) -> nn.Linear:
    """The last layer: one output for two classes, the log odds of the second, else one per class.

    Its bias starts at the log prior, as that of :func:`output_layer` does.
    """
    layer = output_layer(width, context)
    if context.n_classes != 2:
        return layer
    single = nn.Linear(width, 1)
    with torch.no_grad():
        single.weight.copy_(layer.weight[1:] - layer.weight[:1])
        single.bias.copy_(layer.bias[1:] - layer.bias[:1])
    return single


def both_sides(answers: Tensor) -> Tensor:
    """Log odds ``[..., 1]`` as two logits ``[..., 2]`` that differ by them; anything else as it is."""
    return torch.cat([-answers / 2, answers / 2], dim=-1) if answers.shape[-1] == 1 else answers
