"""Why a run collapsed, as far as its figures tell, and what to type against it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

CauseName = Literal[
    "no_class_weights", "lr_too_high", "lr_too_low", "scheduler", "labels_constant", "precision", "unclear"
]

BEYOND_CHANCE = 0.25
"""So many more updates of one class than chance gives tell of batches that are not drawn at random."""
IMBALANCED = 0.7
"""A class with at least this share of the samples is one that a loss without weights is drawn to."""
RISEN = 1.5
"""A mean loss this many times the best one seen has not been learnt down, but blown up."""
LOUD = 50.0
"""A gradient norm this many times the clipping norm (of 1 at least) is one of steps that are too long."""
STILL = 0.02
"""A loss that has moved by less than this share since the beginning has not moved."""
TINY = 5e-6
"""A learning rate below this moves even a pretrained model too little to be seen."""
FAR = 4.0
"""Times the recipe's learning rate, or a part of it: from there on it is the recipe's that is proposed."""
FADED = 1e-3
"""A learning rate below this share of its peak no longer teaches."""
DEAD = 1e-7
"""A component whose gradient norm is below this gets none."""


@dataclass(frozen=True, kw_only=True)
class Circumstances:
    """What a guard has to know of the run beside its figures."""

    classes: tuple[str, ...]
    weighted: bool
    """Whether anything evens out the classes: weights, sampler, focal alpha, pos_weight."""
    precision: str
    base_lr: float
    """Peak learning rate as it stands in the config, before it is scaled with the batch."""
    recipe_lr: float
    """What the model's recipe has there."""
    clip_norm: float | None = 1.0
    bucket: bool = True
    """Whether batches hold samples of similar length."""
    accumulation: int = 1


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """The figures around an alarm."""

    loss: float
    """Mean over the last logged updates."""
    first_loss: float
    """Mean over the first ones."""
    best_loss: float
    """The smallest such mean so far."""
    lr: float
    peak_lr: float
    """The largest learning rate that any logged update had."""
    grad_norm: float
    largest_grad_norm: float
    components: dict[str, float]
    """Gradient norm per component, in the order of the forward pass."""
    one_label: float
    """Share of the window's updates whose samples were all of one class."""
    one_label_by_chance: float
    """What it would be if samples were drawn at random."""
    half_precision: bool
    majority_share: float
    """Share of the most frequent class among the samples."""
    broken: bool
    """Loss or gradient was NaN or infinite."""


@dataclass(frozen=True)
class Cause:
    """A likely cause, what speaks for it, and the override to try."""

    name: CauseName
    explanation: str
    override: str


def likely_cause(evidence: Evidence, run: Circumstances) -> Cause:
    """The first cause that the figures speak for; the order is from the surest sign to the vaguest."""
    return (
        _labels(evidence, run)
        or _precision(evidence, run)
        or _faded(evidence)
        or _high(evidence, run)
        or _low(evidence, run)
        or _unweighted(evidence, run)
        or _still_high(evidence, run)
    )


def _labels(seen: Evidence, run: Circumstances) -> Cause | None:
    if seen.one_label < max(0.5, seen.one_label_by_chance + BEYOND_CHANCE):
        return None
    chance = f"by chance it would be {seen.one_label_by_chance:.0%}"
    explanation = f"in {seen.one_label:.0%} of the last updates all samples were of one class, {chance}"
    # Length may go with the label: then buckets of similar length are of one class.
    override = "train.bucket=false" if run.bucket else f"train.accumulation={4 * run.accumulation}"
    return Cause("labels_constant", explanation, override)


def _precision(seen: Evidence, run: Circumstances) -> Cause | None:
    if not seen.broken or not seen.half_precision:
        return None
    explanation = f"loss or gradient is not finite in {run.precision}, whose range or precision is small"
    return Cause("precision", explanation, "hardware.precision=fp32")


def _faded(seen: Evidence) -> Cause | None:
    if not seen.lr < FADED * seen.peak_lr:
        return None
    explanation = f"the schedule has taken the learning rate from {seen.peak_lr:.1e} to {seen.lr:.1e}"
    return Cause("scheduler", explanation, "scheduler=constant")


def _high(seen: Evidence, run: Circumstances) -> Cause | None:
    signs = []
    if seen.broken:
        signs.append("loss or gradient is not finite")
    if seen.loss > RISEN * seen.best_loss:
        signs.append(f"the training loss has risen from {seen.best_loss:.4g} to {seen.loss:.4g}")
    if seen.largest_grad_norm > LOUD * max(1.0, run.clip_norm or 1.0):
        signs.append(f"gradient norms reach {seen.largest_grad_norm:.3g}")
    norms = list(seen.components.values())
    if len(norms) > 1 and norms[0] < DEAD < norms[-1]:
        first = next(iter(seen.components))
        signs.append(f"no gradient reaches {first} any more ({norms[0]:.1e}): its units are dead or saturated")
    return Cause("lr_too_high", "; ".join(signs), _smaller(run)) if signs else None


def _low(seen: Evidence, run: Circumstances) -> Cause | None:
    moved = abs(seen.loss - seen.first_loss) / max(abs(seen.first_loss), 1e-12)
    if moved >= STILL or seen.peak_lr >= TINY:
        return None
    explanation = f"the loss has moved by {moved:.1%} since the first update, at a learning rate of {seen.peak_lr:.1e}"
    far = FAR * run.base_lr < run.recipe_lr
    return Cause("lr_too_low", explanation, f"optimizer.lr={run.recipe_lr if far else 10 * run.base_lr:.2g}")


def _unweighted(seen: Evidence, run: Circumstances) -> Cause | None:
    if run.weighted or seen.majority_share < IMBALANCED:
        return None
    explanation = f"one class has {seen.majority_share:.0%} of the samples, and nothing evens the classes out"
    return Cause("no_class_weights", explanation, "balance.class_weights=inverse_frequency")


def _still_high(seen: Evidence, run: Circumstances) -> Cause:
    if seen.peak_lr <= 0 or not math.isfinite(seen.peak_lr):
        return Cause("unclear", "no logged update tells", "train.log_every=1")
    explanation = f"the figures point to nothing else; the learning rate reached {seen.peak_lr:.1e}"
    return Cause("lr_too_high", explanation, _smaller(run))


def _smaller(run: Circumstances) -> str:
    """The recipe's, if this is far above it, else half of it."""
    far = run.base_lr > FAR * run.recipe_lr
    return f"optimizer.lr={run.recipe_lr if far else run.base_lr / 2:.2g}"
