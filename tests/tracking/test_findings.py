"""How a finding is shown: its message, and what to try, on one line each."""

from __future__ import annotations

import pytest

from counterpoise.tracking.console import make_console
from counterpoise.tracking.findings import finding_lines, show_findings

FINDING = {
    "kind": "under_prediction",
    "severity": "warning",
    "message": "class '[red]x' is 1.0% of the predictions.",
    "override": "balance.class_weights=[1.0,3.0]",
    "why": "it weighs more then",
}


def test_a_finding_has_two_lines_and_one_without_a_proposal_has_one() -> None:
    assert finding_lines([FINDING, {**FINDING, "override": ""}]) == [
        "Under prediction (warning): class '[red]x' is 1.0% of the predictions.",
        "  try: balance.class_weights=[1.0,3.0]  (it weighs more then)",
        "Under prediction (warning): class '[red]x' is 1.0% of the predictions.",
    ]


def test_a_healthy_run_is_told_so() -> None:
    assert finding_lines([]) == finding_lines([], "unfinished") == ["Diagnosis: nothing to report."]


def test_of_a_run_that_broke_off_nothing_reassuring_is_said() -> None:
    for status in ("aborted", "collapsed", "failed"):
        assert finding_lines([], status) == []
        assert finding_lines([FINDING], status) == finding_lines([FINDING])


def test_text_is_shown_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    show_findings(make_console(), [FINDING])
    assert capsys.readouterr().out.splitlines() == finding_lines([FINDING])
