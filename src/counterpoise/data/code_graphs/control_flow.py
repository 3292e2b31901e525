"""Control flow between statements, from the syntax alone.

The nodes of the flow are simple statements, declarations, jumps, labels, ``case``s, the conditions of ``if``,
``while``, ``do``, ``for`` and ``switch``, a ``for``'s initializer and update, and, with edges into what they hold,
function definitions, ``try``, ``catch``, range-based ``for``s, lambdas and ``#if``s. An edge goes to whatever may run
next.

How it is computed: every structural node (statement, block, condition) has two symbols, its *entry* (what runs first
when control comes to it) and its *follow* (what runs after it). Syntax gives each symbol one other symbol to which it
is equal: the entry of a block is that of its first statement, the follow of a statement is the entry of the next one,
that of a loop's body is the loop's head. Following these equalities, for all symbols of many functions at once, ends
at a node of the flow or, for what leaves the function, at nothing. There is no node for the exit: ``return`` and the
last statement have no successor.

What is approximate:

- Conditions are whole: no edges for ``&&``, ``||`` and ``?:``. A constant condition is one like any other, so the
  statement after ``while (1)`` is reachable; only a ``for`` without a condition does not end by itself.
- Calls return: ``exit`` and ``longjmp`` are calls like others.
- Both branches of an ``#if`` within a function are alternatives, like those of an ``if``; without ``#else`` the
  ``#if`` may be skipped. A condition of the preprocessor is never evaluated.
- Every statement in a ``try`` block, and the ``try`` itself, may be followed by each of its handlers. ``throw`` is a
  ``return`` unless it stands in such a block. ``__finally`` follows the block; ``__leave`` is a plain statement.
- A macro that makes a loop (``list_for_each(...) { ... }``) is a call, followed by a block that runs once.
- A lambda is part of the statement that it stands in; its body has a flow of its own that begins at the lambda.
- A GNU statement expression ``({ ... })`` runs before the statement that it stands in.
- A computed ``goto``, and one to a label that the function lacks, lead nowhere. Of equal labels the first counts.
- A nested function is no part of its surroundings' flow.
- In code that does not parse, the statements in an ERROR node, or outside of any function, follow one another as in a
  block; an ERROR within a block that holds no statement is itself one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.code_graphs.grammar import Grammar
from counterpoise.data.code_graphs.syntax import Flags, Ints, Syntax, climb

# Classes of structural nodes.
(
    _SIMPLE,
    _BLOCK,
    _IF,
    _WHILE,
    _DO,
    _FOR,
    _RANGE,
    _SWITCH,
    _LABEL,
    _CASE,
    _TRY,
    _CATCH,
    _PREPROC,
    _FUNCTION,
    _LAMBDA,
) = range(15)
(_STOP, _BREAK, _CONTINUE, _GOTO, _CONDITION) = range(15, 20)

_CLASSES = {
    _BLOCK: (
        *("compound_statement", "ERROR", "translation_unit", "else_clause", "attributed_statement", "preproc_else"),
        "seh_finally_clause",
    ),
    _IF: ("if_statement",),
    _WHILE: ("while_statement",),
    _DO: ("do_statement",),
    _FOR: ("for_statement",),
    _RANGE: ("for_range_loop",),
    _SWITCH: ("switch_statement",),
    _LABEL: ("labeled_statement",),
    _CASE: ("case_statement",),
    _TRY: ("try_statement", "constructor_try_statement", "seh_try_statement"),
    _CATCH: ("catch_clause", "seh_except_clause"),
    _PREPROC: ("preproc_if", "preproc_ifdef", "preproc_elif", "preproc_elifdef"),
    _FUNCTION: ("function_definition",),
    _LAMBDA: ("lambda_expression",),
    _STOP: ("return_statement", "throw_statement", "co_return_statement"),
    _BREAK: ("break_statement",),
    _CONTINUE: ("continue_statement",),
    _GOTO: ("goto_statement",),
}
_CLAUSES = ("else_clause", "catch_clause", "seh_except_clause", "seh_finally_clause")
_CONDITIONS = ("parenthesized_expression", "condition_clause")
_ITEMS = (
    *("declaration", "type_definition", "static_assert_declaration", "using_declaration", "alias_declaration"),
    *("preproc_if", "preproc_ifdef", "preproc_def", "preproc_function_def", "preproc_call", "preproc_include"),
    *(
        "namespace_alias_definition",
        "struct_specifier",
        "union_specifier",
        "enum_specifier",
        "class_specifier",
        "ERROR",
    ),
)
_ALTERNATIVES = ("preproc_else", "preproc_elif", "preproc_elifdef")


@dataclass(frozen=True)
class ControlFlow:
    """The edges, sorted by source, and what the data flow needs to know about their ends."""

    sources: Ints
    targets: Ints
    lambda_sources: Ints
    """Statements that hold a lambda: no edges of the graph, but definitions reach the lambda's body through them."""
    lambda_targets: Ints
    nodes: Ints
    """The nodes of the flow, in source order, ``[f]``."""
    function: Ints
    """For each of ``nodes`` the function definition around it (a lambda's body is in the function that holds the
    lambda), or the root, ``[f]``."""


def control_flow(syntax: Syntax, grammar: Grammar, text_of: Ints) -> ControlFlow:
    """The control flow of all trees.

    Args:
        syntax: the trees.
        grammar: of the same language.
        text_of: for each node a number that equal label names share, or -1, ``[n]``.
    """
    return _Builder(syntax, grammar, text_of).build()


class _Builder:
    """Structural nodes are numbered ``0..m-1`` here; symbols are entries ``i``, follows ``m + i``, ends ``2m + i``."""

    def __init__(self, syntax: Syntax, grammar: Grammar, text_of: Ints) -> None:
        self.syntax, self.grammar, self.text_of = syntax, grammar, text_of
        self.node = self._structural()
        self.m = m = len(self.node)
        self.number = np.full(len(syntax.kind) + 1, -1)  # the last one is for "no node", -1
        self.number[self.node] = np.arange(m)
        self.kind = syntax.kind[self.node]
        self.class_ = self._classes()
        self.parent = self.number[syntax.parent[self.node]]
        self.parent_class = np.where(self.parent >= 0, self.class_[self.parent], -1)
        self.around = self._nearest_structural()
        self.none = 3 * m
        self._find_slots()

    # Which nodes are structural.

    def _structural(self) -> Ints:
        kind, parent = self.syntax.kind, self.syntax.parent
        flags = self.grammar.named
        above = kind[parent]  # of a root: of any node, and roots have a rule of their own
        is_statement = self.grammar.named_by(_is_statement)
        structural = is_statement[kind] & ~flags(["init_statement", "condition_clause"])[above]
        structural |= flags(["compound_statement"])[above] & self.grammar.is_named[kind]
        headed = flags(["if_statement", "while_statement", "do_statement", "switch_statement"])
        structural |= headed[above] & flags(_CONDITIONS)[kind]
        structural |= self.syntax.for_part >= 0
        item = flags(_ITEMS)[kind]
        holders = ["case_statement", "else_clause", "labeled_statement", "attributed_statement"]
        structural |= flags(holders)[above] & item
        structural |= flags(["ERROR"])[above] & item & ~flags(["ERROR"])[kind]
        structural &= ~flags(["comment", "attribute_declaration"])[kind] & ~self.syntax.missing & (parent >= 0)
        structural |= parent < 0
        errors = flags(["ERROR"])[kind]
        structural[parent[structural & (parent >= 0) & errors[parent]]] = True
        return np.flatnonzero(self._add_preprocessor(structural))

    def _add_preprocessor(self, structural: Flags) -> Flags:
        """What stands in the branches of an ``#if`` within a function, level by level."""
        kind, parent = self.syntax.kind, self.syntax.parent
        branches = self.grammar.named([*_CLASSES[_PREPROC], "preproc_else"])
        items = self.grammar.named([*_ITEMS, *_ALTERNATIVES])
        inner = branches[kind[parent]] & items[kind] & (parent >= 0) & ~structural
        open_ = np.flatnonzero(inner)
        holder = climb(parent, open_, ~inner)
        structural[open_] = structural[holder]
        return structural

    def _classes(self) -> NDArray[np.int64]:
        by_kind = np.zeros(len(self.grammar), np.int64)
        for class_, names in _CLASSES.items():
            by_kind[self.grammar.named(names)] = class_
        classes = by_kind[self.kind]
        above = self.syntax.kind[self.syntax.parent[self.node]]
        headed = self.grammar.named(["if_statement", "while_statement", "do_statement", "switch_statement"])[above]
        classes[headed & self.grammar.named(_CONDITIONS)[self.kind]] = _CONDITION
        part = self.syntax.for_part[self.node]
        classes[(part == 0) | (part == 2)] = _SIMPLE
        classes[part == 1] = _CONDITION
        is_error = self.grammar.named(["ERROR"])[self.kind]
        holds = np.zeros(len(self.node), np.bool_)
        within = self.number[self.syntax.parent[self.node]]
        holds[within[within >= 0]] = True
        classes[is_error & ~holds & (self.syntax.parent[self.node] >= 0)] = _SIMPLE
        return classes

    def _nearest_structural(self) -> Ints:
        """The nearest structural node around each, -1 for none; mostly the parent."""
        around = self.parent.copy()
        parent = self.syntax.parent
        open_ = np.flatnonzero((around < 0) & (parent[self.node] >= 0))
        found = climb(parent, parent[parent[self.node[open_]]], self.number[: len(parent)] >= 0)
        around[open_] = np.where(found >= 0, self.number[found], -1)
        return around

    # What each child is to its parent.

    def _find_slots(self) -> None:
        of_kind = self.grammar.named
        above = self.parent_class
        is_else = of_kind(["else_clause"])[self.kind]
        is_clause = of_kind(_CLAUSES)[self.kind]
        is_body = (
            self.grammar.named_by(_is_statement)[self.kind] & ~is_clause & ~np.isin(self.class_, (_CONDITION, _LAMBDA))
        )
        part = self.syntax.for_part[self.node]
        is_body &= (above != _FOR) | (part == 3)
        is_alternative = of_kind(_ALTERNATIVES)[self.kind] & (above == _PREPROC)
        self.condition = self._slot(self.class_ == _CONDITION)
        self.body = self._slot(is_body)
        self.otherwise = self._slot(is_else & (above == _IF))
        self.initializer = self._slot(part == 0)
        self.update = self._slot(part == 2)
        self.alternative = self._slot(is_alternative)
        self.finally_ = self._slot(of_kind(["seh_finally_clause"])[self.kind])
        self.first = self._slot(~is_alternative)
        same_parent = self.syntax.parent[self.node]
        order = np.argsort(same_parent, kind="stable")
        row = same_parent[order]
        same = np.flatnonzero((row[1:] == row[:-1]) & (row[1:] >= 0))
        self.next = np.full(self.m, -1)
        self.next[order[same]] = order[same + 1]
        self.next[(self.next >= 0) & is_alternative[self.next]] = -1

    def _slot(self, chosen: Flags) -> Ints:
        """For each node the first of its children that is ``chosen``, or -1; with one more place for "no node"."""
        slot = np.full(self.m + 1, -1)
        children = np.flatnonzero(chosen & (self.parent >= 0))[::-1]
        slot[self.parent[children]] = children
        return slot

    # Symbols.

    def _entry(self, node: Ints, otherwise: Ints | int) -> Ints:
        """The entries of ``node``, and ``otherwise`` where it is -1."""
        return np.where(node >= 0, node, otherwise)

    def _head(self, loops: Ints) -> Ints:
        """Where a ``for`` goes before each round."""
        return self._entry(self.condition[loops], self._entry(self.body[loops], self.none))

    def _symbols(self) -> Ints:
        m = self.m
        every = np.arange(m)
        symbol = np.empty(3 * m + 1, np.int64)
        symbol[:m] = self._entries(every)
        symbol[m : 2 * m] = self._follows(every)
        symbol[2 * m :] = np.arange(2 * m, 3 * m + 1)
        self._run_statement_expressions_first(symbol)
        return symbol

    def _entries(self, every: Ints) -> Ints:
        m, class_ = self.m, self.class_
        entry = every + 2 * m
        chosen = class_ == _BLOCK
        entry[chosen] = self._entry(self.first[every[chosen]], m + every[chosen])
        chosen = np.isin(class_, (_IF, _WHILE, _SWITCH))
        nodes = every[chosen]
        entry[chosen] = self._entry(self.condition[nodes], self._entry(self.body[nodes], m + nodes))
        chosen = class_ == _DO
        nodes = every[chosen]
        entry[chosen] = self._entry(self.body[nodes], self._entry(self.condition[nodes], m + nodes))
        chosen = class_ == _FOR
        entry[chosen] = self._entry(self.initializer[every[chosen]], self._head(every[chosen]))
        chosen = class_ == _FUNCTION
        entry[chosen] = m + every[chosen]
        return entry

    def _follows(self, every: Ints) -> Ints:
        m, above, parent = self.m, self.parent_class, self.parent
        after = np.where(parent >= 0, m + parent, self.none)
        in_row = np.isin(above, (_BLOCK, _LABEL, _CASE, _PREPROC)) | (parent < 0)
        follow = np.where(in_row, self._entry(self.next, after), after)
        follow[(above == _FUNCTION) | (above == _LAMBDA) | (self.syntax.parent[self.node] < 0)] = self.none
        follow[np.isin(above, (_SIMPLE, _CONDITION, _STOP, _BREAK, _CONTINUE, _GOTO))] = self.none
        chosen = above == _WHILE
        follow[chosen] = parent[chosen]
        chosen = above == _DO
        follow[chosen] = self._entry(self.condition[parent[chosen]], m + parent[chosen])
        chosen = above == _FOR
        loops = parent[chosen]
        is_body = self.body[loops] == every[chosen]
        head = self._head(loops)
        follow[chosen] = np.where(is_body, self._entry(self.update[loops], head), head)
        chosen = above == _RANGE
        follow[chosen] = 2 * m + parent[chosen]
        chosen = (above == _TRY) & ~self.grammar.named(["seh_finally_clause"])[self.kind]
        follow[chosen] = self._entry(self.finally_[parent[chosen]], m + parent[chosen])
        return follow

    def _run_statement_expressions_first(self, symbol: Ints) -> None:
        """Put the blocks ``({ ... })`` of a statement, in their order, before it."""
        above = self.syntax.kind[self.syntax.parent[self.node]]
        is_block = self.grammar.named(["compound_statement"])[self.kind]
        block = np.flatnonzero(is_block & self.grammar.named(["parenthesized_expression"])[above] & (self.around >= 0))
        holder = self.around[block]
        plain = np.isin(self.class_[holder], (_SIMPLE, _CONDITION, _STOP))
        block, holder = block[plain], holder[plain]
        order = np.argsort(holder, kind="stable")
        block, holder = block[order], holder[order]
        is_last = np.append(holder[1:] != holder[:-1], True)[: len(holder)]
        is_first = np.append(True, holder[1:] != holder[:-1])[: len(holder)]
        following = np.append(block[1:], 0)[: len(block)]
        symbol[self.m + block] = np.where(is_last, 2 * self.m + holder, following)
        symbol[holder[is_first]] = block[is_first]

    def _resolve(self, symbol: Ints) -> Ints:
        """Follow each symbol to its end; one that only leads back to itself (``for (;;) {}``) ends nowhere."""
        for _ in range(len(symbol).bit_length() + 1):
            further = symbol[symbol]
            if np.array_equal(further, symbol):
                break
            symbol = further
        return np.where(symbol >= 2 * self.m, symbol, self.none)

    # Edges.

    def build(self) -> ControlFlow:
        resolved = self._resolve(self._symbols())
        pairs = [*self._plain(), *self._branches(), *self._jumps(), *self._handlers()]
        source = np.concatenate([source for source, _ in pairs])
        target = resolved[np.concatenate([np.broadcast_to(symbol, len(source)) for source, symbol in pairs])]
        there = target < self.none
        m = self.m
        edges = np.unique(source[there] * m + target[there] - 2 * m)
        is_node = self._is_flow_node()
        holder = self._holders_of_lambdas(is_node)
        return ControlFlow(
            sources=self.node[edges // m],
            targets=self.node[edges % m],
            lambda_sources=self.node[holder[0]],
            lambda_targets=self.node[holder[1]],
            nodes=self.node[is_node],
            function=self._functions()[is_node],
        )

    def _plain(self) -> list[tuple[Ints, Ints]]:
        """Statements that are followed by what follows them, and containers that lead into what they hold."""
        m, class_ = self.m, self.class_
        simple = np.flatnonzero(class_ == _SIMPLE)
        holding = np.flatnonzero(np.isin(class_, (_LABEL, _CASE, _TRY, _CATCH, _PREPROC)))
        into = np.where(np.isin(class_[holding], (_TRY, _CATCH)), self.body[holding], self.first[holding])
        functions = np.flatnonzero(np.isin(class_, (_FUNCTION, _LAMBDA)))
        ranges = np.flatnonzero(class_ == _RANGE)
        preproc = np.flatnonzero(class_ == _PREPROC)
        return [
            (simple, m + simple),
            (holding, self._entry(into, m + holding)),
            (preproc, self._entry(self.alternative[preproc], m + preproc)),
            (functions, self._entry(self.body[functions], self.none)),
            (ranges, self._entry(self.body[ranges], 2 * m + ranges)),
            (ranges, m + ranges),
        ]

    def _branches(self) -> list[tuple[Ints, Ints]]:
        """Where each condition leads."""
        m = self.m
        condition = np.flatnonzero((self.class_ == _CONDITION) & (self.parent >= 0))
        owner = self.parent[condition]
        condition, owner = (part[self.condition[owner] == condition] for part in (condition, owner))
        class_ = self.class_[owner]
        pairs: list[tuple[Ints, Ints]] = []

        def add(chosen: Flags, slot: Ints, otherwise: Ints | int) -> None:
            fallback = np.broadcast_to(np.asarray(otherwise), len(owner))[chosen]
            pairs.append((condition[chosen], self._entry(slot[owner[chosen]], fallback)))

        body, follow, again = self.body, m + owner, owner
        add(class_ == _IF, body, follow)
        add(class_ == _IF, self.otherwise, follow)
        loop = (class_ == _WHILE) | (class_ == _DO)
        add(loop, body, again)
        pairs.append((condition[loop], follow[loop]))
        add(class_ == _FOR, body, self._entry(self.update[owner], self._head(owner)))
        pairs.append((condition[class_ == _FOR], follow[class_ == _FOR]))
        pairs += self._cases(condition[class_ == _SWITCH], owner[class_ == _SWITCH])
        return pairs

    def _cases(self, condition: Ints, switch: Ints) -> list[tuple[Ints, Ints]]:
        """A ``switch`` leads to each ``case`` in it, however deep, and past it if none is the default."""
        case = np.flatnonzero(self.class_ == _CASE)
        owner = self._climb(case, (_SWITCH,))
        case, owner = case[owner >= 0], owner[owner >= 0]
        has_default = np.zeros(self.m, np.bool_)
        has_default[owner[self.syntax.operator[self.node[case]] != 0]] = True
        past = ~has_default[switch]
        head = self.condition[owner]
        case, head = case[head >= 0], head[head >= 0]
        return [(condition[past], self.m + switch[past]), (head, 2 * self.m + case)]

    def _climb(self, nodes: Ints, classes: tuple[int, ...]) -> Ints:
        """The nearest structural node of one of ``classes`` around each, not past a function or lambda; -1 for none."""
        wanted = np.isin(self.class_, classes)
        found = climb(self.around, self.around[nodes], wanted | np.isin(self.class_, (_FUNCTION, _LAMBDA)))
        return np.where((found >= 0) & wanted[found], found, -1)

    def _jumps(self) -> list[tuple[Ints, Ints]]:
        m, class_ = self.m, self.class_
        loops = (_WHILE, _DO, _FOR, _RANGE)
        breaks = np.flatnonzero(class_ == _BREAK)
        left = self._climb(breaks, (*loops, _SWITCH))
        continues = np.flatnonzero(class_ == _CONTINUE)
        body = self.body[self._climb(continues, loops)]  # the follow of a loop's body is where its next round begins
        return [
            (breaks[left >= 0], m + left[left >= 0]),
            (continues[body >= 0], m + body[body >= 0]),
            self._gotos(),
        ]

    def _gotos(self) -> tuple[Ints, Ints]:
        goto, label = (np.flatnonzero(self.class_ == class_) for class_ in (_GOTO, _LABEL))
        texts = int(self.text_of.max(initial=0)) + 2
        keys = []
        for nodes in (goto, label):
            function = self._climb(nodes, (_FUNCTION, _LAMBDA))
            where = np.where(function >= 0, self.node[function], self.syntax.offsets[self._graph(nodes)])
            keys.append(where * texts + self._label_text(nodes) + 1)
        names, first = np.unique(keys[1], return_index=True)
        at = np.minimum(np.searchsorted(names, keys[0]), max(len(names) - 1, 0))
        if not len(names):
            return goto[:0], goto[:0]
        known = (names[at] == keys[0]) & (keys[0] % texts > 0)
        return goto[known], 2 * self.m + label[first[at[known]]]

    def _graph(self, nodes: Ints) -> Ints:
        return self.syntax.graph[self.node[nodes]]

    def _label_text(self, nodes: Ints) -> Ints:
        """The number of the label's name that each jump or label holds, -1 for none."""
        is_name = self.grammar.named(["statement_identifier"])
        owners = self.node[nodes]
        text = np.full(len(nodes), -1)
        child = np.where(self.syntax.is_leaf[owners], -1, owners + 1)
        while (child >= 0).any():
            named = (child >= 0) & is_name[self.syntax.kind[child]]
            text[named] = self.text_of[child[named]]
            child = np.where(named | (child < 0), -1, self.syntax.next_sibling[child])
        return text

    def _handlers(self) -> list[tuple[Ints, Ints]]:
        """From each ``try``, and each statement in its block, to its handlers."""
        handler = np.flatnonzero((self.class_ == _CATCH) & (self.parent_class == _TRY))
        if not len(handler):
            return []
        handler = handler[np.argsort(self.parent[handler], kind="stable")]  # nested ones are not in that order
        owner = self.parent[handler]
        is_node = self._is_flow_node() & ~np.isin(self.class_, (_FUNCTION, _LAMBDA))
        statements = np.flatnonzero(is_node)
        within = self._enclosing_try(statements)
        statements, within = statements[within >= 0], within[within >= 0]
        sources, tries = np.append(statements, owner), np.append(within, owner)
        begin, end = np.searchsorted(owner, tries, "left"), np.searchsorted(owner, tries, "right")
        counts = end - begin
        at = np.arange(counts.sum()) + np.repeat(begin - (np.cumsum(counts) - counts), counts)
        return [(np.repeat(sources, counts), 2 * self.m + handler[at])]

    def _enclosing_try(self, nodes: Ints) -> Ints:
        """The ``try`` whose block is the nearest one around each node, or -1."""
        around = self.around
        is_block = (self.class_[around] == _TRY) & (self.body[around] == np.arange(self.m)) & (around >= 0)
        block = climb(around, nodes, is_block | np.isin(self.class_[around], (_FUNCTION, _LAMBDA)))
        return np.where((block >= 0) & is_block[block], around[block], -1)

    def _is_flow_node(self) -> Flags:
        return ~np.isin(self.class_, (_BLOCK, _IF, _WHILE, _DO, _FOR, _SWITCH))

    def _holders_of_lambdas(self, is_node: Flags) -> tuple[Ints, Ints]:
        lambdas = np.flatnonzero(self.class_ == _LAMBDA)
        holder = self.around[lambdas]
        held = (holder >= 0) & is_node[holder]
        return holder[held], lambdas[held]

    def _functions(self) -> Ints:
        """The function definition around each structural node (itself for one), or the root of its tree."""
        step = np.where((self.class_ == _FUNCTION) | (self.around < 0), np.arange(self.m), self.around)
        while not np.array_equal(further := step[step], step):
            step = further
        return self.node[step]


def _is_statement(name: str) -> bool:
    """Whether nodes of this kind are structural wherever they stand."""
    if name in ("init_statement", "lambda_expression", "function_definition", *_CLAUSES):
        return name != "init_statement"
    return name.endswith("_statement") or name == "for_range_loop"
