"""Overrides as text: values written so that Hydra reads them back, and names of folders made from settings."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override, QuotedString
from hydra.errors import HydraException
from omegaconf import OmegaConf

from counterpoise.names import LONGEST_FOLDER, distinct, folder_part

_BEFORE_QUOTE = re.compile(r"(?<!\\)(\\*+)('|\Z)")
"""As ``QuotedString.with_quotes`` has it, whose pattern takes quadratic time for many backslashes."""


def quoted(value: str) -> str:
    """A value that Hydra's grammar and OmegaConf read as this string."""
    escaped = re.sub(r"(?<!\\)(\\*+)\$\{", lambda found: f"{found[1] * 2}\\${{", value)
    return f"'{_BEFORE_QUOTE.sub(_escaped_quote, escaped)}'"


def _escaped_quote(found: re.Match[str]) -> str:
    r"""``\'`` for a quote, and twice the backslashes before it; Hydra reads others as they are."""
    return found[1] * 2 + ("\\'" if found[2] else "")


def literal(value: object) -> str:
    """A plain value as Hydra's grammar reads it back: ``null``, ``true``, a number, a quoted string, a list, a mapping.

    Raises:
        ValueError: for a mapping's key that the grammar cannot hold.
    """
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{_key(key)}:{literal(item)}' for key, item in value.items())}}}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return f"[{','.join(map(literal, value))}]"
    return quoted(str(value))


def _key(key: object) -> str:
    text = literal(key) if not isinstance(key, str) else key
    if not re.fullmatch(r"[\w.\-+/]+", text, re.ASCII):
        raise ValueError(f"{key!r} cannot be written as a key")
    return text


def typed(overrides: Any) -> list[str]:
    """A list of Hydra's, or of YAML, as it was typed: interpolations in it are kept."""
    listed: Any = OmegaConf.to_container(overrides, resolve=False)
    return [str(text) for text in listed]


def settled(texts: Iterable[str], config: Mapping[str, Any]) -> list[str]:
    """Overrides with the values that their interpolations have now, so that they mean the same at any time.

    Args:
        texts: as they were typed.
        config: the resolved config that they led to.
    """
    return [_settled(text, config) if "${" in text else text for text in texts]


def _settled(text: str, config: Mapping[str, Any]) -> str:
    override = OverridesParser.create().parse_override(text)
    node: Any = config
    for part in override.key_or_group.split("."):
        if not (isinstance(node, Mapping) and part in node):
            return text
        node = node[part]
    if override.is_delete() or (isinstance(node, Mapping) and not isinstance(override.value(), Mapping)):
        return text  # an option of a group was chosen
    try:
        return f"{override.get_key_element()}={literal(node)}"
    except ValueError:
        return text


def settings_name(overrides: Iterable[Override], separator: str, before: str = "") -> str:
    """A folder's name from settings, ``key_value`` each, the same in any order.

    Where a sign of a value had to be replaced, or the name is cut, a hash of all settings follows: other settings get
    another name.

    Args:
        overrides: the settings; none of them a sweep.
        separator: between two of them.
        before: what the name begins with.
    """
    settings = sorted((each.key_or_group, _value(each)) for each in overrides)
    shown = [f"{folder_part(key)}_{folder_part(value)}" for key, value in settings]
    readable = separator.join([*([folder_part(before)] if before else []), *shown])
    exact = all(_exact(part, separator) for setting in settings for part in setting) and _exact(before, "")
    original = readable if exact else repr([before, *settings])
    return distinct(readable, original, LONGEST_FOLDER)


def _exact(text: str, separator: str) -> bool:
    """Whether a name says exactly this text: no sign is replaced, and none can be taken for a separator."""
    if folder_part(text) != text:
        return False
    return not separator or separator not in text or _is_number(text)


def _is_number(text: str) -> bool:
    return re.fullmatch(r"[+-]?[\d.]+(e[+-]?\d+)?", text, re.IGNORECASE) is not None


def _value(override: Override) -> str:
    """A value as it was typed; a string without its quotes, unless it would be something else then."""
    if override.is_delete():
        return "~"
    value = override._value
    if not isinstance(value, QuotedString):
        return override.get_value_element_as_str()
    try:
        bare = OverridesParser.create().parse_override(f"x={value.text}")
        if not bare.is_sweep_override() and bare.value() == value.text:
            return value.text
    except (HydraException, ValueError):
        pass
    return value.with_quotes()
