"""Names made from a user's input keep apart what is different, and fit."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from counterpoise.names import distinct, folder_part


def test_what_fits_and_lacks_nothing_is_the_name() -> None:
    assert distinct("数据", "数据", 6) == "数据"


def test_what_lacks_a_sign_or_is_cut_has_a_hash_of_all() -> None:
    assert distinct("a_b", "a/b", 50).startswith("a_b-")
    assert distinct("a_b", "a/b", 50) != distinct("a_b", "a b", 50)
    assert distinct("数据" * 50, "数据" * 50, 60).startswith("数据数据")


@given(st.text(), st.text(), st.integers(20, 255))
def test_names_fit_and_stay_different(first: str, second: str, longest: int) -> None:
    names = [distinct(folder_part(text), text, longest) for text in (first, second)]
    assert all(len(name.encode()) <= longest for name in names)
    assert (names[0] == names[1]) is (first == second)
    assert not any("/" in name or "\0" in name for name in names)
