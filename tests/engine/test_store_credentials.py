"""Credentials of a mirror's store stand in the environment: fsspec gives them to the store's client."""

from __future__ import annotations

import base64
import socketserver
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import fsspec
import pytest

from counterpoise.engine.remote import Remote


@pytest.fixture(autouse=True)
def _own_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fsspec.config, "conf", {})


@pytest.fixture
def seen() -> list[str]:
    """What a server was told."""
    return []


@pytest.fixture
def ftp(seen: list[str]) -> Iterator[str]:
    """A server that takes user and password, and knows no other command."""

    class Server(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 ready\r\n")
            for line in self.rfile:
                seen.append(line.decode().strip())
                answer = {b"USER": b"331 password", b"PASS": b"230 in"}.get(line[:4], b"502 unknown")
                self.wfile.write(answer + b"\r\n")

    yield from served(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Server))


@pytest.fixture
def webhdfs(seen: list[str]) -> Iterator[str]:
    """A server that knows no file."""

    class Server(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(base64.b64decode(self.headers.get("Authorization", "Basic ")[6:]).decode())
            self.send_error(404)

        def log_message(self, *_: Any) -> None:
            """Nothing."""

    yield from served(ThreadingHTTPServer(("127.0.0.1", 0), Server))


def served(server: Any) -> Iterator[str]:
    server.daemon_threads, server.block_on_close = True, False
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_of_ftp(ftp: str, seen: list[str]) -> None:
    fsspec.config.set_conf_env(fsspec.config.conf, {"FSSPEC_FTP_USERNAME": "me", "FSSPEC_FTP_PASSWORD": "hidden"})
    remote = Remote(f"ftp://{ftp}/x", 5.0)
    assert remote.pointer() is None
    assert seen[:2] == ["USER me", "PASS hidden"]
    assert "hidden" not in remote.url


def test_of_webhdfs(webhdfs: str, seen: list[str]) -> None:
    fsspec.config.set_conf_env(fsspec.config.conf, {"FSSPEC_WEBHDFS_USER": "me", "FSSPEC_WEBHDFS_PASSWORD": "hidden"})
    with pytest.raises(OSError, match="404"):
        Remote(f"webhdfs://{webhdfs}/x", 5.0).pointer()
    assert seen[0] == "me:hidden"
