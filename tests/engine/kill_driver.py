"""Runs that kill themselves, each in a process of its own: ``kill_driver.py <folder> <setup as JSON> <case> ...``.

Case ``name/update:N`` works in the folder of that name and sends SIGKILL to itself after update N was told,
``writing:N`` in the middle of the Nth file of state, ``rename:N`` before the Nth renaming of a checkpoint folder;
``none:0`` runs to the end and leaves ``final.pt``. Prints how each ended.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from engine_kit import Recorder, Setup, final_state

from counterpoise.engine import checkpoints


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killer(Recorder):
    def on_update(self, event: Any) -> None:
        if event.update == self.fail_at:
            die()


def kill_while_writing(at: int) -> None:
    real, calls = torch.save, iter(range(1, 10_000))

    def save(value: Any, sink: Any) -> None:
        real(value, sink)
        if next(calls) == at:
            sink.file.truncate(sink.file.tell() // 2)  # half of it is there
            die()

    checkpoints.torch.save = save


def kill_before_rename(at: int) -> None:
    real, calls = Path.rename, iter(range(1, 10_000))

    def rename(self: Path, target: Any) -> Path:
        if self.parent.name == "checkpoints" and next(calls) == at:
            die()
        return real(self, target)

    Path.rename = rename  # type: ignore[method-assign]


def run(folder: Path, setup: Setup, kind: str, at: int) -> None:
    if kind == "writing":
        kill_while_writing(at)
    if kind == "rename":
        kill_before_rename(at)
    trainer = setup.fit(Killer(at if kind == "update" else None))
    torch.save({"state": final_state(trainer), "trace": trainer.module.trace}, folder / "final.pt")


def main(folder: Path, changes: dict[str, Any], cases: list[str]) -> None:
    torch.set_num_threads(1)
    for case in cases:
        name, kind, at = re.split("[/:]", case)
        home = folder / name
        home.mkdir(exist_ok=True)
        setup = Setup(folder=home / "checkpoints", **changes)
        child = os.fork()  # importing torch anew for each would take most of the time
        if child == 0:
            try:
                run(home, setup, kind, int(at))
            except BaseException:
                traceback.print_exc()
                os._exit(1)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        sys.stdout.write(f"{case} {os.waitstatus_to_exitcode(status)}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main(Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3:])
