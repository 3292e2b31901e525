"""URLs of stores: which are taken, by ``mirror.url`` and by ``resume=``, and what is said of the others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from counterpoise.addresses import has_credentials, without_credentials
from counterpoise.errors import closest

_SCHEME = re.compile(r"([A-Za-z][\w+.\-]*)://", re.ASCII)
_CHAIN = re.compile(r"::[\w+.\-]+://", re.ASCII)
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
EXAMPLE = "Expected one such as s3://bucket/prefix or file:///folder."


@dataclass(frozen=True)
class Kind:
    """What a kind of store needs."""

    package: str | None = None
    """The one that has to be installed, where it is no dependency."""
    extra: str | None = None
    """The extra of this package that installs it."""
    host: bool = True
    """Whether a host, or a bucket, stands behind the slashes."""
    writable: bool = True
    """Whether a mirror can be there; one that is not can be resumed from."""


KINDS: Mapping[str, Kind] = {
    "file": Kind(host=False),
    "local": Kind(host=False),
    "memory": Kind(host=False),
    "s3": Kind("s3fs", "s3"),
    "s3a": Kind("s3fs", "s3"),
    "gs": Kind("gcsfs"),
    "gcs": Kind("gcsfs"),
    "abfs": Kind("adlfs"),
    "az": Kind("adlfs"),
    "oci": Kind("ocifs"),
    "oss": Kind("ossfs"),
    "ftp": Kind(),
    "sftp": Kind("paramiko"),
    "ssh": Kind("paramiko"),
    "smb": Kind("smbprotocol"),
    "hdfs": Kind("pyarrow", host=False),
    "webhdfs": Kind("requests"),
    "http": Kind("aiohttp", writable=False),
    "https": Kind("aiohttp", writable=False),
}
"""By scheme. Wrappers of other file systems, archives and code hosts are none of a run's stores."""


def scheme_of(url: str) -> str:
    """The scheme of a URL in small letters; empty where there is none."""
    found = _SCHEME.match(url)
    return found[1].lower() if found else ""


def is_url(text: str) -> bool:
    """Whether ``resume=`` names a store by it, and no folder."""
    return "://" in text


def shown(url: str) -> str:
    """A URL as a message may show it."""
    masked = without_credentials(url, url)
    return repr(masked) if masked == url and not has_credentials(url) else masked


def url_problem(url: str, *, writing: bool) -> tuple[str, str] | None:
    """What is wrong with a URL, and what to do about it; ``None`` for one that can be of a store.

    Args:
        url: as it was typed.
        writing: whether a mirror is to be kept there.
    """
    scheme, said = scheme_of(url), shown(url)
    if not scheme or _CHAIN.search(url):
        return f"{said} is no URL of a store.", EXAMPLE
    kind = KINDS.get(scheme)
    known = [name for name, each in KINDS.items() if each.writable or not writing]
    if kind is None:
        hint = f"{closest(scheme, known)} Stores are {', '.join(known)}.".strip()
        return f"{scheme}:// is no kind of store.", hint
    if writing and not kind.writable:
        return f"{scheme}:// can only be read.", f"Stores are {', '.join(known)}."
    return _place_problem(url, said, scheme, kind)


def _place_problem(url: str, said: str, scheme: str, kind: Kind) -> tuple[str, str] | None:
    """As :func:`url_problem`, of what stands behind the scheme."""
    place = url[len(scheme) + 3 :]
    if _CONTROL.search(url) or url != url.strip():
        return f"{said} holds a control character, or begins or ends with a space.", EXAMPLE
    if scheme in ("file", "local") and not place.startswith(("/", "~")):
        return f"{said} names no absolute folder.", EXAMPLE
    if scheme != "memory" and not place.strip("/"):
        return f"{said} names no place within the store.", EXAMPLE
    if not kind.host:
        return None
    try:
        parts = urlsplit(url)
        host, _ = parts.netloc.rpartition("@")[2], parts.port
    except ValueError:
        return f"{said} has no host, or no port, that can be one.", EXAMPLE
    if not host or host.startswith(":") or re.search(r"\s", parts.netloc):
        return f"{said} names no host or bucket.", EXAMPLE
    return None
