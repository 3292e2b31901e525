"""Events as the loop would tell them, for the tests of the guards."""

from __future__ import annotations

from typing import Any

from counterpoise.events import EpochEvent, UpdateEvent
from counterpoise.guards.causes import Circumstances

RUN = Circumstances(classes=("no", "yes"), weighted=False, precision="fp32", base_lr=1e-3, recipe_lr=1e-3)


def update(number: int = 7, epoch: int = 6, **changes: Any) -> UpdateEvent:
    values: dict[str, Any] = {
        "loss": 0.5,
        "lr": 1e-3,
        "grad_norm": 1.0,
        "samples": 8,
        "seconds": 1.0,
        "largest_grad_norm": 1.0,
        "predicted": (40, 24),
        "actual": (40, 24),
        "separation": (0.0, 0.0),
        "component_grad_norms": {"encoder": 0.8, "head": 0.6},
    }
    values |= changes
    return UpdateEvent(update=number, epoch=epoch, **{"mean_loss": values["loss"], **values})


def epoch(
    number: int,
    predicted: dict[str, int],
    actual: dict[str, int],
    loss: float = 0.5,
    *,
    area: float = 0.5,
    at: int | None = None,
) -> EpochEvent:
    """An epoch that ends with update ``at``; ``area`` is that under the ROC curve of every class."""
    total = sum(actual.values())
    per_class = {
        name: {
            "support": actual[name],
            "predicted": predicted[name],
            "predicted_share": predicted[name] / total,
            "actual_share": actual[name] / total,
            "roc_auc": area,
        }
        for name in actual
    }
    valid = {"loss": loss, "accuracy": 0.5, "per_class": per_class}
    return EpochEvent(number, number * 100 if at is None else at, 0.5, 1.0, 1e-3, valid, 0.5, True, 1.0)
