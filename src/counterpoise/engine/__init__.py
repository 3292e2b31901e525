"""The training loop, for use with a user's own model, optimizer, loss and loaders (``docs/trainer.md``)."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from counterpoise.engine.checkpoints import Checkpoint, CheckpointStore
    from counterpoise.engine.criteria import MeanLoss
    from counterpoise.engine.evaluation import Predictions, SplitBatches, predict
    from counterpoise.engine.keeper import Keeper
    from counterpoise.engine.loaders import ForeignBatches, ForeignLoader
    from counterpoise.engine.precision import make_fabric
    from counterpoise.engine.progress import History, Position
    from counterpoise.engine.rng import seed_everything
    from counterpoise.engine.trainer import Trainer

_HOMES = {
    "Checkpoint": "checkpoints",
    "CheckpointStore": "checkpoints",
    "ForeignBatches": "loaders",
    "ForeignLoader": "loaders",
    "History": "progress",
    "Keeper": "keeper",
    "MeanLoss": "criteria",
    "Position": "progress",
    "Predictions": "evaluation",
    "SplitBatches": "evaluation",
    "Trainer": "trainer",
    "make_fabric": "precision",
    "predict": "evaluation",
    "seed_everything": "rng",
}

__all__ = [
    "Checkpoint",
    "CheckpointStore",
    "ForeignBatches",
    "ForeignLoader",
    "History",
    "Keeper",
    "MeanLoss",
    "Position",
    "Predictions",
    "SplitBatches",
    "Trainer",
    "make_fabric",
    "predict",
    "seed_everything",
]


def __getattr__(name: str) -> Any:
    """Import on first use: whoever needs one small part does not pay for Fabric."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
