"""Parameter groups: a partition, with decay on matrices only and a rate per component."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from counterpoise.errors import UserError
from counterpoise.optim.adamw import AdamW, AdamWConfig, components, parameter_groups


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.encoder = nn.Sequential(nn.Embedding(5, 3), nn.Linear(3, 3), nn.LayerNorm(3), nn.Conv1d(3, 3, 3))
        self.head = nn.Linear(3, 2)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        states = self.encoder[:3](ids) * self.scale
        return self.head(self.encoder[3](states.transpose(1, 2)).mean(2))


def test_groups_are_a_partition() -> None:
    model = Net()
    model.encoder[0].requires_grad_(False)
    groups = parameter_groups(model, lr=0.1, weight_decay=0.01, factors={"head": 2.0})
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    found = {group["name"]: sorted(names[id(p)] for p in group["params"]) for group in groups}
    assert found == {
        "model.no_decay": ["scale"],
        "encoder.decay": ["encoder.1.weight", "encoder.3.weight"],
        "encoder.no_decay": ["encoder.1.bias", "encoder.2.bias", "encoder.2.weight", "encoder.3.bias"],
        "head.decay": ["head.weight"],
        "head.no_decay": ["head.bias"],
    }
    for group in groups:
        assert group["weight_decay"] == (0.01 if group["name"].endswith(".decay") else 0.0)
        assert group["lr"] == (0.2 if group["name"].startswith("head") else 0.1)
    assert set(components(model)) == {"model", "encoder", "head"}


def test_shared_parameters_stand_once() -> None:
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    model["b"].weight = model["a"].weight
    grouped = [p for g in parameter_groups(model, lr=1, weight_decay=0, factors={}) for p in g["params"]]
    assert len(grouped) == len({id(p) for p in grouped}) == 3


def test_unknown_components_are_all_named() -> None:
    with pytest.raises(UserError) as caught:
        AdamW(AdamWConfig(lr_factors={"haed": 2.0, "encoder": 1.0, "zzz": 3.0}), Net(), 0.1)
    first, second = caught.value.problems
    assert first.where == "optimizer.lr_factors.haed"
    assert "'head'" in first.remedy
    assert "encoder, head, model" in second.remedy


def test_nothing_to_train() -> None:
    with pytest.raises(UserError, match="every parameter is frozen"):
        AdamW(AdamWConfig(), Net().requires_grad_(False), 0.1)


def test_two_betas() -> None:
    assert [problem.where for problem in AdamWConfig(betas=(0.9,)).problems()] == ["betas"]
    assert list(AdamWConfig().problems()) == []


def test_state_goes_through_a_file_and_continues() -> None:
    def steps(model: Net, optimizer: AdamW, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            model(torch.tensor([[1, 2, 3, 4]])).square().sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    one = Net()
    first = AdamW(AdamWConfig(lr_factors={"head": 0.5}), one, 0.1)
    steps(one, first, 3)
    file = io.BytesIO()
    torch.save({"model": one.state_dict(), "optimizer": first.state_dict()}, file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    two = Net()
    second = AdamW(AdamWConfig(lr_factors={"head": 0.5}), two, 0.1)
    two.load_state_dict(state["model"])
    second.load_state_dict(state["optimizer"])
    steps(one, first, 4)
    steps(two, second, 4)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))
