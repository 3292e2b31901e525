"""Accounts: collected in the split's order, and held against the model's own answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from account_kit import make_account as random_account
from account_kit import make_records
from counterpoise.data.encode.base import Batch
from counterpoise.explain.account import make_account
from counterpoise.models.base import Attribution, ModelOutput

CHUNKS = [3, 1, 4, 2]


class Split:
    """Chunks that are numbers."""

    labels = np.array([0, 1, 0, 1])
    lengths = np.array(CHUNKS)

    def spans(self, index: int) -> Any:
        return np.stack([np.arange(CHUNKS[index]), np.arange(CHUNKS[index]) + 1], axis=1) * 10

    def batch(self, indices: Any) -> Batch:
        width = int(self.lengths[indices].max())
        values = torch.zeros(len(indices), width)
        for row, index in enumerate(indices):
            values[row, : CHUNKS[index]] = torch.arange(CHUNKS[index]) + 10.0 * index
        inputs = {"values": values, "lengths": torch.from_numpy(self.lengths[indices])}
        return Batch(inputs, torch.from_numpy(self.labels[indices]), torch.from_numpy(indices))


class Sums(nn.Module):
    """The logit of the second class is the mean of the chunks, scaled."""

    def __init__(self, factor: float = 1.0) -> None:
        super().__init__()
        self.factor = factor

    def forward(self, values: Tensor, lengths: Tensor) -> ModelOutput:
        mean = values.sum(1) / lengths
        return ModelOutput(torch.stack([torch.full_like(mean, 0.5), mean], dim=1))

    def attribute(self, values: Tensor, lengths: Tensor) -> Attribution:
        mask = torch.arange(values.shape[1]) < lengths[:, None]
        attention = (mask / lengths[:, None])[:, None]
        parts = self.factor * values[:, None] * attention
        rest = torch.tensor([[0.5, 0.0]]).expand(len(values), 2)
        return Attribution(attention, torch.stack([torch.zeros_like(parts), parts], dim=3), rest)


def test_an_account_is_in_the_order_of_the_split() -> None:
    done: list[int] = []
    account = make_account(Sums(), Split(), make_records(CHUNKS, [0, 1, 0, 1]), done.append)
    assert sum(done) == len(account) == 4
    assert [each.shape for each in account.attention] == [(1, count) for count in CHUNKS]
    assert account.logits[:, 1] == pytest.approx([1.0, 10.0, 21.5, 30.5], rel=1e-6)
    assert account.logits[:, 0].tolist() == [0.5] * 4
    expected = torch.from_numpy(account.logits).softmax(1).numpy()
    np.testing.assert_allclose(account.probabilities, expected)
    assert account.chunk_text(2, 1) == account.records.texts[2][10:20]


def test_an_account_that_does_not_add_up_is_refused() -> None:
    with pytest.raises(ValueError, match="does not add up"):
        make_account(Sums(factor=0.9), Split(), make_records(CHUNKS, [0, 1, 0, 1]))


def test_contributions_towards_a_class_are_against_the_mean_of_the_others() -> None:
    account = random_account(make_records([4], [2], ("a", "b", "c")), [4])
    own = account.contributions[0]
    expected = own[..., 1] - (own[..., 0] + own[..., 2]) / 2
    np.testing.assert_allclose(account.towards(0, 1), expected)
    assert account.weight(0).sum() == pytest.approx(1.0)
