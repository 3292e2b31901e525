"""What ``_target_`` may name: this package and the modules listed in ``extensions``, and nothing else."""

from __future__ import annotations

import importlib
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, is_dataclass
from typing import Any

from counterpoise.config import extensions as named
from counterpoise.config.schema import field_types, join, parse
from counterpoise.config.values import show
from counterpoise.errors import Problem, UserError, fail, nearest

PACKAGE = "counterpoise"

BASES = {
    "data": "counterpoise.data.sources.base.Source",
    "encoding": "counterpoise.data.encode.base.Encoding",
    "encoder": "counterpoise.data.encoders.base.TextEncoder",
    "model": "counterpoise.models.base.Model",
    "loss": "counterpoise.losses.Loss",
    "balance": "counterpoise.balance.Balance",
    "optimizer": "torch.optim.Optimizer",
    "scheduler": "counterpoise.optim.schedules.Schedule",
    "tracker": "counterpoise.tracking.base.Tracker",
}
"""The groups that choose a component, and what that component must inherit from."""

OPTIONAL = ("encoder",)
"""Groups of which nothing may be chosen."""

SEVERAL = ("tracker",)
"""Groups of which any number may be chosen: their section holds components by name."""

ATTRIBUTES = {"model": "encoding", "encoding": "kind"}
"""The class attribute by which model and encoding find each other."""

FIELDS = {"optimizer": ("lr", "scaling", "base_batch")}
"""What a ``Config`` must have where there is no class of this package to inherit it from."""


@dataclass(frozen=True)
class Component:
    """A class that was chosen by name, and its checked configuration."""

    target: type
    config: Any

    def build(self, *parts: Any, **named: Any) -> Any:
        """An instance: ``target(config, ...)``."""
        return self.target(self.config, *parts, **named)


def resolve_component(
    group: str, node: object, extensions: Sequence[str], problems: list[Problem], where: str = ""
) -> Component | None:
    """The component that ``node`` describes; ``None`` where that failed, with what is wrong in ``problems``.

    Args:
        group: what it must be.
        node: its section.
        extensions: modules that it may come from.
        problems: collects what is wrong.
        where: the dotted key of ``node``; the group's own by default.
    """
    where = where or group
    if not isinstance(node, Mapping):
        problems.append(Problem(where, f"expected a component with _target_, got {show(node)}."))
        return None
    try:
        target = resolve_target(join(where, "_target_"), node.get("_target_"), extensions)
        base = _load("", BASES[group])
        if not (inspect.isclass(target) and issubclass(target, base)):
            raise fail(join(where, "_target_"), f"{node['_target_']} is no {base.__name__}.", "See docs/extending.md.")
    except UserError as error:
        problems.extend(error.problems)
        return None
    before = len(problems)
    problems += [
        Problem(join(where, "_target_"), f"{target.__name__} {lack}.", "See docs/extending.md.")
        for lack in _lacks(group, target, base)
    ]
    if len(problems) > before:
        return None
    schema: Any = getattr(target, "Config", None)
    config = parse(schema, node, where, problems)
    return Component(target, config) if len(problems) == before else None


def _lacks(group: str, target: Any, base: Any) -> Iterator[str]:
    """What a class must still have before it can be a component of this group."""
    schema, wanted = getattr(target, "Config", None), getattr(base, "Config", None)
    if not (isinstance(schema, type) and is_dataclass(schema)):
        yield "needs a dataclass named Config"
    elif isinstance(wanted, type) and not issubclass(schema, wanted):
        yield f"needs a Config that inherits from {wanted.__name__}, but {schema.__name__} does not"
    else:
        known = field_types(schema)
        for name in FIELDS.get(group, ()):
            if name not in known:
                yield f"needs a field {name!r} in its Config"
    attribute = ATTRIBUTES.get(group)
    if attribute and not isinstance(getattr(target, attribute, None), str):
        yield f'needs a string named {attribute!r}, e.g. {attribute} = "tokens"'
    for name in sorted(getattr(target, "__abstractmethods__", ())):
        yield f"does not define {name}()"


def resolve_target(where: str, name: object, extensions: Sequence[str]) -> Any:
    """Import what a dotted name stands for.

    Raises:
        UserError: if the name may not be used, or cannot be imported.
    """
    if not isinstance(name, str) or not re.fullmatch(r"\w+(\.\w+)+", name):
        raise fail(where, f"expected the dotted name of a class, got {show(name)}.")
    allowed = (PACKAGE, *extensions)
    if not any(name.startswith(f"{module}.") for module in allowed):
        top = name.split(".", 1)[0]
        hint = "" if top in sys.stdlib_module_names else f"If you trust it, add its module: 'extensions=[{top}]'."
        listed = ", ".join(f"{module}.*" for module in allowed)
        raise fail(where, f"{name} may not be constructed: only {listed} may.", hint)
    if not name.startswith(f"{PACKAGE}."):
        named.admit(extensions)
    return _load(where, name)


def _load(where: str, name: str) -> Any:
    module_name, _, attribute = name.rpartition(".")
    try:
        module = importlib.import_module(module_name)
        return getattr(module, attribute)
    except ImportError as error:
        raise fail(
            where, f"{module_name} cannot be imported: {error}.", _where_it_may_be(module_name, error)
        ) from error
    except AttributeError as error:
        if module_name not in sys.modules:
            raise fail(where, f"{module_name} fails while it is imported: {error}.") from error
        classes = [key for key, value in vars(sys.modules[module_name]).items() if inspect.isclass(value)]
        how = named.hidden(module_name) or nearest(attribute, classes)
        raise fail(where, f"{module_name} has no {attribute}.", how) from error
    except (Exception, SystemExit) as error:  # a user's own module can fail in any way while it is imported
        raise fail(where, f"{module_name} fails while it is imported: {type(error).__name__}: {error}.") from error


def _where_it_may_be(module: str, error: ImportError) -> str:
    """What to do about a module that cannot be imported."""
    missing = (error.name or "").partition(".")[0]
    if missing and missing != module.partition(".")[0]:
        return f"If {missing} is a module of yours in this folder, name it in extensions too."
    return named.hidden(module) or "Is it in this folder or installed?"
