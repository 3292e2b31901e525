"""What could not be written waits under its name, is told once, and ends a run only when nobody repairs the disk."""

from __future__ import annotations

import errno
import logging
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from counterpoise import storage as module
from counterpoise.errors import Problem, StorageError
from counterpoise.storage import Storage


class Thing:
    """Something to write, which a disk refuses ``failures`` times."""

    def __init__(self, failures: int, code: int = errno.ENOSPC) -> None:
        self.failures, self.code, self.written = failures, code, 0

    def __call__(self) -> None:
        if self.failures > 0:
            self.failures -= 1
            raise OSError(self.code, os.strerror(self.code))
        self.written += 1


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds that were slept; nobody waits for them."""
    slept: list[float] = []
    monkeypatch.setattr(module.time, "monotonic", lambda: sum(slept))
    monkeypatch.setattr(module.time, "sleep", slept.append)
    return slept


@pytest.fixture
def told(caplog: pytest.LogCaptureFixture) -> Callable[[], list[str]]:
    caplog.set_level(logging.WARNING)
    return lambda: [record.getMessage() for record in caplog.records]


def test_what_works_is_not_spoken_of(tmp_path: Path, told: Callable[[], list[str]]) -> None:
    storage, thing = Storage(tmp_path), Thing(0)
    assert storage.attempt("a", tmp_path, thing)
    storage.settle()
    assert (thing.written, told(), storage.waiting) == (1, [], [])


def test_one_fault_is_told_once_and_its_end_once(tmp_path: Path, told: Callable[[], list[str]]) -> None:
    storage, thing, other = Storage(tmp_path), Thing(3), Thing(2)
    while not (storage.attempt("a", tmp_path / "a", thing) & storage.attempt("b", tmp_path / "b", other)):
        pass
    first, second, last = told()
    assert first.startswith(f"a could not be written to {tmp_path / 'a'}: No space left on device. Free some space")
    assert second == f"b could not be written to {tmp_path / 'b'} either: No space left on device."
    assert last == "Writing works again: nothing waits any longer."
    storage.attempt("a", tmp_path / "a", Thing(1))
    assert told()[3] == first, "a new fault is told anew"


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (errno.ENOSPC, "Free some space"),
        (errno.EACCES, "chmod"),
        (errno.EROFS, "writable again"),
        (errno.EIO, "Check the disk"),
        (errno.EFBIG, "ulimit"),
    ],
)
def test_each_cause_has_its_remedy(code: int, remedy: str, tmp_path: Path, told: Callable[[], list[str]]) -> None:
    Storage(tmp_path).attempt("a", tmp_path, Thing(1, code))
    assert remedy in told()[0]


def test_the_end_waits_until_the_disk_is_repaired(
    tmp_path: Path, clock: list[float], told: Callable[[], list[str]]
) -> None:
    storage, thing = Storage(tmp_path, wait=300.0), Thing(5)
    storage.attempt("a", tmp_path, thing)
    storage.settle()
    assert thing.written == 1
    assert clock == [module.POLL] * 4
    assert sum("Training has ended" in line for line in told()) == 1
    assert "Free some space there within 300 seconds" in told()[1]


def test_the_end_does_not_wait_for_ever(tmp_path: Path, clock: list[float]) -> None:
    storage = Storage(tmp_path, wait=12.0)
    storage.whole = "The checkpoint of update 7 is whole."
    storage.attempt("a", tmp_path / "a", Thing(99))
    storage.attempt("b", tmp_path / "b", Thing(99, errno.EIO))
    with pytest.raises(StorageError) as caught:
        storage.settle()
    assert sum(clock) == 12.0
    message = str(caught.value)
    assert "could not be written: a, b (No space left on device, Input/output error)" in message
    assert f"resume={tmp_path}" in message
    assert message.endswith("The checkpoint of update 7 is whole.")


def test_without_a_wait_everything_is_tried_once(tmp_path: Path, clock: list[float]) -> None:
    storage, thing = Storage(tmp_path, wait=0.0), Thing(1)
    storage.attempt("a", tmp_path, thing)
    storage.settle()
    assert (thing.written, clock) == (1, [])
    with pytest.raises(StorageError):
        storage.insist("a", tmp_path, Thing(2))


def test_a_newer_attempt_replaces_what_waits_under_its_name(tmp_path: Path) -> None:
    storage, old, new = Storage(tmp_path), Thing(1), Thing(1)
    storage.attempt("a", tmp_path, old)
    storage.attempt("a", tmp_path, new)
    storage.settle()
    assert (old.written, new.written) == (0, 1)


def test_what_is_not_required_ends_nothing(tmp_path: Path, told: Callable[[], list[str]]) -> None:
    storage, thing = Storage(tmp_path, wait=0.0), Thing(99)
    assert not storage.attempt("a", tmp_path, thing, required=False)
    storage.settle()
    assert storage.waiting == []
    assert len(told()) == 1


def test_other_errors_are_the_callers(tmp_path: Path) -> None:
    def fault() -> None:
        raise ValueError("a fault of ours")

    with pytest.raises(ValueError, match="a fault of ours"):
        Storage(tmp_path).attempt("a", tmp_path, fault)


def test_the_error_survives_a_launchers_pickle() -> None:
    error = StorageError(Problem("here", "could not be written.", "Free some space."))
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error) == "here: could not be written. Free some space."
    assert again.exit_code == 1
