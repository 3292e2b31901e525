"""What each of two processes runs in ``test_two_processes_equal_one``."""

from __future__ import annotations

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

import torch
from engine_kit import Recorder, Setup, ToySplit


def run(setup: Setup, *observers: object) -> object:
    trainer = setup.trainer(*observers, devices=2)
    loader = setup.loader(trainer.fabric.global_rank, 2)
    trainer.fit(loader, ToySplit(15, 1))
    return trainer


def main(folder: Path) -> None:
    torch.set_num_threads(1)
    for samples in (33, 37):
        for penalty in (0.0, 0.3):
            setup = Setup(precision="fp64", dropout=0.0, epochs=2, batch_size=2, accumulation=2, samples=samples)
            setup.penalty = penalty
            trainer = run(setup)
            if trainer.fabric.global_rank == 0:
                losses = [epoch["train_loss"] for epoch in trainer.history.epochs]
                torch.save({"model": trainer.module.state_dict(), "losses": losses}, folder / f"{samples}-{penalty}.pt")
    setup = Setup(folder=folder / "whole", batch_size=2, accumulation=2, samples=33, epochs=2, checkpoint_updates=2)
    whole = run(setup)
    setup.folder = folder / "resumed"
    with suppress(KeyboardInterrupt):
        run(setup, Recorder(fail_at=7))
    resumed = run(setup)
    if whole.fabric.global_rank == 0:
        torch.save(whole.module.state_dict(), folder / "whole.pt")
        torch.save(resumed.module.state_dict(), folder / "resumed.pt")
    leave_together(folder, whole.fabric.global_rank)


def leave_together(folder: Path, rank: int) -> None:
    """Without gloo's teardown: a process that closes its connections first can leave the other waiting, or abort it."""
    (folder / f"done-{rank}").touch()
    while len(list(folder.glob("done-*"))) < 2:
        time.sleep(0.01)
    os._exit(0)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
