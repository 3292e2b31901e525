"""Graphs: of source code by its syntax and flow, of other texts by neighbouring words, or as they came."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypedDict, cast

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE, Auto, Range, parse
from counterpoise.data.cache import Cache, dataset_fingerprint, file_checksum
from counterpoise.data.code_graphs import EDGE_TYPES, GraphOptions, RawGraphs, build_graphs
from counterpoise.data.encode.base import Batch, Encoded, Encoding, Learnt
from counterpoise.data.encode.graph_statistics import draw, statistics
from counterpoise.data.graphs import BY_EDGE, BY_NODE, Graphs, NamedGraphs, join
from counterpoise.data.records import Dataset, Records
from counterpoise.data.windows import window_graphs
from counterpoise.errors import UserError, fail, first_line
from counterpoise.jsonio import read_json, write_json
from counterpoise.paths import user_path
from counterpoise.typed import Count, Positive, checked

log = logging.getLogger(__name__)

FORMAT = 3
"""Raised whenever the layout of a cache entry changes, or graphs are made otherwise."""
VOCABULARY, PROPERTIES, NOTES = "graph_vocabulary.json", "graphs.json", "notes.json"
STATISTICS, PICTURE = "graph_statistics.json", "graph_statistics.png"
"""Files of a cache entry; all but the notes are kept with the run."""
UNKNOWN = "<unknown>"
"""Stands first among node types and sub-tokens: whatever the training split lacks."""
_CHUNK = 2_000
MOSTLY = 0.5
"""Share of graphs with parse errors that is warned about; of real functions, macros break about a fifth."""
PARSERS = ("tree-sitter", "tree-sitter-c", "tree-sitter-cpp")


@dataclass(frozen=True, kw_only=True)
class GraphsConfig:
    """How records become graphs."""

    parser: Literal["c", "cpp", "windows"] | Auto = "auto"
    """c and cpp parse source code, windows joins neighbouring words of any text; auto goes by the data's language.
    Records that came as graphs are taken as they are."""
    max_nodes: Annotated[int, AT_LEAST_ONE] = 1000
    """Largest graph; of a syntax tree the nodes nearest to its root are kept, and what is cut is counted."""
    comments: bool = False
    """Whether comments in source code are nodes."""
    vocab_size: Annotated[int, AT_LEAST_ONE] = 4096
    """Sub-tokens that are told apart: those that stand in most functions of the training split."""
    window: Annotated[int, Range(ge=1, le=50)] = 3
    """Words that a word is joined to, on each side (parser=windows only)."""
    workers: Annotated[int | Auto, NON_NEGATIVE] = "auto"
    """Processes that parse; auto takes one per core, 0 and 1 parse in this one."""
    reuse: str | None = None
    """Folder of a run whose vocabulary and settings are taken up again, in place of all of the above but workers."""


class VocabularyRecord(TypedDict):
    """``graph_vocabulary.json``."""

    node_types: list[str]
    sub_tokens: list[str]
    edge_types: list[str]
    reverse_edge_types: list[Count]


class GraphProperties(TypedDict):
    """``graphs.json``."""

    node_types: Positive
    sub_tokens: Positive
    edge_types: Count
    reverse_edge_types: list[Count]
    node_features: Count
    settings: dict[str, Any]


@dataclass(frozen=True)
class Vocabulary:
    """Names by number; each begins with :data:`UNKNOWN`."""

    node_types: Sequence[str]
    sub_tokens: Sequence[str]
    edge_types: Sequence[str]
    """One name per direction of travel; a reverse is named after what it reverses."""
    reverse_edge_types: Sequence[int]

    @classmethod
    def read(cls, path: Path) -> Vocabulary:
        """From a file. Raises ``OSError``, or ``ValueError`` for what is no vocabulary."""
        content = checked(VocabularyRecord, read_json(path), path.name)
        if not content["node_types"] or not content["sub_tokens"]:
            raise ValueError(f"{path.name} holds no names")
        _check_reverse(content["reverse_edge_types"], len(content["edge_types"]), path)
        return cls(**{name: content[name] for name in VocabularyRecord.__annotations__})  # type: ignore[literal-required]

    def check_sizes(self, properties: Mapping[str, Any]) -> None:
        """Raises ``ValueError`` unless properties tell of as many names as there are."""
        for name in ("node_types", "sub_tokens", "edge_types"):
            size = len(getattr(self, name))
            if properties[name] != size:
                raise ValueError(f"{VOCABULARY} holds {size} {name}, {PROPERTIES} says {properties[name]}")

    @classmethod
    def learn(cls, train: NamedGraphs, size: int) -> Vocabulary:
        """Of the training split: all node types, the ``size`` sub-tokens that stand in most graphs, two at least."""
        types = np.unique(train.graphs.node_types)
        owners = np.repeat(np.arange(len(train.graphs)), np.diff(train.graphs.token_offsets))
        size_of_names = max(len(train.token_names), 1)
        pairs = np.unique(owners * size_of_names + train.graphs.token_ids)
        found = np.bincount(pairs % size_of_names, minlength=size_of_names)
        names = np.asarray(train.token_names, dtype=object)
        order = sorted(np.flatnonzero(found >= 2).tolist(), key=lambda index: (-found[index], names[index]))
        edge_types, reverse = _directions(train)
        return cls(
            [UNKNOWN, *(train.type_names[index] for index in types)],
            [UNKNOWN, *(names[index] for index in order[: size - 1])],
            edge_types,
            reverse,
        )

    def apply(self, named: NamedGraphs) -> Graphs:
        """The graphs with these numbers, edges in both directions, in rows by target.

        Raises:
            UserError: if edges stand in both directions in the training split, but in one here.
        """
        named = replace(named, graphs=self._known_edges(named))
        undirected = list(self.reverse_edge_types) == list(range(len(self.edge_types)))
        if undirected and not named.graphs.is_symmetric():
            what = "every edge of the training split stands in both directions, but not so in the other splits."
            raise fail("data", what, "Give all graphs the edges of both directions, or all of them those of one.")
        numbers = {
            "node_types": _numbers(self.node_types, named.type_names),
            "token_ids": _numbers(self.sub_tokens, named.token_names),
            "edge_types": _numbers(self.edge_types, named.edge_names),
        }
        parts = []
        for start in range(0, len(named.graphs), _CHUNK):  # so that what sorting needs is needed for a part only
            part = named.graphs.take(np.arange(start, min(start + _CHUNK, len(named.graphs))))
            part = replace(part, **{name: table[getattr(part, name)] for name, table in numbers.items()})
            parts.append(part.mirrored(self.reverse_edge_types).compact())
        return join(parts)

    def _known_edges(self, named: NamedGraphs) -> Graphs:
        """The graphs without edges of types that the training split lacks: no model has learnt what they mean."""
        known = set(self.edge_types)
        strange = np.array([name not in known for name in named.edge_names], bool)
        left_out = strange[named.graphs.edge_types] if len(strange) else np.zeros(0, bool)
        if not left_out.any():
            return named.graphs
        names = ", ".join(named.edge_names[index] for index in np.unique(named.graphs.edge_types[left_out]))
        log.warning("left out %d edges of type %s, which no graph of the training split has", left_out.sum(), names)
        return named.graphs.where_edges(~left_out)


def _directions(train: NamedGraphs) -> tuple[list[str], list[int]]:
    """Edge types with those of their reverses; of graphs that hold both directions already, as they are."""
    names = [train.edge_names[index] for index in np.unique(train.graphs.edge_types)]
    if train.graphs.is_symmetric() and len(train.graphs.edge_types):
        return names, list(range(len(names)))
    count = len(names)
    return [*names, *(f"{name} reversed" for name in names)], [*range(count, 2 * count), *range(count)]


def _numbers(known: Sequence[str], names: Sequence[str]) -> NDArray[np.int32]:
    numbers = {name: number for number, name in enumerate(known)}
    return np.array([numbers.get(name, 0) for name in names] or [0], np.int32)


@dataclass(frozen=True)
class GraphSplit:
    """One split as graphs."""

    graphs: Graphs
    """Edges in both directions, in rows by target."""
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]

    @property
    def lengths(self) -> NDArray[np.int64]:
        """Nodes per graph, ``[N]``."""
        return self.graphs.sizes

    def batch(self, indices: NDArray[np.int64]) -> Batch:
        """One graph of all nodes and edges of those at ``indices [B]``, which are not joined to each other.

        ``sizes [B]`` (nodes of each graph), ``node_types [n]``, ``sub_token_counts [n]`` and ``sub_tokens [t]``,
        ``sources``, ``targets`` and ``edge_types [e]`` ordered by target, type and source; all int64. Where nodes came
        with numbers, also ``node_features [n, F]``, float32.
        """
        chosen = self.graphs.take(indices)
        sources, targets = chosen.in_one()
        inputs = {
            "sizes": torch.from_numpy(chosen.sizes),
            "node_types": _long(chosen.node_types),
            "sub_tokens": _long(chosen.token_ids),
            "sub_token_counts": _long(chosen.token_counts),
            "sources": torch.from_numpy(sources),
            "targets": torch.from_numpy(targets),
            "edge_types": _long(chosen.edge_types),
        }
        if chosen.node_features is not None:
            inputs["node_features"] = torch.from_numpy(chosen.node_features)
        return Batch(inputs, torch.from_numpy(self.labels[indices]), torch.from_numpy(self.rows[indices]))


def _long(values: NDArray[Any]) -> Tensor:
    return torch.from_numpy(values.astype(np.int64))


class GraphEncoding(Encoding):
    """Graphs of records, whatever they are."""

    Config: ClassVar[type] = GraphsConfig
    kind: ClassVar[str] = "graphs"

    def __init__(self, config: GraphsConfig) -> None:
        self.config = config

    def check(self, dataset: Dataset) -> None:
        """Raises ``UserError`` for graphs that are too large, and for a vocabulary that cannot be used again."""
        if self.config.reuse is not None:
            config, _ = _taken_up(user_path(self.config.reuse, "encoding.reuse"), self.config)
            if dataset.train.are_graphs or config.parser is None:
                what = "cannot be used with graphs that came as such: their types are numbered anew in each data set."
                raise fail("encoding.reuse", what, "Leave it out.")
        for records in dataset.splits().values() if dataset.train.are_graphs else ():
            largest, most = int(records.graphs.sizes.max(initial=0)), self.config.max_nodes
            if largest > most:
                what = (
                    f"is {most}, but one of these graphs has {largest} nodes, and graphs that came as such are not cut."
                )
                raise fail("encoding.max_nodes", what, f"Set encoding.max_nodes={largest}, or leave large graphs out.")

    def encode(self, dataset: Dataset, cache: Cache) -> Encoded:
        """Make the graphs of all splits, number what is in them by the training split; both are cached.

        Raises:
            UserError: if the graphs of two splits do not fit each other, or what is to be used again is not there.
        """
        config, vocabulary = self.config, None
        if config.reuse is not None:
            config, vocabulary = _taken_up(user_path(config.reuse, "encoding.reuse"), config)
        settings = {name: value for name, value in asdict(config).items() if name not in ("workers", "reuse")}
        settings["parser"] = _parser(dataset, config)
        key: dict[str, Any] = {"format": FORMAT, "data": dataset_fingerprint(dataset), **settings}
        key["versions"] = {name: version(name) for name in PARSERS}
        if vocabulary is not None:
            key["vocabulary"] = file_checksum(vocabulary)
        build = partial(self._build, dataset, replace(config, parser=settings["parser"]), vocabulary)
        encoded = cache.read("graphs", key, build, partial(self._read, dataset))
        shares = {name: float(split["parse_errors"]["share"]) for name, split in encoded.notes["graphs"].items()}
        _warn_of_parse_errors(shares, settings["parser"])
        return encoded

    def learnt(self, folder: Path) -> Learnt:
        """The vocabulary and the settings of a run; of graphs that came as such there are none to make of texts."""
        properties = read_properties(folder / PROPERTIES)
        vocabulary = Vocabulary.read(folder / VOCABULARY)
        vocabulary.check_sizes(properties)
        settings = replace(settings_of(properties), workers=self.config.workers)

        def apply(records: Records) -> GraphSplit:
            if settings.parser is None:
                what = "was trained on graphs that came as such, and texts cannot be made into these."
                raise fail("run", what, "Measure it on its own splits: python src/evaluate.py run=... split=test.")
            named = make_graphs(records, settings)
            _warn_of_parse_errors({"the input": float(named.parse_errors.mean())}, settings.parser)
            return GraphSplit(vocabulary.apply(named), records.labels, records.rows)

        return Learnt(properties, apply)

    def _build(self, dataset: Dataset, config: GraphsConfig, reused: Path | None, folder: Path) -> None:
        vocabulary = None if reused is None else Vocabulary.read(reused)
        notes: dict[str, Any] = {}
        figures: dict[str, Any] = {}
        properties: dict[str, Any] = {}
        for name, records in dataset.splits().items():  # the training split comes first
            named = make_graphs(records, config)
            vocabulary = vocabulary or Vocabulary.learn(named, config.vocab_size)
            graphs = vocabulary.apply(named)
            _write(folder / f"{name}.arrow", graphs)
            figures[name] = statistics(graphs, named, vocabulary.edge_types, records.labels, dataset.classes)
            notes[name] = {key: figures[name][key] for key in ("graphs", "truncated", "parse_errors")}
            if not properties:
                width = 0 if graphs.node_features is None else graphs.node_features.shape[1]
                properties = _properties(vocabulary, config, width)
        assert vocabulary is not None
        write_json(folder / VOCABULARY, asdict(vocabulary))
        write_json(folder / PROPERTIES, properties)
        write_json(folder / NOTES, notes)
        write_json(folder / STATISTICS, figures)
        with (folder / PICTURE).open("wb") as file:
            draw(file, figures)

    def _read(self, dataset: Dataset, folder: Path) -> Encoded:
        """Raises ``ValueError`` or the like for whatever is not as :meth:`_build` leaves it."""
        properties, notes = read_properties(folder / PROPERTIES), dict(read_json(folder / NOTES))
        Vocabulary.read(folder / VOCABULARY).check_sizes(properties)
        splits = {}
        for name, records in dataset.splits().items():
            graphs = _read_graphs(folder / f"{name}.arrow", properties)
            if len(graphs) != len(records):
                raise ValueError(f"{name}.arrow holds {len(graphs)} graphs, not {len(records)}")
            splits[name] = GraphSplit(graphs, records.labels, records.rows)
        artefacts = {name: folder / name for name in (VOCABULARY, PROPERTIES, STATISTICS, PICTURE)}
        return Encoded(splits, properties, artefacts, {"graphs": notes})


def _warn_of_parse_errors(shares: Mapping[str, float], parser: str | None) -> None:
    """Say so where most graphs are of code that the parser could not read whole.

    Args:
        shares: graphs with such errors among all, by split.
        parser: that made them.
    """
    found = ", ".join(f"{share:.0%} of {name}" for name, share in shares.items() if share > MOSTLY)
    if found:
        what = f"the {parser} parser could not read all of the code in most texts ({found})"
        log.warning("%s: what it could not read are nodes of type ERROR. Is data.language right?", what)


def make_graphs(records: Records, config: GraphsConfig) -> NamedGraphs:
    """The graphs of a split, numbered by what stands in it; ``config.parser`` is no longer auto."""
    if records.are_graphs:
        return _as_they_came(records.graphs)
    if config.parser == "windows":
        return window_graphs(records.texts, window=config.window, max_nodes=config.max_nodes)
    assert config.parser in ("c", "cpp")
    options = GraphOptions(config.parser, config.max_nodes, config.comments)
    return _of_code(build_graphs(records.texts, options, processes(config.workers)))


def _of_code(found: RawGraphs) -> NamedGraphs:
    columns = ("node_offsets", "edge_offsets", "token_offsets", *BY_NODE, *BY_EDGE, "token_ids")
    graphs = Graphs(**{name: getattr(found, name) for name in columns})
    return NamedGraphs(
        graphs, found.type_names, found.token_names, EDGE_TYPES, found.nodes_before_cut, found.parse_errors
    )


def _as_they_came(graphs: Graphs) -> NamedGraphs:
    """Numbers are names here. Graphs are not cut: which of their nodes matter least nobody knows."""

    def names(numbers: NDArray[Any]) -> list[str]:
        return [str(number) for number in range(int(numbers.max()) + 1)] if len(numbers) else []

    return NamedGraphs(
        graphs,
        type_names=names(graphs.node_types),
        token_names=names(graphs.token_ids),
        edge_names=names(graphs.edge_types),
        nodes_before_cut=graphs.sizes,
        parse_errors=np.zeros(len(graphs), bool),
    )


def _properties(vocabulary: Vocabulary, config: GraphsConfig, width: int) -> dict[str, Any]:
    settings = {name: value for name, value in asdict(config).items() if name not in ("workers", "reuse")}
    return {
        "node_types": len(vocabulary.node_types),
        "sub_tokens": len(vocabulary.sub_tokens),
        "edge_types": len(vocabulary.edge_types),
        "reverse_edge_types": list(vocabulary.reverse_edge_types),
        "node_features": width,
        "settings": settings,
    }


def _parser(dataset: Dataset, config: GraphsConfig) -> Any:
    if dataset.train.are_graphs:
        return None
    return (dataset.language or "windows") if config.parser == "auto" else config.parser


def read_properties(path: Path) -> dict[str, Any]:
    """What a model over graphs must know. Raises ``OSError``, or ``ValueError`` for what is no such file."""
    properties = checked(GraphProperties, read_json(path), path.name)
    _check_reverse(properties["reverse_edge_types"], properties["edge_types"], path)
    if "parser" not in properties["settings"]:
        raise ValueError(f"{path.name}.settings.parser: missing")
    return dict(properties)


def _check_reverse(reverse: Sequence[int], types: int, path: Path) -> None:
    if len(reverse) != types or sorted(reverse) != list(range(types)):
        raise ValueError(f"{path.name} does not give each type of edges its reverse")


def settings_of(properties: Mapping[str, Any]) -> GraphsConfig:
    """The settings that a run's properties stand for; ``parser`` is null for graphs that came as such.

    Raises:
        UserError: if they are none that there could be; a ``KeyError`` or ``TypeError`` if they are missing.
    """
    given = dict(properties["settings"])
    if given["parser"] is not None:
        return parse(GraphsConfig, given)
    del given["parser"]  # none that could be asked for
    return replace(parse(GraphsConfig, given), parser=cast(Any, None))


def _taken_up(folder: Path, config: GraphsConfig) -> tuple[GraphsConfig, Path]:
    """The settings and the vocabulary file of an earlier run."""
    path = folder / VOCABULARY
    try:
        settings = settings_of(read_properties(folder / PROPERTIES))
        Vocabulary.read(path)
        return replace(settings, workers=config.workers), path
    except (OSError, ValueError, KeyError, TypeError, UserError) as error:
        reason = first_line(error)
        what = f"{folder} has no vocabulary of graphs that could be used again: {reason}."
        raise fail("encoding.reuse", what, "Name the folder of a finished run of a model that reads graphs.") from error


def _write(path: Path, graphs: Graphs) -> None:
    table = graphs.to_arrow()
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _read_graphs(path: Path, properties: Mapping[str, Any]) -> Graphs:
    """Graphs, memory-mapped. Raises ``ValueError`` for whatever no model of these properties can read."""
    with pa.memory_map(str(path)) as file:
        graphs = Graphs.from_arrow(pa.ipc.open_file(file).read_all())
    for name, size in (("node_types", "node_types"), ("token_ids", "sub_tokens"), ("edge_types", "edge_types")):
        values = getattr(graphs, name)
        if len(values) and (values.min() < 0 or values.max() >= properties[size]):
            raise ValueError(f"{path.name}: {name} goes beyond the vocabulary")
    if not graphs.is_by_target:
        raise ValueError(f"{path.name}: edges are not in the order of their targets")
    if (0 if graphs.node_features is None else graphs.node_features.shape[1]) != properties["node_features"]:
        raise ValueError(f"{path.name} has other node features than {PROPERTIES} says")
    return graphs


def processes(workers: int | str) -> int:
    """How many processes ``workers`` stands for."""
    return len(os.sched_getaffinity(0)) if workers == "auto" else max(int(workers), 1)
