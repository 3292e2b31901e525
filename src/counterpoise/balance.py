"""What evens out the classes: weights in the loss, or a weighted sampler; all of it from the training split.

Importing this module costs nothing but NumPy; the losses turn the weights into tensors.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counterpoise.config.schema import POSITIVE, Range
from counterpoise.errors import Problem, UserError, fail

AlphaRule = Literal["inverse_frequency", "positive_frequency"]

_OFF_SWITCHES = {
    "sampler": "balance.sampler=false",
    "class weights": "balance.class_weights=none",
    "focal alpha": "loss.alpha=null",
    "pos_weight": "loss=bce",
}


@dataclass(frozen=True, kw_only=True)
class BalanceConfig:
    """What is done about classes of different sizes, outside the loss function itself."""

    class_weights: Annotated[Literal["none", "inverse_frequency", "effective_number"] | tuple[float, ...], POSITIVE] = (
        "none"
    )
    """Weight of each class in the loss: by a rule, or given by hand as a list with one number per class."""
    beta: Annotated[float, Range(ge=0, lt=1)] = 0.9999
    """For ``effective_number``: 0 weights all classes alike, towards 1 it becomes the inverse frequency."""
    sampler: bool = False
    """Draw training samples with replacement so that every class is equally likely."""
    allow_stacked: bool = False
    """Permit several corrections at once; there is still a warning."""

    def problems(self) -> Iterator[Problem]:
        """Weights by hand must be finite; a beta that nothing reads was meant for something else."""
        if not isinstance(self.class_weights, str) and not all(map(math.isfinite, self.class_weights)):
            yield Problem("class_weights", f"must be finite, but is {list(self.class_weights)}.")
        if self.class_weights != "effective_number" and self.beta != BalanceConfig.beta:
            message = "has no effect without class_weights=effective_number."
            yield Problem("beta", message, "Use balance=effective_number, or drop it.")

    @property
    def reweights(self) -> bool:
        """Whether classes weigh differently; equal weights by hand change nothing."""
        return self.class_weights != "none" and (
            isinstance(self.class_weights, str) or len(set(self.class_weights)) > 1
        )


class Balance:
    """Class weights and sampling probabilities of one experiment."""

    Config: ClassVar[type[BalanceConfig]] = BalanceConfig

    def __init__(self, config: BalanceConfig) -> None:
        self.config = config

    def class_weights(self, counts: ArrayLike, classes: Sequence[str]) -> NDArray[np.float32] | None:
        """The weight of each class in the loss, ``[C]``, or ``None`` for no weights.

        Args:
            counts: training samples per class, ``[C]``.
            classes: their names, for messages.

        Raises:
            UserError: if a class has no training sample (whatever the rule: it cannot be learnt), or if weights given
                by hand are not one per class.
        """
        rule = self.config.class_weights
        checked = _present(counts, classes)
        if rule == "none":
            return None
        if rule == "inverse_frequency":
            return inverse_frequency(checked, classes).astype(np.float32)
        if rule == "effective_number":
            return effective_number(checked, self.config.beta, classes).astype(np.float32)
        if len(rule) != len(checked):
            raise fail(
                "balance.class_weights",
                f"has {len(rule)} weights for {len(checked)} classes ({', '.join(classes)}).",
                "Give one weight per class, in this order.",
            )
        return np.asarray(rule, dtype=np.float32)

    def sample_weights(
        self, labels: NDArray[np.integer[Any]], n_classes: int, classes: Sequence[str] | None = None
    ) -> NDArray[np.float64] | None:
        """The probability of drawing each training sample, ``[N]``, summing to 1; ``None`` without a sampler.

        Args:
            labels: class indices of the training split, ``[N]``.
            n_classes: C.
            classes: class names for messages; their numbers if not given.

        Raises:
            UserError: if a class has no sample.
        """
        if not self.config.sampler:
            return None
        counts = _present(np.bincount(labels, minlength=n_classes), classes)
        probabilities: NDArray[np.float64] = (1 / (n_classes * counts))[labels]
        return probabilities


def inverse_frequency(counts: ArrayLike, classes: Sequence[str] | None = None) -> NDArray[np.float64]:
    """``N / (C * n_c)`` for every class, ``[C]``; the weights average 1 over the training samples.

    Raises:
        UserError: if a class has no sample.
    """
    present = _present(counts, classes)
    weights: NDArray[np.float64] = present.sum() / (len(present) * present)
    return weights


def effective_number(counts: ArrayLike, beta: float, classes: Sequence[str] | None = None) -> NDArray[np.float64]:
    """The inverse of the effective number of samples ``(1 - beta^n) / (1 - beta)``, scaled to sum to C; ``[C]``.

    ``beta=0`` gives equal weights, ``beta=1`` stands for the limit: proportional to the inverse frequency.
    Source: Cui et al. 2019, Class-Balanced Loss Based on Effective Number of Samples.

    Raises:
        UserError: if a class has no sample.
        ValueError: if beta is outside 0..1.
    """
    if not 0 <= beta <= 1:
        raise ValueError(f"beta must be between 0 and 1, but is {beta=}")
    present = _present(counts, classes)
    if beta == 0:
        return np.ones(len(present))
    # 1 - beta^n loses every digit when beta is close to 1; expm1 keeps them.
    number = present if beta == 1 else -np.expm1(present * math.log(beta))
    weights: NDArray[np.float64] = len(present) / number / (1 / number).sum()
    return weights


def pos_weight(counts: ArrayLike, classes: Sequence[str] | None = None) -> float:
    """Negatives per positive, the weight of class 1 in a binary cross entropy.

    Raises:
        UserError: if a class has no sample.
        ValueError: if there are not two classes.
    """
    negatives, positives = _binary(counts, classes)
    return negatives / positives


def focal_alpha(counts: ArrayLike, how: AlphaRule | float, classes: Sequence[str] | None = None) -> float:
    """The weight alpha of class 1 in the focal loss; class 0 gets ``1 - alpha``.

    ``inverse_frequency`` is the share of negatives, which evens out the classes. ``positive_frequency`` is the share
    of positives, which squares the imbalance; it is offered because published recipes use it. A number is itself.
    Source: Lin et al. 2017, Focal Loss for Dense Object Detection.

    Raises:
        UserError: if a class has no sample.
        ValueError: if there are not two classes, or for another rule.
    """
    if not isinstance(how, str):
        return float(how)
    negatives, positives = _binary(counts, classes)
    if how == "inverse_frequency":
        return negatives / (negatives + positives)
    if how == "positive_frequency":
        return positives / (negatives + positives)
    raise ValueError(f"unknown rule for alpha: {how=}")


def stacked(balance: BalanceConfig, loss_corrections: Sequence[str]) -> list[str]:
    """The names of all corrections in force: ``sampler``, ``class weights``, then those of the loss itself."""
    own = [("sampler", balance.sampler), ("class weights", balance.reweights)]
    return [name for name, on in own if on] + list(loss_corrections)


def check_stacked(balance: BalanceConfig, loss_corrections: Sequence[str]) -> str | None:
    """A warning if several corrections are in force by request, ``None`` if there is at most one.

    Raises:
        UserError: if there are several and ``balance.allow_stacked`` is false.
    """
    names = stacked(balance, loss_corrections)
    if len(names) < 2:
        return None
    found = (
        f"{' and '.join(names)} are in force together: each alone evens out the classes, so together they tip the "
        "balance towards the rare ones, and false positives multiply."
    )
    if balance.allow_stacked:
        return f"balance: {found}"
    switches = ", ".join(_OFF_SWITCHES[name] for name in names if name in _OFF_SWITCHES)
    raise fail(
        "balance",
        found,
        f"Keep one ({switches} turn them off one by one), or set balance.allow_stacked=true if it is meant.",
    )


def _present(counts: ArrayLike, classes: Sequence[str] | None) -> NDArray[np.float64]:
    """Counts as float64 ``[C]``, all above zero."""
    array = np.asarray(counts, dtype=np.float64)
    if array.ndim != 1 or len(array) < 2 or not np.isfinite(array).all() or (array < 0).any():
        raise ValueError(f"expected the samples of each of at least two classes, got {counts!r}")
    absent = np.flatnonzero(array == 0)
    if len(absent):
        names = ", ".join(repr(classes[i]) if classes is not None else str(i) for i in absent.tolist())
        raise _absent(names, plural=len(absent) > 1)
    return array


def _absent(names: str, *, plural: bool) -> UserError:
    noun = "classes" if plural else "class"
    return fail(
        "data",
        f"the training split has no sample of {noun} {names}, which therefore cannot be learnt.",
        "Change the split or the seed, or leave the class out of the data.",
    )


def _binary(counts: ArrayLike, classes: Sequence[str] | None) -> tuple[float, float]:
    present = _present(counts, classes)
    if len(present) != 2:
        raise ValueError(f"needs two classes, got {len(present)}")
    return float(present[0]), float(present[1])
