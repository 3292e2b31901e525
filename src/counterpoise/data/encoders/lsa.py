"""Latent semantic analysis: TF-IDF and a truncated SVD, learnt from the training split (Deerwester et al. 1990)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from counterpoise.config.schema import AT_LEAST_ONE, Range
from counterpoise.data.arrays import read_array
from counterpoise.data.encoders.base import TextEncoder, unit_rows
from counterpoise.data.words import TERM
from counterpoise.errors import UserError, fail
from counterpoise.jsonio import read_json, write_json
from counterpoise.typed import checked

TERMS, WEIGHTS, DIRECTIONS = "encoder_terms.json", "encoder_idf.npy", "encoder_components.npy"
"""Files that hold what was learnt."""
_SEED = 0
"""Of the randomised SVD: what is learnt depends on the training split alone."""
_SAMPLE_SIZE = 8
"""Numbers of a vector in a dry run."""
_NOTHING = 1e-6
"""Singular values below this part of the largest are none."""


@dataclass(frozen=True, kw_only=True)
class LSAConfig:
    """What counts as a term, and how many directions are kept."""

    size: Annotated[int, AT_LEAST_ONE] = 768
    """Numbers of a vector; fewer where the training split has no more directions."""
    ngrams: Annotated[int, Range(ge=1, le=5)] = 2
    """Longest run of words that is a term."""
    min_chunks: Annotated[int, AT_LEAST_ONE] = 2
    """Chunks of the training split that a term must stand in."""
    max_terms: Annotated[int, AT_LEAST_ONE] = 50_000
    """Most terms; the most frequent ones are kept."""


class LSA(TextEncoder):
    """TF-IDF with logarithmic counts, projected on its first right singular vectors, at length 1.

    A text without any known term is the zero vector.
    """

    Config: ClassVar[type] = LSAConfig
    fitted: ClassVar[bool] = True
    packages: ClassVar[tuple[str, ...]] = ("scikit-learn", "scipy", "numpy")
    config: LSAConfig
    _terms: TfidfVectorizer
    _components: NDArray[np.float32] | None = None

    @property
    def size(self) -> int:
        """Directions that were kept."""
        return len(self._learnt)

    @property
    def _learnt(self) -> NDArray[np.float32]:
        if self._components is None:
            raise RuntimeError("fit it, or load what was fitted, before it encodes")
        return self._components

    def fit(self, texts: Sequence[str]) -> None:
        """Learn terms, their weights and the directions from the chunks of the training split.

        Raises:
            UserError: if no term stands in as many of them as one must.
        """
        vectorizer = self._vectorizer()
        try:
            counts = vectorizer.fit_transform(texts)
        except ValueError as error:  # what scikit-learn says of an empty vocabulary, or one that pruning empties
            raise self._no_term() from error
        size = min(self.config.size, *counts.shape)
        found = TruncatedSVD(size, random_state=_SEED, n_iter=7).fit(counts)
        strong = found.singular_values_ > _NOTHING * found.singular_values_[0]
        self._terms, self._components = vectorizer, np.ascontiguousarray(found.components_[strong], np.float32)

    def check_learnable(self, texts: Iterable[str]) -> None:
        """Raises ``UserError`` if no term stands in as many texts as one must: no word does then."""
        words = TfidfVectorizer().build_analyzer()
        found = Counter[str]()
        for text in texts:
            found.update(own := set(words(text)))
            if any(found[word] >= self.config.min_chunks for word in own):
                return
        raise self._no_term()

    @classmethod
    def sample_config(cls, config: LSAConfig) -> LSAConfig:
        """A few texts hold few terms often."""
        return replace(config, min_chunks=1, size=min(config.size, _SAMPLE_SIZE))

    def _no_term(self) -> UserError:
        what = f"no term stands in {self.config.min_chunks} chunks of the training split or more."
        return fail("encoder.min_chunks", what, "Lower it, or choose encoder=hashing.")

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of ``N`` texts, ``[N, D]``."""
        components = self._learnt
        return unit_rows(np.asarray(self._terms.transform(texts) @ components.T))

    def save(self, folder: Path) -> list[str]:
        """Write terms, weights and directions."""
        np.save(folder / DIRECTIONS, self._learnt, allow_pickle=False)
        np.save(folder / WEIGHTS, self._terms.idf_, allow_pickle=False)
        write_json(folder / TERMS, self._terms.get_feature_names_out().tolist())
        return [TERMS, WEIGHTS, DIRECTIONS]

    def load(self, folder: Path) -> None:
        """Take up what :meth:`save` wrote."""
        terms = checked(list[str], read_json(folder / TERMS), TERMS)
        weights = read_array(folder / WEIGHTS, (np.float32, np.float64), 1)
        components = read_array(folder / DIRECTIONS, (np.float32,), 2)
        if len(set(terms)) < len(terms) or not (np.isfinite(weights).all() and np.isfinite(components).all()):
            raise ValueError(f"{TERMS} holds a term twice, or {WEIGHTS} or {DIRECTIONS} a number that is not finite")
        if weights.shape != (len(terms),) or components.shape[1:] != (len(terms),) or not len(components):
            raise ValueError(f"{TERMS}, {WEIGHTS} and {DIRECTIONS} do not belong together")
        vectorizer = self._vectorizer()
        vectorizer.vocabulary = {term: place for place, term in enumerate(terms)}
        vectorizer.idf_ = weights
        self._terms, self._components = vectorizer, components

    def _vectorizer(self) -> TfidfVectorizer:
        config = self.config
        return TfidfVectorizer(
            token_pattern=TERM,
            ngram_range=(1, config.ngrams),
            min_df=config.min_chunks,
            max_features=config.max_terms,
            sublinear_tf=True,
            dtype=np.float32,
        )
