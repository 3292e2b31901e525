"""Data flow between identifiers: from the writes of a variable to the uses that may see them, along the control flow.

An edge leads from an identifier that is written to one that is used, if some path of the control flow leads from the
one to the other without a certain write between them: reaching definitions, per function, by the name of the variable
and the scope that declares it. Within a statement the right-hand side comes before what is assigned.

What counts as what:

- A write: a parameter, a declaration with or without a value (a use that only the latter reaches is one of an
  uninitialised variable), the left side of ``=``, the operand of ``++``. ``x += 1`` and ``x++`` use and write.
- A weak write, which earlier ones survive: the base ``a`` of ``a[i] = v``, ``a->f = v``, ``*a = v``, ``*(a + 1) = v``
  (and of ``a[i]++``), ``&x`` or ``&x.f`` as an argument of a call, an output operand of ``asm``. The base is used,
  too.
- Everything else is a use, also in ``sizeof``; a use of what is never written in the function (a global, a macro, the
  name of a called function) has no edge.

What is approximate:

- No aliases: ``p = &x; *p = 1`` is a weak write of ``p``, not of ``x``. A call changes only what it is given the
  address of; an array, or a reference in C++, given by its name is only used.
- Variables are whole: fields and elements are their base. Fields and types have no edges of their own.
- Within a statement everything happens, in the order of the source, so ``a && (b = c)`` always writes ``b``. What is
  assigned is written at the end of the assignment, an argument at the end of the call.
- Names are looked up by block. A block is what C says it is, and the whole of a ``for``, ``if``, ``while``, ``switch``,
  ``catch``, lambda or function; branches of an ``#if`` are no blocks, so a variable declared in both is one variable.
- In C++ ``T x(n);`` declares a function, as the grammar reads it where ``n`` might be a type: no variable, no edges.
- Of a lambda, the body sees the writes that reach the statement it stands in, and its own; nothing comes back.
- Names in macro definitions, in the conditions of ``#if``, behind ``::`` and of parameters of function types are none
  of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from heapq import heappop, heappush

import numpy as np

from counterpoise.data.code_graphs.control_flow import ControlFlow
from counterpoise.data.code_graphs.grammar import Grammar
from counterpoise.data.code_graphs.syntax import FEW_LEVELS, Flags, Ints, Syntax, climb

_USE, _WRITE, _WEAK = 0, 1, 2
_WIDEST = 62

_DECLARATORS = (
    *("pointer_declarator", "array_declarator", "parenthesized_declarator", "attributed_declarator"),
    *("reference_declarator", "init_declarator", "function_declarator", "structured_binding_declarator"),
    *("variadic_declarator",),
)
_DECLARATIONS = ("declaration", "for_range_loop", "parameter_declaration", "optional_parameter_declaration")
_PARAMETERS = (*_DECLARATIONS[2:], "variadic_parameter_declaration")
_SCOPES = (
    *("compound_statement", "for_statement", "for_range_loop", "if_statement", "while_statement", "switch_statement"),
    *("catch_clause", "lambda_expression", "function_definition"),
)
_PATHS = ("subscript_expression", "field_expression", "pointer_expression", "parenthesized_expression")
_NOT_VARIABLES = (
    *(
        "qualified_identifier",
        "preproc_def",
        "preproc_function_def",
        "preproc_params",
        "preproc_ifdef",
        "preproc_defined",
    ),
    *("preproc_if", "preproc_elif", "preproc_elifdef", "preproc_call", "enumerator", "attribute", "template_function"),
    *("gnu_asm_goto_list", "function_declarator"),
)


@dataclass(frozen=True)
class _Events:
    """What happens to variables, in the order in which it happens; one row per use or write."""

    node: Ints
    statement: Ints
    """Position of the statement among the nodes of the control flow."""
    variable: Ints
    kind: Ints


def data_flow(syntax: Syntax, grammar: Grammar, text_of: Ints, flow: ControlFlow, kept: Flags) -> tuple[Ints, Ints]:
    """The data flow of all trees: sources (writes) and targets (uses), sorted by source.

    Args:
        syntax: the trees.
        grammar: of the same language.
        text_of: for each identifier a number that equal names share, -1 for other nodes, ``[n]``.
        flow: the control flow.
        kept: nodes that are not cut away; writes at others still hide earlier ones, but have no edges, ``[n]``.
    """
    events = _Finder(syntax, grammar, text_of, flow).events()
    return _reaching(events, flow, kept)


class _Finder:
    """Finds uses and writes, and which variable each is of, for all identifiers at once."""

    def __init__(self, syntax: Syntax, grammar: Grammar, text_of: Ints, flow: ControlFlow) -> None:
        self.syntax, self.grammar, self.text_of, self.flow = syntax, grammar, text_of, flow
        self.kind, self.parent = syntax.kind, syntax.parent

    def events(self) -> _Events:
        node = np.flatnonzero(self.grammar.named(["identifier"])[self.kind] & ~self.syntax.missing & (self.parent >= 0))
        statement = self._statements(node)
        node, statement = node[statement >= 0], statement[statement >= 0]
        declared, is_declaration, is_variable = self._declared(node)
        node, statement, declared = (part[is_variable] for part in (node, statement, declared))
        is_declaration = is_declaration[is_variable]
        variable = self._variables(node, statement, is_declaration)
        return self._ordered(node, statement, variable, declared, is_declaration)

    def _is(self, nodes: Ints, *names: str) -> Flags:
        return self.grammar.named(names)[self.kind[nodes]]

    def _statements(self, node: Ints) -> Ints:
        """The nearest node of the flow around each, as a position in ``flow.nodes``; -1 for none.

        Mostly it is the last one that starts before; where that one has ended, the tree is climbed.
        """
        if not len(self.flow.nodes):
            return np.full(len(node), -1)
        at = np.searchsorted(self.flow.nodes, node, "right") - 1
        ends = self.syntax.subtree_end(self.flow.nodes)
        inside = (at >= 0) & (node < ends[at])
        at[~inside] = self._climb_to(node[~inside])
        return at

    def _climb_to(self, node: Ints) -> Ints:
        position = np.full(len(self.kind) + 1, -1)
        position[self.flow.nodes] = np.arange(len(self.flow.nodes))
        return position[climb(self.parent, node, position[:-1] >= 0)]

    # Declarations.

    def _declared(self, node: Ints) -> tuple[Ints, Flags, Flags]:
        """For each identifier where its declaration takes effect, whether it declares, and whether it is a variable."""
        parent = self.parent[node]
        is_declarator = self.grammar.named(_DECLARATORS)[self.kind]
        is_variable = ~self._is(parent, *_NOT_VARIABLES)
        begins_in_list = self._is(parent, "parameter_list")
        effect = node.copy()
        open_ = np.flatnonzero(is_declarator[parent] | self._is(parent, *_DECLARATIONS, *_PARAMETERS))
        at, above = node[open_], parent[open_]
        top = np.full(len(node), -1)
        while len(open_):
            names = self._names_something(at, above)
            open_, at, above = open_[names], at[names], above[names]
            effect[open_[self._is(above, "init_declarator")]] = above[self._is(above, "init_declarator")]
            done = ~is_declarator[above]
            top[open_[done]] = above[done]
            open_, at = open_[~done], above[~done]
            above = self.parent[at]
            open_, at, above = open_[above >= 0], at[above >= 0], above[above >= 0]
        is_declaration = self._is(top, *_DECLARATIONS, *_PARAMETERS) & (top >= 0)
        whole = is_declaration & (self._is(top, "for_range_loop") | self._is(self.parent[top], "condition_clause"))
        effect[whole] = top[whole]
        is_parameter = is_declaration & self._is(top, *_PARAMETERS)
        is_variable[is_parameter] = self._is_own_parameter(top[is_parameter])
        old_style = np.flatnonzero(begins_in_list & is_variable)
        is_declaration[old_style] = self._is_own_parameter(node[old_style])
        return effect, is_declaration, is_variable

    def _names_something(self, node: Ints, above: Ints) -> Flags:
        """Whether ``node`` is the declarator of ``above``, not a size, a value or a type in it."""
        first = self._first_child(above)
        among_declarators = self._is(above, *_DECLARATORS)
        is_name = self._is(node, "identifier", *_DECLARATORS)
        anywhere = ("structured_binding_declarator", "pointer_declarator", "attributed_declarator")
        inner = among_declarators & ((first == node) | self._is(above, *anywhere, "reference_declarator"))
        outer = ~among_declarators & ~self._is_value(node, above)
        names: Flags = is_name & (inner | outer)
        return names

    def _is_value(self, node: Ints, above: Ints) -> Flags:
        """Whether ``node`` is the value of a declaration that has it as a child: of a default, a condition, a range."""
        valued = self._is(above, "optional_parameter_declaration", "for_range_loop")
        valued |= self._is(above, "declaration") & self._is(self.parent[above], "condition_clause")
        later = np.zeros(len(node), np.bool_)
        at = np.flatnonzero(valued & self._is(node, "identifier"))
        if not len(at):
            return later
        child = self._first_child(above[at])
        names = ("identifier", *_DECLARATORS)
        declarator = np.full(len(at), -1)
        while (child >= 0).any():
            found = (declarator < 0) & (child >= 0) & self._is(child, *names)
            declarator[found] = child[found]
            child = np.where((declarator >= 0) | (child < 0), -1, self.syntax.next_sibling[child])
        later[at] = declarator != node[at]
        return later

    def _first_child(self, nodes: Ints) -> Ints:
        """The first child that is no comment."""
        child = nodes + 1
        is_comment = self.grammar.named(["comment"])
        skipped = np.flatnonzero(is_comment[self.kind[child]])
        while len(skipped):
            child[skipped] = self.syntax.next_sibling[child[skipped]]
            skipped = skipped[child[skipped] >= 0]
            skipped = skipped[is_comment[self.kind[child[skipped]]]]
        return child

    def _is_own_parameter(self, node: Ints) -> Flags:
        """Whether a parameter belongs to a function that is defined, a lambda or a handler, not to a type."""
        own = np.zeros(len(node), np.bool_)
        passing = self.grammar.named(["parameter_list", "abstract_function_declarator", *_DECLARATORS])[self.kind]
        ends = self.grammar.named(
            ["function_definition", "lambda_expression", "catch_clause", "seh_except_clause", "ERROR"]
        )[self.kind]
        open_, at = np.arange(len(node)), self.parent[node]
        seen = np.zeros(len(node), np.int64)
        while len(open_):
            inside = at >= 0
            open_, at = open_[inside], at[inside]
            own[open_[ends[at]]] = True
            seen[open_] += self._is(at, "parameter_list")
            on = passing[at] & (seen[open_] < 2)
            open_, at = open_[on], self.parent[at[on]]
        return own

    # Which variable.

    def _variables(self, node: Ints, statement: Ints, is_declaration: Flags) -> Ints:
        """The variable of each identifier: the first declaration of its name in its scope, or the name by itself.

        A declaration covers what follows it in its scope. Scopes are nested, so of all that cover an identifier the one
        that is declared last is the innermost.
        """
        texts = int(self.text_of.max(initial=0)) + 1
        key = self.flow.function[statement] * texts + self.text_of[node]
        names, inverse = np.unique(key, return_inverse=True)
        name: Ints = inverse
        declaring = np.flatnonzero(is_declaration)
        scope = self._scopes(node[declaring])
        _, first = np.unique(scope * len(names) + name[declaring], return_index=True)
        begin: Ints = node[declaring[first]]
        end = self.syntax.subtree_end(scope[first])
        of_name: Ints = name[declaring[first]]
        variable: Ints = name.copy()
        order = np.lexsort((begin, of_name))
        begin, end, of_name = begin[order], end[order], of_name[order]
        low: Ints = np.searchsorted(of_name, name, "left")
        high: Ints = np.searchsorted(of_name, name, "right")
        many = np.flatnonzero(high - low > FEW_LEVELS)
        covering = _innermost(node[many], low[many], high[many], begin, end)
        variable[many] = np.where(covering >= 0, len(names) + covering, name[many])
        open_ = np.flatnonzero((low < high) & (high - low <= FEW_LEVELS))
        at: Ints = low[open_]
        while len(open_):
            covers = (begin[at] <= node[open_]) & (node[open_] < end[at])
            variable[open_[covers]] = len(names) + at[covers]
            on = (at + 1 < high[open_]) & (begin[at] <= node[open_])
            open_, at = open_[on], at[on] + 1
        return variable

    def _scopes(self, node: Ints) -> Ints:
        """The nearest scope around each declared identifier; the root if there is none."""
        is_scope = self.grammar.named(_SCOPES)[self.kind]
        scope = climb(self.parent, self.parent[node], is_scope)
        return np.where(scope >= 0, scope, self.syntax.offsets[self.syntax.graph[node]])

    # Uses and writes.

    def _ordered(self, node: Ints, statement: Ints, variable: Ints, effect: Ints, is_declaration: Flags) -> _Events:
        """All uses and writes. A write comes after everything within the expression that makes it.

        Only variables that are written at all are looked at further.
        """
        target, weak, uses = self._targets(node, is_declaration)
        target[is_declaration] = effect[is_declaration]
        called, is_given = self._addresses(node)
        writes = np.flatnonzero(target >= 0)
        written = np.zeros(int(variable.max(initial=-1)) + 1, np.bool_)
        written[variable[writes]] = True
        written[variable[is_given]] = True
        read = np.flatnonzero(uses & written[variable])
        who = np.concatenate([read, writes[::-1], is_given[::-1]])
        kinds = np.concatenate(
            [np.full(len(read), _USE), np.where(weak[writes[::-1]], _WEAK, _WRITE), np.full(len(is_given), _WEAK)]
        )
        places = np.concatenate([target[writes[::-1]], called[is_given[::-1]]])
        last = np.where(places == np.append(node[writes[::-1]], node[is_given[::-1]]), places, self._last(places))
        position = np.append(2 * node[read], 2 * last + 1)
        order = np.lexsort((position, statement[who]))
        who = who[order]
        return _Events(node[who], statement[who], variable[who], kinds[order])

    def _last(self, nodes: Ints) -> Ints:
        return self.syntax.subtree_end(nodes) - 1

    def _targets(self, node: Ints, is_declaration: Flags) -> tuple[Ints, Flags, Flags]:
        """For each identifier the expression that writes it, -1 for none; whether weakly; whether it is used."""
        target, weak = np.full(len(node), -1), np.zeros(len(node), np.bool_)
        uses = ~is_declaration
        plain = self.grammar.tokens(["="])
        open_ = np.flatnonzero(~is_declaration)
        at, through = node[open_], np.zeros(len(open_), np.bool_)
        while len(open_):
            above = self.parent[at]
            inside = above >= 0
            open_, at, through, above = open_[inside], at[inside], through[inside], above[inside]
            is_first = self._first_child(above) == at
            assigned = self._is(above, "assignment_expression") & is_first
            updated = self._is(above, "update_expression")
            output = self._is(above, "gnu_asm_output_operand") & ~is_first
            hit = assigned | updated | output
            target[open_[hit]] = above[hit]
            weak[open_[hit]] = (through | output)[hit]
            uses[open_[assigned & plain[self.syntax.operator[above]] & ~through]] = False
            stepped, passes = self._passes(at, above, is_first)
            on = passes & ~hit
            open_, at, through = open_[on], above[on], (through | stepped)[on]
        return target, weak, uses

    def _passes(self, at: Ints, above: Ints, is_first: Flags) -> tuple[Flags, Flags]:
        """Whether the step upwards leaves the base for a part of it, and whether the base is still the same."""
        operator = self.syntax.operator[above]
        tokens = self.grammar.tokens
        inner = self._is(above, "subscript_expression", "field_expression") & is_first
        inner |= self._is(above, "pointer_expression") & tokens(["*"])[operator]
        inner |= self._is(above, "binary_expression") & tokens(["+", "-"])[operator] & is_first
        same = self._is(above, "parenthesized_expression") | (self._is(above, "cast_expression") & ~is_first)
        return inner, inner | same

    def _addresses(self, node: Ints) -> tuple[Ints, Ints]:
        """The call that each identifier's address is given to, and the positions of those that have one."""
        call = np.full(len(node), -1)
        address = self.grammar.tokens(["&"])
        open_, at = np.arange(len(node)), node
        taken = np.zeros(len(node), np.bool_)
        while len(open_):
            above = self.parent[at]
            inside = above >= 0
            open_, at, taken, above = open_[inside], at[inside], taken[inside], above[inside]
            given = self._is(above, "argument_list") & taken & self._is(self.parent[above], "call_expression")
            call[open_[given]] = self.parent[above[given]]
            is_first = self._first_child(above) == at
            takes = self._is(above, "pointer_expression") & address[self.syntax.operator[above]] & ~taken
            same = self._is(above, "parenthesized_expression") | (self._is(above, "cast_expression") & ~is_first)
            inner = self._is(above, "subscript_expression", "field_expression") & is_first & ~taken
            on = takes | same | inner
            open_, at, taken = open_[on], above[on], (taken | takes)[on]
        return call, np.flatnonzero(call >= 0)


def _innermost(node: Ints, low: Ints, high: Ints, begin: Ints, end: Ints) -> Ints:
    """The last of its name's declarations that covers each node, or -1: in one pass, however many there are.

    Args:
        node: identifiers, ``[k]``.
        low: where the declarations of its name begin, ``[k]``.
        high: where they end, ``[k]``.
        begin: the first node that each declaration covers, in the order of a name's, ``[d]``.
        end: one past the last; what two of them cover is nested or apart, ``[d]``.
    """
    found = np.full(len(node), -1)
    begins, ends, nodes, lows, highs = (each.tolist() for each in (begin, end, node, low, high))
    around: list[int] = []
    name = following = -1
    for at in np.lexsort((node, low)).tolist():
        if lows[at] != name:
            name = following = lows[at]
            around = []
        while following < highs[at] and begins[following] <= nodes[at]:
            while around and ends[around[-1]] <= begins[following]:
                around.pop()
            around.append(following)
            following += 1
        while around and ends[around[-1]] <= nodes[at]:
            around.pop()
        found[at] = around[-1] if around else -1
    return found


def _reaching(events: _Events, flow: ControlFlow, kept: Flags) -> tuple[Ints, Ints]:
    """From each write to the uses that it reaches, both at kept nodes."""
    if not len(events.node):
        return events.node, events.node
    rows = _sorted_by_variable(events)
    source, target = _within_statements(rows, kept)
    size = len(kept)
    across = _across_statements(rows, flow, kept)
    edges = np.unique(np.append(source * size + target, across[0] * size + across[1]))
    return edges // size, edges % size


@dataclass(frozen=True)
class _Rows:
    """Events, sorted by statement and variable; those of one statement and variable are a group."""

    events: _Events
    begin: Ints
    """The first event of each one's group."""
    end: Ints
    """One past the last event of each one's group."""
    certain: Ints
    """The last certain write of the group before each event, -1 for none."""
    lasts: Flags
    """Whether a write is still seen when the statement ends."""
    hides: Flags
    """Whether the group has a certain write."""


def _sorted_by_variable(events: _Events) -> _Rows:
    order = np.lexsort((events.variable, events.statement))
    statement, variable, kind = events.statement[order], events.variable[order], events.kind[order]
    size = len(order)
    at = np.arange(size)
    is_new = np.append(True, (statement[1:] != statement[:-1]) | (variable[1:] != variable[:-1]))
    begins = np.flatnonzero(is_new)
    group = np.cumsum(is_new) - 1
    begin, end = begins[group], np.append(begins[1:], size)[group]
    newest = np.maximum.accumulate(np.where(kind == _WRITE, at, -1))
    certain = np.append(-1, newest[:-1])
    final = newest[end - 1]
    return _Rows(
        events=_Events(events.node[order], statement, variable, kind),
        begin=begin,
        end=end,
        certain=np.where(certain >= begin, certain, -1),
        lasts=(kind != _USE) & (at >= final),
        hides=final >= begin,
    )


def _within_statements(rows: _Rows, kept: Flags) -> tuple[Ints, Ints]:
    """From each write to the later uses in its own statement, up to the next certain write."""
    events = rows.events
    is_kept = kept[events.node]
    writes = np.flatnonzero((events.kind != _USE) & is_kept)
    uses = np.flatnonzero((events.kind == _USE) & is_kept)
    low = np.searchsorted(writes, np.where(rows.certain[uses] >= 0, rows.certain[uses], rows.begin[uses]))
    counts = np.searchsorted(writes, uses) - low
    at = np.arange(counts.sum()) + np.repeat(low - (np.cumsum(counts) - counts), counts)
    return events.node[writes[at]], events.node[np.repeat(uses, counts)]


def _across_statements(rows: _Rows, flow: ControlFlow, kept: Flags) -> tuple[Ints, Ints]:
    """From each write that a statement leaves behind to the uses in others that it reaches.

    A set of writes is one integer, one bit a write. Bits of a function begin at 0, those of a variable are neighbours.
    """
    events = rows.events
    is_kept = kept[events.node]
    uses = np.flatnonzero((events.kind == _USE) & is_kept & (rows.certain < 0))
    is_used = np.zeros(int(events.variable.max()) + 1, np.bool_)
    is_used[events.variable[uses]] = True
    writes = np.flatnonzero(rows.lasts & is_kept & is_used[events.variable])
    function = flow.function[events.statement[writes]]
    writes = writes[np.lexsort((events.variable[writes], function))]
    function = flow.function[events.statement[writes]]
    variable = events.variable[writes]
    first = np.full(len(is_used), len(writes))
    first[variable[::-1]] = np.arange(len(writes))[::-1]
    width = np.bincount(variable, minlength=len(is_used))
    begins = np.searchsorted(function, function)
    low = np.zeros(len(is_used), np.int64)
    low[variable] = first[variable] - begins
    bits = np.arange(len(writes)) - begins

    hiding = np.flatnonzero(rows.hides & (np.arange(len(events.node)) == rows.begin) & (width[events.variable] > 0))
    of_hiding = events.variable[hiding]
    entering = _entering(
        flow,
        generated=(events.statement[writes], bits),
        hidden=(events.statement[hiding], low[of_hiding], width[of_hiding]),
    )
    uses = uses[width[events.variable[uses]] > 0]
    of_use = events.variable[uses]
    found, which = _bits(entering, events.statement[uses], low[of_use], width[of_use])
    return events.node[writes[first[of_use[found]] + which]], events.node[uses[found]]


def _entering(flow: ControlFlow, generated: tuple[Ints, Ints], hidden: tuple[Ints, Ints, Ints]) -> list[int]:
    """The writes that may be seen where each statement begins: the least solution, as one set of bits a statement.

    Statements are taken in the order of the source, in which most edges lead forward; those that lead back are looked
    at when a pass is over, and what they bring is passed on once more.
    """
    count = len(flow.nodes)
    entering, leaving, passing = [0] * count, [0] * count, [-1] * count
    for statement, bit in zip(*(part.tolist() for part in generated), strict=True):
        leaving[statement] |= 1 << bit
    for statement, low, width in zip(*(part.tolist() for part in hidden), strict=True):
        passing[statement] &= ~(((1 << width) - 1) << low)
    sources = np.searchsorted(flow.nodes, np.append(flow.sources, flow.lambda_sources))
    targets = np.searchsorted(flow.nodes, np.append(flow.targets, flow.lambda_targets))
    order = np.argsort(sources, kind="stable")
    sources, targets = sources[order], targets[order]
    ahead = targets > sources
    for source, target in zip(sources[ahead].tolist(), targets[ahead].tolist(), strict=True):
        entering[target] |= entering[source] & passing[source] | leaving[source]
    _settle(sources, targets, entering, leaving, passing)
    return entering


def _settle(sources: Ints, targets: Ints, entering: list[int], leaving: list[int], passing: list[int]) -> None:
    """Pass on what comes back along loops until nothing new arrives, always at the first statement where some did."""
    begins = np.searchsorted(sources, np.arange(len(entering) + 1)).tolist()
    successors = targets.tolist()
    queue = np.unique(sources[targets <= sources]).tolist()  # sorted, so a heap
    last = -1
    while queue:
        statement = heappop(queue)
        if statement == last:
            continue
        last = statement
        seen = entering[statement] & passing[statement] | leaving[statement]
        for successor in successors[begins[statement] : begins[statement + 1]]:
            if seen & ~entering[successor]:
                entering[successor] |= seen
                heappush(queue, successor)
                last = -1


def _bits(sets: list[int], which: Ints, low: Ints, width: Ints) -> tuple[Ints, Ints]:
    """What is set in ``width`` bits from ``low`` on of the sets ``which``: positions in ``which``, and the bits."""
    found: list[Ints] = []
    bits: list[Ints] = []
    narrow = np.flatnonzero(width <= _WIDEST)
    masks = [(1 << bit) - 1 for bit in range(_WIDEST + 1)]
    rows = zip(which[narrow].tolist(), low[narrow].tolist(), width[narrow].tolist(), strict=True)
    parts = np.array([sets[at] >> shift & masks[size] for at, shift, size in rows], np.int64)
    for bit in range(int(width[narrow].max(initial=0))):
        at = np.flatnonzero(parts >> bit & 1)
        found.append(narrow[at])
        bits.append(np.full(len(at), bit))
    for wide in np.flatnonzero(width > _WIDEST).tolist():
        size = int(width[wide])
        part = sets[which[wide]] >> int(low[wide]) & ((1 << size) - 1)
        octets = np.frombuffer(part.to_bytes(size // 8 + 1, "little"), np.uint8)
        ones = np.flatnonzero(np.unpackbits(octets, bitorder="little"))
        found.append(np.full(len(ones), wide))
        bits.append(ones)
    empty = [np.empty(0, np.int64)]
    return np.concatenate(found + empty), np.concatenate(bits + empty)
