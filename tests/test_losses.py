"""Losses against PyTorch's own, against plain formulas written here, and accumulated against whole batches."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from counterpoise import losses
from counterpoise.balance import inverse_frequency
from counterpoise.config.schema import field_types, parse
from counterpoise.errors import UserError
from counterpoise.losses import BCE, CrossEntropy, Focal, Loss, LossContext, WeightedBCE

CONF = Path(__file__).parents[1] / "conf" / "loss"


def context(counts: list[int], weights: list[float] | None = None) -> LossContext:
    array = None if weights is None else np.array(weights, dtype=np.float32)
    return LossContext(np.array(counts), tuple(f"class {i}" for i in range(len(counts))), array)


def build(kind: type[Loss], counts: list[int], weights: list[float] | None = None, **values: Any) -> Loss:
    return kind(parse(kind.Config, values), context(counts, weights))


def sample(n: int, n_classes: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    logits = 3 * torch.randn(n, n_classes, generator=generator, dtype=dtype)
    return logits, torch.randint(n_classes, (n,), generator=generator)


def mean(loss: Loss, logits: Tensor, labels: Tensor) -> Tensor:
    total, weight = loss(logits, labels)
    return total / weight


def plain_focal(
    logits: Tensor, labels: Tensor, gamma: float, alpha: float | None, weights: list[float] | None = None
) -> Tensor:
    """Sum over samples of the formula in the paper, one by one."""
    total = torch.zeros((), dtype=logits.dtype)
    for row, y in zip(logits, labels.tolist(), strict=True):
        if len(row) == 2:
            p = torch.sigmoid(row[1] - row[0])
            p_t = p if y == 1 else 1 - p
        else:
            p_t = torch.softmax(row, dim=0)[y]
        alpha_t = 1.0 if alpha is None else (alpha if y == 1 else 1 - alpha)
        total += -alpha_t * (1 - p_t) ** gamma * torch.log(p_t) * (weights[y] if weights else 1.0)
    return total


ALL: dict[str, tuple[type[Loss], list[int], list[float] | None, dict[str, Any]]] = {
    "cross entropy": (CrossEntropy, [30, 10, 5], None, {"label_smoothing": 0.0}),
    "cross entropy, weights, smoothing": (CrossEntropy, [30, 10, 5], [0.5, 1.5, 3.3], {"label_smoothing": 0.1}),
    "focal": (Focal, [30, 10], None, {"gamma": 1.5}),
    "focal, weights": (Focal, [30, 10], [0.7, 2.1], {"gamma": 0.5, "alpha": None}),
    "focal, three classes, weights": (Focal, [30, 10, 5], [0.5, 1.5, 3.3], {}),
    "bce": (BCE, [30, 10], None, {"label_smoothing": 0.1}),
    "bce, weights": (BCE, [30, 10], [0.7, 2.1], {}),
    "weighted bce": (WeightedBCE, [30, 10], None, {}),
    "weighted bce, weights": (WeightedBCE, [30, 10], [0.7, 2.1], {"pos_weight": 1.7}),
}
every_loss = pytest.mark.parametrize("name", ALL)


def made(name: str) -> tuple[Loss, int]:
    kind, counts, weights, values = ALL[name]
    return build(kind, counts, weights, **values), len(counts)


@pytest.mark.parametrize("smoothing", [0.0, 0.05, 0.3])
@pytest.mark.parametrize("weights", [None, [0.9232, 1.0907], [0.5, 1.5, 3.3]])
def test_cross_entropy_equals_pytorch(weights: list[float] | None, smoothing: float) -> None:
    n_classes = len(weights or "abc")
    logits, labels = sample(17, n_classes)
    loss = build(CrossEntropy, [1] * n_classes, weights, label_smoothing=smoothing)
    weight = None if weights is None else torch.tensor(weights, dtype=torch.float32).double()
    expected = F.cross_entropy(logits, labels, weight, label_smoothing=smoothing)
    torch.testing.assert_close(mean(loss, logits, labels), expected, rtol=1e-12, atol=0)


def test_label_smoothing_is_five_per_cent_by_default() -> None:
    logits, labels = sample(9, 3)
    expected = F.cross_entropy(logits, labels, label_smoothing=0.05)
    torch.testing.assert_close(mean(build(CrossEntropy, [1, 1, 1]), logits, labels), expected)


@pytest.mark.parametrize("positive", ["auto", 0.3, 4.0])
def test_weighted_bce_equals_pytorch(positive: Any) -> None:
    logits, labels = sample(17, 2)
    loss = build(WeightedBCE, [300, 100], pos_weight=positive)
    weight = torch.tensor(3.0 if positive == "auto" else positive, dtype=torch.float32).double()
    expected = F.binary_cross_entropy_with_logits(logits[:, 1] - logits[:, 0], labels.double(), pos_weight=weight)
    torch.testing.assert_close(mean(loss, logits, labels), expected)


def test_bce_equals_pytorch_and_with_smoothing_the_cross_entropy() -> None:
    logits, labels = sample(17, 2)
    odds, target = logits[:, 1] - logits[:, 0], labels.double()
    plain = mean(build(BCE, [1, 1]), logits, labels)
    torch.testing.assert_close(plain, F.binary_cross_entropy_with_logits(odds, target))
    smooth = mean(build(BCE, [1, 1], label_smoothing=0.2), logits, labels)
    torch.testing.assert_close(smooth, F.cross_entropy(logits, labels, label_smoothing=0.2))


def test_class_weights_of_a_binary_loss_are_sample_weights() -> None:
    logits, labels = sample(17, 2)
    per_sample = torch.tensor([0.5, 2.5]).double()[labels]
    odds = logits[:, 1] - logits[:, 0]
    summed = F.binary_cross_entropy_with_logits(odds, labels.double(), weight=per_sample, reduction="sum")
    loss = build(BCE, [1, 1], [0.5, 2.5])
    torch.testing.assert_close(mean(loss, logits, labels), summed / per_sample.sum())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.5, 2.0, 5.0])
@pytest.mark.parametrize("alpha", [None, 0.25, 0.75])
def test_focal_equals_the_formula(gamma: float, alpha: float | None) -> None:
    logits, labels = sample(17, 2)
    total, weight = build(Focal, [3, 1], gamma=gamma, alpha=alpha)(logits, labels)
    torch.testing.assert_close(total, plain_focal(logits, labels, gamma, alpha))
    assert weight == 17  # samples, not their alphas


@pytest.mark.parametrize("weights", [None, [0.5, 1.5, 3.25]])
def test_focal_of_three_classes_equals_the_formula(weights: list[float] | None) -> None:
    logits, labels = sample(17, 3)
    total, weight = build(Focal, [3, 2, 1], weights, gamma=1.5)(logits, labels)
    torch.testing.assert_close(total, plain_focal(logits, labels, 1.5, None, weights))
    assert weight.item() == (17 if weights is None else sum(weights[y] for y in labels.tolist()))


def test_alpha_multiplies_the_positive_class() -> None:
    even = torch.zeros(1, 2)
    focal = build(Focal, [90, 10])  # auto: the share of negatives, 0.9
    positive, negative = focal(even, torch.tensor([1]))[0], focal(even, torch.tensor([0]))[0]
    assert positive / negative == pytest.approx(9, rel=1e-6)
    squared = build(Focal, [90, 10], alpha="positive_frequency")
    assert squared(even, torch.tensor([1]))[0] / squared(even, torch.tensor([0]))[0] == pytest.approx(1 / 9, rel=1e-6)


@given(st.integers(0, 10_000), st.integers(1, 12))
@settings(deadline=None)
def test_focal_without_focus_is_half_of_cross_entropy(seed: int, n: int) -> None:
    logits, labels = sample(n, 2, seed)
    half = build(Focal, [3, 1], gamma=0.0, alpha=0.5)(logits, labels)[0]
    torch.testing.assert_close(half, F.cross_entropy(logits, labels, reduction="sum") / 2)


@given(st.integers(0, 10_000), st.floats(0, 6), st.floats(0, 6), st.integers(2, 5))
@settings(deadline=None)
def test_focal_is_bounded_by_cross_entropy_and_falls_with_gamma(seed: int, a: float, b: float, c: int) -> None:
    logits, labels = sample(5, c, seed)
    low, high = (build(Focal, [1] * c, gamma=g, alpha=None)(logits, labels)[0] for g in sorted((a, b)))
    assert 0 <= high <= low * (1 + 1e-9)
    assert low <= F.cross_entropy(logits, labels, reduction="sum") * (1 + 1e-9)


@every_loss
@given(st.integers(0, 10_000), st.floats(-50, 50))
@settings(max_examples=25, deadline=None)
def test_adding_a_constant_to_all_logits_changes_nothing(name: str, seed: int, shift: float) -> None:
    loss, n_classes = made(name)
    logits, labels = sample(6, n_classes, seed)
    torch.testing.assert_close(loss(logits + shift, labels)[0], loss(logits, labels)[0], rtol=1e-9, atol=1e-9)


@every_loss
def test_weight_needs_labels_only_and_adds_up(name: str) -> None:
    loss, n_classes = made(name)
    logits, labels = sample(50, n_classes)
    assert loss.weight(labels) == loss(logits, labels)[1]
    parts = torch.stack([loss.weight(part) for part in labels.split(7)]).sum()
    assert parts.item() == pytest.approx(loss.weight(labels).item(), rel=1e-14)


@every_loss
def test_gradcheck(name: str) -> None:
    loss, n_classes = made(name)
    logits, labels = sample(5, n_classes)
    assert torch.autograd.gradcheck(lambda x: loss(x, labels)[0], logits.requires_grad_())


@every_loss
@pytest.mark.parametrize("size", [1e2, 1e4, 1e30])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_extreme_logits_give_finite_loss_and_gradient(name: str, size: float, dtype: torch.dtype) -> None:
    loss, n_classes = made(name)
    # Each class right and wrong by this much: p_t is 1 and 0 to the last digit.
    logits = (size * torch.eye(n_classes, dtype=dtype)).repeat(n_classes, 1).requires_grad_()
    labels = torch.arange(n_classes).repeat_interleave(n_classes)
    total = loss(logits, labels)[0]
    total.backward()
    assert total.isfinite()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 2.0])
@pytest.mark.parametrize("n_classes", [2, 3])
def test_focal_gradient_of_a_certain_sample_is_finite(gamma: float, n_classes: int) -> None:
    loss = build(Focal, [1] * n_classes, gamma=gamma, alpha=None)
    for margin in (0.0, 10.0, 17.0, 30.0, 100.0, 1000.0):
        logits = torch.zeros(1, n_classes)
        logits[0, 0] = margin
        logits.requires_grad_()
        loss(logits, torch.tensor([0]))[0].backward()
        assert logits.grad is not None
        assert logits.grad.isfinite().all()


@every_loss
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(name: str, dtype: torch.dtype) -> None:
    loss, n_classes = made(name)
    logits, labels = sample(12, n_classes)
    half = logits.to(dtype)
    total = loss(half, labels)[0]
    assert total.dtype == torch.float32
    torch.testing.assert_close(total, loss(half.float(), labels)[0], rtol=0, atol=0)
    assert loss(logits, labels)[0].dtype == torch.float64


@every_loss
@pytest.mark.parametrize("sizes", [[4] * 8, [4, 4, 4, 3], [5], [1, 9, 2, 20]])
def test_accumulated_micro_batches_equal_one_batch(name: str, sizes: list[int]) -> None:
    loss, n_classes = made(name)
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(sum(sizes), 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(n_classes, (sum(sizes),), generator=generator)
    start = torch.randn(6, n_classes, generator=generator, dtype=torch.float64)

    whole = start.clone().requires_grad_()
    mean(loss, features @ whole, labels).backward()

    parts = start.clone().requires_grad_()
    group_weight = torch.stack([loss.weight(part) for part in labels.split(sizes)]).sum()
    for x, y in zip(features.split(sizes), labels.split(sizes), strict=True):
        (loss(x @ parts, y)[0] / group_weight).backward()

    assert whole.grad is not None
    torch.testing.assert_close(parts.grad, whole.grad, rtol=0, atol=1e-10)


def test_the_mean_of_micro_batch_means_is_something_else() -> None:
    # The common bug, to show that the test above can fail.
    loss, n_classes = made("cross entropy, weights, smoothing")
    logits, labels = sample(32, n_classes)
    parts = [mean(loss, x, y) for x, y in zip(logits.split(4), labels.split(4), strict=True)]
    assert abs(torch.stack(parts).mean() - mean(loss, logits, labels)) > 1e-3


def test_an_empty_micro_batch_adds_nothing() -> None:
    for name in ALL:
        loss, n_classes = made(name)
        total, weight = loss(torch.zeros(0, n_classes), torch.zeros(0, dtype=torch.int64))
        assert total == 0
        assert weight == 0


def test_inverse_frequency_weights_reach_the_loss_as_float32() -> None:
    weights = inverse_frequency([11_836, 10_018])
    loss = CrossEntropy(
        parse(CrossEntropy.Config, {}), LossContext(np.array([11_836, 10_018]), ("a", "b"), weights.astype(np.float32))
    )
    assert loss.class_weights is not None
    assert loss.class_weights.dtype == torch.float32
    assert loss.class_weights.tolist() == pytest.approx([0.9232, 1.0907], abs=5e-5)


@every_loss
def test_weights_follow_the_device_and_stay_out_of_the_state(name: str) -> None:
    loss, n_classes = made(name)
    assert not loss.state_dict()
    moved = loss.to("meta")
    assert all(buffer.device.type == "meta" for buffer in moved.buffers())
    logits = torch.zeros(4, n_classes, device="meta")
    total, weight = moved(logits, torch.zeros(4, dtype=torch.int64, device="meta"))
    assert total.device.type == weight.device.type == "meta"


def test_corrections_name_what_the_loss_does_about_imbalance() -> None:
    assert build(CrossEntropy, [9, 1], [1.0, 9.0]).corrections == ()
    assert build(BCE, [9, 1]).corrections == ()
    assert build(Focal, [9, 1]).corrections == ("focal alpha",)
    assert build(Focal, [9, 1], alpha=None).corrections == build(Focal, [9, 1], alpha=0.5).corrections == ()
    assert build(Focal, [5, 5]).corrections == ()
    assert build(Focal, [9, 1, 1]).corrections == ()
    assert build(WeightedBCE, [9, 1]).corrections == ("pos_weight",)
    assert build(WeightedBCE, [9, 1], pos_weight=1.0).corrections == ()


@pytest.mark.parametrize("kind", [BCE, WeightedBCE])
def test_binary_losses_refuse_three_classes_and_say_what_fits(kind: type[Loss]) -> None:
    with pytest.raises(UserError, match=r"loss=cross_entropy or loss=focal") as caught:
        build(kind, [3, 2, 1])
    assert caught.value.problems[0].where == "loss"


@pytest.mark.parametrize("alpha", [0.25, "inverse_frequency"])
def test_an_alpha_for_three_classes_is_refused(alpha: Any) -> None:
    with pytest.raises(UserError, match=r"balance\.class_weights"):
        build(Focal, [3, 2, 1], alpha=alpha)


@pytest.mark.parametrize("kind", [Focal, WeightedBCE])
def test_auto_with_an_absent_class_is_an_error_that_names_it(kind: type[Loss]) -> None:
    with pytest.raises(UserError, match="'class 1'"):
        build(kind, [3, 0])


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"logits \[B, 2\]"):
        build(BCE, [1, 1])(torch.zeros(3, 1), torch.zeros(3, dtype=torch.int64))
    with pytest.raises(ValueError, match="3 class weights for 2"):
        build(CrossEntropy, [1, 1], [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (CrossEntropy, {"label_smoothing": 1.0}),
        (Focal, {"gamma": -0.1}),
        (Focal, {"gamma": math.inf}),
        (Focal, {"alpha": 1.5}),
        (Focal, {"alpha": "inverse"}),
        (Focal, {"label_smoothing": 0.1}),
        (BCE, {"label_smoothing": -0.1}),
        (WeightedBCE, {"pos_weight": 0.0}),
        (WeightedBCE, {"pos_weight": math.inf}),
    ],
)
def test_config_refuses(kind: type[Loss], values: dict[str, Any]) -> None:
    with pytest.raises(UserError) as caught:
        parse(kind.Config, values, "loss")
    assert caught.value.problems[0].where == f"loss.{next(iter(values))}"


@pytest.mark.parametrize("path", sorted(CONF.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_option_lists_all_fields_with_their_defaults(path: Path) -> None:
    node = yaml.safe_load(path.read_text())
    assert path.read_text().startswith("# ")
    kind = getattr(losses, node["_target_"].removeprefix("counterpoise.losses."))
    assert set(node) == {"_target_", *field_types(kind.Config)}
    assert parse(kind.Config, node) == kind.Config()
