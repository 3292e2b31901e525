"""Learning rate and warm-up that follow the effective batch: the numbers of the paper's rule, and its limits."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.optim.scaling import scale


@pytest.mark.parametrize(
    ("how", "batch", "lr", "warmup"),
    [
        ("sqrt", 64, 4e-5, 0.2),
        ("sqrt", 32, 2.83e-5, 0.141),
        ("sqrt", 16, 2e-5, 0.1),
        ("sqrt", 4, 1e-5, 0.05),
        ("sqrt", 1024, 16e-5, 0.2),  # the cap
        ("linear", 32, 4e-5, 0.2),
        ("none", 64, 2e-5, 0.1),
    ],
)
def test_published_numbers(how: str, batch: int, lr: float, warmup: float) -> None:
    scaled = scale(how, lr=2e-5, warmup_ratio=0.1, effective_batch=batch, base_batch=16)  # type: ignore[arg-type]
    assert scaled.lr == pytest.approx(lr, rel=2e-3)
    assert scaled.warmup_ratio == pytest.approx(warmup, rel=3e-3)
    assert scaled.lr == pytest.approx(2e-5 * scaled.factor)


@given(ratio=st.floats(0, 1), batch=st.integers(1, 4096))
def test_the_cap_never_cuts_what_was_given(ratio: float, batch: int) -> None:
    scaled = scale("sqrt", lr=1.0, warmup_ratio=ratio, effective_batch=batch, base_batch=16).warmup_ratio
    assert scaled <= max(0.2, ratio)
    if batch >= 16:
        assert scaled >= ratio or scaled == pytest.approx(ratio)
