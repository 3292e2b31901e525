"""What a YAML file may compute: as little as possible, so that a composed config can be read."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import ListConfig, OmegaConf

from counterpoise.config.overrides import settings_name, typed


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


def job_folder(overrides: Sequence[str], excluded: Sequence[str] = ()) -> str:
    """The name of a job's folder: what varies between the jobs of its multirun.

    Args:
        overrides: all overrides of the job, as Hydra holds them.
        excluded: keys that do not vary.
    """
    texts = typed(overrides) if isinstance(overrides, ListConfig) else list(overrides)
    parsed = OverridesParser.create().parse_overrides(texts)
    return settings_name([each for each in parsed if each.key_or_group not in excluded], ",") or "job"


def register() -> None:
    """Make the resolvers known to OmegaConf; doing it twice does no harm."""
    OmegaConf.register_resolver("if_set", if_set, replace=True)
    OmegaConf.register_resolver("if_equal", if_equal, replace=True)
    OmegaConf.register_resolver("unless", unless, replace=True)
    OmegaConf.register_resolver("job_folder", job_folder, replace=True)
