"""Features as columns on disk: what is put in comes out, in any order, and nothing else is read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.data.encode.features import FeatureSplit, FeatureWriter, read_features

N, MOST = 11, 5


def columns() -> dict[str, Any]:
    rng = np.random.default_rng(0)
    lengths = rng.integers(0, MOST + 1, N)
    states = rng.normal(size=(N, MOST, 3)).astype(np.float32)
    for row, length in enumerate(lengths):
        states[row, length:] = 0
    pooled = rng.normal(size=(N, 4)).astype(np.float32)
    return {"a_pooled": pooled, "a_states": states, "a_lengths": lengths.astype(np.int64)}


def write(folder: Path, order: list[int], size: int) -> Path:
    given = columns()
    writer = FeatureWriter(folder, N)
    for start in range(0, N, size):
        indices = np.array(order[start : start + size])
        values = {name: value[indices] for name, value in given.items()}
        values["a_states"] = values["a_states"][:, : values["a_lengths"].max()]  # as short as the batch allows
        writer.add(indices, values, {"a_states": MOST})
    writer.finish(folder / "train.arrow")
    return folder / "train.arrow"


@pytest.mark.parametrize("size", [1, 4, N])
def test_what_is_written_in_any_order_is_read_in_the_samples_order(tmp_path: Path, size: int) -> None:
    path = write(tmp_path, np.random.default_rng(size).permutation(N).tolist(), size)
    found = read_features(path, N)
    for name, value in columns().items():
        np.testing.assert_array_equal(found[name], value)
    assert [file.name for file in tmp_path.iterdir()] == ["train.arrow"]


def test_a_batch_is_as_long_as_its_longest_sequence(tmp_path: Path) -> None:
    found = read_features(write(tmp_path, list(range(N)), 4), N)
    given, labels = columns(), np.arange(N) % 2
    split = FeatureSplit(found, labels, np.arange(N) + 100, np.arange(N))
    indices = np.array([7, 2, 3])
    batch = split.batch(indices)
    longest = int(given["a_lengths"][indices].max())
    np.testing.assert_array_equal(batch.inputs["a_states"], given["a_states"][indices, :longest])
    np.testing.assert_array_equal(batch.inputs["a_pooled"], given["a_pooled"][indices])
    assert batch.rows.tolist() == [107, 102, 103]
    assert batch.labels.tolist() == labels[indices].tolist()
    batch.inputs["a_pooled"] += 1  # a copy: what is mapped stays as it is
    np.testing.assert_array_equal(read_features(tmp_path / "train.arrow", N)["a_pooled"], given["a_pooled"])


def test_another_number_of_samples_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, list(range(N)), N)
    with pytest.raises(ValueError, match=r"train\.arrow does not hold 12 samples of a_pooled"):
        read_features(path, 12)


def test_sequences_that_are_longer_than_their_column_are_refused(tmp_path: Path) -> None:
    given = {name: value[:1] for name, value in columns().items()}
    writer = FeatureWriter(tmp_path, 1)
    writer.add(np.array([0]), {**given, "a_lengths": np.array([MOST + 1])}, {"a_states": MOST})
    writer.finish(tmp_path / "x.arrow")
    with pytest.raises(ValueError, match="a_states is shorter than its sequences"):
        read_features(tmp_path / "x.arrow", 1)
