"""Encodings: from records to the ragged columns that a kind of model reads."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from counterpoise.data.cache import Cache
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import fail


@dataclass(frozen=True)
class Batch:
    """Inputs of one kind of model for ``B`` samples."""

    inputs: Mapping[str, Tensor] | tuple[Tensor, ...]
    """Keyword arguments of the model's ``forward``; from a user's own loader also positional ones."""
    labels: Tensor
    """Class indices, ``[B]``, int64."""
    rows: Tensor
    """Row numbers in the data set, ``[B]``, int64."""

    def __len__(self) -> int:
        return len(self.labels)

    def to(self, device: torch.device) -> Batch:
        """The same batch on ``device``; copies from pinned memory do not block."""
        if device.type == "cpu":
            return self
        return self._each(lambda value: value.to(device, non_blocking=True))

    def pin(self) -> Batch:
        """The same batch in page-locked memory."""
        return self._each(_pinned)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        inputs: Mapping[str, Tensor] | tuple[Tensor, ...]
        if isinstance(self.inputs, tuple):
            inputs = tuple(change(value) for value in self.inputs)
        else:
            inputs = {name: change(value) for name, value in self.inputs.items()}
        return Batch(inputs, change(self.labels), change(self.rows))


def _pinned(value: Tensor) -> Tensor:
    """What a user's own loader yields may lie on a device already, or not be dense."""
    on_host = value.device.type == "cpu" and value.layout == torch.strided
    return value.pin_memory() if on_host else value


class EncodedSplit(Protocol):
    """One split, ready to be batched. All that the loader knows of an encoding."""

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, ``[N]``."""

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Size of each sample (tokens, nodes, chunks), ``[N]``: samples of similar size share a batch."""

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The samples at ``indices [B]``, by vectorised gathers."""


class ChunkedSplit(EncodedSplit, Protocol):
    """A split of texts that were cut into chunks."""

    def spans(self, index: int) -> NDArray[np.int64]:
        """Where the chunks of one sample stand in its text: first character and the one behind the last, ``[L, 2]``."""


@dataclass(frozen=True)
class StagedSplit:
    """A split whose form depends on the epoch: the same samples in the same order, as other inputs."""

    first: EncodedSplit
    """In the first ``epochs`` epochs."""
    then: EncodedSplit
    """In all others, and where nobody asks."""
    epochs: int

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, ``[N]``."""
        return self.then.labels

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Size of each sample ``[N]``, the same in every epoch, so that the order does not depend on the form."""
        return self.then.lengths

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The samples at ``indices [B]`` in their later form."""
        return self.then.batch(indices)

    def at(self, epoch: int) -> EncodedSplit:
        """The form that ``epoch`` (zero-based) has."""
        return self.first if epoch < self.epochs else self.then


def at_epoch(split: EncodedSplit, epoch: int) -> EncodedSplit:
    """The form that a split has in ``epoch`` (zero-based): its own, or what its ``at`` says."""
    at = getattr(split, "at", None)
    return split if at is None else at(epoch)


@dataclass(frozen=True)
class Encoded:
    """An encoded data set."""

    splits: Mapping[str, EncodedSplit]
    """By name: train, valid and, where there is one, test."""
    properties: Mapping[str, Any]
    """What a model of this kind must know, e.g. ``vocab_size``, ``pad_id`` and ``max_length`` of tokens."""
    artefacts: Mapping[str, Path] = field(default_factory=dict)
    """Files to keep with the run, by name: what is needed to encode new input in the same way."""
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Counts worth keeping beside the result, e.g. how much was truncated. JSON-ready."""


@dataclass(frozen=True)
class Learnt:
    """An encoding as a finished run left it, for new input; nothing is learnt any more."""

    properties: Mapping[str, Any]
    """As of :class:`Encoded`."""
    apply: Callable[[Records], EncodedSplit]
    """Encode further records just as the run's own were. Raises ``UserError`` for records that it cannot encode, and
    ``OSError`` or ``ValueError`` if what the run left is damaged."""


class Encoding(ABC):
    """Turns records into an encoded data set. A subclass sets ``Config`` and ``kind``."""

    Config: ClassVar[type]
    kind: ClassVar[str]
    """What a model asks for by its ``encoding`` attribute."""
    needs_encoder: ClassVar[bool] = False
    """Whether it embeds texts, and is built from ``(config, encoder)``, where others are built from ``(config)``."""

    @classmethod
    def sample_tokens(cls, config: Any) -> int | None:
        """Tokens of the largest sample that this config allows, where micro-batches should be bounded by tokens rather
        than by samples; else ``None``."""
        return None

    def check(self, dataset: Dataset) -> None:  # noqa: B027 (many have nothing to check)
        """Refuse what can be seen to be of no use before anything is encoded, in a dry run too.

        Raises:
            UserError: saying what does not fit.
        """

    @abstractmethod
    def encode(self, dataset: Dataset, cache: Cache) -> Encoded:
        """Encode every split. Anything that is learnt (a vocabulary) is learnt from the training split alone."""

    def learnt(self, folder: Path) -> Learnt:
        """What a run learnt to encode by, from the artefacts in its folder.

        Raises:
            UserError: if this encoding cannot be applied to new input.
            OSError: if an artefact is missing; a ``ValueError``, ``KeyError`` or ``TypeError`` if it is damaged.
        """
        what = f"{type(self).__name__} does not say how new input is encoded: it has no learnt()."
        raise fail("encoding", what, "See docs/extending.md.")
