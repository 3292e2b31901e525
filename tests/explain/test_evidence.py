"""Hit rates: which chunks hold evidence, and whether those that are ranked first do."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from account_kit import WIDTH, make_account, make_records
from counterpoise.explain.account import Account
from counterpoise.explain.evidence import chance, evidence_figures, hit, holds_evidence

CHUNKS = np.array([[0, 10], [10, 20], [20, 30]])


@pytest.mark.parametrize(
    ("passages", "expected"),
    [
        ([[12, 18]], [False, True, False]),
        ([[7, 13]], [True, True, False]),  # half of it in each
        ([[5, 20]], [True, True, False]),  # a third of the passage, but half of the chunk
        ([[9, 16]], [False, True, False]),  # one character of seven is not half
        ([[0, 30]], [True, True, True]),
        ([[0, 4], [26, 29]], [True, False, True]),
        ([[40, 50]], [False, False, False]),
    ],
)
def test_a_chunk_holds_evidence_if_half_of_one_is_the_other(passages: list[list[int]], expected: list[bool]) -> None:
    assert holds_evidence(CHUNKS, np.array(passages)).tolist() == expected


@given(st.lists(st.booleans(), min_size=1, max_size=7), st.integers(1, 8))
def test_chance_is_that_of_drawing_chunks_blindly(held: list[bool], depth: int) -> None:
    holds = np.array(held)
    draws = list(combinations(range(len(held)), min(depth, len(held))))
    expected = sum(any(held[i] for i in draw) for draw in draws) / len(draws)
    assert chance(holds, depth) == pytest.approx(expected)


def test_a_hit_is_among_the_first_and_the_first_wins_ties() -> None:
    holds = np.array([False, False, True, False])
    assert hit(np.array([0.1, 0.2, 0.5, 0.4]), holds, 1)
    assert not hit(np.array([0.1, 0.9, 0.5, 0.4]), holds, 1)
    assert hit(np.array([0.1, 0.9, 0.5, 0.6]), holds, 3)
    assert not hit(np.zeros(4), holds, 2)


def test_figures_over_samples_with_known_evidence() -> None:
    chunks, labels = [4, 5, 3, 6], [1, 0, 1, 1]
    spans = [[WIDTH, 2 * WIDTH], [], [0, 5], [600, 610]]  # the last one is behind all chunks
    records = make_records(chunks, labels, evidence_spans=spans)
    account = make_account(records, chunks)
    attention = [np.full_like(each, 1e-3) for each in account.attention]
    attention[0][:, 1] = 1.0  # right at once
    attention[2][:, 2], attention[2][:, 0] = 1.0, 0.5  # second
    account = Account(records, account.spans, attention, account.contributions, account.rest)
    figures = evidence_figures(account)
    assert figures is not None
    assert (figures["samples"], figures["cut_off"]) == (3, 1)
    assert figures["all"]["samples"] == 2
    assert figures["all"]["hit@1"]["weight"] == 0.5
    assert figures["all"]["hit@3"]["weight"] == 1.0
    assert figures["all"]["hit@1"]["chance"] == pytest.approx((1 / 4 + 1 / 3) / 2)
    right = account.logits.argmax(axis=1) == labels
    assert figures["predicted_rightly"]["samples"] == right[0] + right[2]


def test_ranking_by_contribution_is_towards_the_predicted_class() -> None:
    records = make_records([3], [1], evidence_spans=[[WIDTH, 2 * WIDTH]])
    attention = [np.full((1, 3), 1 / 3)]
    against = np.array([[[5.0, 0.0], [0.0, 4.0], [0.0, 3.0]]])  # the first chunk speaks for the other class
    account = Account(records, [np.arange(6).reshape(3, 2) // 2 * 0 + CHUNKS], attention, [against], np.zeros((1, 2)))
    assert account.logits.argmax() == 1
    figures = evidence_figures(account)
    assert figures is not None
    assert figures["all"]["hit@1"]["contribution"] == 1.0


def test_without_known_evidence_there_is_nothing_to_hit() -> None:
    assert evidence_figures(make_account(make_records([2, 3], [0, 1]), [2, 3])) is None


def test_a_chunk_that_was_not_read_is_no_hit() -> None:
    records = make_records([3], [1], evidence_spans=[[0, WIDTH]])
    attention = [np.array([[0.0, 1.0, 0.0]])]
    contributions = [np.array([[[0.0, 0.0], [0.0, -1.0], [0.0, 0.0]]])]
    figures = evidence_figures(Account(records, [CHUNKS], attention, contributions, np.zeros((1, 2))))
    assert figures is not None
    assert figures["all"]["hit@3"]["weight"] == figures["all"]["hit@3"]["contribution"] == 0.0


# Evidence is evidence of the label: a positive that is missed may still have been read rightly.
def test_ranking_by_contribution_is_towards_the_label() -> None:
    records = make_records([3], [1], evidence_spans=[[WIDTH, 2 * WIDTH]])
    attention = [np.full((1, 3), 1 / 3)]
    contributions = [np.array([[[1.0, 0.0], [0.0, 0.5], [1.0, 0.0]]])]
    account = Account(records, [CHUNKS], attention, contributions, np.zeros((1, 2)))
    assert account.logits.argmax() == 0
    figures = evidence_figures(account)
    assert figures is not None
    assert figures["all"]["hit@1"]["contribution"] == 1.0
    assert figures["predicted_rightly"]["samples"] == 0
