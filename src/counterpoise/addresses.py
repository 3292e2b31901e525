"""Addresses without the credentials that may stand in them: a run's files, its log and its trackers keep none.

What counts as a credential is decided by the structure of an address and never by the key that holds it:

* ``scheme://user:password@host``; for HTTP also the user alone, which is a token there;
* a part of the query, or of the fragment, whose name is that of a secret: ``?token=``, ``&X-Amz-Signature=``;
* a list of settings such as ``host=h password=p`` or ``Server=s;Pwd=p``, one of which has such a name;
* each of these in percent-encoding, and within a part of the query.

Where an address can be read in two ways, as with a slash in a password, the one that hides more counts.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, unquote_plus

LEFT_OUT = "..."
"""In the place of what was taken out."""
_START = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.\-]*):|(?<![^\s\"'=(\[{,<]))(/{2,})")
"""Where an address begins: its scheme, which may be missing, and the slashes before its host."""
_SECRET = re.compile(
    r"(?:passw(?:or)?d|passphrase|pwd|secret|token|signature|credentials?|(?:access|api|secret|private|account|shared"
    r"(?:access)?|subscription|storage|auth|master)key(?:id)?)\d*"
)
"""How the name of a secret ends, without its separators."""
_SHORT = {"key", "sig", "sas", "auth", "oauth", "authorization", "bearer", "jwt", "pass", "pw", "sid", "sessionid"}
"""Names that are one only within an address."""
_PAIR = re.compile(
    r"""(?<![^\s;,&?"'({\[])([A-Za-z][\w.\-]*)(\s*=\s*)('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|\{[^}]*\}|[^\s;&]+)"""
)
"""A setting of a text: its name and its value, which may be quoted."""
_LEADING = "\"'([{<,"
_TRAILING = re.compile(r"[\"'),.;:>\]}]*$")
"""Signs before and behind an address that are those of the sentence around it."""
_HTTP = {"http", "https", "ws", "wss", ""}
_DATABASES = {"postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle", "redis", "rediss", "mongodb", "amqp"}
"""Their clients take all up to the @ for a password, with any signs in it."""
_WITHOUT_HOST = {"file", "local", "sqlite"}
_DEEPEST = 3
"""How often an address may be percent-encoded."""


def has_credentials(value: str) -> bool:
    """Whether a password, a token or a key stands in an address, or in settings of a connection.

    Args:
        value: of the config. Where it begins as an address does, all of it is one, spaces included.
    """
    if _START.match(value.strip()) and _masked(value.strip(), []) != value.strip():
        return True
    return _masked_words(value, []) != value or _is_connection(value)


def without_credentials(text: str, *addresses: str) -> str:
    """A text, with ``...`` in the place of user, password and the like of every address in it.

    Args:
        text: any, such as a line of a log.
        addresses: known ones. Their secrets are taken out wherever they stand, also without the address around them.
    """
    for secret in sorted({each for address in addresses for each in _secrets(address)}, key=len, reverse=True):
        text = text.replace(secret, LEFT_OUT)
    text = _masked_words(text, [])
    return _PAIR.sub(lambda pair: _without_value(pair) if _is_secret(pair[1]) else pair[0], text)


def _without_value(pair: re.Match[str]) -> str:
    if pair[3].startswith(LEFT_OUT):
        return pair[0]
    trailing = _TRAILING.search(pair[3]) if pair[3][:1] not in ("'", '"', "{") else None
    return f"{pair[1]}{pair[2]}{LEFT_OUT}{trailing[0] if trailing else ''}"


def _secrets(address: str) -> set[str]:
    """What masking takes out of an address, as it stands there and as a client may repeat it."""
    found: list[str] = []
    _masked(address.strip(), found)
    plain = {part for each in found for part in (each, unquote(each), unquote_plus(each))}
    return {text for part in plain for text in (part, quote(part), quote(part, safe="")) if len(text) > 2}


def _masked_words(text: str, found: list[str]) -> str:
    """Every address of a text masked, each of which ends at a space."""
    if "//" not in text and "%" not in text:
        return text
    return re.sub(r"\S+", lambda word: _masked(word[0], found), text)


def _masked(word: str, found: list[str], depth: int = 0) -> str:
    """A word with the addresses in it masked; what is taken out is added to ``found``."""
    start = _START.search(word)
    masked = word
    if start is not None:
        scheme = (start[1] or "").lower().rpartition("+")[2]
        head, rest = word[: start.end()], word[start.end() :]
        if len(start[2]) == 2 or scheme in _HTTP:
            end = _end_of_user(scheme, rest)
            if end:
                found.extend(_parts_of_user(rest[: end - 1]))
                head, rest = f"{head}{LEFT_OUT}@", rest[end:]
        place = next((index for index, sign in enumerate(rest) if sign in "?#;"), len(rest))
        masked = f"{head}{_masked(rest[:place], found, depth)}{_masked_query(rest[place:], found, depth)}"
    decoded = unquote(masked)
    if decoded != masked and depth < _DEEPEST and _masked(decoded, [], depth + 1) != decoded:
        bare = masked.lstrip(_LEADING)
        behind = _TRAILING.search(bare)
        found.append(bare[: behind.start()] if behind else bare)
        return f"{masked[: len(masked) - len(bare)]}{LEFT_OUT}{behind[0] if behind else ''}"
    return masked


def _end_of_user(scheme: str, rest: str) -> int:
    """Where the host begins, behind user and password; 0 where neither is a secret.

    Args:
        scheme: of the address, without that of a driver.
        rest: what follows the slashes.
    """
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    user, at, host = authority.rpartition("@")
    last = rest.rfind("@") + 1
    if at and _is_secret_user(scheme, user):
        return last
    if last <= len(authority) or host.startswith("[") or scheme in _WITHOUT_HOST:
        return 0
    # A sign of the password ended the host too early: what then stands in the place of a port is none.
    _, colon, port = host.partition(":")
    return last if colon and (not port.isdigit() or scheme in _DATABASES) else 0


def _is_secret_user(scheme: str, user: str) -> bool:
    name, _, password = unquote(user).partition(":")
    return password not in ("", LEFT_OUT) or (scheme in _HTTP and name not in ("", LEFT_OUT))


def _parts_of_user(user: str) -> list[str]:
    name, colon, password = user.partition(":")
    return [user, password] if colon and password else [name]


def _masked_query(query: str, found: list[str], depth: int) -> str:
    """The parts behind the path of an address, the secrets among their values masked."""
    return "&".join(_masked_part(part, found, depth) for part in query.split("&")) if query else query


def _masked_part(part: str, found: list[str], depth: int) -> str:
    name, equals, value = part.partition("=")
    if not equals:
        return _masked(part, found, depth + 1) if depth < _DEEPEST else part
    trailing = _TRAILING.search(value)
    end = trailing.start() if trailing else len(value)
    value, behind = value[:end], value[end:]
    if value in ("", LEFT_OUT):
        return part
    if _is_secret(unquote(name), short=True) or _holds_secret(value, depth):
        found.append(value)
        return f"{name}={LEFT_OUT}{behind}"
    return part


def _holds_secret(value: str, depth: int) -> bool:
    """Whether the value of a part is an address, or settings, with a secret."""
    for _ in range(_DEEPEST - depth):
        settings = re.finditer(r"(?:^|[;#?&,\s])([\w.\-]+)\s*=\s*([^\s;&#]+)", value)
        if any(_is_secret(each[1], short=True) and each[2] != LEFT_OUT for each in settings):
            return True
        if _masked(value, [], depth + 1) != value:
            return True
        value = unquote_plus(value)
    return False


def _is_secret(name: str, *, short: bool = False) -> bool:
    """Whether a setting of this name is a secret.

    Args:
        name: of the setting; what stands before its last dot does not count.
        short: take words such as ``key`` for one, as within an address.
    """
    word = re.sub(r"[^a-z0-9]", "", re.split(r"[.?#;]", name.lower())[-1])
    return (short and word in _SHORT) or re.fullmatch(rf".*{_SECRET.pattern}", word) is not None


def _is_connection(value: str) -> bool:
    """Whether a value is a list of settings, as databases take them, with a secret among them."""
    pairs = [pair for pair in _PAIR.finditer(value) if pair[3] != LEFT_OUT]
    return len(pairs) > 1 and any(_is_secret(pair[1]) for pair in pairs)
