"""Accounts for the tests of explanations, made by hand or drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np

from counterpoise.data.records import Records
from counterpoise.explain.account import Account

WIDTH = 10
"""Characters of a chunk."""


def make_records(
    chunks: list[int], labels: list[int], classes: tuple[str, ...] = ("no", "yes"), **columns: Any
) -> Records:
    texts = ["".join(f"word{chr(97 + i % 26)}{'x' * 4} " for i in range(count)) for count in chunks]
    rows = list(range(100, 100 + len(chunks)))
    return Records.from_columns({"row": rows, "label": labels, "text": texts, **columns}, classes)


def make_account(records: Records, chunks: list[int], queries: int = 2, seed: int = 0) -> Account:
    rng = np.random.default_rng(seed)
    classes = len(records.classes)
    attention = [rng.dirichlet(np.ones(count), queries) for count in chunks]
    spans = [np.stack([np.arange(count), np.arange(count) + 1], axis=1) * WIDTH for count in chunks]
    contributions = [rng.normal(size=(queries, count, classes)) for count in chunks]
    return Account(records, spans, attention, contributions, rng.normal(size=(len(chunks), classes)))
