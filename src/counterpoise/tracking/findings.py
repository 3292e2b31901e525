"""How the findings of a diagnosis are shown: one line each, and one with what to try."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console


def finding_lines(findings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The findings, as ``result.json`` holds them, in one or two lines each."""
    lines = []
    for finding in findings:
        kind = str(finding.get("kind", "finding")).replace("_", " ")
        lines.append(f"{kind.capitalize()} ({finding.get('severity', 'note')}): {finding.get('message', '')}")
        if finding.get("override"):
            lines.append(f"  try: {finding['override']}  ({finding.get('why', '')})")
    return lines or ["Diagnosis: nothing to report."]


def show_findings(console: Console, findings: Sequence[Mapping[str, Any]]) -> None:
    """Print them."""
    for line in finding_lines(findings):
        console.print(line, soft_wrap=True)
