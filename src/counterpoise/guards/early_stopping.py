"""Stop when the validation metric no longer improves."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE
from counterpoise.events import CONTINUE, BaseJudge, Decision, EpochEvent, Verdict
from counterpoise.metrics import Objective


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingConfig:
    """When to give up waiting. The metric is the objective's."""

    enabled: bool = True
    """False trains all epochs."""
    patience: Annotated[int, AT_LEAST_ONE] = 5
    """Epochs without improvement after which training stops."""
    min_delta: Annotated[float, NON_NEGATIVE] = 0.001
    """An improvement smaller than this does not count."""


class EarlyStopping(BaseJudge):
    """Says stop after ``patience`` epochs in a row that did not beat the best score by ``min_delta``."""

    Config: ClassVar[type] = EarlyStoppingConfig
    name = "early_stopping"

    def __init__(self, config: EarlyStoppingConfig, objective: Objective) -> None:
        self.config = config
        self.objective = objective
        self.best: float | None = None
        self.waited = 0

    def after_epoch(self, event: EpochEvent) -> Verdict:
        """Count; an undefined score (NaN) is no improvement."""
        if not self.config.enabled:
            return CONTINUE
        if self._improved(event.score):
            self.best, self.waited = event.score, 0
            return CONTINUE
        self.waited += 1
        if self.waited < self.config.patience:
            return CONTINUE
        best = "undefined" if self.best is None else f"{self.best:.4f}"
        direction = "risen above" if self.objective.maximise else "fallen below"
        reason = f"{self.objective.name} has not {direction} {best} for {self.waited} epochs"
        return Verdict(Decision.STOP, self.name, reason)

    def _improved(self, score: float) -> bool:
        if math.isnan(score):
            return False
        return self.best is None or self.objective.better(score, self.best, self.config.min_delta)

    def state_dict(self) -> dict[str, Any]:
        """The best score and how long it has stood."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up ``state_dict``'s answer again."""
        self.best, self.waited = state.get("best"), state.get("waited", 0)
