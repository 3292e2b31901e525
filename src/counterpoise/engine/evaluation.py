"""Predictions of a model over a split, and what they are worth."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from counterpoise.data.encode.base import Batch, EncodedSplit
from counterpoise.data.loader import evaluation_batches
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
    """Weighted mean, as in training but without dropout."""

    def metrics(self, classes: tuple[str, ...]) -> dict[str, Any]:
        """All metrics, ``loss`` included. Probabilities that are not finite give a loss of NaN and nothing else."""
        if not np.isfinite(self.probabilities).all():
            return {"loss": float("nan")}
        return {"loss": self.loss, **classification_metrics(self.labels, self.probabilities, classes)}


class SplitBatches:
    """Every sample of an encoded split once, in batches; can be iterated again and again."""

    def __init__(self, data: EncodedSplit, batch_size: int) -> None:
        self.data = data
        self.batch_size = batch_size

    def __iter__(self) -> Any:
        return evaluation_batches(self.data, self.batch_size)


def call(model: nn.Module, inputs: Mapping[str, Tensor] | tuple[Tensor, ...]) -> ModelOutput:
    """Run a model on keyword or positional inputs; a plain tensor is taken for its logits."""
    output = model(**inputs) if isinstance(inputs, Mapping) else model(*inputs)
    return ModelOutput(output) if isinstance(output, Tensor) else output


@torch.inference_mode()
def predict(model: nn.Module, batches: IndexedBatches, loss: Loss, device: torch.device) -> Predictions:
    """Run ``model`` in evaluation mode over all batches.

    Nothing is read from the device before the last batch, so a GPU never waits for Python.
    """
    training = model.training
    model.eval()
    indices, rows, labels, logits = [], [], [], []
    total = torch.zeros(2, dtype=torch.float64, device=device)
    for where, batch in batches:
        moved = batch.to(device)
        output = call(model, moved.inputs)
        total += torch.stack(loss(output.logits, moved.labels)).to(total.dtype)
        indices.append(where)
        rows.append(batch.rows)
        labels.append(batch.labels)
        logits.append(output.logits.float())
    model.train(training)
    if not indices:
        raise ValueError("there is nothing to evaluate")
    order = np.argsort(np.concatenate(indices), kind="stable")
    probabilities = torch.cat(logits).double().softmax(dim=1).cpu().numpy()[order]
    total_loss, total_weight = total.tolist()
    return Predictions(
        rows=torch.cat(rows).cpu().numpy()[order],
        labels=torch.cat(labels).cpu().numpy()[order],
        probabilities=probabilities,
        loss=total_loss / total_weight if total_weight else float("nan"),
    )
