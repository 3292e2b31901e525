"""The learning rate of a run by a range test: from its folder, from the cache, or measured.

The test has a seed of its own, for its model, its dropout and its order of samples. So what is found is the same for
every seed of a multirun, which then differ by their seed alone, and the same whether the cache had it or not.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from counterpoise.config.experiment import Experiment
from counterpoise.data.cache import Cache, checksum, component_key, file_checksum, fingerprint
from counterpoise.engine.range_test import range_test
from counterpoise.engine.rng import seed_everything
from counterpoise.engine.trainer import Trainer
from counterpoise.job import Job
from counterpoise.jsonio import remove, write_atomically, write_json, write_sealed
from counterpoise.losses import Loss
from counterpoise.optim.lr_finder import Curve, LRRangeTestConfig, Suggestion, smooth, smooth_fall, suggest
from counterpoise.optim.lr_plot import draw
from counterpoise.plan import Plan
from counterpoise.run_files import LRFinderReport, read_cached_curve, read_lr_finder
from counterpoise.tracking.folder import RunFolder

log = logging.getLogger(__name__)

SEED = 0
"""Of the test; the run's own seed does not matter to it."""
FORMAT = 1
"""Raised whenever a curve is measured differently."""
PACKAGES = ("counterpoise", "lightning-fabric", "torch", "transformers")
"""Whose versions a curve depends on."""
REPORT, PICTURE = "lr_finder.json", "lr_finder.png"
CURVE = "curve.json"
"""File of a cache entry."""


@dataclass(frozen=True)
class FoundLR:
    """A learning rate with the curve that it was read from."""

    suggestion: Suggestion
    method: str
    curve: Curve
    smoothed: tuple[float, ...]
    """The smooth curve: of a usable one its descent, as it was read; of another its running mean."""
    cached: bool
    """Whether the curve was measured by an earlier run."""
    measured_at: str
    """UTC, ISO 8601."""
    key: Mapping[str, Any]
    """All that the curve depends on."""

    def settle(self, plan: Plan) -> Plan:
        """The plan with this learning rate; one that was found is for this very batch, so no scaling applies to it."""
        found = self.suggestion.verdict == "usable"
        return replace(plan, lr=self.suggestion.lr, lr_factor=1.0 if found else plan.lr_factor)

    def describe(self) -> str:
        """One line for people."""
        found, when = self.suggestion, " of an earlier run" if self.cached else ""
        if found.verdict == "usable":
            return f"{found.lr:.1e}, found by a range test ({found.how}; curve{when} in {PICTURE})"
        return f"{found.lr:.3g}, the recipe's: in a range test {found.how} (curve{when} in {PICTURE})"

    def leave(self, folder: RunFolder, model: str) -> None:
        """Write the picture, and behind it the report that a resumed run takes up."""
        if len(self.curve.losses) > 1:
            title = f"Learning rate range test of {model}"
            picture = partial(draw, curve=self.curve, smoothed=self.smoothed, suggestion=self.suggestion, title=title)
            write_atomically(folder.path / PICTURE, picture)
        write_sealed(folder.path / REPORT, asdict(self))


def taken_up(folder: RunFolder) -> FoundLR | None:
    """What the run in this folder was begun with; ``None`` for a new run, or where that cannot be read."""
    if not folder.metadata.exists():
        return None  # whatever lies here belongs to no run
    path = folder.path / REPORT
    try:
        return _from_report(read_lr_finder(path))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        log.warning("%s cannot be read (%s: %s); the learning rate is found again.", path, type(error).__name__, error)
        remove(path)
        return None


def _from_report(content: LRFinderReport) -> FoundLR:
    """Raises ``ValueError`` for a curve without a loss for each learning rate, or a range that is none."""
    given = content["suggestion"]
    bounds = given.get("range")
    if bounds is not None and len(bounds) != 2:
        raise ValueError("suggestion.range: expected two numbers")
    suggestion = Suggestion(
        given["lr"],
        given["verdict"],
        given["how"],
        given.get("clipped_from"),
        None if bounds is None else (bounds[0], bounds[1]),
    )
    return FoundLR(
        suggestion=suggestion,
        method=content["method"],
        curve=Curve.from_plain(content["curve"]),
        smoothed=tuple(content["smoothed"]),
        cached=content["cached"],
        measured_at=content["measured_at"],
        key=content["key"],
    )


def find(job: Job, loss: Loss, cache: Cache) -> FoundLR:
    """The learning rate for a job whose plan has none yet: from a cached curve, else from a range test now.

    Raises:
        UserError: for whatever the model or the optimizer cannot take.
    """
    settings: LRRangeTestConfig = job.experiment.sections["lr_range_test"]
    trainer = _rehearsal(job, loss)
    key = curve_key(job, loss, trainer.module)
    measured = []

    def measure(folder: Path) -> None:
        log.info("The learning rate is searched for: a range test of at most %d updates.", settings.updates)
        curve = range_test(trainer, job.loader(SEED, last_form=True), settings)
        measured.append(curve)
        write_json(folder / CURVE, {"curve": curve, "measured_at": datetime.now(UTC).isoformat(timespec="seconds")})

    curve, measured_at = cache.read("lr", key, measure, _read_curve, hours=settings.cache_hours)
    given = job.experiment.given_lr * job.plan.lr_factor
    suggestion = suggest(curve, settings, factor=job.plan.lr_factor, otherwise=given)
    if suggestion.verdict != "usable":
        log.warning("The LR range test finds no learning rate, %s: the recipe's is used.", suggestion.how)
    smooth_curve = smooth_fall if suggestion.verdict == "usable" else smooth
    smoothed = tuple(smooth_curve(curve.losses, settings.smoothing).tolist())
    return FoundLR(suggestion, settings.method, curve, smoothed, not measured, measured_at, key)


def _read_curve(folder: Path) -> tuple[Curve, str]:
    content = read_cached_curve(folder / CURVE)
    return Curve.from_plain(content["curve"]), content["measured_at"]


def _rehearsal(job: Job, loss: Loss) -> Trainer:
    """A trainer as the run's will be, but with the test's seed, at a learning rate of 1, watched by nobody."""
    seed_everything(SEED)
    model = job.experiment["model"].build(job.context())
    return Trainer(
        model,
        job.experiment["optimizer"].build(model, 1.0),
        loss,
        epochs=1,
        fabric=job.fabric,
        clip_norm=job.experiment.plain.train.clip_norm,
        seed=SEED,
        compile=job.hardware.compile,
    )


def curve_key(job: Job, loss: Loss, model: nn.Module) -> dict[str, Any]:
    """All that a curve depends on, JSON-ready: neither the run's seed, nor what is read off the curve."""
    experiment, plan = job.experiment, job.plan
    settings = asdict(experiment.sections["lr_range_test"])
    optimizer = asdict(experiment["optimizer"].config)
    for name in ("lr", "scaling", "base_batch"):  # the test has rates of its own, at the batch as it is
        del optimizer[name]
    weights = getattr(loss, "class_weights", None)
    return {
        "format": FORMAT,
        "model": {**component_key(experiment["model"]), "weights": weights_fingerprint(model)},
        "data": job.fingerprint,
        "encoding": {
            **component_key(experiment["encoding"]),
            "encoder": _encoder_key(experiment),
            "files": {name: file_checksum(path) for name, path in job.encoded.artefacts.items()},
        },
        "optimizer": {**component_key(experiment["optimizer"]), "config": optimizer},
        "loss": {**component_key(experiment["loss"]), "class_weights": None if weights is None else weights.tolist()},
        "balance": component_key(experiment["balance"]),
        "batch": {"size": plan.batch_size, "accumulation": plan.accumulation, "bucket": experiment.plain.train.bucket},
        "clip_norm": experiment.plain.train.clip_norm,
        "number": {"device": plan.device, "precision": plan.precision, "tf32": job.hardware.tf32},
        "compile": job.hardware.compile,
        "test": {name: settings[name] for name in ("updates", "start", "end", "smoothing", "diverged")},
        "seed": SEED,
        "versions": {name: version(name) for name in PACKAGES},
    }


def _encoder_key(experiment: Experiment) -> dict[str, Any] | None:
    """What pretrained files an encoder reads stands in an artefact of the encoding."""
    encoder = experiment.components.get("encoder")
    return None if encoder is None else component_key(encoder)


def weights_fingerprint(model: nn.Module) -> str:
    """Hash of a model's parameters and buffers: it also tells pretrained weights of the same name apart."""
    tensors = {}
    for name, tensor in model.state_dict().items():
        flat = tensor.detach().cpu().contiguous().reshape(-1)
        tensors[name] = [str(tensor.dtype), list(tensor.shape), checksum(flat.view(torch.uint8).numpy())]
    return fingerprint(tensors)
