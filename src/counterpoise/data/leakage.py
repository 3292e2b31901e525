"""The same text in two splits, or with two labels: count it, say so, and drop it or stop.

Two texts are the same if they differ in white space only: every run of it counts as one blank, and none at either
end. Where records have a ``criterion``, it belongs to the key: one document judged by two criteria is two records.
Empty texts are never the same. Two graphs are the same if their nodes and edges are, in the same order.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import blake2b
from itertools import combinations
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counterpoise.data.graphs import BY_EDGE, BY_NODE, Graphs
from counterpoise.data.records import Dataset, Records
from counterpoise.errors import fail

log = logging.getLogger(__name__)
_SHOWN = 5


@dataclass(frozen=True)
class Leakage:
    """What stands twice."""

    codes: dict[str, NDArray[np.int64]]
    """For each split the number of each record's text, ``[N]``; equal numbers are equal texts."""
    duplicates: dict[str, int]
    """Records of a split beyond the first with the same text."""
    shared: dict[str, dict[str, int]]
    """By pair of splits (``train/valid``): texts in both, and how many records of each split they are."""
    contradicting: dict[str, dict[str, int]]
    """By split, and under ``all`` over all splits together: texts with more than one label, and their records."""

    @property
    def leaks(self) -> bool:
        """Whether any text stands in two splits."""
        return any(pair["texts"] for pair in self.shared.values())

    def notes(self) -> dict[str, Any]:
        """The counts, JSON-ready."""
        return {"duplicates": self.duplicates, "shared": self.shared, "contradicting": self.contradicting}


def find_leakage(dataset: Dataset) -> Leakage:
    """Compare all records of all splits."""
    splits = dataset.splits()
    codes = _codes(splits)
    labels = {name: records.labels for name, records in splits.items()}
    contradicting = {name: _contradictions(codes[name], labels[name]) for name in splits}
    contradicting["all"] = _contradictions(np.concatenate(list(codes.values())), np.concatenate(list(labels.values())))
    shared = {}
    for first, second in combinations(splits, 2):
        texts = np.intersect1d(codes[first], codes[second])
        records = {name: int(np.isin(codes[name], texts).sum()) for name in (first, second)}
        shared[f"{first}/{second}"] = {"texts": len(texts), **records}
    duplicates = {name: len(part) - len(np.unique(part)) for name, part in codes.items()}
    return Leakage(codes, duplicates, shared, contradicting)


def apply_leakage_policy(dataset: Dataset, policy: Literal["warn", "drop", "error"]) -> Dataset:
    """Count what stands twice, note it under ``notes["leakage"]``, and act.

    ``drop`` takes out of train what also stands in valid or test, and out of valid what also stands in test: the test
    split is never touched. Duplicates within a split and contradicting labels are counted only.

    Raises:
        UserError: with ``error``, if a text stands in two splits; with ``drop``, if train or valid would be left empty
            or without one of its classes.
    """
    found = find_leakage(dataset)
    if policy == "error" and found.leaks:
        raise fail("data.leakage", _summary(found) + " " + _examples(dataset, found), "Set data.leakage to drop.")
    if found.leaks or found.contradicting["all"]["texts"]:
        log.warning("%s", _summary(found))
    elif any(found.duplicates.values()):
        log.info("%s", _summary(found))
    notes = {"policy": policy, **found.notes()}
    if policy == "drop":
        dataset, notes["dropped"] = _drop(dataset, found)
    return dataclasses.replace(dataset, notes={**dataset.notes, "leakage": notes})


def _codes(splits: Mapping[str, Records]) -> dict[str, NDArray[np.int64]]:
    digests = [digest for records in splits.values() for digest in _digests(records)]
    numbers = pa.array(digests, pa.binary(16)).dictionary_encode().indices.fill_null(-1).to_numpy().astype(np.int64)
    blank = np.flatnonzero(numbers < 0)
    numbers[blank] = len(numbers) + np.arange(len(blank))
    ends = np.cumsum([len(records) for records in splits.values()])
    return dict(zip(splits, np.split(numbers, ends[:-1]), strict=True))


def _digests(records: Records) -> list[bytes | None]:
    if not records.has("text"):
        return [_graph_digest(records.graphs.take(np.array([index]))) for index in range(len(records))]
    keys = [" ".join(text.split()) for text in records.texts]
    if records.has("criterion"):
        criteria = records.table["criterion"].to_pylist()
        # A blank line cannot stand in a normalised text, so the two parts cannot run into each other.
        keys = [
            f"{key}\n\n{' '.join((criterion or '').split())}" if key else ""
            for key, criterion in zip(keys, criteria, strict=True)
        ]
    return [blake2b(key.encode(), digest_size=16).digest() if key else None for key in keys]


def _graph_digest(graph: Graphs) -> bytes:
    digest = blake2b(digest_size=16)
    for name in (*BY_NODE, *BY_EDGE, "token_ids"):
        if name != "lines":
            digest.update(getattr(graph, name).astype(np.int64).tobytes() + b"|")
    if graph.node_features is not None:
        digest.update(graph.node_features.tobytes())
    return digest.digest()


def _contradictions(codes: NDArray[np.int64], labels: NDArray[np.int64]) -> dict[str, int]:
    pairs = np.unique(np.stack([codes, labels]), axis=1)[0]
    texts, kinds = np.unique(pairs, return_counts=True)
    contradicting = texts[kinds > 1]
    return {"texts": len(contradicting), "records": int(np.isin(codes, contradicting).sum())}


def _summary(found: Leakage) -> str:
    shared = [f"{pair}: {count['texts']:,}" for pair, count in found.shared.items() if count["texts"]]
    duplicates = [f"{name}: {count:,}" for name, count in found.duplicates.items() if count]
    texts = found.contradicting["all"]["texts"]
    parts = [
        f"texts in two splits ({', '.join(shared)})" if shared else "",
        f"duplicates within a split ({', '.join(duplicates)})" if duplicates else "",
        f"{texts:,} texts with contradicting labels" if texts else "",
    ]
    return f"found {'; '.join(part for part in parts if part)}."


def _examples(dataset: Dataset, found: Leakage) -> str:
    splits = dataset.splits()
    examples: list[str] = []
    for first, second in combinations(splits, 2):
        _, left, right = np.intersect1d(found.codes[first], found.codes[second], return_indices=True)
        pairs = sorted(zip(splits[first].rows[left].tolist(), splits[second].rows[right].tolist(), strict=True))
        examples += [f"row {a} of {first} is row {b} of {second}" for a, b in pairs[:_SHOWN]]
    return f"For example {', '.join(examples[:_SHOWN])}."


def _drop(dataset: Dataset, found: Leakage) -> tuple[Dataset, dict[str, int]]:
    codes = found.codes
    later = {"train": [name for name in codes if name != "train"], "valid": [n for n in codes if n == "test"]}
    kept: dict[str, Records] = {}
    for name, others in later.items():
        records = dataset.splits()[name]
        elsewhere = np.concatenate([codes[other] for other in others]) if others else np.empty(0, np.int64)
        kept[name] = records.where(~np.isin(codes[name], elsewhere))
        lost = (records.class_counts() > 0) & (kept[name].class_counts() == 0)
        if lost.any():
            classes = ", ".join(repr(records.classes[index]) for index in np.flatnonzero(lost))
            what = f"is drop, but that leaves no record of class {classes} in {name}."
            raise fail("data.leakage", what, "Split the data anew, or set data.leakage=warn.")
    dropped = {name: len(dataset.splits()[name]) - len(records) for name, records in kept.items()}
    return dataclasses.replace(dataset, train=kept["train"], valid=kept["valid"]), dropped
