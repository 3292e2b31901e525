"""A finished run, the same run cut off, what its mirror has, and the caches: what damage is done to."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cli_command import SMALL, call, write_table

from counterpoise import lr_search
from counterpoise.cli.exits import EXIT_OK
from counterpoise.engine.keeper import Keeper
from counterpoise.jsonio import read_json

COMMAND = (
    *(*SMALL, "train.epochs=2", "train.batch_size=16", "train.checkpoint_updates=2", "train.log_every=1"),
    *("guard=rescue", "optimizer.lr=auto", "lr_range_test.updates=20", "train.storage_wait=1"),
)
DONE, RUN, STORE, CACHE = "done", "run", "store", ".cache/counterpoise"
"""Folders of the finished run, of the one that was cut off, of its mirror, and of the caches."""
SAVES = 5
"""Checkpoints after which it is cut off: two of the second epoch's are not written yet."""


def without_times(value: Any) -> Any:
    if isinstance(value, dict):
        ignored = ("seconds", "samples", "mirror", "seal")
        return {key: without_times(item) for key, item in value.items() if key not in ignored}
    return [without_times(item) for item in value] if isinstance(value, list) else value


def outcome(run: Path) -> dict[str, Any]:
    """All that a finished run came to."""
    names = [f"predictions_{split}.parquet" for split in ("valid", "test")]
    names += [f"checkpoints/{name}/model.safetensors" for name in ("best", "last")]
    figures = {name: without_times(read_json(run / name)) for name in ("result.json", "training_history.json")}
    return {**figures, **{name: (run / name).read_bytes() for name in names}}


def in_a_hurry(patch: pytest.MonkeyPatch) -> None:
    """Neither pictures nor waiting for the disk."""
    patch.setattr(lr_search, "draw", lambda file, **_: file.write(b"a picture"))
    patch.setattr("os.fsync", lambda handle: None)


def make(folder: Path) -> Path:
    """Make all of it below ``folder``."""
    write_table(folder)
    original, calls = Keeper.save_last, iter(range(1, 99))

    def cut_off(self: Keeper, *given: Any, **named: Any) -> None:
        original(self, *given, **named)
        if next(calls) == SAVES:
            self.on_saved.__self__.finish()  # type: ignore[union-attr]
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        in_a_hurry(patch)
        assert call(folder, [*COMMAND, f"hydra.run.dir={DONE}"], lambda: ("", "")).code == EXIT_OK
        patch.setattr(Keeper, "save_last", cut_off)
        call(folder, [*COMMAND, f"hydra.run.dir={RUN}", f"mirror.url=file://{folder}/{STORE}"], lambda: ("", ""))
    there = {path.name for path in (folder / RUN / "checkpoints").iterdir()}
    assert there == {"last", "previous", "best", "first", "healthy"}
    assert (folder / STORE / RUN / "mirror.json").exists()
    return folder
