"""What every test relies on: one thread, so that figures do not depend on the machine, and no network."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import pytest


@pytest.fixture(autouse=True, scope="session")
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _paths_of_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command keeps the current folder off the paths of what it starts; scripts of later tests find their own."""
    monkeypatch.setenv("PYTHONSAFEPATH", "")  # so that it is brought back, whatever the test does


@pytest.fixture(scope="session")
def branch_runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small table and the finished runs ``text`` and ``graph``; to be copied, not changed."""
    from cli.cli_command import call, write_table
    from counterpoise.data.encode import graphs
    from fusion_kit import chains, make_branches

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "make_graphs", chains)
        folder = write_table(tmp_path_factory.mktemp("branches") / "runs")
        return make_branches(folder, lambda where, *arguments: call(where, arguments, lambda: ("", "")))


@pytest.fixture
def chained_words() -> Iterator[None]:
    """Graphs are made in a moment: each text's words as a chain."""
    from counterpoise.data.encode import graphs
    from fusion_kit import chains

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graphs, "make_graphs", chains)
        yield
