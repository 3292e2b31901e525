"""Every finding where its rule applies, none where all is well, and no two that contradict."""

from __future__ import annotations

import dataclasses
import itertools
from collections import Counter
from pathlib import Path
from typing import get_args

import pytest
from run_kit import Story, course, figures, result
from stories import EARLY_STOP, FALLING, FLAT, HEALTHY, MEMORISED, RISING, STORIES, shares

from counterpoise.jsonio import to_plain
from counterpoise.reports.diagnosis import COURSE, SEVERITIES, diagnose, diagnose_folder
from counterpoise.reports.findings import Finding, Kind


def told(story: Story, folder: Path) -> list[Finding]:
    return diagnose(story.write(folder))


@pytest.mark.parametrize("name", HEALTHY)
def test_of_a_healthy_run_there_is_nothing_to_report(name: str, tmp_path: Path) -> None:
    assert told(HEALTHY[name], tmp_path) == []


@pytest.mark.parametrize("name", STORIES)
def test_each_rule_tells_its_story_and_no_other(name: str, tmp_path: Path) -> None:
    story = STORIES[name]
    findings = told(story, tmp_path)
    assert tuple(finding.kind for finding in findings) == story.kinds
    assert findings[0].override == story.override


@pytest.mark.parametrize("name", STORIES)
def test_a_finding_has_figures_in_its_message_and_its_evidence(name: str, tmp_path: Path) -> None:
    for finding in told(STORIES[name], tmp_path):
        assert any(character.isdigit() for character in finding.message) or finding.kind == "collapsed"
        assert finding.message.endswith(".")
        assert "\n" not in finding.message
        assert any(isinstance(value, int | float) for value in finding.evidence.values())
        assert bool(finding.why) is bool(finding.override)


def test_every_kind_of_finding_has_a_story() -> None:
    assert {kind for story in STORIES.values() for kind in story.kinds} == set(get_args(Kind))


def test_one_cause_explains_a_course_and_no_two_proposals_contradict(tmp_path: Path) -> None:
    """Whatever course is beside whatever outcome: one cause at most, and one value per key."""
    causes = {"collapsed", "exploding", "not_learning", "overfitting", "underfitting"}
    assert len(causes) == len(COURSE)
    records = [story.write(tmp_path / str(n)) for n, story in enumerate([*STORIES.values(), *HEALTHY.values()])]
    for course_of, outcome_of in itertools.product(records, records):
        other = {name: getattr(outcome_of, name) for name in ("result", "failure", "collapse", "metadata")}
        findings = diagnose(dataclasses.replace(course_of, **other))
        kinds = Counter(finding.kind for finding in findings)
        assert sum(kinds[kind] for kind in causes) <= 1
        assert max(kinds.values(), default=0) <= 1
        proposed = {finding.override for finding in findings if finding.override}
        assert len({override.split("=")[0] for override in proposed}) == len(proposed), findings
        grades = [SEVERITIES.index(finding.severity) for finding in findings]
        assert grades == sorted(grades)


def test_a_cause_hides_its_consequences(tmp_path: Path) -> None:
    story = Story(epochs=shares(1.0, 0.0), result=result(0.2, tfidf=0.8, valid=figures(0.2, shares=(1.0, 0.0))))
    assert [finding.kind for finding in told(story, tmp_path)] == ["under_prediction", "below_baseline"]
    idle = course(FLAT, FLAT, [0.5] * 8, auc=0.5, shares=(1.0, 0.0))
    findings = told(Story(epochs=idle, result=result(0.2, tfidf=0.8)), tmp_path)
    assert [finding.kind for finding in findings] == ["not_learning"]


# Each threshold, on either side.


@pytest.mark.parametrize(("rise", "fall", "kinds"), [(1.11, 0.89, 1), (1.09, 0.89, 0), (1.11, 0.91, 0)])
def test_overfitting_needs_both_losses_to_move_a_tenth(rise: float, fall: float, kinds: int, tmp_path: Path) -> None:
    epochs = course([0.5, 0.45, 0.5 * fall], [0.55, 0.56, 0.55 * rise], [0.7, 0.69, 0.68])
    assert len(told(Story(epochs=epochs, result=None), tmp_path)) == kinds


def test_a_late_best_epoch_is_no_overfitting(tmp_path: Path) -> None:
    scores = [0.5, 0.6, 0.7, 0.7, 0.7, 0.8, 0.8, 0.75]
    epochs = [{**e, "score": s, "valid": {**e["valid"], "f1": s}} for e, s in zip(MEMORISED, scores, strict=True)]
    assert told(Story(epochs=epochs, result=result(ended_by=EARLY_STOP)), tmp_path) == []


@pytest.mark.parametrize(("gain", "kinds"), [(0.021, ["underfitting"]), (0.019, [])])
def test_underfitting_is_a_gain_beyond_what_seeds_make(gain: float, kinds: list[str], tmp_path: Path) -> None:
    epochs = course([0.6, 0.5, 0.4], [0.6, 0.5, 0.45], [0.6, 0.7, 0.7 + gain])
    story = Story(epochs=epochs, config={"train.epochs": 3})
    assert [finding.kind for finding in told(story, tmp_path)] == kinds
    assert told(Story(epochs=epochs, config={"train.epochs": 4}), tmp_path) == []


@pytest.mark.parametrize(("share", "kinds"), [(0.149, ["under_prediction"]), (0.151, [])])
def test_a_class_below_three_tenths_of_its_share(share: float, kinds: list[str], tmp_path: Path) -> None:
    own = result(valid=figures(0.8, shares=(1 - share, share)))
    assert [finding.kind for finding in told(Story(epochs=shares(1 - share, share), result=own), tmp_path)] == kinds


def test_a_class_is_judged_by_the_answers_of_the_run_not_by_those_at_half(tmp_path: Path) -> None:
    """A tuned threshold that serves a class leaves nothing to report; before there is a result, the epoch counts."""
    assert told(Story(epochs=shares(1.0, 0.0), result=result(valid=figures(0.8))), tmp_path) == []
    (finding,) = told(Story(epochs=shares(1.0, 0.0), result=None), tmp_path)
    assert (finding.kind, finding.message[:11]) == ("under_prediction", "at epoch 5 ")


@pytest.mark.parametrize(("off", "severities"), [(0.051, ["warning"]), (-0.051, ["warning"]), (0.049, [])])
def test_test_and_validation_may_differ_by_five_points(off: float, severities: list[str], tmp_path: Path) -> None:
    story = Story(epochs=course(FALLING, FALLING, RISING, rows=8000), result=result(0.7, test=figures(0.7 + off)))
    wide = {"per_class": figures(rows=80_000)["per_class"]}
    for split in ("valid", "test"):
        story.result[split].update(wide)  # type: ignore[index]
    assert [finding.severity for finding in told(story, tmp_path)] == severities


def test_what_splits_of_their_size_differ_by_is_said(tmp_path: Path) -> None:
    (finding,) = told(STORIES["test is worse, and nothing leaks"], tmp_path)
    limit = 3 * (0.8 * 0.2 / 800 + 0.7 * 0.3 / 800) ** 0.5
    assert finding.evidence["chance"] == pytest.approx(limit, rel=0.02)
    assert f"{finding.evidence['chance']:.4f} by chance" in finding.message
    assert not finding.override


@pytest.mark.parametrize(("test", "found"), [(0.70, True), (0.72, False)])
def test_a_difference_within_three_standard_errors_is_chance(test: float, found: bool, tmp_path: Path) -> None:
    """Of 700 rows: 3 sqrt(0.8 0.2 / 700 + 0.7 0.3 / 700) = 0.069, and 0.088 of 400."""
    rows = 700 if found else 400
    story = Story(
        epochs=STORIES["below words"].epochs,
        result=result(0.8, valid=figures(0.8, rows=rows), test=figures(test, rows=rows)),
    )
    assert [finding.kind for finding in told(story, tmp_path)] == (["test_differs"] if found else [])


def test_the_other_metrics_gap_counts_too(tmp_path: Path) -> None:
    wrong = [[320, 80], [200, 200]]  # an F1 of 0.588
    story = Story(
        epochs=STORIES["below words"].epochs,
        result=result(0.8, test=figures(0.8, f1=0.588, confusion_matrix=wrong)),
    )
    (finding,) = told(story, tmp_path)
    assert finding.message.startswith("f1 is 0.5880 on the test split but 0.8000 on validation")


def test_every_metric_has_its_own_chance(tmp_path: Path) -> None:
    """Where no formula covers a metric, by draws of the confusion matrix; of an area of one class nothing is said."""
    for metric, found in (("macro_f1", True), ("mcc", True), ("pr_auc", False)):
        valid, test = figures(0.8, accuracy=0.8, mcc=0.6, pr_auc=0.9), figures(0.6, accuracy=0.79, mcc=0.2, pr_auc=0.5)
        story = Story(
            epochs=STORIES["below words"].epochs,
            config={"objective.metric": metric},
            result=result(0.8, valid=valid, test=test, baselines={}),
        )
        assert bool(told(story, tmp_path)) is found, metric


@pytest.mark.parametrize(("factor", "found"), [(2.01, True), (1.99, False)])
def test_a_loss_may_not_double(factor: float, found: bool, tmp_path: Path) -> None:
    epochs = course([0.5, 0.6, 0.5 * factor], [0.5, 0.6, 0.5 * factor], [0.7, 0.6, 0.6])
    assert ("exploding" in {f.kind for f in told(Story(epochs=epochs, result=None), tmp_path)}) is found


@pytest.mark.parametrize(
    ("skipped", "updates", "found"), [(21, 1000, True), (19, 1000, False), (20, 100, False), (21, 2000, False)]
)
def test_a_scaler_may_search(skipped: int, updates: int, found: bool, tmp_path: Path) -> None:
    story = Story(epochs=STORIES["rescued"].epochs, result=result(skipped_updates=skipped, updates=updates))
    assert bool(told(story, tmp_path)) is found


def test_a_minimised_objective_is_read_the_right_way_round(tmp_path: Path) -> None:
    config = {"objective.metric": "log_loss"}
    epochs = [{**e, "score": -e["score"], "valid": {**e["valid"], "log_loss": 0.5}} for e in MEMORISED]
    (finding,) = told(Story(epochs=epochs, config=config, result=None), tmp_path)
    assert finding.evidence["best_epoch"] == 3
    lower = {name: {"test": figures(log_loss=loss)} for name, loss in (("majority", 0.7), ("tfidf_logistic", 0.3))}
    outcome = result(0.8, valid=figures(0.8, log_loss=0.5), test=figures(0.8, log_loss=0.5), baselines=lower)
    (finding,) = told(Story(epochs=epochs[:2], config=config, result=outcome), tmp_path)
    said = "0.5000, below the baseline tfidf_logistic's 0.3000 (not tested: its predictions are not kept)."
    assert said in finding.message
    assert (finding.severity, finding.override) == ("note", "")


def test_a_model_at_a_baselines_level_is_told_by_how_much_chance_explains(tmp_path: Path) -> None:
    own, baseline = figures(0.60), figures(0.61)
    close = result(0.6, test=own, baselines={"tfidf_logistic": {"test": baseline}})
    story = Story(epochs=course(FALLING, FALLING, RISING), result=close, config={"objective.metric": "accuracy"})
    story.result["valid"] = own  # type: ignore[index]
    (finding,) = told(story, tmp_path)
    assert (finding.kind, finding.severity) == ("below_baseline", "note")


def fused(mode: str, average: float, transformer: float = 0.5) -> Story:
    """A fusion of two runs with an F1 of 0.6."""
    branches = {"transformer": {"test": figures(transformer)}, "average": {"test": figures(average)}}
    config = {"model.mode": mode, "model.transformer": "a", "model.gnn": "b"}
    return Story(epochs=STORIES["below words"].epochs[:3], result=result(0.6, branches=branches), config=config)


def test_a_fusion_below_its_branches_is_told_what_is_better(tmp_path: Path) -> None:
    (finding,) = told(fused("staged", 0.75), tmp_path)
    assert finding.message.startswith(
        "f1 on the test split is 0.6000, below the plain average of its branches' 0.7500 ("
    )
    assert (finding.severity, finding.override) == ("warning", "")
    assert finding.message.endswith("; use what is better, or train the fusion layer alone (model.mode=frozen).")
    (finding,) = told(fused("frozen", 0.65, transformer=0.9), tmp_path)
    assert finding.message.startswith("f1 on the test split is 0.6000, below its branch transformer's alone, 0.9000 (")
    assert finding.override == ""
    assert told(fused("frozen", 0.55), tmp_path) == []
    assert told(fused("staged", 0.62), tmp_path) == [], "no more than chance"
    fast = fused("staged", 0.75)
    (finding,) = told(dataclasses.replace(fast, config={**fast.config, "optimizer.lr": 0.1}), tmp_path)
    assert finding.override == "optimizer.lr=0.001"


def test_the_result_about_to_be_written_counts(tmp_path: Path) -> None:
    Story(epochs=STORIES["below words"].epochs, result=None).write(tmp_path)
    assert diagnose_folder(tmp_path) == []
    found = diagnose_folder(tmp_path, STORIES["below words"].result)
    assert [finding["kind"] for finding in found] == ["below_baseline"]
    assert found == to_plain(found)
