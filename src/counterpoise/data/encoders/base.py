"""Text encoders that are not trained here: what turns a passage of text into one vector."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from counterpoise.config.targets import Component
from counterpoise.data.cache import component_key


class TextEncoder(ABC):
    """A frozen function from texts to vectors. A subclass sets ``Config``, takes ``(config)`` and defines
    :attr:`size` and :meth:`encode`.

    One that learns something from texts sets ``fitted`` and defines :meth:`fit`, :meth:`save` and :meth:`load`.
    """

    Config: ClassVar[type]
    fitted: ClassVar[bool] = False
    """Whether it learns from the training split, and has nothing to encode by before that."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Packages whose versions its vectors depend on."""

    def __init__(self, config: Any) -> None:
        self.config = config

    def check(self) -> None:  # noqa: B027 (many have nothing to check)
        """Refuse what can be seen to be of no use before anything is embedded, in a dry run too.

        Raises:
            UserError: saying what is missing.
        """

    def check_learnable(self, texts: Iterable[str]) -> None:  # noqa: B027 (most learn nothing)
        """Refuse texts that :meth:`fit` could learn nothing from; no more of them are read than that takes.

        Raises:
            UserError: as :meth:`fit`.
        """

    @classmethod
    def sample_config(cls, config: Any) -> Any:
        """The config for a dry run, in which it learns from a few texts alone."""
        return config

    @property
    @abstractmethod
    def size(self) -> int:
        """Numbers of a vector, ``D``; of one that is fitted once it is."""

    @abstractmethod
    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of ``N`` texts, ``[N, D]``; each depends on its own text alone."""

    def unread(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """How many tokens of each text stand behind what the encoder can read, ``[N]``."""
        return np.zeros(len(texts), np.int64)

    def key(self) -> dict[str, Any]:
        """All that its vectors depend on beside what it was fitted on, JSON-ready: class, config, versions, files."""
        own = component_key(Component(type(self), self.config))
        return {**own, "versions": {name: version(name) for name in self.packages}, "files": self.files()}

    def files(self) -> dict[str, str]:
        """Checksums of what it reads from disk, by name."""
        return {}

    def fit(self, texts: Sequence[str]) -> None:
        """Learn from the chunks of the training split.

        Raises:
            UserError: if there is nothing to be learnt from them.
        """
        raise NotImplementedError(f"{type(self).__name__} learns nothing")

    def save(self, folder: Path) -> list[str]:
        """Write what was learnt as files of plain data, and return their names."""
        return []

    def load(self, folder: Path) -> None:  # noqa: B027 (one that learns nothing has nothing to load)
        """Take up what :meth:`save` wrote.

        Raises:
            OSError: if it is not there.
            ValueError: if it is not as it was written.
        """


def unit_rows(vectors: NDArray[np.floating[Any]]) -> NDArray[np.float32]:
    """Every vector of ``[N, D]`` at length 1; one without any length stays zero."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return np.ascontiguousarray(scaled, np.float32)
