"""The loop: precision, verdicts, observers, checkpoints that stay good, and a user's own pieces."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from engine_kit import Recorder, Setup, ToyModel, ToySplit, assert_same_bits, final_state
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from counterpoise.data.encode.base import Batch
from counterpoise.engine import CheckpointStore, ForeignLoader, MeanLoss, Trainer, make_fabric, predict
from counterpoise.engine.evaluation import SplitBatches, call
from counterpoise.engine.loaders import as_batch
from counterpoise.engine.precision import allow_tf32
from counterpoise.engine.update import not_finite
from counterpoise.events import CONTINUE, BaseJudge, BaseObserver, Decision, EpochEvent, UpdateEvent, Verdict, strongest
from counterpoise.guards.causes import Circumstances
from counterpoise.guards.non_finite import NonFiniteConfig, NonFiniteGuard
from counterpoise.losses import CrossEntropy, CrossEntropyConfig, LossContext
from counterpoise.models.base import ModelOutput


@pytest.fixture(autouse=True)
def _no_waiting_for_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)


RUN = Circumstances(classes=("0", "1"), weighted=True, precision="fp32", base_lr=0.01, recipe_lr=0.01)


def test_same_run_twice_gives_the_same_bits() -> None:
    setup = Setup(prefetch=2)
    assert_same_bits(final_state(setup.fit()), final_state(setup.fit()))
    assert_same_bits(final_state(setup.fit()), final_state(replace(setup, prefetch=0).fit()))


def test_order_of_calls() -> None:
    recorder = Recorder()
    trainer = Setup(samples=8, epochs=2, log_every=2).fit(recorder)
    assert recorder.calls == ["start", "update", "epoch", "update", "epoch", "finish"]
    assert recorder.plan["total_updates"] == 4
    assert recorder.verdict == CONTINUE
    assert [event.epoch for event in recorder.epochs] == [1, 2]
    assert trainer.history.epochs[1]["update"] == 4
    assert recorder.updates[4].samples == 16
    # the figures of an epoch are those of its updates
    every = Recorder()
    Setup(samples=10, epochs=1).fit(every)
    events = list(every.updates.values())
    assert every.epochs[0].grad_norm == pytest.approx(np.mean([event.grad_norm for event in events]), rel=1e-6)
    assert every.epochs[0].lr == events[-1].lr
    assert set(every.epochs[0].component_grad_norms) == {"encoder", "hidden", "norm", "head"}


class Says(BaseJudge):
    def __init__(self, name: str, decision: Decision) -> None:
        self.name = name
        self.verdict = Verdict(decision, name)

    def after_epoch(self, event: EpochEvent) -> Verdict:
        return self.verdict


def test_the_strongest_verdict_is_obeyed() -> None:
    judges = [
        Says("a", Decision.CONTINUE),
        Says("b", Decision.STOP),
        Says("c", Decision.PRUNE),
        Says("d", Decision.STOP),
    ]
    trainer = Setup(judges=judges).fit()
    assert trainer.history.verdict == Verdict(Decision.PRUNE, "c")
    assert len(trainer.history.epochs) == 1
    assert strongest([judges[1].verdict, judges[3].verdict]).judge == "b"
    assert strongest([]) == CONTINUE


def test_the_best_epoch_is_kept(tmp_path: Path) -> None:
    trainer = Setup(folder=tmp_path, epochs=6, lr=0.5).fit()
    scores = [epoch["score"] for epoch in trainer.history.epochs]
    assert trainer.history.best_score == min(scores)
    assert trainer.history.best_epoch == scores.index(min(scores)) + 1
    best = CheckpointStore(tmp_path).best()
    assert best is not None
    best.load_model(trainer.module)
    again = predict(trainer.model, SplitBatches(ToySplit(15, 1), 4), trainer.loss, trainer.fabric.device)
    assert again.metrics(("0", "1"))["log_loss"] == pytest.approx(min(scores), rel=1e-9)


# Not a number


class Poison(ToySplit):
    """Its batches count; from one of them on the model gives NaN."""


class PoisonedModel(ToyModel):
    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def forward(self, ids: torch.Tensor, lengths: torch.Tensor) -> ModelOutput:
        output = super().forward(ids, lengths)
        bad = self.training and len(self.trace) == self.at
        return ModelOutput(output.logits * float("nan")) if bad else output


def poisoned(folder: Path, at: int, *, log_every: int, patience: int) -> Trainer:
    model = PoisonedModel(at)
    trainer = Trainer(
        model,
        torch.optim.AdamW(model.parameters(), lr=0.01),
        nn.CrossEntropyLoss(),
        epochs=2,
        log_every=log_every,
        judges=[NonFiniteGuard(NonFiniteConfig(patience=patience), "stop", RUN)],
        checkpoints=CheckpointStore(folder),
        checkpoint_updates=3,
    )
    trainer.fit(Setup(samples=40).loader(), ToySplit(15, 1))
    return trainer


def newest_is_finite(folder: Path) -> bool:
    checkpoint, model = CheckpointStore(folder).newest(), ToyModel()
    assert checkpoint is not None
    checkpoint.load_model(model)
    return all(bool(value.isfinite().all()) for value in model.state_dict().values())


# Found at the next logged update, wherever the NaN was; the step with it was left out, so every checkpoint is good.
@pytest.mark.parametrize(("at", "log_every", "found"), [(7, 10, 10), (7, 1, 7), (15, 4, 16)])
def test_a_guard_aborts_on_what_is_no_number(at: int, log_every: int, found: int, tmp_path: Path) -> None:
    trainer = poisoned(tmp_path, at, log_every=log_every, patience=1)
    assert trainer.history.verdict.decision == Decision.ABORT
    assert trainer.history.verdict.judge == "non_finite"
    assert trainer.position.update == found
    (alarm,) = trainer.history.alarms
    assert (alarm["update"], alarm["action"]) == (found, "stopped")
    checkpoint = CheckpointStore(tmp_path).newest()
    assert checkpoint is not None
    assert checkpoint.manifest["position"]["update"] < found
    assert newest_is_finite(tmp_path)


def test_a_single_one_is_left_out_and_counted(tmp_path: Path) -> None:
    trainer = poisoned(tmp_path, 3, log_every=5, patience=2)
    assert trainer.history.verdict.decision == Decision.CONTINUE
    assert [alarm["action"] for alarm in trainer.history.alarms] == ["warned"]
    first = trainer.history.epochs[0]
    assert first["stepped"] == 9  # of ten: it counts in no mean
    assert math.isfinite(first["train_loss"])
    assert math.isfinite(first["grad_norm"])
    assert newest_is_finite(tmp_path)


class Spoiler(BaseObserver):
    """Leaves a weight that is NaN."""

    def __init__(self, model: nn.Module, at: int) -> None:
        self.model = model
        self.at = at

    def on_update(self, event: UpdateEvent) -> None:
        if event.update == self.at:
            with torch.no_grad():
                next(self.model.parameters()).fill_(float("nan"))


# Also at the end of an epoch, where the epoch's own figures are all finite, and when somebody else stops the run.
@pytest.mark.parametrize("at", [9, 10])
def test_a_spoilt_model_is_never_stored(at: int, tmp_path: Path) -> None:
    trainer = Setup(folder=tmp_path, epochs=1, checkpoint_updates=3).trainer()
    trainer.observers.append(Spoiler(trainer.module, at))
    trainer.fit(Setup().loader(), ToySplit(15, 1))
    assert trainer.history.best_epoch is None
    assert CheckpointStore(tmp_path).best() is None
    assert newest_is_finite(tmp_path)


OPTIMIZERS: list[Callable[[Any], torch.optim.Optimizer]] = [
    lambda parameters: torch.optim.AdamW(parameters, lr=0.1, fused=True),
    lambda parameters: torch.optim.AdamW(parameters, lr=0.1),
    lambda parameters: torch.optim.SGD(parameters, lr=0.1, momentum=0.9, weight_decay=0.1),
]


@pytest.mark.parametrize("make", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_gradient_that_is_not_finite_changes_nothing(precision: Any, make: Any) -> None:
    model = PoisonedModel(at=3)
    fabric = make_fabric("cpu", precision)
    optimizer = make(model.parameters())
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), epochs=1, fabric=fabric)
    groups = list(Setup().loader().groups(0))
    for group in groups[:2]:
        trainer.updater.run(group)
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    result = trainer.updater.run(groups[2])
    assert result.stepped
    assert not result.figures.isfinite().all()
    assert_same_bits(before, (model.state_dict(), optimizer.state_dict()))
    trainer.updater.run(groups[3])
    assert not torch.equal(before[0]["head.weight"], model.head.weight)


# Where the norm is not on a CPU, fused optimizers get it as a tensor; their contract is the same on every device.
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1.0])
def test_a_fused_optimizer_is_told_by_a_tensor(value: float) -> None:
    parameter = nn.Parameter(torch.ones(3))
    optimizer: Any = torch.optim.AdamW([parameter], lr=0.1, fused=True)
    for gradient in (1.0, value):
        before = copy.deepcopy(optimizer.state_dict()), parameter.detach().clone()
        parameter.grad = torch.full((3,), gradient)
        optimizer.found_inf = not_finite(parameter.grad.norm())
        optimizer.step()
    unchanged = torch.equal(before[1], parameter)
    assert unchanged == (not math.isfinite(value))
    if unchanged:
        assert_same_bits(before[0], optimizer.state_dict())


# Half precision


def test_an_overflow_skips_the_step_and_the_schedule() -> None:
    setup = Setup(precision="fp16", schedule="linear_warmup", epochs=1, samples=40)
    recorder = Recorder()
    trainer = setup.trainer(recorder)
    scaler = trainer.updater.scaler
    assert scaler is not None
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**20})

    class Watch(Recorder):
        before, skipped = final_state(trainer), 0

        def on_update(self, event: UpdateEvent) -> None:
            now = final_state(trainer)
            pairs = [(self.before["model"][name], value) for name, value in now["model"].items()]
            same = all(torch.equal(one, other) for one, other in pairs)
            was_skipped = event.skipped == self.skipped + 1
            assert same == was_skipped
            assert (now["schedule"] == self.before["schedule"]) == was_skipped  # the schedule waits
            self.before = {**now, "model": {name: value.clone() for name, value in now["model"].items()}}
            self.skipped = event.skipped

    watch = Watch()
    watch.before["model"] = {name: value.clone() for name, value in watch.before["model"].items()}
    trainer.observers.append(watch)
    trainer.fit(setup.loader(), ToySplit(15, 1))
    count = trainer.position.skipped
    assert 0 < count < 10
    assert trainer.position.update == 10
    assert trainer.schedule is not None
    assert trainer.schedule.scheduler.last_epoch == 10 - count
    assert math.isfinite(trainer.history.epochs[0]["grad_norm"])  # an overflowing norm is in no mean
    assert math.isfinite(trainer.history.epochs[0]["train_loss"])


# With two updates an epoch the scaler may well search through all of the first.
def test_an_epoch_without_any_step_is_no_fault() -> None:
    setup = Setup(precision="fp16", epochs=2, samples=8, judges=[NonFiniteGuard(NonFiniteConfig(), "stop", RUN)])
    trainer = setup.trainer()
    scaler = trainer.updater.scaler
    assert scaler is not None
    scaler.load_state_dict({**scaler.state_dict(), "scale": 2.0**40, "growth_interval": 10_000})
    trainer.fit(setup.loader(), ToySplit(15, 1))
    assert trainer.history.verdict == CONTINUE
    assert [epoch["stepped"] for epoch in trainer.history.epochs] == [0, 0]
    assert math.isnan(trainer.history.epochs[0]["train_loss"])


def test_the_scaler_is_resumed(tmp_path: Path) -> None:
    setup = Setup(precision="fp16", folder=tmp_path, epochs=1)
    first = setup.trainer()
    assert first.updater.scaler is not None
    first.updater.scaler.load_state_dict({**first.updater.scaler.state_dict(), "scale": 2.0**20})
    first.fit(setup.loader(), ToySplit(15, 1))
    second = setup.fit()
    assert second.updater.scaler is not None
    assert second.updater.scaler.state_dict() == first.updater.scaler.state_dict()
    assert second.position.skipped == first.position.skipped > 0


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_stays_close(precision: str) -> None:
    half, full = Setup(precision=precision, dropout=0.0).fit(), Setup(dropout=0.0).fit()
    for ours, theirs in zip(half.history.epochs, full.history.epochs, strict=True):
        assert ours["train_loss"] == pytest.approx(theirs["train_loss"], rel=0.05)
    assert all(parameter.dtype == torch.float32 for parameter in half.module.parameters())


def test_inputs_are_not_rounded_before_the_model() -> None:
    seen = []

    class Watcher(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(2, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.dtype)
            return self.head(x)

    model = Watcher()
    x, y = torch.randn(4, 2), torch.tensor([0, 1, 0, 1])
    fabric = make_fabric("cpu", "bf16")
    Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss(), epochs=1, fabric=fabric).fit(
        [(x, y)], [(x, y)]
    )
    assert seen == [torch.float32] * 2


def test_float32_inputs_in_double_precision() -> None:
    x, y = blobs(24)
    model = own_model()
    trainer = Trainer(
        model,
        torch.optim.SGD(model.parameters(), lr=0.1),
        nn.CrossEntropyLoss(),
        epochs=1,
        fabric=make_fabric("cpu", "fp64"),
    )
    trainer.fit([(x, y)], [(x, y)])
    assert x.dtype == torch.float32
    assert all(parameter.dtype == torch.float64 for parameter in model.parameters())


def test_both_switches_of_tf32() -> None:
    before = torch.get_float32_matmul_precision(), torch.backends.cudnn.allow_tf32
    try:
        for allowed in (True, False, True):
            allow_tf32(allowed)
            assert torch.backends.cudnn.allow_tf32 is allowed
            assert torch.get_float32_matmul_precision() == ("high" if allowed else "highest")
    finally:
        torch.set_float32_matmul_precision(before[0])
        torch.backends.cudnn.allow_tf32 = before[1]


# Evaluation


def test_predictions_stand_in_the_splits_order() -> None:
    split, model = ToySplit(23), ToyModel().double()
    loss = Setup().loss()
    found = predict(model, SplitBatches(split, 4), loss, torch.device("cpu"))
    whole = split.batch(np.arange(23))
    with torch.no_grad():
        logits = model.eval()(**whole.inputs).logits
        total, weight = loss(logits, whole.labels)
    assert np.array_equal(found.rows, np.arange(23))
    assert np.array_equal(found.labels, split.labels)
    np.testing.assert_allclose(found.probabilities, logits.softmax(1).numpy(), atol=1e-12)
    assert found.loss == pytest.approx(float(total / weight), abs=1e-12)
    with pytest.raises(ValueError, match="nothing to evaluate"):
        predict(model, [], loss, torch.device("cpu"))


def test_evaluation_leaves_the_mode_as_it_was() -> None:
    model = ToyModel()
    for training in (True, False):
        model.train(training)
        predict(model, SplitBatches(ToySplit(3), 2), Setup().loss(), torch.device("cpu"))
        assert model.training is training


# A user's own pieces


def blobs(n: int = 120, n_classes: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(n) % n_classes
    return torch.randn(n, 3, generator=generator) + 2.0 * F.one_hot(y, 3), y


def own_model(n_classes: int = 2) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.ReLU(), nn.Linear(8, n_classes))


class Dictionary(nn.Module):
    def __init__(self, n_classes: int) -> None:
        super().__init__()
        self.net = own_model(n_classes)

    def forward(self, x: torch.Tensor) -> Any:
        return SimpleNamespace(logits=self.net(x), hidden=None)  # as Hugging Face models do


@pytest.mark.parametrize("kind", ["tuples", "dictionaries"])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_own_model_optimizer_loss_and_loaders(kind: str, n_classes: int) -> None:
    x, y = blobs(n_classes=n_classes)
    if kind == "tuples":
        model, train = own_model(n_classes), DataLoader(TensorDataset(x, y), batch_size=8, shuffle=True)
        valid: Any = DataLoader(TensorDataset(x, y), batch_size=50)
    else:
        model = Dictionary(n_classes)
        train = DataLoader([{"x": a, "labels": int(b)} for a, b in zip(x, y, strict=True)], batch_size=8, shuffle=True)
        valid = [{"x": x[:70], "labels": y[:70]}, {"x": x[70:], "labels": y[70:].tolist()}]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
    trainer = Trainer(model, optimizer, nn.CrossEntropyLoss(), epochs=5, accumulation=2)
    history = trainer.fit(train, valid)
    accuracy = [epoch["valid"]["accuracy"] for epoch in history.epochs]
    assert accuracy[-1] > max(0.75, 1 / n_classes)
    assert history.epochs[-1]["train_loss"] < history.epochs[0]["train_loss"]
    assert trainer.position.update == 5 * 8  # 15 batches, two to an update


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_accumulation_over_a_foreign_loader_is_exact(smoothing: float) -> None:
    x, y = (tensor.double() if tensor.is_floating_point() else tensor for tensor in blobs(27))
    results = []
    for batch_size, accumulation in ((3, 4), (12, 1)):
        model = own_model().double()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.2)
        criterion = nn.CrossEntropyLoss(label_smoothing=smoothing)
        fabric = make_fabric("cpu", "fp64")
        trainer = Trainer(model, optimizer, criterion, epochs=1, accumulation=accumulation, fabric=fabric)
        trainer.fit(DataLoader(TensorDataset(x, y), batch_size=batch_size), [(x, y)])
        results.append(model)
    reference = own_model().double()
    for start in range(0, 27, 12):
        loss = F.cross_entropy(reference(x[start : start + 12]), y[start : start + 12], label_smoothing=smoothing)
        gradients = torch.autograd.grad(loss, list(reference.parameters()))
        factor = min(1.0, 1.0 / (float(torch.nn.utils.get_total_norm(gradients)) + 1e-6))
        with torch.no_grad():
            for parameter, gradient in zip(reference.parameters(), gradients, strict=True):
                parameter -= 0.2 * factor * gradient
    for model in results:
        for ours, theirs in zip(model.parameters(), reference.parameters(), strict=True):
            assert (ours - theirs).abs().max().item() < 1e-10


def test_mean_loss_is_a_sum_and_a_weight() -> None:
    logits, labels = torch.randn(7, 3), torch.tensor([0, 1, 2, 0, 1, 2, 0])
    for criterion in (nn.CrossEntropyLoss(), nn.MultiMarginLoss(), F.cross_entropy):
        total, weight = MeanLoss(criterion)(logits, labels)
        assert float(weight) == 7
        assert float(total / weight) == pytest.approx(float(criterion(logits, labels)), rel=1e-6)
    criterion = nn.CrossEntropyLoss()
    MeanLoss(criterion)
    assert criterion.reduction == "mean"  # the user's own object is left alone


def test_what_is_no_loss_is_refused() -> None:
    model = own_model()

    def build(loss: Any) -> Trainer:
        return Trainer(model, torch.optim.SGD(model.parameters(), lr=0.1), loss, epochs=1)

    with pytest.raises(TypeError, match=r"counterpoise\.losses\.CrossEntropy with class weights"):
        build(nn.CrossEntropyLoss(weight=torch.ones(2)))
    with pytest.raises(TypeError, match="must return the mean"):
        build(nn.CrossEntropyLoss(reduction="sum"))
    with pytest.raises(TypeError, match=r"MeanLoss\(cross_entropy\)"):
        build(F.cross_entropy)
    with pytest.raises(TypeError, match="total, weight"):
        build(nn.Linear(2, 2))
    build(MeanLoss(F.cross_entropy))
    build(CrossEntropy(CrossEntropyConfig(), LossContext(np.array([1, 1]), ("a", "b"))))


def test_what_is_no_batch_or_loader_is_refused() -> None:
    with pytest.raises(TypeError, match="a batch must be"):
        as_batch(torch.ones(3))
    with pytest.raises(TypeError, match="must have a length"):
        ForeignLoader(iter([]))
    with pytest.raises(ValueError, match="nothing to train on"):
        ForeignLoader([])
    with pytest.raises(TypeError, match="must return logits"):
        call(lambda x: {"a": x}, (torch.ones(1),))  # type: ignore[arg-type]


def test_batches_of_positional_inputs_move() -> None:
    batch = as_batch((torch.ones(2, 3), torch.zeros(2), torch.tensor([0, 1])), first_row=5)
    moved = batch.to(torch.device("meta"))
    assert isinstance(moved.inputs, tuple)
    assert [value.device.type for value in (*moved.inputs, moved.labels, moved.rows)] == ["meta"] * 4
    assert batch.rows.tolist() == [5, 6]
    named = Batch({"x": torch.ones(2)}, batch.labels, batch.rows).to(torch.device("meta"))
    assert named.inputs["x"].device.type == "meta"  # type: ignore[call-overload]


def test_fit_again_after_an_interruption_goes_on() -> None:
    setup = Setup(epochs=1)
    trainer = setup.trainer(Recorder(fail_at=4))
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(setup.loader(), ToySplit(15, 1))
    assert trainer.observers[0].verdict.decision == Decision.ABORT
    trainer.observers.clear()
    trainer.fit(setup.loader(), ToySplit(15, 1))
    assert trainer.position.update == 10
    whole = setup.fit()
    assert whole.module.trace == trainer.module.trace
