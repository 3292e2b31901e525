"""Pictures and pages of whatever texts and criteria there are."""

from __future__ import annotations

import io

import numpy as np

from account_kit import WIDTH, make_account, make_records
from counterpoise.explain.pages import page
from counterpoise.explain.picture import SHOWN_CHUNKS, draw_examples, draw_overview, shown_chunks
from counterpoise.explain.queries import chunk_figures, query_figures

ODD = ["costs $5 or $6", "a_b^c {\\frac", "line\nbreak <b>bold</b> ![x](http://a/b.png)"]


def test_text_is_drawn_and_written_as_text() -> None:
    chunks = [2, 60, 1]
    records = make_records(chunks, [0, 1, 1], ("no $", "yes_{"), criterion=ODD, evidence_spans=[[], [0, 5], []])
    account = make_account(records, chunks)
    summary = {"queries": query_figures(account), "chunks": chunk_figures(account), "evidence": None}
    for draw in (
        lambda file: draw_examples(file, account, [0, 1, 2]),
        lambda file: draw_overview(file, account, summary),
    ):
        file = io.BytesIO()
        draw(file)
        assert file.getvalue().startswith(b"\x89PNG")
    text = page("t", account, summary, [0, 1, 2], pictures=True)
    assert "<b>" not in text
    assert "![x]" not in text


def test_of_many_chunks_those_are_drawn_that_were_read_or_hold_evidence() -> None:
    last = SHOWN_CHUNKS + 30
    records = make_records([last + 1], [1], evidence_spans=[[last * WIDTH, (last + 1) * WIDTH]])
    account = make_account(records, [last + 1])
    account.attention[0][:] = 1e-6
    account.attention[0][:, 55] = 1.0
    shown = shown_chunks(account, 0)
    assert len(shown) == SHOWN_CHUNKS
    assert {55, last} <= set(shown.tolist())
    assert (np.diff(shown) > 0).all()
