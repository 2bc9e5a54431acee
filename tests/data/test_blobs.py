"""python-edu against an S3 server on loopback: every good blob once, the rest by reason."""

import gzip
import hashlib
import json
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from moto.moto_server import werkzeug_app as moto_app

from harness.data import blob_fetch, blobs, hub
from harness.data.blob_fetch import Unusable, gunzip
from harness.data.sources import stdlib
from harness.errors import RequestError

LIMIT = 300_000
CONNECTIONS = 16


class Gate:
    """Before moto: counts requests and how many are in flight; some fail once, some answers break
    off once in the middle of the body."""

    def __init__(self, app) -> None:
        self.app = app
        self.asked: Counter[str] = Counter()
        self.flying = self.most = 0
        self.moody: set[str] = set()
        self.torn: set[str] = set()
        self.lock = threading.Lock()

    def __call__(self, environ, start_response):
        key = environ["PATH_INFO"].rsplit("/", 1)[-1]
        with self.lock:
            self.asked[key] += 1
            self.flying += 1
            self.most = max(self.most, self.flying)
            first = self.asked[key] == 1
            fails, tears = first and key in self.moody, first and key in self.torn
        try:
            time.sleep(0.01)
            if fails:
                start_response("503 Slow Down", [("Content-Type", "application/xml")])
                return [b"<Error><Code>SlowDown</Code><Message>later</Message></Error>"]
            answer = self.app(environ, start_response)
            if tears:
                body = b"".join(answer)
                return [body[: len(body) // 2]]  # the length that was announced is another
            return answer
        finally:
            with self.lock:
                self.flying -= 1


@pytest.fixture(scope="module")
def bucket():
    """A thousand blobs: (gate, endpoint, ids in order, reason of each, text of the good ones)."""
    from moto.s3.models import get_canned_acl, s3_backends
    from werkzeug.serving import make_server

    backend = s3_backends["123456789012"]["aws"]
    backend.create_bucket(blob_fetch.BUCKET, "us-east-1")
    everyone = get_canned_acl("public-read")
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    texts = [source for _, source in stdlib.sources()]
    ids, reasons, good = [], {}, {}
    for i in range(1000):
        blob_id = hashlib.sha1(str(i).encode()).hexdigest()
        text = f"# file {i}\n" + texts[i % len(texts)][:2000]
        data: bytes | None = gzip.compress(text.encode())
        reason = "ok"
        if i % 50 == 1:
            data, reason = None, "missing"
        elif i % 50 == 2:
            data, reason = text.encode(), "not gzip"
        elif i % 50 == 3:
            data = gzip.compress("naïve café\n".encode("latin-1") + text.encode())
            text = "nave caf\n" + text
        elif i == 500:
            data, reason = gzip.compress(b"0" * 100 * LIMIT), "too large"
        elif i == 600:
            data, reason = data[: len(data) // 2], "truncated"
        elif i == 700:
            data, reason = gzip.compress(b" \n"), "empty"
        if data is not None:
            backend.put_object(blob_fetch.BUCKET, f"content/{blob_id}", data)
            backend.put_object_acl(blob_fetch.BUCKET, f"content/{blob_id}", everyone)
        ids.append(blob_id)
        reasons[blob_id] = reason
        if reason == "ok":
            good[blob_id] = text
    gate = Gate(moto_app.DomainDispatcherApplication(moto_app.create_backend_app))
    gate.moody = {ids[i] for i in range(0, 1000, 40)}
    gate.torn = {ids[i] for i in range(10, 1000, 90)}
    server = make_server("127.0.0.1", 0, gate, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield gate, f"http://127.0.0.1:{server.server_port}", ids, reasons, good
    server.shutdown()
    thread.join()


def start(folder: Path, endpoint: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "harness", "data", "prepare", "python-edu",
         "--out", str(folder / "out"), "--connections", str(CONNECTIONS),
         "--max-bytes", str(LIMIT), "--part-blobs", "400", *arguments],
        env={**os.environ, "AWS_ENDPOINT_URL": endpoint}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def journaled(work: Path) -> list[str]:
    """Ids of whole lines in the journals, and of finished parts."""
    found = []
    for path in work.glob("journal-*.jsonl"):
        found += [json.loads(line)[0] for line in path.read_text().split("\n")[:-1]]
    for path in (work / "data").glob("*.parquet"):
        found += pq.read_table(path)["blob_id"].to_pylist()
    return found


def test_a_thousand_blobs_killed_and_resumed(bucket, tmp_path):
    gate, endpoint, ids, reasons, good = bucket
    listing = tmp_path / "blobs.jsonl"
    listing.write_text("".join(json.dumps({"blob_id": i}) + "\n" for i in [*ids, *ids[:20]]))
    work = tmp_path / "out.partial"
    first = start(tmp_path, endpoint, "--blobs", str(listing))
    deadline = time.monotonic() + 60
    while len(list(work.glob("part-*.json"))) < 1 or len(journaled(work)) < 500:
        assert first.poll() is None, first.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    first.send_signal(signal.SIGKILL)
    first.communicate()
    time.sleep(0.2)  # what the server still answers, nobody hears
    kept = set(journaled(work))
    before = Counter(gate.asked)
    assert 500 <= len(kept) < 1000
    assert not (tmp_path / "out").exists()

    second = start(tmp_path, endpoint, "--blobs", str(listing))
    out, err = second.communicate(timeout=120)
    assert second.returncode == 0, err
    again = {i for i in ids if before[i] and gate.asked[i] > before[i]}
    assert not again & kept
    assert len(again) <= CONNECTIONS
    assert gate.most >= 8
    assert all(gate.asked[i] >= 2 for i in gate.moody | gate.torn if reasons[i] == "ok")

    tables = [pq.read_table(path) for path in sorted((tmp_path / "out").glob("*.parquet"))]
    rows = [(r["blob_id"], r["text"]) for table in tables for r in table.to_pylist()]
    assert rows == [(i, good[i]) for i in ids if i in good]
    summary = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert summary["counts"] == dict(sorted(Counter(reasons.values()).items()))
    gone = dict(
        line.split("\t") for line in (tmp_path / "out" / "gone.tsv").read_text().splitlines()
    )
    assert gone == {i: reason for i, reason in reasons.items() if reason != "ok"}
    assert f"{len(good):,} good" in out
    assert not work.exists()

    # And it is a source of the mix.
    table = hub.DataTable(str(tmp_path / "out"), None, "train", "text")
    found = [t for b in hub.batches(table, 0, rows=64, progress=print) for t in b.values]
    assert sorted(found) == sorted(good.values())


def test_a_bucket_that_does_not_answer_is_one_line(tmp_path, monkeypatch):
    listing = tmp_path / "blobs.txt"
    listing.write_text("\n".join(f"{i:040x}" for i in range(3 * CONNECTIONS)))
    process = start(tmp_path, "http://127.0.0.1:9", "--blobs", str(listing))
    _, err = process.communicate(timeout=120)
    assert process.returncode == 2
    assert err.startswith("smol: http://127.0.0.1:9 does not answer")
    assert "--source embedded needs no network" in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.txt", None, "no file"),
        ("ids.csv", "a", "must end in"),
        ("ids.jsonl", '{"id": 1}\n', "line 1 has no 'blob_id'"),
        ("ids.parquet", "not parquet", "cannot read"),
        ("ids.txt", "../../etc\n", "is not a blob id"),
        ("empty.txt", "", "no blob ids"),
    ],
)
def test_bad_listings_are_one_line(tmp_path, name, content, words):
    from harness.commands.data_python_edu import Options, data_python_edu

    if content is not None:
        (tmp_path / name).write_text(content)
    with pytest.raises(RequestError, match=words):
        data_python_edu(Options(tmp_path / "out", blobs=str(tmp_path / name)))
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("journal-00000.jsonl", '["a", "ok"\n'),
        ("journal-00000.jsonl", '{"a": 1, "b": 2, "c": 3, "d": 4}\n'),
        ("part-00000.json", "{"),
        ("part-00000.json", '{"counts": {"ok": 1}}'),
    ],
)
def test_a_download_that_was_damaged_says_so(tmp_path, name, content):
    (tmp_path / "data").mkdir()
    (tmp_path / name).write_text(content)
    request = blobs.BlobRequest(connections=1, max_bytes=100, part_blobs=10)
    with pytest.raises(RequestError, match=f"{name} is damaged .*; delete"):
        blobs.build(iter(["a"]), request, tmp_path, print)


def test_the_embedded_twin_is_real_code_in_the_same_folder_layout(tmp_path, capsys):
    """And the code of one's own git names it by the same ids."""
    from harness.commands.data_python_edu import Options, data_python_edu

    out = tmp_path / "out"
    data_python_edu(Options(out, source="embedded", limit=60, max_bytes=40_000, part_blobs=25))
    assert "embedded: the standard library's files" in capsys.readouterr().out
    rows = [
        row for part in sorted(out.glob("*.parquet")) for row in pq.read_table(part).to_pylist()
    ]
    counts = json.loads((out / "summary.json").read_text())["counts"]
    assert counts["ok"] == len(rows) > 40
    assert counts["too large"] == len((out / "gone.tsv").read_text().splitlines())
    for row in rows:
        compile(row["text"], "blob", "exec", dont_inherit=True)
        data = row["text"].encode()
        assert row["blob_id"] == hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()
    table = hub.DataTable(str(out), None, "train", "text")
    found = [t for b in hub.batches(table, 0, rows=64, progress=print) for t in b.values]
    assert sorted(found) == sorted(row["text"] for row in rows)
    with pytest.raises(RequestError, match="--blobs needs hub"):
        data_python_edu(Options(tmp_path / "x", source="embedded", blobs="a.txt"))


def test_gunzip_is_bounded_and_says_why_not():
    packed = gzip.compress(b"a" * 1000)
    assert gunzip(packed, 1000) == b"a" * 1000
    assert gunzip(packed + gzip.compress(b"b") + b"\0\0", 2000) == b"a" * 1000 + b"b"
    for data, limit, reason in [
        (packed, 999, "too large"),
        (packed + packed, 1500, "too large"),
        (packed[:-9], 1000, "truncated"),
        (packed[:-8] + b"12345678", 1000, "corrupt"),
        (packed + b"tail", 1000, "corrupt"),
        (b"plain", 1000, "not gzip"),
        (b"", 1000, "not gzip"),
    ]:
        with pytest.raises(Unusable, match=reason):
            gunzip(data, limit)
