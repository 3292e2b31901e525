"""Records: what a source yields, before any encoding."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counterpoise.data.graphs import Graphs

REQUIRED_COLUMNS = {"row": pa.int64(), "label": pa.int64()}
OPTIONAL_COLUMNS = {
    "text": pa.large_string(),
    "group": pa.large_string(),
    "criterion": pa.large_string(),
    "evidence": pa.large_list(pa.int64()),
    "evidence_spans": pa.large_list(pa.int64()),
}


@dataclass(frozen=True)
class Records:
    """One split as an Arrow table.

    Columns: ``row`` (int64, unique within a data set), ``label`` (int64, an index into ``classes``), and ``text``
    (large_string) or those of a graph (see :meth:`counterpoise.data.graphs.Graphs.to_arrow`); optionally ``group`` and
    ``criterion`` (large_string) and ``evidence`` (large_list<int64>: for source code the 1-based lines that decide the
    label, empty where there are none) or ``evidence_spans`` (large_list<int64>: for other texts the passages that
    decide, first character and the one behind the last of each in turn).
    """

    table: pa.Table
    classes: tuple[str, ...]

    @classmethod
    def from_columns(cls, columns: dict[str, Any], classes: Sequence[str]) -> Records:
        """Build from plain lists or arrays by column name; types are those of the class docstring."""
        types = REQUIRED_COLUMNS | OPTIONAL_COLUMNS
        table = pa.table({name: pa.array(values, types[name]) for name, values in columns.items()})
        return cls(table, tuple(classes))

    @classmethod
    def from_graphs(cls, graphs: Graphs, columns: dict[str, Any], classes: Sequence[str]) -> Records:
        """Records that are graphs rather than texts; ``columns`` are all others, as for :meth:`from_columns`."""
        types = REQUIRED_COLUMNS | OPTIONAL_COLUMNS
        named = {name: pa.array(values, types[name]) for name, values in columns.items()}
        table = graphs.to_arrow()
        return cls(pa.table(named | {name: table[name] for name in table.column_names}), tuple(classes))

    def __post_init__(self) -> None:
        for name, kind in REQUIRED_COLUMNS.items():
            if name not in self.table.column_names or self.table.schema.field(name).type != kind:
                raise ValueError(f"records need a column {name!r} of type {kind}")
        if not self.has("text") and not self.are_graphs:
            raise ValueError("records need a column 'text', or those of a graph")

    def __len__(self) -> int:
        return int(self.table.num_rows)

    @cached_property
    def labels(self) -> NDArray[np.int64]:
        """Class indices, ``[N]``."""
        return self.table["label"].to_numpy()  # type: ignore[no-any-return]

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Row numbers within the data set, ``[N]``."""
        return self.table["row"].to_numpy()  # type: ignore[no-any-return]

    @property
    def texts(self) -> list[str]:
        """The texts as Python strings, ``[N]``."""
        return self.table["text"].to_pylist()  # type: ignore[no-any-return]

    @property
    def are_graphs(self) -> bool:
        """Whether they came as graphs rather than as texts."""
        return self.has("node_types")

    @cached_property
    def graphs(self) -> Graphs:
        """The graphs, where records are graphs."""
        return Graphs.from_arrow(self.table.combine_chunks())

    def has(self, column: str) -> bool:
        """Whether an optional column is there."""
        return column in self.table.column_names

    def spans_of_evidence(self, index: int) -> NDArray[np.int64]:
        """The passages that decide one record's label, ``[S, 2]`` as in ``evidence_spans``; maybe none."""
        found = self.table["evidence_spans"][index].as_py() if self.has("evidence_spans") else None
        return np.asarray(found or [], np.int64).reshape(-1, 2)

    def class_counts(self) -> NDArray[np.int64]:
        """Records per class, ``[C]``."""
        return np.bincount(self.labels, minlength=len(self.classes))

    def take(self, indices: NDArray[np.integer[Any]]) -> Records:
        """The records at these positions, in this order."""
        return Records(self.table.take(pa.array(indices)), self.classes)

    def where(self, keep: NDArray[np.bool_]) -> Records:
        """The records where ``keep [N]`` is true."""
        return Records(self.table.filter(pa.array(keep)), self.classes)


@dataclass(frozen=True)
class Dataset:
    """Everything that one experiment learns from and is measured on.

    The test split may be absent; the validation split then stands in nowhere: results simply have no test figures.
    """

    name: str
    train: Records
    valid: Records
    test: Records | None
    notes: dict[str, Any] = field(default_factory=dict)
    """Counts worth keeping beside the result: bad records, duplicates, leakage, truncation. JSON-ready."""
    language: str | None = None
    """Programming language of the texts, for those who parse them: c or cpp; ``None`` for anything else."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names; a label is an index into them."""
        return self.train.classes

    def splits(self) -> dict[str, Records]:
        """The splits that exist, by name, in the order train, valid, test."""
        named = {"train": self.train, "valid": self.valid}
        return named | ({"test": self.test} if self.test is not None else {})
