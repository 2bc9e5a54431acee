"""As much of the Hub as `datasets` needs to stream parquet (metadata, trees, files by range),
and as `huggingface_hub` needs to make a repository of a model and to commit to it.

Serves from memory on loopback, counts requests, and misbehaves when told to.
"""

from __future__ import annotations

import base64
import hashlib
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlparse

SHA = "0123456789abcdef0123456789abcdef01234567"


class Hub:
    """Repositories of files: `repos["owner/name"]["path"] = bytes`."""

    def __init__(self) -> None:
        self.repos: dict[str, dict[str, bytes]] = {}
        self.requests: Counter[str] = Counter()
        self.sent = 0
        """Bytes of files sent."""
        self.fault: Callable[[str, int], str | None] = lambda path, number: None
        """(path, how many requests so far) -> `500`, `drop` (in the middle of the body), `endless`
        (JSON without end) or None."""
        self.url = ""
        self.lock = threading.Lock()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def log_message(self, *_: object) -> None:
        return

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        body = self.rfile.read(length)
        if urlparse(self.path).path.endswith(("/repos/create", "/validate-yaml")) or any(
            word in self.path for word in ("/preupload/", "/commit/")
        ):
            return self._written(unquote(urlparse(self.path).path), body)
        return self._answer(form=parse_qs(body.decode()))

    def _written(self, path: str, body: bytes) -> None:
        """What comes to the Hub: a new repository, and commits of small files."""
        self.hub.requests[path] += 1
        fault = self.hub.fault(path, sum(self.hub.requests.values()))
        if fault is not None:
            return self._send(int(fault), b"try again")
        if path.endswith("/validate-yaml"):
            return self._json({"errors": [], "warnings": []})
        if path.endswith("/repos/create"):
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.hub.repos.setdefault(name, {})
            return self._json({"url": f"{self.hub.url}/{name}", "id": name})
        name = "/".join(path.split("/")[3:5])
        if "/preupload/" in path:
            files = [
                {"path": one["path"], "uploadMode": "regular", "shouldIgnore": False}
                for one in json.loads(body)["files"]
            ]
            return self._json({"files": files})
        for line in body.splitlines():
            one = json.loads(line)
            if one["key"] == "file":
                content = base64.b64decode(one["value"]["content"])
                self.hub.repos[name][one["value"]["path"]] = content
        return self._json(
            {"success": True, "commitOid": SHA, "commitUrl": f"{self.hub.url}/{name}/commit/{SHA}"}
        )

    def _answer(self, form: dict[str, list[str]] | None = None) -> None:
        path = unquote(urlparse(self.path).path)
        with self.hub.lock:
            self.hub.requests[path] += 1
            fault = self.hub.fault(path, sum(self.hub.requests.values()))
        if fault == "500":
            return self._send(500, b"try again")
        if fault == "endless":
            return self._endless()
        kind, _, rest = path.strip("/").partition("/")
        if kind == "api":
            return self._api(rest.removeprefix("datasets/").removeprefix("models/"), form or {})
        if kind == "datasets" and "/resolve/" in rest:
            name, _, path = rest.partition("/resolve/")
            return self._file(name, path, fault)
        if "/resolve/" in rest:  # a model's
            owner, (name, _, path) = kind, rest.partition("/resolve/")
            return self._file(f"{owner}/{name}", path, fault)
        return self._missing("EntryNotFound")

    def _api(self, rest: str, form: dict[str, list[str]]) -> None:
        name = "/".join(rest.split("/")[:2])
        action = rest.split("/")[2:]
        files = self.hub.repos.get(name)
        if files is None:
            return self._missing("RepoNotFound")
        if action and action[0] in ("tree", "paths-info"):
            entries = {
                path: {"type": "file", "path": path, "size": len(data), "oid": _oid(data)}
                for path, data in sorted(files.items())
            }
            for path in files:
                for i, letter in enumerate(path):
                    if letter == "/":
                        entries[path[:i]] = {"type": "directory", "path": path[:i], "oid": SHA}
            if action[0] == "paths-info":
                return self._json([entries[path] for path in form["paths"] if path in entries])
            under = "".join(f"{part}/" for part in action[2:])
            deep = "recursive=true" in self.path.lower()
            found = [
                entry
                for path, entry in sorted(entries.items())
                if path.startswith(under) and (deep or "/" not in path.removeprefix(under))
            ]
            return self._json(found) if found else self._missing("EntryNotFound")
        return self._json(
            {
                "id": name, "_id": "1", "sha": SHA, "private": False, "gated": False,
                "disabled": False, "tags": [], "downloads": 0, "likes": 0,
                "lastModified": "2026-01-01T00:00:00.000Z", "createdAt": "2026-01-01T00:00:00.000Z",
                "siblings": [{"rfilename": path} for path in sorted(files)],
            },
        )  # fmt: skip

    def _file(self, name: str, rest: str, fault: str | None) -> None:
        path = rest.split("/", 1)[1]
        data = self.hub.repos.get(name, {}).get(path)
        if data is None:
            return self._missing("EntryNotFound")
        headers = {
            "ETag": f'"{_oid(data)}"', "X-Repo-Commit": SHA, "Accept-Ranges": "bytes",
        }  # fmt: skip
        asked = self.headers.get("Range")
        status = 200
        if asked:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            start, stop = int(first), min(int(last) + 1 if last else len(data), len(data))
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
            data, status = data[start:stop], 206
        return self._send(status, data, headers, drop=fault == "drop")

    def _json(self, content: object) -> None:
        self._send(200, json.dumps(content).encode(), {"Content-Type": "application/json"})

    def _endless(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(b"[")
        while True:
            self.wfile.write(b'"x", ' * 20_000)

    def _missing(self, code: str) -> None:
        self._send(404, b"{}", {"X-Error-Code": code, "X-Error-Message": code})

    def _send(
        self,
        status: int,
        data: bytes,
        headers: dict[str, str] | None = None,
        *,
        drop: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if self.command == "HEAD":
            return
        if drop:
            self.wfile.write(data[: len(data) // 2])
            self.wfile.flush()
            self.close_connection = True
            self.connection.close()
            return
        self.hub.sent += len(data)
        self.wfile.write(data)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        return  # a client that was killed, or a connection that was dropped on purpose


def _oid(data: bytes) -> str:
    return hashlib.sha1(data).hexdigest()


@contextmanager
def serve(hub: Hub) -> Iterator[Hub]:
    """Answer on a free port of loopback until the block ends."""
    handler = type("Handler", (_Handler,), {"hub": hub})
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
