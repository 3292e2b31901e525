"""The section ``guard``: what watches a run, and what happens when it sees something."""

from __future__ import annotations

from dataclasses import dataclass, field

from counterpoise.guards.collapse import CollapseConfig
from counterpoise.guards.guard import Policy
from counterpoise.guards.non_finite import NonFiniteConfig
from counterpoise.guards.rescue import RescueConfig


@dataclass(frozen=True, kw_only=True)
class GuardConfig:
    """Watching for collapse, and for figures that are not finite."""

    policy: Policy = "stop"
    """warn: tell and go on; stop: end the run; rescue: back to a healthy checkpoint; off: watch nothing."""
    collapse: CollapseConfig = field(default_factory=CollapseConfig)
    """Predictions and gradients."""
    non_finite: NonFiniteConfig = field(default_factory=NonFiniteConfig)
    """NaN and infinities."""
    rescue: RescueConfig = field(default_factory=RescueConfig)
    """How a run is brought back."""
