"""Graphs saved with PyTorch Geometric: ``.pt`` files in folders. Nothing in such a file can run code."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.graphs import Graphs, join
from counterpoise.data.records import Dataset, Records
from counterpoise.data.sources.base import Source, SourceConfig
from counterpoise.data.sources.paths import existing
from counterpoise.data.sources.reading import Collector, check_classes
from counterpoise.data.sources.shares import LISTED, SplitConfig, edge_type_problems, split_notes, split_records
from counterpoise.data.sources.sheet import Fault
from counterpoise.data.sources.spelling import INTEGER, label_spelling
from counterpoise.errors import Problem, UserError
from counterpoise.files import check_regular

if TYPE_CHECKING:
    from torch import Tensor

log = logging.getLogger(__name__)
FIELDS = ("x", "edge_index", "edge_attr", "y", "num_nodes")
Array = NDArray[Any]
KINDS = {"types": "integers (types)", "features": "numbers (features)", "none": "nothing"}
MOST_NODES = 10**8
"""Nodes that ``num_nodes`` may make up in a data set; a few bytes could ask for more memory than there is."""


@dataclass(frozen=True, kw_only=True)
class PyGConfig(SplitConfig):
    """Where the files are, and how their graphs are split."""

    path: str | None = None
    """Folder of ``.pt`` files that are split here, or with the folders train, valid and perhaps test of them."""

    def problems(self) -> Iterable[Problem]:
        """Settings that are missing or contradict each other."""
        yield from super().problems()
        if self.path is None:
            what = "must be given: the folder of .pt files, each a torch_geometric.data.Data, or a list of them."
            yield Problem("path", what, "Add data.path=FOLDER to the command.")


class PyGGraphs(Source):
    """Graphs with an integer label ``y``.

    A file holds a ``torch_geometric.data.Data``, a dict of tensors with the same names, or a list of either. ``x`` is
    features ``[n, F]`` of floats, or node types ``[n]`` of integers; ``edge_attr`` is edge types ``[e]`` of integers,
    or one-hot ``[e, R]``. Both may be absent, but then ``num_nodes`` must be there. ``row`` is a running number over
    all splits, files by name; bad graphs are counted too.
    """

    Config: ClassVar[type[SourceConfig]] = PyGConfig

    def __init__(self, config: PyGConfig) -> None:
        self._config = config

    def load(self) -> Dataset:
        """Read, check and split.

        Raises:
            UserError: with every problem that could be seen, each with its file and the graph's number in it.
        """
        assert self._config.path is not None
        folder = existing(self._config.path, "data.path", folder=True)
        given = _split_folders(folder)
        collector = Collector(self._config.on_bad_record)
        reader = _Reader(collector)
        parts = {name: reader.read(inner) for name, inner in (given or {"train": folder}).items()}
        reader.check_totals(folder)
        collector.check()
        check_kinds([item for items in parts.values() for item in items], folder)
        records = _records(parts)
        check_classes(records, "data.path")
        splits = records if given else split_records(records["train"], self._config)
        split = {"kind": "given", "seed": None} if given else split_notes(self._config)
        notes = collector.notes() | {"split": split}
        return Dataset(folder.name or "pyg", splits["train"], splits["valid"], splits.get("test"), notes=notes)


def _split_folders(folder: Path) -> dict[str, Path]:
    """The folders train, valid and test, or nothing where the files are to be split.

    Raises:
        UserError: if there are neither files nor folders, or train or valid is missing.
    """
    found = {name: folder / name for name in ("train", "valid", "test") if (folder / name).is_dir()}
    has_files = any(folder.glob("*.pt"))
    problems = []
    if not found and not has_files:
        what = f"there is no .pt file in {folder}, and no folder train, valid or test."
        problems.append(Problem("data.path", what, "Save each graph with torch.save(data, 'FOLDER/NAME.pt')."))
    if found and has_files:
        problems.append(Problem("data.path", f"{folder} has .pt files beside folders of splits.", "Move one of them."))
    for name in ("train", "valid"):
        if found and name not in found:
            problems.append(Problem("data.path", f"{folder} has no folder {name!r}, but {' and '.join(found)}."))
    for inner in found.values():
        if not any(inner.glob("*.pt")):
            problems.append(Problem(str(inner), "holds no .pt file."))
    if problems:
        raise UserError(problems)
    return found


@dataclass(frozen=True)
class _Item:
    """One graph that can be used."""

    row: int
    where: str
    label: int
    nodes: int
    edges: Array
    """``[2, e]``."""
    node_values: Array | None
    """Types ``[n]`` or features ``[n, F]``."""
    edge_types: Array | None
    edge_kind: str
    """What ``edge_attr`` is, as messages show it."""

    @property
    def kind(self) -> tuple[str, int, str]:
        """What nodes come with, how many numbers, and what edges come with: the same for all graphs of a data set."""
        values = self.node_values
        if values is None:
            nodes, width = "none", 0
        else:
            nodes, width = ("types", 0) if values.ndim == 1 else ("features", values.shape[1])
        return nodes, width, self.edge_kind


class _Reader:
    """Reads files one after the other; what is wrong goes to the collector."""

    def __init__(self, collector: Collector) -> None:
        self.collector = collector
        self.unreadable = 0
        """Files that cannot be read."""
        self.bare_nodes = 0
        """Nodes of usable graphs that there is only ``num_nodes`` for."""

    def read(self, folder: Path) -> list[_Item]:
        """All usable graphs of a folder's files."""
        found = []
        for path in sorted(folder.glob("*.pt")):
            content = load_safely(path)
            if isinstance(content, Problem):
                self.unreadable += 1
                if self.unreadable <= LISTED:
                    self.collector.fatal(content)
                continue
            several = isinstance(content, list | tuple)
            for number, graph in enumerate(content if several else [content], 1):
                where = f"{path}: graph {number}" if several else str(path)
                row = self.collector.seen
                self.collector.seen += 1
                item = _item(graph, row, where)
                if isinstance(item, _Item):
                    found.append(item)
                    self.bare_nodes += 0 if item.node_values is not None else item.nodes
                else:
                    self.collector.bad(where, item)
        if not found and self.collector.skipped:  # otherwise each of them is listed anyway
            self.collector.fatal(
                Problem(str(folder), "has no usable graph.", "See the log for what is wrong with them.")
            )
        return found

    def check_totals(self, folder: Path) -> None:
        """What only all files together show."""
        if self.unreadable > LISTED:
            more = f"has {self.unreadable - LISTED:,} more files like these."
            self.collector.fatal(Problem(str(folder), more))
        if self.bare_nodes > MOST_NODES:
            what = f"has graphs without 'x' whose 'num_nodes' add up to {self.bare_nodes:,}; at most {MOST_NODES:,}."
            self.collector.fatal(Problem(str(folder), what, "Is 'num_nodes' right?"))


def check_kinds(items: list[_Item], folder: Path) -> None:
    """All graphs must come with the same kind of numbers as the first.

    Raises:
        UserError: if some do not, or there are too many types of edges.
    """
    problems = []
    for item in items:
        for place, own, first in zip(("x", "x", "edge_attr"), item.kind, items[0].kind, strict=True):
            if own != first:
                shown = [KINDS.get(str(kind), f"{kind} numbers" if place == "x" else kind) for kind in (own, first)]
                what = f"{place!r} is {shown[0]}, but {shown[1]} in {items[0].where}."
                problems.append(Problem(item.where, what, "All graphs must come with the same."))
                break
    hidden = max(len(problems) - LISTED, 0)
    problems = problems[:LISTED]
    problems += edge_type_problems(str(folder), "'edge_attr'", len(_values(items, "edge_types")))
    if problems:
        raise UserError(problems, hidden=hidden)


def load_safely(path: Path) -> Any:
    """What a file holds, or a ``Problem``. Tensors and PyTorch Geometric's plain graphs alone are built from it."""
    import torch  # only where there are such files: it takes a second
    from torch_geometric.data import Data
    from torch_geometric.data.data import DataEdgeAttr, DataTensorAttr
    from torch_geometric.data.storage import GlobalStorage

    try:
        with torch.serialization.safe_globals([Data, DataEdgeAttr, DataTensorAttr, GlobalStorage]):
            content = torch.load(check_regular(path), map_location="cpu", weights_only=True)
        return _collated(content, str(path)) or content
    except UnpicklingError as error:
        named = [line.strip() for line in str(error).splitlines() if "GLOBAL" in line or "global" in line]
        reason = named[0][:200] if named else "it is no file of torch.save"
        what = f"is refused: {reason}"
        remedy = "Only tensors and torch_geometric.data.Data are read, so that no file can run code."
        return Problem(str(path), what.rstrip(".") + ".", remedy)
    except Exception as error:  # whatever a damaged file makes of the reader
        reason = (str(error) or type(error).__name__).splitlines()[0][:200]
        return Problem(str(path), f"cannot be read: {reason}.", "Save it again with torch.save.")


def _collated(content: Any, where: str) -> Problem | None:
    """Whether this is what an InMemoryDataset leaves in ``processed``: all graphs in one, and where each begins.

    The second of two to four parts are the slices, ``None`` where there is one graph; since PyTorch Geometric 2.3 the
    last is the class of the graphs.
    """
    from torch import Tensor

    def begins(values: Any) -> bool:
        return isinstance(values, Mapping) or (isinstance(values, Tensor) and values.dim() == 1)

    if not (isinstance(content, tuple) and 2 <= len(content) <= 4):
        return None
    slices = content[1]
    sliced = isinstance(slices, Mapping) and bool(slices) and all(map(begins, slices.values()))
    if not (sliced or isinstance(content[-1], type)):
        return None
    what = "is the processed file of an InMemoryDataset: all graphs in one, with slices."
    return Problem(where, what, "Save its graphs instead: torch.save(list(dataset), 'FOLDER/graphs.pt').")


def _item(graph: Any, row: int, where: str) -> _Item | list[Fault]:
    """One graph, checked; or all that is wrong with it."""
    values = _fields(graph)
    if isinstance(values, Fault):
        return [values]
    faults: list[Fault] = []
    edges, label = _edges(values.get("edge_index"), faults), _label(values.get("y"), faults)
    node_values = _node_values(values.get("x"), faults)
    edge_types, edge_kind = _edge_types(values.get("edge_attr"), edges, faults)
    nodes = _count(values.get("num_nodes"), node_values, faults)
    if nodes is not None and edges is not None and edges.size and not (edges.min() >= 0 and edges.max() < nodes):
        strange = int(edges.max()) if edges.max() >= nodes else int(edges.min())
        faults.append(
            Fault("edge out of graph", f"'edge_index' names node {strange}, but there are {nodes:,}, from 0.")
        )
    if faults or edges is None or label is None or nodes is None:
        return faults
    return _Item(row, where, label, nodes, edges, node_values, edge_types, edge_kind)


def _fields(graph: Any) -> dict[str, Any] | Fault:
    """The fields by name: arrays, and numbers as they are."""
    import torch
    from torch_geometric.data import Data

    if type(graph) is Data:
        # Its own properties would work out what is not there; only what was saved counts.
        try:
            graph = {name: value for name, value in graph.to_dict().items() if name in FIELDS}
        except Exception as error:  # saved by another version, or put together by hand
            reason = (str(error) or type(error).__name__).splitlines()[0][:200]
            return Fault("no graph", f"cannot be read as a graph: {reason}", "Save it again, or as a dict of tensors.")
    elif not isinstance(graph, Mapping):
        kind = type(graph).__name__
        return Fault("no graph", f"is a {kind}; expected a torch_geometric.data.Data, or a dict of tensors.")
    found: dict[str, Any] = {}
    for name in FIELDS:
        value = graph.get(name)
        if isinstance(value, torch.Tensor):
            value = _array(name, value)
            if isinstance(value, Fault):
                return value
            found[name] = value
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            return Fault("too large", f"{name!r} is an integer that 64 bits do not hold.")
        elif isinstance(value, int | float):
            found[name] = np.asarray(value)
        elif value is not None:
            return Fault("no tensor", f"{name!r} is a {type(value).__name__}; expected a tensor.")
    return found


def _array(name: str, value: Tensor) -> Array | Fault:
    """A tensor's numbers, or why it holds none that could be read."""
    import torch

    narrow, usual = (torch.float16, torch.bfloat16), (torch.float32, torch.float64, torch.bool)
    whole = (torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64)
    kind = str(value.dtype).removeprefix("torch.")
    if value.is_nested or value.layout != torch.strided or value.is_quantized:
        layout = str(value.layout).removeprefix("torch.")
        shown = "nested" if value.is_nested else "quantized" if value.is_quantized else layout
        return Fault("no plain tensor", f"{name!r} is a {shown} tensor; expected a dense one.")
    if value.is_meta:
        return Fault("no plain tensor", f"{name!r} is a meta tensor: it has a shape, but no numbers.")
    if value.dtype not in (*narrow, *usual, *whole):
        what = f"{name!r} holds {kind} numbers; expected integers, or floats of 16, 32 or 64 bits."
        return Fault("unknown numbers", what, f"Save {name}.float() or {name}.long().")
    if value.numel() * value.element_size() > value.untyped_storage().nbytes():
        what = f"{name!r} is {list(value.shape)}, expanded from fewer numbers than that."
        return Fault("expanded tensor", what, f"Save {name}.clone().")
    value = value.detach().resolve_neg()
    found: Array = (value.float() if value.dtype in narrow else value).numpy()
    return found


def _whole(values: Array) -> bool:
    return values.dtype.kind in "iub"


def _edges(values: Array | None, faults: list[Fault]) -> Array | None:
    if values is None:
        faults.append(Fault("no edges", "has no 'edge_index'; a graph without edges has an empty one, [2, 0]."))
    elif values.ndim != 2 or values.shape[0] != 2 or (values.size and not _whole(values)):
        what = f"'edge_index' is {_shape(values)}; expected integers [2, edges]."
        faults.append(Fault("bad edges", what))
    else:
        return values.astype(np.int64)
    return None


def _label(values: Array | None, faults: list[Fault]) -> int | None:
    if values is None:
        faults.append(Fault("no label", "has no 'y'; expected its class, an integer."))
        return None
    if values.size == 1:
        value = values.reshape(-1)[0].item()
        if _whole(values) or INTEGER.fullmatch(label_spelling(value) or ""):
            return int(value)
    faults.append(Fault("bad label", f"'y' is {_shape(values)}; expected one integer, the class."))
    return None


def _node_values(values: Array | None, faults: list[Fault]) -> Array | None:
    if values is None:
        return None
    if _whole(values) and (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
        return values.reshape(-1).astype(np.int64)
    if values.dtype.kind == "f" and values.ndim == 2 and values.shape[1]:
        with np.errstate(over="ignore"):
            rounded = values.astype(np.float32)
        if np.isfinite(rounded).all():
            return rounded
        large = np.isfinite(values).all()
        what = "numbers above 3.4e38, which float32 does not hold" if large else "NaN or infinite numbers"
        faults.append(Fault("not finite", f"'x' holds {what}."))
    else:
        what = f"'x' is {_shape(values)}; expected node types, integers [nodes], or features, floats [nodes, F]."
        faults.append(Fault("bad nodes", what, "Integers that are numbers rather than one type: save x.float()."))
    return None


def _edge_types(values: Array | None, edges: Array | None, faults: list[Fault]) -> tuple[Array | None, str]:
    """Types ``[e]`` if there are any, and what they were given as."""
    if values is None or edges is None:
        return None, "none"
    count = edges.shape[1]
    if len(values.shape) == 0 or len(values) != count:
        faults.append(Fault("bad edge types", f"'edge_attr' is {_shape(values)} for {count:,} edges."))
    elif _whole(values) and (values.ndim == 1 or (values.ndim == 2 and values.shape[1] == 1)):
        return values.reshape(-1).astype(np.int64), "types"
    elif values.ndim == 2 and np.isin(values, (0, 1)).all() and (values.sum(axis=1) == 1).all() and values.shape[1] > 1:
        return values.argmax(axis=1), f"one-hot of {values.shape[1]:,} types"
    else:
        what = f"'edge_attr' is {_shape(values)}; expected edge types: integers [edges], or one-hot [edges, types]."
        faults.append(Fault("bad edge types", what, "Numbers on edges are not read: sort them into types."))
    return None, "none"


def _count(values: Array | None, node_values: Array | None, faults: list[Fault]) -> int | None:
    """Nodes of the graph."""
    given = None if values is None or values.size != 1 or not _whole(values) else int(values.reshape(-1)[0])
    if values is not None and given is None:
        faults.append(Fault("bad number of nodes", f"'num_nodes' is {_shape(values)}; expected one integer."))
    if node_values is not None:
        if given is not None and given != len(node_values):
            what = f"'num_nodes' is {given:,}, but 'x' has {len(node_values):,} rows."
            faults.append(Fault("bad number of nodes", what))
        given = len(node_values)
    if given is None and values is None and not faults:
        faults.append(Fault("no nodes", "has neither 'x' nor 'num_nodes': how many nodes are there?"))
    if given is not None and node_values is None and given > MOST_NODES:
        what = f"'num_nodes' is {given:,}; at most {MOST_NODES:,} without 'x'."
        faults.append(Fault("too many nodes", what))
        return None
    if given is not None and given < 1:
        faults.append(Fault("graph without nodes", "has no node."))
        return None
    return given


def _shape(values: Array) -> str:
    kind = {"i": "integers", "u": "integers", "b": "booleans", "f": "floats"}.get(values.dtype.kind, str(values.dtype))
    return f"{kind} {list(values.shape)}"


def _records(parts: Mapping[str, list[_Item]]) -> dict[str, Records]:
    """All splits; labels, node types and edge types numbered in the order of their values."""
    everything = [item for items in parts.values() for item in items]
    classes = sorted({item.label for item in everything})
    numbers = {label: number for number, label in enumerate(classes)}
    node_types, edge_types = (_values(everything, name) for name in ("node_values", "edge_types"))
    records = {}
    for name, items in parts.items():
        columns = {"row": [item.row for item in items], "label": [numbers[item.label] for item in items]}
        graphs = join([_graph(item, node_types, edge_types) for item in items])
        records[name] = Records.from_graphs(graphs, columns, [str(label) for label in classes])
    return records


def _values(items: list[_Item], name: Literal["node_values", "edge_types"]) -> Array:
    """All types there are, ascending."""
    found: Iterator[Array] = (values for item in items if (values := getattr(item, name)) is not None)
    kinds = [np.unique(values) for values in found if values.ndim == 1]
    return np.unique(np.concatenate(kinds)) if kinds else np.zeros(0, np.int64)


def _graph(item: _Item, node_types: Array, edge_types: Array) -> Graphs:
    nothing, values = np.zeros(item.nodes, np.int64), item.node_values
    typed = values is not None and values.ndim == 1
    count = item.edges.shape[1]
    return Graphs(
        np.array([0, item.nodes]),
        np.array([0, count]),
        np.array([0, 0]),
        node_types=np.searchsorted(node_types, values) if values is not None and typed else nothing,
        lines=nothing,
        token_counts=nothing,
        token_ids=nothing[:0],
        sources=item.edges[0],
        targets=item.edges[1],
        edge_types=np.zeros(count, np.int64)
        if item.edge_types is None
        else np.searchsorted(edge_types, item.edge_types),
        node_features=None if typed else values,
    )
