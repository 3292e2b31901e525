"""Keeps a run's checkpoints on a disk that may fail: a save that fails ends nothing, and is made up for later."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from counterpoise.engine.checkpoints import LAST, Checkpoint, CheckpointStore
from counterpoise.storage import Storage

log = logging.getLogger(__name__)

State = Mapping[str, Any]
LAST_CHECKPOINT, BEST_WEIGHTS = "checkpoint last", "best weights"
"""What a message calls them."""


class Keeper:
    """Saves into a :class:`CheckpointStore`, whatever the disk does.

    Best weights that could not be written stay in memory, on the CPU, until they can. ``last`` is only written once
    they are: a checkpoint never speaks of a best epoch whose weights are nowhere, so a run that is resumed from it ends
    with the same bits.

    Args:
        store: where to.
        storage: told of a disk that fails; waits for it at the end of training.
        on_saved: called with the position of each ``last`` that was written while nothing else waits, and of the one
            that a run resumes from.
    """

    def __init__(
        self,
        store: CheckpointStore,
        storage: Storage | None = None,
        on_saved: Callable[[Mapping[str, int]], None] | None = None,
    ) -> None:
        self.store = store
        self.storage = storage or Storage()
        self.on_saved = on_saved
        self._best: tuple[nn.Module, Mapping[str, int]] | None = None

    def save_last(
        self,
        model: nn.Module,
        state: Callable[[], State],
        position: Callable[[], Mapping[str, int]],
        *,
        healthy: bool = False,
    ) -> None:
        """Make this moment the newest checkpoint; if that fails, the end of training tries again with its own moment.

        Args:
            model: its weights.
            state: everything else, gathered when it is written.
            position: where the run stands, likewise.
            healthy: whether a rescue may come back to it; said of this moment, not of one that stands in for it.
        """
        now = position()

        def write() -> None:
            self._write_best()
            at = position()
            self.store.save_last(model, state(), at, healthy=healthy and at == now)
            self.storage.whole = _whole(LAST, at)

        written = self.storage.attempt(LAST_CHECKPOINT, self.store.folder, write)
        if written and self.on_saved is not None and not self.storage.waiting:
            self.on_saved(position())

    def save_best(self, model: nn.Module, position: Mapping[str, int]) -> None:
        """Keep these weights as the best so far; in memory if the disk refuses them."""
        self._best = model, position
        if not self.storage.attempt(BEST_WEIGHTS, self.store.folder, self._write_best):
            self._best = Weights(model), position

    def _write_best(self) -> None:
        if self._best is not None:
            self.store.save_best(*self._best)
            self._best = None
            self.storage.written(BEST_WEIGHTS)

    def skip_last(self) -> None:
        """This moment is not worth a checkpoint, nor is what follows it without one."""
        self.storage.drop(LAST_CHECKPOINT)

    def settle(self) -> None:
        """The end of training: write what is missing. Raises :class:`~counterpoise.errors.StorageError`."""
        self.storage.settle()

    def newest(self) -> Checkpoint | None:
        """As :meth:`CheckpointStore.newest`."""
        checkpoint = self.store.newest()
        if checkpoint is not None:
            self.storage.whole = _whole(checkpoint.folder.name, checkpoint.manifest["position"])
            if self.on_saved is not None and checkpoint.folder.name == LAST:
                self.on_saved(checkpoint.manifest["position"])  # a kill may have come between the save and this
        return checkpoint

    def healthy(self, *, first: bool = False) -> Checkpoint | None:
        """As :meth:`CheckpointStore.healthy`."""
        return self.store.healthy(first=first)

    def best(self) -> Checkpoint | None:
        """As :meth:`CheckpointStore.best`."""
        return self.store.best()


def _whole(name: str, position: Mapping[str, int]) -> str:
    update = position.get("update", 0)
    return (
        f"The checkpoint of update {update} ({name}) is whole: what came after it is trained again, to the same bits."
    )


class Weights(nn.Module):
    """A copy of a module's state on the CPU, as a checkpoint writes it: tensors that share memory share it here too."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        copies: dict[tuple[str, int], torch.UntypedStorage] = {}
        self._state: dict[str, Tensor] = {}
        for name, tensor in module.state_dict().items():
            memory = tensor.untyped_storage()
            key = str(tensor.device), memory.data_ptr()
            if key not in copies:
                copies[key] = memory.clone() if tensor.device.type == "cpu" else memory.cpu()
            view = torch.empty(0, dtype=tensor.dtype)
            self._state[name] = view.set_(copies[key], tensor.storage_offset(), tensor.size(), tensor.stride())

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The copies, by name."""
        return dict(self._state)
