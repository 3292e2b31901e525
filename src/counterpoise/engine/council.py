"""Observers are told, judges are asked, and the strongest verdict is what the loop obeys."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace

from lightning_fabric import Fabric

from counterpoise.engine.progress import History
from counterpoise.events import CONTINUE, Decision, EpochEvent, Health, Judge, Observer, UpdateEvent, Verdict, strongest


class Council:
    """Everyone who watches a run, and everyone who may end it.

    Args:
        fabric: the first process decides for all: one that went on alone would wait for the others for ever.
        observers: told of everything.
        judges: asked after updates and epochs.
        can_rescue: whether a roll-back would be possible now.
    """

    def __init__(
        self, fabric: Fabric, observers: Sequence[Observer], judges: Sequence[Judge], can_rescue: Callable[[], bool]
    ) -> None:
        self.fabric = fabric
        self.observers = observers
        self.judges = judges
        self.can_rescue = can_rescue

    def tell(self, what: Callable[[Observer], object]) -> None:
        """Call ``what`` with every observer."""
        for observer in self.observers:
            what(observer)

    def after_update(self, event: UpdateEvent, history: History) -> None:
        """Tell of a logged update, and judge it."""
        self.tell(lambda observer: observer.on_update(event))
        self._hear([judge.after_update(event) for judge in self.judges], history)

    def judged(self, event: EpochEvent) -> tuple[EpochEvent, list[Verdict]]:
        """The verdicts on an epoch, and the epoch with the health that they leave.

        Each judge sees what those before it think of the model. What a verdict throws away counts as collapsed: its
        weights are never written, so that it cannot be the best either.
        """
        verdicts, health = [], Health.SOUND
        for judge in self.judges:
            verdicts.append(judge.after_epoch(replace(event, health=health.word)))
            health = max(health, judge.health)
        lost = strongest(verdicts).decision >= Decision.ROLL_BACK
        return replace(event, health=(Health.COLLAPSED if lost else health).word), verdicts

    def after_epoch(self, event: EpochEvent, verdicts: Sequence[Verdict], history: History) -> None:
        """Tell of an epoch, and take the verdicts that were asked for before."""
        self.tell(lambda observer: observer.on_epoch(event))
        self._hear(verdicts, history)

    def between_updates(self, history: History) -> None:
        """Ask for what has nothing to do with the device, unless the run is to end anyway.

        A verdict of another kind must be obeyed first: what brought it about is in the judges' state already, and they
        would not say it again.
        """
        if history.verdict.decision == Decision.CONTINUE and self.fabric.world_size == 1:
            self._hear([judge.between_updates() for judge in self.judges], history)

    @property
    def health(self) -> Health:
        """What the most worried judge thinks."""
        return max((judge.health for judge in self.judges), default=Health.SOUND)

    def _hear(self, verdicts: Sequence[Verdict], history: History) -> None:
        for verdict in verdicts:
            if verdict.alarm is not None:
                self._sound(verdict, history)
        found = strongest(verdicts)
        if self.fabric.world_size > 1:
            found = self.fabric.broadcast(found)
        history.verdict = found if found.decision > Decision.CONTINUE else CONTINUE

    def _sound(self, verdict: Verdict, history: History) -> None:
        alarm, action = verdict.alarm, "warned"
        assert alarm is not None
        if verdict.decision > Decision.CONTINUE:
            action = "rescued" if verdict.decision == Decision.ROLL_BACK and self.can_rescue() else "stopped"
        history.alarms.append({**asdict(alarm), "action": action})
        self.tell(lambda observer: observer.on_alarm(alarm, action))
