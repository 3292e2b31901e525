"""``python src/explain.py`` on real runs: what it leaves, what it refuses, and that nothing in a run can run code."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from cli_command import ROOT, SMALL, Answer

from counterpoise.cli.exits import EXIT_OK, EXIT_USER
from counterpoise.cli.explain import USAGE, explain
from counterpoise.config.schema import field_types
from counterpoise.explain.explain import ExplainConfig
from counterpoise.jsonio import read_json, write_json

IRIS = (
    *("data=demo_criteria", "data.posts=60", "data.positive_share=0.2", "model=iris", "encoder.size=24"),
    *("train.epochs=3", "hardware=cpu", "guard=off", "report.plots=false"),
)


@pytest.fixture(scope="module")
def trained(workplace: Path, tmp_path_factory: pytest.TempPathFactory, quiet: Callable[..., Answer]) -> Path:
    """A finished run of IRIS, to be copied if it is changed."""
    folder = tmp_path_factory.mktemp("explained") / "iris"
    assert quiet(workplace, *IRIS, f"hydra.run.dir={folder}", "paths.cache=cache").code == EXIT_OK
    return folder


@pytest.fixture
def here(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(workplace)
    return workplace


def test_every_prediction_is_explained(trained: Path, here: Path, tmp_path: Path) -> None:
    assert explain([f"run={trained}", f"out={tmp_path}/why", "chunks=4"]) == EXIT_OK
    lines = [json.loads(line) for line in (tmp_path / "why" / "predictions.jsonl").read_text().splitlines()]
    saved = pq.read_table(trained / "predictions_test.parquet").to_pylist()
    assert [line["row"] for line in lines] == [row["row"] for row in saved]
    for line, row in zip(lines, saved, strict=True):
        assert list(line["probabilities"].values()) == pytest.approx(row["probabilities"], abs=1e-5)
        assert line["label"] == ("no", "yes")[row["label"]]
        assert 1 <= len(line["chunks"]) <= 4
        weights = [chunk["weight"] for chunk in line["chunks"]]
        assert weights == sorted(weights, reverse=True)
        assert all(len(chunk["queries"]) == 8 and chunk["text"] for chunk in line["chunks"])
    summary = read_json(tmp_path / "why" / "summary.json")
    assert summary["furthest_probability"] < 1e-5
    assert summary["evidence"]["samples"] == sum(row["label"] for row in saved)
    assert len(summary["queries"]) == 8
    assert sum(query["share"] for query in summary["queries"]) == pytest.approx(1.0)
    for name in ("attention.png", "overview.png"):
        assert (tmp_path / "why" / name).read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "why" / "explanations.md").read_text()
    assert "hit@3" in page
    assert "Criterion: " in page


def test_it_is_written_into_the_run_folder_of_the_split(trained: Path, here: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(trained, tmp_path / "copy")
    assert explain([f"run={copy}", "split=valid", "examples=0"]) == EXIT_OK
    left = sorted(path.name for path in (copy / "explanations" / "valid").iterdir())
    assert left == ["explanations.md", "overview.png", "predictions.jsonl", "summary.json"]


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert explain(list(arguments)) == EXIT_USER
    err = capsys.readouterr().err
    assert "Traceback" not in err
    return err


def test_mistakes_are_told_all_at_once(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    said = refused(capsys, "rnu=x", "split=tset", "chunks=0", "verbose")
    assert "rnu: unknown key" in said
    assert "run: missing" in said
    assert "split" in said
    assert "chunks" in said
    assert "expected key=value, got 'verbose'" in said
    assert "is no run folder" in refused(capsys, "run=nowhere")


def test_a_model_without_chunks_is_refused(
    workplace: Path, here: Path, quiet: Callable[..., Answer], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert quiet(workplace, *SMALL, f"hydra.run.dir={tmp_path}/cnn").code == EXIT_OK
    said = refused(capsys, f"run={tmp_path}/cnn")
    assert "is a TextCNN, which gives no account of chunks" in said
    assert not (tmp_path / "cnn" / "explanations").exists()


def changed(trained: Path, folder: Path, change: Callable[[Any], None]) -> Path:
    copy = shutil.copytree(trained, folder)
    metadata = read_json(copy / "training_metadata.json")
    change(metadata)
    write_json(copy / "training_metadata.json", metadata)
    return copy


def test_data_that_have_changed_are_refused(
    trained: Path, here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    copy = changed(trained, tmp_path / "run", lambda m: m["config"]["data"].update(data_seed=5))
    assert "was trained on data that have changed since" in refused(capsys, f"run={copy}")


def test_a_config_cannot_name_modules_of_its_own(
    trained: Path, here: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    def inject(metadata: Any) -> None:
        metadata["config"]["model"]["_target_"] = "evil.Model"
        metadata["config"]["extensions"] = ["evil"]

    (here / "evil.py").write_text("raise SystemExit('it ran')\n")
    copy = changed(trained, tmp_path / "run", inject)
    assert "modules of your own: evil" in refused(capsys, f"run={copy}")
    other = changed(trained, tmp_path / "other", lambda m: m["config"]["model"].update(_target_="evil.Model"))
    assert "may not be constructed" in refused(capsys, f"run={other}")
    (here / "evil.py").unlink()


def test_help_lists_every_key_and_needs_no_torch() -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "src" / "explain.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == USAGE
    assert "torch" not in done.stderr
    for name in field_types(ExplainConfig):
        assert f"  {name}=" in USAGE
