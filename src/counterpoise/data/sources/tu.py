"""Graphs in the text format of the TU Dortmund collection (chrsmrrs.github.io/datasets): MUTAG, PROTEINS and others."""

from __future__ import annotations

import logging
import re
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.graphs import Graphs
from counterpoise.data.records import Dataset, Records
from counterpoise.data.sources.base import Source, SourceConfig
from counterpoise.data.sources.paths import existing, near
from counterpoise.data.sources.reading import Collector, check_classes
from counterpoise.data.sources.shares import LISTED, SplitConfig, edge_type_problems, split_notes, split_records
from counterpoise.data.sources.sheet import Fault, short
from counterpoise.errors import Problem, fail
from counterpoise.files import read_bytes

log = logging.getLogger(__name__)
_POINT_ZERO = re.compile(rb"(?<=[0-9])\.0*(?=[,\s]|$)")
"""Of an integer that was written as a float."""
Numbers = NDArray[np.integer[Any]] | NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class TUConfig(SplitConfig):
    """Where the files are, and how their graphs are split."""

    path: str | None = None
    """Folder with the files ``NAME_A.txt``, ``NAME_graph_indicator.txt``, ..., or with a folder ``NAME`` of them."""
    name: str | None = None
    """Name of the data set; null: the only one that is there."""

    def problems(self) -> Iterable[Problem]:
        """Settings that are missing or contradict each other."""
        yield from super().problems()
        if self.path is None:
            what = "must be given: the folder of a data set in TU format (NAME_A.txt, NAME_graph_indicator.txt, ...)."
            yield Problem("path", what, "Add data.path=FOLDER to the command.")


class TUGraphs(Source):
    """Graphs with integer labels. Node labels are node types, edge labels edge types, node attributes features.

    Each of these three may be absent. ``row`` is the graph's number in the files, from 0; bad graphs are counted too.
    """

    Config: ClassVar[type[SourceConfig]] = TUConfig

    def __init__(self, config: TUConfig) -> None:
        self._config = config

    def load(self) -> Dataset:
        """Read, check and split.

        Raises:
            UserError: with every problem that could be seen, each with file and line.
        """
        folder, name = self._find()
        collector = Collector(self._config.on_bad_record)
        records = _Files(folder, name, collector).records()
        check_classes({"train": records}, "data.path")
        splits = split_records(records, self._config)
        notes = collector.notes() | {"split": split_notes(self._config)}
        return Dataset(name, splits["train"], splits["valid"], splits.get("test"), notes=notes)

    def _find(self) -> tuple[Path, str]:
        """The folder that holds the files, and the data set's name."""
        assert self._config.path is not None
        folder = existing(self._config.path, "data.path", folder=True)
        there = _names(folder)
        inside = {item.name: item for item in sorted(folder.iterdir()) if item.is_dir() and item.name in _names(item)}
        name = self._config.name
        if name is None:
            found = [*there, *(inner for inner in inside if inner not in there)]
            if len(found) != 1:
                what = f"{folder} holds {len(found)} data sets in TU format. {near('', found, 'Found')}"
                remedy = "Add data.name=NAME." if found else "Expected a file NAME_A.txt, in it or in a folder NAME."
                raise fail("data.path" if not found else "data.name", what, remedy)
            (name,) = found
        if name in there:
            return folder, name
        if name in inside:
            return inside[name], name
        raise fail(
            "data.name", f"there is no {name}_A.txt in {folder}. {near(name, [*there, *inside], 'Data sets found')}"
        )


def _names(folder: Path) -> list[str]:
    return sorted(item.name.removesuffix("_A.txt") for item in folder.glob("*_A.txt") if item.is_file())


class _Files:
    """The files of one data set, checked against each other."""

    def __init__(self, folder: Path, name: str, collector: Collector) -> None:
        self.folder, self.name, self.collector = folder, name, collector
        self.edges = self._read("A", columns=2)
        self.indicator = self._read("graph_indicator", columns=1)
        self.labels = self._read("graph_labels", columns=1)
        self.node_labels = self._read("node_labels", optional=True)
        self.edge_labels = self._read("edge_labels", optional=True)
        self.attributes = self._read("node_attributes", optional=True, numbers=True)
        if self._path("edge_attributes").exists():
            log.warning("%s is not read: edges have types only", self._path("edge_attributes"))

    def _path(self, kind: str) -> Path:
        return self.folder / f"{self.name}_{kind}.txt"

    def _where(self, kind: str, line: int) -> str:
        return f"{self._path(kind)}:{line + 1}"

    def _read(
        self, kind: str, *, columns: int | None = None, optional: bool = False, numbers: bool = False
    ) -> NDArray[Any]:
        """All lines of a file ``[lines, columns]``; what is wrong goes to the collector."""
        path = self._path(kind)
        if not path.is_file():
            if not optional:
                self.collector.fatal(Problem(str(path), "is not there, but a data set in TU format needs it."))
            return np.empty((0, columns or 0), np.int64)
        try:
            content = read_bytes(path)
        except OSError as error:
            self.collector.fatal(Problem(str(path), f"cannot be read: {error.strerror or error}."))
            return np.empty((0, columns or 0), np.int64)
        values, problems, hidden = parse_columns(content, str(path), columns, float if numbers else int)
        self.collector.fatal(*problems)
        if hidden:
            self.collector.fatal(Problem(str(path), f"has {hidden:,} more lines like these."))
        return values

    def records(self) -> Records:
        """All graphs that can be used.

        Raises:
            UserError: if something is wrong.
        """
        self.collector.check()  # before files are compared: a line that is not read shifts all others
        self._check_lengths()
        self.collector.check()  # in files that do not fit together every line would be wrong
        self._check_ranges()
        self._check_edge_types()
        self.collector.check()
        graphs, bad = self._graphs()
        self.collector.seen = len(self.labels)
        for graph, faults in sorted(bad.items()):
            self.collector.bad(self._where("graph_labels", graph), faults)
        self.collector.check()
        usable = np.setdiff1d(np.arange(len(self.labels)), list(bad))
        values, labels = np.unique(self.labels[usable, 0], return_inverse=True)
        columns = {"row": usable, "label": labels.astype(np.int64)}
        return Records.from_graphs(graphs.take(usable), columns, [str(value) for value in values])

    def _check_lengths(self) -> None:
        nodes, edges = len(self.indicator), len(self.edges)
        beside = [("node_labels", self.node_labels, nodes, "graph_indicator")]
        beside += [("node_attributes", self.attributes, nodes, "graph_indicator")]
        beside += [("edge_labels", self.edge_labels, edges, "A")]
        for kind, values, expected, other in beside:
            if self._path(kind).exists() and len(values) != expected:
                what = f"has {len(values):,} lines, but {self._path(other).name} has {expected:,}; expected as many."
                self.collector.fatal(Problem(str(self._path(kind)), what))
        for kind, values in (("graph_indicator", self.indicator), ("graph_labels", self.labels)):
            if not len(values):
                self.collector.fatal(Problem(str(self._path(kind)), "is empty."))

    def _check_ranges(self) -> None:
        graphs, nodes = len(self.labels), len(self.indicator)
        for kind, values, count, what in (
            ("graph_indicator", self.indicator, graphs, "graphs"),
            ("A", self.edges, nodes, "nodes"),
        ):
            bad = np.flatnonzero(((values < 1) | (values > count)).any(axis=1))
            for line in bad[:LISTED].tolist():
                number = next(value for value in values[line].tolist() if not 1 <= value <= count)
                message = f"names number {number}, but there are {what} 1 to {count:,}."
                self.collector.fatal(Problem(self._where(kind, line), message))
            if len(bad) > LISTED:
                more = f"has {len(bad) - LISTED:,} more lines like these."
                self.collector.fatal(Problem(str(self._path(kind)), more))

    def _check_edge_types(self) -> None:
        if self.edge_labels.size:
            path, count = self._path("edge_labels"), len(np.unique(self.edge_labels, axis=0))
            self.collector.fatal(*edge_type_problems(str(path), "the file", count))

    def _graphs(self) -> tuple[Graphs, dict[int, list[Fault]]]:
        """All graphs, and what is wrong with some of them, by number."""
        graph = self.indicator[:, 0] - 1
        order = np.argsort(graph, kind="stable")  # nodes of a graph need not stand together
        sizes = np.bincount(graph, minlength=len(self.labels))
        offsets = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order)) - offsets[graph[order]]
        ends = self.edges - 1
        owner = graph[ends[:, 1]]
        bad = self._faults(sizes, graph[ends[:, 0]], owner)
        inside = np.flatnonzero(graph[ends[:, 0]] == owner)  # the others belong to bad graphs
        by_graph = inside[np.argsort(owner[inside], kind="stable")]
        counts = np.bincount(owner[inside], minlength=len(sizes))
        nothing = np.zeros(len(order), np.int64)
        graphs = Graphs(
            offsets,
            np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
            np.zeros_like(offsets),
            node_types=kinds(self.node_labels, len(order))[order],
            lines=nothing,
            token_counts=nothing,
            token_ids=nothing[:0],
            sources=place[ends[by_graph, 0]],
            targets=place[ends[by_graph, 1]],
            edge_types=kinds(self.edge_labels, len(ends))[by_graph],
            node_features=self.attributes[order] if self.attributes.size else None,
        )
        return graphs, bad

    def _faults(
        self, sizes: NDArray[np.int64], left: NDArray[np.int64], right: NDArray[np.int64]
    ) -> dict[int, list[Fault]]:
        bad: dict[int, list[Fault]] = {}
        for graph in np.flatnonzero(sizes == 0).tolist():
            bad[graph] = [Fault("graph without nodes", f"graph {graph + 1} has no node in the graph_indicator file.")]
        for line in np.flatnonzero(left != right).tolist():
            one, other = int(left[line]), int(right[line])
            place = self._where("A", line)
            for graph, beside in ((one, other), (other, one)):
                what = f"graph {graph + 1} has an edge to graph {beside + 1}, at {place}."
                bad.setdefault(graph, []).append(Fault("edge between graphs", what))
        return bad


def kinds(labels: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """Labels ``[count, columns]`` as types 0, 1, ... in their order; all of them 0 where there are no labels."""
    if not labels.size:
        return np.zeros(count, np.int64)
    return np.unique(labels, axis=0, return_inverse=True)[1].reshape(-1)


def parse_columns(
    content: bytes, where: str, columns: int | None, kind: type[int] | type[float]
) -> tuple[NDArray[Any], list[Problem], int]:
    """Lines of numbers with commas between them.

    Args:
        content: the file's.
        where: its path, for messages.
        columns: numbers on each line; ``None``: as many as on the first.
        kind: integers, or numbers that are finite as float32.

    Returns:
        the numbers ``[lines, columns]``, int64 or float32; problems with file and line; how many lines more
        have one.
    """
    content = content.rstrip() if kind is float else _POINT_ZERO.sub(b"", content.rstrip())
    dtype: Any = np.int64 if kind is int else np.float32
    if not content:
        return np.empty((0, columns or 0), dtype), [], 0
    lines = content.decode("utf-8", errors="replace").splitlines()
    values = _numbers(lines, kind) if content.isascii() else None
    if values is not None and len(values) == len(lines) and columns in (None, values.shape[1]):
        return values, [], 0
    columns = columns or len(lines[0].split(","))
    checked = ((number, _flaw(line, columns, kind)) for number, line in enumerate(lines, 1))
    problems = [Problem(f"{where}:{number}", flaw) for number, flaw in checked if flaw]
    if not problems:
        problems = [Problem(where, "cannot be read as lines of numbers with commas between them.")]
    return np.empty((0, columns), dtype), problems[:LISTED], max(len(problems) - LISTED, 0)


def _numbers(lines: list[str], kind: type[int] | type[float]) -> NDArray[Any] | None:
    """All lines at once, int64 or float32 ``[lines, columns]``; ``None`` if anything is wrong with one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # an integer such as 1.5 is only warned about
            values = np.loadtxt(lines, np.int64 if kind is int else np.float64, delimiter=",", comments=None, ndmin=2)
    except (ValueError, OverflowError, Warning):
        return None
    if kind is int:
        return values
    rounded = _as_float32(values)
    return rounded if np.isfinite(rounded).all() else None


def _as_float32(values: Any) -> NDArray[np.float32]:
    """Rounded; what is too large becomes infinite."""
    with np.errstate(over="ignore"):
        return np.asarray(values, np.float64).astype(np.float32)


def _flaw(line: str, columns: int, kind: type[int] | type[float]) -> str:
    """What is wrong with a line; empty if nothing is."""
    one, several = ("an integer", "integers") if kind is int else ("a finite number", "finite numbers")
    wanted = one if columns == 1 else f"{columns} {several} with commas between them"
    try:
        values = [kind(part) for part in line.split(",")]
    except ValueError:
        values = []
    if len(values) != columns or "_" in line or not line.isascii():  # Python reads 1_0 and other scripts' digits
        good = False
    elif kind is int:
        good = all(abs(value) < 2**63 for value in values)
    elif good := bool(np.isfinite(values).all()):
        good = bool(np.isfinite(_as_float32(values)).all())
        wanted += ", at most 3.4e38 as float32" if not good else ""
    return "" if good else f"is {short(line.strip())}; expected {wanted}."
