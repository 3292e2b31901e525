"""The command line before Hydra sees it: checked, ``resume=`` taken up, the folders of a multirun named."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from hydra._internal.utils import get_args_parser
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from counterpoise.config.experiment import FREE
from counterpoise.config.overrides import quoted, settings_name
from counterpoise.config.saved import Given, overrides_to_resume
from counterpoise.config.yaml_files import read_yaml
from counterpoise.errors import fail, nearest
from counterpoise.paths import user_path

UNKNOWN = "unrecognized arguments: "
"""What argparse says of an option that does not exist."""


def parse_options(arguments: Sequence[str]) -> argparse.Namespace:
    """Hydra's options (``multirun``, ``cfg``, ``help``, ...), and all else in ``overrides``.

    Raises:
        UserError: for an option that does not exist, or one with a wrong value.
    """
    parser = get_args_parser()
    options = [option for action in parser._actions for option in action.option_strings]

    def refuse(message: str) -> NoReturn:
        if not message.startswith(UNKNOWN):
            raise fail("command line", f"{message}.")
        unknown = message.removeprefix(UNKNOWN).split(" ")[0]
        raise fail("command line", f"there is no option {unknown}.", nearest(unknown, options))

    parser.error = refuse  # type: ignore[method-assign]
    return parser.parse_intermixed_args(list(arguments))


def is_multirun(options: argparse.Namespace) -> bool:
    """Whether these options start several jobs."""
    return bool(options.multirun) or "hydra.mode=MULTIRUN" in options.overrides


def prepare(arguments: Sequence[str], url: str | None = None) -> list[str]:
    """Complete the arguments: ``resume=`` takes up that run's overrides, a multirun gets stable folder names.

    Args:
        arguments: as they were typed, with a folder in ``resume=``.
        url: of the mirror that this folder was fetched from.

    Raises:
        UserError: for unknown options, if ``resume`` names no run folder, if that run needs to be given something that
            only the command line may decide, or if it comes with ``-m``.
    """
    options = parse_options(arguments)
    if options.config_dir is not None and not Path(options.config_dir).is_dir():
        raise fail("--config-dir", f"{options.config_dir!r} is no folder.")
    if is_multirun(options):
        if resumed(arguments) is not None:
            raise fail("resume", "continues a single run.", "To resume a multirun, give the same command again.")
        return [*arguments, *_names(options.overrides)]
    preset = next((item for item in arguments if item.startswith("sweep=") and item != "sweep=null"), None)
    if preset is not None and not (options.cfg or options.help or options.shell_completion or options.info):
        raise fail(preset, "starts several jobs, but this is a single run.", "Add -m.")
    return _take_up(list(arguments), options, url)


def resumed(arguments: Sequence[str]) -> str | None:
    """What ``resume=`` names; ``None`` where it is not given."""
    given = [item.removeprefix("resume=").strip("'\"") for item in arguments if item.startswith("resume=")]
    return given[-1] if given and given[-1] not in ("", "null") else None


def _take_up(arguments: list[str], options: argparse.Namespace, url: str | None) -> list[str]:
    """Replace ``resume=FOLDER`` by the overrides of the run in it; what is given beside them stands after them."""
    name = resumed(arguments)
    if name is None:
        return arguments
    folder = user_path(name, "resume")
    given = Given.parse(options.overrides, url)
    before = [item for item in overrides_to_resume(folder, given) if not item.startswith("sweep=")]
    lacking = [item for item in _options_of(folder) if not _given(item[0], options)]
    if lacking:
        listed = " ".join(f"{option}{text}" for option, text in lacking)
        raise fail("resume", f"the run was started with {listed}, which it needs.", f"Add {listed}.")
    rest = [item for item in arguments if not item.startswith("resume=")]
    return [*before, f"hydra.run.dir={quoted(str(folder))}", *rest]


def _options_of(folder: Path) -> list[tuple[str, str]]:
    """With which options a run found its configs, and their values: a run saves none of them, see below."""
    try:
        content: Any = OmegaConf.to_container(read_yaml(folder / ".hydra" / "hydra.yaml"), resolve=False)
        hydra = content["hydra"]
        listed = hydra["runtime"]["config_sources"]
        sources = [(str(each["provider"]), str(each["path"]), str(each["schema"])) for each in listed]
        name = str(hydra["job"]["config_name"])
    except Exception:  # YAML's own errors, another shape: Hydra says what it does not find
        return []
    found = [(CONFIG_DIR, f" {shlex.quote(path)}") for provider, path, _ in sources if provider == "command-line"]
    searched = [f"{kind}://{path}" for provider, path, kind in sources if provider == f"{SEARCH_PATH} in command-line"]
    if searched:
        found.append((SEARCH_PATH, f"=[{','.join(searched)}]"))
    return found if name == "config" else [*found, (CONFIG_NAME, f" {name}")]


CONFIG_DIR, SEARCH_PATH, CONFIG_NAME = "--config-dir", "hydra.searchpath", "--config-name"
"""How the folders of configs, and the primary one, can be chosen."""


def _given(option: str, options: argparse.Namespace) -> bool:
    """Whether an option is given, with any value: a folder may have moved."""
    values = {CONFIG_DIR: options.config_dir, CONFIG_NAME: options.config_name}
    if option in values:
        return values[option] is not None
    return any(text.startswith(f"{option}=") for text in options.overrides)


def _names(texts: Sequence[str]) -> list[str]:
    """Name a multirun's folder by what is fixed and each job's by what varies, so that repeating it resumes it."""
    try:
        given = OverridesParser.create().parse_overrides(list(texts))
    except (HydraException, OmegaConfBaseException, ValueError):
        return []  # Hydra refuses it, and that is explained
    overrides = list({each.key_or_group: each for each in given}.values())  # of a key that is given twice the last
    excluded = sorted({o.key_or_group for o in overrides if not (o.is_sweep_override() or o.is_hydra_override())})
    added = [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(quoted, excluded))}]"]
    if not any(override.key_or_group == "hydra.sweep.dir" for override in overrides):
        added.append(f"hydra.sweep.dir='${{paths.multirun}}/{_sweep_name(overrides)}'")
    return added


def _sweep_name(overrides: Sequence[Override]) -> str:
    """What varies, then what is fixed and can change a result; the same in whatever order it was given."""
    varying = sorted(o.key_or_group.rsplit(".", 1)[-1] for o in overrides if o.is_sweep_override())
    presets = [str(o.value()) for o in overrides if o.key_or_group == "sweep"]
    fixed = [o for o in overrides if not o.is_sweep_override() and not o.key_or_group.startswith(("hydra", *FREE))]
    first = "_".join([*presets, *varying]) or "single"
    return settings_name([o for o in fixed if o.key_or_group != "sweep"], "-", first)
