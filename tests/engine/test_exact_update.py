"""An update is the same however its samples are cut: against a plain PyTorch loop over whole groups, in float64."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from engine_kit import Setup, ToyModel, ToySplit

from counterpoise.config.schema import parse
from counterpoise.data.loader import Group, Loader
from counterpoise.losses import BCE, CrossEntropy, Focal, Loss, LossContext, WeightedBCE
from counterpoise.optim.adamw import AdamW, AdamWConfig

LOSSES: list[tuple[type[Loss], dict[str, Any], int]] = [
    (CrossEntropy, {"label_smoothing": 0.0}, 2),
    (CrossEntropy, {"label_smoothing": 0.1}, 3),
    (Focal, {"gamma": 1.5}, 2),
    (Focal, {"gamma": 2.0, "alpha": None}, 3),
    (BCE, {"label_smoothing": 0.1}, 2),
    (WeightedBCE, {"pos_weight": 3.0}, 2),
]


def make_loss(kind: type[Loss], values: dict[str, Any], n_classes: int, weighted: bool) -> Loss:
    weights = np.linspace(0.5, 2.5, n_classes).astype(np.float32) if weighted else None
    names = tuple(map(str, range(n_classes)))
    return kind(parse(kind.Config, values), LossContext(np.array([30, 10, 5][:n_classes]), names, weights))


def plain_epoch(model: ToyModel, loss: Loss, groups: list[Any], split: ToySplit, clip: float | None) -> list[float]:
    """Whole groups at once, by hand: mean loss + mean penalty, backward, clip, AdamW."""
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    plain = [p for p in model.parameters() if p.ndim < 2]
    both = [{"params": decayed, "weight_decay": 0.1}, {"params": plain, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(both, lr=0.01)
    losses = []
    for rows in groups:
        batch = split.batch(rows)
        output = model(**batch.inputs)
        total, weight = loss(output.logits, batch.labels)
        value = total / weight + (0 if output.penalty is None else output.penalty)
        optimizer.zero_grad()
        value.backward()
        if clip is not None:
            torch.nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        losses.append(value.item())
    return losses


def rows_of(groups: list[Group]) -> list[np.ndarray]:
    return [np.concatenate([batch.rows.numpy() for batch in group.batches]) for group in groups]


def apart(one: torch.nn.Module, other: torch.nn.Module) -> float:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return max((a - b).abs().max().item() for a, b in pairs)


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "class weights"])
@pytest.mark.parametrize(("kind", "values", "n_classes"), LOSSES)
def test_eight_micro_batches_of_four_equal_one_of_32(
    kind: type[Loss], values: dict[str, Any], n_classes: int, weighted: bool
) -> None:
    # 32 + 32 + 13: the last group is partial, and so is its last micro-batch
    split = ToySplit(77, 0, n_classes)
    for batch_size, accumulation in ((4, 8), (32, 1)):
        setup = Setup(precision="fp64", dropout=0.0, epochs=1, n_classes=n_classes, schedule="constant", warmup_ratio=0)
        loss = make_loss(kind, values, n_classes, weighted)
        reference = ToyModel(n_classes).double()
        trainer = setup.trainer(loss=loss)
        for group in trainer.optimizer.param_groups:
            group["lr"] = group["initial_lr"] = 0.01
        trainer.schedule = None
        loader = Loader(split, batch_size=batch_size, accumulation=accumulation, seed=5)
        trainer.fit(loader, split)
        expected = plain_epoch(reference, loss, rows_of(list(loader.groups(0))), split, 1.0)
        assert apart(trainer.module, reference) < 1e-10
        share = np.array([32, 32, 13])
        if not weighted:
            assert trainer.history.epochs[0]["train_loss"] == pytest.approx(np.dot(expected, share) / 77, abs=1e-10)


def test_a_penalty_counts_by_samples() -> None:
    setup = Setup(precision="fp64", dropout=0.0, epochs=1, penalty=0.3, batch_size=4, accumulation=8, samples=77)
    results = []
    for batch_size, accumulation in ((4, 8), (32, 1)):
        setup.batch_size, setup.accumulation = batch_size, accumulation
        results.append(setup.fit())
    assert apart(results[0].module, results[1].module) < 1e-10
    reference = ToyModel(penalty=0.3).double()
    plain = ToyModel(penalty=0.0).double()
    groups, split = rows_of(list(setup.loader().groups(0))), ToySplit(77)
    assert plain_epoch(reference, setup.loss(), groups, split, 1.0) != plain_epoch(
        plain, setup.loss(), groups, split, 1
    )
    one = Setup(precision="fp64", dropout=0.0, epochs=1, penalty=0.3, batch_size=32, samples=77, schedule="constant")
    one.warmup_ratio = 0.0
    trainer = one.trainer()
    for group in trainer.optimizer.param_groups:
        group["lr"] = 0.01
    trainer.schedule = None
    trainer.fit(one.loader(), split)
    assert apart(trainer.module, reference) < 1e-10


# The common bug, as a check of the checks: dividing each micro-batch's mean by their number is something else.
def test_mean_of_means_would_be_wrong() -> None:
    split, loss = ToySplit(13), Setup().loss()
    model = ToyModel().double()
    batches = [split.batch(np.arange(0, 8)), split.batch(np.arange(8, 13))]
    pairs = [loss(model(**batch.inputs).logits, batch.labels) for batch in batches]
    exact = sum(total for total, _ in pairs) / sum(weight for _, weight in pairs)
    assert abs((exact - sum(total / weight for total, weight in pairs) / 2).item()) > 1e-6


def test_one_clip_per_update_of_the_whole_gradient() -> None:
    setup = Setup(precision="fp64", dropout=0.0, epochs=1, batch_size=4, accumulation=3, clip_norm=1e-3, samples=24)
    trainer = setup.trainer()
    before = copy.deepcopy(trainer.module)
    group = next(setup.loader().groups(0))
    optimizer = torch.optim.SGD(trainer.module.parameters(), lr=1.0)
    trainer.updater.optimizer = optimizer
    result = trainer.updater.run(group, watch_components=True)
    moved = torch.cat(
        [(a - b).flatten() for a, b in zip(before.parameters(), trainer.module.parameters(), strict=True)]
    )
    assert float(moved.norm()) == pytest.approx(1e-3, rel=1e-3)  # clipping adds 1e-6 to the norm
    total, weight, norm = result.figures.tolist()
    batch = setup.loader().data.batch(rows_of([group])[0])
    losses, weights = setup.loss()(before(**batch.inputs).logits, batch.labels)
    mean = losses / weights
    mean.backward()
    expected = torch.nn.utils.get_total_norm([p.grad for p in before.parameters() if p.grad is not None])
    assert norm == pytest.approx(float(expected), rel=1e-10)
    assert total / weight == pytest.approx(mean.item(), rel=1e-10)
    parts = {name: float(value) for name, value in trainer.updater.component_norms.items()}
    assert set(parts) == {"encoder", "hidden", "norm", "head"}
    assert np.sqrt(sum(value**2 for value in parts.values())) == pytest.approx(norm, rel=1e-10)


def test_two_processes_equal_one(tmp_path: Path) -> None:
    driver = Path(__file__).with_name("two_processes.py")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", str(driver)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run([*command, str(tmp_path)], env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    for samples in (33, 37):  # the last group leaves one process idle; or gives them 3 and 2 samples
        for penalty in (0.0, 0.3):
            one = Setup(precision="fp64", dropout=0.0, epochs=2, batch_size=8, samples=samples, penalty=penalty)
            trainer = one.fit()
            found = torch.load(tmp_path / f"{samples}-{penalty}.pt", weights_only=True)
            for name, value in trainer.module.state_dict().items():
                assert float((value - found["model"][name]).abs().max()) < 1e-10, name
            for ours, theirs in zip(trainer.history.epochs, found["losses"], strict=True):
                assert ours["train_loss"] == pytest.approx(theirs, abs=1e-10)
    resumed = torch.load(tmp_path / "resumed.pt", weights_only=True)
    whole = torch.load(tmp_path / "whole.pt", weights_only=True)
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


def test_fused_steps_are_pytorchs_own() -> None:
    ours, theirs = ToyModel().double(), ToyModel().double()
    config = AdamWConfig(lr=0.01, weight_decay=0.1, betas=(0.8, 0.9), eps=1e-6)
    optimizer = AdamW(config, ours, 0.01)
    decay = [{"params": [p], "weight_decay": 0.1 if p.ndim > 1 else 0.0} for p in theirs.parameters()]
    reference = torch.optim.AdamW(decay, lr=0.01, betas=(0.8, 0.9), eps=1e-6, fused=False, foreach=False)
    split = ToySplit(8)
    for _ in range(5):
        for model, stepper in ((ours, optimizer), (theirs, reference)):
            stepper.zero_grad()
            model(**split.batch(np.arange(8)).inputs).logits.square().sum().backward()
            stepper.step()
    assert apart(ours, theirs) < 1e-12
