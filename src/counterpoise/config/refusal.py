"""What was wrong with a command line that Hydra refused.

Hydra refuses with its own errors mostly, but with ValueError, TypeError and others too: all are caught here.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from traceback import walk_tb
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.object_type import ObjectType
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException, MissingConfigException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from counterpoise.config.overrides import literal
from counterpoise.config.targets import SEVERAL
from counterpoise.config.values import show
from counterpoise.errors import Problem, closest, nearest

NOISE = (
    *("full_key", "object_type", "reference_type", "See https", "^", "To append", "Config search path", "provider="),
    "LexerNoViable",
)
"""Lines of Hydra's messages that say nothing to a user."""


@dataclass(frozen=True)
class Sources:
    """Where configs are looked for."""

    conf: Path
    """The folder of the primary config."""
    name: str = "config"
    """The primary config's."""
    folder: str | None = None
    """What ``--config-dir`` names."""

    def override(self, overrides: Iterable[Override]) -> list[str]:
        """Further folders, those of ``hydra.searchpath`` among them, as an override of it."""
        given = [each.value() for each in overrides if each.key_or_group == SEARCH_PATH]
        listed = [item for value in given[-1:] if isinstance(value, list) for item in value]
        own = [] if self.folder is None else [f"file://{Path(self.folder).absolute()}"]
        return [f"{SEARCH_PATH}={literal([*own, *listed])}"] if own or listed else []


SEARCH_PATH = "hydra.searchpath"


def explain(texts: Sequence[str], error: Exception, sources: Sources) -> list[Problem]:
    """Everything that is wrong with a command line that Hydra refused; empty if it is not to blame.

    Hydra stops at the first mistake; here every override is looked at by itself, so that all are named at once.

    Args:
        texts: the overrides.
        error: what Hydra raised.
        sources: where Hydra looked for configs.
    """
    problems = list(_grammar(texts))
    if problems:
        return problems
    overrides = OverridesParser.create().parse_overrides(list(texts))
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(sources.conf.resolve())):
        problems = _each(overrides, Composer(sources.name, tuple(sources.override(overrides))))
    return problems or _sweeps(overrides, error) or _whole(error)


def _grammar(texts: Iterable[str]) -> Iterator[Problem]:
    for text in texts:
        try:
            key = OverridesParser.create().parse_override(text).key_or_group
        except Exception as error:
            if "=" not in text and not text.startswith("~"):
                yield Problem(text, "is not of the form key=value.")
            else:
                message = f"cannot be read: {_one_line(error).split(' expecting ')[0]}."
                yield Problem(text, message, f"Quote special characters: '{text.split('=')[0]}=\"...\"'.")
            continue
        if not key:
            yield Problem(text, "has no key.", "Overrides are of the form key=value.")


@dataclass(frozen=True)
class Composer:
    """Composes configs from the folders of the command line."""

    name: str
    """Of the primary config."""
    search: tuple[str, ...] = ()
    """Overrides that say where else to look."""

    def __call__(self, texts: Sequence[str]) -> DictConfig | Exception:
        """The config with these overrides, or what Hydra says against it."""
        try:
            return compose(self.name, overrides=[*self.search, *texts])
        except Exception as error:
            return error

    def options(self, group: str) -> list[str]:
        """Those of a group; none where it is no group."""
        loader = GlobalHydra.instance().config_loader()
        return sorted(loader.get_group_options(group, ObjectType.CONFIG, self.name, list(self.search)))


def _each(overrides: Sequence[Override], compose_with: Composer) -> list[Problem]:
    found: list[Problem] = []
    choices: list[str] = []
    values: list[Override] = []
    for override in overrides:
        key = override.key_or_group
        if key == SEARCH_PATH:
            continue
        options = [] if override.is_delete() or key.startswith("hydra") else compose_with.options(key)
        if not options:
            values.append(override)
        elif problem := _unknown_option(override, options):
            found.append(problem)
        elif not override.is_sweep_override():
            choices.append(override.input_line or "")
    config = compose_with(choices)
    if isinstance(config, DictConfig):
        unknown = {id(override): _unknown_key(override, config) for override in values}
        known = [o.input_line or "" for o in values if not unknown[id(o)] and not o.is_sweep_override()]
        fine = isinstance(compose_with([*choices, *known]), DictConfig)
        for override in values:
            found += unknown[id(override)] or ([] if fine else _alone(override, choices, compose_with))
    return found


def _unknown_option(override: Override, options: Sequence[str]) -> Problem | None:
    key = override.key_or_group
    if override.package is not None:
        return Problem(override.get_key_element(), "cannot be placed elsewhere.", f"Write {key}=OPTION.")
    values = _values(override)
    if key in SEVERAL:
        values = [item for value in values for item in (value if isinstance(value, list) else [value])]
    for value in values:
        if value is None and key not in OPTIONAL:
            return Problem(key, "needs an option, but is null.", f"Valid names: {', '.join(options)}.")
        if value is not None and str(value).strip("'\"") not in options:
            return Problem(key, f"has no option {show(value)}.", nearest(str(value), options))
    return None


def _values(override: Override) -> list[Any]:
    """The value, or all of them if it sweeps over a list."""
    if not override.is_sweep_override():
        return [override.value()]
    try:
        return [None if value == "null" else value for value in override.sweep_string_iterator()]
    except HydraException:  # an interval or a glob, which cannot be listed
        return []


OPTIONAL = ("sweep", "experiment")
"""Groups of which nothing need be chosen."""


def _alone(override: Override, choices: Sequence[str], compose_with: Composer) -> list[Problem]:
    """What Hydra says about this override when nothing but the choices of options stands beside it."""
    if override.is_sweep_override():
        return []
    answer = compose_with([*choices, override.input_line or ""])
    if isinstance(answer, DictConfig):
        return []
    if isinstance(answer, MissingConfigException) and answer.options is not None:
        value = str(override.value())
        return [Problem(override.key_or_group, f"has no option {value!r}.", nearest(value, answer.options))]
    return [Problem(override.key_or_group, _one_line(answer))]


def _unknown_key(override: Override, config: DictConfig) -> list[Problem]:
    key = override.key_or_group
    if override.is_add() or override.is_force_add() or key.startswith("hydra"):
        return []
    walked: list[str] = []
    node: Any = config
    for part in key.split("."):
        here = ".".join(walked)
        if isinstance(node, ListConfig):
            return []
        if not isinstance(node, DictConfig):
            return [Problem(key, f"{here} is a single value; it has no key {part!r}.")]
        if part not in node:
            return [Problem(key, "unknown key.", _remedy(key, part, walked, node, config))]
        walked.append(part)
        if OmegaConf.is_missing(node, part) or OmegaConf.is_interpolation(node, part):
            break
        node = node[part]
    return []


def _remedy(key: str, part: str, walked: Sequence[str], node: DictConfig, config: DictConfig) -> str:
    if len(walked) == 1 and walked[0] in SEVERAL:
        known = [name for name in _keys(OmegaConf.to_container(config)) if name.startswith(f"{walked[0]}.")]
        return closest(key, known) or f"Choose it first, {walked[0]}=NAME; its keys are {walked[0]}.NAME.KEY."
    if not len(node):
        return f"To add it, write +{key}=..."
    elsewhere = [name for name in _keys(OmegaConf.to_container(config)) if name.rsplit(".", 1)[-1] == part]
    if elsewhere:
        return f"Did you mean {elsewhere[0]!r}?"
    names = [".".join([*walked, str(name)]) for name in node if name not in ("hydra", "_target_")]
    return nearest(".".join([*walked, part]), names)


def _keys(node: object, where: str = "") -> Iterator[str]:
    if isinstance(node, Mapping):
        for key, value in node.items():
            yield f"{where}{key}"
            yield from _keys(value, f"{where}{key}.")


def _sweeps(overrides: Iterable[Override], error: Exception) -> list[Problem]:
    """Lists of values, if it is those that Hydra refused."""
    if isinstance(error, OSError) or "multirun" not in str(error).lower():
        return []
    message = "is a list of values to sweep over, but this is a single run."
    return [Problem(o.input_line or "", message, "Add -m.") for o in overrides if o.is_sweep_override()]


def _whole(error: Exception) -> list[Problem]:
    """The message for an error that no single override causes."""
    if isinstance(error, HydraException | OmegaConfBaseException):
        return [Problem(getattr(error, "full_key", None) or "config", _one_line(error))]
    where = "" if isinstance(error, OSError) else plugin_of(error)
    if not where and _modules(error)[-1:] and _modules(error)[-1].startswith("hydra"):
        where = "config"
    return [Problem(where, _one_line(error))] if where else []


def plugin_of(error: BaseException) -> str:
    """The key of the sweeper or launcher that raised something, the inner one; empty for what comes out of a job."""
    if any(frame.f_code.co_name == "return_value" for frame, _ in walk_tb(error.__traceback__)):
        return ""
    for name in reversed(_modules(error)):
        if name.startswith(BASIC_SWEEPER):
            return "hydra.sweeper"
        if name.startswith("hydra_plugins.") and name.split(".")[1].endswith(("_sweeper", "_launcher")):
            return f"hydra.{name.split('.')[1].rpartition('_')[2]}"
    return ""


BASIC_SWEEPER = "hydra._internal.core_plugins.basic_sweeper"
"""Hydra's own; others are plugins, in packages that are named after what they are."""


def _modules(error: BaseException) -> list[str]:
    """The modules that an error went through, from the outer to the one that raised it."""
    return [str(frame.f_globals.get("__name__", "")) for frame, _ in walk_tb(error.__traceback__)]


def _one_line(error: BaseException) -> str:
    parts = [str(error), str(error.__cause__ or "")]
    lines = [line.strip() for part in parts for line in part.splitlines() if line.strip() not in ("", "None")]
    kept = [line for line in lines if not line.startswith(NOISE)]
    return " ".join(dict.fromkeys(kept)) or type(error).__name__
