"""Long documents: what it gains to read their real chunks alone, and to read frozen embeddings from a cache.

    python benchmarks/documents.py [--data ../shared/data/reviews] [--documents 32] [--rounds 5] [--threads 1]

Real chunks: training steps (forward, backward, optimizer) of the hierarchical model on the chunks that documents have,
packed, short ones together; beside the same model that is given 20 chunks of 512 tokens for every document, whatever
its length, which is what a padded tensor [documents, chunks, tokens] comes to. Both see the same documents in the same
updates, from the same weights, and take turns, round after round; they must give the same logits, which is made sure of
before the clock runs. What is printed are medians, in documents a second, the median of the rounds' ratios, and the
ratio that the numbers of tokens alone would give.

Documents are the texts of JSON lines (train.jsonl or train.jsonl.gz in the folder). The second part is that of
``benchmarks/embeddings.py``; ``--part`` runs one of both.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import embeddings
from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Batch, Encoded
from counterpoise.data.encode.chunks import Chunks, ChunksConfig
from counterpoise.data.loader import Group, Loader
from counterpoise.data.records import Dataset
from counterpoise.data.sources.table import Table, TableConfig
from counterpoise.models.base import ModelContext
from counterpoise.models.hierarchical import Hierarchical, HierarchicalConfig
from counterpoise.models.text_encoder import encode_and_pool

DATA = Path(__file__).resolve().parents[2] / "shared/data/reviews"
BATCH, ACCUMULATION = 4, 4
Step = Callable[[Batch], Tensor]


class Padded(nn.Module):
    """The same network, for chunks ``[B, 20, 512]`` of which those behind a document's end are padding."""

    def __init__(self, model: Hierarchical, most: int, together: int) -> None:
        super().__init__()
        self.model, self.most, self.together = model, most, together

    def forward(self, ids: Tensor, lengths: Tensor, counts: Tensor) -> Tensor:
        """As the hierarchical model's; every document is filled up with chunks first."""
        model, total = self.model, len(counts) * self.most
        real = torch.arange(self.most) < counts[:, None]
        chunks = torch.full((total, model.window), model.pad_id)
        chunks[real.flatten().nonzero(), torch.arange(ids.shape[1])] = ids
        mask = torch.zeros(total, model.window, dtype=torch.bool)
        mask[real.flatten()] = torch.arange(model.window) < lengths[:, None]
        mask[:, 0] = True  # a mean over nothing would not be a number
        parts = zip(torch.split(chunks, self.together), torch.split(mask, self.together), strict=True)
        vectors = torch.cat([encode_and_pool(model.encoder, part, own, model.pooling)[0] for part, own in parts])
        with torch.autocast("cpu", enabled=False):
            weighed = model.attention(vectors.view(len(counts), self.most, -1).float(), real)
        return model.head(model.dropout(weighed.pooled))  # type: ignore[no-any-return]


def main() -> None:
    """Parse, compete, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", type=Path, default=DATA)
    parser.add_argument("--documents", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--part", choices=("chunks", "embeddings", "both"), default="both")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.part != "embeddings":
        dataset = Table(TableConfig(path=str(options.data))).load()
        print(f"{options.data}: {len(dataset.train)} documents; {options.threads} threads, {options.precision}")
        with tempfile.TemporaryDirectory() as folder:
            real_chunks(dataset, Cache(Path(folder)), options)
    if options.part != "chunks":
        encoder = embeddings.default_encoder()
        embeddings.show(embeddings.measure(encoder, rounds=options.rounds, posts=300, chunks=256))


def real_chunks(dataset: Dataset, cache: Cache, options: argparse.Namespace) -> None:
    """Training on the chunks that there are, beside training on as many as there may be."""
    encoded = Chunks(ChunksConfig()).encode(dataset, cache)
    some, tokens, padded = drawn(encoded, options.documents)
    ours = network(dataset, encoded)
    theirs = Padded(network(dataset, encoded), encoded.properties["max_chunks"], ours.pass_tokens // ours.window)
    cast = torch.autocast("cpu", torch.bfloat16, enabled=options.precision == "bf16")
    ways: dict[str, tuple[nn.Module, Step]] = {
        "real chunks": (ours, lambda batch: ours(**named(batch)).logits),
        "20 x 512 each": (theirs, lambda batch: theirs(**named(batch))),
    }
    check(ours, theirs, some[0].batches[0])
    steps = {name: stepper(model, forward, cast) for name, (model, forward) in ways.items()}
    for step in steps.values():
        step(some[:1])  # what is compiled and allocated once is not measured
    found = compete({name: partial(step, some) for name, step in steps.items()}, options.rounds)
    count = sum(group.samples for group in some)
    size = f"{tokens / count:.0f} tokens in {chunks_of(some) / count:.1f} chunks each"
    print(f"training steps on {count} documents, {size}")
    show(found, count)
    print(f"{'by tokens alone':<20}{'':>22}   {padded / tokens:6.2f} x")


def drawn(encoded: Encoded, documents: int) -> tuple[list[Group], int, int]:
    """Updates of about so many documents, in the training's own order; their real tokens, and those of full ones."""
    split, properties = encoded.splits["train"], encoded.properties
    loader = Loader(split, batch_size=BATCH, accumulation=ACCUMULATION, seed=0)
    groups = []
    for group in loader.groups(0):
        groups.append(group)
        if sum(one.samples for one in groups) >= documents:
            break
    indices = np.concatenate([group.indices for group in groups if group.indices is not None])
    return groups, int(split.lengths[indices].sum()), len(indices) * properties["max_chunks"] * properties["window"]


def chunks_of(groups: list[Group]) -> int:
    """Chunks in all of them."""
    return sum(len(named(batch)["ids"]) for group in groups for batch in group.batches)


def named(batch: Batch) -> Mapping[str, Tensor]:
    """A batch's inputs."""
    assert isinstance(batch.inputs, Mapping)
    return batch.inputs


def network(dataset: Dataset, encoded: Encoded) -> Hierarchical:
    """The default network, always from the same weights."""
    torch.manual_seed(0)
    shares = tuple((dataset.train.class_counts() / len(dataset.train)).tolist())
    return Hierarchical(HierarchicalConfig(), ModelContext(shares, encoded.properties))


@torch.no_grad()
def check(ours: Hierarchical, theirs: Padded, batch: Batch) -> None:
    """Both are the same function. Raises ``AssertionError`` otherwise."""
    ours.eval(), theirs.eval()
    kept = [model.head.weight.clone() for model in (ours, theirs.model)]
    for model in (ours, theirs.model):
        nn.init.ones_(model.head.weight)  # so that a difference shows
    torch.testing.assert_close(ours(**named(batch)).logits, theirs(**named(batch)), atol=1e-3, rtol=1e-4)
    for model, weight in zip((ours, theirs.model), kept, strict=True):
        model.head.weight.copy_(weight)


def stepper(model: nn.Module, forward: Step, cast: torch.autocast) -> Callable[[list[Group]], None]:
    """How a network is trained for some updates."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)
    model.train()

    def step(groups: list[Group]) -> None:
        for group in groups:
            for batch in group.batches:
                with cast:
                    logits = forward(batch)
                loss = F.cross_entropy(logits.float(), batch.labels, reduction="sum") / group.samples
                loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            optimizer.zero_grad()

    return step


def compete(ways: Mapping[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each way in each round; they take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, way in ways.items():
            begin = time.perf_counter()
            way()
            seconds[name].append(time.perf_counter() - begin)
    return seconds


def show(found: Mapping[str, list[float]], documents: int) -> None:
    """Medians, and the median of the rounds' ratios of the last to the first with its spread."""
    for name, seconds in found.items():
        print(f"{name:<20}{documents / median(seconds):10.2f} documents/s")
    first, *_, last = found.values()
    ratios = [slow / fast for fast, slow in zip(first, last, strict=True)]
    print(f"{'ratio':<20}{'':>22}   {median(ratios):6.2f} x   ({min(ratios):.2f} to {max(ratios):.2f})")


if __name__ == "__main__":
    main()
