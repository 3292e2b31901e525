"""What a YAML file may compute: as little as possible, so that a composed config can be read."""

from __future__ import annotations

import hashlib
from typing import Any

from omegaconf import OmegaConf

LONGEST_FOLDER = 120


def if_set(value: Any, then: Any, otherwise: Any) -> Any:
    """``then`` where ``value`` is given, ``otherwise`` where it is null.

    A recipe uses it where two ways of using one model want two values, e.g.
    ``lr: ${if_set:${model.pretrained},2e-5,1e-3}``.
    """
    return otherwise if value is None else then


def if_equal(value: Any, other: Any, then: Any, otherwise: Any) -> Any:
    """``then`` where ``value`` is ``other``, else ``otherwise``."""
    return then if value == other else otherwise


def unless(value: Any, other: Any) -> Any:
    """``value``, but null where it is ``other``."""
    return None if value == other else value


def job_folder(overrides: str) -> str:
    """A folder name from a job's overrides: readable where it is short, cut and hashed where it is not."""
    name = overrides.replace("/", "_").replace(" ", "") or "job"
    if len(name) <= LONGEST_FOLDER:
        return name
    return f"{name[: LONGEST_FOLDER - 9]}-{hashlib.blake2b(name.encode(), digest_size=4).hexdigest()}"


def register() -> None:
    """Make the resolvers known to OmegaConf; doing it twice does no harm."""
    OmegaConf.register_resolver("if_set", if_set, replace=True)
    OmegaConf.register_resolver("if_equal", if_equal, replace=True)
    OmegaConf.register_resolver("unless", unless, replace=True)
    OmegaConf.register_resolver("job_folder", job_folder, replace=True)
