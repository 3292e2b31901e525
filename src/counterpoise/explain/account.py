"""What every answer rests on: the model's own account of its chunks, sample by sample."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoise.data.encode.base import ChunkedSplit
from counterpoise.data.loader import evaluation_batches
from counterpoise.data.records import Records
from counterpoise.decision import Decision
from counterpoise.models.base import Attribution

BATCH, BATCH_TOKENS = 64, 65_536
"""Most samples, and most tokens, that are accounted for at once."""


@dataclass(frozen=True)
class Account:
    """One split, explained. Lists have an entry per sample, in the split's order."""

    records: Records
    spans: list[NDArray[np.int64]]
    """Where each chunk stands in the text, ``[L, 2]`` characters."""
    attention: list[NDArray[np.float64]]
    """``[Q, L]``: each query's weights sum to 1."""
    contributions: list[NDArray[np.float64]]
    """``[Q, L, C]``: what each query adds to each logit by each chunk."""
    rest: NDArray[np.float64]
    """What adds to the logits beside, ``[N, C]``."""
    decision: Decision = field(default_factory=Decision)
    """How the run's answers follow from the logits."""

    def __len__(self) -> int:
        return len(self.spans)

    @cached_property
    def logits(self) -> NDArray[np.float64]:
        """``[N, C]``."""
        sums: NDArray[np.float64] = np.stack([each.sum(axis=(0, 1)) for each in self.contributions])
        return self.rest + sums

    @cached_property
    def probabilities(self) -> NDArray[np.float64]:
        """As the run answers, calibrated, ``[N, C]``."""
        shifted = self.logits - self.logits.max(axis=1, keepdims=True)
        powers = np.exp(shifted)
        return self.decision.calibrated(powers / powers.sum(axis=1, keepdims=True))

    @cached_property
    def predicted(self) -> NDArray[np.int64]:
        """The predicted classes, ``[N]``."""
        return self.decision.predicted(self.probabilities)

    @property
    def queries(self) -> int:
        """How many queries the model has."""
        return len(self.attention[0])

    def weight(self, index: int) -> NDArray[np.float64]:
        """How much of all attention each chunk of a sample gets, ``[L]``; sums to 1."""
        return self.attention[index].mean(axis=0)  # type: ignore[no-any-return]

    def towards(self, index: int, label: int) -> NDArray[np.float64]:
        """What each query adds by each chunk to the odds of one class, ``[Q, L]``.

        It is the class's logit against the mean of all others', so for two classes the log odds.
        """
        own = self.contributions[index]
        others = np.delete(own, label, axis=2).mean(axis=2)
        return own[:, :, label] - others  # type: ignore[no-any-return]

    @cached_property
    def texts(self) -> list[str]:
        """The texts that the spans are of."""
        return self.records.texts

    def chunk_text(self, index: int, chunk: int) -> str:
        """The text of a chunk as it stands in its document."""
        start, end = self.spans[index][chunk].tolist()
        return self.texts[index][start:end]


@torch.no_grad()
def make_account(
    model: Any, split: ChunkedSplit, records: Records, progress: Callable[[int], object] = lambda done: None
) -> Account:
    """Ask the model for its account of every sample.

    Args:
        model: in evaluation mode, with ``attribute(**inputs) -> Attribution``.
        split: its inputs.
        records: the same samples as they were read.
        progress: told how many more samples are done.

    Raises:
        ValueError: if an account does not add up to the logits that the model gives, or is not of the split's chunks.
    """
    attention: list[Any] = [None] * len(records)
    contributions: list[Any] = [None] * len(records)
    rest = np.zeros((len(records), len(records.classes)))
    spans = [split.spans(index) for index in range(len(records))]
    for indices, batch in evaluation_batches(split, BATCH, BATCH_TOKENS):
        assert isinstance(batch.inputs, Mapping)
        found: Attribution = model.attribute(**batch.inputs)
        _check_sum(found, model(**batch.inputs).logits)
        for row, index in enumerate(indices.tolist()):
            chunks = len(spans[index])
            attention[index] = found.attention[row, :, :chunks].double().numpy()
            contributions[index] = found.contributions[row, :, :chunks].double().numpy()
        rest[indices] = found.rest.double().numpy()
        progress(len(indices))
    return Account(records, spans, attention, contributions, rest)


def _check_sum(found: Attribution, logits: torch.Tensor) -> None:
    total = found.contributions.double().sum(dim=(1, 2)) + found.rest.double()
    if not torch.allclose(total, logits.double(), rtol=1e-3, atol=1e-3):
        furthest = float((total - logits.double()).abs().max())
        raise ValueError(f"the account does not add up to the model's answers: it is off by {furthest:.3g}")
