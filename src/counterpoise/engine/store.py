"""Stores by their URL, and how long and how much they may take."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import fsspec
from fsspec.asyn import AsyncFileSystem
from fsspec.callbacks import Callback
from fsspec.registry import get_filesystem_class

from counterpoise.addresses import without_credentials
from counterpoise.engine.folder_store import FolderStore
from counterpoise.engine.store_url import EXAMPLE, KINDS, scheme_of, url_problem
from counterpoise.errors import UserError, escape_control, fail, missing_extra
from counterpoise.paths import user_path

T = TypeVar("T")
_BLOCK = 1 << 23
_LONGEST_ERROR = 300
"""Characters of what a store's client says that are shown: it may repeat a server's whole page."""
_CONNECTED = ("ftp", "sftp", "ssh", "smb")
"""Kinds of store with one connection, which is of no use any more after an error."""


class TooLargeError(Exception):
    """A store sent more than it had said."""


class Deadline(Callback):  # type: ignore[misc]
    """Raises :class:`TimeoutError` in the middle of a transfer that takes too long; counts its bytes.

    Args:
        seconds: from now.
        most: bytes that may come before the next :meth:`restart`; more raise :class:`TooLargeError`.
    """

    def __init__(self, seconds: float, most: int | None = None) -> None:
        super().__init__()
        self.seconds = seconds
        self._most = most
        self._bytes = 0
        self._end = time.monotonic() + seconds

    def restart(self, most: int | None) -> None:
        """Count another file's bytes."""
        self._most, self._bytes = most, 0

    def check(self) -> None:
        """Raise, if it is over."""
        if time.monotonic() > self._end:
            raise TimeoutError(f"not done within {self.seconds:g} seconds")

    def relative_update(self, inc: int = 1) -> None:
        """Called by fsspec for each block."""
        self.check()
        self._bytes += inc
        if self._most is not None and self._bytes > self._most:
            raise TooLargeError(f"more than {self._most:,} bytes came")


class Store:
    """A place in a store: what is wrong with its URL shows at once; it is connected to when it is first used.

    Args:
        url: of the place.
        timeout: seconds that a connection may take to answer, where the store's client has a setting for it.
        where: the key that names it, for messages.

    Raises:
        UserError: if the URL is none of a store, or the package for it is not installed.
    """

    def __init__(self, url: str, timeout: float, where: str) -> None:
        problem = url_problem(url, writing=where != "resume")
        if problem is not None:
            raise fail(where, *problem)
        self.where = where
        self.scheme = scheme_of(url)
        rest = url[len(self.scheme) :]
        if self.scheme in ("file", "local"):
            rest = f"://{user_path(rest.removeprefix('://'), where)}"
        address, self._query = f"{self.scheme}{rest}", ""
        if not KINDS[self.scheme].writable:  # of HTTP, where a query stands behind the name of each file
            address, mark, query = address.partition("?")
            self._query = mark + query
        self._given = url
        self._address = address.rstrip("/")
        self._timeout = timeout
        self._fs: Any = None
        self._connecting = threading.Lock()
        self.url = without_credentials(self._address, url)
        """For messages: without the credentials in it."""
        try:
            self._class: Any = FolderStore if self.scheme in ("file", "local") else get_filesystem_class(self.scheme)
            self.root = str(self._class._strip_protocol(self._address)).rstrip("/")
            self._arguments = dict(self._class._get_kwargs_from_urls(self._address))
        except ImportError as error:
            raise self._missing(error) from error
        except Exception as error:  # a port that is no number, an account that cannot be one
            raise fail(where, f"{self.url} cannot be used: {self.said(error)}.", EXAMPLE) from error

    def _missing(self, error: ImportError) -> UserError:
        kind = KINDS[self.scheme]
        if kind.extra is not None and kind.package is not None:
            return missing_extra(self.where, kind.package, kind.extra)
        package = kind.package or "fsspec"
        what = f"{self.scheme}:// needs the package {package!r}, which cannot be imported: {self.said(error)}."
        return fail(self.where, what, f"Install it with: pip install {package}")

    @property
    def fs(self) -> Any:
        """The file system. Errors of its client's connection are passed on."""
        with self._connecting:
            if self._fs is None:
                self._fs = self._class(**{**self._arguments, **self._options()})
                if self.scheme in ("s3", "s3a"):
                    self._fs.retries = 1  # attempts are counted here
            return self._fs

    def _options(self) -> dict[str, Any]:
        if self.scheme in ("file", "local"):
            return {"place": self.root, "skip_instance_cache": True}
        if self.scheme in _CONNECTED:
            # One that is closed must not be found again in the cache.
            return {"skip_instance_cache": True, **({"timeout": self._timeout} if self.scheme == "ftp" else {})}
        if self.scheme not in ("s3", "s3a"):
            return {}
        given = fsspec.config.conf.get(self.scheme, {}).get("config_kwargs", {})
        limits = {"connect_timeout": min(10.0, self._timeout), "read_timeout": self._timeout}
        config = {**limits, "retries": {"max_attempts": 0}, **given}
        return {"config_kwargs": config, "skip_instance_cache": True, "use_listings_cache": False}

    def disconnect(self) -> None:
        """After an error or a call that was given up: the next call connects anew, where that makes a difference."""
        if self.scheme in _CONNECTED:
            self._fs = None

    def at(self, name: str) -> str:
        """The path of a file of the place."""
        return f"{self.root}/{name}{self._query}"

    def said(self, error: BaseException) -> str:
        """What an error says, in one line, without the store's credentials."""
        text = " ".join((str(error) or type(error).__name__).split())
        text = without_credentials(text, self._given)
        text = text if len(text) <= _LONGEST_ERROR else f"{text[:_LONGEST_ERROR]}..."
        return escape_control(text.rstrip("."))

    def read(self, name: str, most: int) -> bytes:
        """A small file, no more than one byte above ``most`` of it. Raises what the client raises."""
        if self.scheme in ("http", "https"):  # a server may send all where a part was asked for
            content = b""
            with self.fs.open(self.at(name), "rb") as file:
                while len(content) <= most and (block := file.read(most + 1 - len(content))):
                    content += block
            return content
        return bytes(self.fs.cat_file(self.at(name), start=0, end=most + 1))

    def download(self, name: str, path: Path, size: int, deadline: Deadline) -> None:
        """A file, no more than ``size`` bytes of it.

        Raises:
            TooLargeError: if it is larger.
            TimeoutError: if it takes too long. What the client raises is passed on.
        """
        deadline.restart(size)
        deadline.check()
        fs = self.fs
        if isinstance(fs, AsyncFileSystem):  # calls back for each block, and writes it then
            fs.get_file(self.at(name), str(path), callback=deadline)
            return
        with path.open("xb") as copy:
            if self.scheme == "ftp":
                fs.get_file(self.at(name), _Counted(copy, deadline))
                return
            with fs.open(self.at(name), "rb", block_size=_BLOCK) as file:
                while block := file.read(_BLOCK):
                    deadline.relative_update(len(block))
                    copy.write(block)


class _Counted:
    """A file that counts what is written to it, as fsspec takes one."""

    def __init__(self, file: Any, deadline: Deadline) -> None:
        self._file, self._deadline = file, deadline
        self.read, self.tell, self.close = file.read, file.tell, file.close

    def write(self, block: bytes) -> int:
        """Write a block, if it may still come."""
        self._deadline.relative_update(len(block))
        return int(self._file.write(block))


def bounded(call: Callable[[], T], seconds: float) -> T:
    """Call in a thread, so that a store that hangs is given up. Raises what ``call`` raises, or ``TimeoutError``."""
    answers: list[Any] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            answers.append(call())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, name="mirror-call", daemon=True)
    thread.start()
    thread.join(seconds)
    if errors:
        raise errors[0]
    if not answers:
        raise TimeoutError(f"no answer within {seconds:g} seconds")
    return answers[0]  # type: ignore[no-any-return]
