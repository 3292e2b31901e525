"""Real kills of a real process, at updates, in the middle of a checkpoint's file, and between its renamings."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from engine_kit import assert_same_bits

DRIVER = Path(__file__).with_name("kill_driver.py")


def drive(folder: Path, setup: dict[str, Any], cases: list[str]) -> list[int]:
    command = [sys.executable, str(DRIVER), str(folder), json.dumps(setup), *cases]
    done = subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    exits = [int(line.split()[1]) for line in done.stdout.splitlines()]
    assert set(exits) <= {0, -signal.SIGKILL}, done.stderr[-3000:]
    return exits


@pytest.mark.parametrize(
    "setup",
    [
        {"checkpoint_updates": 2},
        {"checkpoint_updates": 1, "accumulation": 2, "schedule": "plateau", "prefetch": 2, "weighted": True},
    ],
)
def test_a_killed_run_ends_with_the_same_bits(setup: dict[str, Any], tmp_path: Path) -> None:
    rng = random.Random(7)
    total = 30 // setup.get("accumulation", 1)
    # Saves are counted anew in each process, so these are all reached; updates before the checkpoint are not.
    kills = [f"cut/{kind}:{rng.randint(1, 3)}" for kind in ("writing", "rename", "writing", "rename")]
    kills += [f"cut/update:{at}" for at in sorted(rng.randint(total // 3, total) for _ in range(5))]
    exits = drive(tmp_path, setup, ["whole/none:0", *kills, "cut/none:0"])
    assert exits[0] == exits[-1] == 0
    assert exits[1:5] == [-signal.SIGKILL] * 4
    assert exits.count(-signal.SIGKILL) >= 6
    whole, cut = (torch.load(tmp_path / name / "final.pt", weights_only=False) for name in ("whole", "cut"))
    assert_same_bits(whole["state"], cut["state"])
    folder = tmp_path / "cut" / "checkpoints"
    assert {path.name for path in folder.iterdir() if not path.name.startswith(".")} == {"last", "previous", "best"}
