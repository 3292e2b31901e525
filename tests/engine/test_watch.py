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
