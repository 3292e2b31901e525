"""Pretrained encoders and tokenizers by name: from the hub where it answers, else from its cache at once."""

from __future__ import annotations

import os
import socket
from urllib.parse import urlsplit
from urllib.request import getproxies

_SECONDS = 3.0


def only_local() -> bool:
    """Whether to look only at what is on this machine: asked for by ``HF_HUB_OFFLINE``, or the hub is out of reach.

    The hub's own client tries again for most of a minute where there is no network.
    """
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
