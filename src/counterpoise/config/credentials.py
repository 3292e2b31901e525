"""No password in the config: a run keeps its config, its overrides and its command, and shows them to its trackers.

The command line is checked before Hydra sees it, which names folders by it and writes it down; the composed config is
checked before anything of a run is written. Both ask the same of every value: whether it is an address that holds a
credential, see :mod:`counterpoise.addresses`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, QuotedString
from hydra.errors import HydraException
from omegaconf import DictConfig, ListConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from counterpoise.addresses import LEFT_OUT, has_credentials, without_credentials
from counterpoise.errors import Problem, UserError

MESSAGE = "must hold no password, token or key: it would be kept in the files of the run."
REMEDIES = {
    "mirror": (
        "Leave it out, and set FSSPEC_<PROTOCOL>_<OPTION> in the environment, such as FSSPEC_FTP_PASSWORD, or use "
        "~/.config/fsspec/conf.json: see docs/runs.md."
    ),
    "tracker": (
        "Leave it out, and set it in the environment, for MLflow MLFLOW_TRACKING_USERNAME and "
        "MLFLOW_TRACKING_PASSWORD: see docs/trackers.md."
    ),
    "hydra": "Set it in the environment, and name the variable: '{where}=${oc.env:NAME}'.",
}
"""By the first part of the key."""
REMEDY = "Leave it out, and let the program that opens the address read it from the environment."
_INTERPOLATION = re.compile(r"\$\{[^{}]*\}")
_TYPED = ("hydra.overrides", "hydra.job.override_dirname")
"""Where Hydra keeps the command line, which is checked by itself."""


def check_arguments(arguments: Sequence[str], *, allowed: Sequence[str] = ()) -> None:
    """Check a command line.

    Args:
        arguments: as they were typed.
        allowed: keys whose values are no addresses, or are never written down.

    Raises:
        UserError: with every argument that holds a credential; it is not repeated.
    """
    problems = []
    for argument in arguments:
        key, equals, value = argument.partition("=")
        name = key.lstrip("+~").partition("@")[0] if equals and not has_credentials(key) else "command line"
        if equals and key in allowed:
            continue
        if any(_holds(text) for text in (argument, value, *_parsed(argument))):
            problems.append(_problem(name))
    if problems:
        raise UserError(problems)


def check_composed(config: DictConfig, settings: DictConfig) -> None:
    """Check a composed config.

    Args:
        config: whose values count as they are now.
        settings: Hydra's own, which are written down with their interpolations as they stand.

    Raises:
        UserError: with every key whose value holds a credential; the value is not repeated.
    """
    own = OmegaConf.to_container(settings, resolve=False)
    problems = list(_problems({**_resolved(config), "hydra": own}, ""))
    if problems:
        raise UserError(problems)


def _problem(where: str) -> Problem:
    remedy = REMEDIES.get(re.split(r"[./]", where)[0], REMEDY)
    return Problem(where, MESSAGE, remedy.replace("{where}", where))


def _holds(text: str) -> bool:
    """Whether a text holds one that is more than an interpolation; Hydra's grammar may have escaped its signs."""
    fixed = text
    while (shorter := _INTERPOLATION.sub(LEFT_OUT, fixed)) != fixed:
        fixed = shorter
    return any(has_credentials(each) for each in {fixed, fixed.replace("\\", "")})


def _parsed(argument: str) -> list[str]:
    """The strings of an override's value; none where Hydra will refuse it."""
    try:
        return list(_strings(OverridesParser.create().parse_override(argument)._value))
    except (HydraException, OmegaConfBaseException, ValueError, RecursionError):
        return []


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, QuotedString):
        yield value.text
    elif isinstance(value, ChoiceSweep):
        yield from _strings(value.list)
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _strings(key)
            yield from _strings(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _strings(item)


def _problems(node: Any, where: str) -> Iterator[Problem]:
    """One for each string of a plain structure, keys of mappings among them."""
    if where in _TYPED:
        return
    if isinstance(node, Mapping):
        for key, value in node.items():
            name = without_credentials(str(key), str(key)) if _holds(str(key)) else str(key)
            if name != str(key):
                yield _problem(f"{where}.{name}" if where else name)
            yield from _problems(value, f"{where}.{name}" if where else name)
    elif isinstance(node, list | tuple):
        for index, value in enumerate(node):
            yield from _problems(value, f"{where}[{index}]")
    elif isinstance(node, str) and _holds(node):
        yield _problem(where)


def _resolved(config: DictConfig | ListConfig) -> Any:
    """A plain structure of what can be resolved; what cannot is refused elsewhere, with its reason."""
    keys: Any = range(len(config)) if isinstance(config, ListConfig) else [key for key in config if key != "hydra"]
    found: dict[Any, Any] = {}
    for key in keys:
        try:
            value = config[key]
        except (OmegaConfBaseException, RecursionError):
            continue
        found[key] = _resolved(value) if isinstance(value, DictConfig | ListConfig) else value
    return list(found.values()) if isinstance(config, ListConfig) else found
