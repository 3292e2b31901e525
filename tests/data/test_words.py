"""Of scripts that are written without blanks each character is a word, wherever words are counted."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.baselines import _TOKEN, tfidf_logistic
from counterpoise.data.encode.passages import cut_texts
from counterpoise.data.encoders.hashing import Hashing, HashingConfig
from counterpoise.data.encoders.lsa import LSA, LSAConfig
from counterpoise.data.records import Records
from counterpoise.data.windows import window_graphs
from counterpoise.data.words import TERM, UNSPACED, warn_of_texts_without_blanks

SIGNS = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏"


def records(texts: list[str], labels: list[int] | None = None) -> Records:
    columns = {"row": range(len(texts)), "label": labels or [0] * len(texts), "text": texts}
    return Records.from_columns(columns, ("0", "1"))


def chinese(count: int) -> tuple[list[str], list[int]]:
    """Texts without blanks in which one of two pairs of characters stands anywhere."""
    draw = random.Random(0)
    texts = ["".join(draw.choices(SIGNS, k=40)) for _ in range(count)]
    places = [draw.randrange(40) for _ in texts]
    pairs = ["好极" if n % 2 else "坏透" for n in range(count)]
    mixed = [text[:p] + pair + text[p:] for text, p, pair in zip(texts, places, pairs, strict=True)]
    return mixed, [n % 2 for n in range(count)]


def test_the_baseline_learns_from_characters() -> None:
    texts, labels = chinese(120)
    train, valid = records(texts[:80], labels[:80]), records(texts[80:], labels[80:])
    found = tfidf_logistic(train, {"valid": valid})["valid"]
    assert (found.argmax(axis=1) == valid.labels).mean() > 0.9


def test_graphs_and_chunks_count_characters() -> None:
    graphs = window_graphs(["天地abc玄1"], window=1, max_nodes=10)
    assert graphs.token_names == ["天", "地", "abc", "玄", "1"]
    found = cut_texts(["天地玄黄。宇宙 洪荒abc"], "words", 3, 0, 10)
    assert found.words.tolist() == [10]
    assert found.spans.tolist() == [[0, 3], [3, 6], [6, 10], [10, 13]]
    sentences = cut_texts(["天地玄黄。宇宙洪荒。"], "sentences", 6, 0, 10)
    assert sentences.spans.tolist() == [[0, 5], [5, 10]]


def test_encoders_of_words_see_characters() -> None:
    texts, _ = chinese(20)
    lsa = LSA(LSAConfig(size=8))
    lsa.fit(texts)
    assert np.linalg.norm(lsa.encode(texts), axis=1) == pytest.approx(np.ones(20), abs=1e-5)  # float32
    one, same, other = Hashing(HashingConfig(ngrams=1)).encode(["天地玄", "玄地天", "日月盈"])
    assert one @ same == pytest.approx(1, abs=1e-6)
    assert one @ other < 0.5


@given(st.text(st.characters(max_codepoint=0xDFF)))
def test_words_of_other_scripts_are_what_they_were(text: str) -> None:
    before = r"[A-Za-z_]\w*|\d+|[^\w\s]|[^\W\d]\w*"
    assert re.findall(_TOKEN, text) == re.findall(before, text)
    assert re.findall(TERM, text) == re.findall(r"(?u)\b\w\w+\b", text)
    assert re.findall(rf"[{UNSPACED}]|[^\s{UNSPACED}]+", text) == text.split()


def test_texts_without_blanks_are_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    draw = random.Random(0)
    warn_of_texts_without_blanks(records(["".join(draw.choices("ACGT", k=400)) for _ in range(5)]))
    assert "100% of the training texts stand in words of more than 100 characters" in caplog.text
    caplog.clear()
    for texts in (["天地" * 300] * 3, ["a few words " * 50 + "x" * 500] * 3, [""]):
        warn_of_texts_without_blanks(records(texts))
    assert not caplog.text
