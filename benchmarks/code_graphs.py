"""How fast functions become graphs, beside what parsing them alone takes, on one core.

    python benchmarks/code_graphs.py [--data FILE.jsonl.gz] [--field func] [--rounds 5] [--language c|cpp]

Both do the same functions in turn, round by round, so that a busy machine slows both; medians are compared. Before
each round what is known of names is forgotten, so that splitting them is paid for. Without ``--data`` the functions
are those of the demo set.
"""

from __future__ import annotations

import argparse
import gzip
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from counterpoise.data.code_graphs import EDGE_TYPES, GraphOptions, RawGraphs, build_graphs
from counterpoise.data.code_graphs.build import forget_names
from counterpoise.data.code_graphs.grammar import grammar_of
from counterpoise.data.code_graphs.syntax import encode
from counterpoise.data.sources.demo_code import DemoCode, DemoCodeConfig

PLAN = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="JSON lines, gzipped or not; by default the demo set")
    parser.add_argument("--field", default="func", help="the field that holds the code")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--language", choices=("c", "cpp"), default="c")
    parser.add_argument("--max-nodes", type=int, default=1000)
    given = parser.parse_args()
    options = GraphOptions(language=given.language, max_nodes=given.max_nodes)
    texts = read(given.data, given.field) if given.data else demo()
    coded = [encode(text) for text in texts]
    bare = grammar_of(options.language).parser
    graphs = build_graphs(texts[:1], options)  # the grammar is loaded
    parse_seconds, build_seconds = [], []
    for _ in range(given.rounds):
        parse_seconds.append(seconds(lambda: [bare.parse(code) for code in coded]))
        forget_names()
        begin = time.perf_counter()
        graphs = build_graphs(texts, options)
        build_seconds.append(time.perf_counter() - begin)
    show(graphs, len(texts), parse_seconds, build_seconds)


def seconds(work: Callable[[], object]) -> float:
    """How long ``work`` takes."""
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def read(path: Path, field: str) -> list[str]:
    """The functions in a file of JSON lines."""
    data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [json.loads(line)[field] for line in data.splitlines()]


def demo() -> list[str]:
    """The functions of the demo set."""
    splits = DemoCode(DemoCodeConfig(size=4000)).load().splits().values()
    return [text for records in splits for text in records.texts]


def show(graphs: RawGraphs, functions: int, parse_seconds: list[float], build_seconds: list[float]) -> None:
    """Medians, the ratio, and what they come to for a million functions."""
    parsing, building = statistics.median(parse_seconds), statistics.median(build_seconds)
    ratios = [parse / build for parse, build in zip(parse_seconds, build_seconds, strict=True)]
    nodes, edges = len(graphs.node_types), len(graphs.edge_types)
    print(f"{functions} functions, {len(build_seconds)} rounds, one core")
    print(f"parse alone     {parsing:8.3f} s   {functions / parsing:9.0f} functions/s")
    print(f"parse and graph {building:8.3f} s   {functions / building:9.0f} functions/s")
    print(f"ratio           {statistics.median(ratios):8.3f}     ({min(ratios):.3f} to {max(ratios):.3f})")
    print(f"a function      {nodes / functions:8.1f} nodes {edges / functions:9.1f} edges", end="")
    print(f" {len(graphs.token_ids) / functions:9.1f} sub-tokens")
    counts = np.bincount(graphs.edge_types, minlength=len(EDGE_TYPES)) / functions
    print("edges           " + ", ".join(f"{name} {count:.1f}" for name, count in zip(EDGE_TYPES, counts, strict=True)))
    cut = np.mean(graphs.nodes_before_cut > np.diff(graphs.node_offsets))
    print(f"cut {cut:.1%}, with parse errors {np.mean(graphs.parse_errors):.1%}")
    size = sum(column.nbytes for column in vars(graphs).values() if isinstance(column, np.ndarray)) / functions
    print(f"a million functions: {building / functions * PLAN / 60:.1f} minutes on one core,", end=" ")
    print(f"{size:.0f} bytes a function in memory, {size * PLAN / 1e9:.1f} GB in all")


if __name__ == "__main__":
    main()
