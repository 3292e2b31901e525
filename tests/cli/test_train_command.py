"""``python src/train.py`` from end to end: what it leaves, what it says, and the code that it exits with."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from cli_command import SMALL, TRAIN, Answer, write_table
from filelock import FileLock

from counterpoise.cli.exits import EXIT_FAULT, EXIT_OK, EXIT_PREEMPTED, EXIT_USER
from counterpoise.jsonio import read_json

LEFT = (
    *("training_metadata.json", "training_history.json", "metrics.jsonl", "training.log", "result.json"),
    *("predictions_valid.parquet", "predictions_test.parquet", "tokenizer.json"),
    *("baselines_valid.parquet", "baselines_test.parquet"),
    *(".hydra/config.yaml", ".hydra/hydra.yaml", ".hydra/overrides.yaml"),
    *("checkpoints/last/model.safetensors", "checkpoints/best/model.safetensors", "checkpoints/best/manifest.json"),
)
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1"}


def untouched(folder: Path) -> bool:
    """Whether nothing but the table (and the cache of encoded data) is there."""
    return {path.name for path in folder.iterdir()} <= {"tiny.csv", ".cache"}


def process(folder: Path, *arguments: str, python: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    """The same command in a process of its own."""
    command = [sys.executable, *python, str(TRAIN), *arguments]
    return subprocess.run(command, cwd=folder, env=ENVIRONMENT, text=True, capture_output=True, timeout=60)


@pytest.fixture(scope="module")
def single(workplace: Path, quiet: Callable[..., Answer]) -> Path:
    """The folder of a finished run."""
    assert quiet(workplace, *SMALL, "hydra.run.dir=runs/one run").code == EXIT_OK
    return workplace / "runs" / "one run"


def test_a_run_leaves_everything(single: Path) -> None:
    assert not [name for name in LEFT if not (single / name).is_file()]
    result = read_json(single / "result.json")
    assert result["status"] == "finished"
    assert {"accuracy", "f1", "per_class"} <= set(result["test"])
    assert {"majority", "tfidf_logistic"} == set(result["baselines"])


def test_the_same_folder_again_trains_nothing(single: Path, train: Callable[..., Answer]) -> None:
    before = (single / "result.json").stat().st_mtime_ns
    answer = train(f"resume={single}")
    assert answer.code == EXIT_OK
    assert "finished already" in answer.out
    assert (single / "result.json").stat().st_mtime_ns == before
    assert not [path for path in single.rglob("*") if path.name.startswith("failure")]


def test_another_config_may_not_have_it(single: Path, train: Callable[..., Answer]) -> None:
    answer = train(f"resume={single}", "seed=9", "model.dropout=0.5")
    assert answer.code == EXIT_USER
    assert answer.problems[:2] == ["seed: was 42, but is 9 now.", "model.dropout: was 0.3, but is 0.5 now."]


def test_the_default_folder_says_what_and_when(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*SMALL, folder=fresh)
    assert answer.code == EXIT_OK, answer
    (folder,) = (fresh / "outputs" / "table" / "textcnn").iterdir()
    assert f"Run folder: {folder.relative_to(fresh)}" in answer.out
    assert "\x1b" not in answer.out
    assert answer.err == ""


def test_a_dry_run_shows_the_plan_and_leaves_nothing(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train(*SMALL, "dry_run=true", folder=fresh)
    assert answer.code == EXIT_OK
    assert "3 an epoch, 3 in 1 epochs" in answer.out
    assert untouched(fresh)


@pytest.mark.parametrize(
    ("arguments", "problems"),
    [
        (["model=textcn"], ["model: has no option 'textcn'. Did you mean 'textcnn'?"]),
        (
            ["modle=x", "optimizer.lrr=3", "train.epoch=2"],
            [
                "modle: unknown key. Did you mean 'model'?",
                "optimizer.lrr: unknown key. Did you mean 'optimizer.lr'?",
                "train.epoch: unknown key. Did you mean 'train.epochs'?",
            ],
        ),
        (
            ["train.epochs=0", "seed=-1"],
            ["seed: must be >= 0 and < 4294967296, but is -1.", "train.epochs: must be >= 1, but is 0."],
        ),
        (["optimizer.lr=abc"], ["optimizer.lr: expected a number > 0 or 'auto', got 'abc'."]),
        (
            ["optimizer.lr=1e-3,1e-4"],
            ["optimizer.lr=1e-3,1e-4: is a list of values to sweep over, but this is a single run. Add -m."],
        ),
        (
            ["experiment=iris_kfold"],
            ["experiment=iris_kfold: starts several jobs, one for each fold, but this is a single run. Add -m."],
        ),
        (["train.clip_norm=-1"], ["train.clip_norm: must be > 0, but is -1.0."]),
        (["seed=${nope}"], ["seed: Interpolation key 'nope' not found."]),
        (["loss=null"], ["loss: needs an option, but is null. Valid names: bce, cross_entropy, focal, weighted_bce."]),
        (["hydra.run.dir=tiny.csv/x"], ["tiny.csv/x: cannot be written: Not a directory."]),
        (["resume=nowhere"], ["resume: 'nowhere' is no run folder: it has no .hydra/overrides.yaml."]),
        (["++resume=x"], ["resume: belongs on the command line. Write resume=FOLDER."]),
        (["="], ["=: has no key. Overrides are of the form key=value."]),
        (["--resolve"], ["config: The --resolve flag can only be used in conjunction with --cfg or --help"]),
        (["balance=manual"], None),
        (["-m", "modle=a,b"], ["modle: unknown key. Did you mean 'model'?"]),
        (["data.path=nothing.csv", "dry_run=true"], None),
        (["hardware=a100", "hardware.require=true", "dry_run=true"], None),
        (["+hydra.callbacks.x._target_=os.getcwd"], None),
    ],
    ids=lambda value: " ".join(value)[:30] if value else "any",
)
def test_a_mistake_is_listed_and_leaves_nothing(
    train: Callable[..., Answer], fresh: Path, arguments: list[str], problems: list[str] | None
) -> None:
    answer = train(*SMALL, *arguments, folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.out == ""
    assert problems is None or answer.problems == problems
    assert answer.err.splitlines()[0] in ("1 problem:", f"{len(answer.problems)} problems:")
    assert untouched(fresh)


def test_an_unforeseen_fault_has_a_traceback_once(
    train: Callable[..., Answer], fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from counterpoise.models.textcnn import TextCNN

    def fault(*_: object, **__: object) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(TextCNN, "forward", fault)
    answer = train(*SMALL, "hydra.run.dir=run", folder=fresh)
    assert answer.code == EXIT_FAULT
    assert answer.err.count("Traceback (most recent call last)") == 1
    assert answer.err.rstrip().endswith("RuntimeError: a fault of ours")
    assert "a fault of ours" in (fresh / "run" / "training.log").read_text()


@pytest.fixture(scope="module")
def seeds(workplace: Path, quiet: Callable[..., Answer]) -> Path:
    """The folder of a multirun of two seeds at two learning rates, of which one is none."""
    answer = quiet(workplace, "-m", *SMALL, "seed=1,10", "optimizer.lr=1e-3,abc", "hydra.sweep.dir=sweeps/mixed")
    assert answer.code == EXIT_FAULT
    return workplace / "sweeps" / "mixed"


def test_a_failing_job_is_recorded_and_the_others_run(seeds: Path) -> None:
    summary = read_json(seeds / "summary.json")
    states = {Path(job["folder"]).name: job["status"] for job in summary["jobs"]}
    assert states == {
        "optimizer.lr_0.001,seed_1": "finished",
        "optimizer.lr_0.001,seed_10": "finished",
        "optimizer.lr_abc,seed_1": "failed",
        "optimizer.lr_abc,seed_10": "failed",
    }
    assert list(states) == sorted(states, key=lambda name: ("abc" in name, len(name)))
    failure = read_json(seeds / "optimizer.lr_abc,seed_1" / "failure.json")
    assert failure["message"] == "optimizer.lr: expected a number > 0 or 'auto', got 'abc'."


def test_a_job_that_a_guard_aborts_is_told_apart(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train("-m", *SMALL, "optimizer.lr=1e30", "train.clip_norm=null", "hydra.sweep.dir=s", folder=fresh)
    assert answer.code == EXIT_FAULT
    (job,) = read_json(fresh / "s" / "summary.json")["jobs"]
    assert job["status"] == "aborted"
    assert "Traceback" not in answer.err


def test_mean_and_deviation_over_the_seeds_are_in_the_summary(seeds: Path) -> None:
    (group,) = read_json(seeds / "summary.json")["mean"].values()
    assert group["jobs"] == 2
    assert group["accuracy"]["n"] == 2
    assert group["accuracy"]["std"] is not None


def test_repeating_a_multirun_runs_nothing_again_and_more_seeds_only_those(
    train: Callable[..., Answer], fresh: Path
) -> None:
    assert train("-m", *SMALL, "seed=1,2", folder=fresh).code == EXIT_OK
    (sweep,) = (fresh / "multirun").iterdir()
    before = {path: path.stat().st_mtime_ns for path in sweep.glob("*/result.json")}
    assert len(before) == 2
    again = train("-m", "seed=1,2", *reversed(SMALL), folder=fresh)
    assert again.code == EXIT_OK
    assert again.out.count("finished already") == 2
    assert "±" in again.out
    assert train("-m", *SMALL, "seed=1,2,3", folder=fresh).out.count("finished already") == 2
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(list(sweep.glob("*/result.json"))) == 3


def test_the_jobs_of_a_command_alone_decide_its_end(train: Callable[..., Answer], fresh: Path) -> None:
    assert train("-m", *SMALL, "seed=1,abc", folder=fresh).code == EXIT_FAULT
    (sweep,) = (fresh / "multirun").iterdir()
    answer = train("-m", *SMALL, "seed=1,2", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert "Jobs of earlier commands in this folder, not counted here: 1" in answer.out
    summary = read_json(sweep / "summary.json")
    assert [Path(job["folder"]).name for job in summary["jobs"]] == ["seed_1", "seed_2"]
    assert summary["mean"]["one configuration"]["accuracy"]["n"] == 2
    assert not list(sweep.glob(".jobs*"))
    again = train("-m", *SMALL, "seed=1,abc", folder=fresh)
    assert again.code == EXIT_FAULT
    assert [job["status"] for job in read_json(sweep / "summary.json")["jobs"]] == ["finished", "failed"]


def test_a_job_waits_for_another_process_and_takes_its_result(
    train: Callable[..., Answer], fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("-m", *SMALL, "seed=1", "hydra.sweep.dir=s")
    assert train(*command, folder=fresh).code == EXIT_OK
    held = FileLock(fresh / "s/job/.lock", thread_local=False)
    held.acquire()
    refused = train(*command, "train.folder_wait=0", folder=fresh)
    assert "another process is training in this folder" in refused.err

    def ended(path: Path) -> str:
        held.release()
        return path.name

    monkeypatch.setattr("counterpoise.tracking.folder.near", ended)  # called for the message
    answer = train(*command, folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert "Another process trains in job: waiting for its result" in answer.out
    assert "This run has finished already." in answer.out
    assert not (fresh / "s/job/failure.json").exists()


def test_a_failure_of_an_earlier_attempt_is_gone_with_the_result(train: Callable[..., Answer], fresh: Path) -> None:
    command = ("-m", *SMALL, "seed=1", "hydra.sweep.dir=s")
    assert train(*command, folder=fresh).code == EXIT_OK
    assert train(*command, "train.epochs=2", folder=fresh).code == EXIT_FAULT
    assert train(*command, "dry_run=true", folder=fresh).code == EXIT_OK
    assert (fresh / "s/job/failure.json").exists(), "a dry run changes nothing"
    assert train(*command, folder=fresh).code == EXIT_OK
    assert not (fresh / "s/job/failure.json").exists()


def test_a_preset_of_seeds(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train("-m", *SMALL, "sweep=three_seeds", folder=fresh)
    assert answer.code == EXIT_OK, answer
    (sweep,) = (fresh / "multirun").iterdir()
    assert sweep.name.startswith("three_seeds-")
    assert {path.parent.name for path in sweep.glob("*/result.json")} == {"seed_42", "seed_2025", "seed_7"}
    assert "mean ± standard deviation over seeds" in answer.out
    assert answer.err == ""


def test_optuna_shows_and_saves_the_best_configuration(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train("-m", *SMALL, "sweep=optuna", "hydra.sweeper.n_trials=3", folder=fresh)
    assert answer.code == EXIT_OK, answer
    (sweep,) = (fresh / "multirun").iterdir()
    best = read_json(sweep / "summary.json")["best"]
    assert set(best["best_params"]) == {
        "train.batch_size",
        "optimizer.lr",
        "scheduler.warmup_ratio",
        "optimizer.weight_decay",
    }
    scores = [job["score"] for job in read_json(sweep / "summary.json")["jobs"]]
    assert len(scores) == 3
    assert best["best_value"] == pytest.approx(max(scores))
    assert f"Best: {best['best_value']}" in answer.out
    assert answer.err == "", "Optuna's own lines are none of ours"


def test_trials_that_fail_are_told_by_their_jobs_alone(train: Callable[..., Answer], fresh: Path) -> None:
    study = ["hydra.sweeper.n_trials=2", "hydra.sweeper.storage=sqlite:///s.db", "hydra.sweeper.study_name=s"]
    answer = train("-m", *SMALL, "sweep=optuna", *study, "optimizer.eps=abc", folder=fresh)
    assert answer.code == EXIT_USER
    lines = [line for line in answer.err.splitlines() if not line.startswith("Job ")]
    assert lines == [
        "1 problem:",
        "  sweep: no trial finished, so there is no best configuration. See the failures above.",
    ]


def test_the_best_of_a_search_is_shown_as_it_was_scored(train: Callable[..., Answer], fresh: Path) -> None:
    search = ["sweep=optuna", "hydra.sweeper.n_trials=2", "objective.metric=log_loss"]
    answer = train("-m", *SMALL, *search, folder=fresh)
    assert answer.code == EXIT_OK, answer
    (sweep,) = (fresh / "multirun").iterdir()
    summary = read_json(sweep / "summary.json")
    assert summary["best"]["best_value"] == min(job["score"] for job in summary["jobs"]) > 0
    assert f"Best: {summary['best']['best_value']}" in answer.out


def test_a_search_has_no_dry_run(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train("-m", *SMALL, "sweep=optuna", "dry_run=true", folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.problems == ["dry_run: a search needs the scores of its trials. Leave out sweep=... to see the plan."]
    assert answer.out == ""
    assert untouched(fresh)


def test_a_summary_that_cannot_be_written_is_refused_before_training(train: Callable[..., Answer], fresh: Path) -> None:
    (fresh / "s" / "summary.json").mkdir(parents=True)
    answer = train("-m", *SMALL, "seed=1", "hydra.sweep.dir=s", folder=fresh)
    assert answer.code == EXIT_USER
    assert "s/summary.json" in answer.problems[0]
    assert [path.name for path in (fresh / "s").iterdir()] == ["summary.json"]


def test_a_dry_multirun_leaves_nothing(train: Callable[..., Answer], fresh: Path) -> None:
    answer = train("-m", *SMALL, "seed=1,2", "dry_run=true", folder=fresh)
    assert answer.code == EXIT_OK
    assert answer.out.count("learning rate") == 2
    assert untouched(fresh)
    assert train("-m", *SMALL, "seed=1,abc", "hydra.sweep.dir=s", folder=fresh).code == EXIT_FAULT
    answer = train("-m", *SMALL, "seed=1", "dry_run=true", "hydra.sweep.dir=s", folder=fresh)
    assert (answer.code, answer.err) == (EXIT_OK, ""), "jobs of an earlier command decide nothing"


def test_jobs_in_processes_of_their_own(fresh: Path) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    answer = process(fresh, "-m", *SMALL, "seed=1,1,abc", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")
    assert answer.returncode == EXIT_FAULT, answer
    assert "Traceback" not in answer.stderr
    (sweep,) = (fresh / "multirun").iterdir()
    assert [job["status"] for job in read_json(sweep / "summary.json")["jobs"]] == ["finished", "failed"]
    assert not list(sweep.glob(".jobs*"))
    assert [path.parent.name for path in sweep.glob("*/failure.json")] == ["seed_abc"], "equal jobs are trained once"


def test_ctrl_c_ends_with_a_hint_and_the_run_can_be_resumed(fresh: Path, train: Callable[..., Answer]) -> None:
    long = ["train.epochs=100000", "early_stopping.enabled=false", "train.checkpoint_updates=1", "hydra.run.dir=run"]
    with subprocess.Popen(
        [sys.executable, str(TRAIN), *SMALL, *long], cwd=fresh, env=ENVIRONMENT, text=True, stderr=subprocess.PIPE
    ) as running:
        deadline = time.monotonic() + 60
        while not (fresh / "run" / "checkpoints" / "last").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        _, said = running.communicate(timeout=30)
    assert running.returncode == EXIT_PREEMPTED, said
    update = read_json(fresh / "run/checkpoints/last/manifest.json")["position"]["update"]
    assert said.strip() == f"SIGINT was received; the checkpoint of update {update} is saved. To continue: resume=run."
    answer = train("resume=run", "train.epochs=1", folder=fresh)
    assert answer.code == EXIT_USER
    assert "train.epochs: was 100000, but is 1 now." in answer.problems


@pytest.mark.parametrize(
    "arguments",
    [["--help"], ["--cfg", "job"], ["model=textcn"], ["--hydra-help"], ["-sc", "query=bash"], ["--nope"]],
    ids=" ".join,
)
def test_help_config_and_completion_import_no_torch(tmp_path: Path, arguments: list[str]) -> None:
    environment = {**ENVIRONMENT, "COMP_LINE": "train.py model=te", "COMP_POINT": "17"}
    command = [sys.executable, "-X", "importtime", str(TRAIN), *arguments]
    answer = subprocess.run(command, cwd=tmp_path, env=environment, text=True, capture_output=True, timeout=60)
    imported = {line.rsplit("|", 1)[-1].strip() for line in answer.stderr.splitlines() if "import time:" in line}
    assert not {"torch", "transformers", "pyarrow", "sklearn", "lightning_fabric", "pandas"} & imported
    assert "numpy" not in imported
    assert answer.returncode == (EXIT_USER if arguments[0] in ("model=textcn", "--nope") else EXIT_OK)
    assert not list(tmp_path.iterdir())
    if arguments[0] == "--help":
        assert "model: " in answer.stdout
    if arguments[0] == "-sc":
        assert "model=textcnn" in answer.stdout


def test_another_working_directory_with_an_extension(fresh: Path, train: Callable[..., Answer]) -> None:
    elsewhere = write_table(fresh / "else where")
    (elsewhere / "my_tracking.py").write_text(
        "from counterpoise.tracking.base import Tracker, TrackerConfig\n\n"
        "class Mine(Tracker):\n    Config = TrackerConfig\n"
        "    def on_result(self, result):\n        (self.folder / 'mine').write_text(result['status'])\n"
    )
    mine = ["extensions=[my_tracking]", "+tracker.mine._target_=my_tracking.Mine", "hydra.run.dir=run"]
    answer = train(*SMALL, *mine, folder=elsewhere)
    assert answer.code == EXIT_OK, answer
    assert (elsewhere / "run" / "mine").read_text() == "finished"


def weights(run: Path) -> bytes:
    return (run / "checkpoints/last/model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("name", "override"),
    [
        ("a (1),b=c.csv", "data.path=${oc.env:COUNTERPOISE_TEST_DATA}"),
        ("a,b [1] {2}.csv", "data.path='a,b [1] {2}.csv'"),
        ("${x}.csv", 'data.path="\\${x}.csv"'),
        ("it's.csv", 'data.path="it\'s.csv"'),
    ],
)
def test_a_run_is_resumed_whatever_its_overrides_hold(
    name: str, override: str, train: Callable[..., Answer], fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (fresh / "tiny.csv").rename(fresh / name)
    given = [each for each in SMALL if not each.startswith("data.path=")]
    monkeypatch.setenv("COUNTERPOISE_TEST_DATA", name)
    assert train(*given, override, "hydra.run.dir=run", folder=fresh).code == EXIT_OK
    monkeypatch.delenv("COUNTERPOISE_TEST_DATA")
    before = weights(fresh / "run")
    (fresh / "run/result.json").unlink()
    shutil.rmtree(fresh / "run/checkpoints")
    answer = train("resume=run", folder=fresh)
    assert answer.code == EXIT_OK, answer.err
    assert weights(fresh / "run") == before


def test_what_a_run_saved_and_nobody_typed_is_told_of_its_file(train: Callable[..., Answer], fresh: Path) -> None:
    saved = fresh / "run/.hydra/overrides.yaml"
    saved.parent.mkdir(parents=True)
    saved.write_text("- train.epoch=1\n- data.path=a b=c\n")
    answer = train("resume=run", "modle=x", folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.problems[0].startswith("run/.hydra/overrides.yaml: data.path=a b=c: cannot be read: ")
    saved.write_text("- train.epoch=1\n")
    assert train("resume=run", "modle=x", folder=fresh).problems == [
        "run/.hydra/overrides.yaml: train.epoch: unknown key. Start the run again without resume.",
        "modle: unknown key. Did you mean 'model'?",
    ]


def test_configs_of_a_folder_of_ones_own(train: Callable[..., Answer], fresh: Path) -> None:
    (fresh / "mine/experiment").mkdir(parents=True)
    (fresh / "mine/experiment/short.yaml").write_text("# @package _global_\ntrain: {epochs: 1}\n")
    own = ("--config-dir", "mine")
    answer = train(*own, *SMALL, "experiment=short", "train.epoch=3", folder=fresh)
    assert answer.problems == ["train.epoch: unknown key. Did you mean 'train.epochs'?"]
    answer = train(*SMALL, f"hydra.searchpath=[file://{fresh}/mine]", "experiment=shot", folder=fresh)
    assert answer.problems == ["experiment: has no option 'shot'. Did you mean 'short'?"]
    assert train("--config-dir", "none", *SMALL, folder=fresh).problems == ["--config-dir: 'none' is no folder."]
    assert train(*own, *SMALL, "experiment=short", "hydra.run.dir=run", folder=fresh).code == EXIT_OK
    needed = f"--config-dir {fresh / 'mine'}"
    assert train("resume=run", folder=fresh).problems == [
        f"resume: the run was started with {needed}, which it needs. Add {needed}."
    ]
    assert train(*own, "resume=run", folder=fresh).code == EXIT_OK


def test_a_folder_that_cannot_be_named_so_is_told_once(train: Callable[..., Answer], fresh: Path) -> None:
    for key in ("hydra.sweep.dir", "hydra.sweep.subdir"):
        answer = train("-m", *SMALL, "seed=1,2", f"{key}={'x' * 300}", folder=fresh)
        assert answer.code == EXIT_USER
        assert len(answer.problems) == 1
        assert answer.problems[0].endswith(": cannot be written: File name too long.")
        assert untouched(fresh)
    answer = train(*SMALL, f"hydra.run.dir={'x' * 300}", folder=fresh)
    assert answer.problems == [f"{'x' * 300}: cannot be written: File name too long."]


def test_paths_that_differ_by_a_sign_have_jobs_of_their_own(train: Callable[..., Answer], fresh: Path) -> None:
    (fresh / "a").mkdir()
    for name in ("a/b.csv", "a_b.csv"):
        shutil.copy(fresh / "tiny.csv", fresh / name)
    answer = train("-m", *SMALL, "data.path='a/b.csv','a_b.csv'", "hydra.sweep.dir=s", folder=fresh)
    assert answer.code == EXIT_OK, answer
    assert len(list(fresh.glob("s/*/result.json"))) == 2


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        (["sweep=optuna", "hydra.sweeper.n_trials=0"], "hydra.sweeper.n_trials: must be >= 1, but is 0."),
        (["sweep=optuna", "optimizer.lr=tag(log,interval(0,1))"], "optimizer.lr: tag(log,interval(0,1)) cannot be"),
        (["sweep=optuna", "seed=1,2,3"], "seed: would be searched for as if it were a setting: the luckiest"),
        (["sweep=optuna", "hydra.sweeper.storage=sqlite:///no/s.db"], "hydra.sweeper.storage: the folder no does not"),
        (["seed=1,2", "hydra/launcher=joblib", "hydra.launcher.n_jobs=0"], "hydra.launcher: n_jobs == 0"),
        (["seed=1,2", "hydra.sweeper.max_batch_size=0"], "hydra.sweeper.max_batch_size: must be >= 1 or null"),
    ],
)
def test_what_a_sweeper_cannot_do_is_one_line_and_leaves_nothing(
    given: list[str], problem: str, train: Callable[..., Answer], fresh: Path
) -> None:
    answer = train("-m", *SMALL, *given, folder=fresh)
    assert answer.code == EXIT_USER
    assert answer.err.startswith(f"1 problem:\n  {problem}")
    assert len(answer.err.splitlines()) == 2
    assert untouched(fresh)
