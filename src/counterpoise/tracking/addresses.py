"""Addresses without the credentials that may stand in them: a run's files, its log and its trackers keep none."""

from __future__ import annotations

import re
from urllib.parse import unquote_plus

SECRET = r"(?:passw|pwd|secret|token|api_?key|access_?key)\w*"
"""Names of a query's parts that hold a password."""
_USER = re.compile(r"://(?:[^/:@\s]*:[^@\s]*|[^/@\s]*)@")
"""The password of a database's URI may hold slashes: it ends at the @."""
_PART = re.compile(rf"({SECRET}(?:=|%3D))[^&;\s\"']+", re.IGNORECASE)


def has_credentials(address: str) -> bool:
    """Whether a password stands in it: before the host, or in the query. A database's user alone is none."""
    user = _USER.search(address)
    if user is not None and (":" in user[0][3:] or address.startswith("http")):
        return True
    return re.search(rf"{SECRET}\s*=", unquote_plus(address.partition("?")[2]), re.IGNORECASE) is not None


def without_credentials(text: str) -> str:
    """A text, with ``...`` in the place of user, password and the like of every address in it."""
    return _PART.sub(r"\1...", _USER.sub("://...@", text))
