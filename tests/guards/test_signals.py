"""Signals: noted while training, raised outside of it, and left to whoever had a handler before."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pytest

from counterpoise.errors import PreemptedError
from counterpoise.events import Decision
from counterpoise.guards.signals import EXIT_AT_ONCE, SignalGuard

ENDING = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1]


@pytest.fixture(autouse=True)
def handlers() -> Iterator[None]:
    """Those of before, whatever a test does."""
    before = {number: signal.getsignal(number) for number in (*ENDING, signal.SIGUSR2)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def send(number: signal.Signals) -> None:
    os.kill(os.getpid(), number)


@pytest.mark.parametrize("number", ENDING)
def test_while_training_a_signal_is_a_verdict(number: signal.Signals) -> None:
    guard = SignalGuard()
    with guard.listening():
        with guard.deferring():
            guard.obey()
            assert guard.between_updates().decision == Decision.CONTINUE
            send(number)
            verdict = guard.between_updates()
            assert verdict.decision == Decision.PREEMPT
            assert verdict.reason == f"{number.name} was received"
        with pytest.raises(PreemptedError, match=number.name):
            guard.obey()


@pytest.mark.parametrize("number", ENDING)
def test_outside_of_training_it_ends_the_run_at_once(number: signal.Signals) -> None:
    with SignalGuard().listening(), pytest.raises(PreemptedError):  # noqa: PT012
        send(number)
        pytest.fail("it came through")


def test_handlers_are_given_back() -> None:
    before = [signal.getsignal(number) for number in (*ENDING, signal.SIGUSR2)]
    with SignalGuard().listening():
        assert signal.getsignal(signal.SIGTERM) not in before
    assert [signal.getsignal(number) for number in (*ENDING, signal.SIGUSR2)] == before


# submitit ignores SIGTERM and requeues on SIGUSR2: the first stays its own, the second waits until all is saved.
def test_somebody_elses_handlers() -> None:
    calls: list[str] = []

    def bypass(number: int, frame: FrameType | None) -> None:
        calls.append("bypassed")

    def requeue(number: int, frame: FrameType | None) -> None:
        calls.append("requeued")
        raise SystemExit(-1)

    signal.signal(signal.SIGTERM, bypass)
    signal.signal(signal.SIGUSR2, requeue)
    guard = SignalGuard()
    with guard.listening():
        with guard.deferring():
            send(signal.SIGTERM)
            assert calls == ["bypassed"]
            assert guard.between_updates().decision == Decision.CONTINUE
            send(signal.SIGUSR2)
            assert calls == ["bypassed"]
            assert guard.between_updates().decision == Decision.PREEMPT
            calls.append("saved")
        with pytest.raises(SystemExit):
            guard.obey()
    assert calls == ["bypassed", "saved", "requeued"]


def test_usr2_is_nobodys_business_without_a_handler() -> None:
    before = signal.getsignal(signal.SIGUSR2)
    with SignalGuard().listening():
        assert signal.getsignal(signal.SIGUSR2) == before


def test_a_thread_cannot_listen_and_says_nothing() -> None:
    failures: list[BaseException] = []

    def work() -> None:
        try:
            with SignalGuard().listening(), SignalGuard().deferring():
                pass
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert failures == []


SCRIPT = """
import os, signal, sys, time
from counterpoise.guards.signals import SignalGuard
guard = SignalGuard()
with guard.listening(), guard.deferring():
    os.kill(os.getpid(), signal.SIGINT)
    assert guard.received
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(9)
    print("still here")
"""


def test_a_second_sigint_exits_at_once(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=30, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (EXIT_AT_ONCE, "", "")
