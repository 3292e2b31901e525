"""What guards want to know of every update, counted on the device and read only when an update is logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from counterpoise.engine.precision import exact_dtype

SINGLE, BROKEN, ROW, LONGEST = -4, -3, -2, -1
"""What the last four counts are: groups of one label, non-finite updates, their present row, their longest row."""
TOTAL, WEIGHT, LARGEST = range(3)
"""What the figures are: sums of losses and of weights, and the largest gradient norm, negative where there was none."""


@dataclass(frozen=True)
class Reading:
    """Counts since the last reading; the fields are those of :class:`counterpoise.events.UpdateEvent`."""

    mean_loss: float
    predicted: tuple[int, ...]
    actual: tuple[int, ...]
    separation: tuple[float, ...]
    one_label: int
    non_finite: int
    non_finite_in_a_row: int
    largest_grad_norm: float


SAME_LOG_ODDS = 1e-3
"""Probabilities whose log odds differ by less than this count as equal: such differences are rounding, no ranking."""
FARTHEST = 10.0
"""Largest separation that is reported: for a class that is separated without error it would be infinite."""


class Watch:
    """Counts losses, predictions, labels and broken figures without ever waiting for the device.

    ``begin``, ``batch`` for every micro-batch, then ``update``; ``read`` alone copies to the host.
    """

    def __init__(self) -> None:
        self._group: Tensor | None = None
        """Of the group at hand, ``[2 · C + 1]``: predictions by class, labels that are ignored, labels by class."""
        self._counts: Tensor | None = None
        """The same over all groups since the last reading, then the four counts of above, ``[2 · C + 5]``."""
        self._figures: Tensor | None = None
        """Since the last reading, as above, ``[3]``."""
        self._group_moments: Tensor | None = None
        """Of the group at hand, ``[3, C]``: by class the sum of its probability, of its square, and of its probability
        for its own samples."""
        self._moments: Tensor | None = None
        """The same over all groups since the last reading."""

    def begin(self) -> None:
        """A group of micro-batches begins, or begins anew."""
        if self._group is not None and self._group_moments is not None:
            self._group.zero_()
            self._group_moments.zero_()

    def batch(self, logits: Tensor, labels: Tensor) -> None:
        """Count a micro-batch: ``logits [B, C]``, ``labels [B]``; a negative label is one to ignore."""
        classes = logits.shape[1]
        if self._group is None or self._group_moments is None:
            self._group = torch.zeros(2 * classes + 1, dtype=torch.int64, device=logits.device)
            self._group_moments = torch.zeros(3, classes, dtype=exact_dtype(logits.device), device=logits.device)
        where = torch.cat((logits.detach().argmax(1), labels.clamp(min=-1) + (classes + 1)))
        self._group.scatter_add_(0, where, torch.ones_like(where))
        self._group_moments += _moments(logits.detach(), labels, self._group_moments.dtype)

    def update(self, total: Tensor, weight: Tensor, norm: Tensor, *, scaled: bool) -> None:
        """Count an update by scalars on the device.

        Args:
            total: sum of the group's weighted losses.
            weight: sum of their weights.
            norm: of the gradient, before clipping.
            scaled: whether a gradient scaler looks after infinite gradients: they are its search for a scale then.
        """
        assert self._group is not None
        assert self._group_moments is not None
        counts, figures, moments = self._on(self._group, total, self._group_moments)
        counts[:-4] += self._group
        moments += self._group_moments
        classes = len(self._group) // 2
        single = self._group[classes + 1 :].count_nonzero() == 1
        finite = (total if scaled else total + norm).isfinite()
        row = (counts[ROW] + 1) * finite.logical_not()
        counts[-4:] += torch.stack(
            (single, finite.logical_not(), row - counts[ROW], (row - counts[LONGEST]).clamp(min=0))
        )
        figures[:2] += torch.where(finite, torch.stack((total, weight)), 0.0)
        torch.fmax(figures[LARGEST], norm.detach().to(figures.dtype), out=figures[LARGEST])

    def _on(self, counts: Tensor, figures: Tensor, moments: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Counts, figures and moments on the device of these; a checkpoint leaves them on the host."""
        if self._counts is None or self._figures is None or self._moments is None:
            self._counts = torch.zeros(len(counts) + 4, dtype=torch.int64)
            self._figures = torch.tensor([0.0, 0.0, -1.0], dtype=figures.dtype)
            self._moments = torch.zeros_like(moments, device="cpu")
        if self._counts.device != counts.device:
            self._counts, self._figures = self._counts.to(counts.device), self._figures.to(counts.device)
            self._moments = self._moments.to(counts.device)
        return self._counts, self._figures, self._moments

    def read(self) -> Reading:
        """Everything since the last reading; ``non_finite`` since the beginning."""
        assert self._counts is not None
        assert self._figures is not None
        assert self._moments is not None
        counts, (total, weight, largest) = self._counts.tolist(), self._figures.tolist()
        single, broken, _, longest = counts[-4:]
        classes = (len(counts) - 4) // 2
        actual = tuple(counts[classes + 1 : -4])
        separation = tuple(_separation(actual, self._moments.double().cpu()).tolist())
        self._moments.zero_()
        self._counts[:-4].zero_()
        self._counts[SINGLE] = 0
        self._counts[LONGEST] = self._counts[ROW]
        self._figures[:2].zero_()
        self._figures[LARGEST] = -1.0
        return Reading(
            mean_loss=total / weight if weight else float("nan"),
            predicted=tuple(counts[:classes]),
            actual=actual,
            separation=separation,
            one_label=single,
            non_finite=broken,
            non_finite_in_a_row=longest,
            largest_grad_norm=largest if largest >= 0 else float("nan"),
        )

    def state_dict(self) -> dict[str, Any]:
        """Counts, figures and moments; ``None`` before the first update."""
        kept = {"counts": self._counts, "figures": self._figures, "moments": self._moments}
        return {name: None if each is None else each.clone() for name, each in kept.items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up ``state_dict``'s answer again, which may be on another device."""
        self._counts, self._figures, self._moments = (
            None if state[name] is None else state[name].clone() for name in ("counts", "figures", "moments")
        )


def _moments(logits: Tensor, labels: Tensor, dtype: torch.dtype) -> Tensor:
    """By class the sum of its probability, of its square, and of its probability for its own samples, ``[3, C]``.

    No scattered sums of floats: their order, and so their last bit, would differ from run to run on a GPU.
    """
    probabilities = logits.float().softmax(1).to(dtype) * (labels >= 0)[:, None]
    own = probabilities * (labels[:, None] == torch.arange(logits.shape[1], device=labels.device))
    return torch.stack([probabilities.sum(0), probabilities.square().sum(0), own.sum(0)])


def _separation(actual: Sequence[int], moments: Tensor) -> Tensor:
    """Cohen's d of each class's probability between its own samples and the others, ``[C]``; NaN without either.

    Args:
        actual: samples of each class.
        moments: as ``_moments`` gives them, ``[3, C]``.
    """
    own = torch.tensor(actual, dtype=torch.float64)
    rest = own.sum() - own
    total, squares, own_total = moments
    own_mean, rest_mean, mean = own_total / own, (total - own_total) / rest, total / own.sum()
    spread = squares - own * own_mean**2 - rest * rest_mean**2
    variance = spread.clamp(min=0) / (own.sum() - 2).clamp(min=1)
    least = SAME_LOG_ODDS * mean * (1 - mean)
    distance: Tensor = (own_mean - rest_mean) / (variance + least.square()).sqrt().clamp(min=1e-12)
    return distance.clamp_(-FARTHEST, FARTHEST)
