"""Finished runs that are opened again."""

from __future__ import annotations

from pathlib import Path

import pytest

from counterpoise.finished import FinishedRun
from counterpoise.jsonio import write_json, write_sealed


@pytest.mark.parametrize("status", ["finished", "collapsed"])
def test_a_run_that_collapsed_is_opened_with_a_warning(
    status: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Its best weights are sound, but it never came to its end: as a branch or for predictions that matters."""
    write_json(tmp_path / "training_metadata.json", {"config": {}})
    write_sealed(tmp_path / "result.json", {"status": status, "best_epoch": 2})
    assert FinishedRun.open("model.gnn", tmp_path).result["best_epoch"] == 2
    expected = f"model.gnn: {tmp_path} collapsed; its weights are those of epoch 2, before that."
    assert (expected in caplog.text) == (status == "collapsed")
