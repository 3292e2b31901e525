"""Tokens and graphs of the same texts, side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.cache import Cache
from counterpoise.data.encode.base import Batch, Encoded, EncodedSplit, Encoding, Learnt
from counterpoise.data.encode.graphs import GraphEncoding, GraphsConfig
from counterpoise.data.encode.tokens import Tokens, TokensConfig
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import UserError, fail


@dataclass(frozen=True, kw_only=True)
class TokensAndGraphsConfig:
    """Both encodings' settings."""

    tokens: TokensConfig = field(default_factory=TokensConfig)
    """How text becomes token ids."""
    graphs: GraphsConfig = field(default_factory=GraphsConfig)
    """How it becomes graphs."""


@dataclass(frozen=True)
class PairSplit:
    """One split in both encodings; a batch holds the inputs of both."""

    tokens: EncodedSplit
    graphs: EncodedSplit

    @property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, ``[N]``."""
        return self.tokens.labels

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Tokens per sample, ``[N]``: they are padded to the longest of a batch, which graphs are not."""
        return self.tokens.lengths

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """The inputs of both encodings, whose names differ."""
        text, graph = self.tokens.batch(indices), self.graphs.batch(indices)
        assert isinstance(text.inputs, Mapping)
        assert isinstance(graph.inputs, Mapping)
        return Batch({**text.inputs, **graph.inputs}, text.labels, text.rows)


class TokensAndGraphs(Encoding):
    """Both encodings of every record; each is cached by itself, so one that is known already is not made again."""

    Config: ClassVar[type] = TokensAndGraphsConfig
    kind: ClassVar[str] = "tokens+graphs"

    def __init__(self, config: TokensAndGraphsConfig) -> None:
        self.config = config

    def check(self, dataset: Dataset) -> None:
        """Raises ``UserError`` for records that are no texts, and for what either encoding refuses beforehand."""
        if not dataset.train.has("text"):
            what = f"the records of {dataset.name} are graphs, which have no text to make tokens of."
            raise fail("data", what, "Use model=gnn for them, or data that are texts.")
        with _within("tokens"):
            Tokens(self.config.tokens).check(dataset)
        with _within("graphs"):
            GraphEncoding(self.config.graphs).check(dataset)

    def encode(self, dataset: Dataset, cache: Cache) -> Encoded:
        """Encode every split twice; ``properties`` are those of both, under ``tokens`` and ``graphs``.

        Raises:
            UserError: for whatever either encoding refuses.
        """
        with _within("tokens"):
            tokens = Tokens(self.config.tokens).encode(dataset, cache)
        with _within("graphs"):
            graphs = GraphEncoding(self.config.graphs).encode(dataset, cache)
        splits = {name: PairSplit(tokens.splits[name], graphs.splits[name]) for name in tokens.splits}
        both = set(tokens.artefacts) & set(graphs.artefacts)
        assert not both, f"both encodings keep {both}"
        return Encoded(
            splits,
            {"tokens": tokens.properties, "graphs": graphs.properties},
            {**tokens.artefacts, **graphs.artefacts},
            {**tokens.notes, **graphs.notes},
        )

    def learnt(self, folder: Path) -> Learnt:
        """Both encodings of a run."""
        tokens, graphs = Tokens(self.config.tokens).learnt(folder), GraphEncoding(self.config.graphs).learnt(folder)

        def apply(records: Records) -> PairSplit:
            return PairSplit(tokens.apply(records), graphs.apply(records))

        return Learnt({"tokens": tokens.properties, "graphs": graphs.properties}, apply)


@contextmanager
def _within(name: str) -> Iterator[None]:
    """What is wrong with one of the two encodings stands under its name."""
    try:
        yield
    except UserError as error:
        problems = [
            replace(problem, where=problem.where.replace("encoding.", f"encoding.{name}.", 1))
            for problem in error.problems
        ]
        raise UserError(problems, hidden=error.hidden) from error
