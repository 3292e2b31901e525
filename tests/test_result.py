"""The baselines beside a result: fitted once for all seeds, again where they could differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from counterpoise import result
from counterpoise.data.cache import Cache
from counterpoise.data.records import Dataset, Records


def test_baselines_are_computed_once_for_data_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    split = Records.from_columns({"row": [0, 1], "text": ["a", "b"], "label": [0, 1]}, ("x", "y"))
    fits = []

    def fit(dataset: Dataset) -> dict[str, Any]:
        fits.append(dataset.name)
        return {"majority": {"valid": {"f1": 0.5}}}

    monkeypatch.setattr(result, "baseline_metrics", fit)

    def ask(fingerprint: str) -> dict[str, Any]:
        return result.baselines(Dataset("d", split, split, None), Cache(tmp_path), fingerprint)

    assert ask("one") == ask("one") == {"majority": {"valid": {"f1": 0.5}}}
    assert len(fits) == 1
    ask("two")
    monkeypatch.setattr(result, "version", lambda name: "0.0")
    ask("one")
    assert len(fits) == 3
