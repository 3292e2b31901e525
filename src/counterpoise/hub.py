"""Pretrained encoders and tokenizers by name: from the hub where it answers, else from its cache at once."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

from counterpoise.errors import first_line
from counterpoise.paths import user_path

_SECONDS = 3.0


def local_or_hub(name: str, where: str) -> str:
    """What a name stands for: the local folder, ``~`` expanded, where there is one, else the name on the hub.

    Args:
        name: as given.
        where: the dotted key that names it, for the message.

    Raises:
        UserError: as :func:`~counterpoise.paths.user_path`.
    """
    folder = user_path(name, where)
    return str(folder) if folder.is_dir() else name


def only_local(name: str | None = None) -> bool:
    """Whether to look only at what is on this machine: asked for by ``HF_HUB_OFFLINE``, or the hub is out of reach.

    The hub's own client tries again for most of a minute where there is no network. Nobody is asked where ``name`` is a
    local folder.
    """
    if name is not None and user_path(name).is_dir():
        return True
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return True
    hub = urlsplit(os.environ.get("HF_ENDPOINT") or "https://huggingface.co")
    if hub.scheme in getproxies() or "all" in getproxies():
        return False  # the proxy decides who can be reached
    try:
        socket.create_connection((hub.hostname or "", hub.port or 443), timeout=_SECONDS).close()
    except OSError:
        return True
    return False


def why_not_loaded(name: str, error: BaseException) -> str:
    """Why nothing could be loaded by a name, in one sentence without a full stop.

    The hub's clients speak of their own switches where a folder is mistyped or there is no network.

    Args:
        name: as it was given: a folder, or a name on the hub.
        error: what the client raised.
    """
    if user_path(name).is_dir():
        return first_line(error)
    if name.startswith((".", "~", "/", "\\")) or name.count("/") > 1:
        return "there is no such folder"
    if only_local(name):
        return "there is no such folder, the hub cannot be reached, and its cache does not hold it"
    return first_line(error)


@contextmanager
def as_reachable() -> Iterator[None]:
    """Within it the hub's clients do not even try where :func:`only_local` says so; afterwards they are as before."""
    import huggingface_hub.constants

    # The second keeps a copy of the first's.
    clients: list[Any] = [huggingface_hub.constants, sys.modules.get("datasets.config")]
    switches = [(client, client.HF_HUB_OFFLINE) for client in clients if client is not None]
    offline = only_local()
    try:
        for client, before in switches:
            client.HF_HUB_OFFLINE = before or offline
        yield
    finally:
        for client, before in switches:
            client.HF_HUB_OFFLINE = before
