"""Graphs of whole texts: against a plain walk, under changes that must not matter, cut, broken, and by processes."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import sys
import textwrap
import time
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from code_graph_checks import DEVIGN, check_item, check_whole, demo_functions, devign_functions, item
from code_graph_notation import graph_of
from hypothesis import example, given, settings
from hypothesis import strategies as st

from counterpoise.data.code_graphs import GraphOptions, RawGraphs, build_graphs
from counterpoise.data.code_graphs import build as building
from counterpoise.errors import UserError

DEMO = [text for text in demo_functions(70) if "#" not in text]
"""Without directives, to which line feeds matter."""
PIECES = st.sampled_from(
    [
        *(
            "int",
            "x",
            "y1",
            "= ",
            "+",
            "(",
            ")",
            "{",
            "}",
            ";",
            "[",
            "]",
            "*",
            "&",
            "->",
            ".",
            ",",
            "if",
            "else",
            "while",
        ),
        *(
            "do",
            "for",
            "switch",
            "case 1:",
            "default:",
            "break;",
            "continue;",
            "goto L;",
            "L:",
            "return",
            "++",
            '"a%d"',
        ),
        *("'c'", "0x1F", "1.5f", "//c\n", "/* c */", "\n", " ", "#if A\n", "#else\n", "#endif\n", "sizeof", "struct s"),
        *("({", "})", "@", "\\", "é", "\0", "\ud800", '"', "'", "try {", "catch (E e) {", "[&](int b) {", "template<"),
    ]
)
CODE = st.lists(PIECES, max_size=60).map(" ".join)
OPTIONS = st.builds(
    GraphOptions,
    language=st.sampled_from(["c", "cpp"]),
    max_nodes=st.sampled_from([1, 2, 7, 40, 100_000]),
    comments=st.booleans(),
)


def same(one: RawGraphs, other: RawGraphs, but: tuple[str, ...] = ()) -> bool:
    """Whether all columns are equal, those named in ``but`` aside."""
    return all(np.array_equal(column, vars(other)[name]) for name, column in vars(one).items() if name not in but)


@given(texts=st.lists(CODE | st.text(max_size=40), max_size=5), options=OPTIONS)
@example(texts=[], options=GraphOptions())
@example(texts=["", "\n\n", "/* only */"], options=GraphOptions(comments=True))
@settings(max_examples=150, deadline=None)
def test_any_text_is_a_graph(texts: list[str], options: GraphOptions) -> None:
    graphs = build_graphs(texts, options)
    check_whole(graphs, len(texts), options)
    for index, text in enumerate(texts):
        if text.isprintable():  # the reference does not know what becomes of lone surrogates
            check_item(item(graphs, index), text, options)


@pytest.mark.parametrize("options", [GraphOptions(), GraphOptions("cpp", 90), GraphOptions("c", 30, True)])
def test_against_a_plain_walk(options: GraphOptions) -> None:
    texts = [*DEMO, *devign_functions(40)]
    graphs = build_graphs(texts, options)
    check_whole(graphs, len(texts), options)
    for index, text in enumerate(texts):
        check_item(item(graphs, index), text, options)


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_truncated_and_mutated_functions(data: st.DataObject) -> None:
    rng = random.Random(data.draw(st.integers(0, 1 << 30)))
    text = list(rng.choice(DEMO))
    for _ in range(data.draw(st.integers(0, 6))):
        at = rng.randrange(len(text) + 1)
        text[at : at + rng.choice([0, 1, 1, 20])] = rng.choice(["", "{", "}", "(", ";", "if", "\n", "case", "@", " "])
    mutated = "".join(text)[: rng.choice([None, rng.randrange(len(text) + 1)])]
    options = data.draw(OPTIONS)
    graphs = build_graphs([mutated], options)
    check_whole(graphs, 1, options)
    check_item(item(graphs, 0), mutated, options)


@pytest.mark.skipif(not DEVIGN.exists(), reason="the real functions (shared/data/devign) are not at hand")
def test_real_functions_cut_anywhere() -> None:
    rng = random.Random(3)
    texts = [text[rng.randrange(len(text)) :][: rng.randrange(4000)] for text in devign_functions(300)]
    options = GraphOptions(max_nodes=200)
    graphs = build_graphs(texts, options)
    check_whole(graphs, len(texts), options)
    for index in range(0, len(texts), 7):
        check_item(item(graphs, index), texts[index], options)


TOKEN = re.compile(r'"(?:\\.|[^"\\])*"|\'(?:\\.|[^\'\\])*\'|//[^\n]*|/\*.*?\*/|\s+|\w+|.', re.DOTALL)


def reformatted(text: str, rng: random.Random, comments: bool) -> str:
    """The same tokens with other white space, and comments, wherever there was white space."""
    spaces = ["\n", "  ", "\n\n\t", " \r\n "] + ([" /* a; { */", " // if (\n"] if comments else [])
    parts = [rng.choice(spaces) if part.isspace() else part for part in TOKEN.findall(text)]
    return "".join(part + "\n" if part.startswith("//") else part for part in parts)


@given(seed=st.integers(0, 1 << 30), index=st.integers(0, len(DEMO) - 1), comments=st.booleans())
@settings(max_examples=60, deadline=None)
def test_formatting_changes_lines_only(seed: int, index: int, comments: bool) -> None:
    text = DEMO[index]
    changed = reformatted(text, random.Random(seed), comments)
    assert same(graph_of(text), graph_of(changed), but=("lines",))


@given(max_nodes=st.integers(1, 300), index=st.integers(0, len(DEMO) - 1))
@settings(max_examples=40, deadline=None)
def test_what_a_cut_leaves(max_nodes: int, index: int) -> None:
    """The level-order first nodes stay, hang together, and keep all edges among themselves."""
    whole = item(graph_of(DEMO[index]), 0)
    cut = item(build_graphs([DEMO[index]], GraphOptions(max_nodes=max_nodes)), 0)
    parent = {end: begin for begin, end in whole.edges["child"]}
    level = [0] * len(whole.types)
    for node in range(1, len(level)):
        level[node] = level[parent[node]] + 1
    kept = sorted(sorted(range(len(level)), key=lambda node: (level[node], node))[:max_nodes])
    new = {old: number for number, old in enumerate(kept)}
    assert cut.types == [whole.types[node] for node in kept]
    assert cut.lines == [whole.lines[node] for node in kept]
    assert cut.tokens == [whole.tokens[node] for node in kept]
    for name, edges in whole.edges.items():
        assert cut.edges[name] == [(new[begin], new[end]) for begin, end in edges if begin in new and end in new]
    assert len(cut.edges["child"]) == len(kept) - 1


def test_a_cut_write_still_hides_earlier_ones() -> None:
    source = "int f(int a) { if (a) { { a = 2; } } else a = 1; return a; }"
    shallow = "int f(int a) { { { a = 2; } } return a; }"
    for text in (source, shallow):
        whole = item(graph_of(text), 0)
        for max_nodes in range(1, len(whole.types)):
            cut = item(build_graphs([text], GraphOptions(max_nodes=max_nodes)), 0)
            assert len(cut.edges["data_flow"]) <= len(whole.edges["data_flow"])
    cut = build_graphs([shallow], GraphOptions(max_nodes=14))
    assert "return_statement" in cut.type_names
    assert not item(cut, 0).edges["data_flow"]  # the parameter is hidden by a write that is cut away


HUGE = {
    "nothing": "",
    "NUL": "int f(void) {\0 return 1; }\0",
    "surrogates": 'int \ud800f(void) { g("\udfff"); }',
    "prose": "It was the best of times, it was the worst of times; it was 1859.\n" * 20,
    "parentheses": "int x = " + "(" * 10_000 + "1" + ")" * 10_000 + ";",
    "open parentheses": "(" * 10_000,
    "blocks": "void f(void) {" + "{" * 3000 + "x = 1;" + "}" * 3000 + "}",
    "else if": "void f(int x) { if (x) x = 0;" + " else if (x) x = 1;" * 1500 + "}",
    "one long name": "a" * 100_000,
    "one long number": "int x = 0x" + "12aF" * 20_000 + ";",
    "one long string": 'char *s = "' + "%d word_" * 20_000 + '";',
    "assignments": "void f(int a) {" + "a = " * 2000 + "1; }",
    "many writes": "int f(int a) {" + "if (a) a = 1;" * 400 + "return a; }",
    "many scopes": "void f(void) {" + "{ int i = 0; g(i); }" * 1500 + "}",
}


@pytest.mark.parametrize("name", HUGE)
def test_huge_and_odd_texts(name: str) -> None:
    options = GraphOptions(max_nodes=2000)
    graphs = build_graphs([HUGE[name], "int x;"], options)
    check_whole(graphs, 2, options)
    assert max(map(len, graphs.token_names), default=0) <= 32
    assert graphs.token_counts.max() <= 32
    assert same(build_graphs(["int x;"], options), slice_of(graphs, 1))


def slice_of(graphs: RawGraphs, index: int) -> RawGraphs:
    """One graph by itself, through the texts of its names."""
    one = item(graphs, index)
    types, tokens = list(dict.fromkeys(one.types)), list(dict.fromkeys(chain.from_iterable(one.tokens)))
    edges = [(begin, end, kind) for kind, pairs in enumerate(one.edges.values()) for begin, end in pairs]
    sources, targets, kinds = np.array(edges, np.int32).reshape(-1, 3).T
    return RawGraphs(
        node_offsets=np.array([0, len(one.types)]),
        edge_offsets=np.array([0, len(edges)]),
        token_offsets=np.array([0, sum(map(len, one.tokens))]),
        node_types=np.array([types.index(name) for name in one.types]),
        lines=np.array(one.lines),
        token_counts=np.array([len(part) for part in one.tokens]),
        token_ids=np.array([tokens.index(token) for part in one.tokens for token in part]),
        sources=sources,
        targets=targets,
        edge_types=kinds,
        type_names=types,
        token_names=tokens,
        parse_errors=np.array([one.parse_error]),
        nodes_before_cut=np.array([one.before_cut]),
    )


def test_many_writes_reach_the_end() -> None:
    """More definitions of one variable than fit into a machine word."""
    graph = item(build_graphs([HUGE["many writes"]], GraphOptions(max_nodes=100_000)), 0)
    last = max(end for _, end in graph.edges["data_flow"])
    assert sum(end == last for _, end in graph.edges["data_flow"]) == 401


def test_chunks_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [*DEMO, "", *DEMO[:3]]
    options = GraphOptions(max_nodes=150)
    whole = build_graphs(texts, options)
    for size, characters in ((1, 10**9), (7, 10**9), (10**9, 1), (10**9, 5000)):
        monkeypatch.setattr(building, "_CHUNK_TEXTS", size)
        monkeypatch.setattr(building, "_CHUNK_CHARACTERS", characters)
        assert same(whole, build_graphs(texts, options))
        building.forget_names()


def test_forgetting_names_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = build_graphs(DEMO, GraphOptions())
    monkeypatch.setattr(building, "_CHUNK_TEXTS", 5)
    monkeypatch.setattr("counterpoise.data.code_graphs.names._FORGET_AT", 20)
    assert same(whole, build_graphs(DEMO, GraphOptions()))


def test_processes_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(building, "_FEW_TEXTS", 10)
    monkeypatch.setattr(building, "_CHUNK_TEXTS", 9)
    assert same(build_graphs(DEMO, GraphOptions()), build_graphs(DEMO, GraphOptions(), workers=2))


def test_a_script_without_a_guard_is_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    lines = [
        "from counterpoise.data.code_graphs import GraphOptions, build_graphs",
        "print('once', flush=True)",
        "print(len(build_graphs(['int x;'] * 1200, GraphOptions(), workers=2).parse_errors))",
    ]
    script.write_text("\n".join(lines), encoding="utf-8")
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("once\n1200\n", "")


@pytest.mark.parametrize("delay", [0.02, 0.3, 1.2])
def test_an_interrupt_ends_the_pool_quietly(delay: float) -> None:
    code = """
        import os, signal, threading, time
        from counterpoise.data.code_graphs import GraphOptions, build_graphs
        if __name__ == "__main__":
            texts = ["int f(int a) { while (a) a--; return a; }" * 200] * 20_000
            print("begun", flush=True)
            try:
                build_graphs(texts, GraphOptions(), workers=2)
            except KeyboardInterrupt:
                print("interrupted", flush=True)
    """
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(delay)  # while processes start, and while they work
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    out, err = process.communicate(timeout=20)
    assert out == "interrupted\n"
    assert err == ""


def test_operators_stand_in_the_type() -> None:
    source = "int f(int a) { a += -a; a--; return a <= 1 || !p->x.y ? *q : &a; }\n#ifndef A\n#endif\n"
    names = set(graph_of(source).type_names)
    for name in (
        *("assignment_expression +=", "unary_expression -", "update_expression --", "binary_expression <="),
        *("binary_expression ||", "unary_expression !", "field_expression ->", "field_expression ."),
        *("pointer_expression *", "pointer_expression &", "preproc_ifdef #ifndef"),
    ):
        assert name in names
    assert "binary_expression" not in names
    assert not {"case_statement default"} - set(graph_of("f() { switch (a) { default: ; } }").type_names)


def test_missing_and_error_nodes() -> None:
    graph = item(graph_of("int f() { return 1 }"), 0)
    assert graph.parse_error
    assert "MISSING ;" in graph.types
    graph = item(graph_of("int f() { @@ }"), 0)
    assert graph.parse_error
    assert "ERROR" in graph.types
    assert not item(graph_of("int f() { return 1; }"), 0).parse_error


def test_lines_count_line_feeds_only() -> None:
    graph = item(graph_of("\r\n\x0c\u2028 int\rx\n;\n\nint y;"), 0)
    lines = dict(zip([tuple(part) for part in graph.tokens], graph.lines, strict=True))
    assert lines["x",] == 2
    assert lines["y",] == 5


@pytest.mark.parametrize(
    ("call", "where"),
    [
        (lambda: GraphOptions(language="java"), "language"),  # type: ignore[arg-type]
        (lambda: GraphOptions(max_nodes=0), "max_nodes"),
        (lambda: build_graphs(["int x;"], GraphOptions(), workers=0), "workers"),
    ],
)
def test_what_is_refused(call: object, where: str) -> None:
    with pytest.raises(UserError) as raised:
        call()  # type: ignore[operator]
    assert [problem.where for problem in raised.value.problems] == [where]


def test_comments_are_nodes_when_asked_for() -> None:
    source = "int f(void) { /* Free the page */ g(); // later\n }"
    without, with_ = graph_of(source), graph_of(source, comments=True)
    assert "comment" not in without.type_names
    assert item(with_, 0).types.count("comment") == 2
    assert ["free", "the", "page"] in item(with_, 0).tokens
    assert replace(GraphOptions(), comments=True).comments
