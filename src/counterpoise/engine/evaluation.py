"""Predictions of a model over a split, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from counterpoise.data.encode.base import Batch, EncodedSplit, at_epoch
from counterpoise.data.loader import evaluation_batches
from counterpoise.decision import Decision
from counterpoise.engine.precision import exact_dtype
from counterpoise.losses import Loss
from counterpoise.metrics import classification_metrics
from counterpoise.models.base import ModelOutput

IndexedBatches = Iterable[tuple[NDArray[np.int64], Batch]]


@dataclass(frozen=True)
class Predictions:
    """A model's answer for every sample of a split, in the split's order."""

    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    """``[N, C]``."""
    loss: float
    """Weighted mean, as in training but without dropout; NaN where nobody asked for it."""
    predicted: NDArray[np.int64] | None = None
    """Predicted classes ``[N]``, once they are decided."""

    @property
    def finite(self) -> bool:
        """Whether all probabilities are numbers."""
        return bool(np.isfinite(self.probabilities).all())

    def decided(self, decision: Decision) -> Predictions:
        """With calibrated probabilities and predicted classes; ``loss`` stays that of the model itself."""
        probabilities = decision.calibrated(self.probabilities)
        return replace(self, probabilities=probabilities, predicted=decision.predicted(probabilities))

    @property
    def numbered_classes(self) -> tuple[str, ...]:
        """Names for classes that have none: their numbers."""
        return tuple(map(str, range(self.probabilities.shape[1])))

    def metrics(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """All metrics, ``loss`` included. Probabilities that are not finite give a loss of NaN and nothing else."""
        if not self.finite:
            return {"loss": float("nan")}
        found = classification_metrics(self.labels, self.probabilities, classes, predicted=self.predicted)
        return {"loss": self.loss, **found}


class SplitBatches:
    """Every sample of an encoded split once, in batches; can be iterated again and again.

    Args:
        data: the split.
        batch_size: most samples of a batch.
        batch_tokens: most tokens of a batch of two samples or more; ``None`` does not look at them.
    """

    def __init__(self, data: EncodedSplit, batch_size: int, batch_tokens: int | None = None) -> None:
        self.data = data
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens

    def __iter__(self) -> Any:
        return evaluation_batches(self.data, self.batch_size, self.batch_tokens)

    def at(self, epoch: int) -> SplitBatches:
        """The same samples in the form that they have in ``epoch`` (zero-based)."""
        return SplitBatches(at_epoch(self.data, epoch), self.batch_size, self.batch_tokens)

    @property
    def size(self) -> int:
        """Most that a batch holds: tokens where they bound it, else samples. 1 where one sample fills the first."""
        if self.batch_tokens is None:
            return min(self.batch_size, len(self.data.labels))
        longest = int(np.asarray(self.data.lengths).max(initial=0))
        return 1 if self.batch_size == 1 or longest >= self.batch_tokens else self.batch_tokens

    def of_size(self, size: int) -> SplitBatches:
        """The same samples in batches of another :attr:`size`."""
        if self.batch_tokens is None:
            return SplitBatches(self.data, size)
        return SplitBatches(self.data, self.batch_size, size)


def call(model: nn.Module, inputs: Mapping[str, Tensor] | tuple[Tensor, ...]) -> ModelOutput:
    """Run a model on keyword or positional inputs; a plain tensor is taken for its logits.

    Raises:
        TypeError: if it returns neither a tensor nor something with ``logits``.
    """
    output = model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)
    if isinstance(output, ModelOutput):
        return output
    if isinstance(output, Tensor):
        return ModelOutput(output)
    if not hasattr(output, "logits"):
        raise TypeError(f"a model must return logits or a ModelOutput, but returned {type(output).__name__}")
    return ModelOutput(output.logits, getattr(output, "penalty", None))


@torch.no_grad()  # not inference mode: what a model caches here must still be usable in training
def predict(model: nn.Module, batches: IndexedBatches, loss: Loss | None, device: torch.device) -> Predictions:
    """Run ``model`` in evaluation mode over all batches.

    Nothing is read from the device before the last batch, so a GPU never waits for Python. Without a ``loss`` that of
    the answer is NaN.
    """
    training = model.training
    model.eval()
    indices, rows, labels, logits = [], [], [], []
    sums = torch.zeros(2, dtype=exact_dtype(device), device=device)
    for where, batch in batches:
        moved = batch.to(device)
        output = call(model, moved.inputs)
        if loss is not None:
            sums += torch.stack(loss(output.logits, moved.labels))
        indices.append(where)
        rows.append(batch.rows)
        labels.append(batch.labels)
        logits.append(output.logits)
    model.train(training)
    if not indices:
        raise ValueError("there is nothing to evaluate")
    order = np.argsort(np.concatenate(indices), kind="stable")
    probabilities = torch.cat(logits).cpu().double().softmax(dim=1).numpy()[order]
    total, weight = sums.tolist()
    return Predictions(
        rows=torch.cat(rows).cpu().numpy()[order],
        labels=torch.cat(labels).cpu().numpy()[order],
        probabilities=probabilities,
        loss=total / weight if weight else float("nan"),
    )
