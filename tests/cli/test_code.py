"""No command imports what lies in the folder where it runs, or in a run folder, unless the command line names it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import CONF, ROOT, SMALL, Answer, write_table

from counterpoise.cli.evaluate import evaluate
from counterpoise.cli.exits import EXIT_OK, EXIT_USER
from counterpoise.cli.predict import predict
from counterpoise.jsonio import read_json, write_json

MARK = "ran.txt"
LURKING = (
    *("triton", "optuna", "hydra_plugins.evil", "joblib", "mlflow", "tensorboard", "multiprocessing", "pickle"),
    *("sitecustomize", "usercustomize", "peft", "kernels", "colorlog", "pandas", "cloudpickle"),
)
"""Modules that some library imports where it finds them, or that stand before Python's own."""
Train = Callable[..., Answer]


OWN = """
from dataclasses import dataclass
from counterpoise.losses import CrossEntropy
class Own(CrossEntropy):
    pass
"""


def own(*names: str) -> list[str]:
    return [*SMALL, f"extensions=[{','.join(names)}]", f"loss._target_={names[0]}.Own"]


def write_mark(module: Path, mark: Path, rest: str = "") -> None:
    module.parent.mkdir(parents=True, exist_ok=True)
    module.write_text(f"with open({str(mark)!r}, 'a') as file: file.write(__name__ + chr(10))\n{rest}")


@pytest.fixture(scope="module")
def littered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the table, a finished run, and modules with the names of others, which leave a mark."""
    folder = write_table(tmp_path_factory.mktemp("littered"))
    assert script(folder, "train", *SMALL, "hydra.run.dir=run").returncode == EXIT_OK
    (folder / "a.c").write_text("int f(int a) { return unchecked(a, 1); }\n")
    (folder / "own_of_workers.py").write_text(OWN)
    for name in LURKING:
        write_mark(folder / name.replace(".", "/") / "__init__.py", folder / MARK)
    return folder


def script(folder: Path, name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "src" / f"{name}.py"), *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


# Each in a process of its own: which modules are imported already decides what is looked for.
@pytest.mark.parametrize(
    "command",
    {
        "dry run": ("train", *SMALL, "dry_run=true"),
        "tracker": ("train", *SMALL, "hydra.run.dir=tracked", "tracker=tensorboard"),
        "launcher": ("train", "-m", *own("own_of_workers"), "hydra/launcher=joblib", "seed=1"),
        "predict": ("predict", "run=run", "input=a.c"),
        "report": ("report", "run"),
    }.items(),
    ids=lambda item: item[0],
)
def test_modules_beside_a_command_do_not_run(littered: Path, command: tuple[str, tuple[str, ...]]) -> None:
    answer = script(littered, *command[1])
    assert answer.returncode == EXIT_OK, answer.stderr
    assert not (littered / MARK).exists(), (littered / MARK).read_text()


def test_processes_that_are_started_do_not_look_beside_the_command(littered: Path) -> None:
    code = "import os, subprocess, sys, pathlib; from counterpoise.config import extensions\n"
    code += "extensions.look_in(pathlib.Path.cwd())\n"
    code += "subprocess.run([sys.executable, '-c', 'import pickle'], check=True)"
    paths = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    subprocess.run([sys.executable, "-P", "-c", code], cwd=littered, env=paths, check=True)
    assert not (littered / MARK).exists()


def test_a_named_module_beside_the_command_is_found(fresh: Path, train: Train) -> None:
    (fresh / "own_of_code.py").write_text(OWN)
    before = list(sys.path)
    answer = train(*own("own_of_code"), "hydra.run.dir=run", "hydra.job.chdir=true", f"data.path={fresh}/tiny.csv",
                   f"paths.cache={fresh}/cache", folder=fresh)  # fmt: skip
    assert answer.code == EXIT_OK, answer
    assert sys.path == before


def test_a_module_that_a_named_one_imports_needs_its_name_too(fresh: Path, train: Train) -> None:
    (fresh / "beside_of_code.py").write_text("VALUE = 1\n")
    (fresh / "own_beside.py").write_text(f"import beside_of_code\n{OWN}")
    answer = train(*own("own_beside"), "dry_run=true", folder=fresh)
    assert answer.code == EXIT_USER
    assert "If beside_of_code is a module of yours in this folder, name it in extensions too." in answer.err
    assert train(*own("own_beside", "beside_of_code"), "dry_run=true", folder=fresh).code == EXIT_OK


def test_a_package_may_import_its_own_parts_later(fresh: Path, train: Train) -> None:
    (fresh / "own_package").mkdir()  # without an __init__.py: a namespace
    (fresh / "own_package/late.py").write_text("VALUE = 1\n")
    late = "    def __init__(self, *given):\n        import own_package.late\n        super().__init__(*given)\n"
    (fresh / "own_package/losses.py").write_text(OWN.replace("    pass\n", late))
    answer = train(*own("own_package.losses"), "dry_run=true", folder=fresh)
    assert answer.code == EXIT_OK, answer


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("os", "extensions: os is a module of Python itself, which holds no component."),
        ("sys.path", "extensions: sys.path is a module of Python itself"),
        ("'../x'", "extensions: '../x' is no name of a module."),
        ("''", "extensions: '' is no name of a module."),
    ],
)
def test_names_that_no_extension_has(name: str, said: str, fresh: Path, train: Train) -> None:
    answer = train(*SMALL, f"extensions=[{name}]", "dry_run=true", folder=fresh)
    assert answer.code == EXIT_USER
    assert said in answer.err


def test_an_installed_package_comes_before_a_module_of_its_name(fresh: Path, train: Train) -> None:
    write_mark(fresh / "packaging.py", fresh / MARK, OWN)
    answer = train(*own("packaging"), "dry_run=true", folder=fresh)
    assert answer.code == EXIT_USER
    assert "The installed packaging comes before packaging.py of this folder: rename that." in answer.err
    assert not (fresh / MARK).exists()


# The run folder of somebody else.


@pytest.fixture
def theirs(fresh: Path) -> Path:
    """A folder with overrides that name a module in it."""
    folder = fresh / "theirs_of_code"
    write_mark(folder / "evil.py", fresh / MARK, OWN)
    (folder / ".hydra").mkdir()
    lines = [*SMALL, "extensions=[theirs_of_code.evil]", "loss._target_=theirs_of_code.evil.Own"]
    (folder / ".hydra/overrides.yaml").write_text("".join(f"- {line}\n" for line in lines))
    return folder


def test_a_run_of_others_is_resumed_without_its_code(theirs: Path, fresh: Path, train: Train) -> None:
    answer = train(f"resume={theirs.name}", folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.problems == [
        "resume: the run was trained with modules of your own: theirs_of_code.evil. "
        "If you trust them, add 'extensions=[theirs_of_code.evil]'."
    ]
    assert not (fresh / MARK).exists()
    assert train(f"resume={theirs.name}", "extensions=[theirs_of_code.evil]", folder=fresh).code == EXIT_OK
    assert (fresh / MARK).exists()


def test_a_mirror_of_others_is_resumed_without_its_code(fresh: Path, train: Train) -> None:
    (fresh / "mirrored_of_code.py").write_text(OWN)
    given = [*own("mirrored_of_code"), f"mirror.url=file://{fresh}/store", "hydra.run.dir=run"]
    assert train(*given, folder=fresh).code == EXIT_OK
    shutil.rmtree(fresh / "run")
    answer = train(f"resume=file://{fresh}/store/run", folder=fresh)
    assert answer.code == EXIT_USER
    assert "modules of your own: mirrored_of_code" in answer.err
    named = "extensions=[mirrored_of_code]"
    assert train(f"resume=file://{fresh}/store/run", named, folder=fresh).code == EXIT_OK


def test_no_command_takes_modules_from_a_run(
    theirs: Path, fresh: Path, train: Train, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert train(*SMALL, f"hydra.run.dir={theirs.name}", folder=fresh).code == EXIT_OK  # the same folder, without them
    saved = theirs / ".hydra/overrides.yaml"
    saved.write_text(f"{saved.read_text()}- extensions=[theirs_of_code.evil]\n")
    metadata = read_json(theirs / "training_metadata.json")
    metadata["config"]["extensions"] = ["theirs_of_code.evil"]
    metadata["config"]["loss"]["_target_"] = "theirs_of_code.evil.Own"
    write_json(theirs / "training_metadata.json", metadata)
    monkeypatch.chdir(fresh)
    (fresh / "a.c").write_text("int f();\n")
    assert predict([f"run={theirs.name}", "input=a.c"]) == EXIT_USER
    assert evaluate([f"run={theirs.name}"]) == EXIT_USER
    reused = [*SMALL[:-2], f"encoding.reuse={theirs.name}", "dry_run=true"]
    train(*reused, folder=fresh)
    assert train(*SMALL, f"hydra.run.dir={theirs.name}", "seed=7", folder=fresh).code == EXIT_USER
    assert not (fresh / MARK).exists()


def test_the_jobs_of_a_multirun_are_what_the_command_says(fresh: Path, train: Train) -> None:
    again = ["-m", *SMALL, "seed=1", "hydra.sweep.dir=sweep"]
    assert train(*again, folder=fresh).code == EXIT_OK
    (saved,) = (fresh / "sweep").glob("*/.hydra/overrides.yaml")
    write_mark(fresh / "evil_of_jobs.py", fresh / MARK, OWN)
    saved.write_text(f"{saved.read_text()}- extensions=[evil_of_jobs]\n- loss._target_=evil_of_jobs.Own\n")
    (saved.parents[1] / "result.json").unlink()
    assert train(*again, folder=fresh).code == EXIT_OK
    assert not (fresh / MARK).exists()


# A folder of configs of somebody else: its settings of Hydra may choose among few things, and none of them calls what a
# config names.
@pytest.mark.parametrize(
    "section",
    [
        "callbacks: {x: {_target_: counterpoise.jsonio.write_json, value: 1, path: "
        "{_target_: counterpoise.paths.user_path, value: ran.txt}}}",
        "callbacks: {x: {_target_: hydra.utils.get_method, path: os.system}}",
        "callbacks: {x: {_target_: hydra.utils.call, config: {_target_: os.system, command: touch ran.txt}}}",
        "callbacks: {x: {_target_: logging.FileHandler, filename: ran.txt}}",
        "callbacks: {x: {_target_: optuna.storages.RDBStorage, url: 'sqlite:///ran.txt'}}",
        "callbacks: {x: {_target_: subprocess.call, args: [touch, ran.txt]}}",
        "job_logging: {version: 1, root: {handlers: [x]}, handlers: {x: {(): os.system, command: touch ran.txt}}}",
        "job_logging: {version: 1, root: {handlers: [x]}, handlers: {x: {class: pathlib.Path.touch, self: ran.txt}}}",
        "hydra_logging: {version: 1, root: {handlers: [x]}, handlers: {x: {(): os.system, command: touch ran.txt}}}",
        "sweeper: {_target_: subprocess.call, args: [touch, ran.txt]}",
        "launcher: {_target_: os.system, command: touch ran.txt}",
    ],
)
@pytest.mark.parametrize("option", [(), ("-m", "seed=1")], ids=["single", "multirun"])
def test_settings_of_hydra_call_nothing(option: tuple[str, ...], section: str, fresh: Path, train: Train) -> None:
    (fresh / "theirs/experiment").mkdir(parents=True)
    (fresh / "theirs/experiment/evil.yaml").write_text(f"# @package _global_\nhydra:\n  {section}\n")
    train("--config-dir", "theirs", *option, *SMALL, "experiment=evil", "dry_run=true", folder=fresh)
    assert not (fresh / MARK).exists()


def test_configs_are_looked_for_beside_the_project_only(fresh: Path, train: Train) -> None:
    (fresh / "conf/experiment").mkdir(parents=True)
    (fresh / "conf/experiment/evil.yaml").write_text("# @package _global_\nextensions: [evil]\n")
    answer = train(*SMALL, "experiment=evil", "dry_run=true", folder=fresh)
    assert answer.problems[0].startswith("experiment: has no option 'evil'")
    assert CONF.is_dir()
