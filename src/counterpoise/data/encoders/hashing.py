"""Hashed words: nothing is learnt, nothing is downloaded, every text has a vector (Weinberger et al. 2009)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import HashingVectorizer

from counterpoise.config.schema import AT_LEAST_ONE, Range
from counterpoise.data.encoders.base import TextEncoder
from counterpoise.data.words import TERM


@dataclass(frozen=True, kw_only=True)
class HashingConfig:
    """What counts as a term, and how many numbers they share."""

    size: Annotated[int, AT_LEAST_ONE] = 1024
    """Numbers of a vector."""
    ngrams: Annotated[int, Range(ge=1, le=5)] = 2
    """Longest run of words that is a term."""


class Hashing(TextEncoder):
    """Each term adds 1 or -1, by a hash, to one of the numbers, by the same hash; at length 1.

    The hash is MurmurHash3, the same in every process and on every machine. Texts have about the cosine similarity
    that the counts of their terms have.
    """

    Config: ClassVar[type] = HashingConfig
    packages: ClassVar[tuple[str, ...]] = ("scikit-learn",)
    config: HashingConfig

    def __init__(self, config: HashingConfig) -> None:
        super().__init__(config)
        self._terms = HashingVectorizer(
            n_features=config.size,
            token_pattern=TERM,
            ngram_range=(1, config.ngrams),
            norm="l2",
            alternate_sign=True,
            dtype=np.float32,
        )

    @property
    def size(self) -> int:
        """As configured."""
        return self.config.size

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of ``N`` texts, ``[N, D]``; one without any word is zero."""
        return np.asarray(self._terms.transform(texts).toarray(), np.float32)
