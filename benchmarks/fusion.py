"""An epoch of a frozen fusion on cached features, beside one that runs its backbones.

    python benchmarks/fusion.py [--rounds 3] [--size 1600] [--layer concat]

The same fusion, from the same weights, on the same demo functions in the same batches, with the default transformer
and the default graph network as branches, which are not trained here: what they answer does not matter to the clock.
Three ways take turns, round after round: on features that were computed once, through the frozen backbones forward
only, and with the backbones trained too (mode=discriminative). Each round is a whole epoch of the training loop with
its validation. Both frozen ways must give the same logits, which is made sure of before the clock runs.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median

import numpy as np
import torch
from numpy.typing import NDArray

from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Encoded, EncodedSplit
from counterpoise.data.encode.features import FeatureSplit
from counterpoise.data.encode.pair import TokensAndGraphs, TokensAndGraphsConfig
from counterpoise.data.loader import Loader, evaluation_batches
from counterpoise.data.records import Dataset
from counterpoise.data.sources.demo_code import DemoCode, DemoCodeConfig
from counterpoise.engine.trainer import Trainer
from counterpoise.losses import CrossEntropy, CrossEntropyConfig, LossContext
from counterpoise.models.base import Backbone, ModelContext
from counterpoise.models.fusion import Fusion, FusionConfig, branch_features, named
from counterpoise.models.gnn import GNN, GNNConfig
from counterpoise.models.transformer import Transformer, TransformerConfig
from counterpoise.optim.adamw import AdamW, AdamWConfig

BATCH = 32
WAYS = ("on features", "frozen backbones", "trained backbones")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--size", type=int, default=1600, help="demo functions")
    parser.add_argument("--layer", choices=("concat", "gated", "cross_attention"), default="concat")
    given = parser.parse_args()
    dataset = DemoCode(DemoCodeConfig(size=given.size)).load()
    with tempfile.TemporaryDirectory() as folder:
        encoded = TokensAndGraphs(TokensAndGraphsConfig()).encode(dataset, Cache(Path(folder)))
        branches = make_branches(encoded)
        most = FusionConfig(layer=given.layer).states_read
        begin = time.perf_counter()
        features = {name: features_of(split, branches, most) for name, split in encoded.splits.items()}
        once = time.perf_counter() - begin
        check(features["train"], encoded, branches, given.layer)
        found: dict[str, list[float]] = {way: [] for way in WAYS}
        for _ in range(given.rounds):
            for way in WAYS:
                splits = features if way == WAYS[0] else encoded.splits
                found[way].append(epoch(splits, dataset, encoded, branches, given.layer, trained=way == WAYS[2]))
    show(found, once, len(dataset.train))


def make_branches(encoded: Encoded) -> dict[str, Backbone]:
    """The default networks, with the weights that they begin with."""
    torch.manual_seed(0)
    shares = (0.5, 0.5)
    return {
        "transformer": Transformer(TransformerConfig(), ModelContext(shares, encoded.properties["tokens"])).eval(),
        "gnn": GNN(GNNConfig(), ModelContext(shares, encoded.properties["graphs"])).eval(),
    }


@torch.no_grad()
def features_of(split: EncodedSplit, branches: Mapping[str, Backbone], most: int) -> FeatureSplit:
    """What the fusion reads of both branches for every sample of ``split``."""
    columns: dict[str, NDArray[np.float32]] = {}
    for indices, batch in evaluation_batches(split, 64):
        assert isinstance(batch.inputs, Mapping)
        for branch, model in branches.items():
            for name, value in named(branch, branch_features(model, batch.inputs, most)).items():
                shape = (most, *value.shape[2:]) if value.ndim == 3 else value.shape[1:]
                column = columns.setdefault(name, np.zeros((len(split.labels), *shape), value.numpy().dtype))
                if value.ndim == 3:
                    column[indices, : value.shape[1]] = value.numpy()
                else:
                    column[indices] = value.numpy()
    return FeatureSplit(columns, split.labels, np.arange(len(split.labels)), split.lengths)


def fusion(encoded: Encoded, branches: Mapping[str, Backbone], layer: str, *, trained: bool) -> Fusion:
    """The same weights in every round."""
    torch.manual_seed(1)
    mode = "discriminative" if trained else "frozen"
    config = FusionConfig(transformer="run", gnn="run", mode=mode, layer=layer)  # type: ignore[arg-type]
    return Fusion(config, ModelContext((0.5, 0.5), encoded.properties, branches))


@torch.no_grad()
def check(features: FeatureSplit, encoded: Encoded, branches: Mapping[str, Backbone], layer: str) -> None:
    """Both frozen ways are the same function."""
    model = fusion(encoded, branches, layer, trained=False).eval()
    torch.nn.init.normal_(model.fusion.output.weight)  # type: ignore[union-attr, arg-type]  # so that a difference shows
    indices = np.arange(16)
    ways = (features.batch(indices).inputs, encoded.splits["train"].batch(indices).inputs)
    first, second = (model(**inputs).logits for inputs in ways if isinstance(inputs, Mapping))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-4)


def epoch(
    splits: Mapping[str, EncodedSplit],
    dataset: Dataset,
    encoded: Encoded,
    branches: Mapping[str, Backbone],
    layer: str,
    *,
    trained: bool,
) -> float:
    """Seconds of one epoch, validation included."""
    model = fusion(encoded, branches, layer, trained=trained)
    factors = {"transformer": 0.1, "gnn": 0.5, "fusion": 1.0}
    trainer = Trainer(
        model,
        AdamW(AdamWConfig(lr_factors=factors), model, 1e-3),
        CrossEntropy(CrossEntropyConfig(), LossContext(dataset.train.class_counts(), dataset.classes, None)),
        epochs=1,
    )
    begin = time.perf_counter()
    trainer.fit(Loader(splits["train"], batch_size=BATCH), splits["valid"])
    return time.perf_counter() - begin


def show(found: Mapping[str, list[float]], once: float, samples: int) -> None:
    """Medians, and the medians of the rounds' ratios."""
    print(f"{samples} training functions, batches of {BATCH}, {torch.get_num_threads()} threads, fp32")
    print(f"features of all splits, once: {once:.1f} s")
    for way, seconds in found.items():
        ratios = [one / base for one, base in zip(seconds, found[WAYS[0]], strict=True)]
        spread = f"{min(ratios):.0f} to {max(ratios):.0f}"
        print(f"{way:>18}  {median(seconds):8.2f} s an epoch   {median(ratios):6.1f} x   ({spread})")


if __name__ == "__main__":
    main()
