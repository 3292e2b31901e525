"""Documents cut into chunks of words, with the place of each chunk in its text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counterpoise.data.chunks import cut_windows
from counterpoise.data.words import UNSPACED

Unit = Literal["words", "sentences"]
_WORD = re.compile(rf"[{UNSPACED}]|[^\s{UNSPACED}]+")
_SENTENCE_END = re.compile(r"""[.!?…。！？]["'”’)\]]*$""")


class Passages(NamedTuple):
    """Chunks of ``N`` texts, one text after the other."""

    spans: NDArray[np.int64]
    """First character and the one behind the last of each, ``[K, 2]``."""
    offsets: NDArray[np.int64]
    """Chunks ``offsets[i] : offsets[i + 1]`` are those of text ``i``, ``[N + 1]``."""
    words: NDArray[np.int64]
    """Words of each text, ``[N]``."""
    cut: NDArray[np.int64]
    """Words of each text that stand in no chunk, ``[N]``."""


def cut_texts(texts: Sequence[str], unit: Unit, window: int, overlap: int, maximum: int) -> Passages:
    """Cut every text into chunks; a text without a word has one that is empty.

    Args:
        texts: ``N`` of them.
        unit: ``words`` cuts behind every ``window`` words; ``sentences`` behind the last sentence that ends within
            them, where one does.
        window: longest chunk in words.
        overlap: words that a chunk shares with the one before; with sentences none.
        maximum: most chunks of a text; the first are kept.
    """
    words = [np.array([match.span() for match in _WORD.finditer(text)], np.int64).reshape(-1, 2) for text in texts]
    counts = np.array([len(each) for each in words], np.int64)
    if unit == "words":
        starts, ends, offsets, cut = cut_windows(counts, window, overlap, maximum)
    else:
        pieces = [_by_sentences(text, own, window, maximum) for text, own in zip(texts, words, strict=True)]
        offsets = np.concatenate([[0], np.cumsum([len(piece) for piece in pieces])]).astype(np.int64)
        starts, ends = np.concatenate(pieces or [np.empty((0, 2), np.int64)]).T
        cut = counts - ends[offsets[1:] - 1]
    return Passages(_characters(words, counts, offsets, starts, ends), offsets, counts, cut)


def _by_sentences(text: str, words: NDArray[np.int64], window: int, maximum: int) -> NDArray[np.int64]:
    """First word and the one behind the last of every chunk of one text, ``[L, 2]``."""
    breaks = np.flatnonzero(_ends_sentence(text, words)) + 1
    pieces: list[tuple[int, int]] = []
    start = 0
    while len(pieces) < maximum and (start < len(words) or not pieces):
        end = min(start + window, len(words))
        before = int(np.searchsorted(breaks, end, side="right")) - 1
        if end < len(words) and before >= 0 and breaks[before] > start:
            end = int(breaks[before])
        pieces.append((start, end))
        start = end
    return np.array(pieces, np.int64)


def _ends_sentence(text: str, words: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Whether a sentence ends with each word: by its punctuation, or as a line ends behind it, ``[W]``."""
    following = [*words[1:, 0].tolist(), len(text)]
    return np.array(
        [
            "\n" in text[end:after] or _SENTENCE_END.search(text, start, end) is not None
            for (start, end), after in zip(words.tolist(), following, strict=False)
        ],
        bool,
    )


def _characters(
    words: Sequence[NDArray[np.int64]],
    counts: NDArray[np.int64],
    offsets: NDArray[np.int64],
    starts: NDArray[np.int64],
    ends: NDArray[np.int64],
) -> NDArray[np.int64]:
    """From places of words to places of characters, ``[K, 2]``; an empty chunk stands at the beginning."""
    spans = np.zeros((len(starts), 2), np.int64)
    if not counts.sum():
        return spans
    flat = np.concatenate(words)
    first = np.repeat(np.concatenate([[0], np.cumsum(counts)[:-1]]), np.diff(offsets))
    full = ends > starts
    spans[full, 0] = flat[(first + starts)[full], 0]
    spans[full, 1] = flat[(first + ends - 1)[full], 1]
    return spans
