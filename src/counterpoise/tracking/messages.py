"""Events as lines of JSON, between a run and the process of a tracker; NaN and infinities are kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from counterpoise.events import Alarm, Decision, EpochEvent, Rescue, UpdateEvent, Verdict
from counterpoise.jsonio import to_plain
from counterpoise.tracking.base import Tracker

END = "on_end"
"""The last event."""


def encode(event: str, time: float, parts: tuple[Any, ...]) -> bytes:
    """One line: the name of the observer's method, when it happened, and its arguments."""
    plain = [asdict(part) if hasattr(part, "__dataclass_fields__") else part for part in parts]
    return json.dumps([event, time, plain], default=to_plain).encode() + b"\n"


def deliver(line: bytes, tracker: Tracker) -> bool:
    """Call the method that a line names; returns whether it was the last. Raises what the tracker raises."""
    event, tracker.now, parts = json.loads(line)
    kinds = _KINDS.get(event, ())
    arguments = [kinds[i](part) if i < len(kinds) else part for i, part in enumerate(parts)]
    getattr(tracker, event)(*arguments)
    return bool(event == END)


def _update(node: Mapping[str, Any]) -> UpdateEvent:
    counts = {name: tuple(node[name]) for name in ("predicted", "actual", "separation")}
    return UpdateEvent(**{**node, **counts})


def _verdict(node: Mapping[str, Any]) -> Verdict:
    alarm = None if node["alarm"] is None else Alarm(**node["alarm"])
    return Verdict(Decision(node["decision"]), node["judge"], node["reason"], alarm)


_KINDS: dict[str, tuple[Callable[[Any], Any], ...]] = {
    "on_update": (_update,),
    "on_epoch": (lambda node: EpochEvent(**node),),
    "on_alarm": (lambda node: Alarm(**node),),
    "on_rescue": (lambda node: Rescue(**node),),
    "on_finish": (_verdict,),
}
"""What the arguments of a method are made of; plain values where nothing is said."""
