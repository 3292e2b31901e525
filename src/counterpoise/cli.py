"""Entry points: parse, call, exit code. The one place that decides how an error is shown.

Imported by every command, ``--help`` and shell completion included: nothing here imports torch at the top.
"""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from counterpoise.config import resolvers
from counterpoise.config.overrides import MULTIRUN_FLAGS, explain, prepare
from counterpoise.errors import UserError, fail
from counterpoise.jsonio import write_json

resolvers.register()  # at import: the workers of a multirun import this module too

log = logging.getLogger(__name__)

EXIT_OK, EXIT_FAULT, EXIT_USER, EXIT_INTERRUPTED = 0, 1, 2, 130


def train(conf: Path) -> int:
    """``python src/train.py``: a single run, or a multirun with its summary.

    Args:
        conf: the folder of ``config.yaml``.

    Returns:
        the exit code: 0, 1 for a fault of the run, 2 for a mistake of the user, 130 for Ctrl-C.
    """
    os.environ["HYDRA_FULL_ERROR"] = "1"  # Hydra shall raise; how an error is shown is decided below
    os.environ["COUNTERPOISE_CONF"] = str(conf.resolve())  # launchers' workers inherit it
    sys.path.insert(0, str(Path.cwd()))  # extensions lie where the command is run
    arguments = sys.argv[1:]
    caught: list[Exception] = []

    def single_job(config: DictConfig) -> None:
        try:
            train_job(config)
        except Exception as error:  # kept for below: Hydra would print a line of its own about it
            caught.append(error)

    try:
        arguments = prepare(arguments)
        sys.argv[1:] = arguments
        task = sweep_job if _is_multirun(arguments) else single_job
        hydra.main(config_path=str(conf.resolve()), config_name="config")(task)()
        if caught:
            raise caught[0]
    except BaseException as error:
        code = report(error, lambda refused: explain(arguments, refused, conf))
        _summarise(arguments)
        return code
    return EXIT_FAULT if _summarise(arguments) else EXIT_OK


def _is_multirun(arguments: list[str]) -> bool:
    return any(flag in arguments for flag in MULTIRUN_FLAGS)


def train_job(config: DictConfig) -> float | None:
    """One run, as Hydra calls it.

    Returns:
        the objective's score, for a sweeper; ``None`` for a dry run.
    """
    _show_warnings()
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    try:
        from counterpoise.run import Invocation, run

        overrides = tuple(settings.overrides.task)
        files = {
            "config.yaml": config,
            "hydra.yaml": OmegaConf.masked_copy(HydraConfig.instance().cfg, ["hydra"]),  # type: ignore[arg-type]
            "overrides.yaml": OmegaConf.create(list(overrides)),
        }
        invocation = Invocation(Path(os.environ["COUNTERPOISE_CONF"]) / "hardware", overrides, files)
        result = run(_plain(config), folder, invocation)
    except BaseException:
        _remove_if_empty(folder)
        raise
    if result.get("status") == "dry_run":
        _remove_if_empty(folder)
        return None
    return float(result["objective"]["score"])


def sweep_job(config: DictConfig) -> float:
    """One job of a multirun: a failure is recorded in its folder and the other jobs go on.

    Returns:
        the objective's score; NaN for a job that failed, which sweepers take for a failed trial.
    """
    folder = Path(HydraConfig.get().runtime.output_dir)
    print(f"\nJob {folder.name}")
    try:
        score = train_job(config)
    except Exception as error:
        _record_failure(folder, error)
        return float("nan")
    return float("nan") if score is None else score


def _show_warnings() -> None:
    """Send warnings to stderr, as one line each; everything else is for the run's own log."""
    root = logging.getLogger()
    if not any(handler.get_name() == __name__ for handler in root.handlers):
        handler = logging.StreamHandler()
        handler.set_name(__name__)
        handler.setLevel(logging.WARNING)
        handler.setFormatter(logging.Formatter("Warning: %(message)s"))
        root.addHandler(handler)


def _plain(config: DictConfig) -> dict[str, Any]:
    try:
        plain = OmegaConf.to_container(config, resolve=True, throw_on_missing=False)
    except OmegaConfBaseException as error:
        raise fail(error.full_key or "config", str(error).splitlines()[0]) from error
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def report(error: BaseException, explain_refusal: Callable[[Exception], UserError]) -> int:
    """Show an error as it deserves, and say with what code to exit."""
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else EXIT_OK if error.code is None else EXIT_FAULT
    if isinstance(error, KeyboardInterrupt):
        print("\nInterrupted. To continue: resume=<run folder>, or the same multirun again.", file=sys.stderr)
        return EXIT_INTERRUPTED
    if isinstance(error, HydraException | OmegaConfBaseException):
        error = explain_refusal(error)
    if isinstance(error, UserError):
        print(_listing(error), file=sys.stderr)
        return EXIT_USER
    if type(error).__name__ == "TrainingAbortedError":
        print(f"Training was aborted. {error}", file=sys.stderr)
        return EXIT_FAULT
    log.error("The run failed.", exc_info=error)
    traceback.print_exception(error)
    return EXIT_FAULT


def _listing(error: UserError) -> str:
    count = len(error.problems) + error.hidden
    title = "1 problem:" if count == 1 else f"{count} problems:"
    return "\n".join([title, *(f"  {line}" for line in str(error).splitlines())])


def _record_failure(folder: Path, error: Exception) -> None:
    """Leave a failed job's reason in its folder, so that the summary can list it."""
    print(f"Job {folder.name} failed: {error}", file=sys.stderr)
    if type(error).__name__ == "TrainingAbortedError":
        return  # the run itself has recorded why
    trace = "" if isinstance(error, UserError) else "".join(traceback.format_exception(error))
    failure = {"status": "failed", "error": type(error).__name__, "message": str(error), "traceback": trace}
    write_json(folder / "failure.json", failure)


def _remove_if_empty(folder: Path) -> None:
    """Take back the folders that Hydra made for a run that never began."""
    try:
        for path in (folder, *folder.parents[:3]):
            if path == Path.cwd() or any(path.iterdir()):
                return
            path.rmdir()
    except OSError:
        return


def _summarise(arguments: list[str]) -> bool:
    """After a multirun, show all its jobs; returns whether one of them did not finish."""
    if not HydraConfig.initialized() or not _is_multirun(arguments):
        return False
    from counterpoise.sweeps.summary import summarise

    return summarise(Path(HydraConfig.get().sweep.dir))
