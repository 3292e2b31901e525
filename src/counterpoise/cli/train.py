"""``python src/train.py``: a single run or a multirun, as Hydra calls it."""

from __future__ import annotations

import logging
import math
import os
import sys
import traceback
from argparse import Namespace
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from counterpoise.addresses import without_credentials
from counterpoise.cli.exits import EXIT_FAILED_PROTOCOL, EXIT_FAULT, EXIT_OK, attempt, gravest
from counterpoise.config import extensions, resolvers
from counterpoise.config.arguments import is_multirun, parse_options, prepare, resumed
from counterpoise.config.credentials import check_arguments, check_composed
from counterpoise.config.home import as_typed
from counterpoise.config.overrides import settled, typed
from counterpoise.config.refusal import Sources, explain, plugin_of
from counterpoise.config.saved import overrides_file, saved_overrides
from counterpoise.errors import (
    FailedProtocolError,
    Problem,
    StorageError,
    TrainingAbortedError,
    UserError,
    escape_control,
    fail,
)
from counterpoise.jsonio import write_json
from counterpoise.paths import user_path
from counterpoise.sweeps.multirun import Multirun, Refused
from counterpoise.sweeps.search import end_trials, no_trial_finished
from counterpoise.terminal import escaped_streams, say, say_all
from counterpoise.tracking.log_lines import LineFormatter

if TYPE_CHECKING:
    from counterpoise.reports.jobs import JobSummary

resolvers.register()  # at import: the workers of a multirun import this module too

TRUSTED = (
    "counterpoise.sweeps.home.HomeFolders",
    "counterpoise.sweeps.multirun.Multirun",
    "hydra.experimental.callbacks.*",
    "hydra_plugins.*",
    "optuna.samplers.*",
)
"""What Hydra itself may construct from its own section: callbacks, sweepers, launchers, samplers.

Whole packages are not named: their functions may write files, or call what a config names."""


def train(conf: Path) -> int:
    """``python src/train.py``: a single run, or a multirun with its summary.

    Args:
        conf: the folder of ``config.yaml``.

    Returns:
        the exit code, see :mod:`counterpoise.cli.exits`.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra shall raise; how an error is shown is decided below
    os.environ["COUNTERPOISE_CONF"] = str(conf.resolve())  # launchers' workers inherit it
    Multirun.current = None
    code = attempt(lambda: _train(sys.argv[1:], conf))
    return code if Multirun.current is None else gravest(code, attempt(_summarise))


def _train(arguments: list[str], conf: Path) -> int:
    extensions.look_in(Path.cwd())
    check_arguments(arguments, allowed=("resume",))
    arguments = as_typed(arguments)
    asked, arguments = resumed(arguments), _fetched(arguments)
    folder, given = resumed(arguments), parse_options(arguments).overrides
    arguments = prepare(arguments, url=None if asked == folder else asked)
    options = parse_options(arguments)
    caught: list[Exception] = []
    results: list[Mapping[str, Any]] = []

    def single_job(config: DictConfig) -> None:
        try:
            results.append(train_job(config, single=True))
        except Exception as error:  # kept for below: Hydra would print a line of its own about it
            caught.append(error)

    if is_multirun(options):
        _call_hydra(sweep_job, [*arguments, Multirun.OVERRIDE], options, conf)
    else:
        try:
            _call_hydra(single_job, arguments, options, conf)
        except UserError as error:
            raise (error if folder is None else _of_saved(error, user_path(folder, "resume"), given)) from None
    if caught:
        raise caught[0]
    return _code(results[0]) if results else EXIT_OK


def _of_saved(error: UserError, folder: Path, given: Iterable[str]) -> UserError:
    """The same problems; those with overrides that the run saved are named by its file."""
    keys = {_key(text) for text in saved_overrides(folder)} - {_key(text) for text in given}
    where = str(overrides_file(folder))
    how = "Start the run again without resume."
    return UserError(
        Problem(where, f"{each.where}: {each.message}", how) if _key(each.where) in keys else each
        for each in error.problems
    )


def _key(text: str) -> str:
    return text.partition("=")[0].lstrip("+~")


def _refuse_sweep() -> None:
    """A preset that chooses a sweep is no single run, unless what it varies is given: as by a resumed job of it."""
    settings = HydraConfig.get()
    given = {override.partition("=")[0].lstrip("+") for override in typed(settings.overrides.task)}
    varied = [key for key in settings.sweeper.get("params") or {} if key not in given]
    if varied:
        preset = settings.runtime.choices.get("experiment")
        what = f"starts several jobs, one for each {', '.join(varied)}, but this is a single run."
        raise fail(f"experiment={preset}", what, "Add -m.")


def _code(result: Mapping[str, Any]) -> int:
    """What a run that left a result exits with."""
    stopped = result["status"] == "collapsed"
    if stopped:
        say(f"The run was stopped: {result['ended_by']['reason']}.", error=True)
    if not result.get("protocol", {"passed": True})["passed"]:
        return EXIT_FAILED_PROTOCOL
    return EXIT_FAULT if stopped else EXIT_OK


def _fetched(arguments: list[str]) -> list[str]:
    """Replace ``resume=URL`` by the folder into which that run was fetched from its mirror."""
    url = resumed(arguments)
    if url is None or is_multirun(parse_options(arguments)):
        return arguments
    from counterpoise.engine.store_url import is_url

    if not is_url(url):
        return arguments
    from counterpoise.engine.restore import restore_from

    given = _last(arguments, "hydra.run.dir")
    folder = restore_from(url, user_path(given, "hydra.run.dir") if given else None, **_timeout(arguments))
    say(f"{without_credentials(url, url)} is in {folder}.")
    kept = (item for item in arguments if not item.startswith(("resume=", "hydra.run.dir=")))
    return [*kept, f"resume={folder}"]


def _timeout(arguments: Sequence[str]) -> dict[str, float]:
    """``mirror.timeout`` where it is given; a value that is none is refused with the other settings."""
    try:
        seconds = float(_last(arguments, "mirror.timeout") or "nan")
    except ValueError:
        return {}
    return {"timeout": seconds} if 0 < seconds < math.inf else {}


def _last(arguments: Sequence[str], key: str) -> str | None:
    """The value of an override of this key, the last of several, without its quotes."""
    values = [item.partition("=")[2].strip("'\"") for item in arguments if item.startswith(f"{key}=")]
    return values[-1] if values else None


def _call_hydra(task: Callable[[DictConfig], Any], arguments: list[str], options: Namespace, conf: Path) -> None:
    """Let Hydra compose the config and call ``task``, for every job if there are several."""
    sys.argv[1:] = arguments
    try:
        hydra.main(config_path=str(conf.resolve()), config_name="config", execution_whitelist=TRUSTED)(task)()
    except Refused as refused:
        raise refused.error from None
    except BaseException as error:  # never a job's own: those are caught in ``task``
        end_trials(error)
        if not isinstance(error, Exception):
            raise
        if no_trial_finished(error):
            raise fail(
                "sweep", "no trial finished, so there is no best configuration.", "See the failures above."
            ) from error
        if plugin_of(error) == "hydra.launcher" and Multirun.current is not None and Multirun.current.started:
            raise  # of the machine, or a fault: no mistake of the user's
        sources = Sources(Path(options.config_path or conf), options.config_name or "config", options.config_dir)
        problems = explain(options.overrides, error, sources)
        if problems:
            raise UserError(problems) from error
        if isinstance(error, OSError):  # of the folder of a job, which Hydra makes
            where = str(error.filename or "hydra.run.dir")
            raise fail(where, f"cannot be written: {error.strerror or error}.") from error
        raise


def train_job(config: DictConfig, *, single: bool = False) -> Mapping[str, Any]:
    """One run; its result, or the plan of a dry one. A ``single`` one is no job of a multirun."""
    _show_warnings()
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    extensions.look_in(Path(settings.runtime.cwd))  # of the command: a job may have a folder, and a process, of its own
    try:
        check_composed(config, HydraConfig.instance().cfg.hydra)  # type: ignore[union-attr]
        plain = _plain(config)
        if single:
            _refuse_sweep()
        from counterpoise.run import Invocation, run

        overrides = tuple(settled(typed(settings.overrides.task), plain))
        files = {
            "config.yaml": config,
            "hydra.yaml": OmegaConf.masked_copy(HydraConfig.instance().cfg, ["hydra"]),  # type: ignore[arg-type]
            "overrides.yaml": OmegaConf.create(list(overrides)),
        }
        sweep = None if single else Path(settings.sweep.dir)
        invocation = Invocation(Path(os.environ["COUNTERPOISE_CONF"]) / "hardware", overrides, files, sweep)
        return run(plain, folder, invocation)
    finally:
        _remove_if_empty(folder, Path(settings.runtime.cwd))


def _for_sweeper(result: Mapping[str, Any]) -> float | None:
    """The score as sweepers see it, whose direction is fixed: larger is better.

    NaN, which they take for a failed trial, for a run that collapsed: a healthy epoch before it does not make its
    configuration one to choose. ``None`` for a dry run.
    """
    if result["status"] == "dry_run":
        return None
    if result["status"] == "collapsed":
        return float("nan")
    objective = result["objective"]
    return float(objective["score"]) * (1 if objective["maximise"] else -1)


def sweep_job(config: DictConfig) -> float | None:
    """One job of a multirun: a failure is recorded in its folder and the other jobs go on.

    Returns:
        the objective's score; NaN for a job that failed, which sweepers take for a failed trial; ``None`` for a dry
        run.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    with escaped_streams():  # it may be called in a process of its own
        say("", f"Job {folder.name}")
        try:
            return _for_sweeper(train_job(config))
        except Exception as error:
            _record_failure(folder, error)
            return float("nan")


def _show_warnings() -> None:
    """Send warnings to stderr, as one line each; the rest is for the run's own log, or for ``report``."""
    root = logging.getLogger()
    if not any(handler.get_name() == __name__ for handler in root.handlers):
        handler = logging.StreamHandler()
        handler.set_name(__name__)
        handler.setLevel(logging.WARNING)
        handler.addFilter(
            lambda record: not (record.name.startswith("counterpoise.") and record.levelno > logging.WARNING)
        )
        handler.setFormatter(LineFormatter("Warning: %(message)s"))
        root.addHandler(handler)


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise fail(error.full_key or "config", f"{str(error).splitlines()[0]}.") from error
    assert isinstance(plain, dict)
    if plain.get("resume"):
        raise fail("resume", "belongs on the command line.", "Write resume=FOLDER.")
    return {str(key): value for key, value in plain.items()}


def _record_failure(folder: Path, error: Exception) -> None:
    """Leave a failed job's reason in its folder, so that the summary can list it."""
    expected = isinstance(error, UserError | TrainingAbortedError | StorageError)
    message = without_credentials(str(error) if expected else f"{type(error).__name__}: {error}")
    say_all(f"Job {escape_control(folder.name)} failed: {message}", error=True)
    status = "aborted" if isinstance(error, TrainingAbortedError) else "failed"
    trace = "" if expected else without_credentials("".join(traceback.format_exception(error)))
    overrides = typed(HydraConfig.get().overrides.task)
    content: dict[str, Any] = {"status": status, "message": message, "overrides": overrides, "traceback": trace}
    if isinstance(error, FailedProtocolError):
        content["protocol"] = error.protocol
    from counterpoise.tracking.folder import FolderInUseError, RunFolder

    try:
        with RunFolder(folder).held():
            write_json(folder / "failure.json", content)
    except FolderInUseError:
        return  # the other process says how its run ends
    except (UserError, OSError) as fault:  # the other jobs go on: their folders may be elsewhere, or the disk come back
        say(f"Job {folder.name}: failure.json could not be written: {fault}.", error=True)


def _remove_if_empty(folder: Path, start: Path) -> None:
    """Take back the folders that Hydra made for a run that never began; never ``start`` itself."""
    try:
        for path in (folder, *folder.parents[:3]):
            if path == start or any(path.iterdir()):
                return
            path.rmdir()
    except OSError:
        return


def _remove_if_idle(folder: Path) -> None:
    """Take back a multirun's folder in which no job left anything: of a dry run, or a refused one."""
    with suppress(OSError):  # a name that is too long, for example
        if {path.name for path in folder.iterdir()} <= {"multirun.yaml"}:
            (folder / "multirun.yaml").unlink(missing_ok=True)
            _remove_if_empty(folder, Path.cwd())


def _summarise() -> int:
    """After a multirun, show its jobs; returns the exit code that they deserve.

    Raises:
        StorageError: if the summary cannot be written.
    """
    multirun = Multirun.current
    if multirun is None:
        return EXIT_OK
    jobs = multirun.jobs()
    _remove_if_idle(multirun.path.absolute())
    from counterpoise.sweeps.summary import summarise
    from counterpoise.tracking.mlflow_sweep import end_sweep

    try:
        summaries = summarise(multirun.path, jobs, report=multirun.reports)
    except OSError as error:
        what = f"the summary of the jobs could not be written: {error.strerror or error}."
        how = "Free some space, and give the same command again: a job that has finished is not trained again."
        raise StorageError(Problem(str(multirun.path), what, how)) from error
    _show_warnings()
    end_sweep(multirun.path, jobs, [job.status for job in summaries])
    return gravest(*(_code_of_job(job) for job in summaries))


def _code_of_job(job: JobSummary) -> int:
    """What a job of a multirun would have exited with by itself, its fault or mistake aside."""
    if job.protocol is False:
        return EXIT_FAILED_PROTOCOL
    return EXIT_OK if job.status == "finished" else EXIT_FAULT
