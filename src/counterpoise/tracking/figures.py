"""The figures that trackers send, by name: the same names everywhere."""

from __future__ import annotations

from typing import Any

from counterpoise.events import EpochEvent, UpdateEvent


def of_update(event: UpdateEvent) -> dict[str, float]:
    """Loss, learning rate and gradient norms, of the whole model and of each component, of a logged update."""
    figures = {"update/loss": event.loss, "update/lr": event.lr, "update/grad_norm": event.grad_norm}
    return {**figures, **{f"update/grad_norm/{name}": norm for name, norm in event.component_grad_norms.items()}}


def of_epoch(event: EpochEvent) -> dict[str, float]:
    """Training loss, validation figures, the share predicted as each class, and gradient norms of an epoch."""
    figures: dict[str, float] = {"train/loss": event.train_loss, "train/grad_norm": event.grad_norm}
    figures |= {f"valid/{name}": value for name, value in event.valid.items() if is_figure(value)}
    for name, of_class in event.valid.get("per_class", {}).items():
        figures[f"predicted_share/{name}"] = of_class["predicted_share"]
    return {**figures, **{f"grad_norm/{name}": norm for name, norm in event.component_grad_norms.items()}}


def is_figure(value: Any) -> bool:
    """Whether it is a number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool)
