"""What a search refuses before its first trial: by key, in one line, without a trace in a storage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
from omegaconf import DictConfig, OmegaConf

from counterpoise.errors import UserError
from counterpoise.sweeps.multirun import Multirun, Refused
from counterpoise.sweeps.search import check_search, end_trials

CONF = Path(__file__).resolve().parents[2] / "conf"
TPE = {"_target_": "optuna.samplers.TPESampler", "seed": 42}


def search(*task: str, sampler: Any = TPE, params: Any = None, **settings: Any) -> DictConfig:
    """A multirun's config, as far as a search is concerned."""
    sweeper = {"direction": "maximize", "n_trials": 3, "n_jobs": 1, "max_failure_rate": 1.0, "storage": None}
    sweeper |= {"study_name": None, "params": params, "sampler": sampler, **settings}
    return OmegaConf.create({"hydra": {"sweeper": sweeper, "overrides": {"task": list(task)}}})


def refusal(config: DictConfig) -> list[str]:
    with pytest.raises(UserError) as caught:
        check_search(config)
    return [str(problem) for problem in caught.value.problems]


def test_a_search_that_can_be_made_is_not_refused() -> None:
    check_search(search("optimizer.lr=tag(log, interval(1e-5, 1e-3))", "model=textcnn", "train.batch_size=16,32"))
    check_search(search("seed=7", params={"train.epochs": "range(1, 4)", "optimizer.weight_decay": "interval(0, 0.1)"}))
    grid = {"_target_": "optuna.samplers.GridSampler", "_partial_": True}
    check_search(search("train.batch_size=16,32", sampler=grid))


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ("optimizer.lr=tag(log,interval(0,1e-3))", "optimizer.lr: tag(log,interval(0,1e-3)) cannot be searched: "),
        (
            "scheduler.warmup_ratio=interval(0.2,0.05)",
            "scheduler.warmup_ratio: interval(0.2,0.05) cannot be searched: ",
        ),
        ("optimizer.lr=interval(nan,1)", "optimizer.lr: interval(nan,1) cannot be searched: both ends must be finite"),
        ("optimizer.lr=interval(0,inf)", "optimizer.lr: interval(0,inf) cannot be searched: both ends must be finite"),
        ("train.epochs=range(3,1)", "train.epochs: range(3,1) cannot be searched: "),
        ("train.epochs=range(1,3,0)", "train.epochs: range(1,3,0) cannot be searched: "),
        ("loss=glob(*)", "loss: glob(*) cannot be searched: its options must be listed"),
        ("objective.metric=f1,accuracy", "objective.metric: would be searched for as if it were a setting: "),
        ("fold=0,1", "fold: would be searched for as if it were a setting: the easiest fold would win."),
        ("fold=range(0,3)", "fold: would be searched for as if it were a setting: the easiest fold would win."),
    ],
)
def test_what_cannot_be_searched_is_named_by_its_key(space: str, said: str) -> None:
    (problem,) = refusal(search(space))
    assert problem.startswith(said)
    key, _, value = space.partition("=")
    assert refusal(search(params={key: value})) == [problem]


def seeds() -> Iterator[str]:
    """Keys of every seed in ``conf``."""
    for path in CONF.rglob("*.yaml"):
        group = path.parent.relative_to(CONF).as_posix()
        if group.startswith(("hydra", "sweep", "experiment")):
            continue
        content = OmegaConf.to_container(OmegaConf.load(path), resolve=False)
        above = () if group == "." else (group,)
        yield from _seeds(content, above)


def _seeds(node: Any, above: tuple[str, ...]) -> Iterator[str]:
    for key, value in node.items() if isinstance(node, dict) else ():
        yield from _seeds(value, (*above, key))
        if re.search("seed", str(key)):
            yield ".".join((*above, key))


def test_no_seed_can_be_searched() -> None:
    keys = set(seeds())
    assert {"seed", "folds.seed", "data.split_seed", "data.data_seed"} <= keys
    for key in keys | {"data.seed", "model.text.seed"}:
        for space in ("1,2,3", "range(1,4)", "interval(1,4)", "choice(1,2)"):
            (problem,) = refusal(search(f"{key}={space}"))
            assert problem.startswith(
                f"{key}: would be searched for as if it were a setting: the luckiest one would win."
            )


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"n_trials": 0}, "hydra.sweeper.n_trials: must be >= 1, but is 0."),
        ({"n_jobs": 0}, "hydra.sweeper.n_jobs: must be >= 1, but is 0."),
        ({"n_jobs": -1}, "hydra.sweeper.n_jobs: must be >= 1, but is -1."),
        ({"max_failure_rate": 1.5}, "hydra.sweeper.max_failure_rate: must be >= 0 and <= 1, but is 1.5."),
        ({"direction": "up"}, "hydra.sweeper.direction: must be maximize, but is up."),
        ({"direction": "minimize"}, "hydra.sweeper.direction: must be maximize, but is minimize."),
        ({"direction": ["maximize", "maximize"]}, "hydra.sweeper.direction: must be maximize, but is ['maximize'"),
        ({"sampler": {**TPE, "seed": -1}}, "hydra.sweeper.sampler.seed: must be >= 0 and < 4294967296, but is -1."),
        (
            {"sampler": {**TPE, "n_ei_candidates": -1, "n_startup_trials": 1}},
            "hydra.sweeper.sampler: cannot be used: neg",
        ),
        ({"sampler": {"_target_": "optuna.samplers.Nope"}}, "hydra.sweeper.sampler: cannot be used: "),
        ({"storage": "foo"}, "hydra.sweeper.storage: foo cannot be used: Could not parse SQLAlchemy URL"),
        ({"storage": "sqlite:///none/s.db"}, "hydra.sweeper.storage: the folder none does not exist."),
        ({"storage": "nope://me:secret@b/c"}, "hydra.sweeper.storage: nope://...@b/c cannot be used: "),
    ],
)
def test_settings_of_the_search_are_named_by_their_key(settings: dict[str, Any], said: str) -> None:
    (problem,) = refusal(search("train.batch_size=16,32", **settings))
    assert problem.startswith(said)
    assert "secret" not in problem


def test_all_problems_are_told_at_once() -> None:
    found = refusal(search("seed=1,2", "optimizer.lr=interval(2,1)", n_trials=0, direction="up"))
    assert [line.split(":")[0] for line in found] == [
        *("hydra.sweeper.n_trials", "hydra.sweeper.direction", "seed", "optimizer.lr"),
    ]


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database with a study ``s`` of one trial, and one that minimises."""
    url = f"sqlite:///{tmp_path_factory.mktemp('storage')}/s.db"
    study = optuna.create_study(storage=url, study_name="s", direction="maximize")
    study.tell(study.ask({"train.batch_size": optuna.distributions.CategoricalDistribution([16, 32])}), 0.5)
    optuna.create_study(storage=url, study_name="down")
    return url


def test_a_stored_study_goes_on_with_the_same_search_alone(storage: str) -> None:
    known = {"storage": storage, "study_name": "s"}
    check_search(search("train.batch_size=16,32", "optimizer.lr=interval(0,1)", **known))
    check_search(search("train.batch_size=8,16", storage=storage, study_name="another"))
    (problem,) = refusal(search("train.batch_size=8,16", **known))
    assert problem.startswith("train.batch_size: was choice(16, 32) in the study 's' in sqlite:///")
    assert "but is choice(8, 16) now" in problem
    (problem,) = refusal(search("train.batch_size=16,32", storage=storage, study_name="down"))
    assert problem.startswith("hydra.sweeper.study_name: the study 'down' in sqlite:///")
    assert optuna.get_all_study_names(storage) == ["s", "down"]
    assert len(optuna.load_study(storage=storage, study_name="s").trials) == 1


def test_a_search_that_is_ended_leaves_no_trial_running(monkeypatch: pytest.MonkeyPatch) -> None:
    from hydra_plugins.hydra_optuna_sweeper._impl import OptunaSweeperImpl

    class Launcher:
        calls = 0

        def launch(self, overrides: Any, initial_job_idx: int) -> Any:
            self.calls += 1
            if self.calls == 2:
                raise KeyboardInterrupt
            return [type("Return", (), {"return_value": 0.5})() for _ in overrides]

    study = optuna.create_study(direction="maximize")
    monkeypatch.setattr(optuna, "create_study", lambda **_: study)
    sweeper = OptunaSweeperImpl(None, "maximize", None, None, 8, 2, 1.0, None, None)
    sweeper.config, sweeper.launcher, sweeper.hydra_context = OmegaConf.create(), Launcher(), object()
    with pytest.raises(KeyboardInterrupt) as caught:
        sweeper.sweep(["train.batch_size=16,32"])
    end_trials(caught.value)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "COMPLETE", "FAIL", "FAIL"]


@pytest.mark.parametrize(
    ("task", "size", "said"),
    [
        (["seed=range(3,1)"], None, ["seed: range(3,1) holds no value, so that no job would start."]),
        (["optimizer.lr=interval(1,2)"], None, ["optimizer.lr: interval(1,2) is an interval, of which only a search"]),
        (["seed=1,2"], 0, ["hydra.sweeper.max_batch_size: must be >= 1 or null, but is 0."]),
    ],
)
def test_what_hydras_own_sweeper_cannot_vary(task: list[str], size: int | None, said: list[str]) -> None:
    hydra = {"sweeper": {"max_batch_size": size, "params": None}, "overrides": {"task": task}, "sweep": {"dir": "s"}}
    with pytest.raises(Refused) as caught:
        Multirun().on_multirun_start(OmegaConf.create({"hydra": hydra}))
    assert isinstance(caught.value.error, UserError)
    for problem, line in zip(caught.value.error.problems, said, strict=True):
        assert str(problem).startswith(line)
