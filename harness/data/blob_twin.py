"""python-edu without the Hub or S3: the standard library's files, in the folder a download leaves.

Real code from this machine, by the ids that Software Heritage would give it. It is chosen by
`--source embedded`, and its summary says so.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from harness.data.arrow import write_json
from harness.data.blob_fetch import GOOD, Fetched
from harness.data.blobs import GONE, SUMMARY, write_parquet
from harness.data.sources import stdlib
from harness.errors import RequestError


def blob_id(content: bytes) -> str:
    """As git and Software Heritage name a file's content."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def build(folder: Path, *, limit: int | None, max_bytes: int, part_blobs: int) -> dict[str, Any]:
    """Write parquet parts, the list of what was left out, and the summary, which is returned.

    Raises RequestError where nothing is left.
    """
    folder.mkdir()
    good: list[Fetched] = []
    gone: list[Fetched] = []
    seen: set[str] = set()
    for _, text in islice(stdlib.sources(), limit):
        try:
            content = text.encode()
        except UnicodeEncodeError:
            content = text.encode(errors="ignore")  # half surrogates in a few modules' strings
        one = blob_id(content)
        if one in seen:
            continue
        seen.add(one)
        reason = "too large" if len(content) > max_bytes else GOOD if text.strip() else "empty"
        (good if reason == GOOD else gone).append(Fetched(one, reason, content.decode()))
    if not good:
        raise RequestError(f"none of the {len(seen)} files could be used: raise --max-bytes")
    for part, start in enumerate(range(0, len(good), part_blobs)):
        write_parquet(folder / f"part-{part:05d}.parquet", good[start : start + part_blobs])
    (folder / GONE).write_text("".join(f"{one.blob_id}\t{one.reason}\n" for one in gone))
    counts = Counter(one.reason for one in (*good, *gone))
    summary = {
        "kind": "python-edu, embedded: the standard library's files",
        "max_bytes": max_bytes,
        "counts": dict(sorted(counts.items())),
    }
    write_json(folder / SUMMARY, summary)
    return summary
