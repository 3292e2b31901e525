"""Sub-tokens: the words, numbers and signs in the text of a leaf."""

from __future__ import annotations

import re
from array import array
from collections.abc import Callable
from typing import cast

import numpy as np
from numpy.typing import NDArray

WORDS = (
    *("identifier", "field_identifier", "type_identifier", "statement_identifier", "namespace_identifier"),
    *("primitive_type", "sized_type_specifier", "type_qualifier", "storage_class_specifier", "auto", "this"),
    *("null", "true", "false", "preproc_directive", "literal_suffix", "virtual_specifier", "access_specifier"),
    *("explicit_function_specifier", "gnu_asm_qualifier", "ms_call_modifier", "ms_based_modifier"),
    *("ms_restrict_modifier", "ms_signed_ptr_modifier", "ms_unaligned_ptr_modifier", "ms_unsigned_ptr_modifier"),
)
"""Kinds whose text is a name or a keyword."""
NUMBERS = ("number_literal",)
TEXTS = ("string_content", "raw_string_content", "system_lib_string", "preproc_arg", "comment")
"""Kinds whose text is free: words, numbers and printf conversions are taken from it."""
EXACT = ("character", "escape_sequence", "operator_name")
"""Kinds whose text is one sub-token, without its white space."""
TEXT_KINDS = (*WORDS, *NUMBERS, *TEXTS, *EXACT)

MOST_SUBTOKENS = 32
"""Most sub-tokens of one node; the first ones stay."""
LONGEST_SUBTOKEN = 32
"""Longest sub-token in characters; the beginning stays."""
LONGEST_NUMBER = 10
"""Longest number that stands for itself: ``4294967295`` and ``0xffffffff`` do."""
_MOST_TEXT = 4096
_FORGET_AT = 300_000

_WORD = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|[0-9]+|[^\W\d_A-Za-z]+")
_CONVERSION = r"%[-+ #0']*+(?:\*|\d++)?+(?:\.(?:\*|\d++)?+)?+(?:hh|ll|[hljztLqw])?[diouxXeEfFgGaAcspnmS]"
"""A 0 may be a flag or a digit of the width: what is read is not read again, or hostile texts take quadratic time."""
_PIECE = re.compile(rf"({_CONVERSION})|(0[xX][0-9a-fA-F]+|\d[\d.]*)|([^\W\d]\w*)")
_COMMENT = re.compile(r"/\*.*?(?:\*/|\Z)|//[^\n]*", re.DOTALL)
"""One without an end reaches to that of the text, or its beginning would be looked for again and again."""
_RADIX = ((re.compile(r"0x[0-9a-f]+"), "hex"), (re.compile(r"0b[01]+"), "binary"), (re.compile(r"0[0-7]+"), "octal"))


def split_word(text: str) -> list[str]:
    """An identifier at ``_``, at camel case and where digits meet letters: ``parseHTTP2_hdr`` -> parse http 2 hdr.

    Of keywords in a row, as in ``unsigned /* sic */ int``, each by itself, without what is between them.
    """
    if "/" in text:
        text = _COMMENT.sub(" ", text)
    return [part.lower() for part in _WORD.findall(text)] or ([text] if text else [])


def split_number(text: str) -> list[str]:
    """A number without separators and suffix; one of more than 10 characters by its radix and length alone."""
    plain = text.lower().replace("'", "").replace("_", "")
    is_hex = plain.startswith("0x")
    plain = plain.rstrip("ul") if is_hex and "p" not in plain else plain.rstrip("ulfz" if not is_hex else "lf")
    if len(plain) <= LONGEST_NUMBER:
        return [plain] if plain else []
    digits = min(len(plain), LONGEST_SUBTOKEN)
    radix = next((name for form, name in _RADIX if form.fullmatch(plain)), "decimal" if plain.isdigit() else "float")
    return [f"<{radix} {digits}>"]


def split_text(text: str) -> list[str]:
    """Words, numbers and printf conversions of free text, the conversions as they are: ``"id=%08lx"`` -> id %08lx."""
    parts: list[str] = []
    for conversion, number, word in _PIECE.findall(text[:_MOST_TEXT]):
        if conversion:
            parts.append(conversion)
        else:
            parts += split_number(number.rstrip(".")) if number else split_word(word)
        if len(parts) >= MOST_SUBTOKENS:
            break
    return parts


def exact(text: str) -> list[str]:
    """The text itself, without white space unless it is nothing else."""
    return ["".join(text.split()) or text] if text else []


class Table:
    """Texts of one sort, numbered; a text that is seen for the first time is split."""

    def __init__(self, names: Names, split: Callable[[str], list[str]]) -> None:
        self._names = names
        self._split = split
        self._numbers: dict[bytes, int] = {}

    def number(self, texts: list[bytes]) -> list[int]:
        """The number of each text."""
        numbers = list(map(self._numbers.get, texts))
        if None in numbers:
            numbers = [
                self._learn(text) if known is None else known for text, known in zip(texts, numbers, strict=True)
            ]
        return cast("list[int]", numbers)

    def _learn(self, text: bytes) -> int:
        known = self._numbers.get(text)
        if known is None:
            known = self._numbers[text] = self._names.add(self._split(text[:_MOST_TEXT].decode("utf-8", "replace")))
        return known


class Names:
    """All texts that this process has split lately, by number, with their sub-tokens."""

    def __init__(self) -> None:
        self.words = Table(self, split_word)
        self.numbers = Table(self, split_number)
        self.texts = Table(self, split_text)
        self.exact = Table(self, exact)
        self.tokens: dict[str, int] = {}
        self._flat = array("i")
        self._begins = array("i", [0])

    def add(self, tokens: list[str]) -> int:
        """Note a new text by its sub-tokens; its number."""
        known = self.tokens
        self._flat.extend(known.setdefault(token[:LONGEST_SUBTOKEN], len(known)) for token in tokens[:MOST_SUBTOKENS])
        self._begins.append(len(self._flat))
        return len(self._begins) - 2

    @property
    def is_full(self) -> bool:
        """Whether it is time to begin anew, so that memory stays bounded."""
        return len(self._begins) > _FORGET_AT

    def gather(self, texts: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """How many sub-tokens each text has, ``[len(texts)]``, and the numbers of all of them, joined."""
        begins = np.array(self._begins, np.int64)
        flat = np.array(self._flat, np.int64)
        start = begins[texts]
        counts = begins[texts + 1] - start
        offsets = np.cumsum(counts) - counts
        index = np.arange(counts.sum()) + np.repeat(start - offsets, counts)
        return counts, flat[index]
