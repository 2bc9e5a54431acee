"""The files that python-edu names: downloaded in parallel, kept in parquet, resumed blob by blob.

Work goes in parts of a fixed number of blobs. What a part has fetched is appended to its journal
at once, so a killed download asks again only for what was under way.
"""

from __future__ import annotations

import hashlib
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from harness.data.arrow import write_json
from harness.data.blob_fetch import GOOD, TRIES, Fetched, client, fetch
from harness.data.sealing import DATA, Progress
from harness.errors import RequestError, nearest

BEGUN = "begun"
"""Stands in the working folder once something was fetched."""
GONE = "gone.tsv"
SUMMARY = "summary.json"
_SAY_EVERY = 5.0
_GIVE_UP = 2
"""After this many times the connections in unreachable blobs one after another, there is no
network."""


@dataclass(frozen=True)
class BlobRequest:
    """What is asked for."""

    connections: int
    """Requests in flight."""
    max_bytes: int
    """The most that an unpacked file may have; a longer one is left out."""
    part_blobs: int
    """Blobs of one parquet file."""


class _Journal:
    """What a part has fetched so far, a line a blob; threads append."""

    def __init__(self, path: Path) -> None:
        self.known: dict[str, Fetched] = {}
        self._lock = threading.Lock()
        if path.is_file():
            data = path.read_bytes()
            whole = data[: data.rfind(b"\n") + 1]  # a killed process may leave half a line
            if len(whole) < len(data):
                os.truncate(path, len(whole))
            try:
                for line in whole.decode().split("\n")[:-1]:
                    found = Fetched(*json.loads(line))
                    self.known[found.blob_id] = found
            except (ValueError, TypeError) as error:
                raise _damaged(path, error) from None
        self._file = path.open("a", encoding="utf-8")

    def append(self, found: Fetched) -> None:
        line = json.dumps([found.blob_id, found.reason, found.text]) + "\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()

    def close(self) -> None:
        self._file.close()


class _Download:
    """All parts, one after another."""

    def __init__(self, request: BlobRequest, work: Path, progress: Progress) -> None:
        self.request, self.work, self.progress = request, work, progress
        self.counts: Counter[str] = Counter()
        self.unreachable = 0
        self.fresh = 0
        self.started, self.said = time.monotonic(), 0.0
        self.s3 = client(request.connections)

    def part(self, number: int, ids: Sequence[str], pool: ThreadPoolExecutor) -> None:
        """Fetch what is missing of a part, write its parquet file, then forget its journal."""
        note = self.work / f"part-{number:05d}.json"
        if note.is_file():
            self.counts.update(_read_note(note)["counts"])
            return
        path = self.work / f"journal-{number:05d}.jsonl"
        journal = _Journal(path)
        found = dict(journal.known)
        self.counts.update(one.reason for one in found.values())
        try:
            for one in self._fetch([i for i in ids if i not in found], journal, pool):
                found[one.blob_id] = one
        finally:
            journal.close()
        good = [found[i] for i in ids if found[i].reason == GOOD]
        if good:
            write_parquet(self.work / DATA / f"part-{number:05d}.parquet", good)
        write_json(note, {
            "counts": Counter(found[i].reason for i in ids),
            "gone": [[i, found[i].reason] for i in ids if found[i].reason != GOOD],
        })  # fmt: skip
        path.unlink()

    def _fetch(
        self, ids: Sequence[str], journal: _Journal, pool: ThreadPoolExecutor
    ) -> Iterator[Fetched]:
        def one(blob_id: str) -> Fetched:
            found = fetch(self.s3, blob_id, self.request.max_bytes)
            journal.append(found)
            return found

        waiting = iter(ids)
        flying: set[Future[Fetched]] = set()
        try:
            while True:
                room = 2 * self.request.connections - len(flying)
                flying |= {pool.submit(one, blob_id) for blob_id in islice(waiting, room)}
                if not flying:
                    return
                done, flying = wait(flying, return_when=FIRST_COMPLETED)
                for future in done:
                    found = future.result()
                    self._note(found)
                    yield found
        finally:
            for future in flying:
                future.cancel()
            wait(flying)

    def _note(self, found: Fetched) -> None:
        if not self.fresh:
            (self.work / BEGUN).touch()
        self.fresh += 1
        self.counts[found.reason] += 1
        self.unreachable = self.unreachable + 1 if found.reason == "unreachable" else 0
        if self.unreachable >= _GIVE_UP * self.request.connections:
            raise RequestError(
                f"{self.s3.meta.endpoint_url} does not answer: {self.unreachable} blobs one after "
                f"another, {TRIES} tries each; the same command goes on from here, and "
                "--source embedded needs no network"
            )
        now = time.monotonic()
        if now - self.said >= _SAY_EVERY:
            self.said = now
            rate = self.fresh / max(now - self.started, 1e-9)
            self.progress(f"{self.counts.total():,} blobs, {rate:,.0f} a second; "
                          f"{describe(self.counts)}")  # fmt: skip


def build(
    ids: Iterator[str], request: BlobRequest, work: Path, progress: Progress
) -> dict[str, Any]:
    """Download into `work / DATA`, going on from what lies in `work`; returns the summary.

    Raises RequestError for no ids, and when the bucket does not answer.
    """
    (work / DATA).mkdir(exist_ok=True)
    download = _Download(request, work, progress)
    unique = _unique(ids)
    parts = 0
    with ThreadPoolExecutor(request.connections) as pool:
        while part := list(islice(unique, request.part_blobs)):
            download.part(parts, part, pool)
            parts += 1
    if not parts:
        raise RequestError("there are no blob ids to download")
    if not download.counts[GOOD]:
        raise RequestError(f"none of the blobs could be had: {describe(download.counts)}")
    with (work / DATA / GONE).open("w", encoding="utf-8") as file:
        for number in range(parts):
            note = _read_note(work / f"part-{number:05d}.json")
            file.writelines(f"{blob_id}\t{reason}\n" for blob_id, reason in note["gone"])
    summary = {
        "kind": "python-edu",
        "max_bytes": request.max_bytes,
        "counts": dict(sorted(download.counts.items())),
    }
    write_json(work / DATA / SUMMARY, summary)
    return summary


def _read_note(path: Path) -> dict[str, Any]:
    """What a finished part left: `counts` by reason, and `gone`. Raises RequestError."""
    try:
        note = json.loads(path.read_bytes())
        return {"counts": dict(note["counts"]), "gone": list(note["gone"])}
    except (ValueError, KeyError, TypeError) as error:
        raise _damaged(path, error) from None


def _damaged(path: Path, error: Exception) -> RequestError:
    return RequestError(f"{path} is damaged ({error}); delete {path.parent} and start again")


def describe(counts: Counter[str] | dict[str, int]) -> str:
    """Counts by reason, the good ones first."""
    rest = ", ".join(f"{n:,} {reason}" for reason, n in sorted(counts.items()) if reason != GOOD)
    return f"{counts.get(GOOD, 0):,} good" + (f", {rest}" if rest else "")


def read_ids(path: Path) -> Iterator[str]:
    """Blob ids of a .parquet or .jsonl with a column `blob_id`, or of a .txt, one a line.

    Raises RequestError.
    """
    if not path.is_file():
        raise RequestError(f"--blobs: no file '{path}'; 'hub' reads them from the Hub")
    if path.suffix not in (".parquet", ".jsonl", ".txt"):
        raise RequestError(f"--blobs: '{path}' must end in .parquet, .jsonl or .txt")
    try:
        yield from {".parquet": _parquet, ".jsonl": _jsonl, ".txt": _txt}[path.suffix](path)
    except (OSError, ValueError) as error:  # pyarrow's errors are among these
        why = (str(error).splitlines() or [type(error).__name__])[0]
        raise RequestError(f"--blobs: cannot read '{path}': {why}") from None


def _parquet(path: Path) -> Iterator[Any]:
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        if "blob_id" not in names:
            raise RequestError(f"--blobs: '{path}' has no column 'blob_id'"
                               f"{nearest('blob_id', names)}")  # fmt: skip
        for batch in file.iter_batches(columns=["blob_id"]):
            yield from batch.column(0).to_pylist()


def _jsonl(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if line.strip():
                row = json.loads(line)
                if not isinstance(row, dict) or "blob_id" not in row:
                    raise RequestError(f"--blobs: '{path}' line {number} has no 'blob_id'")
                yield row["blob_id"]


def _txt(path: Path) -> Iterator[Any]:
    with path.open(encoding="utf-8") as file:
        yield from (line.strip() for line in file if line.strip())


def _unique(ids: Iterator[Any]) -> Iterator[str]:
    """Each id once. Eight bytes of a hash are kept of each: a collision among ten million has
    odds of one in 370,000."""
    seen: set[int] = set()
    for blob_id in ids:
        if not isinstance(blob_id, str) or not blob_id.isalnum():
            raise RequestError(f"--blobs: {blob_id!r} is not a blob id")
        mark = int.from_bytes(hashlib.blake2b(blob_id.encode(), digest_size=8).digest(), "big")
        if mark not in seen:
            seen.add(mark)
            yield blob_id


def write_parquet(path: Path, found: Sequence[Fetched]) -> None:
    """Columns `blob_id` and `text`, a row a blob. Atomic."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    temporary = path.with_suffix(".tmp")
    columns = {"blob_id": [one.blob_id for one in found], "text": [one.text for one in found]}
    pq.write_table(pa.table(columns), temporary, compression="zstd", row_group_size=1000)
    with temporary.open("rb+") as file:
        os.fsync(file.fileno())
    os.replace(temporary, path)
