"""Losses that return a sum and a weight, so that accumulated and distributed updates are exact.

One update is the gradient of ``sum_i w_i l_i / sum_i w_i`` over all samples of its group. A loss therefore returns
``(total, weight)`` for its micro-batch, and the loop divides the total by the weight of the whole group, which it
knows before the first forward pass: :meth:`Loss.weight` needs the labels only.

Binary models give two logits; binary losses use their difference, the log odds of class 1.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from counterpoise.balance import focal_alpha, pos_weight
from counterpoise.config.schema import NON_NEGATIVE, POSITIVE, Range
from counterpoise.errors import Problem, fail


@dataclass(frozen=True, eq=False)
class LossContext:
    """What a loss may know of the training split."""

    class_counts: NDArray[np.int64]
    """Training samples per class, ``[C]``."""
    classes: tuple[str, ...]
    """Class names, C of them."""
    class_weights: NDArray[np.float32] | None = None
    """Weight per class from the balance, ``[C]``."""


class Loss(nn.Module, ABC):
    """The base of all losses. A subclass sets ``Config`` and is built from ``(config, context)``.

    Class weights, where the context has them, act as sample weights: a sample of class c counts ``w_c`` times, in
    the total and in the weight.
    """

    Config: ClassVar[type]

    corrections: tuple[str, ...] = ()
    """The corrections of class imbalance that this loss itself applies; class weights are the balance's."""
    class_weights: Tensor | None
    """Weight per class ``[C]`` in float32; a buffer, so that it follows ``.to(device)``, but in no checkpoint."""

    def __init__(self, config: Any, context: LossContext) -> None:
        super().__init__()
        self.config = config
        self.n_classes = len(context.classes)
        weights = context.class_weights
        if weights is not None and len(weights) != self.n_classes:
            raise ValueError(f"{len(weights)} class weights for {self.n_classes} classes")
        tensor = None if weights is None else torch.tensor(weights, dtype=torch.float32)
        self.register_buffer("class_weights", tensor, persistent=False)

    def weight(self, labels: Tensor) -> Tensor:
        """The weight sum of these labels ``[B]``, a scalar: their number, or the sum of their class weights.

        The sum is taken in float64 where the device has it, so that it does not depend on how a group is cut.
        """
        exact = torch.float32 if labels.device.type == "mps" else torch.float64
        if self.class_weights is None:
            return torch.full((), len(labels), dtype=exact, device=labels.device)
        return self.class_weights[labels].sum(dtype=exact)

    @abstractmethod
    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """``(total, weight)``: the sum of the weighted losses, and ``weight(labels)``.

        Args:
            logits: ``[B, C]`` of any floating type; half precision is raised to float32 first.
            labels: class indices, int64 ``[B]``.

        Raises:
            ValueError: if the logits do not have one column per class.
        """

    def _checked(self, logits: Tensor) -> Tensor:
        if logits.ndim != 2 or logits.shape[1] != self.n_classes:
            raise ValueError(f"expected logits [B, {self.n_classes}], got {list(logits.shape)}")
        return logits if logits.dtype in (torch.float32, torch.float64) else logits.float()

    def _weighted_sum(self, losses: Tensor, labels: Tensor) -> Tensor:
        """The sum over samples ``[B]``, each times the weight of its class."""
        if self.class_weights is None:
            return losses.sum()
        return (losses * self.class_weights.to(losses.dtype)[labels]).sum()


@dataclass(frozen=True, kw_only=True)
class CrossEntropyConfig:
    """Softmax cross entropy for any number of classes."""

    label_smoothing: Annotated[float, Range(ge=0, lt=1)] = 0.05
    """Share of the target spread evenly over all classes."""


class CrossEntropy(Loss):
    """``total / weight`` is ``torch.nn.functional.cross_entropy`` with these class weights and this smoothing."""

    Config = CrossEntropyConfig
    config: CrossEntropyConfig

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Loss.forward`. What smoothing gives to a class is weighted as that class, as PyTorch does."""
        logits = self._checked(logits)
        weights = None if self.class_weights is None else self.class_weights.to(logits.dtype)
        smoothing = self.config.label_smoothing
        total = F.cross_entropy(logits, labels, weights, label_smoothing=smoothing, reduction="sum")
        return total, self.weight(labels)


@dataclass(frozen=True, kw_only=True)
class FocalConfig:
    """Focal loss (Lin et al. 2017): samples that are already right count less."""

    gamma: Annotated[float, NON_NEGATIVE] = 2.0
    """How fast the loss of an easy sample fades; 0 is cross entropy."""
    alpha: Literal["auto", "inverse_frequency", "positive_frequency"] | float | None = "auto"
    """Weight of class 1 of two, 1 - alpha being that of class 0. ``auto`` is ``inverse_frequency``, the share of
    negatives; ``positive_frequency`` squares the imbalance; null for none. With more than two classes ``auto``
    means none: the class weights of the balance take its place."""

    def problems(self) -> Iterator[Problem]:
        """A number must be a share of the weight that leaves some to either class; gamma must be finite."""
        if isinstance(self.alpha, float) and not 0 < self.alpha < 1:
            yield Problem("alpha", f"must be > 0 and < 1, but is {self.alpha}.")
        if not math.isfinite(self.gamma):
            yield Problem("gamma", f"must be finite, but is {self.gamma}.")


class Focal(Loss):
    """``-alpha_t (1 - p_t)^gamma log p_t``; the weight is the number of samples, or the sum of class weights.

    Two classes: alpha multiplies class 1, 1 - alpha class 0; on two logits the softmax is the sigmoid of their
    difference. More classes: softmax focal, with the class weights if there are any.

    Raises:
        UserError: for an alpha with more than two classes.
    """

    Config = FocalConfig
    config: FocalConfig
    alpha: Tensor | None
    """``[1 - alpha, alpha]``, a buffer."""

    def __init__(self, config: FocalConfig, context: LossContext) -> None:
        super().__init__(config, context)
        alpha = _alpha(config, context)
        pair = None if alpha is None else torch.tensor([1 - alpha, alpha], dtype=torch.float32)
        self.register_buffer("alpha", pair, persistent=False)
        self.corrections = () if alpha in (None, 0.5) else ("focal alpha",)

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Loss.forward`."""
        log_p = F.log_softmax(self._checked(logits), dim=1)
        target = labels.unsqueeze(1)
        log_pt = log_p.gather(1, target).squeeze(1)
        # log(1 - p_t) as the sum of the other classes: exact where 1 - p_t rounds to 0, and its gradient stays
        # finite there for every gamma, which that of (1 - p_t)^gamma does not for gamma < 1.
        log_rest = log_p.scatter(1, target, -torch.inf).logsumexp(dim=1)
        losses = -(self.config.gamma * log_rest).exp() * log_pt
        if self.alpha is not None:
            losses = losses * self.alpha.to(losses.dtype)[labels]
        return self._weighted_sum(losses, labels), self.weight(labels)


def _alpha(config: FocalConfig, context: LossContext) -> float | None:
    how = config.alpha
    if how is None or (how == "auto" and len(context.classes) != 2):
        return None
    if len(context.classes) != 2:
        raise fail(
            "loss.alpha",
            f"{how!r} is a weight between two classes, but the data has {_listed(context.classes)}.",
            "Use loss.alpha=null with balance.class_weights=inverse_frequency.",
        )
    return focal_alpha(context.class_counts, "inverse_frequency" if how == "auto" else how, context.classes)


@dataclass(frozen=True, kw_only=True)
class BCEConfig:
    """Binary cross entropy on the difference of the two logits."""

    label_smoothing: Annotated[float, Range(ge=0, lt=1)] = 0.0
    """Share of the target spread evenly over both classes."""


class BCE(Loss):
    """``total / weight`` is the mean ``binary_cross_entropy_with_logits`` of ``logits[:, 1] - logits[:, 0]``.

    Raises:
        UserError: if there are not two classes.
    """

    Config = BCEConfig
    config: BCEConfig

    def __init__(self, config: BCEConfig, context: LossContext) -> None:
        _require_binary("bce", context)
        super().__init__(config, context)

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Loss.forward`."""
        odds = _log_odds(self._checked(logits))
        smoothing = self.config.label_smoothing
        target = labels.to(odds.dtype) * (1 - smoothing) + smoothing / 2
        losses = F.binary_cross_entropy_with_logits(odds, target, reduction="none")
        return self._weighted_sum(losses, labels), self.weight(labels)


@dataclass(frozen=True, kw_only=True)
class WeightedBCEConfig:
    """Binary cross entropy whose positive samples weigh more (or less)."""

    pos_weight: Annotated[Literal["auto"] | float, POSITIVE] = "auto"
    """Weight of class 1 against class 0; ``auto`` is negatives per positive in the training split."""

    def problems(self) -> Iterator[Problem]:
        """The weight must be finite."""
        if isinstance(self.pos_weight, float) and not math.isfinite(self.pos_weight):
            yield Problem("pos_weight", f"must be finite, but is {self.pos_weight}.")


class WeightedBCE(Loss):
    """``total / weight`` is the mean ``binary_cross_entropy_with_logits`` with ``pos_weight``.

    Raises:
        UserError: if there are not two classes, or ``auto`` meets a class without samples.
    """

    Config = WeightedBCEConfig
    config: WeightedBCEConfig
    pos_weight: Tensor

    def __init__(self, config: WeightedBCEConfig, context: LossContext) -> None:
        _require_binary("weighted_bce", context)
        super().__init__(config, context)
        auto = config.pos_weight == "auto"
        value = pos_weight(context.class_counts, context.classes) if auto else config.pos_weight
        self.register_buffer("pos_weight", torch.tensor(value, dtype=torch.float32), persistent=False)
        self.corrections = () if value == 1 else ("pos_weight",)

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`Loss.forward`."""
        odds = _log_odds(self._checked(logits))
        positive = self.pos_weight.to(odds.dtype)
        losses = F.binary_cross_entropy_with_logits(odds, labels.to(odds.dtype), pos_weight=positive, reduction="none")
        return self._weighted_sum(losses, labels), self.weight(labels)


def _log_odds(logits: Tensor) -> Tensor:
    """``[B, 2]`` to ``[B]``."""
    return logits[:, 1] - logits[:, 0]


def _require_binary(name: str, context: LossContext) -> None:
    if len(context.classes) != 2:
        raise fail(
            "loss",
            f"{name} needs two classes, but the data has {_listed(context.classes)}.",
            "Use loss=cross_entropy or loss=focal.",
        )


def _listed(classes: tuple[str, ...]) -> str:
    shown = ", ".join(classes[:5]) + (", ..." if len(classes) > 5 else "")
    return f"{len(classes)} ({shown})"
