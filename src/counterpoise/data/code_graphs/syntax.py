"""Syntax trees as arrays: many texts are parsed and walked, and everything else is computed over all of them at once.

Walking a tree in Python is what costs; so one walk with a cursor, top down and in source order, notes four things a
node: its kind, where it starts, how deep it stands and, where its text is wanted, where it ends. Parents and siblings
follow from the depths alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import compress, repeat
from operator import attrgetter

import numpy as np
from numpy.typing import NDArray
from tree_sitter import Node, TreeCursor

from counterpoise.data.code_graphs.grammar import Grammar
from counterpoise.data.code_graphs.names import TEXT_KINDS

Ints = NDArray[np.int64]
Flags = NDArray[np.bool_]

_SLAB = 1 << 16
_kind = attrgetter("kind_id")
_start = attrgetter("start_byte")
_end = attrgetter("end_byte")


FEW_LEVELS = 32
"""That :func:`climb` goes one by one."""


@dataclass(frozen=True)
class Syntax:
    """The nodes of several trees, tree after tree, in source (pre-)order; comments are among them if asked for.

    Every index is into these arrays, over all trees, unless its name says otherwise.
    """

    text: bytes
    """All texts, one after the other, UTF-8."""
    text_offsets: Ints
    """Where each text begins in ``text``, ``[N + 1]``."""
    offsets: Ints
    """Where the nodes of each tree begin, ``[N + 1]``."""
    graph: Ints
    """The tree of each node, ``[n]``."""
    kind: NDArray[np.int16]
    """Kind of each node, see :class:`Grammar`, ``[n]``."""
    operator: NDArray[np.int16]
    """The token that a node carries in its type, or 0 (kind 0 is no token), ``[n]``."""
    missing: Flags
    """Whether the parser put the node in to go on, ``[n]``."""
    start: Ints
    """Where the node starts in ``text``, ``[n]``."""
    end: Ints
    """Where it ends; 0 for kinds without sub-tokens of their own, ``[n]``."""
    depth: Ints
    """0 for roots, ``[n]``."""
    parent: Ints
    """Of roots -1, ``[n]``."""
    next_sibling: Ints
    """Of the last of them -1, ``[n]``."""
    is_leaf: Flags
    """Whether the node has no children, ``[n]``."""
    by_level: Ints
    """All nodes, level by level, source order within a level, ``[n]``."""
    for_part: NDArray[np.int8]
    """What a child is to its ``for``: 0 initializer, 1 condition, 2 update, 3 body; otherwise -1, ``[n]``."""
    parse_errors: Flags
    """Whether a tree has an ERROR or MISSING node, ``[N]``."""

    def subtree_end(self, nodes: Ints) -> Ints:
        """One past the last node of each one's subtree, ``[len(nodes)]``."""
        last = climb(self.parent, nodes, (self.next_sibling >= 0) | (self.parent < 0))
        following = self.next_sibling[last]
        end: Ints = np.where(following >= 0, following, self.offsets[self.graph[last] + 1])
        return end


def climb(above: Ints, start: Ints, stop: Flags) -> Ints:
    """The first node at or above each of ``start`` that is a ``stop``; -1 where there is none, ``[len(start)]``.

    In ordinary code that is a few levels up. In what is nested thousands of levels deep the rest is found for all nodes
    at once, in a number of steps that grows with the logarithm of the depth.

    Args:
        above: of each node the one above it, or -1, ``[n]``.
        start: nodes, or -1.
        stop: where to stop, ``[n]``.
    """
    found = np.full(len(start), -1)
    open_ = np.flatnonzero(start >= 0)
    at = start[open_]
    for _ in range(FEW_LEVELS):
        hit = stop[at]
        found[open_[hit]] = at[hit]
        open_, at = open_[~hit], above[at[~hit]]
        open_, at = open_[at >= 0], at[at >= 0]
        if not len(open_):
            return found
    step = np.where(stop | (above < 0), np.arange(len(above)), above)
    while not np.array_equal(further := step[step], step):
        step = further
    found[open_] = np.where(stop[step[at]], step[at], -1)
    return found


def encode(text: str) -> bytes:
    """UTF-8; lone surrogates, which it cannot express, become replacement characters."""
    try:
        return text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass").decode("utf-8", "replace").encode()


def parse(texts: Sequence[str], grammar: Grammar, comments: bool) -> Syntax:
    """Parse ``texts`` and lay their trees out as arrays; ``comments`` says whether comments are nodes."""
    coded = [encode(text) for text in texts]
    text_offsets = np.zeros(len(coded) + 1, np.int64)
    np.cumsum([len(text) for text in coded], out=text_offsets[1:])
    walked = _walk_all(coded, grammar)
    kind = grammar.kind_of_id[walked.kind_id]
    depth = walked.depth
    order = np.argsort(depth.astype(np.uint16) if depth.max(initial=0) < 1 << 16 else depth, kind="stable")
    parent = _parents(depth, order)
    leaf = np.ones(len(kind), np.bool_)
    leaf[parent[parent >= 0]] = False
    dropped = ~grammar.is_named[kind] & leaf & ~walked.missing
    if not comments:
        dropped |= grammar.named(["comment"])[kind]
    operator = _operators(kind, parent, np.flatnonzero(dropped), grammar)
    for_part = _for_parts(kind, parent, grammar)
    kept = ~dropped
    renumbered = np.cumsum(kept) - 1
    old_parent = parent[kept]
    new_parent = np.where(old_parent >= 0, renumbered[old_parent], -1)
    by_level = renumbered[order[kept[order]]]
    graph = np.repeat(np.arange(len(coded)), np.diff(walked.offsets))[kept]
    is_leaf = np.ones(len(new_parent), np.bool_)
    is_leaf[new_parent[new_parent >= 0]] = False
    base = text_offsets[graph]
    return Syntax(
        text=b"".join(coded),
        text_offsets=text_offsets,
        offsets=np.append(0, np.cumsum(kept))[walked.offsets],
        graph=graph,
        kind=kind[kept],
        operator=operator[kept],
        missing=walked.missing[kept],
        start=walked.start[kept] + base,
        end=walked.end[kept] + base,
        depth=depth[kept],
        parent=new_parent,
        next_sibling=_next_siblings(new_parent, by_level),
        is_leaf=is_leaf,
        by_level=by_level,
        for_part=for_part[kept],
        parse_errors=walked.parse_errors,
    )


@dataclass(frozen=True)
class _Walked:
    """What the cursor saw, of all nodes, tokens included."""

    kind_id: NDArray[np.uint16]
    start: Ints
    end: Ints
    depth: Ints
    missing: Flags
    offsets: Ints
    parse_errors: Flags


def _walk_all(coded: Sequence[bytes], grammar: Grammar) -> _Walked:
    """Parse and walk each text; the trees are freed one by one."""
    has_text = grammar.named(TEXT_KINDS)[grammar.kind_of_id]
    wants_end = has_text.tolist()
    kinds: list[int] = []
    starts: list[int] = []
    ends: list[int] = []
    depths: list[int] = []
    missing: list[int] = []
    offsets, errors = [0], []
    for text in coded:
        tree = grammar.parser.parse(text)
        broken = tree.root_node.has_error
        for nodes in _walk(tree.walk(), depths):
            begin = len(kinds)
            kinds += map(_kind, nodes)
            starts += map(_start, nodes)
            ends += map(_end, compress(nodes, map(wants_end.__getitem__, kinds[begin:])))
            if broken:
                missing += [begin + at for at, node in enumerate(nodes) if node.is_missing]
        offsets.append(len(kinds))
        errors.append(broken)
    kind_id = np.array(kinds, np.uint16)
    end = np.zeros(len(kinds), np.int64)
    end[has_text[kind_id]] = ends
    is_missing = np.zeros(len(kinds), np.bool_)
    is_missing[missing] = True
    return _Walked(
        kind_id=kind_id,
        start=np.array(starts, np.int64),
        end=end,
        depth=np.array(depths, np.int64),
        missing=is_missing,
        offsets=np.array(offsets, np.int64),
        parse_errors=np.array(errors, np.bool_),
    )


def _walk(cursor: TreeCursor, depths: list[int]) -> Iterator[list[Node]]:
    """All nodes of a tree in pre-order, in slabs, so that a huge tree is never a list of objects; adds their depths."""
    down, side, up = cursor.goto_first_child, cursor.goto_next_sibling, cursor.goto_parent
    add_depth = depths.append
    depth = 0
    while True:
        nodes: list[Node] = []
        add = nodes.append
        for _ in repeat(None, _SLAB):
            add(cursor.node)  # type: ignore[arg-type]  # the stubs allow None, which a cursor within a tree never gives
            add_depth(depth)
            if down():
                depth += 1
                continue
            while not side():
                if not up():
                    yield nodes
                    return
                depth -= 1
        yield nodes


def _parents(depth: Ints, order: Ints) -> Ints:
    """The parent of each node, -1 of roots.

    A node that stands deeper than the one before it is that one's first child. Sorted by depth, siblings stand in a row
    behind the first of them, so each takes over the parent of the nearest first child before it.
    """
    is_first = np.ones(len(depth), np.bool_)
    is_first[1:] = depth[1:] > depth[:-1]
    first = is_first[order]
    parent = np.empty(len(depth), np.int64)
    parent[order] = (order[first] - 1)[np.cumsum(first) - 1]
    return parent


def _next_siblings(parent: Ints, by_level: Ints) -> Ints:
    following = np.full(len(parent), -1)
    row = parent[by_level]
    same = np.flatnonzero((row[1:] == row[:-1]) & (row[1:] >= 0))
    following[by_level[same]] = by_level[same + 1]
    return following


def _operators(kind: NDArray[np.int16], parent: Ints, tokens: Ints, grammar: Grammar) -> NDArray[np.int16]:
    """The token that each node carries, 0 for none."""
    operator = np.zeros(len(kind), np.int16)
    above = parent[tokens]
    carried = (above >= 0) & grammar.carries[kind[above], kind[tokens]]
    operator[above[carried]] = kind[tokens[carried]]
    return operator


def _for_parts(kind: NDArray[np.int16], parent: Ints, grammar: Grammar) -> NDArray[np.int8]:
    """What each child is to its ``for``: as many parts as ``;`` stand before it, a declaration holding its own."""
    part = np.full(len(kind), -1, np.int8)
    child = np.flatnonzero(grammar.named(["for_statement"])[kind][parent] & (parent >= 0))
    child = child[np.argsort(parent[child], kind="stable")]
    owner = parent[child]
    semicolon = grammar.tokens([";"])[kind[child]] | grammar.named(["declaration"])[kind[child]]
    closed = grammar.tokens([")"])[kind[child]]
    begin = np.searchsorted(owner, owner)
    before = np.append(0, np.cumsum(semicolon))
    closed_before = np.append(0, np.cumsum(closed))
    at = np.arange(len(child))
    part[child] = np.minimum(before[at] - before[begin], 2)
    part[child[closed_before[at] > closed_before[begin]]] = 3
    return part
