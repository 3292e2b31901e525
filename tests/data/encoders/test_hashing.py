"""Hashed words: the same numbers in every process, and about the similarity of counts."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
from sklearn.feature_extraction.text import CountVectorizer
from sklearn.preprocessing import normalize

from counterpoise.data.encoders.hashing import Hashing, HashingConfig

TEXTS = ["the river is wide", "a wide river", "the engine is loud", "", "copper and stone and copper"]


def test_another_process_gives_the_same_numbers() -> None:
    program = (
        "from counterpoise.data.encoders.hashing import Hashing, HashingConfig\n"
        f"print(Hashing(HashingConfig(size=64)).encode({TEXTS!r}).tobytes().hex())"
    )
    own = Hashing(HashingConfig(size=64)).encode(TEXTS).tobytes().hex()
    environment = {"PYTHONHASHSEED": "1", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment)
    assert done.stdout.strip() == own, done.stderr


def test_similarities_are_those_of_counts() -> None:
    encoder = Hashing(HashingConfig(size=1 << 16))  # so large that no two of these terms share a number
    counts = normalize(CountVectorizer(ngram_range=(1, 2)).fit_transform(TEXTS)).toarray()
    found = encoder.encode(TEXTS)
    assert found.shape == (len(TEXTS), encoder.size)
    np.testing.assert_allclose(found @ found.T, counts @ counts.T, atol=1e-6)


def test_a_vector_depends_on_its_own_text_alone() -> None:
    encoder = Hashing(HashingConfig())
    np.testing.assert_array_equal(encoder.encode(TEXTS)[2:3], encoder.encode(TEXTS[2:3]))
