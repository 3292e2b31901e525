"""IRIS: what is learnt, what is retrieved, and each mistake that public code of it makes."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Batch
from counterpoise.data.encode.embeddings import Embeddings, EmbeddingsConfig
from counterpoise.data.encoders.hashing import Hashing, HashingConfig
from counterpoise.data.loader import Loader
from counterpoise.data.records import Dataset, Records
from counterpoise.engine.trainer import Trainer
from counterpoise.errors import UserError
from counterpoise.losses import CrossEntropy, CrossEntropyConfig, LossContext
from counterpoise.models.base import ModelContext
from counterpoise.models.iris import IRIS, IRISConfig
from counterpoise.optim.adamw import AdamW, AdamWConfig
from counterpoise.optim.schedules import Horizon, LinearWarmup, LinearWarmupConfig

SIZE = 12
CONDITIONINGS = ("none", "concat", "product", "gate")
each_conditioning = pytest.mark.parametrize("conditioning", CONDITIONINGS)


def build(classes: int = 2, criteria: bool = False, size: int = SIZE, seed: int = 0, **values: Any) -> IRIS:
    torch.manual_seed(seed)
    shares = (0.9, 0.1) if classes == 2 else tuple(1 / classes for _ in range(classes))
    values = {"queries": 3, "retrieved": 2, **values}
    return IRIS(IRISConfig(**values), ModelContext(shares, {"size": size, "criteria": criteria})).eval()


def loud(model: IRIS) -> IRIS:
    """With weights so large that a difference shows."""
    torch.nn.init.normal_(model.head.weight, generator=torch.Generator().manual_seed(9))
    return model


def inputs(
    lengths: list[int], *, criterion: bool = False, width: int | None = None, seed: int = 0
) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    chunks = torch.zeros(len(lengths), width or max(lengths), SIZE)
    for row, length in enumerate(lengths):
        chunks[row, :length] = F.normalize(torch.randn(length, SIZE, generator=generator), dim=1)
    found = {"chunks": chunks, "lengths": torch.tensor(lengths)}
    if criterion:
        found["criterion"] = F.normalize(torch.randn(len(lengths), SIZE, generator=generator), dim=1)
    return found


def reference(model: IRIS, given: dict[str, Tensor]) -> NDArray[np.float64]:
    """The formulas of the module, chunk by chunk, in NumPy and float64: the log odds of class 1, ``[B]``."""
    raw = model.retrieval.queries.detach().double().numpy()
    queries = raw / np.linalg.norm(raw, axis=1, keepdims=True)
    head, bias = (p.detach().double().numpy()[0] for p in (model.head.weight, model.head.bias))
    answers = []
    for row, length in enumerate(given["lengths"].tolist()):
        chunks = given["chunks"][row, :length].double().numpy()
        heard = []
        for query in queries:
            scores = chunks @ query
            best = np.argsort(-scores)[: model.config.retrieved]
            weights = np.exp(scores[best] / model.config.temperature)
            heard.append((weights / weights.sum()) @ chunks[best])
        answers.append(np.concatenate(heard) @ head + bias)
    return np.array(answers)


# 8 queries of 768 and a linear layer: what the paper calls about ten thousand parameters.
@pytest.mark.parametrize(
    ("conditioning", "criteria", "parameters"),
    [
        ("none", False, 12_289),
        ("auto", False, 12_289),
        ("none", True, 12_289),
        ("concat", True, 13_057),
        ("product", True, 13_057),
        ("gate", True, 13_057),
        ("auto", True, 13_057),
    ],
)
def test_parameters_as_published(conditioning: str, criteria: bool, parameters: int) -> None:
    model = build(size=768, queries=8, retrieved=12, criteria=criteria, conditioning=conditioning)
    assert sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad) == parameters


def test_the_formulas() -> None:
    model, given = loud(build()), inputs([5, 1, 2, 7])
    logits = model(**given).logits
    assert logits.shape == (4, 2)
    np.testing.assert_allclose((logits[:, 1] - logits[:, 0]).detach(), reference(model, given), rtol=1e-4, atol=1e-5)


@each_conditioning
@pytest.mark.parametrize("classes", [2, 4])
def test_answers_start_at_the_class_shares(conditioning: str, classes: int) -> None:
    model = build(classes, criteria=True, conditioning=conditioning)
    assert model.head.out_features == (1 if classes == 2 else classes)
    with torch.no_grad():
        model.head.weight.zero_()
    found = model(**inputs([3, 2], criterion=True)).logits.softmax(1)
    torch.testing.assert_close(found, torch.tensor([[0.9, 0.1]] if classes == 2 else [[0.25] * 4]).expand(2, -1))


# A public mistake: one index over all documents, so that the same chunks are retrieved whatever the document.
@each_conditioning
def test_a_document_is_read_and_no_other(conditioning: str) -> None:
    model = loud(build(criteria=True, conditioning=conditioning))
    given = inputs([5, 3, 6], criterion=True)
    given["criterion"][:] = given["criterion"][0]
    together = model(**given).logits
    assert (together[0] - together[1]).abs().max() > 1e-3, "two documents have two answers"
    for row in range(3):
        alone = model(**{name: value[row : row + 1] for name, value in given.items()}).logits
        torch.testing.assert_close(together[row : row + 1], alone)


@each_conditioning
def test_padding_is_never_read(conditioning: str) -> None:
    model = loud(build(criteria=True, conditioning=conditioning))
    tight, loose = inputs([4, 1, 3], criterion=True), inputs([4, 1, 3], criterion=True, width=9)
    loose["criterion"] = tight["criterion"]
    for row, length in enumerate([4, 1, 3]):
        loose["chunks"][row, length:] = F.normalize(model.retrieval.queries[0], dim=0).detach()  # what is sought most
    one, two = model(**tight), model(**loose)
    torch.testing.assert_close(one.logits, two.logits)
    assert two.attention is not None
    for row, length in enumerate([4, 1, 3]):
        assert not two.attention[row, :, length:].any()


# A public mistake: queries of length 1 search, raw ones attend: at T = 0.1 a long one looks at a single chunk.
@each_conditioning
def test_the_length_of_a_query_changes_nothing(conditioning: str) -> None:
    model, given = loud(build(criteria=True, conditioning=conditioning)), inputs([6, 4], criterion=True)
    before = model(**given)
    with torch.no_grad():
        model.retrieval.queries.mul_(100)
    after = model(**given)
    for one, two in zip(before, after, strict=True):
        torch.testing.assert_close(one, two)
    attention = after.attention
    assert attention is not None
    assert attention.amax(2).max() < 0.999, "no query looks at one chunk alone"


def test_the_same_query_retrieves_and_attends() -> None:
    model, given = build(retrieved=3), inputs([9])
    attention = model(**given).attention
    assert attention is not None
    cosines = F.normalize(model.retrieval.queries, dim=1) @ given["chunks"][0].T
    for query, weights in zip(cosines, attention[0], strict=True):
        kept = weights > 0
        assert kept.sum() == 3
        assert query[kept].min() > query[~kept].max()
        torch.testing.assert_close(weights[kept].log().diff(), (query[kept] / 0.1).diff(), rtol=1e-4, atol=1e-4)


def test_a_gated_query_is_of_length_one_too() -> None:
    model, given = build(criteria=True, conditioning="gate", retrieved=9), inputs([9], criterion=True)
    with torch.no_grad():
        model.retrieval.gate.copy_(torch.linspace(-2, 3, SIZE))
    attention = model(**given).attention
    assert attention is not None
    asked = F.normalize(model.retrieval.queries, dim=1) + model.retrieval.gate * given["criterion"]
    cosines = F.normalize(asked, dim=1) @ given["chunks"][0].T
    torch.testing.assert_close(attention[0], (cosines / 0.1).softmax(1), rtol=1e-4, atol=1e-6)


def test_attention_sums_to_one_over_what_is_retrieved() -> None:
    attention = build(retrieved=4)(**inputs([3, 9, 4, 1])).attention
    assert attention is not None
    assert attention.shape == (4, 3, 9)
    torch.testing.assert_close(attention.sum(2), torch.ones(4, 3))
    assert (attention > 0).sum(2).tolist() == [[3] * 3, [4] * 3, [4] * 3, [1] * 3]


# Two chunks of one score: which of them is retrieved does not matter, but only k are.
def test_ties_do_not_widen_what_is_retrieved() -> None:
    given = inputs([6])
    given["chunks"][:] = given["chunks"][0, 0]
    attention = build(retrieved=2)(**given).attention
    assert attention is not None
    assert (attention > 0).sum(2).tolist() == [[2, 2, 2]]


def test_a_chunk_without_a_vector_does_no_harm() -> None:
    given = inputs([3])
    given["chunks"][0, 1] = 0
    output = build()(**given)
    output.logits.sum().backward()
    assert torch.isfinite(output.logits).all()


def test_the_penalty_is_the_mean_squared_cosine_of_two_queries() -> None:
    model = build(queries=4, diversity=0.5)
    queries = F.normalize(model.retrieval.queries.detach().double(), dim=1)
    cosines = [float(queries[i] @ queries[j]) for i in range(4) for j in range(4) if i != j]
    penalty = model(**inputs([2])).penalty
    assert penalty is not None
    assert penalty.item() == pytest.approx(0.5 * np.mean(np.square(cosines)), rel=1e-5)
    with torch.no_grad():
        model.retrieval.queries.copy_(torch.eye(4, SIZE))
    assert model(**inputs([2])).penalty.item() == pytest.approx(0, abs=1e-6)
    with torch.no_grad():
        model.retrieval.queries.copy_(torch.eye(SIZE)[:1].expand(4, -1))
    assert model(**inputs([2])).penalty.item() == pytest.approx(0.5, rel=1e-5)
    assert build(queries=1)(**inputs([2])).penalty.item() == pytest.approx(0, abs=1e-6)  # a rounded square


class Given:
    """Chunks as a split."""

    def __init__(self, given: dict[str, Tensor], labels: list[int]) -> None:
        self.given = given
        self.labels = np.array(labels)
        self.lengths = given["lengths"].numpy()

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        where = torch.from_numpy(indices)
        return Batch({n: v[where] for n, v in self.given.items()}, torch.from_numpy(self.labels[indices]), where)


# A public mistake: the penalty is computed, and left out of the loss.
def test_the_training_loop_pushes_queries_apart() -> None:
    split = Given(inputs([4] * 8), [0, 1] * 4)
    loss = CrossEntropy(CrossEntropyConfig(), LossContext(np.array([4, 4]), ("a", "b"), None))
    moved = {}
    for diversity in (0.0, 1.0):
        model = build(diversity=diversity)
        with torch.no_grad():
            model.head.weight.zero_()  # no gradient reaches the queries but the penalty's
            model.retrieval.queries[1] = model.retrieval.queries[0] + 0.1 * model.retrieval.queries[1]
        optimizer = AdamW(AdamWConfig(weight_decay=0.0), model, 1e-2)
        optimizer.param_groups[:] = [g for g in optimizer.param_groups if g["params"][0] is model.retrieval.queries]
        before = model.retrieval.similarity().item()
        Trainer(model, optimizer, loss, epochs=5).fit(Loader(split, batch_size=4), split)
        moved[diversity] = model.retrieval.similarity().item() - before
    assert moved[0.0] == pytest.approx(0, abs=1e-6)
    assert moved[1.0] < -0.01


def test_queries_learn_through_the_softmax_alone() -> None:
    """The gradient is that of the formulas with the choice of chunks held fast."""
    model = loud(build(diversity=0.0)).double()
    given = {name: v.double() if v.is_floating_point() else v for name, v in inputs([7, 5]).items()}
    output = model(**given)
    output.logits[:, 1].sum().backward()
    kept = output.attention > 0
    raw = model.retrieval.queries.detach().clone().requires_grad_()
    scores = (F.normalize(raw, dim=1) @ given["chunks"].transpose(1, 2)) / 0.1
    weights = torch.where(kept, scores.exp(), 0.0)
    heard = (weights / weights.sum(2, keepdim=True)) @ given["chunks"]
    (heard.flatten(1) @ model.head.weight.T.detach() / 2).sum().backward()
    torch.testing.assert_close(model.retrieval.queries.grad, raw.grad)
    assert raw.grad.abs().max() > 1e-3


@each_conditioning
@pytest.mark.parametrize("classes", [2, 3])
def test_the_attribution_adds_up_to_the_logits(conditioning: str, classes: int) -> None:
    model = loud(build(classes, criteria=True, conditioning=conditioning, dropout=0.3))
    given = inputs([6, 1, 3], criterion=True)
    output, found = model(**given), model.attribute(**given)
    assert found.contributions.shape == (3, 3, 6, classes)
    assert found.attention.shape == (3, 3, 6)
    torch.testing.assert_close(found.attention, output.attention)
    torch.testing.assert_close(found.contributions.sum((1, 2)) + found.rest, output.logits, rtol=1e-4, atol=1e-5)
    assert not found.contributions[1, :, 1:].any()
    assert not found.contributions[found.attention == 0].any()


@pytest.mark.parametrize("conditioning", ["product", "gate"])
def test_a_criterion_changes_what_counts_in_a_document(conditioning: str) -> None:
    """The order of two documents may differ from criterion to criterion, which no sum of two parts can give."""
    model = loud(build(criteria=True, conditioning=conditioning, queries=1, retrieved=1))
    with torch.no_grad():
        model.head.weight.fill_(0.0)
        model.head.weight[:, :SIZE] = 1.0
    one, other = torch.eye(SIZE)[0], torch.eye(SIZE)[1]
    chunks = torch.stack([one, other, one, other])[:, None]
    criteria = torch.stack([one, one, other, other])
    logits = model(chunks, torch.ones(4, dtype=torch.long), criteria).logits[:, 1]
    assert logits[0] > logits[1]
    assert logits[2] < logits[3]


def test_a_criterion_guides_the_retrieval() -> None:
    model = build(criteria=True, conditioning="gate", retrieved=1)
    with torch.no_grad():
        model.retrieval.gate.fill_(100.0)
    given = inputs([8, 8], criterion=True)
    given["criterion"] = torch.stack([given["chunks"][0, 5], given["chunks"][1, 2]])
    attention = model(**given).attention
    assert attention.argmax(2).tolist() == [[5, 5, 5], [2, 2, 2]]


@pytest.mark.parametrize("conditioning", ["concat", "product", "gate"])
def test_a_criterion_must_be_there_where_it_counts(conditioning: str) -> None:
    with pytest.raises(
        UserError, match=r"model\.conditioning: is \w+, but the records of these data have no criterion"
    ):
        build(conditioning=conditioning)
    with pytest.raises(ValueError, match="needs the criterion"):
        build(criteria=True, conditioning=conditioning)(**inputs([2]))


def test_it_learns_what_single_chunks_say() -> None:
    """One telling chunk among many, anywhere in the document."""
    rng = np.random.default_rng(0)
    lengths, labels = rng.integers(5, 30, 200).tolist(), rng.integers(0, 2, 200).tolist()
    given = inputs(lengths, seed=3)
    telling = F.normalize(torch.randn(SIZE, generator=torch.Generator().manual_seed(5)), dim=0)
    for row, label in enumerate(labels):
        if label:
            given["chunks"][row, int(rng.integers(lengths[row]))] = telling
    split = Given(given, labels)
    torch.manual_seed(0)
    model = IRIS(IRISConfig(), ModelContext((0.5, 0.5), {"size": SIZE, "criteria": False}))
    loss = CrossEntropy(CrossEntropyConfig(), LossContext(np.array([100, 100]), ("a", "b"), None))
    trainer = Trainer(model, AdamW(AdamWConfig(), model, 2e-2), loss, epochs=40)
    trainer.fit(Loader(split, batch_size=20), split)
    assert trainer.history.epochs[-1]["valid"]["accuracy"] > 0.95


def test_half_precision_is_not_used_for_similarities() -> None:
    model, given = loud(build()), inputs([9, 4])
    with torch.autocast("cpu", torch.bfloat16):
        within = model(**given)
    torch.testing.assert_close(within.logits, model(**given).logits, rtol=0, atol=0)


def test_queries_are_random_and_of_length_one_at_first() -> None:
    first, second = build(seed=1).retrieval.queries, build(seed=2).retrieval.queries
    torch.testing.assert_close(first.norm(dim=1), torch.ones(3))
    assert not torch.equal(first, second)
    torch.testing.assert_close(first, build(seed=1).retrieval.queries, rtol=0, atol=0)
    assert math.isclose(IRISConfig().temperature, 0.1)


# A public mistake: a long post is truncated to what the encoder reads, so that its end never counts.
def test_the_end_of_a_long_document_counts(tmp_path: Path) -> None:
    filler = " ".join(f"word{number % 70}" for number in range(1_500))
    texts = [f"{filler} lies awake at night", f"{filler} sleeps soundly every night"]
    part = Records.from_columns({"row": [0, 1], "text": texts, "label": [1, 0]}, ("no", "yes"))
    encoding = Embeddings(EmbeddingsConfig(), Hashing(HashingConfig(size=64)))
    encoded = encoding.encode(Dataset("long", part, part, None), Cache(tmp_path))
    model = loud(build(size=64, queries=8, retrieved=60))
    given = encoded.splits["train"].batch(np.array([0, 1])).inputs
    assert isinstance(given, dict)
    assert given["lengths"].min() > 40
    logits = model(**given).logits
    assert (logits[0] - logits[1]).abs().max() > 1e-3


# A public mistake: the warm-up is stepped once an epoch, so that training is over before it ends.
def test_the_warm_up_ends_within_the_first_epochs() -> None:
    split = Given(inputs([3] * 40), [0, 1] * 20)
    model = build()
    optimizer = AdamW(AdamWConfig(), model, 1e-3)
    schedule = LinearWarmup(LinearWarmupConfig(warmup_ratio=0.1), optimizer, Horizon(10 * 10, 0.1, True))
    rates: list[float] = []
    loss = CrossEntropy(CrossEntropyConfig(), LossContext(np.array([20, 20]), ("a", "b"), None))
    trainer = Trainer(model, optimizer, loss, epochs=10, schedule=schedule, log_every=1)
    optimizer.register_step_pre_hook(lambda given, *_: rates.append(given.param_groups[0]["lr"]))
    trainer.fit(Loader(split, batch_size=2, accumulation=2), split)
    assert len(rates) == 100
    assert np.argmax(rates) in (9, 10)
    assert max(rates) == pytest.approx(1e-3, rel=0.11)
