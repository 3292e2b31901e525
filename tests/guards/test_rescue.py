"""Where a rescue goes back to, and the learning rate from there on."""

from __future__ import annotations

from dataclasses import asdict, replace

import pytest

from counterpoise.events import Alarm, Decision, Verdict
from counterpoise.guards.rescue import RescueConfig, Rescuer

VERDICT = Verdict(Decision.ROLL_BACK, "collapse", "seen")
RESCUER = Rescuer(RescueConfig(lr_factor=0.5, warmup_ratio=0.1), total_updates=1000)
AT_400 = {"epoch": 4, "consumed": 0, "update": 400, "skipped": 0}


def test_the_first_rescue_halves_the_rate_and_warms_up_again() -> None:
    rescue = RESCUER.plan(VERDICT, 700, AT_400, [])
    assert (rescue.number, rescue.from_update, rescue.to_update, rescue.to_epoch) == (1, 700, 400, 5)
    assert rescue.warmup_updates == 60  # a tenth of the 600 that are left
    assert rescue.scale(400) == pytest.approx(0.5 / 60)
    assert rescue.scale(459) == 0.5  # reached at the warm-up's last update, as in every schedule
    assert rescue.scale(999) == 0.5


def test_rescues_add_up() -> None:
    first = RESCUER.plan(VERDICT, 700, AT_400, [])
    second = RESCUER.plan(VERDICT, 800, AT_400, [asdict(first)])
    assert (second.number, second.lr_factor) == (2, 0.25)


def test_precision_changes_only_where_it_is_the_suspect_and_then_stays() -> None:
    alarm = Alarm("non_finite", "stop", 1, 0, "", cause="precision")
    suspect = replace(VERDICT, alarm=alarm)
    first = RESCUER.plan(suspect, 700, AT_400, [])
    assert first.precision == "fp32"
    assert RESCUER.plan(VERDICT, 700, AT_400, []).precision is None
    assert RESCUER.plan(VERDICT, 700, AT_400, [asdict(first)]).precision == "fp32"


def test_a_checkpoint_is_trusted_once() -> None:
    first = asdict(RESCUER.plan(VERDICT, 700, AT_400, []))
    assert not Rescuer.wants_first(AT_400, [])
    assert Rescuer.wants_first(AT_400, [first])  # it failed again, and nothing healthy since
    assert not Rescuer.wants_first({**AT_400, "update": 500}, [first])
    assert Rescuer.wants_first(None, [])
