"""YAML files of a run, read within bounds: they come from others, as the folder does."""

from __future__ import annotations

import io
import re
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf

from counterpoise.files import open_regular

LARGEST = 1 << 18
"""Bytes. A run's own files are some kilobytes."""
DEEPEST = 50
"""Containers within containers."""
_LONG_NUMBER = re.compile(r"[-+0-9a-fA-Fxo_:.]{300,}")
"""Python prints no such integer, and reads one of base 60 in quadratic time."""


def read_yaml(path: Path) -> Any:
    """A YAML file as OmegaConf's container.

    Args:
        path: of a file that a run or Hydra wrote.

    Raises:
        OSError: if it cannot be read.
        ValueError: if it is too large, nested too deeply, uses aliases, or is no YAML: no run writes an alias, and a
            few of them, each within the next, stand for gigabytes.
    """
    with open_regular(path) as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST:,} bytes")
    text = content.decode("utf-8")
    try:
        _check(text)
        return OmegaConf.load(io.StringIO(text))
    except (ValueError, OSError):
        raise
    except Exception as error:  # YAML's own errors, and OmegaConf's: of tags, keys twice, keys of odd types
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from error


def _check(text: str) -> None:
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        if isinstance(event, yaml.AliasEvent):
            raise ValueError("it uses aliases, which no run writes")
        if isinstance(event, yaml.ScalarEvent) and _LONG_NUMBER.fullmatch(event.value):
            raise ValueError("it holds a number of hundreds of digits")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
