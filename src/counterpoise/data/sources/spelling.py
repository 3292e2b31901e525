"""One spelling for each label, group and criterion, however a file writes it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from decimal import Decimal

INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
"""A label that is an integer, in its one spelling."""
FRACTION = re.compile(r"[+-]?[0-9]*\.[0-9]+")
"""A decimal number that is no integer, once :func:`label_spelling` has read those that are."""
_WHOLE_NUMBER = re.compile(r"([+-]?(?:0|[1-9][0-9]{0,17}))(?:\.0*)?")
_EXACT = 2**53
"""From here on a float does not hold every integer."""
_INVISIBLE = dict.fromkeys([0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x202A, 0x202F), 0x2060, 0xFEFF])
"""Signs without width or meaning: soft hyphen, zero-width space, direction marks, byte order mark."""
_JOINERS = "\u200c\u200d"
"""Zero-width too, but part of the spelling inside a word or an emoji."""
_ALIKE = str.maketrans("аеорсухіјѕԁһкмтвн‐‑‒–—−οαικνρτυχ", "aeopcyxijsdhkmtbh------oaikvptux")
"""Letters of other scripts, and dashes, by the ones that they look like."""
_VARIANTS = {chr(code) for code in range(0xFE00, 0xFE10)}
_QUOTES = "\"'`‘’“”«» "


def plain(text: str) -> str:
    """NFC, without invisible signs and without white space at the ends; a run of white space inside is one blank."""
    words = unicodedata.normalize("NFC", text).translate(_INVISIBLE).split()
    return " ".join(words).strip(_JOINERS + " ")


def label_spelling(value: object) -> str | None:
    """The one spelling of a label, for every file format; ``None`` for what cannot be one.

    An integer is its digits: ``1``, ``1.0``, ``+1``, ``"1 "`` are ``1``, and ``-0`` is ``0``. At most 18 digits without
    leading zeros are an integer; ``007`` and ``1e3`` in text are text. ``true`` and ``false`` are words in lower case.
    """
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float | Decimal):
        whole = -_EXACT < value < _EXACT and value == int(value)  # NaN is neither
        return str(int(value)) if whole else str(value)
    if not isinstance(value, str):
        return None
    name = plain(value)
    if number := _WHOLE_NUMBER.fullmatch(name):
        return str(int(number[1]))
    return name.lower() if name.lower() in ("true", "false") else name


def look_alikes(names: Iterable[str]) -> list[list[str]]:
    """Names that differ in spelling only, two or more together: case, width, script, leading
    zeros, quotes around them."""
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(_looks(name), []).append(name)
    return [group for group in groups.values() if len(group) > 1]


def _looks(name: str) -> str:
    shown = unicodedata.normalize("NFKC", name).strip(_QUOTES).casefold().translate(_ALIKE)
    kept = "".join(c for c in shown if not c.isspace() and unicodedata.category(c) != "Cf" and c not in _VARIANTS)
    if not kept.isascii():
        return kept
    try:
        return str(Decimal(kept).normalize() + 0)
    except ArithmeticError:  # it is no number
        return kept
