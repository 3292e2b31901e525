"""One thing that a run's files say about how it went, with its evidence and what to try."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Severity = Literal["critical", "warning", "note"]
"""``critical``: the run's figures are worth nothing; ``warning``: they could be better, or mislead; ``note``: worth
knowing."""

Kind = Literal[
    "collapsed",
    "rescued",
    "exploding",
    "not_learning",
    "overfitting",
    "underfitting",
    "under_prediction",
    "below_branch",
    "below_baseline",
    "test_differs",
    "stacked_corrections",
    "skipped_updates",
    "positive_majority",
    "few_records",
    "few_rows",
]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A finding, as ``result.json`` and the console have it."""

    kind: Kind
    severity: Severity
    message: str
    """One sentence with its figures."""
    evidence: Mapping[str, float | str] = field(default_factory=dict)
    """The figures that the rule went by, thresholds beside them."""
    override: str = ""
    """``key=value`` to add to the run's command; empty where no single value is likely to help."""
    why: str = ""
    """What the override would do."""
