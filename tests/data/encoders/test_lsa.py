"""LSA: scikit-learn's figures, from what was saved as plain files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from counterpoise.data.encoders.lsa import LSA, LSAConfig
from counterpoise.errors import UserError

WORDS = ["river", "stone", "cloud", "engine", "paper", "orchard", "signal", "harbour", "copper", "lantern"]


def texts(n: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(WORDS, size=int(rng.integers(3, 9)))) for _ in range(n)]


def fitted(n: int = 60, **values: int) -> LSA:
    encoder = LSA(LSAConfig(**values))
    encoder.fit(texts(n))
    return encoder


def test_it_is_tfidf_and_svd_at_length_one() -> None:
    encoder = fitted(size=6)
    vectorizer = TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)
    svd = TruncatedSVD(6, algorithm="arpack", random_state=3).fit(vectorizer.fit_transform(texts(60)))
    new = texts(9, seed=1)
    expected = normalize(svd.transform(vectorizer.transform(new)))
    found = encoder.encode(new)
    assert found.dtype == np.float32
    # Directions are free to point either way; similarities are not. A randomised SVD is close, not equal.
    np.testing.assert_allclose(found @ found.T, expected @ expected.T, atol=0.02)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_it_has_no_more_numbers_than_the_texts_have_directions() -> None:
    encoder = fitted(size=500, ngrams=1)
    assert encoder.size == len(WORDS) == encoder.encode(["river"]).shape[1]


def test_what_was_saved_gives_the_same_bits(tmp_path: Path) -> None:
    encoder = fitted()
    names = encoder.save(tmp_path)
    assert sorted(names) == sorted(path.name for path in tmp_path.iterdir())
    assert all(name.endswith((".npy", ".json")) for name in names)
    again = LSA(LSAConfig())
    again.load(tmp_path)
    new = [*texts(7, seed=2), "unheard of", ""]
    np.testing.assert_array_equal(again.encode(new), encoder.encode(new))
    np.testing.assert_array_equal(encoder.encode(new)[-2:], 0)


def test_fitting_twice_gives_the_same_bits() -> None:
    np.testing.assert_array_equal(fitted().encode(texts(5)), fitted().encode(texts(5)))


def test_files_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    np.save(tmp_path / "encoder_idf.npy", np.ones(3))
    with pytest.raises(ValueError, match="do not belong together"):
        LSA(LSAConfig()).load(tmp_path)


def test_a_pickle_in_place_of_an_array_is_not_loaded(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    np.save(tmp_path / "encoder_idf.npy", np.array([print], object), allow_pickle=True)
    with pytest.raises(ValueError, match="is object"):
        LSA(LSAConfig()).load(tmp_path)


@pytest.mark.parametrize("given", [["one two", "three four"], ["", "  "]])
def test_texts_without_a_common_term_are_refused(given: list[str]) -> None:
    with pytest.raises(UserError, match=r"encoder\.min_chunks: no term stands in 2 chunks"):
        LSA(LSAConfig()).fit(given)


def test_nothing_is_encoded_before_it_is_fitted() -> None:
    with pytest.raises(RuntimeError, match="fit it"):
        LSA(LSAConfig()).encode(["river"])


def test_the_key_tells_settings_apart() -> None:
    assert LSA(LSAConfig()).key() == LSA(LSAConfig()).key() != LSA(LSAConfig(size=9)).key()
    assert "scikit-learn" in LSA(LSAConfig()).key()["versions"]
