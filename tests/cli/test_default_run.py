"""What the project promises of its first command: the default run, as it is."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from counterpoise.baselines import baseline_metrics
from counterpoise.data.sources.demo_code import DemoCode, DemoCodeConfig

ROOT = Path(__file__).resolve().parents[2]


def test_a_bag_of_words_does_not_solve_the_default_data() -> None:
    figures = baseline_metrics(DemoCode(DemoCodeConfig()).load())
    assert figures["tfidf_logistic"]["test"]["accuracy"] < 0.75


def test_the_default_run_ends_above_the_baseline(tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(ROOT / "src/train.py")]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("outputs/demo_code/transformer/*/result.json")
    result = json.loads(path.read_text())
    baseline = result["baselines"]["tfidf_logistic"]["test"]["accuracy"]
    assert result["test"]["accuracy"] >= baseline + 0.05
    assert "beside the baselines" in done.stdout
    assert "Run folder: outputs/demo_code/transformer/" in done.stdout
