"""Memory that cannot be had, outside of training: one message and exit code 1, and nothing is called damaged."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import torch
from torch import nn

from counterpoise.allocation import as_out_of_memory, is_out_of_memory, said
from counterpoise.cli.exits import EXIT_FAULT, attempt
from counterpoise.engine.checkpoints import CheckpointStore
from counterpoise.errors import MORE_MEMORY, OutOfMemoryError

CPU = RuntimeError("[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: no")


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOMEM, "Cannot allocate memory"), CPU])
def test_a_command_says_so_without_a_traceback(error: Exception, capsys: pytest.CaptureFixture[str]) -> None:
    def action() -> int:
        raise error

    assert attempt(action) == EXIT_FAULT
    shown = capsys.readouterr().err
    assert shown.startswith("Out of memory: ")
    assert MORE_MEMORY in shown
    assert len(shown.splitlines()) == 1


def test_what_is_done_stands_in_the_message() -> None:
    expected = r"^Out of memory in reading: can't allocate memory: no\. Use fewer"
    with pytest.raises(OutOfMemoryError, match=expected), as_out_of_memory("reading"):
        raise CPU
    with pytest.raises(KeyError), as_out_of_memory("reading"):
        raise KeyError("another error")


def test_it_is_said_once() -> None:
    assert not is_out_of_memory(OutOfMemoryError("training", "full"))
    assert said(RuntimeError("one\ntwo")) == "one"


def test_a_checkpoint_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = CheckpointStore(tmp_path)
    store.save_last(nn.Linear(2, 2), {"a": torch.zeros(1)}, {"update": 1})
    newest = store.newest()
    assert newest is not None

    def full(*_: object, **__: object) -> None:
        raise CPU

    monkeypatch.setattr("counterpoise.engine.checkpoints.load_model", full)
    monkeypatch.setattr(torch, "load", full)
    for load in (lambda: newest.load_model(nn.Linear(2, 2)), newest.load_state):
        with pytest.raises(RuntimeError, match="can't allocate memory"):
            load()
