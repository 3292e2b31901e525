"""How the findings of a diagnosis are shown: one line each, and one with what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

BROKEN = ("aborted", "collapsed", "failed")
"""How a run may end that is not as it should be."""


def finding_lines(findings: Sequence[Mapping[str, Any]], status: str = "finished") -> list[str]:
    """The findings, as ``result.json`` holds them, in one or two lines each.

    Args:
        findings: all of one run.
        status: how the run ended. Of one that broke off without a finding, nothing is said: its error says why.
    """
    lines = []
    for finding in findings:
        kind = str(finding.get("kind", "finding")).replace("_", " ")
        lines.append(f"{kind.capitalize()} ({finding.get('severity', 'note')}): {finding.get('message', '')}")
        if finding.get("override"):
            lines.append(f"  try: {finding['override']}  ({finding.get('why', '')})")
    return lines or ([] if status in BROKEN else ["Diagnosis: nothing to report."])


def show_findings(console: Console, findings: Sequence[Mapping[str, Any]], status: str = "finished") -> None:
    """Print them, as :func:`finding_lines` has them."""
    for line in finding_lines(findings, status):
        console.print(line, soft_wrap=True)
