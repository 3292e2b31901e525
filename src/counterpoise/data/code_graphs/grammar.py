"""What the grammars of C and C++ call things, as tables over the numbers of node kinds."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Literal

import numpy as np
import tree_sitter_c
import tree_sitter_cpp
from numpy.typing import NDArray
from tree_sitter import Language, Parser

_ERROR_KIND = 0xFFFF
_SIGNS = (
    *(
        "+",
        "-",
        "*",
        "/",
        "%",
        "&",
        "|",
        "^",
        "~",
        "!",
        "<",
        ">",
        "<=",
        ">=",
        "==",
        "!=",
        "&&",
        "||",
        "<<",
        ">>",
        "<=>",
    ),
    *("and", "or", "xor", "bitand", "bitor", "not", "compl", "not_eq", "++", "--", ".", "->", ".*", "->*", ","),
    *("=", "+=", "-=", "*=", "/=", "%=", "&=", "|=", "^=", "<<=", ">>=", "and_eq", "or_eq", "xor_eq"),
)
_CARRIERS: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(("binary_expression", "unary_expression", "assignment_expression", "update_expression"), _SIGNS),
    **dict.fromkeys(("field_expression", "pointer_expression", "fold_expression"), _SIGNS),
    "reference_declarator": ("&", "&&"),
    "abstract_reference_declarator": ("&", "&&"),
    "lambda_default_capture": ("=", "&"),
    "case_statement": ("default",),
    "preproc_ifdef": ("#ifdef", "#ifndef"),
    "preproc_elifdef": ("#elifdef", "#elifndef"),
}


class Grammar:
    """One language: its parser, and its node kinds numbered without the doubles that tree-sitter's own numbers have.

    A kind is a pair of a name and whether it is named (``identifier``) or a token (``";"``). Kind 0 is ``ERROR``.
    """

    def __init__(self, language: Literal["c", "cpp"]) -> None:
        grammar = Language({"c": tree_sitter_c, "cpp": tree_sitter_cpp}[language].language())
        self.parser = Parser(grammar)
        numbers: dict[tuple[str, bool], int] = {("ERROR", True): 0}
        self.kind_of_id: NDArray[np.int16] = np.zeros(_ERROR_KIND + 1, np.int16)
        for id_ in range(grammar.node_kind_count):
            key = (grammar.node_kind_for_id(id_) or "", grammar.node_kind_is_named(id_))
            self.kind_of_id[id_] = numbers.setdefault(key, len(numbers))
        self.kind_of_id[_ERROR_KIND] = 0
        self._numbers = numbers
        self._known_flags: dict[tuple[tuple[str, ...], bool], NDArray[np.bool_]] = {}
        self.names = [name for name, _ in numbers]
        self.is_named: NDArray[np.bool_] = np.array([named for _, named in numbers])
        self.carries = self._carriers()

    def _carriers(self) -> NDArray[np.bool_]:
        """``[kinds, kinds]``: whether a node of the row's kind carries the token of the column's kind in its type."""
        table = np.zeros((len(self), len(self)), np.bool_)
        for name, tokens in _CARRIERS.items():
            table[np.ix_(self.named([name]), self.tokens(tokens))] = True
        return table

    def __len__(self) -> int:
        return len(self.names)

    def named(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """``[kinds]``, read-only: the named kinds among ``names``; a name that this grammar lacks is left out."""
        return self._flags(tuple(names), True)

    def tokens(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """``[kinds]``, read-only: the tokens among ``names``; a token that this grammar lacks is left out."""
        return self._flags(tuple(names), False)

    def named_by(self, choose: Callable[[str], bool]) -> NDArray[np.bool_]:
        """``[kinds]``, read-only: the named kinds whose name satisfies ``choose``."""
        return self.named(name for name, named in self._numbers if named and choose(name))

    def _flags(self, names: tuple[str, ...], named: bool) -> NDArray[np.bool_]:
        flags = self._known_flags.get((names, named))
        if flags is None:
            flags = np.zeros(len(self), np.bool_)
            flags[[self._numbers[name, named] for name in names if (name, named) in self._numbers]] = True
            flags.setflags(write=False)
            self._known_flags[names, named] = flags
        return flags


@cache
def grammar_of(language: Literal["c", "cpp"]) -> Grammar:
    """The grammar, built once per process (a few milliseconds)."""
    return Grammar(language)
