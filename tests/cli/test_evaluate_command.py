"""What a run decides by, and ``python src/evaluate.py``: the same figures to the bit, or another threshold."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from cli_command import ROOT, SMALL, call
from finished_runs import PAIRS, RUNS, saved, write_test_split

from counterpoise.cli.evaluate import USAGE, evaluate
from counterpoise.cli.exits import EXIT_OK, EXIT_USER
from counterpoise.config.schema import field_types
from counterpoise.decision import Decision, tuning_lines
from counterpoise.evaluate import EvaluateConfig
from counterpoise.jsonio import read_json, read_sealed, write_json
from counterpoise.metrics import calibration_error, classification_metrics
from counterpoise.reports.predictions import read_predictions
from counterpoise.thresholds import tune

Runs = Callable[[str], Path]
DECISION = "checkpoints/best/decision.json"


def trained(folder: Path, *overrides: str) -> Path:
    assert call(folder, [*overrides, "hydra.run.dir=run"], lambda: ("", "")).code == EXIT_OK
    return folder / "run"


# The run itself


@pytest.mark.parametrize("kind", ["tokens", "three", "hashing"])
def test_a_run_leaves_what_it_decides_by(kind: str, finished: Runs) -> None:
    run = finished(kind)
    result, stored = read_json(run / "result.json"), read_sealed(run / DECISION)
    assert stored.pop("weights") == read_json(run / "checkpoints/best/manifest.json")["checksums"]["model.safetensors"]
    assert result["decision"] == stored
    assert (stored["threshold"], stored["tuned"], stored["metric"]) == (0.5, False, None)
    decision = Decision.read(stored)
    for split in ("valid", "test"):
        table = pq.read_table(run / f"predictions_{split}.parquet")
        assert table.column_names == [
            *("row", "label", "probabilities", "predicted"),
            *(["group"] if kind == "hashing" else []),
        ]
        probabilities, predicted = saved(run, split)
        labels = table["label"].to_numpy()
        np.testing.assert_array_equal(predicted, probabilities.argmax(axis=1))
        classes = read_json(run / "training_metadata.json")["classes"]
        figures = classification_metrics(labels, probabilities, classes, predicted=predicted)
        assert {name: result[split][name] for name in figures} == figures
        errors = result["calibration"][split]
        assert errors["after"] == figures["calibration_error"]
        raw = decision.raw(probabilities)
        assert errors["before"] == pytest.approx(calibration_error(labels, predicted, raw), abs=1e-9)


def test_calibration_can_be_left_out(fresh: Path) -> None:
    run = trained(fresh, *SMALL, "calibration=none", "threshold=0.4")
    result = read_json(run / "result.json")
    assert (result["decision"]["temperature"], result["decision"]["threshold"]) == (1.0, 0.4)
    assert result["calibration"]["test"]["before"] == result["calibration"]["test"]["after"]
    probabilities, predicted = saved(run)
    np.testing.assert_array_equal(predicted, (probabilities[:, 1] >= 0.4).astype(int))
    assert result["test"]["accuracy"] == (predicted == pq.read_table(run / "predictions_test.parquet")["label"]).mean()


def groups_of(run: Path) -> Any:
    """The groups of the validation split, as they are kept; ``None`` without."""
    return read_predictions(run / "predictions_valid.parquet", 2).groups


def test_a_tuned_threshold_is_found_on_validation_and_used_on_test(fresh: Path) -> None:
    asked = ["threshold=tune", "threshold_metric=f1", "objective.metric=pr_auc", "data.positive_share=0.1"]
    run = trained(fresh, *[each for each in PAIRS if "positive" not in each], "encoder=hashing", *asked)
    result = read_json(run / "result.json")
    assert result["objective"]["metric"] == "pr_auc"
    assert result["decision"]["metric"] == "f1"
    probabilities, predicted = saved(run, "valid")
    labels = pq.read_table(run / "predictions_valid.parquet")["label"].to_numpy()
    threshold = result["decision"]["threshold"]
    expected = tune(labels, probabilities, {"f1": 1.0}, groups_of(run))
    assert (expected.threshold, expected.threshold != 0.5) == (threshold, result["decision"]["tuned"])
    assert expected.note in result["decision"]["notes"]
    assert result["decision"]["gain"] == (None if expected.gain is None else expected.gain.mean)
    np.testing.assert_array_equal(predicted, Decision(threshold=threshold).predicted(probabilities))
    np.testing.assert_array_equal(saved(run)[1], Decision(threshold=threshold).predicted(saved(run)[0]))
    assert result["valid"]["f1"] >= classification_metrics(labels, probabilities, "ab")["f1"]
    by = result["valid"]["criteria"].values()
    hits = sum(each["recall"] * each["positives"] for each in by)
    assert hits == pytest.approx(result["valid"]["recall"] * labels.sum()), "single criteria go by it too"


def test_a_threshold_for_three_classes_is_refused_before_training(train: Callable[..., Any], fresh: Path) -> None:
    answer = train(*RUNS["three"], "threshold=tune", "threshold_metric=f1", "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.problems[0].startswith("threshold: is tune, but there are 3 classes")
    answer = train(*SMALL, "threshold=tune", "objective.metric=roc_auc", folder=fresh)
    assert answer.problems[0].startswith("threshold_metric: must be given: objective.metric=roc_auc")


# What the mirror holds has no decision either: it comes back the same way.
def test_a_lost_result_is_made_again_with_the_same_decision(finished: Runs, tmp_path: Path) -> None:
    folder = shutil.copytree(finished("tokens").parent, tmp_path / "copy")
    before = {name: (folder / "tokens" / name).read_bytes() for name in (DECISION, "predictions_test.parquet")}
    result = read_json(folder / "tokens" / "result.json")
    for name in (DECISION, "result.json", "predictions_test.parquet"):
        (folder / "tokens" / name).unlink()
    assert call(folder, [*RUNS["tokens"], "hydra.run.dir=tokens", "paths.cache=cache"], lambda: ("", "")).code == 0
    assert {name: (folder / "tokens" / name).read_bytes() for name in before} == before
    again = read_json(folder / "tokens" / "result.json")
    for name in ("decision", "calibration", "valid", "test"):
        assert again[name] == result[name]


# Measured again


@pytest.fixture
def place(finished: Runs, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the runs were trained: their data are found from there."""
    folder = finished("tokens").parent
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("kind", ["tokens", "graphs", "fusion", "chunks", "lsa", "three"])
@pytest.mark.parametrize("split", ["valid", "test"])
def test_the_figures_are_those_of_the_run_to_the_bit(
    kind: str, split: str, finished: Runs, place: Path, tmp_path: Path
) -> None:
    run = finished(kind)
    assert evaluate([f"run={run}", f"split={split}", f"out={tmp_path}"]) == EXIT_OK
    found = read_json(tmp_path / f"evaluation_{split}.json")
    result = read_json(run / "result.json")
    assert found["reproduces_result"] is True
    assert found["metrics"] == result[split]
    assert found["calibration"] == result["calibration"][split]
    assert found["decision"] == result["decision"]
    assert pq.read_table(tmp_path / f"evaluation_{split}.parquet").equals(
        pq.read_table(run / f"predictions_{split}.parquet")
    )


def test_a_fusion_needs_neither_its_branches_nor_the_cache(
    finished: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in ("fusion", "tokens"):
        finished(kind)
    folder = shutil.copytree(finished("fusion").parent, tmp_path / "copy")
    for name in ("tokens", "graphs", "cache"):
        shutil.rmtree(folder / name)
    monkeypatch.chdir(folder)
    assert evaluate(["run=fusion"]) == EXIT_OK
    assert read_json(folder / "fusion" / "evaluation_test.json")["reproduces_result"] is True


def test_the_training_split_has_no_figures_to_compare_with(place: Path, tmp_path: Path) -> None:
    assert evaluate(["run=tokens", "split=train", f"out={tmp_path}"]) == EXIT_OK
    found = read_json(tmp_path / "evaluation_train.json")
    assert found["reproduces_result"] is None
    assert found["records"] == 96
    assert found["metrics"]["accuracy"] > 0


@pytest.mark.parametrize("kind", ["tokens", "hashing"])
def test_a_labelled_table_is_measured_like_a_split(
    kind: str, finished: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished(kind)
    write_test_split(run, tmp_path / "fresh.jsonl", labels=True)
    monkeypatch.chdir(tmp_path)
    assert evaluate([f"run={run}", "input=fresh.jsonl", "out=out"]) == EXIT_OK
    found, result = read_json(tmp_path / "out/evaluation_input_fresh.json"), read_json(run / "result.json")["test"]
    del result["loss"]
    assert found["metrics"] == result
    assert found["reproduces_result"] is None
    np.testing.assert_array_equal(
        np.stack(pq.read_table(tmp_path / "out/evaluation_input_fresh.parquet")["probabilities"].to_numpy()),
        saved(run)[0],
    )


def test_labels_may_be_numbers_of_classes_and_groups_are_kept(
    finished: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = finished("hashing")
    monkeypatch.chdir(tmp_path)
    rows = [{"body": f"text {n} debt", "ask": "Is there debt?", "y": n % 2, "who": f"g{n // 2}"} for n in range(6)]
    (tmp_path / "new.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = ["text_column=body", "criterion_column=ask", "label_column=y", "group_column=who"]
    assert evaluate([f"run={run}", "input=new.jsonl", "out=.", *columns]) == EXIT_OK
    table = pq.read_table(tmp_path / "evaluation_input_new.parquet")
    assert table["label"].to_pylist() == [0, 1, 0, 1, 0, 1]
    assert table["group"].to_pylist() == ["g0", "g0", "g1", "g1", "g2", "g2"]


def test_figures_of_a_file_are_written_over_no_others(
    finished: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = finished("tokens")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "other").mkdir()
    names = ("test.csv", "a.v1.csv", "a.v2.csv.gz", ".x.csv", "other/test.csv")
    for name in names:
        content = b"text,label\nint a;,0\nint b;,1\n"
        (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    for name in names[:-1]:
        assert evaluate([f"run={run}", f"input={name}", "out=out"]) == EXIT_OK
    kept = ["evaluation_input_.x", "evaluation_input_a.v1", "evaluation_input_a.v2", "evaluation_input_test"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        name + end for name in kept for end in (".json", ".parquet")
    )
    assert evaluate([f"run={run}", f"input={tmp_path}/test.csv", "out=out"]) == EXIT_OK
    said = refused(capsys, f"run={run}", "input=other/test.csv", "out=out")
    assert "out/evaluation_input_test.json: holds the figures of another file" in said


@pytest.mark.parametrize("content", [b"PAR1", None, {}, {"probabilities": [[0.9, 0.9]]}])
def test_no_threshold_is_tuned_on_damaged_predictions(
    content: Any, place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(place / "tokens", tmp_path / "run")
    path = copy / "predictions_valid.parquet"
    path.unlink()
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        pq.write_table(pa.table({"row": [0], "label": [1], **content}), path)
    said = refused(capsys, f"run={copy}", "threshold=tune", "threshold_metric=f1")
    assert "threshold: cannot be tuned: " in said


def test_another_threshold_is_measured_and_the_run_stays(
    place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = (place / "tokens" / DECISION).read_bytes()
    assert evaluate(["run=tokens", "threshold=0.9999", f"out={tmp_path}"]) == EXIT_OK
    found = read_json(tmp_path / "evaluation_test.json")
    assert found["decision"]["threshold"] == 0.9999
    assert found["metrics"]["recall"] == 0
    assert found["reproduces_result"] is None
    assert evaluate(["run=tokens", "threshold=tune", "threshold_metric=mcc", f"out={tmp_path}"]) == EXIT_OK
    said = capsys.readouterr().out
    tuned = read_json(tmp_path / "evaluation_test.json")["decision"]
    labels = pq.read_table("tokens/predictions_valid.parquet")["label"].to_numpy()
    expected = tune(labels, saved(place / "tokens", "valid")[0], {"mcc": 1.0}, groups_of(place / "tokens"))
    assert (tuned["threshold"], tuned["metric"]) == (expected.threshold, "mcc")
    assert tuned["tuned"] is (expected.threshold != 0.5)
    (line,) = tuning_lines(tuned)
    assert line.split(", ", 1)[-1].removeprefix("Threshold ").rstrip(".") in " ".join(said.split())
    assert (place / "tokens" / DECISION).read_bytes() == before


def refused(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    capsys.readouterr()
    assert evaluate(list(arguments)) == EXIT_USER
    captured = capsys.readouterr()
    assert "Traceback" not in captured.err
    return captured.err


def test_mistakes_are_told(finished: Runs, place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    said = refused(capsys, "splt=x", "threshold=0")
    assert "run: missing" in said
    assert "Did you mean 'split'" in said
    assert "threshold: must be > 0" in said
    assert "label_column: has no effect without input" in refused(capsys, "run=tokens", "label_column=x")
    assert "cannot be given together" in refused(capsys, "run=tokens", "split=test", "input=x.csv")
    assert "there is no file 'nowhere.csv'" in refused(capsys, "run=tokens", "input=nowhere.csv")
    assert "threshold_metric: roc_auc does not depend" in refused(
        capsys, "run=tokens", "threshold=tune", "threshold_metric=roc_auc"
    )
    assert "has no effect with threshold=0.5" in refused(capsys, "run=tokens", "threshold_metric=f1")
    assert "3 classes" in refused(capsys, f"run={finished('three')}", "threshold=0.3")
    (tmp_path / "new.csv").write_text("text,label\nint a;,0\nint b;,7\nint c;,\n")
    said = refused(capsys, "run=tokens", f"input={tmp_path}/new.csv")
    assert "new.csv:3: 'label' is 7, which is none of the labels" in said.replace("'7'", "7")
    assert "new.csv:4" in said
    (tmp_path / "a.c").write_text("int a;")
    assert "is one text, which has no label" in refused(capsys, "run=tokens", f"input={tmp_path}/a.c")
    assert not list(tmp_path.glob("evaluation*"))


def test_data_that_have_changed_are_refused(
    place: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = shutil.copytree(place / "tokens", tmp_path / "run")
    metadata = read_json(copy / "training_metadata.json")
    metadata["data_fingerprint"] = "0" * 32
    write_json(copy / "training_metadata.json", metadata)
    assert "was trained on data that have changed since" in refused(capsys, f"run={copy}")
    monkeypatch.chdir(tmp_path)
    assert "there is no file or folder 'tiny.csv'" in refused(capsys, f"run={place}/tokens")


def test_help_lists_every_key_and_needs_no_torch() -> None:
    command = [sys.executable, "-X", "importtime", str(ROOT / "src" / "evaluate.py"), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == USAGE
    assert "torch" not in done.stderr
    for name in field_types(EvaluateConfig):
        assert f"  {name}=" in USAGE


def test_the_figures_of_a_file_with_a_long_name_fit_into_a_name(
    finished: Runs, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "a"):
        table = write_test_split(finished("tokens"), tmp_path / f"{'数' * 78}{name}.jsonl", labels=True)
        given = [f"run={finished('tokens')}", f"input={table}", f"out={tmp_path / 'out'}"]
        assert evaluate(given) == EXIT_OK, capsys.readouterr().err
    assert len(list((tmp_path / "out").glob("evaluation_input_数*.json"))) == 2
