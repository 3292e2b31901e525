"""Every criterion of a protocol, on both sides of its boundary; what is refused before training."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from run_kit import CONFIG, NAN, PLAN, Story, changed, course, epoch, figures, result, update

from counterpoise.config.schema import parse
from counterpoise.errors import FailedProtocolError, OutOfMemoryError, TrainingAbortedError, UserError
from counterpoise.jsonio import read_json, write_json
from counterpoise.reports.after import explained
from counterpoise.reports.criteria import Criterion
from counterpoise.reports.protocol import Protocol, ProtocolConfig, open_protocol
from counterpoise.reports.runs import RunRecord
from counterpoise.storage import Storage
from counterpoise.tracking.console import make_console
from counterpoise.tracking.criteria import verdict_line

EPOCHS = course([0.6, 0.5, 0.4], [0.6, 0.5, 0.45], [0.6, 0.65, 0.7])
SHARED = {"batch_size": 32, "accumulation": 1, "warmup_ratio": 0.1, "total_updates": 800}


def judged(record: RunRecord, **asked: Any) -> Criterion:
    """The one criterion that is asked, beside how the run ended."""
    _, *rows = Protocol(ProtocolConfig(**asked)).judge(record)
    return rows[0]


def passed(folder: Path, history: Sequence[Mapping[str, Any]] = EPOCHS, **asked: Any) -> bool | None:
    return judged(Story(epochs=history).write(folder), **asked).passed


def balanced(*positive: float, actual: float = 0.5) -> list[dict[str, Any]]:
    """A history whose epochs predict these shares as positive."""
    found = []
    for number, share in enumerate(positive):
        node = epoch(number, 0.5, 0.5, 0.6, shares=(1 - share, share))
        classes = node["valid"]["per_class"]
        classes["safe"]["actual_share"], classes["vulnerable"]["actual_share"] = 1 - actual, actual
        found.append(node)
    return found


def test_nothing_asked_is_no_protocol(tmp_path: Path) -> None:
    assert not ProtocolConfig(name="mine").active
    assert Protocol(ProtocolConfig()).of_result(tmp_path, result()) is None
    assert Protocol(ProtocolConfig()).of_failure(tmp_path, "why") is None
    assert ProtocolConfig(finite=True).active


@pytest.mark.parametrize(("bound", "met"), [(0.59, True), (0.6, False), (0.61, False)])
def test_f1_is_above_its_bound_in_every_epoch(tmp_path: Path, bound: float, met: bool) -> None:
    assert passed(tmp_path, f1_above=bound) is met


def test_f1_counts_from_an_epoch_on_and_one_that_is_none_fails(tmp_path: Path) -> None:
    assert passed(tmp_path, f1_above=0.62, from_epoch=2) is True
    row = judged(Story(epochs=course([0.5] * 2, [0.5] * 2, [0.6, NAN])).write(tmp_path), f1_above=0.5)
    assert (row.passed, row.seen) == (False, "undefined in epoch 2")


@pytest.mark.parametrize("asked", [{"f1_above": 0.0}, {"every_class": True}, {"least_share": 0.0}, {"finite": True}])
def test_a_criterion_of_epochs_without_any_fails(tmp_path: Path, asked: dict[str, Any]) -> None:
    assert passed(tmp_path, (), **asked) is False


@pytest.mark.parametrize(("least", "met"), [(2, True), (3, True), (4, False)])
def test_epochs_are_counted(tmp_path: Path, least: int, met: bool) -> None:
    assert passed(tmp_path, epochs=least) is met


def test_every_class_is_predicted(tmp_path: Path) -> None:
    assert passed(tmp_path, balanced(0.5, 0.01), every_class=True) is True
    row = judged(Story(epochs=balanced(1.0, 0.5, 1.0)).write(tmp_path), every_class=True)
    assert (row.passed, row.seen) == (False, "'safe' never in epochs 1, 3")
    assert passed(tmp_path, balanced(0.0, 0.5), every_class=True, from_epoch=2) is True
    assert passed(tmp_path, balanced(0.0, actual=0.0), every_class=True) is True, "a class that is not there"


# The rule of 40 to 60 % for two classes of equal size, and what it becomes elsewhere.
@pytest.mark.parametrize(
    ("actual", "predicted", "met"),
    [
        *((0.5, 0.40, True), (0.5, 0.399, False), (0.5, 0.60, True), (0.5, 0.601, False)),
        *((0.458, 0.367, True), (0.458, 0.366, False), (0.458, 0.566, True), (0.458, 0.567, False)),
        *((0.1, 0.08, True), (0.1, 0.079, False), (0.1, 0.28, True), (0.1, 0.281, False), (0.1, 0.0, False)),
    ],
)
def test_shares_of_two_classes(tmp_path: Path, actual: float, predicted: float, met: bool) -> None:
    assert passed(tmp_path, balanced(predicted, actual=actual), least_share=0.8) is met


def test_shares_count_from_an_epoch_on_and_the_lowest_is_shown(tmp_path: Path) -> None:
    record = Story(epochs=balanced(0.3, 0.7, 0.5)).write(tmp_path)
    assert judged(record, least_share=0.8, shares_from=3).passed is True
    row = judged(record, least_share=0.8, shares_from=2)
    assert (row.passed, row.wanted) == (False, "each at 80% of its share or more from epoch 2 on")
    assert row.seen == "lowest 'safe' at 60%: 30.0% of 50.0% (epoch 2)"


def test_losses_are_finite_in_epochs_and_updates(tmp_path: Path) -> None:
    updates = [update(1, 0.7), update(2, 0.6)]
    assert judged(Story(epochs=EPOCHS, updates=updates).write(tmp_path), finite=True).passed is True
    row = judged(Story(epochs=EPOCHS, updates=[*updates, update(3, NAN)]).write(tmp_path), finite=True)
    assert (row.passed, row.seen) == (False, "not finite: update 3")
    for train, valid, stepped, met in ((NAN, 0.5, 9, False), (0.5, NAN, 9, False), (NAN, 0.5, 0, True)):
        story = Story(epochs=[epoch(0, train, valid, 0.6, stepped=stepped)], updates=updates)
        assert judged(story.write(tmp_path), finite=True).passed is met, "without a step there is no training loss"
    assert passed(tmp_path, finite=True) is False, "nothing was logged"


def test_an_alarm_fails_whatever_the_policy_made_of_it(tmp_path: Path) -> None:
    events = {"events": [{"kind": "never_predicted"}, {"kind": "never_predicted"}, {"kind": "exploding"}]}
    row = judged(Story(epochs=EPOCHS, collapse=events).write(tmp_path), no_alarms=True)
    assert (row.passed, row.seen) == (False, "3: never predicted, exploding")
    assert passed(tmp_path, no_alarms=True) is True
    lost = Story(epochs=EPOCHS, result=result(alarms=1)).write(tmp_path)
    assert judged(lost, no_alarms=True).passed is False, "the report was removed, the result knows"


@pytest.mark.parametrize(
    ("left", "most", "met"), [(0, 0.0, True), (1, 0.0, False), (16, 0.02, True), (17, 0.02, False)]
)
def test_updates_left_out(tmp_path: Path, left: int, most: float, met: bool) -> None:
    record = Story(epochs=EPOCHS, result=result(skipped_updates=left)).write(tmp_path)
    assert judged(record, skipped_share=most).passed is met


def test_updates_left_out_of_a_run_without_a_result_are_those_of_its_log(tmp_path: Path) -> None:
    story = Story(epochs=EPOCHS, result=None, updates=[update(9, 0.5), update(10, 0.5, skipped=2)])
    row = judged(story.write(tmp_path), skipped_share=0.2)
    assert (row.passed, row.seen) == (True, "2 of 10")
    assert judged(Story(epochs=(), result=None).write(tmp_path), skipped_share=1.0).passed is False


@pytest.mark.parametrize(("test", "met"), [(0.85, True), (0.75, True), (0.749, False), (0.851, False), (NAN, False)])
def test_test_is_close_to_validation(tmp_path: Path, test: float, met: bool) -> None:
    record = Story(epochs=EPOCHS, result=result(0.8, test=figures(test))).write(tmp_path)
    assert judged(record, test_gap=0.05).passed is met


def test_without_a_test_split_the_gap_is_not_judged(tmp_path: Path) -> None:
    row = judged(Story(epochs=EPOCHS, result=result(test=None)).write(tmp_path), test_gap=0.05)
    assert (row.passed, row.seen) == (None, "there is no test split")


@pytest.mark.parametrize(("tfidf", "majority", "met"), [(0.79, 0.1, True), (0.8, 0.1, False), (0.1, 0.9, False)])
def test_every_baseline_is_beaten(tmp_path: Path, tfidf: float, majority: float, met: bool) -> None:
    record = Story(epochs=EPOCHS, result=result(0.8, tfidf=tfidf, majority=majority)).write(tmp_path)
    assert judged(record, above_baselines=True).passed is met


def test_baselines_that_are_not_there_are_not_beaten(tmp_path: Path) -> None:
    assert (
        judged(Story(epochs=EPOCHS, result=result(baselines={})).write(tmp_path), above_baselines=True).passed is False
    )


@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp32", "fp64"])
def test_mixed_precision_is_kept_to_the_end(tmp_path: Path, precision: str) -> None:
    story = Story(epochs=EPOCHS, plan={"precision": precision})
    assert judged(story.write(tmp_path), amp=True).passed is (precision in ("bf16", "fp16"))
    rescued = dataclasses.replace(story, result=result(rescues=[{"precision": None}, {"precision": "fp32"}]))
    row = judged(rescued.write(tmp_path), amp=True)
    assert (row.passed, row.seen) == (False, f"{precision}, then fp32")


def test_a_guard_that_ends_a_run_fails_every_protocol(tmp_path: Path) -> None:
    ended = {"judge": "collapse", "reason": "one class"}
    story = Story(epochs=EPOCHS, result=result(status="collapsed", ended_by=ended))
    course_row, *_ = Protocol(ProtocolConfig(epochs=1)).judge(story.write(tmp_path))
    assert (course_row.passed, course_row.seen) == (False, "collapsed: collapse: one class")


def test_a_result_is_judged_whatever_an_earlier_attempt_left(tmp_path: Path) -> None:
    Story(epochs=EPOCHS, result=None, failure={"status": "aborted", "message": "before"}).write(tmp_path)
    entry = Protocol(ProtocolConfig(name="n", epochs=3)).of_result(tmp_path, result())
    assert entry is not None
    assert (entry["name"], entry["passed"], [row["passed"] for row in entry["criteria"]]) == ("n", True, [True, True])
    assert verdict_line(entry) == "n: passed, all 2 criteria are met."


def test_a_run_that_is_aborted_is_judged_by_what_it_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Story(epochs=EPOCHS, result=None).write(tmp_path)
    write_json(tmp_path / "failure.json", {"status": "aborted", "message": "no class"})
    protocol = Protocol(ProtocolConfig(name="n", epochs=4, test_gap=0.05))
    storage = Storage(tmp_path)
    with pytest.raises(FailedProtocolError) as caught, explained(make_console(), tmp_path, protocol, storage):
        raise TrainingAbortedError("no class")
    seen = [(row["name"], row["passed"]) for row in caught.value.protocol["criteria"]]
    assert seen == [("course", False), ("epochs", False), ("test", None)]
    assert read_json(tmp_path / "failure.json") == {
        "status": "aborted",
        "message": "no class",
        "protocol": caught.value.protocol,
    }
    out = capsys.readouterr().out
    assert "aborted: no class" in out
    assert out.splitlines()[-1] == "n: failed, 2 of 2 criteria are not met (course, epochs); not judged: test."


def test_too_little_memory_is_a_fault_and_no_verdict(tmp_path: Path) -> None:
    Story(epochs=EPOCHS, result=None).write(tmp_path)
    protocol = Protocol(ProtocolConfig(epochs=1))
    with pytest.raises(OutOfMemoryError), explained(make_console(), tmp_path, protocol, Storage(tmp_path)):
        raise OutOfMemoryError("training", "full.")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"reference": "x"}, "protocol.reference: has no effect without protocol.f1_gap."),
        ({"from_epoch": 2, "finite": True}, "protocol.from_epoch: has no effect without f1_above or every_class."),
        ({"shares_from": 2, "f1_above": 0.5}, "protocol.shares_from: has no effect without least_share."),
        ({"f1_above": 2}, "protocol.f1_above: must be >= 0 and <= 1, but is 2.0."),
    ],
)
def test_what_has_no_effect_is_refused(given: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse(ProtocolConfig, given, "protocol")
    assert str(caught.value).startswith(message)


# The reference of a run in mixed precision

ASKED = {"name": "amp_check", "amp": True, "f1_gap": 0.02}


def reference(folder: Path, f1: float = 0.8, seconds: float = 12.0, **more: Any) -> Path:
    story = Story(
        epochs=[{**node, "seconds": seconds} for node in EPOCHS],
        result=result(f1),
        plan={**SHARED, "precision": "fp32"},
        metadata={"data_fingerprint": "d"},
    )
    dataclasses.replace(story, **more).write(folder)
    return folder


def now(**changes: Any) -> dict[str, Any]:
    """The run that is compared."""
    config = changed(CONFIG, {"hardware.precision": "bf16", "protocol.amp": True})
    return changed({"config": config, "plan": {**PLAN, **SHARED}, "data_fingerprint": "d"}, changes)


def rows(folder: Path, protocol: Protocol, f1: float, seconds: float) -> list[Criterion]:
    epochs = [{**node, "seconds": seconds} for node in EPOCHS]
    return protocol.judge(Story(epochs=epochs, result=result(f1)).write(folder))[2:]


@pytest.mark.parametrize(("f1", "met"), [(0.78, True), (0.779, False), (0.82, True), (0.821, False)])
def test_f1_is_close_to_the_references_and_speed_is_only_shown(tmp_path: Path, f1: float, met: bool) -> None:
    folder = reference(tmp_path / "full")
    protocol = open_protocol(ProtocolConfig(**ASKED, reference=str(folder)), now())
    compared, speed = rows(tmp_path / "amp", protocol, f1, seconds=8.0)
    assert compared.passed is met
    assert compared.seen == f"{f1:.4f}, and 0.8000 in fp32 ({folder})"
    assert (speed.passed, speed.seen) == (None, "1.50x (12.0 s to 8.0 s an epoch)")


def test_without_a_reference_the_row_says_so(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, open_protocol(ProtocolConfig(**ASKED), now()), 0.8, 8.0)
    assert (row.passed, row.seen) == (None, "none was given: protocol.reference=<run folder>")


@pytest.mark.parametrize("precision", ["fp32", "fp64"])
def test_a_check_of_mixed_precision_without_it_is_refused(precision: str) -> None:
    with pytest.raises(UserError, match=rf"^hardware\.precision: is {precision}, but protocol\.amp"):
        open_protocol(ProtocolConfig(**ASKED), now(**{"plan.precision": precision}))


@pytest.mark.parametrize(
    ("more", "changes", "message"),
    [
        ({"result": None}, {}, "is no finished run: unfinished."),
        ({"result": result(status="collapsed")}, {}, "is no finished run: collapsed."),
        ({"plan": {**SHARED, "precision": "bf16"}}, {}, "was trained in bf16, so it shows nothing."),
        ({}, {"config.optimizer.lr": 0.5}, "optimizer.lr: in the reference it was 0.001, but is 0.5 now."),
        ({}, {"plan.batch_size": 64}, "plan.batch_size: in the reference it was 32, but is 64 now."),
        ({}, {"data_fingerprint": "e"}, "data: the reference was trained on another."),
        (
            {"metadata": {"data_fingerprint": "d", "branches": {"gnn": {"weights": "a"}}}},
            {"branches": {"gnn": {"weights": "b"}}},
            "branches.gnn.weights: in the reference it was 'a', but is 'b' now.",
        ),
        ({}, {"branches": {"gnn": {"weights": "b"}}}, "branches.gnn.weights: in the reference it was null, but is 'b'"),
    ],
)
def test_a_reference_that_shows_nothing_is_refused(
    tmp_path: Path, more: dict[str, Any], changes: dict[str, Any], message: str
) -> None:
    config = ProtocolConfig(**ASKED, reference=str(reference(tmp_path, **more)))
    with pytest.raises(UserError) as caught:
        open_protocol(config, now(**changes))
    assert message in str(caught.value)


def test_a_reference_with_the_same_branches_is_one(tmp_path: Path) -> None:
    branches = {"gnn": {"weights": "a", "model": {"class": "GNN"}}}
    folder = reference(tmp_path, metadata={"data_fingerprint": "d", "branches": branches})
    config = ProtocolConfig(**ASKED, reference=str(folder))
    assert open_protocol(config, {**now(), "branches": branches}).reference is not None


def test_a_learning_rate_that_is_still_to_be_found_is_not_compared(tmp_path: Path) -> None:
    config = ProtocolConfig(**ASKED, reference=str(reference(tmp_path)))
    assert open_protocol(config, now(**{"plan.lr": None})).reference is not None


def test_a_reference_that_is_no_run_is_refused(tmp_path: Path) -> None:
    reference(tmp_path / "runs" / "full")
    for name in ("runs", "nowhere"):
        with pytest.raises(UserError, match=r"^protocol\.reference: .* is no run folder: it has no"):
            open_protocol(ProtocolConfig(**ASKED, reference=str(tmp_path / name)), now())
