"""Runs with a protocol: the table, the exit code, and the same of a run that has finished, or was aborted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import SMALL, Answer

from counterpoise.cli.exits import (
    EXIT_FAILED_PROTOCOL,
    EXIT_FAULT,
    EXIT_INTERRUPTED,
    EXIT_OK,
    EXIT_PREEMPTED,
    EXIT_USER,
    gravest,
)
from counterpoise.cli.report import report
from counterpoise.jsonio import read_json

LEARNS = (
    *("data=table", "data.path=tiny.csv", "encoding.vocab_size=300", "model=textcnn", "model.embedding_size=16"),
    *("model.filters=16", "optimizer.lr=1e-2", "optimizer.scaling=none", "train.batch_size=8", "hardware=cpu"),
)
"""Overrides for a run that has learnt its table within an epoch."""
EXPLODES = ("optimizer.lr=1e30", "train.clip_norm=null")
HIGH = "protocol.f1_above=1"
"""No F1 is above it."""


@pytest.fixture(scope="module")
def full(workplace: Path, quiet: Callable[..., Answer]) -> Path:
    """A run in fp32 that a comparison may refer to."""
    short = ["train.epochs=2", "protocol.epochs=2", "protocol.above_baselines=false", "protocol.test_gap=null"]
    answer = quiet(workplace, *LEARNS, "experiment=full_training", *short, "hydra.run.dir=protocol/full")
    assert answer.code == EXIT_OK
    return workplace / "protocol" / "full"


COMPARED = (
    *("experiment=amp_check", "train.epochs=2", "protocol.epochs=2", "protocol.above_baselines=false"),
    *("protocol.test_gap=null", "hardware.precision=bf16"),
)


def test_the_preset_passes_on_a_run_that_learns(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*LEARNS, "experiment=stability_check", "hydra.run.dir=run", folder=fresh)
    assert (answer.code, answer.err) == (EXIT_OK, "")
    rows = {line.split("│")[1].strip(): line for line in answer.out.splitlines() if line.count("│") == 5}
    assert list(rows) == ["course", "epochs", "F1", "classes", "shares", "losses", "alarms", "updates"]
    assert all("pass" in row for row in rows.values())
    lines = answer.out.splitlines()
    assert lines[-2:] == ["stability_check: passed, all 8 criteria are met.", "Run folder: run"]
    assert read_json(fresh / "run" / "result.json")["protocol"]["passed"] is True


def test_a_failed_criterion_exits_with_3_and_a_finished_run_again(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*SMALL, HIGH, "protocol.name=mine", "hydra.run.dir=run", folder=fresh)
    assert (answer.code, answer.err) == (EXIT_FAILED_PROTOCOL, "")
    verdict = "mine: failed, 1 of 2 criteria are not met (F1)."
    (row,) = [line for line in answer.out.splitlines() if line.startswith("│ F1 ")]
    assert "above 1.00 in every epoch" in row
    assert "FAIL" in row
    assert verdict in answer.out.splitlines()
    again = train("resume=run", folder=fresh)
    assert again.code == EXIT_FAILED_PROTOCOL
    assert "finished already" in again.out
    assert answer.out[answer.out.index("mine\n") :] == again.out[again.out.index("mine\n") :]


def test_a_run_without_a_protocol_says_nothing_of_one(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*SMALL, "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_OK
    assert "verdict" not in answer.out
    assert "protocol" not in read_json(fresh / "run" / "result.json")


def test_a_guard_that_aborts_a_check_is_a_failed_check(
    train: Callable[..., Answer], fresh: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    answer = train(*SMALL, *EXPLODES, "protocol.epochs=1", "protocol.no_alarms=true", "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_FAILED_PROTOCOL
    assert answer.err.startswith("Training was aborted. ")
    assert "Traceback" not in answer.err
    assert answer.out.splitlines()[-1] == "protocol: failed, 2 of 3 criteria are not met (course, alarms)."
    assert read_json(fresh / "run" / "failure.json")["protocol"]["passed"] is False
    assert train(*SMALL, *EXPLODES, "hydra.run.dir=other", folder=fresh).code == EXIT_FAULT
    assert report([str(fresh / "run")]) == EXIT_OK
    assert "  protocol: failed, " in capfd.readouterr().out


def test_a_multirun_exits_with_3_if_nothing_worse_happened(train: Callable[..., Answer], fresh: Path) -> None:
    jobs = ["-m", *SMALL, "protocol.epochs=1", "hydra.sweep.dir=s"]
    answer = train(*jobs, "protocol.f1_above=null,1", folder=fresh)
    assert answer.code == EXIT_FAILED_PROTOCOL
    summary = read_json(fresh / "s" / "summary.json")["jobs"]
    assert [(job["status"], job["protocol"]) for job in summary] == [("finished", False), ("finished", True)]
    (header,) = [line for line in answer.out.splitlines() if line.startswith("┃ job ")]
    assert header.split("┃")[3].strip() == "protocol"
    answer = train(*jobs, "optimizer.lr=1e30", "train.clip_norm=null", folder=fresh)
    assert answer.code == EXIT_FAILED_PROTOCOL
    assert train(*jobs, HIGH, "optimizer.lr=1e-3,abc", folder=fresh).code == EXIT_FAULT


def test_mixed_precision_is_compared_with_its_reference(train: Callable[..., Answer], full: Path) -> None:
    answer = train(*LEARNS, *COMPARED, "protocol.reference=protocol/full", "hydra.run.dir=protocol/amp")
    entry = read_json(full.parent / "amp" / "result.json")["protocol"]
    rows = {row["name"]: row for row in entry["criteria"]}
    assert answer.code == (EXIT_OK if entry["passed"] else EXIT_FAILED_PROTOCOL)
    assert (rows["precision"]["seen"], rows["precision"]["passed"]) == ("bf16", True)
    assert rows["reference"]["passed"] is not None
    assert rows["speed"]["passed"] is None
    assert "not judged: speed" in answer.out


def test_a_wrong_reference_is_refused_before_training(train: Callable[..., Answer], full: Path, fresh: Path) -> None:
    answer = train(*LEARNS, *COMPARED, "protocol.reference=nowhere", "hydra.run.dir=run", folder=fresh)
    assert (answer.code, answer.out) == (EXIT_USER, "")
    assert answer.problems[0].startswith("protocol.reference: 'nowhere' is no run folder")
    assert not (fresh / "run").exists()
    answer = train(*LEARNS, *COMPARED, f"protocol.reference={full}", "optimizer.lr=2e-2", "seed=7", folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.problems[:2] == [
        "seed: in the reference it was 42, but is 7 now.",
        "optimizer.lr: in the reference it was 0.01, but is 0.02 now.",
    ]


def test_a_check_of_mixed_precision_that_has_none_is_refused(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*LEARNS, *COMPARED, "hardware.precision=fp32", folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.problems == [
        "hardware.precision: is fp32, but protocol.amp is there to check bf16 or fp16. "
        "hardware.precision=bf16 computes in it on any device, slowly where it is emulated."
    ]


def test_a_criterion_that_cannot_be_met_or_cannot_fail_is_refused(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*SMALL, "protocol.epochs=2", "protocol.no_alarms=true", "guard=off", folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.problems == [
        "protocol.epochs: is 2, but train.epochs is 1. Raise the one or lower the other.",
        "guard.policy: must not be off: protocol.no_alarms asks what the guards saw. guard=warn tells and goes on.",
    ]


def test_what_ran_and_failed_its_criteria_weighs_least() -> None:
    assert gravest() == EXIT_OK
    codes = [EXIT_OK, EXIT_FAILED_PROTOCOL, EXIT_FAULT, EXIT_USER, EXIT_PREEMPTED, EXIT_INTERRUPTED, 9]
    assert [gravest(*codes[: count + 1]) for count in range(len(codes))] == codes
