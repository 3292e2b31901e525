"""Rescue: back to a healthy checkpoint, and on from there more gently."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

from counterpoise.config.schema import AT_LEAST_ONE, SHARE, Range
from counterpoise.events import Rescue, Verdict


@dataclass(frozen=True, kw_only=True)
class RescueConfig:
    """How a run is brought back, with ``policy: rescue``."""

    attempts: Annotated[int, AT_LEAST_ONE] = 4
    """Rescues at most; after the last the run is stopped."""
    lr_factor: Annotated[float, Range(gt=0, lt=1)] = 0.5
    """Factor on the learning rate at each."""
    warmup_ratio: Annotated[float, SHARE] = 0.05
    """Share of the remaining updates over which the learning rate rises again."""


class Rescuer:
    """Decides where a run goes back to and how it goes on.

    The schedule keeps its own course: it has as many updates left as it had at the checkpoint, and what it says is
    multiplied (:meth:`counterpoise.events.Rescue.scale`). So the run ends when it would have ended.

    Args:
        config: how often and how gently.
        total_updates: of the whole run.
    """

    def __init__(self, config: RescueConfig, total_updates: int) -> None:
        self.config = config
        self.total_updates = total_updates

    @staticmethod
    def wants_first(healthy: Mapping[str, int] | None, before: Sequence[Mapping[str, Any]]) -> bool:
        """Whether to go back to the very first checkpoint rather than the newest healthy one.

        A checkpoint that a rescue failed from, without one healthy epoch since, is not trusted a second time: its
        weights may carry the damage already.

        Args:
            healthy: position of the newest healthy checkpoint; ``None`` where there is none.
            before: the rescues so far.
        """
        return healthy is None or (bool(before) and healthy["update"] <= before[-1]["to_update"])

    def plan(
        self, verdict: Verdict, update: int, target: Mapping[str, int], before: Sequence[Mapping[str, Any]]
    ) -> Rescue:
        """The rescue after ``update`` updates that goes back to the position ``target``."""
        suspect = verdict.alarm is not None and verdict.alarm.cause == "precision"
        factor = before[-1]["lr_factor"] if before else 1.0
        precision = before[-1]["precision"] if before else None
        return Rescue(
            number=len(before) + 1,
            from_update=update,
            to_update=target["update"],
            to_epoch=target["epoch"] + 1,
            lr_factor=factor * self.config.lr_factor,
            warmup_updates=max(1, round(self.config.warmup_ratio * (self.total_updates - target["update"]))),
            precision="fp32" if suspect else precision,
            judge=verdict.judge,
            reason=verdict.reason,
        )
