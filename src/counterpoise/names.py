"""Names made from a user's input, of files, folders and metrics: readable, within bounds, different for other input."""

from __future__ import annotations

import hashlib

LONGEST_FOLDER = 120
"""Bytes of a folder's name; a file system takes 255, and temporary files add to it."""
LONGEST_FILE = 200
"""Bytes of the part of a file's name that a user gave."""
DIGEST_BYTES = 6
"""Of the hash that stands for what a name leaves out."""
SIGNS = "._-+"
"""What stays in a folder's name, beside letters and digits."""


def distinct(readable: str, original: str, longest: int) -> str:
    """``readable``, with a hash of ``original`` at its end where it is not all of it.

    Args:
        readable: what people should read; it may lack signs of ``original``.
        original: what the name is made from. Other originals get other names, the same one always the same.
        longest: bytes of the name in UTF-8; ``readable`` is cut between characters.
    """
    encoded = readable.encode("utf-8", "surrogateescape")
    if readable == original and len(encoded) <= longest:
        return readable
    digest = hashlib.blake2b(original.encode("utf-8", "surrogatepass"), digest_size=DIGEST_BYTES).hexdigest()
    room = longest - len(digest) - 1
    return f"{encoded[:room].decode('utf-8', 'ignore')}-{digest}" if room > 0 else digest[:longest]


def folder_part(text: str) -> str:
    """``text`` with ``_`` for every sign that does not belong into a folder's name."""
    return "".join(c if c.isalnum() or c in SIGNS else "_" for c in text)
