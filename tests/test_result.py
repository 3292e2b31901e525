"""The baselines beside a result: fitted once for all seeds, again where they could differ."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from counterpoise import result
from counterpoise.data.cache import Cache
from counterpoise.data.records import Dataset, Records
from counterpoise.metrics import classification_metrics
from counterpoise.reports.predictions import read_baselines

SPLIT = Records.from_columns({"row": [3, 5], "text": ["a", "b"], "label": [0, 1]}, ("x", "y"))
DATA = Dataset("d", SPLIT, SPLIT, None)


def test_baselines_are_computed_once_for_data_and_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fits = []

    def fit(dataset: Dataset) -> dict[str, Any]:
        fits.append(dataset.name)
        return {"majority": {"valid": np.array([[0.5, 0.5], [0.25, 0.75]])}}

    monkeypatch.setattr(result, "baseline_answers", fit)

    def ask(fingerprint: str) -> result.Baselines:
        return result.baselines(DATA, Cache(tmp_path), fingerprint)

    assert ask("one") == ask("one")
    assert ask("one").figures["majority"]["valid"]["accuracy"] == 1.0
    assert len(fits) == 1
    ask("two")
    monkeypatch.setattr(result, "version", lambda name: "0.0")
    ask("one")
    assert len(fits) == 3


def test_the_answers_of_the_baselines_are_kept_beside_their_figures(tmp_path: Path) -> None:
    found = result.baselines(DATA, Cache(tmp_path / "cache"), "one")
    (tmp_path / "file").write_bytes(found.files["valid"])
    answers = read_baselines(tmp_path / "file", 2)
    assert list(answers) == list(found.figures) == ["majority", "tfidf_logistic"]
    for name, own in answers.items():
        assert own.rows.tolist() == [3, 5]
        again = classification_metrics(own.labels, own.probabilities, SPLIT.classes)
        assert again == found.figures[name]["valid"]
