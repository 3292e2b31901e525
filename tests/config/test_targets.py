"""``_target_`` may name this package and listed extensions, and only what fits the group."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from counterpoise.config.targets import BASES, Component, resolve_component, resolve_target
from counterpoise.errors import Problem, UserError


def refusal(group: str, target: object, extensions: tuple[str, ...] = (), **values: object) -> str:
    problems: list[Problem] = []
    assert resolve_component(group, {"_target_": target, **values}, extensions, problems) is None
    (problem,) = problems
    assert problem.where.startswith(group)
    return str(problem)


@pytest.mark.parametrize(
    "target",
    ["os.system", "subprocess.Popen", "builtins.eval", "builtins.__import__", "torch.optim.SGD", "counterpoise_x.Y"],
)
def test_nothing_else_is_imported(target: str) -> None:
    assert "may not be constructed: only counterpoise.* may" in refusal("tracker", target)


def test_modules_of_the_standard_library_are_not_recommended_as_extensions() -> None:
    assert "extensions" not in refusal("tracker", "os.system")
    assert "'extensions=[mine]'" in refusal("tracker", "mine.Tracker")


@pytest.mark.parametrize(
    "target",
    [
        "counterpoise.cli.train.os.system",
        "counterpoise.cli.train.os",
        "counterpoise.cli.train.Path",
        "counterpoise.jsonio.write_json",
        "counterpoise.data.sources.table.Path",
        "counterpoise.losses.CrossEntropy",  # a component, but of another group
        "counterpoise.tracking.base",
    ],
)
def test_no_way_around_through_this_package(target: str) -> None:
    assert "cannot be imported" in (said := refusal("tracker", target)) or "is no Tracker" in said


@pytest.mark.parametrize("target", [None, 3, "", "nodots", "a..b", ".a.b", "counterpoise.", "a b.c", ["x.y"], "x.y()"])
def test_a_target_must_be_a_dotted_name(target: object) -> None:
    assert "expected the dotted name of a class" in refusal("tracker", target)


def test_a_misspelt_class_is_told_with_the_nearest() -> None:
    assert "Did you mean 'TensorBoard'?" in refusal("tracker", "counterpoise.tracking.tensorboard.TensorBord")


@pytest.fixture
def user_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.startswith("my_")]:
        monkeypatch.delitem(sys.modules, name)
    return tmp_path


GOOD = """
from dataclasses import dataclass
from counterpoise.tracking.base import Tracker

@dataclass(frozen=True, kw_only=True)
class MineConfig:
    port: int = 1

class Mine(Tracker):
    Config = MineConfig

class Bare(Tracker):
    pass
"""


def test_a_users_own_module_is_admitted_by_name(user_module: Path) -> None:
    (user_module / "my_good.py").write_text(GOOD)
    assert "may not be constructed" in refusal("tracker", "my_good.Mine")
    problems: list[Problem] = []
    component = resolve_component("tracker", {"_target_": "my_good.Mine", "port": 7}, ["my_good"], problems)
    assert isinstance(component, Component)
    assert not problems
    assert component.build(user_module).config.port == 7
    assert "needs a dataclass named Config" in refusal("tracker", "my_good.Bare", ("my_good",))
    assert "tracker.prot: unknown key. Did you mean 'port'?" in refusal("tracker", "my_good.Mine", ("my_good",), prot=1)


LACKING = """
from dataclasses import dataclass
import torch
from counterpoise.data.encode.base import Encoding
from counterpoise.data.sources.base import Source
from counterpoise.losses import Loss
from counterpoise.models.base import Model
from counterpoise.optim.schedules import Schedule

@dataclass(frozen=True, kw_only=True)
class Empty:
    lr: float = 1.0

class MyModel(Model):
    Config = Empty
class MyEncoding(Encoding):
    Config = Empty
class MySource(Source):
    Config = Empty
    def load(self): ...
class MySchedule(Schedule):
    Config = Empty
class MyOptimizer(torch.optim.SGD):
    Config = Empty
class MyLoss(Loss):
    Config = Empty
"""


@pytest.mark.parametrize(
    ("group", "name", "lacks"),
    [
        ("model", "MyModel", ["needs a string named 'encoding'"]),
        ("encoding", "MyEncoding", ["needs a string named 'kind'", "does not define encode()"]),
        ("data", "MySource", ["needs a Config that inherits from SourceConfig, but Empty does not"]),
        ("scheduler", "MySchedule", ["needs a Config that inherits from ScheduleConfig, but Empty does not"]),
        (
            "optimizer",
            "MyOptimizer",
            ["needs a field 'scaling' in its Config", "needs a field 'base_batch' in its Config"],
        ),
        ("loss", "MyLoss", ["does not define"]),
    ],
)
def test_a_users_component_is_told_all_that_it_lacks(
    user_module: Path, group: str, name: str, lacks: list[str]
) -> None:
    (user_module / "my_lacking.py").write_text(LACKING)
    problems: list[Problem] = []
    assert resolve_component(group, {"_target_": f"my_lacking.{name}"}, ["my_lacking"], problems) is None
    assert [problem.where for problem in problems] == [f"{group}._target_"] * len(lacks)
    for problem, lack in zip(problems, lacks, strict=True):
        assert problem.message.startswith(f"{name} {lack}")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("1 / 0", "fails while it is imported: ZeroDivisionError: division by zero"),
        ("import sys; sys.exit(3)", "fails while it is imported: SystemExit: 3"),
        ("def f(:", "fails while it is imported: SyntaxError"),
        ("import os; os.nothing", "fails while it is imported"),
        ("import nothing_like_it", "cannot be imported: No module named 'nothing_like_it'"),
        ("def __getattr__(name): raise RuntimeError(name)", "fails while it is imported: RuntimeError"),
    ],
)
def test_a_users_module_may_fail_in_any_way(user_module: Path, content: str, said: str) -> None:
    (user_module / "my_bad.py").write_text(content)
    assert said in refusal("tracker", "my_bad.Mine", ("my_bad",))


@pytest.mark.parametrize("group", BASES)
def test_a_group_must_hold_a_component(group: str) -> None:
    for node in (None, 3, "x", []):
        problems: list[Problem] = []
        assert resolve_component(group, node, (), problems) is None
        assert problems[0].where == group


def test_a_refused_target_is_an_error_when_it_is_asked_for_alone() -> None:
    with pytest.raises(UserError, match=r"os\.system may not be constructed"):
        resolve_target("x", "os.system", ())
