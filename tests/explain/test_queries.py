"""What queries are for: effects, words, criteria, positions."""

from __future__ import annotations

import numpy as np
import pytest

from account_kit import make_account, make_records
from counterpoise.data.records import Records
from counterpoise.explain.account import Account
from counterpoise.explain.queries import characteristic_words, chunk_figures, query_figures


def worded(rows: int = 60) -> Account:
    """The first query reads the chunk about the sea, the second that about the garden, wherever they stand."""
    rng = np.random.default_rng(0)
    texts, spans, attention = [], [], []
    for row in range(rows):
        pieces = ["the ship rolled on the waves. ", "roses grew beside the hedge. ", "the report was long and dry. "]
        order = rng.permutation(3)
        ends = np.cumsum([len(pieces[i]) for i in order])
        spans.append(np.stack([ends - [len(pieces[i]) for i in order], ends], axis=1))
        texts.append("".join(pieces[i] for i in order) + str(row))  # texts that are the same would count once
        attention.append(np.stack([(order == 0) * 1.0, (order == 1) * 1.0]))
    columns = {"row": list(range(rows)), "label": [i % 2 for i in range(rows)], "text": texts}
    records = Records.from_columns(columns, ("no", "yes"))
    contributions = [np.stack([np.zeros(each.shape), each * [[1.0], [3.0]]], axis=2) for each in attention]
    return Account(records, spans, attention, contributions, np.zeros((rows, 2)))


def test_each_query_has_the_words_of_the_chunks_that_it_reads() -> None:
    sea, garden = characteristic_words(worded())
    assert {"ship", "rolled", "waves"} <= set(sea)
    assert {"roses", "grew", "hedge"} <= set(garden)
    assert not {"report", "long", "dry", "the"} & {*sea, *garden}


def test_a_query_that_reads_all_chunks_alike_has_no_words() -> None:
    account = worded()
    even = [np.full_like(each, 1 / 3) for each in account.attention]
    account = Account(account.records, account.spans, even, account.contributions, account.rest)
    assert characteristic_words(account) == [[], []]


def test_effects_and_shares() -> None:
    first, second = query_figures(worded())
    assert (first["effect"], second["effect"]) == pytest.approx((1.0, 3.0))
    assert (first["share"], second["share"]) == pytest.approx((0.25, 0.75))
    assert first["by_class"] == {"no": None, "yes": pytest.approx(1.0)}  # nothing is predicted as no
    assert (first["read"], first["by_criterion"]) == (pytest.approx(1.0), None)
    assert second["chunks"][0]["text"] == "roses grew beside the hedge. "
    assert len(second["chunks"]) == 1, "the same text is listed once"


def test_what_a_query_reads_is_the_perplexity_of_its_weights() -> None:
    records = make_records([4, 1], [0, 1], criterion=["sleep", "money"])
    account = make_account(records, [4, 1], queries=1)
    account.attention[0][:] = [[0.5, 0.5, 0.0, 0.0]]
    (query,) = query_figures(account)
    assert query["read"] == pytest.approx(2.0)  # the sample of one chunk tells nothing
    towards = account.contributions[0][..., 1] - account.contributions[0][..., 0]
    assert query["by_criterion"]["sleep"] == pytest.approx(towards.sum())
    assert set(query["by_criterion"]) == {"sleep", "money"}


def test_positions_add_up_to_one() -> None:
    chunks = [1, 3, 25, 10]
    figures = chunk_figures(make_account(make_records(chunks, [0, 1, 0, 1]), chunks))
    assert figures["samples_of_several_chunks"] == 3
    assert sum(entry["attention"] for entry in figures["by_position"]) == pytest.approx(1.0)
    assert sum(entry["contribution"] for entry in figures["by_position"]) == pytest.approx(1.0)
    assert figures["chunks"] == {"median": 6.5, "largest": 25.0}
    assert 0 < figures["largest_share"] <= 1
