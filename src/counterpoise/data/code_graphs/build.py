"""Many texts to graphs: by chunks, which processes may share out among themselves."""

from __future__ import annotations

import multiprocessing
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from itertools import islice
from types import ModuleType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.code_graphs.control_flow import control_flow
from counterpoise.data.code_graphs.data_flow import data_flow
from counterpoise.data.code_graphs.grammar import Grammar, grammar_of
from counterpoise.data.code_graphs.names import EXACT, NUMBERS, TEXT_KINDS, TEXTS, WORDS, Names, Table
from counterpoise.data.code_graphs.syntax import Flags, Ints, Syntax, parse
from counterpoise.errors import fail

EDGE_TYPES = ("child", "next_sibling", "next_token", "control_flow", "data_flow")
"""What the numbers in ``RawGraphs.edge_types`` mean. All edges lead forward; their reverses are not among them."""

_CHUNK_TEXTS = 512
_CHUNK_CHARACTERS = 1 << 20
_FEW_TEXTS = 1000
_AHEAD = 2


@dataclass(frozen=True)
class GraphOptions:
    """How a text becomes a graph."""

    language: Literal["c", "cpp"] = "c"
    """The grammar."""
    max_nodes: int = 1000
    """Most nodes of a graph; those nearest the root stay, in the order of the source within a level."""
    comments: bool = False
    """Whether comments are nodes."""

    def __post_init__(self) -> None:
        if self.language not in ("c", "cpp"):
            raise fail("language", f"is {self.language!r}, but must be c or cpp.", "")
        if self.max_nodes < 1:
            raise fail("max_nodes", f"is {self.max_nodes}, but a graph has at least one node.", "Set it to 1 or more.")


@dataclass(frozen=True)
class RawGraphs:
    """``N`` graphs as flat columns; graph ``i`` has the nodes ``[node_offsets[i]:node_offsets[i + 1]]``, and so on."""

    node_offsets: NDArray[np.int64]
    """``[N + 1]``."""
    edge_offsets: NDArray[np.int64]
    """``[N + 1]``."""
    token_offsets: NDArray[np.int64]
    """``[N + 1]``."""
    node_types: NDArray[np.int32]
    """Index into ``type_names``, ``[n]``. Nodes stand in the order of the source, the root first."""
    lines: NDArray[np.int32]
    """The line on which the node starts, the first being 1; only a line feed ends a line, ``[n]``."""
    token_counts: NDArray[np.int32]
    """Sub-tokens of each node, ``[n]``."""
    token_ids: NDArray[np.int32]
    """Index into ``token_names``, node after node, ``[t]``."""
    sources: NDArray[np.int32]
    """Node within the graph, ``[e]``. Edges are sorted by type, then source, then target."""
    targets: NDArray[np.int32]
    """Node within the graph, ``[e]``."""
    edge_types: NDArray[np.int32]
    """Index into ``EDGE_TYPES``, ``[e]``."""
    type_names: list[str]
    """In the order of their first appearance."""
    token_names: list[str]
    """In the order of their first appearance."""
    parse_errors: NDArray[np.bool_]
    """Whether the syntax tree has an ERROR or a MISSING node, cut away or not, ``[N]``."""
    nodes_before_cut: NDArray[np.int64]
    """Nodes that the graph would have without ``max_nodes``, ``[N]``."""


def build_graphs(texts: Sequence[str], options: GraphOptions, workers: int = 1) -> RawGraphs:
    """A graph for every text, whatever it is: broken code, other languages and empty texts give graphs, too.

    Args:
        texts: functions, usually; any text will do.
        options: how.
        workers: processes to use; fewer than a thousand texts are not worth more than this one. The result does not
            depend on it.

    Raises:
        UserError: if ``workers`` is below 1.
    """
    if workers < 1:
        raise fail("workers", f"is {workers}, but at least one process has to work.", "Set it to 1 or more.")
    spans = list(_spans(texts))
    chunks = ([texts[at] for at in range(begin, end)] for begin, end in spans)
    if workers == 1 or len(texts) < _FEW_TEXTS or len(spans) == 1:
        return _join(_build_chunk(chunk, options) for chunk in chunks)
    return _join(_in_processes(chunks, options, min(workers, len(spans))))


def _spans(texts: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Cut the texts into chunks of bounded size; at least one, which is empty if there are no texts."""
    begin = characters = 0
    for at in range(len(texts)):
        characters += len(texts[at])
        if at + 1 - begin == _CHUNK_TEXTS or characters >= _CHUNK_CHARACTERS:
            yield begin, at + 1
            begin, characters = at + 1, 0
    if begin < len(texts) or not len(texts):
        yield begin, len(texts)


def _in_processes(chunks: Iterable[list[str]], options: GraphOptions, workers: int) -> Iterator[RawGraphs]:
    """The chunks' graphs in order. Only a few chunks a process are under way at a time."""
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_leave_interrupts_to_parent)
    waiting = iter(chunks)

    def submit(count: int) -> list[Future[RawGraphs]]:
        with _interrupts_held(), _main_left_out():  # a process that is being started would die of Ctrl-C
            return [pool.submit(_build_chunk, chunk, options) for chunk in islice(waiting, count)]

    try:
        pending = submit(workers * _AHEAD)
        while pending:
            done = pending.pop(0).result()
            pending += submit(1)
            yield done
    except BaseException:
        _end(pool)
        raise
    pool.shutdown()


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let Ctrl-C wait; processes that are started meanwhile have it wait, too, until they have begun."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _main_left_out() -> Iterator[None]:
    """Start processes that do not import the script that is running: nothing of it is needed there, and one that has no
    guard against being imported would run again."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


def _leave_interrupts_to_parent() -> None:
    """Ctrl-C is for the process that waits; it ends the others."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(signal, "pthread_sigmask"):
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])


def _end(pool: ProcessPoolExecutor) -> None:
    """End the processes at once, whatever they are at."""
    processes = list((pool._processes or {}).values())
    for process in processes:
        process.terminate()
    pool.shutdown(wait=True, cancel_futures=True)


@cache
def _names_of_this_process() -> list[Names]:
    return [Names()]


def _names() -> Names:
    """What this process has split so far; begun anew when it has become large."""
    held = _names_of_this_process()
    if held[0].is_full:
        held[0] = Names()
    return held[0]


def forget_names() -> None:
    """Let go of the texts that this process has split."""
    _names_of_this_process.cache_clear()


def _build_chunk(texts: Sequence[str], options: GraphOptions) -> RawGraphs:
    """The graphs of a few hundred texts."""
    grammar, names = grammar_of(options.language), _names()
    syntax = parse(texts, grammar, options.comments)
    kept = _keep(syntax, options.max_nodes)
    text_of = _number_texts(syntax, grammar, names)
    flow = control_flow(syntax, grammar, text_of)
    edges = [
        *_syntax_edges(syntax),
        (flow.sources, flow.targets),
        data_flow(syntax, grammar, text_of, flow, kept),
    ]
    return _collect(syntax, grammar, names, text_of, kept, edges)


def _keep(syntax: Syntax, max_nodes: int) -> Flags:
    """Which nodes stay: in each tree the first ones, level by level."""
    kept = np.ones(len(syntax.kind), np.bool_)
    for graph in np.flatnonzero(np.diff(syntax.offsets) > max_nodes):
        begin, end = syntax.offsets[graph : graph + 2]
        order = np.argsort(syntax.depth[begin:end], kind="stable")
        kept[begin + order[max_nodes:]] = False
    return kept


def _number_texts(syntax: Syntax, grammar: Grammar, names: Names) -> Ints:
    """For each node whose text gives sub-tokens the number of that text, -1 for others, ``[n]``."""
    text_of = np.full(len(syntax.kind), -1)
    wanted = grammar.named(TEXT_KINDS)[syntax.kind] & ~syntax.missing
    sorts: list[tuple[Table, tuple[str, ...]]] = [
        (names.words, WORDS),
        (names.numbers, NUMBERS),
        (names.texts, TEXTS),
        (names.exact, EXACT),
    ]
    for table, kinds in sorts:
        node = np.flatnonzero(wanted & grammar.named(kinds)[syntax.kind])
        spans = map(slice, syntax.start[node].tolist(), syntax.end[node].tolist())
        text_of[node] = table.number(list(map(syntax.text.__getitem__, spans)))
    return text_of


def _syntax_edges(syntax: Syntax) -> list[tuple[Ints, Ints]]:
    """Children, next siblings and next tokens, each sorted by source."""
    child = np.flatnonzero(syntax.parent >= 0)
    parent = syntax.parent[child]
    order = np.argsort(parent, kind="stable")
    earlier = np.flatnonzero(syntax.next_sibling >= 0)
    leaf = np.flatnonzero(syntax.is_leaf)
    same = np.flatnonzero(syntax.graph[leaf[1:]] == syntax.graph[leaf[:-1]])
    return [(parent[order], child[order]), (earlier, syntax.next_sibling[earlier]), (leaf[same], leaf[same + 1])]


def _collect(
    syntax: Syntax, grammar: Grammar, names: Names, text_of: Ints, kept: Flags, edges: list[tuple[Ints, Ints]]
) -> RawGraphs:
    """Cut, number within each graph, and name."""
    node = np.flatnonzero(kept)
    graph = syntax.graph[node]
    graphs = len(syntax.parse_errors)
    node_offsets = np.searchsorted(graph, np.arange(graphs + 1))
    renumbered = np.cumsum(kept) - 1 - np.repeat(node_offsets[:-1], np.diff(syntax.offsets))
    types, type_names = _types(syntax, grammar, node)
    counts, token_ids, token_names = _tokens(names, text_of[node])
    sources, targets, edge_types, edge_offsets = _sort_edges(syntax, kept, renumbered, edges)
    tokens_before = np.append(0, np.cumsum(counts))
    return RawGraphs(
        node_offsets=node_offsets,
        edge_offsets=edge_offsets,
        token_offsets=tokens_before[node_offsets],
        node_types=types,
        lines=_lines(syntax, node),
        token_counts=counts.astype(np.int32),
        token_ids=token_ids,
        sources=sources,
        targets=targets,
        edge_types=edge_types,
        type_names=type_names,
        token_names=token_names,
        parse_errors=syntax.parse_errors,
        nodes_before_cut=np.diff(syntax.offsets),
    )


def _sort_edges(
    syntax: Syntax, kept: Flags, renumbered: Ints, edges: list[tuple[Ints, Ints]]
) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32], Ints]:
    """All edges between kept nodes, graph by graph; those of each type come sorted already."""
    graphs = len(syntax.parse_errors)
    cut = not kept.all()
    counts = np.zeros((len(edges), graphs), np.int64)
    parts = []
    for number, (source, target) in enumerate(edges):
        if cut:
            both = kept[source] & kept[target]
            source, target = source[both], target[both]
        counts[number] = np.bincount(syntax.graph[source], minlength=graphs)
        parts.append((source, target))
    edge_offsets = np.append(0, np.cumsum(counts.sum(0)))
    begins = edge_offsets[:-1] + np.cumsum(counts, 0) - counts
    columns = np.empty((3, int(edge_offsets[-1])), np.int32)
    for number, (source, target) in enumerate(parts):
        place = np.arange(len(source)) + np.repeat(
            begins[number] - np.cumsum(counts[number]) + counts[number], counts[number]
        )
        columns[0, place] = renumbered[source]
        columns[1, place] = renumbered[target]
        columns[2, place] = number
    return columns[0], columns[1], columns[2], edge_offsets


def _types(syntax: Syntax, grammar: Grammar, node: Ints) -> tuple[NDArray[np.int32], list[str]]:
    """The type of each node, and the types' names."""
    kinds = len(grammar)
    codes = syntax.kind[node].astype(np.int64) * kinds + syntax.operator[node]
    codes[syntax.missing[node]] += kinds * kinds
    types, seen = _by_appearance(codes, 2 * kinds * kinds)
    return types, [_type_name(grammar, int(code)) for code in seen]


def _type_name(grammar: Grammar, code: int) -> str:
    missing, code = divmod(code, len(grammar) ** 2)
    kind, operator = divmod(code, len(grammar))
    name = grammar.names[kind] + (f" {grammar.names[operator]}" if operator else "")
    return f"MISSING {name}" if missing else name


def _tokens(names: Names, texts: Ints) -> tuple[Ints, NDArray[np.int32], list[str]]:
    """How many sub-tokens each node has, all of them, and their names."""
    counts = np.zeros(len(texts), np.int64)
    has_text = np.flatnonzero(texts >= 0)
    counts[has_text], tokens = names.gather(texts[has_text])
    ids, seen = _by_appearance(tokens, len(names.tokens))
    known = list(names.tokens)
    return counts, ids, [known[token] for token in seen]


def _by_appearance(codes: Ints, size: int) -> tuple[NDArray[np.int32], list[int]]:
    """Renumber ``codes`` (below ``size``) in the order in which they first appear; also the codes in that order."""
    first = np.full(size, len(codes))
    first[codes[::-1]] = np.arange(len(codes))[::-1]
    present = np.flatnonzero(first < len(codes))
    seen = present[np.argsort(first[present])]
    number = np.empty(size, np.int32)
    number[seen] = np.arange(len(seen))
    return number[codes], seen.tolist()


def _lines(syntax: Syntax, node: Ints) -> NDArray[np.int32]:
    feeds = np.flatnonzero(np.frombuffer(syntax.text, np.uint8) == ord("\n"))
    before = np.searchsorted(feeds, syntax.text_offsets)
    return (np.searchsorted(feeds, syntax.start[node]) - before[syntax.graph[node]] + 1).astype(np.int32)


@dataclass
class _Numbering:
    """Names in the order in which they first appear over all chunks."""

    numbers: dict[str, int] = field(default_factory=dict)

    def renumber(self, ids: NDArray[np.int32], names: list[str]) -> NDArray[np.int32]:
        """A chunk's ids, for all chunks together."""
        numbers = self.numbers
        table = np.array([numbers.setdefault(name, len(numbers)) for name in names], np.int32)
        return table[ids] if len(ids) else ids


def _join(chunks: Iterable[RawGraphs]) -> RawGraphs:
    """One after the other. Ids stay in the order of first appearance, because each chunk's are."""
    types, tokens = _Numbering(), _Numbering()
    columns: dict[str, list[NDArray[Any]]] = {}
    for chunk in chunks:
        part = dict(vars(chunk))
        part["node_types"] = types.renumber(part["node_types"], part.pop("type_names"))
        part["token_ids"] = tokens.renumber(part["token_ids"], part.pop("token_names"))
        for name, column in part.items():
            columns.setdefault(name, []).append(column)
    joined: dict[str, Any] = {
        name: _join_offsets(parts) if name.endswith("_offsets") else np.concatenate(parts)
        for name, parts in columns.items()
    }
    return RawGraphs(**joined, type_names=list(types.numbers), token_names=list(tokens.numbers))


def _join_offsets(parts: list[NDArray[np.int64]]) -> NDArray[np.int64]:
    lengths = np.concatenate([np.diff(part) for part in parts])
    return np.append(0, np.cumsum(lengths)).astype(np.int64)
