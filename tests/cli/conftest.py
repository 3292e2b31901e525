"""The training command in a shared or a fresh folder that holds a small table."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import finished_runs
import interrupted_run
import pytest
from cli_command import Answer, call, write_table


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a space in its name that holds the table and collects what the runs leave."""
    return write_table(tmp_path_factory.mktemp("cli") / "a folder")


@pytest.fixture(scope="session")
def interrupted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See ``interrupted_run``; to be copied, not changed."""
    return interrupted_run.make(tmp_path_factory.mktemp("interrupted") / "base")


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """See ``finished_runs``; the runs are to be copied, not changed."""
    return finished_runs.make(tmp_path_factory.mktemp("finished") / "runs")


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """Such a folder for one test alone, some levels down: what is written to ``../..`` stays in it."""
    return write_table(tmp_path / "a" / "b" / "c")


@pytest.fixture
def train(workplace: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., Answer]:
    """Call the command; ``folder=`` names another working directory than the shared one."""
    return lambda *arguments, folder=workplace: call(folder, arguments, lambda: tuple(capfd.readouterr()))


@pytest.fixture(scope="module")
def quiet() -> Callable[..., Answer]:
    """The same for runs that are shared by a module's tests; it does not keep what they print."""
    return lambda folder, *arguments: call(folder, arguments, lambda: ("", ""))
