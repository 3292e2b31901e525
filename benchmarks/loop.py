"""Training throughput: this package's loop beside a bare PyTorch loop, the Hugging Face Trainer and Lightning.

    python benchmarks/loop.py                              same model, batches and order: ratios to the bare loop
    python benchmarks/loop.py --padding FOLDER             our batches against padding everything to 512 tokens,
                                                           on CodeXGLUE-style JSON lines in FOLDER

Every contestant runs in a process of its own; they take turns, round after round, and the medians' ratios are printed.
Needs the extra ``bench``: pip install -c constraints.txt -e ".[bench]"
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Batch
from counterpoise.data.encode.tokens import Tokens, TokensConfig, TokenSplit
from counterpoise.data.loader import Loader
from counterpoise.data.records import Dataset
from counterpoise.data.sources.codexglue import CodeXGlue, CodeXGlueConfig
from counterpoise.data.sources.demo_code import DemoCode, DemoCodeConfig
from counterpoise.engine.trainer import Trainer
from counterpoise.events import BaseObserver, UpdateEvent
from counterpoise.losses import CrossEntropy, CrossEntropyConfig, Loss, LossContext
from counterpoise.models.base import Model, ModelContext
from counterpoise.models.textcnn import TextCNN, TextCNNConfig
from counterpoise.models.transformer import Transformer, TransformerConfig
from counterpoise.optim.adamw import AdamW, AdamWConfig
from counterpoise.optim.schedules import Horizon, LinearWarmup, LinearWarmupConfig

BATCH = 32
LEARNING_RATE = 1e-3
CLIP = 1.0
PEERS = ("bare", "counterpoise", "huggingface", "lightning")
PADDINGS = ("longest", "to_512")


class Task:
    """What every contestant trains: the same model, samples and order."""

    def __init__(self, dataset: Dataset, cache: Path, model: str, updates: int) -> None:
        encoded = Tokens(TokensConfig(max_length=512)).encode(dataset, Cache(cache))
        split = encoded.splits["train"]
        assert isinstance(split, TokenSplit)
        samples = updates * BATCH
        keep = np.random.default_rng(0).permutation(len(split.labels))[:samples]
        self.split: Any = Subset(split, keep)
        counts = np.bincount(split.labels, minlength=2)
        torch.manual_seed(0)
        context = ModelContext(tuple((counts / counts.sum()).tolist()), encoded.properties)
        self.model: Model = (
            TextCNN(TextCNNConfig(), context) if model == "textcnn" else Transformer(TransformerConfig(), context)
        )
        self.loss: Loss = CrossEntropy(CrossEntropyConfig(), LossContext(counts, dataset.classes))
        self.loader = Loader(self.split, batch_size=BATCH, seed=0)
        self.optimizer = AdamW(AdamWConfig(), self.model, LEARNING_RATE)
        self.schedule = LinearWarmup(LinearWarmupConfig(), self.optimizer, Horizon(updates, 0.1))
        self._warm_up()

    def batches(self) -> list[Batch]:
        """The epoch's batches, made beforehand: peers pay nothing for making them."""
        return [group.batches[0] for group in self.loader.groups(0)]

    def _warm_up(self) -> None:
        """Let the allocator and the kernels' caches see the largest batch once, in every contestant."""
        batch = self.split.batch(np.argsort(self.split.lengths)[-BATCH:])
        total, weight = self.loss(self.model(**named(batch)).logits, batch.labels)
        (total / weight).backward()
        self.optimizer.zero_grad()


class Subset:
    """Some samples of a split, at most ``width`` tokens wide, or padded to exactly that."""

    def __init__(self, split: TokenSplit, keep: NDArray[np.int64], pad_to: int | None = None) -> None:
        self.split, self.keep, self.pad_to = split, keep, pad_to
        self.labels = split.labels[keep]
        self.lengths = split.lengths[keep]

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """As the split's own, or padded."""
        batch = self.split.batch(self.keep[indices])
        if self.pad_to is None:
            return batch
        ids = self.split.ids.gather(self.keep[indices], self.split.pad_id, self.pad_to)
        return Batch({**named(batch), "ids": torch.from_numpy(ids).long()}, batch.labels, batch.rows)


def bare(task: Task) -> float:
    """The loop that one would write by hand."""
    batches = task.batches()
    started = time.perf_counter()
    for batch in batches:
        total, weight = task.loss(task.model(**named(batch)).logits, batch.labels)
        (total / weight).backward()
        nn.utils.clip_grad_norm_(task.model.parameters(), CLIP)
        task.optimizer.step()
        task.schedule.step()
        task.optimizer.zero_grad()
    return len(task.split.labels) / (time.perf_counter() - started)


def named(batch: Batch) -> dict[str, Tensor]:
    """A batch's inputs by name."""
    assert isinstance(batch.inputs, Mapping)
    return dict(batch.inputs)


class Stopwatch(BaseObserver):
    """Remembers the throughput that the loop itself reports."""

    speed = 0.0

    def on_update(self, event: UpdateEvent) -> None:
        """Keep the latest."""
        self.speed = event.samples_per_second


def counterpoise(task: Task) -> float:
    """This package's loop, which also makes its batches while the clock runs."""
    watch = Stopwatch()
    trainer = Trainer(
        task.model,
        task.optimizer,
        task.loss,
        epochs=1,
        schedule=task.schedule,
        clip_norm=CLIP,
        observers=[watch],
    )
    few = Subset(task.split.split, task.split.keep[:BATCH])
    trainer.fit(task.loader, few)
    return watch.speed


class WithLoss(nn.Module):
    """The model as the other frameworks want it: the loss comes out of ``forward``."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.model, self.criterion = task.model, task.loss

    def forward(self, ids: Tensor, lengths: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """A mapping with ``loss``."""
        total, weight = self.criterion(self.model(ids, lengths).logits, labels)
        return {"loss": (total / weight).float()}


def as_mappings(task: Task) -> list[dict[str, Tensor]]:
    """The same batches as plain mappings."""
    return [{**named(batch), "labels": batch.labels} for batch in task.batches()]


def huggingface(task: Task) -> float:
    """``transformers.Trainer`` with logging, evaluation and saving off."""
    from transformers import Trainer as HuggingFaceTrainer
    from transformers import TrainerCallback, TrainingArguments

    class Clock(TrainerCallback):
        started = ended = 0.0

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            self.started = time.perf_counter()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            self.ended = time.perf_counter()

    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            output_dir=folder,
            num_train_epochs=1,
            per_device_train_batch_size=1,
            max_grad_norm=CLIP,
            logging_strategy="no",
            save_strategy="no",
            report_to=[],
            disable_tqdm=True,
            use_cpu=True,
            remove_unused_columns=False,
            train_sampling_strategy="sequential",
        )
        trainer = HuggingFaceTrainer(
            model=WithLoss(task),
            args=arguments,
            train_dataset=as_mappings(task),
            data_collator=lambda items: items[0],
            optimizers=(task.optimizer, task.schedule.scheduler),
            callbacks=[clock],
        )
        trainer.train()
    return len(task.split.labels) / (clock.ended - clock.started)


def lightning(task: Task) -> float:
    """``lightning.Trainer`` with logging, validation and saving off."""
    import lightning as pl

    class Module(pl.LightningModule):
        started = ended = 0.0

        def __init__(self) -> None:
            super().__init__()
            self.inner = WithLoss(task)

        def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
            return self.inner(**batch)["loss"]  # type: ignore[no-any-return]

        def configure_optimizers(self) -> Any:
            return [task.optimizer], [{"scheduler": task.schedule.scheduler, "interval": "step"}]

        def on_train_start(self) -> None:
            self.started = time.perf_counter()

        def on_train_end(self) -> None:
            self.ended = time.perf_counter()

    module = Module()
    batches: Any = as_mappings(task)
    loader: Any = torch.utils.data.DataLoader(batches, batch_size=None)
    trainer = pl.Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        gradient_clip_val=CLIP,
    )
    trainer.fit(module, loader)
    return len(task.split.labels) / (module.ended - module.started)


def padding(task: Task, how: str) -> float:
    """This package's loop on batches padded to their longest, or on random ones padded to 512 tokens."""
    if how == "to_512":
        task.split = Subset(task.split.split, task.split.keep, pad_to=512)
        task.loader = Loader(task.split, batch_size=BATCH, seed=0, bucket=False)
    return counterpoise(task)


CONTESTANTS: dict[str, Callable[[Task], float]] = {
    "bare": bare,
    "counterpoise": counterpoise,
    "huggingface": huggingface,
    "lightning": lightning,
    "longest": lambda task: padding(task, "longest"),
    "to_512": lambda task: padding(task, "to_512"),
}


def compete(names: tuple[str, ...], arguments: argparse.Namespace) -> dict[str, list[float]]:
    """Run every contestant once per round, in turn, each in a process of its own."""
    speeds: dict[str, list[float]] = {name: [] for name in names}
    for round_number in range(arguments.rounds + 1):
        for name in names:
            command = [sys.executable, __file__, "--contestant", name, "--model", arguments.model]
            command += ["--updates", str(arguments.updates), "--threads", str(arguments.threads)]
            command += ["--cache", arguments.cache]
            command += ["--padding", arguments.padding] if arguments.padding else []
            environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(arguments.threads)}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
            if done.returncode:
                sys.exit(f"{name} failed:\n{done.stderr}")
            speed = json.loads(done.stdout.splitlines()[-1])["samples_per_second"]
            if round_number:  # the first round fills caches
                speeds[name].append(speed)
                print(f"round {round_number}  {name:<13} {speed:8.1f} samples/s", flush=True)
    return speeds


def main() -> None:
    """Parse, compete, print ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=("transformer", "textcnn"), default="transformer")
    parser.add_argument("--updates", type=int, default=60)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--padding", metavar="FOLDER", help="folder with train, valid and test JSON lines")
    parser.add_argument("--cache", default=".cache/counterpoise")
    parser.add_argument("--contestant", choices=tuple(CONTESTANTS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.contestant:
        torch.set_num_threads(arguments.threads)
        source = CodeXGlue(CodeXGlueConfig(path=arguments.padding)) if arguments.padding else DemoCode(DemoCodeConfig())
        task = Task(source.load(), Path(arguments.cache), arguments.model, arguments.updates)
        print(json.dumps({"samples_per_second": CONTESTANTS[arguments.contestant](task)}))
        return
    names, base = (PADDINGS, "to_512") if arguments.padding else (PEERS, "bare")
    speeds = compete(names, arguments)
    print(f"\n{arguments.model}, batch {BATCH}, {arguments.updates} updates, {arguments.threads} threads; medians")
    for name, values in speeds.items():
        ratios = [value / other for value, other in zip(values, speeds[base], strict=True)]
        print(f"{name:<13} {median(values):8.1f} samples/s   {median(ratios):5.3f} of {base}")


if __name__ == "__main__":
    main()
