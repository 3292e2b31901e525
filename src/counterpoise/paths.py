"""Paths as a user types them."""

from __future__ import annotations

from pathlib import Path

from counterpoise.errors import fail


def user_path(value: str | Path, where: str = "path") -> Path:
    """The path that is meant, ``~`` and ``~user`` expanded; every path that a user can type is read by this.

    Args:
        value: as typed.
        where: the dotted key that names it, for the message.

    Raises:
        UserError: for the home folder of a user that this machine does not know.
    """
    try:
        return Path(value).expanduser()
    except RuntimeError as error:
        what = f"{str(value)!r} names the home folder of a user that this machine does not know."
        raise fail(where, what, "Write the whole path, or ./~NAME for a folder of that name.") from error
