"""Run folders in every state: whole, missing files, cut off, damaged, with anything at all in them."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from run_kit import CONFIG, NAN, Story, changed, course, epoch, result, update
from stories import STORIES

from counterpoise.cli.report import as_json
from counterpoise.jsonio import dumps, write_json
from counterpoise.reports.diagnosis import diagnose
from counterpoise.reports.runs import read_run

FILES = ("training_metadata.json", "training_history.json", "result.json", "failure.json", "collapse_report.json")
ALL = (*FILES, "metrics.jsonl")


def test_reads_what_a_run_left(tmp_path: Path) -> None:
    run = Story(
        epochs=[epoch(0, 0.7, 0.6, 0.5), epoch(1, NAN, 0.5, 0.75, stepped=0)],
        updates=[update(10, 0.7), update(20, NAN, skipped=1)],
    ).write(tmp_path)
    assert (run.model, run.data, run.seed, run.status, run.message) == ("TextCNN", "demo_code", 42, "finished", "")
    assert [e.number for e in run.epochs] == [1, 2]
    assert (run.epochs[0].train_loss, run.epochs[0].valid_loss, run.epochs[0].lr) == (0.7, 0.6, 1e-3)
    assert run.epochs[1].train_loss is not None
    assert math.isnan(run.epochs[1].train_loss)
    assert run.epochs[1].stepped == 0
    assert [(u.update, u.epoch, u.skipped) for u in run.updates] == [(10, 1, 0), (20, 1, 1)]
    assert run.best == 1
    assert run.classes == ("safe", "vulnerable")
    assert run.unreadable == ()


@pytest.mark.parametrize(
    ("failure", "outcome", "status"),
    [
        (None, None, "unfinished"),
        (None, result(), "finished"),
        (None, result(status="collapsed"), "collapsed"),
        ({"status": "aborted", "message": "x\ny"}, None, "aborted"),
        ({"message": "x"}, result(), "failed"),  # the latest attempt decides
    ],
)
def test_status_is_that_of_the_latest_attempt(failure: Any, outcome: Any, status: str, tmp_path: Path) -> None:
    run = Story(epochs=(), failure=failure, result=outcome).write(tmp_path)
    assert run.status == status
    assert "\n" not in run.message


def test_the_first_of_equal_scores_is_the_best_and_an_undefined_one_never(tmp_path: Path) -> None:
    assert Story(epochs=course([0.5] * 4, [0.5] * 4, [NAN, 0.6, 0.7, 0.7])).write(tmp_path).best == 2
    assert Story(epochs=course([0.5], [0.5], [NAN])).write(tmp_path).best is None
    config = {"objective.metric": "log_loss"}
    assert Story(epochs=course([0.5] * 3, [0.5] * 3, [0.6, 0.4, 0.5]), config=config).write(tmp_path).best == 1


def test_the_objective_is_known_from_the_result_alone(tmp_path: Path) -> None:
    outcome = result(objective={"metric": "log_loss", "score": 0.4, "maximise": False})
    run = Story(epochs=(), result=outcome).write(tmp_path, {})
    assert run.objective is not None
    assert not run.maximise
    custom = changed(CONFIG, {"objective": {"metric": "custom", "weights": {"accuracy": 0.5, "f1": 0.5}}})
    assert Story(epochs=()).write(tmp_path, custom).score_of({"accuracy": 0.4, "f1": 0.6}) == pytest.approx(0.5)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "no JSON"),
        (b'{"config": {"seed": 4', "no JSON"),
        (b"[1, 2]", "no JSON object"),
        (b"\xff\xfe", "no JSON"),
        (b"[" * 100_000, "cannot be read"),
    ],
)
def test_a_damaged_file_is_named_and_the_rest_is_read(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    STORIES["memorised"].write(tmp_path)
    (tmp_path / name).write_bytes(content)
    run = read_run(tmp_path)
    (problem,) = run.unreadable
    assert problem.startswith(f"{name} cannot be read")
    assert said in problem
    diagnose(run)


def test_a_folder_in_a_files_place_is_named(tmp_path: Path) -> None:
    for name in ALL:
        (tmp_path / name).mkdir()
    assert len(read_run(tmp_path).unreadable) == len(ALL)


def test_a_line_that_was_cut_off_is_nothing_to_tell(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(dumps(update(10, 0.5), indent=None) + '\n{"update": 20, "lo')
    run = read_run(tmp_path)
    assert [u.update for u in run.updates] == [10]
    assert run.unreadable == ()
    path.write_text('{"update": 10}\nrubbish\n[]\n{"update": "x"}\n')
    run = read_run(tmp_path)
    assert [u.update for u in run.updates] == [10]
    assert run.unreadable == ("metrics.jsonl: 3 of 4 lines cannot be read and are left out.",)


@pytest.mark.parametrize("missing", ALL)
def test_whatever_file_is_missing_there_is_a_diagnosis(missing: str, tmp_path: Path) -> None:
    for name in sorted(STORIES)[:: len(ALL) // 2]:
        STORIES[name].write(tmp_path)
        (tmp_path / missing).unlink(missing_ok=True)
        run = read_run(tmp_path)
        assert run.unreadable == ()
        json.loads(dumps(as_json(run)))


# Anything at all in the place of anything at all: never an error.

NUMBERS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**70), 2**70),
    st.sampled_from([0, 1, 0.0, -0.0, 5e-324, 1e308, -1e308, 10**400, 0.5, 0.7, -1]),
    st.floats(),
    st.text(max_size=3),
)
KEYS = st.sampled_from(
    (
        *("config", "plan", "classes", "epochs", "train", "objective", "metric", "weights", "optimizer", "lr", "model"),
        *(
            "loss",
            "balance",
            "valid",
            "test",
            "baselines",
            "majority",
            "per_class",
            "safe",
            "support",
            "accuracy",
            "f1",
        ),
        *("predicted_share", "actual_share", "roc_auc", "confusion_matrix", "events", "rescues", "lr_factor", "status"),
        *("train_loss", "score", "grad_norm", "epoch", "update", "updates", "skipped_updates", "dropout", "_target_"),
    )
)
ANYTHING = st.recursive(
    NUMBERS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=6), max_leaves=25
)


def _replace(node: Any, draw: Any, chance: int) -> Any:
    """A copy in which about one value of ``chance`` is another."""
    if draw(st.integers(0, chance)) == 0:
        return draw(ANYTHING)
    if isinstance(node, dict):
        return {key: _replace(value, draw, chance) for key, value in node.items()}
    return [_replace(value, draw, chance) for value in node] if isinstance(node, list) else node


def _text(content: Any) -> str:
    return json.dumps(content)  # NaN and infinities as Python writes them


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_no_content_of_a_run_folder_raises(tmp_path_factory: pytest.TempPathFactory, data: Any) -> None:
    folder = tmp_path_factory.mktemp("run")
    STORIES[data.draw(st.sampled_from(sorted(STORIES)))].write(folder)
    chance = data.draw(st.sampled_from([3, 20, 60]))
    for name in FILES:
        if (folder / name).exists():
            content = json.loads((folder / name).read_text())
            (folder / name).write_text(_text(_replace(content, data.draw, chance)))
    lines = [_replace(update(10 * n, 0.5), data.draw, chance) for n in range(data.draw(st.integers(0, 4)))]
    (folder / "metrics.jsonl").write_text("".join(_text(line) + "\n" for line in lines))
    run = read_run(folder)
    findings = diagnose(run)
    json.loads(dumps(as_json(run)))
    keys = [finding.override.partition("=")[0] for finding in findings if finding.override]
    assert len({finding.override for finding in findings if finding.override}) == len(set(keys))


@settings(max_examples=100, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats() | st.none()] * 5), max_size=8),
    st.sampled_from(["f1", "log_loss", "custom", "nonsense"]),
)
def test_no_history_raises(tmp_path_factory: pytest.TempPathFactory, rows: list[Any], metric: str) -> None:
    folder = tmp_path_factory.mktemp("run")
    epochs = [
        {"epoch": n, "train_loss": a, "score": c, "grad_norm": d, "lr": e, "valid": {"loss": b, "roc_auc": c}}
        for n, (a, b, c, d, e) in enumerate(rows)
    ]
    write_json(folder / "training_history.json", {"epochs": epochs})
    write_json(folder / "training_metadata.json", {"config": changed(CONFIG, {"objective.metric": metric})})
    write_json(folder / "result.json", result())
    assert isinstance(diagnose(read_run(folder)), list)


def test_the_best_epoch_is_the_one_that_the_run_itself_chose(tmp_path: Path) -> None:
    """Not a collapsed one, and of equal scores the one that ranks better."""
    epochs = [
        {"score": 0.9, "valid": {"pr_auc": 0.5}, "health": "collapsed"},
        {"score": 0.4, "valid": {"pr_auc": 0.3, "specificity": 1.0}},
        {"score": 0.4, "valid": {"pr_auc": 0.6, "specificity": 1.0}},
        {"score": 0.3, "valid": {"pr_auc": 0.9, "specificity": 1.0}},
    ]
    write_json(tmp_path / "training_metadata.json", {"config": {"objective": {"metric": "f1"}}})
    write_json(tmp_path / "training_history.json", {"epochs": epochs})
    assert read_run(tmp_path).best == 2
