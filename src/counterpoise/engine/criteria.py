"""A user's own criterion as a loss of this package."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.losses import Loss

CONTRACT = (
    "a loss must be a module that takes (logits, labels), returns (total, weight) and has weight(labels): "
    "see counterpoise.losses.Loss"
)


class MeanLoss(Loss):
    """A criterion that returns the mean over its batch, e.g. ``nn.CrossEntropyLoss()`` or ``F.cross_entropy``.

    Its total is the mean times the number of samples, its weight that number; so accumulation, partial groups and
    several processes stay exact. PyTorch's criteria are summed directly.

    Args:
        criterion: takes ``(logits, labels)``; every sample counts alike.

    Raises:
        TypeError: for class weights, whose mean cannot be taken apart again, or a reduction other than the mean.
    """

    def __init__(self, criterion: Callable[[Tensor, Tensor], Tensor]) -> None:
        nn.Module.__init__(self)
        self.register_buffer("class_weights", None, persistent=False)
        reduction = getattr(criterion, "reduction", None)
        if reduction not in (None, "mean"):
            raise TypeError(f"the criterion must return the mean over its batch, but has {reduction=}")
        for name in ("weight", "pos_weight"):
            if getattr(criterion, name, None) is not None:
                raise TypeError(
                    f"{type(criterion).__name__} has {name}: its mean is weighted by what it does not tell. Use "
                    "counterpoise.losses.CrossEntropy with class weights, which returns the sum and the weight."
                )
        self._summed = reduction == "mean"
        self.criterion: Any = criterion
        if self._summed:
            self.criterion = copy.copy(criterion)
            self.criterion.reduction = "sum"

    def forward(self, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """See :meth:`counterpoise.losses.Loss.forward`."""
        value = self.criterion(logits if logits.dtype == torch.float64 else logits.float(), labels)
        if value.ndim:
            raise ValueError(f"the criterion must return a scalar, but returned {list(value.shape)}")
        return value if self._summed else value * len(labels), self.weight(labels)


def as_loss(loss: Any) -> Loss:
    """``loss`` itself if it keeps the contract; a criterion of PyTorch as :class:`MeanLoss`.

    Raises:
        TypeError: for anything else; a function is not guessed at.
    """
    if isinstance(loss, nn.Module) and callable(getattr(loss, "weight", None)):
        return loss  # type: ignore[return-value]
    if isinstance(loss, nn.Module) and hasattr(loss, "reduction"):
        return MeanLoss(loss)
    name = getattr(loss, "__name__", type(loss).__name__)
    raise TypeError(f"{CONTRACT}; {name} does not. If it returns the mean over its batch, give MeanLoss({name}).")
