"""What guards want to know of every update, counted on the device and read only when an update is logged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

SINGLE, BROKEN, ROW, LONGEST = -4, -3, -2, -1
"""What the last four counts are: groups of one label, non-finite updates, their present row, their longest row."""


@dataclass(frozen=True)
class Reading:
    """Counts since the last reading; the fields are those of :class:`counterpoise.events.UpdateEvent`."""

    predicted: tuple[int, ...]
    actual: tuple[int, ...]
    one_label: int
    non_finite: int
    non_finite_in_a_row: int
    largest_grad_norm: float


class Watch:
    """Counts predictions, labels and broken figures without ever waiting for the device.

    ``begin``, ``batch`` for every micro-batch, then ``update``; ``read`` alone copies to the host.
    """

    def __init__(self) -> None:
        self._group: Tensor | None = None
        """Labels × predictions of the group at hand, flat ``[C · C]``."""
        self._counts: Tensor | None = None
        """The same over all groups since the last reading, then the four counts of above, ``[C · C + 4]``."""
        self._largest: Tensor | None = None
        """Largest gradient norm since the last reading; negative where there was none."""

    def begin(self) -> None:
        """A group of micro-batches begins, or begins anew."""
        if self._group is not None:
            self._group.zero_()

    def batch(self, logits: Tensor, labels: Tensor) -> None:
        """Count a micro-batch: ``logits [B, C]``, ``labels [B]``."""
        classes = logits.shape[1]
        if self._group is None:
            self._group = torch.zeros(classes * classes, dtype=torch.int64, device=logits.device)
        where = torch.add(logits.detach().argmax(1), labels, alpha=classes)
        self._group.scatter_add_(0, where, torch.ones_like(where))

    def update(self, loss: Tensor, norm: Tensor, *, scaled: bool) -> None:
        """Count an update by its loss and gradient norm, scalars on the device.

        Args:
            loss: of the group.
            norm: before clipping.
            scaled: whether a gradient scaler looks after infinite gradients: they are its search for a scale then.
        """
        assert self._group is not None
        counts, largest = self._on(self._group)
        counts[:-4] += self._group
        classes = round(len(self._group) ** 0.5)
        single = self._group.view(classes, classes).sum(1).count_nonzero() == 1
        broken = (loss if scaled else loss + norm).isfinite().logical_not()
        row = (counts[ROW] + 1) * broken
        counts[SINGLE] += single
        counts[BROKEN] += broken
        counts[ROW] = row
        counts[LONGEST] = torch.maximum(counts[LONGEST], row)
        torch.fmax(largest, norm.detach().to(largest.dtype), out=largest)

    def _on(self, like: Tensor) -> tuple[Tensor, Tensor]:
        """Counts and largest norm on the device of the group's; a checkpoint leaves them on the host."""
        if self._counts is None or self._largest is None:
            self._counts = torch.zeros(len(like) + 4, dtype=torch.int64)
            self._largest = torch.tensor(-1.0)
        if self._counts.device != like.device:
            self._counts, self._largest = self._counts.to(like.device), self._largest.to(like.device)
        return self._counts, self._largest

    def read(self) -> Reading:
        """Everything since the last reading; ``non_finite`` since the beginning."""
        assert self._counts is not None
        assert self._largest is not None
        counts, largest = self._counts.tolist(), float(self._largest)
        confusion, (single, broken, _, longest) = counts[:-4], counts[-4:]
        classes = round(len(confusion) ** 0.5)
        self._counts[:-4].zero_()
        self._counts[SINGLE] = 0
        self._counts[LONGEST] = self._counts[ROW]
        self._largest.fill_(-1.0)
        return Reading(
            predicted=tuple(sum(confusion[column::classes]) for column in range(classes)),
            actual=tuple(sum(confusion[start : start + classes]) for start in range(0, len(confusion), classes)),
            one_label=single,
            non_finite=broken,
            non_finite_in_a_row=longest,
            largest_grad_norm=largest if largest >= 0 else float("nan"),
        )

    def state_dict(self) -> dict[str, Any]:
        """Counts and largest norm; ``None`` before the first update."""
        return {"counts": self._counts, "largest": self._largest}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up ``state_dict``'s answer again, which may be on another device."""
        counts, largest = state["counts"], state["largest"]
        self._counts, self._largest = (None, None) if counts is None else (counts.clone(), largest.clone())
