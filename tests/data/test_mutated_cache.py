"""Damaged cache entries, by the hundred: each is built again, and gives what it gave before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise.data.cache import MANIFEST, Cache, dataset_fingerprint, read_manifest
from counterpoise.data.encode.tokens import Tokens, TokensConfig
from counterpoise.data.records import Dataset, Records
from counterpoise.result import baselines
from mutations import Mutation, contents, copied, files_below

PER_TEST = 20
CASES = 80


def records(count: int, start: int) -> Records:
    texts = [f"int f{i}(char *b) {{ return {'un' * (i % 2)}checked(b, {i * 7919 % 1000}); }}" for i in range(count)]
    columns = {"row": list(range(start, start + count)), "text": texts, "label": [i % 2 for i in range(count)]}
    return Records.from_columns(columns, ("safe", "vulnerable"))


DATA = Dataset("code", records(40, 0), records(12, 100), records(12, 200))


def read(folder: Path) -> dict[str, Any]:
    """Everything that a run takes from its caches, plain."""
    cache = Cache(folder)
    encoded = Tokens(TokensConfig(vocab_size=300)).encode(DATA, cache)
    tokens = {name: [np.asarray(item).tolist() for item in split.ids] for name, split in encoded.splits.items()}  # type: ignore[attr-defined]
    figures = baselines(DATA, cache, dataset_fingerprint(DATA))
    artefacts = {name: path.read_bytes() for name, path in encoded.artefacts.items()}
    return {"tokens": tokens, "properties": encoded.properties, "baselines": figures, **artefacts}


@pytest.fixture(scope="module")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("caches") / "base"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("os.fsync", lambda handle: None)
        read(folder)
    return folder


@pytest.mark.parametrize("start", range(0, CASES, PER_TEST))
def test_a_damaged_entry_gives_what_it_gave(
    start: int, caches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.fsync", lambda handle: None)
    expected = read(caches)
    for number in range(1000 + start, 1000 + start + PER_TEST):
        folder = copied(caches, tmp_path / "cache")
        path, label = Mutation(number).apply(folder, files_below(folder))
        assert read(folder) == expected, label
        after, whole = contents(folder), contents(caches)
        assert after.keys() == whole.keys(), label
        for name in whole:
            if name.endswith(MANIFEST):
                one, other = (read_manifest((root / name).parent) for root in (folder, caches))
                assert {**one, "built_at": 0} == {**other, "built_at": 0}, label
            else:
                assert after[name] == whole[name], label
        assert path.is_file(), label
