"""What the loop counts for the guards, against counts made here from every batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from engine_kit import Recorder, Setup
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.engine.watch import Watch

updates = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=6),  # labels, predictions
        st.sampled_from([0.5, math.nan, math.inf]),
        st.sampled_from([0.0, 1.0, 7.0, math.nan, math.inf]),
        st.booleans(),  # read afterwards
    ),
    min_size=1,
    max_size=12,
)


@given(updates, st.booleans(), st.integers(0, 12))
def test_readings_equal_plain_counting(steps: list[Any], scaled: bool, cut: int) -> None:
    watch = Watch()
    pairs: list[tuple[int, int]] = []
    single, row, longest, total, norms = 0, 0, 0, 0, [-1.0]
    losses: list[float] = []
    for number, (samples, loss, norm, read) in enumerate(steps):
        if number == cut:  # resumed in between
            state, watch = watch.state_dict(), Watch()
            watch.load_state_dict(state)
        labels, predicted = (torch.tensor(column) for column in zip(*samples, strict=True))
        watch.begin()
        half = len(samples) // 2
        for part in (slice(0, half), slice(half, None)):
            if len(labels[part]):
                watch.batch(torch.nn.functional.one_hot(predicted[part], 3).float(), labels[part])
        watch.update(torch.tensor(loss * 2), torch.tensor(2.0), torch.tensor(norm), scaled=scaled)
        losses += [] if not math.isfinite(loss) or not (scaled or math.isfinite(norm)) else [loss]
        pairs += samples
        single += len(set(labels.tolist())) == 1
        broken = not math.isfinite(loss) or (not scaled and not math.isfinite(norm))
        total, row = total + broken, row + 1 if broken else 0
        longest = max(longest, row)
        norms += [norm] if not math.isnan(norm) else []
        if read:
            reading = watch.read()
            counts = [np.bincount([pair[side] for pair in pairs], minlength=3) for side in (0, 1)]
            assert reading.actual == tuple(counts[0])
            assert reading.predicted == tuple(counts[1])
            assert (reading.one_label, reading.non_finite, reading.non_finite_in_a_row) == (single, total, longest)
            expected = max(norms)
            assert reading.largest_grad_norm == expected or (expected < 0 and math.isnan(reading.largest_grad_norm))
            assert reading.mean_loss == (sum(losses) / len(losses) if losses else pytest.approx(math.nan, nan_ok=True))
            pairs, single, longest, norms, losses = [], 0, row, [-1.0], []


# An update that is begun anew, for want of memory, leaves nothing of the first attempt.
def test_a_group_that_begins_anew_counts_once() -> None:
    watch = Watch()
    for _ in range(2):
        watch.begin()
        watch.batch(torch.tensor([[1.0, 0.0]]), torch.tensor([1]))
    watch.update(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(1.0), scaled=False)
    reading = watch.read()
    assert (reading.predicted, reading.actual) == ((1, 0), (0, 1))


@pytest.mark.parametrize("log_every", [1, 4])
def test_events_hold_every_sample_of_the_epoch(log_every: int) -> None:
    recorder = Recorder()
    Setup(log_every=log_every, accumulation=2, epochs=1).fit(recorder)
    assert sum(sum(event.predicted) for event in recorder.updates.values()) == 37
    labels = Setup().loader().data.labels
    actual = np.sum([event.actual for event in recorder.updates.values()], axis=0)
    assert actual.tolist() == np.bincount(labels).tolist()
    for event in recorder.updates.values():
        assert event.largest_grad_norm >= event.grad_norm * (1 - 1e-6)
        total = math.sqrt(sum(norm**2 for norm in event.component_grad_norms.values()))
        assert total == pytest.approx(event.grad_norm, rel=1e-5)


def test_labels_to_ignore_are_ignored() -> None:
    watch = Watch()
    watch.begin()
    watch.batch(torch.eye(3), torch.tensor([-100, 2, 2]))
    watch.update(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(1.0), scaled=False)
    reading = watch.read()
    assert (reading.predicted, reading.actual, reading.one_label) == ((1, 1, 1), (0, 0, 2), 1)


def cohens_d(own: np.ndarray, rest: np.ndarray) -> float:
    """The difference of two means in pooled standard deviations."""
    spread = ((own - own.mean()) ** 2).sum() + ((rest - rest.mean()) ** 2).sum()
    return float((own.mean() - rest.mean()) / np.sqrt(spread / (len(own) + len(rest) - 2)))


def separation_of(logits: torch.Tensor, labels: torch.Tensor, size: int = 16) -> tuple[float, ...]:
    """What a watch reads of updates of ``size`` samples."""
    watch = Watch()
    for part, true in zip(logits.split(size), labels.split(size), strict=True):
        watch.begin()
        watch.batch(torch.full_like(part, torch.nan), true)  # an attempt that ran out of memory leaves no trace
        watch.begin()
        for half, of_half in zip(part.split(size // 2), true.split(size // 2), strict=True):
            watch.batch(half, of_half)
        watch.update(torch.tensor(1.0), torch.tensor(1.0), torch.tensor(1.0), scaled=False)
    return watch.read().separation


def test_separation_is_cohens_d_of_each_class() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 3, (96,), generator=generator)
    logits = torch.randn(96, 3, generator=generator) + torch.nn.functional.one_hot(labels, 3)
    labels[:5] = -100  # to be ignored
    kept = labels >= 0
    table, truth = logits[kept].double().softmax(1).numpy(), labels[kept].numpy()
    expected = [cohens_d(table[truth == c, c], table[truth != c, c]) for c in range(3)]
    assert separation_of(logits, labels) == pytest.approx(expected, rel=0.01)  # differences of rounding count as none
    assert all(each > 0.5 for each in expected)


@pytest.mark.parametrize("scale", [0.0, 1e-6, 1e-5])
def test_rounding_noise_of_a_constant_model_is_no_ranking(scale: float) -> None:
    """Even where the noise goes with the label, as the length of a text may."""
    labels = (torch.arange(160) % 10 == 0).long()
    logits = torch.tensor([2.2, 0.0]).repeat(160, 1)
    logits[:, 1] += scale * labels
    assert max(map(abs, separation_of(logits, labels))) < 0.02


def test_separation_is_not_defined_without_samples_of_a_class_or_of_others() -> None:
    none, one = torch.zeros(16, dtype=torch.long), torch.ones(16, dtype=torch.long)
    for labels in (none, one):
        assert all(map(math.isnan, separation_of(torch.randn(16, 2), labels)))
    told_apart = torch.nn.functional.one_hot(torch.arange(16) % 2, 2) * 40.0
    assert separation_of(told_apart, torch.arange(16) % 2) == (10.0, 10.0)
