"""What is reported without being asked for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """Pictures and pages that runs and multiruns leave by themselves; they change no figure."""

    plots: bool = True
    """At the end of every run, pictures of it in its folder's plots/."""
    multirun: bool = True
    """At the end of every multirun, a report of its jobs in its folder's report/."""
