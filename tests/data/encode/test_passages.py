"""Chunks of words: where they stand, what is cut, and that nothing else is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.data.encode.passages import Unit, cut_texts


def chunks(text: str, unit: Unit = "words", window: int = 4, overlap: int = 0, maximum: int = 99) -> list[str]:
    found = cut_texts([text], unit, window, overlap, maximum)
    return [text[start:end] for start, end in found.spans.tolist()]


def test_words_with_overlap_by_hand() -> None:
    assert chunks(" a bb  ccc\nd e f g ", overlap=1) == ["a bb  ccc\nd", "d e f g"]
    assert chunks("a b c d e f g", window=3, overlap=2) == ["a b c", "b c d", "c d e", "d e f", "e f g"]


def test_sentences_by_hand() -> None:
    text = 'One two. Three! He said "four five six." Seven eight nine ten eleven twelve\nthirteen'
    expected = ["One two. Three!", 'He said "four five', 'six."', "Seven eight nine ten", "eleven twelve\nthirteen"]
    assert chunks(text, "sentences") == expected
    assert chunks("Mr. A b. c d e", "sentences", window=3) == ["Mr. A b.", "c d e"]


def test_what_is_behind_the_last_chunk_is_counted() -> None:
    texts = ["a b c d e f g h i", "a b", "", " \n "]
    for unit in ("words", "sentences"):
        found = cut_texts(texts, unit, 3, 0, 2)  # type: ignore[arg-type]
        assert found.words.tolist() == [9, 2, 0, 0]
        assert found.cut.tolist() == [3, 0, 0, 0]
        assert np.diff(found.offsets).tolist() == [2, 1, 1, 1]
        assert found.spans[-2:].tolist() == [[0, 0], [0, 0]]


def words_of(text: str) -> list[str]:
    """Between blanks, and the Chinese character by itself."""
    return text.replace("\u4e2d", " \u4e2d ").split()


@given(
    texts=st.lists(st.text(st.sampled_from("ab.! \n\u00e9\u4e2d\U0001f600"), max_size=40), max_size=5),
    unit=st.sampled_from(["words", "sentences"]),
    window=st.integers(1, 6),
    overlap=st.integers(0, 5),
    maximum=st.integers(1, 5),
)
def test_chunks_are_whole_words_in_order_and_only_the_end_is_cut(
    texts: list[str], unit: Unit, window: int, overlap: int, maximum: int
) -> None:
    overlap = min(overlap, window - 1) if unit == "words" else 0
    found = cut_texts(texts, unit, window, overlap, maximum)
    for index, text in enumerate(texts):
        spans = found.spans[found.offsets[index] : found.offsets[index + 1]].tolist()
        pieces = [words_of(text[start:end]) for start, end in spans]
        assert 1 <= len(pieces) <= maximum
        assert all(len(piece) <= window for piece in pieces)
        kept = pieces[0] + [word for piece in pieces[1:] for word in piece[overlap:]]
        words = words_of(text)
        assert kept == words[: len(kept)]
        assert found.words[index] == len(words)
        assert found.cut[index] == len(words) - len(kept)
        assert len(pieces) == maximum or found.cut[index] == 0


@pytest.mark.parametrize("unit", ["words", "sentences"])
def test_no_texts_have_no_chunks(unit: Unit) -> None:
    found = cut_texts([], unit, 3, 0, 2)
    assert found.spans.shape == (0, 2)
    assert found.offsets.tolist() == [0]
