"""``~`` in the folders that Hydra makes before anything of a run begins."""

from __future__ import annotations

from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, OmegaConf, read_write
from omegaconf.errors import OmegaConfBaseException

from counterpoise.config.overrides import quoted
from counterpoise.errors import UserError
from counterpoise.paths import user_path
from counterpoise.sweeps.multirun import Refused


class HomeFolders(Callback):
    """Expands ``~`` in ``hydra.run.dir`` and ``hydra.sweep.dir``, wherever they were given."""

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra is about to make the folder of a single run."""
        _expand(config, "run")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        """Hydra is about to make the folder of a multirun, which it composes anew for every job."""
        folder = _expand(config, "sweep")
        if folder is not None:
            with read_write(config.hydra):
                config.hydra.overrides.hydra.append(f"hydra.sweep.dir={quoted(folder)}")


def _expand(config: DictConfig, section: str) -> str | None:
    """Replace the folder of a section of ``hydra`` where it begins with ``~``; returns it then.

    Raises:
        Refused: for the home folder of an unknown user.
    """
    given = _resolved(config, f"hydra.{section}.dir")
    if not given.startswith("~"):
        return None
    try:
        folder = str(user_path(given, f"hydra.{section}.dir"))
    except UserError as error:
        raise Refused(error) from error
    with read_write(config.hydra):
        OmegaConf.update(config, f"hydra.{section}.dir", folder)
    return folder


def _resolved(config: DictConfig, key: str) -> str:
    """The value of a key; empty where it cannot be resolved, which Hydra reports by itself."""
    before = HydraConfig.instance().cfg
    HydraConfig.instance().set_config(config)  # for interpolations of the kind ${hydra:...}
    try:
        return str(OmegaConf.select(config, key))
    except OmegaConfBaseException:
        return ""
    finally:
        HydraConfig.instance().cfg = before
