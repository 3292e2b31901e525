"""Stores by their URL, and how long they may take."""

from __future__ import annotations

import time
from typing import Any

import fsspec
from fsspec.callbacks import Callback
from fsspec.core import url_to_fs

from counterpoise.errors import fail, missing_extra
from counterpoise.paths import user_path


class Deadline(Callback):  # type: ignore[misc]
    """Raises :class:`TimeoutError` in the middle of a transfer that takes too long; counts its bytes."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise, if it is over."""
        if time.monotonic() > self._end:
            raise TimeoutError(f"not done within {self.seconds:g} seconds")

    def relative_update(self, inc: int = 1) -> None:
        """Called by fsspec for each block."""
        self.check()


def open_store(url: str, timeout: float, where: str) -> tuple[Any, str]:
    """The file system and path of a URL.

    Raises:
        UserError: if the protocol is unknown, or its package not installed.
    """
    protocol, _, path = url.partition("://")
    if protocol in ("file", "local") and path.startswith("~"):
        url = f"{protocol}://{user_path(path, where)}"
    try:
        fs, path = url_to_fs(url, **_options(protocol, timeout))
    except ImportError as error:
        if protocol in ("s3", "s3a"):
            raise missing_extra(where, "s3fs", "s3") from error
        raise fail(where, f"{protocol}:// needs a package that is not installed: {error}.") from error
    except ValueError as error:
        known = "s3://bucket/prefix, file:///folder"
        raise fail(where, f"{url!r} cannot be used: {error}.", f"Expected a URL such as {known}.") from error
    if protocol in ("s3", "s3a"):
        fs.retries = 1  # attempts are counted here
    return fs, path


def _options(protocol: str, timeout: float) -> dict[str, Any]:
    if protocol in ("file", "local"):
        return {"auto_mkdir": True}
    if protocol not in ("s3", "s3a"):
        return {}
    given = fsspec.config.conf.get(protocol, {}).get("config_kwargs", {})
    limits = {"connect_timeout": min(10.0, timeout), "read_timeout": timeout, "retries": {"max_attempts": 0}}
    return {"config_kwargs": {**limits, **given}, "skip_instance_cache": True, "use_listings_cache": False}
