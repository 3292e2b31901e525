"""Graph networks on CUDA: the same figures as on a processor, the same bits every time, and half precision."""

from __future__ import annotations

import pytest
import torch
from graph_kit import context_of, inputs_of, random_graphs
from test_gnn import NETWORKS, build
from torch import Tensor

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")


def run(name: str, device: str, dtype: torch.dtype | None = None) -> list[Tensor]:
    """Logits and gradients."""
    graphs, reverse = random_graphs(1, [40, 1, 120, 3], 3, 3.0, features=3)
    model = build(name, context_of(graphs, reverse)).to(device).eval()
    with torch.no_grad():
        model.head.weight.copy_(torch.linspace(-1, 1, model.head.weight.numel()).view_as(model.head.weight))
    inputs = {key: value.to(device) for key, value in inputs_of(graphs).items()}
    with torch.autocast(device, dtype=dtype, enabled=dtype is not None):
        logits = model(**inputs).logits
    loss = torch.nn.functional.cross_entropy(logits.float(), torch.tensor([0, 1, 0, 1], device=device))
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    return [logits.float().cpu(), *(gradient.cpu() for gradient in gradients)]


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_as_on_a_processor(name: str) -> None:
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = False
    try:
        ours, theirs = run(name, "cuda"), run(name, "cpu")
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other, atol=1e-3, rtol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_the_same_bits_every_time(name: str) -> None:
    for one, other in zip(run(name, "cuda"), run(name, "cuda"), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("name", NETWORKS)
def test_half_precision(name: str, dtype: torch.dtype) -> None:
    found, exact = run(name, "cuda", dtype), run(name, "cpu")
    assert (found[0] - exact[0]).norm() <= 0.1 * exact[0].norm() + 0.05
    pair = [torch.cat([gradient.flatten() for gradient in values[1:]]) for values in (found, exact)]
    assert torch.cosine_similarity(pair[0], pair[1], dim=0) > 0.95
