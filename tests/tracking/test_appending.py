"""Nothing is lost, doubled or out of order, however a disk fails; a log never raises."""

from __future__ import annotations

import errno
import io
import logging
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterpoise.storage import Storage
from counterpoise.tracking import appending
from counterpoise.tracking.appending import AppendedFile, LogFile


class Torn(io.FileIO):
    """Takes as many bytes as the plan says, then raises; ``None`` takes all."""

    plan: list[int | None]

    def write(self, data: Any) -> int:
        taken = self.plan.pop(0) if self.plan else None
        if taken is None:
            return super().write(data)
        super().write(bytes(data)[:taken])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@given(st.lists(st.binary(min_size=1, max_size=9), max_size=12), st.lists(st.none() | st.integers(0, 20), max_size=12))
def test_the_file_ends_whole_and_in_order(
    tmp_path_factory: pytest.TempPathFactory, records: list[bytes], plan: list[int | None]
) -> None:
    path = tmp_path_factory.mktemp("a") / "file"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(appending, "FileIO", type("Planned", (Torn,), {"plan": list(plan)}))
        file = AppendedFile(path)
        file.begin(b"start\n")
        for record in records:
            file.add(record)
            with suppress(OSError):
                file.flush()
    for _ in plan:  # whatever is left of it
        with suppress(OSError):
            file.flush()
    file.flush()
    file.close()
    assert path.read_bytes() == b"start\n" + b"".join(records)


def test_a_file_that_was_there_is_continued(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"before\n")
    file = AppendedFile(tmp_path / "file")
    file.add(b"after\n")
    file.flush()
    file.close()
    assert (tmp_path / "file").read_bytes() == b"before\nafter\n"


def test_the_log_takes_everything_from_info_on(tmp_path: Path) -> None:
    root = logging.getLogger()
    level = root.level
    try:
        with LogFile(tmp_path / "training.log", Storage(tmp_path)) as handler:
            logging.getLogger("x").info("told ü")
            logging.getLogger("x").debug("not told")
    finally:
        root.setLevel(level)
    assert handler not in root.handlers
    assert "INFO    x: told ü" in (content := (tmp_path / "training.log").read_text(encoding="utf-8"))
    assert "not told" not in content


def test_a_log_on_a_failing_disk_says_so_elsewhere_and_keeps_its_lines(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    storage = Storage(tmp_path, wait=0.0)
    with LogFile(tmp_path / "gone" / "training.log", storage) as handler:
        logging.getLogger("x").warning("one")
        handler.handle(logging.LogRecord("x", logging.INFO, "", 0, "%d", ("not a number",), None))
        assert storage.waiting == ["training.log"]
        (tmp_path / "gone").mkdir()
        logging.getLogger("x").warning("two")
    assert storage.waiting == []
    told = [record.getMessage() for record in caplog.records if record.name.startswith("counterpoise")]
    assert told[0].startswith("training.log could not be written")
    lines = (tmp_path / "gone" / "training.log").read_text().splitlines()
    assert [line.rsplit(": ", 1)[1] for line in lines if " x: " in line] == ["one", "two"]
    assert any("could not be formatted" in line for line in lines)
    assert any("training.log could not be written" in line for line in lines)
    assert "Logging error" not in capfd.readouterr().err
