"""A tracker in a process of its own: it is told everything, and whatever it does, the run goes on at once."""

from __future__ import annotations

import math
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tracker_kit import (
    RESULT,
    Failing,
    Recording,
    alive,
    epoch,
    plan,
    raising,
    relayed,
    seen,
    told,
    until,
    update,
    warned,
    within,
)

from counterpoise.config.targets import Component
from counterpoise.errors import PreemptedError, UserError
from counterpoise.tracking import relay
from counterpoise.tracking.base import Tracker
from counterpoise.tracking.relay import Trackers, check_available
from counterpoise.tracking.tensorboard import TensorBoard, TensorBoardConfig


def test_everything_is_told_in_order_and_as_it_was(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with relayed(tmp_path) as trackers:
        trackers.on_start(plan())
        trackers.on_update(update(1, math.nan, predicted=(3, 5)))
        trackers.on_update(update(2, math.inf))
        trackers.on_epoch(epoch(0, 2))
        trackers.on_result(RESULT)
    start, first, second, *rest = seen(tmp_path)
    assert start == ("start", 0, 0)
    assert math.isnan(first[1].loss)
    assert first[1].predicted == (3, 5)
    assert second[1] == update(2, math.inf)
    assert rest == [("epoch", 0), ("result", "finished"), ("end", "finished")]
    assert not warned(caplog)


def test_a_plan_is_told_as_it_was_then(tmp_path: Path) -> None:
    history: list[object] = []
    with relayed(tmp_path) as trackers:
        trackers.on_start(plan(history=history))
        history.append("later")
    assert seen(tmp_path)[0] == ("start", 0, 0)


def test_a_run_that_collapsed_has_failed_though_it_has_a_result(tmp_path: Path) -> None:
    with relayed(tmp_path) as trackers:
        trackers.on_result(RESULT | {"status": "collapsed"})
    assert seen(tmp_path) == [("result", "collapsed"), ("end", "failed")]


def test_no_process_starts_before_there_is_something_to_tell(tmp_path: Path) -> None:
    with relayed(tmp_path):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("error", "status"), [(ValueError, "failed"), (PreemptedError, "preempted"), (SystemExit, "preempted")]
)
def test_a_tracker_learns_how_the_run_ended(tmp_path: Path, error: type[BaseException], status: str) -> None:
    with pytest.raises(error):
        raising(relayed(tmp_path), error("x"))
    assert seen(tmp_path)[-1] == ("end", status)


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("raise", "ConnectionError: nobody there"),
        ("crash", "its process ended with exit code 3"),
        ("abort", "its process ended with exit code -6"),
        ("refuse", "SystemExit: not today"),
    ],
)
def test_one_that_fails_is_dropped_with_one_warning(
    how: str, reason: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with relayed(tmp_path / "bad", Failing, how=how) as bad, relayed(tmp_path / "good") as good, within(10):
        for trackers in (bad, good):
            told(trackers)
    assert warned(caplog) == [f"Tracker kit is dropped: {reason}. The run goes on without it."]
    assert len(seen(tmp_path / "good")) == 8
    if how == "raise":
        assert len(seen(tmp_path / "bad")) == 3
        assert 'raise ConnectionError("nobody\\nthere.")' in caplog.text


def test_one_that_is_silent_is_dropped_and_killed(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with relayed(tmp_path, Failing, how="hang", timeout=1.0) as trackers, within(10):
        told(trackers)
        until(lambda: warned(caplog))
        trackers.on_update(update(5))
    assert warned(caplog) == [
        "Tracker kit is dropped: it did not answer for 1 seconds (tracker.kit.timeout). The run goes on without it."
    ]
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_quiet_run_is_no_silent_tracker(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with relayed(tmp_path, timeout=1.0) as trackers:
        trackers.on_start(plan())
        time.sleep(2.5)
        trackers.on_result(RESULT)
    assert seen(tmp_path)[-1] == ("end", "finished")
    assert not warned(caplog)


def test_the_end_of_a_run_waits_so_long_and_no_longer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with relayed(tmp_path, Failing, how="end", wait=2.0) as trackers, within(6):
        told(trackers)
    assert warned(caplog) == [
        "Tracker kit is dropped: it had not sent everything in time (tracker.kit.wait). The run goes on without it."
    ]
    assert not alive(int((tmp_path / "pid").read_text()))


def test_a_preempted_run_waits_less(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay, "PREEMPTED_WAIT", 1.5)
    with pytest.raises(PreemptedError), within(5):
        raising(relayed(tmp_path, Failing, how="end"), PreemptedError("SIGTERM"))


# Libraries leave threads and exit hooks behind that wait for a server.
def test_what_hangs_at_exit_holds_nothing_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with within(8), relayed(tmp_path, Failing, how="exit") as trackers:
        told(trackers)
    assert seen(tmp_path)[-1] == ("end", "finished")
    assert not warned(caplog)


def test_an_interrupted_wait_leaves_no_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trackers = relayed(tmp_path, Failing, how="end")

    def interrupted(deadline: float) -> None:
        until(lambda: seen(tmp_path))
        raise KeyboardInterrupt

    monkeypatch.setattr(trackers.relays[0], "wait", interrupted)
    told(trackers)
    with pytest.raises(KeyboardInterrupt):
        trackers.close("finished", 60.0)
    assert not alive(int((tmp_path / "pid").read_text()))


def test_training_never_waits_for_a_pipe_that_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(relay, "LONGEST_QUEUE", 500)
    trackers = relayed(tmp_path)
    with trackers:
        trackers.on_start(plan())
        until(lambda: seen(tmp_path))
        os.kill(int((tmp_path / "pid").read_text()), signal.SIGSTOP)
        seconds = []
        for number in range(2000):
            started = time.perf_counter()
            trackers.on_update(update(number, predicted=(1,) * 100))
            seconds.append(time.perf_counter() - started)
    assert warned(caplog) == ["Tracker kit is dropped: it is 500 events behind. The run goes on without it."]
    assert statistics.median(seconds) < 2e-4
    assert sorted(seconds)[-2] < 0.2, "one ends the process; the others wait for nothing"


def test_what_libraries_print_goes_to_the_log_and_what_the_package_warns_of_to_the_user(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with relayed(tmp_path, Failing, how="print") as trackers:
        trackers.on_start(plan())
        trackers.on_update(update(1))
        trackers.on_result(RESULT)
    assert warned(caplog) == ["mind the gap"]
    assert "Tracker kit: half a line" in caplog.text
    assert "from below" in caplog.text
    assert seen(tmp_path)[-1] == ("end", "finished")


def test_what_a_library_prints_is_bounded_and_without_passwords(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    with relayed(tmp_path, Failing, how="chat") as trackers:
        told(trackers)
    assert not warned(caplog)
    assert seen(tmp_path)[-1] == ("end", "finished")
    assert "no answer" in caplog.text
    assert "Tracker kit: http://...@host" in caplog.text
    assert len(caplog.records) == relay.MOST_LINES + 1
    assert "more than 1000 lines" in caplog.text


def test_chatter_is_no_answer(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with relayed(tmp_path, Failing, how="chatter", timeout=1.0) as trackers, within(10):
        told(trackers)
        until(lambda: warned(caplog))
    assert "it did not answer for 1 seconds" in warned(caplog)[0]


@pytest.mark.filterwarnings("error::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("what", ["start", "_next", "_hear"])
def test_whatever_goes_wrong_in_its_threads_drops_the_tracker(
    what: str, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(*(threading.Thread if what == "start" else relay.Relay, what, refuse))
    with relayed(tmp_path) as trackers, within(10):
        told(trackers)
    (line,) = warned(caplog)
    assert line.startswith("Tracker kit is dropped: ")
    assert line.endswith("can't start new thread. The run goes on without it.")


def test_a_module_of_the_current_folder_is_not_taken_for_the_librarys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(7)")
    monkeypatch.chdir(tmp_path)
    with relayed(tmp_path / "run") as trackers:
        told(trackers)
    assert not warned(caplog)


RUN = """
import sys, time
from pathlib import Path
from tracker_kit import Failing, plan, relayed, update
trackers = relayed(Path(sys.argv[1]), Failing, how=sys.argv[2], wait=1.0)
trackers.on_start(plan())
for number in (1, 2, 3):
    trackers.on_update(update(number))
time.sleep(600)
"""


@pytest.mark.parametrize("how", ["", "hang"])
def test_a_run_that_is_killed_leaves_no_process_behind(how: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = subprocess.Popen([sys.executable, "-c", RUN, str(tmp_path), how], env=environment)
    until(lambda: len(seen(tmp_path)) >= 3)
    running.kill()
    running.wait()
    pid = int((tmp_path / "pid").read_text())
    with within(5):
        until(lambda: not alive(pid))
    if not how:
        assert seen(tmp_path)[-1] == ("end", "killed")


# The terminal sends Ctrl-C to everything in its foreground; a cluster sends SIGTERM to everything that is a job's.
def test_a_signal_to_everything_that_belongs_to_the_run_is_for_the_run(tmp_path: Path) -> None:
    with relayed(tmp_path) as trackers:
        trackers.on_start(plan())
        until(lambda: seen(tmp_path))
        pid = int((tmp_path / "pid").read_text())
        assert os.getpgid(pid) != os.getpgid(0)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
            os.kill(pid, number)
        trackers.on_result(RESULT)
    assert seen(tmp_path)[-1] == ("end", "finished")


def test_a_package_that_is_not_installed_is_told_before_training(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    chosen = {"tensorboard": Component(TensorBoard, TensorBoardConfig()), "kit": Component(Recording, None)}
    with pytest.raises(UserError, match=r'^tracker\.tensorboard: .*pip install -c constraints\.txt -e "\.\[tensorb'):
        check_available(chosen)
    monkeypatch.undo()
    check_available(chosen)


def test_a_trackers_own_config_need_not_say_how_long_it_is_borne_with(tmp_path: Path) -> None:
    from dataclasses import make_dataclass

    class Plain(Tracker):
        Config = make_dataclass("Plain", [])

    assert Trackers({"plain": Component(Plain, Plain.Config())}, tmp_path).relays[0].limits.wait == 30.0
