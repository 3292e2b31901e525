"""Carrying out a rescue: the checkpoint to return to is found, and the run's state becomes that of then."""

from __future__ import annotations

from dataclasses import replace

from counterpoise.engine.checkpoints import Checkpoint
from counterpoise.engine.state import RunState
from counterpoise.events import Decision, Rescue
from counterpoise.guards.rescue import RescueConfig, Rescuer


class Lifeline:
    """Brings a run back while there are attempts left.

    Args:
        config: how often and how gently; ``None`` never does.
        state: of the run.
    """

    def __init__(self, config: RescueConfig | None, state: RunState) -> None:
        self.config = config
        self.state = state

    @property
    def holds(self) -> bool:
        """Whether a roll-back is possible: configured, with attempts left, checkpoints, and one process."""
        state = self.state
        if self.config is None or state.checkpoints is None or state.fabric.world_size > 1:
            return False
        return len(state.history.rescues) < self.config.attempts

    def pull(self, total_updates: int) -> Rescue | None:
        """Go back, as the history's verdict asks; where that cannot be, make it one to abort, and return ``None``."""
        verdict, rescues = self.state.history.verdict, self.state.history.rescues
        target = self.target
        if target is None or self.config is None:
            after = f" (after {len(rescues)} rescues)" if rescues else ""
            self.state.history.verdict = replace(verdict, decision=Decision.ABORT, reason=f"{verdict.reason}{after}")
            return None
        rescuer = Rescuer(self.config, total_updates)
        rescue = rescuer.plan(verdict, self.state.position.update, target.manifest["position"], rescues)
        self.state.roll_back(target, rescue)
        return rescue

    @property
    def target(self) -> Checkpoint | None:
        """What it would go back to now; ``None`` where it cannot."""
        if not self.holds:
            return None
        assert self.state.checkpoints is not None
        healthy = self.state.checkpoints.healthy()
        position = healthy.manifest["position"] if healthy is not None else None
        if Rescuer.wants_first(position, self.state.history.rescues):
            return self.state.checkpoints.healthy(first=True)
        return healthy
