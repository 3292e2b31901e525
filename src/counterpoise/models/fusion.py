"""Fusion of a model that reads tokens and one that reads graphs, from earlier runs or from scratch.

The logits are the mean of the branches' log-probabilities plus a correction by the fusion layer, which starts near
zero: training begins at what the branches know together, and learns where they are wrong. Branches that are only read
can be replaced by their features, which are computed once (see :meth:`Fusion.branch_features`).
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from counterpoise.config.schema import AT_LEAST_ONE, Range
from counterpoise.errors import Problem, UserError, fail
from counterpoise.models.base import FRESH, Backbone, Model, ModelContext, ModelOutput
from counterpoise.models.encoder import attention
from counterpoise.models.gnn import GNN, GNNConfig
from counterpoise.models.transformer import Transformer, TransformerConfig

TEXT, GRAPH = "transformer", "gnn"
"""The branches, in order."""


@dataclass(frozen=True, kw_only=True)
class FusionConfig:
    """Where the branches come from, how they are joined, and what is trained."""

    transformer: str | None = FRESH
    """Folder of a finished run of a model that reads tokens; fresh trains ``fresh_transformer`` from scratch; null, in
    a preset, asks for one of them."""
    gnn: str | None = FRESH
    """Folder of a finished run of a model that reads graphs, likewise."""
    mode: Literal["frozen", "discriminative", "staged"] = "discriminative"
    """frozen trains the fusion layer alone, on features that are computed once; discriminative everything, each part at
    its own rate (optimizer.lr_factors); staged the one, then the other."""
    stage_epochs: Annotated[int, AT_LEAST_ONE] = 3
    """Epochs of the first stage (mode=staged only)."""
    layer: Literal["concat", "gated", "cross_attention"] = "concat"
    """concat reads both vectors, gated weighs them against each other, feature by feature, cross_attention lets tokens
    and nodes look at each other."""
    start: Literal["branches", "prior"] = "branches"
    """Answer before the first update: the branches' own, or the class shares."""
    hidden_size: Annotated[int, AT_LEAST_ONE] = 128
    """Width of the fusion layer."""
    heads: Annotated[int, AT_LEAST_ONE] = 4
    """Attention heads; they divide the width (layer=cross_attention only, as is the next)."""
    max_states: Annotated[int, AT_LEAST_ONE] = 64
    """Tokens or nodes that the fusion layer sees of a sample; of more, equal stretches are averaged."""
    dropout: Annotated[float, Range(ge=0, lt=1)] = 0.1
    """Probability of zeroing a feature of the fusion layer."""
    fresh_transformer: TransformerConfig = field(default_factory=TransformerConfig)
    """The text branch, where it comes from no run."""
    fresh_gnn: GNNConfig = field(default_factory=GNNConfig)
    """The graph branch, where it comes from no run."""

    @property
    def states_read(self) -> int:
        """Longest sequence of states that the layer reads; 0 where it reads none."""
        return self.max_states if self.layer == "cross_attention" else 0

    def problems(self) -> Iterable[Problem]:
        """Relations between the fields."""
        if self.layer == "cross_attention" and self.hidden_size % self.heads:
            yield Problem("heads", f"must divide hidden_size={self.hidden_size}, but is {self.heads}.")
        for name in (TEXT, GRAPH):
            if getattr(self, name) is None:
                message = f"must be given: the folder of a finished run, or {FRESH}."
                yield Problem(name, message, f"Add model.{name}=outputs/... to the command.")
            if getattr(self, name) == FRESH and self.mode != "discriminative":
                message = f"must be the folder of a finished run with mode={self.mode}, but is {FRESH!r}."
                yield Problem(name, message, "A frozen branch learns nothing; mode=discriminative trains it.")


FRESH_BRANCHES: Mapping[str, type[Backbone]] = {TEXT: Transformer, GRAPH: GNN}
"""What a branch is made of from scratch, by name; its config is the field ``fresh_<name>``."""


class BranchFeatures(NamedTuple):
    """What the fusion layer sees of one branch."""

    pooled: Tensor
    """``[B, F]``."""
    logits: Tensor
    """The branch's own answer, ``[B, C]``."""
    states: Tensor | None = None
    """``[B, L, D]``, where the layer reads them; ``L`` is ``max_states`` at most."""
    lengths: Tensor | None = None
    """With them: real positions, ``[B]``."""


class Fusion(Model):
    """Two branches and the layer that joins them.

    Raises:
        UserError: if a branch cannot give what the layer reads.
    """

    Config: ClassVar[type] = FusionConfig
    encoding: ClassVar[str] = "tokens+graphs"
    family: ClassVar[str] = "fusion"
    branches: ClassVar[Mapping[str, str]] = {TEXT: "tokens", GRAPH: "graphs"}

    @classmethod
    def frozen_epochs(cls, config: FusionConfig) -> float:
        """All of them, the first stage's, or none."""
        return {"frozen": math.inf, "staged": config.stage_epochs, "discriminative": 0}[config.mode]

    def __init__(self, config: FusionConfig, context: ModelContext) -> None:
        super().__init__()
        self.states_read = config.states_read
        self.frozen = config.mode == "frozen"
        self.transformer = _branch(TEXT, config, context)
        self.gnn = _branch(GRAPH, config, context)
        self.fusion: nn.Module = LAYERS[config.layer](config, (self.transformer, self.gnn), context)
        known = tuple(name for name in self.branches if getattr(config, name) != FRESH)
        self._answering = (known or tuple(self.branches)) if config.start == "branches" else ()
        for name in self.branches:
            if self.frozen:
                getattr(self, name).requires_grad_(False)
            elif name not in self._answering:
                getattr(self, name).head.requires_grad_(False)  # its answer is not asked for
        self.train()

    def train(self, mode: bool = True) -> Fusion:
        """As ever, but frozen branches stay in evaluation mode."""
        super().train(mode)
        if self.frozen:
            self.transformer.eval()
            self.gnn.eval()
        return self

    def branch_features(self, name: str, inputs: Mapping[str, Tensor]) -> BranchFeatures:
        """What :meth:`forward` needs of a branch for these inputs of its encoding."""
        return branch_features(getattr(self, name), inputs, self.states_read)

    def forward(self, **inputs: Tensor) -> ModelOutput:
        """The inputs of both encodings, or the features of both branches as :func:`named` names them, to logits."""
        text, graph = (
            _unnamed(name, inputs) if f"{name}_pooled" in inputs else self.branch_features(name, inputs)
            for name in (TEXT, GRAPH)
        )
        logits = self.fusion(text, graph)
        answers = {TEXT: text.logits, GRAPH: graph.logits}
        for name in self._answering:
            logits = logits + answers[name].log_softmax(1) / len(self._answering)
        return ModelOutput(logits)


def _branch(name: str, config: FusionConfig, context: ModelContext) -> Backbone:
    if getattr(config, name) != FRESH:
        return copy.deepcopy(context.branches[name])
    kind = Fusion.branches[name]
    own = ModelContext(context.class_shares, context.encoding[kind])
    try:
        return FRESH_BRANCHES[name](getattr(config, f"fresh_{name}"), own)
    except UserError as error:  # it knows its fields by the names that they have where it stands alone
        places = {"model": f"model.fresh_{name}", "encoding": f"encoding.{kind}"}
        raise UserError(_placed(problem, places) for problem in error.problems) from error


def _placed(problem: Problem, places: Mapping[str, str]) -> Problem:
    """The same problem with the keys that its fields have within the fusion's config."""
    section, dot, key = problem.where.partition(".")
    where = f"{places.get(section, section)}{dot}{key}"
    return replace(problem, where=where, remedy=problem.remedy.replace("model.", f"{places['model']}."))


def branch_features(branch: Backbone, inputs: Mapping[str, Tensor], max_states: int) -> BranchFeatures:
    """The features of a branch.

    Args:
        branch: in evaluation or training mode.
        inputs: those of its encoding; others beside them do no harm.
        max_states: longest sequence of states; 0 for none.

    Raises:
        UserError: if there are to be states, and the branch gives none.
    """
    found = branch.features(inputs, states=max_states > 0)
    logits = branch.head(branch.dropout(found.pooled))
    if not max_states:
        return BranchFeatures(found.pooled, logits)
    if found.states is None or found.mask is None:
        what = f"cross_attention reads single states, but {type(branch).__name__} gives none."
        raise fail("model.layer", what, "Use model.layer=gated or model.layer=concat.")
    states, lengths = stretches(found.states, found.mask.sum(1), max_states)
    return BranchFeatures(found.pooled, logits, states, lengths)


def named(branch: str, features: BranchFeatures) -> dict[str, Tensor]:
    """Features as a batch holds them: ``<branch>_pooled``, ``<branch>_logits`` and so on."""
    return {f"{branch}_{name}": value for name, value in features._asdict().items() if value is not None}


def _unnamed(branch: str, inputs: Mapping[str, Tensor]) -> BranchFeatures:
    return BranchFeatures(*(inputs.get(f"{branch}_{name}") for name in BranchFeatures._fields))  # type: ignore[arg-type]


def stretches(states: Tensor, lengths: Tensor, most: int) -> tuple[Tensor, Tensor]:
    """Sequences of at most ``most`` states: of longer ones, that many equal stretches are averaged.

    Args:
        states: ``[B, L, D]``, the real ones first.
        lengths: how many are real, ``[B]``.
        most: longest sequence.

    Returns:
        states ``[B, min(L, most), D]``, zero behind the real ones, and their lengths ``[B]``.
    """
    width = states.shape[1]
    place = torch.arange(width, device=states.device)
    stretch = torch.where(lengths[:, None] > most, place * most // lengths[:, None].clamp(min=1), place)
    real = place < lengths[:, None]
    # As a matrix product: its gradient adds in a fixed order, which that of a scatter does not on CUDA.
    members = (stretch[:, None, :] == place[: min(width, most), None]) & real[:, None, :]
    shares = members.to(states.dtype) / members.sum(2, keepdim=True).clamp(min=1)
    return shares @ states, lengths.clamp(max=most)


class Concat(nn.Module):
    """Both vectors, normalised, through a hidden layer."""

    def __init__(self, config: FusionConfig, branches: tuple[Backbone, Backbone], context: ModelContext) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(branch.feature_size) for branch in branches)
        self.hidden = nn.Linear(sum(branch.feature_size for branch in branches), config.hidden_size)
        self.dropout = nn.Dropout(config.dropout)
        self.output = _correction(config.hidden_size, config, context)

    def forward(self, text: BranchFeatures, graph: BranchFeatures) -> Tensor:
        """To logits ``[B, C]``."""
        both = torch.cat([norm(one.pooled) for norm, one in zip(self.norms, (text, graph), strict=True)], dim=1)
        hidden = nn.functional.gelu(self.hidden(self.dropout(both)))
        return self.output(self.dropout(hidden))  # type: ignore[no-any-return]


class Gated(nn.Module):
    """A gate per feature decides between the two, both seen (Arevalo et al. 2017, gated multimodal units)."""

    def __init__(self, config: FusionConfig, branches: tuple[Backbone, Backbone], context: ModelContext) -> None:
        super().__init__()
        width = config.hidden_size
        self.norms = nn.ModuleList(nn.LayerNorm(branch.feature_size) for branch in branches)
        self.projections = nn.ModuleList(nn.Linear(branch.feature_size, width) for branch in branches)
        self.gate = nn.Linear(sum(branch.feature_size for branch in branches), width)
        self.dropout = nn.Dropout(config.dropout)
        self.output = _correction(width, config, context)

    def forward(self, text: BranchFeatures, graph: BranchFeatures) -> Tensor:
        """To logits ``[B, C]``."""
        seen = [self.dropout(norm(one.pooled)) for norm, one in zip(self.norms, (text, graph), strict=True)]
        first, second = (torch.tanh(project(one)) for project, one in zip(self.projections, seen, strict=True))
        gate = torch.sigmoid(self.gate(torch.cat(seen, dim=1)))
        return self.output(self.dropout(gate * first + (1 - gate) * second))  # type: ignore[no-any-return]


class CrossAttention(nn.Module):
    """Tokens look at nodes and nodes at tokens; the means of both sides are classified."""

    def __init__(self, config: FusionConfig, branches: tuple[Backbone, Backbone], context: ModelContext) -> None:
        super().__init__()
        width = config.hidden_size
        self.norms = nn.ModuleList(nn.LayerNorm(branch.state_size) for branch in branches)
        self.projections = nn.ModuleList(nn.Linear(branch.state_size, width) for branch in branches)
        self.looks = nn.ModuleList(Look(width, config.heads) for _ in branches)
        self.dropout = nn.Dropout(config.dropout)
        self.output = _correction(2 * width, config, context)

    def forward(self, text: BranchFeatures, graph: BranchFeatures) -> Tensor:
        """To logits ``[B, C]``."""
        sides, masks = [], []
        for norm, project, one in zip(self.norms, self.projections, (text, graph), strict=True):
            assert one.states is not None
            assert one.lengths is not None
            states, mask = _at_least_one(one.states, one.lengths)
            sides.append(project(self.dropout(norm(states))))
            masks.append(mask)
        seen = [self.looks[0](sides[0], sides[1], masks[1]), self.looks[1](sides[1], sides[0], masks[0])]
        means = [_mean(states, mask) for states, mask in zip(seen, masks, strict=True)]
        return self.output(self.dropout(torch.cat(means, dim=1)))  # type: ignore[no-any-return]


class Look(nn.Module):
    """Multi-head attention from one sequence to another, beside a residual (Vaswani et al. 2017)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width)

    def forward(self, states: Tensor, others: Tensor, mask: Tensor) -> Tensor:
        """``states [B, L, D]`` after a look at ``others [B, M, D]`` where ``mask [B, M]`` is true."""
        query = self._split(self.query(states))
        key, value = (self._split(part) for part in self.key_value(others).chunk(2, dim=-1))
        found = attention(query, key, value, mask).transpose(1, 2).reshape(states.shape)
        return self.norm(states + self.output(found))  # type: ignore[no-any-return]

    def _split(self, states: Tensor) -> Tensor:
        batch, length, width = states.shape
        return states.view(batch, length, self.heads, width // self.heads).transpose(1, 2)


LAYERS: Mapping[str, Any] = {"concat": Concat, "gated": Gated, "cross_attention": CrossAttention}


def _at_least_one(states: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
    """States with a mask ``[B, L]`` that leaves every sample one position, zero where it has none: an empty graph."""
    if not states.shape[1]:
        states = states.new_zeros(len(states), 1, states.shape[2])
    mask = torch.arange(states.shape[1], device=states.device) < lengths.clamp(min=1)[:, None]
    return states, mask


def _mean(states: Tensor, mask: Tensor) -> Tensor:
    weights = mask.to(states.dtype)[:, :, None]
    return (states * weights).sum(1) / weights.sum(1)


def _correction(width: int, config: FusionConfig, context: ModelContext) -> nn.Linear:
    """The last layer: next to nothing at first, or the log prior where the branches' answers are not asked for."""
    layer = nn.Linear(width, context.n_classes)
    nn.init.normal_(layer.weight, std=0.002)
    prior = torch.tensor(context.class_shares).log()
    with torch.no_grad():
        layer.bias.copy_(prior if config.start == "prior" else torch.zeros_like(prior))
    return layer
