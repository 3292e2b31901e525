"""A search by Optuna: its settings are checked before the first trial, and no trial is left running after the last."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Annotated, Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Glob, IntervalSweep, Override
from hydra.utils import instantiate
from omegaconf import DictConfig, ListConfig, OmegaConf

from counterpoise.addresses import without_credentials
from counterpoise.config.overrides import typed
from counterpoise.config.schema import AT_LEAST_ONE, SHARE, Range, parse
from counterpoise.config.values import show
from counterpoise.errors import Problem, UserError, first_line

SWEEPER = "hydra.sweeper"
PLUGIN = "hydra_plugins.hydra_optuna_sweeper"
SAMPLERS = (f"{PLUGIN}.*", "optuna.samplers.*")
"""What a sampler's config may construct, as for Hydra's own plugin."""
REHEARSED = 25
"""Most trials of the rehearsal, which has made-up scores: a sampler may fail only after its first random trials."""


@dataclass(frozen=True, kw_only=True)
class SamplerNumbers:
    """What is checked of ``hydra.sweeper.sampler``; the sampler itself checks the rest in the rehearsal."""

    seed: Annotated[int, Range(ge=0, lt=2**32)] | None = None


@dataclass(frozen=True, kw_only=True)
class SweeperNumbers:
    """Those of ``hydra.sweeper``."""

    n_trials: Annotated[int, AT_LEAST_ONE]
    n_jobs: Annotated[int, AT_LEAST_ONE]
    max_failure_rate: Annotated[float, SHARE]
    sampler: SamplerNumbers


def check_search(config: DictConfig) -> None:
    """Find out before the first trial what a search cannot do.

    Raises:
        UserError: with every problem; a storage is only looked at where nothing else is wrong.
    """
    _quieten()
    problems: list[Problem] = []
    if config.get("dry_run") is True:
        what = "a search needs the scores of its trials."
        problems.append(Problem("dry_run", what, "Leave out sweep=... to see the plan."))
    sweeper = config.hydra.sweeper
    problems += _settings(sweeper)
    searched = swept(sweeper, config.hydra.overrides.task)
    problems += filter(None, (_no_setting(override.key_or_group) for override in searched))
    distributions: dict[str, Any] = {}
    for override in searched:
        try:
            distributions[override.get_key_element()] = _distribution(override)
        except Exception as error:  # Optuna's, NumPy's, an assertion of the plugin's
            given = override.get_value_string()
            problems.append(Problem(override.key_or_group, f"{given} cannot be searched: {first_line(error)}."))
    problems = problems or [*_rehearse(sweeper, distributions)] or [*_storage(sweeper, distributions)]
    if problems:
        raise UserError(problems)


def _settings(sweeper: DictConfig) -> Iterator[Problem]:
    """Numbers out of range, and a direction that would look for the worst."""
    found: list[Problem] = []
    sampler = sweeper.get("sampler") or {}
    numbers = {name: sweeper.get(name) for name in ("n_trials", "n_jobs", "max_failure_rate")}
    parse(SweeperNumbers, {**numbers, "sampler": {"seed": sampler.get("seed")}}, SWEEPER, found)
    yield from found
    direction = sweeper.direction
    if getattr(direction, "name", direction) != "maximize":
        given = OmegaConf.to_container(direction) if OmegaConf.is_config(direction) else direction
        what = f"must be maximize, but is {getattr(given, 'name', given)}."
        yield Problem(f"{SWEEPER}.direction", what, "An objective that is minimised is negated for the search.")


def swept(sweeper: DictConfig, task: ListConfig) -> list[Override]:
    """What is searched: of the sweeper's own parameters and the command's, which win."""
    params = OmegaConf.to_container(sweeper.get("params") or OmegaConf.create({}), resolve=True)
    assert isinstance(params, Mapping)
    texts = [*(f"{key!s}={value}" for key, value in params.items()), *typed(task)]
    overrides = {each.get_key_element(): each for each in OverridesParser.create().parse_overrides(texts)}
    return [override for override in overrides.values() if override.is_sweep_override()]


def _no_setting(key: str) -> Problem | None:
    """What must not be searched: chance, which the luckiest draw wins, and what the scores are scores of."""
    what = "would be searched for as if it were a setting: "
    last = key.rsplit(".", 1)[-1]
    if key == "fold":
        how = "Give one, or search first and then use -m sweep=kfold with what was found."
        return Problem(key, f"{what}the easiest fold would win.", how)
    if last == "seed" or last.endswith("_seed"):
        how = f"Give one, or search first and then use -m {key}=1,2,3 with what was found."
        return Problem(key, f"{what}the luckiest one would win.", how)
    if key.split(".")[0] == "objective":
        return Problem(key, f"{what}scores of different objectives cannot be compared.", "Give one.")
    return None


def _distribution(override: Override) -> Any:
    """What Optuna draws from. Raises the errors of Optuna and of Hydra's plugin for it."""
    from hydra_plugins.hydra_optuna_sweeper._impl import create_optuna_distribution_from_override

    value = override.value()
    if isinstance(value, IntervalSweep):
        ends = (value.start, value.end)
        if not all(isinstance(end, int | float) and math.isfinite(end) for end in ends):
            raise ValueError("both ends must be finite numbers")
    if isinstance(value, Glob):
        raise ValueError("its options must be listed, as choice(a, b)")
    distribution = create_optuna_distribution_from_override(override)
    if not getattr(distribution, "choices", True):
        raise ValueError("it holds no value")
    return distribution


def _rehearse(sweeper: DictConfig, distributions: Mapping[str, Any]) -> Iterator[Problem]:
    """Draw some trials in memory, with made-up scores, as the search itself will."""
    import optuna

    try:
        sampler: Any = instantiate(sweeper.sampler, _execution_whitelist_=SAMPLERS)
        if not isinstance(sampler, optuna.samplers.BaseSampler):  # of a grid, which is made of all values
            yield from _endless(distributions)
            return
        study = optuna.create_study(sampler=sampler, direction="maximize")
        startup = sweeper.sampler.get("n_startup_trials")
        for number in range(min(sweeper.n_trials, REHEARSED, (startup if isinstance(startup, int) else 0) + 2)):
            trial = study.ask(dict(distributions))
            study.tell(trial, float(number % 3))
    except Exception as error:
        cause = error.__cause__ or error
        yield Problem(f"{SWEEPER}.sampler", f"cannot be used: {first_line(cause)}.")


def _endless(distributions: Mapping[str, Any]) -> Iterator[Problem]:
    """What a grid cannot list."""
    from optuna.distributions import FloatDistribution

    for key, each in distributions.items():
        if isinstance(each, FloatDistribution) and each.step is None:
            what = f"is {_shown(each)}, whose values a grid cannot list."
            yield Problem(key, what, "List some as choice(1,2,3), or take another hydra/sweeper/sampler.")


def _storage(sweeper: DictConfig, distributions: Mapping[str, Any]) -> Iterator[Problem]:
    """A storage that cannot be opened, and a study in it that is of another search."""
    import optuna
    from optuna.distributions import check_distribution_compatibility

    url, name = sweeper.get("storage"), sweeper.get("study_name")
    if not isinstance(url, str):
        return
    where, shown = f"{SWEEPER}.storage", without_credentials(url)
    if problem := _no_folder(url):
        yield Problem(where, problem, "Make it, or name another file.")
        return
    try:
        storage = optuna.storages.get_storage(url)
        known = name is not None and name in optuna.get_all_study_names(storage)
        study = optuna.load_study(study_name=name, storage=storage) if known else None
    except Exception as error:  # SQLAlchemy's, the database's, an import that fails
        how = "Expected one such as sqlite:///search.db."
        yield Problem(where, f"{shown} cannot be used: {without_credentials(first_line(error))}.", how)
        return
    if study is None:
        return
    again = f"Give that back, or another {SWEEPER}.study_name."
    if study.directions != [optuna.study.StudyDirection.MAXIMIZE]:
        what = f"the study {name!r} in {shown} was made to search for a minimum, or by several objectives."
        yield Problem(f"{SWEEPER}.study_name", what, "Name another.")
    before = {key: old for trial in study.get_trials(deepcopy=False) for key, old in trial.distributions.items()}
    for key in before.keys() & distributions.keys():
        try:
            check_distribution_compatibility(before[key], distributions[key])
        except ValueError:
            was, now = (_shown(each) for each in (before[key], distributions[key]))
            yield Problem(key, f"was {was} in the study {name!r} in {shown}, but is {now} now.", again)


def _no_folder(url: str) -> str:
    """What is wrong with the folder of a SQLite file; empty where nothing is."""
    path = url.removeprefix("sqlite:///")
    folder = Path(path).parent
    return f"the folder {folder} does not exist." if path not in (url, "") and not folder.is_dir() else ""


def _shown(distribution: Any) -> str:
    """A distribution as a user would write it."""
    choices = getattr(distribution, "choices", None)
    if choices is not None:
        return f"choice({', '.join(map(show, choices))})"
    interval = f"interval({distribution.low}, {distribution.high})"
    return f"tag(log, {interval})" if distribution.log else interval


def _quieten() -> None:
    """Show Optuna's warnings as any other, and nothing else of what it says."""
    import optuna

    optuna.logging.disable_default_handler()
    optuna.logging.enable_propagation()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    logging.getLogger(PLUGIN).setLevel(logging.CRITICAL)  # that a trial failed, its job has said


def no_trial_finished(error: BaseException) -> bool:
    """Whether a search was through, and looked in vain for its best trial; each storage says so in other words."""
    return any(frame.f_code.co_name == "best_trial" for frame, _ in walk_tb(error.__traceback__))


def end_trials(error: BaseException) -> None:
    """Mark the trials as failed that were running when the search ended."""
    for frame, _ in walk_tb(error.__traceback__):
        if frame.f_globals.get("__name__") != f"{PLUGIN}._impl":
            continue
        from optuna.trial import TrialState

        study, trials = frame.f_locals.get("study"), frame.f_locals.get("trials")
        if study is None or not isinstance(trials, list):
            continue
        for trial in trials:
            # One may have its score, or the storage be gone: the first error is reported, not this one.
            with suppress(Exception):
                study.tell(trial, state=TrialState.FAIL, skip_if_finished=True)
