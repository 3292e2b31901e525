"""The command line before Hydra sees it, and what was wrong with it after Hydra refused it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from counterpoise.config.resolvers import job_folder
from counterpoise.errors import Problem, UserError, fail, nearest

MULTIRUN_FLAGS = ("-m", "--multirun")


def prepare(arguments: Sequence[str]) -> list[str]:
    """Complete the arguments: ``resume=`` takes up that run's overrides, a multirun gets a stable folder.

    Raises:
        UserError: if ``resume`` names no run folder.
    """
    arguments = _take_up(list(arguments))
    if any(flag in arguments for flag in MULTIRUN_FLAGS):
        arguments = _name_jobs(arguments)
    return arguments


def _take_up(arguments: list[str]) -> list[str]:
    """Replace ``resume=FOLDER`` by the overrides of the run in it; what is given beside them stands after them."""
    given = [argument for argument in arguments if argument.startswith("resume=")]
    folder_name = given[-1].removeprefix("resume=").strip("'\"") if given else ""
    if folder_name in ("", "null"):
        return arguments
    folder = Path(folder_name).expanduser()
    saved = folder / ".hydra" / "overrides.yaml"
    if not saved.is_file():
        hint = f"Did you mean one of these? {_runs_near(folder)}" if _runs_near(folder) else ""
        raise fail("resume", f"{folder} is no run folder: it has no .hydra/overrides.yaml.", hint)
    before = OmegaConf.load(saved)
    assert isinstance(before, ListConfig)
    rest = [argument for argument in arguments if argument not in given]
    return [*(str(item) for item in before), f"hydra.run.dir={quoted(str(folder))}", *rest]


def _runs_near(folder: Path) -> str:
    parent = next((parent for parent in folder.parents if parent.is_dir()), None)
    found = sorted(parent.glob("**/.hydra/overrides.yaml"))[:3] if parent not in (None, Path()) else []
    return ", ".join(str(path.parent.parent) for path in found)


def quoted(value: str) -> str:
    """A value that Hydra's grammar reads as this string, whatever it holds."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def _name_jobs(arguments: list[str]) -> list[str]:
    """Name the sweep's folder by what is fixed and each job's by what varies, so that repeating it resumes it."""
    texts = [argument for argument in arguments if not argument.startswith("-")]
    try:
        overrides = OverridesParser.create().parse_overrides(texts)
    except HydraException:
        return arguments  # Hydra refuses it with a better message
    keys = [override.key_or_group for override in overrides]
    preset = next((o.value() for o in overrides if o.key_or_group == "sweep"), None)
    swept = [o for o in overrides if o.is_sweep_override()]
    fixed = [o for o in overrides if not o.is_sweep_override() and not o.key_or_group.startswith("hydra.")]
    name = str(preset) if preset else ",".join(o.key_or_group.rsplit(".", 1)[-1] for o in swept) or "single"
    rest = sorted(_text(o) for o in fixed if o.key_or_group != "sweep")
    added = []
    if "hydra.sweep.dir" not in keys:
        folder = job_folder("-".join([name, *rest]))
        added.append("hydra.sweep.dir=${paths.multirun}/" + folder.replace("=", "_"))
    excluded = ",".join(sorted({o.key_or_group for o in fixed}))
    added.append(f"hydra.job.config.override_dirname.exclude_keys=[{excluded}]")
    return [*arguments, *added]


def _text(override: Override) -> str:
    kept = "".join(c if c.isalnum() or c in "=._-" else "_" for c in override.input_line or "")
    return kept.strip("_")


def explain(arguments: Sequence[str], error: Exception, conf: Path) -> UserError:
    """Everything that is wrong with a command line that Hydra refused.

    Hydra stops at the first unknown key; here every override is tried by itself, so that all are named at once.
    """
    texts = [a for a in arguments if (not a.startswith("-") and "=" in a) or a.startswith(("~", "+"))]
    problems = _grammar(texts)
    if problems:
        return UserError(problems)
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(conf.resolve())):
        problems = _unknown(OverridesParser.create().parse_overrides(texts), conf)
    return UserError(problems or [Problem("config", _one_line(error))])


def _grammar(texts: Iterable[str]) -> list[Problem]:
    found = []
    for text in texts:
        try:
            OverridesParser.create().parse_override(text)
        except HydraException as error:
            found.append(Problem(text, _one_line(error), "Quote values that hold special characters: 'key=\"a b\"'."))
    return found


def _unknown(overrides: list[Override], conf: Path) -> list[Problem]:
    found: list[Problem] = []
    choices: list[str] = []
    for override in overrides:
        group = conf / override.key_or_group.split("@")[0]
        if group.is_dir():
            problem = _unknown_option(override, group)
            (found.append(problem) if problem else choices.append(override.input_line or ""))
    config = _compose(choices)
    for override in overrides:
        key = override.key_or_group
        if (conf / key.split("@")[0]).is_dir() or key.startswith("hydra"):
            continue
        if config is not None and not override.is_add():
            found += _unknown_key(key, config)
    if not found:
        found += _refused(overrides)
    return found


def _unknown_option(override: Override, group: Path) -> Problem | None:
    options = sorted(path.stem for path in group.glob("*.yaml"))
    values = list(override.sweep_string_iterator()) if override.is_sweep_override() else [override.value()]
    for value in values:
        if value is not None and str(value).strip("'\"") not in options and str(value) != "null":
            return Problem(override.key_or_group, f"has no option {str(value)!r}.", nearest(str(value), options))
    return None


def _compose(choices: Sequence[str]) -> DictConfig | None:
    try:
        return compose("config", overrides=list(choices))
    except (HydraException, OmegaConfBaseException):
        return None


def _unknown_key(key: str, config: Any) -> list[Problem]:
    node = config
    walked: list[str] = []
    for part in key.split("."):
        if not isinstance(node, DictConfig):
            return [Problem(key, f"{'.'.join(walked)} is a single value; it has no key {part!r}.")]
        if part not in node:
            names = [f"{'.'.join([*walked, str(name)])}" for name in node if name != "hydra"]
            remedy = nearest(".".join([*walked, part]), names)
            return [Problem(key, "unknown key.", remedy or _elsewhere(part, config))]
        walked.append(part)
        node = OmegaConf.select(config, ".".join(walked)) if not OmegaConf.is_missing(node, part) else None
        if node is None:
            break
    return []


def _elsewhere(name: str, config: DictConfig) -> str:
    plain = OmegaConf.to_container(config, resolve=False)
    found = [key for key in _keys(plain) if key.rsplit(".", 1)[-1] == name]
    return f"Did you mean {found[0]!r}?" if found else ""


def _keys(node: object, where: str = "") -> Iterable[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield f"{where}{key}"
            yield from _keys(value, f"{where}{key}.")


def _refused(overrides: Iterable[Override]) -> list[Problem]:
    found = []
    for override in overrides:
        if override.is_sweep_override():
            message = "is a list of values to sweep over, but this is a single run."
            found.append(Problem(override.input_line or override.key_or_group, message, "Add -m."))
    return found


def _one_line(error: BaseException) -> str:
    parts = [str(error), str(error.__cause__ or "")]
    lines = [line.strip() for part in parts for line in part.splitlines() if line.strip()]
    kept = [line for line in lines if not line.startswith(("full_key", "object_type", "See https", "^", "To append"))]
    return " ".join(dict.fromkeys(kept)) or type(error).__name__
