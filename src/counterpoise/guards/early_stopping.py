"""Stop when the validation metric no longer improves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from counterpoise.config.schema import AT_LEAST_ONE, NON_NEGATIVE
from counterpoise.events import CONTINUE, BaseJudge, Decision, EpochEvent, Health, Verdict
from counterpoise.metrics import BestEpoch, Objective
from counterpoise.typed import checked


@dataclass(frozen=True, kw_only=True)
class EarlyStoppingConfig:
    """When to give up waiting. The metric is the objective's."""

    enabled: bool = True
    """False trains all epochs."""
    patience: Annotated[int, AT_LEAST_ONE] = 5
    """Epochs without improvement after which training stops."""
    min_delta: Annotated[float, NON_NEGATIVE] = 0.001
    """An improvement smaller than this does not count: in the score, or in the tie breaker where scores are equal."""


class EarlyStopping(BaseJudge):
    """Says stop after ``patience`` epochs in a row that did not beat the best one by ``min_delta``.

    It compares as the choice of the best epoch does: equal scores by the tie breaker, and a collapsed epoch is none to
    beat. So a model whose F1 is still 0 trains on while its ranking improves.
    """

    Config: ClassVar[type] = EarlyStoppingConfig
    name = "early_stopping"

    def __init__(self, config: EarlyStoppingConfig, objective: Objective) -> None:
        self.config = config
        self.objective = objective
        self.best = BestEpoch()
        self.waited = 0

    def after_epoch(self, event: EpochEvent) -> Verdict:
        """Count; an undefined score (NaN) is no improvement."""
        if not self.config.enabled:
            return CONTINUE
        standing = self.objective.standing_of(event.score, event.valid)
        if self.best.weigh(event.epoch, standing, Health.of(event.health), self.config.min_delta):
            self.waited = 0
            return CONTINUE
        self.waited += 1
        if self.waited < self.config.patience:
            return CONTINUE
        score = self.best.standing.value
        best = "undefined" if score is None else f"{score:.4f}"
        direction = "risen above" if self.objective.maximise else "fallen below"
        reason = f"{self.objective.name} has not {direction} {best} for {self.waited} epochs"
        return Verdict(Decision.STOP, self.name, reason)

    def state_dict(self) -> dict[str, Any]:
        """The best epoch and how long it has stood."""
        return {"best": self.best.state_dict(), "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up ``state_dict``'s answer again."""
        if state:
            self.best, self.waited = BestEpoch.from_state(state["best"]), checked(int, state["waited"], "waited")
