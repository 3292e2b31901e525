"""Functions in C and C++ as graphs: the syntax tree with the order of tokens, control flow and data flow as edges.

Nodes are the named nodes of tree-sitter's syntax tree. Control flow (:mod:`.control_flow`) and data flow
(:mod:`.data_flow`) follow from the syntax alone, without types, macros or headers, and are approximate; both modules
say how. ``docs/code_graphs.md`` shows an example.
"""

from __future__ import annotations

from counterpoise.data.code_graphs.build import EDGE_TYPES, GraphOptions, RawGraphs, build_graphs

__all__ = ["EDGE_TYPES", "GraphOptions", "RawGraphs", "build_graphs"]
