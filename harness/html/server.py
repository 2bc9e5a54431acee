"""The page on loopback: a reader's server, for whoever sits at this machine.

Answers GET alone, to hosts that are this machine (a name that a stranger's page resolves here is
refused), with the page, the state, and the records that the page names.
"""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

from harness.errors import RequestError
from harness.html import build
from harness.html.watch import Watch
from harness.records import bench, evaluation, store

HERE = "127.0.0.1"
NAMES = frozenset({HERE, "localhost", "[::1]"})
FOLDERS = (store.FOLDER, evaluation.FOLDER, bench.FOLDER)


class Server(ThreadingHTTPServer):
    """Serves one results folder."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, watch: Watch, port: int) -> None:
        """Raises RequestError where the port is taken."""
        self.watch = watch
        self._made: tuple[str, bytes] | None = None
        self._lock = threading.Lock()
        try:
            super().__init__((HERE, port), PageRequest)
        except OSError as error:
            raise RequestError(
                f"port {port} cannot be listened on: {error.strerror}; --port takes another, and "
                "0 any that is free"
            ) from None

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"http://{HERE}:{self.server_address[1]}/"

    def page(self) -> bytes:
        """The report as the records have it now, made again when they have changed."""
        with self._lock:
            version = self.watch.version
            if self._made is None or self._made[0] != version:
                self._made = version, build.report(self.watch.results, live=True).encode()
            return self._made[1]


class PageRequest(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "smol", ""

    def do_GET(self) -> None:
        """The page, its state, or a record."""
        host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
        if host not in NAMES:
            self._send(403, b"this page is for this machine alone\n")
            return
        path = unquote(urlsplit(self.path).path)
        try:
            if path == "/":
                self._send(200, self.server.page(), "text/html; charset=utf-8")
            elif path == "/state.json":
                content = json.dumps(self.server.watch.state(), allow_nan=False).encode()
                self._send(200, content, "application/json")
            elif (file := self._file(path)) is not None:
                self._send(200, file.read_bytes(), "application/json")
            else:
                self._send(404, b"there is no such page\n")
        except RequestError as error:  # records that are broken, or being written
            self._send(503, f"{error}\n".encode())

    do_HEAD = do_GET

    def _file(self, path: str) -> Path | None:
        """A file of the results that the page may name; nothing outside of its folders."""
        results = self.server.watch.results.resolve()
        place = (results / path.lstrip("/")).resolve()
        inside = any(place.is_relative_to(results / folder) for folder in FOLDERS)
        return place if inside and place.suffix == ".json" and place.is_file() else None

    def _send(self, code: int, content: bytes, kind: str = "text/plain; charset=utf-8") -> None:
        self.send_response(code)
        for name, value in (
            ("Content-Type", kind), ("Content-Length", str(len(content))),
            ("Cache-Control", "no-store"), ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"), ("X-Frame-Options", "DENY"),
            ("Cross-Origin-Resource-Policy", "same-origin"),
        ):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *arguments: object) -> None:
        """Says nothing: the terminal is for the address."""
