"""Out of memory: the same update again in smaller micro-batches, so that only speed is lost."""

from __future__ import annotations

import ctypes
import gc
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import torch

from counterpoise.allocation import is_out_of_memory, said
from counterpoise.data.loader import Group
from counterpoise.engine.evaluation import SplitBatches
from counterpoise.engine.loaders import GroupSource
from counterpoise.errors import SMALLER_RUN, OutOfMemoryError

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass
class MemoryPlan:
    """The sizes that were found to fit; ``None`` while nothing has failed. Part of every checkpoint."""

    micro_batch: int | None = None
    """Samples, or tokens where they bound micro-batches."""
    evaluation_batch: int | None = None

    def state_dict(self) -> dict[str, int | None]:
        """Its fields."""
        return dict(vars(self))

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take up ``state_dict``'s answer again."""
        self.micro_batch, self.evaluation_batch = state["micro_batch"], state["evaluation_batch"]

    def train(self, group: Group, source: GroupSource, attempt: Callable[[Group], T]) -> T:
        """``attempt`` the group; after every failure in micro-batches of half the size, which later groups keep.

        The samples of the group, and so the effective batch and the order of the data, stay the same.

        Raises:
            OutOfMemoryError: if one sample alone is too much.
        """
        while True:
            group = self._fitted(group, source)
            try:
                return attempt(group)
            except Exception as error:
                message = _said(error)
            # Outside of the handler: the exception's frames hold the tensors that have to go.
            free_memory()
            unit = "samples" if group.tokens is None else "tokens"
            self.micro_batch = self._half(max(_size(group), 1), unit, "training", message)

    def _fitted(self, group: Group, source: GroupSource) -> Group:
        if self.micro_batch is None or _size(group) <= self.micro_batch:
            return group
        return source.split(group, self.micro_batch)

    def evaluate(self, batches: Any, attempt: Callable[[Any], T]) -> T:
        """``attempt`` to go through ``batches``; after every failure in batches of half the size.

        Raises:
            OutOfMemoryError: if one sample alone is too much, or the batches are a user's own.
        """
        while True:
            if isinstance(batches, SplitBatches) and self.evaluation_batch is not None:
                batches = batches.of_size(self.evaluation_batch)
            try:
                return attempt(batches)
            except Exception as error:
                message = _said(error)
            free_memory()
            size = batches.size if isinstance(batches, SplitBatches) else 1
            unit = "samples" if getattr(batches, "batch_tokens", None) is None else "tokens"
            self.evaluation_batch = self._half(size, unit, "evaluation", message)

    def _half(self, size: int, unit: str, what: str, message: str) -> int:
        if size == 1:
            raise OutOfMemoryError(f"{what}, and the batch cannot be made smaller", message, SMALLER_RUN)
        smaller = (size + 1) // 2
        log.warning(
            "Out of memory with %d %s at once in %s: going on with %d, to the same end. %s.",
            *(size, unit, what, smaller, message),
        )
        return smaller


def _said(error: Exception) -> str:
    """What an error says that is one of memory; raises every other."""
    if not is_out_of_memory(error):
        raise error
    return said(error)


def _size(group: Group) -> int:
    """Of a group's largest micro-batch that can be cut: in tokens where they bound it, else in samples."""
    return max(map(len, group.batches)) if group.tokens is None else group.tokens


def free_memory() -> None:
    """Give what a failed attempt held back to the system, and what PyTorch keeps for later back to the device."""
    gc.collect()  # frames of the exception and what they hold may stand in a cycle
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:  # glibc keeps what is freed in pieces, hundreds of MB after a batch that failed
        trim(0)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
