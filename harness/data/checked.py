"""Prepared data is proven by its digests before it is trained on: once, until a file changes.

What was proven is remembered in the cache by each file's size, time and inode.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from pathlib import Path

from harness.data.cache import cache_root
from harness.data.manifest import Prepared
from harness.files import write_atomically

FOLDER = "checked"


def check(prepared: Prepared) -> None:
    """Raises RequestError where a folder's tokens are not what its manifest says."""
    place = str(prepared.folder.resolve())
    known = cache_root() / FOLDER / f"{hashlib.sha256(place.encode()).hexdigest()[:16]}.json"
    stamp = _stamp(prepared)
    if _read(known) == stamp:
        return
    prepared.check()
    with contextlib.suppress(OSError):  # a cache that cannot be written costs the time alone
        write_atomically(known, json.dumps(stamp))


def _stamp(prepared: Prepared) -> dict[str, list[int]]:
    """The manifest's seal, so that another folder in its place counts as one; and its files."""
    found = {prepared.manifest.seal: list[int]()}
    for name in prepared.manifest.files:
        one = (prepared.folder / name).stat()
        found[name] = [one.st_size, one.st_mtime_ns, one.st_ino]
    return found


def _read(known: Path) -> object:
    try:
        return json.loads(known.read_bytes())
    except (OSError, ValueError):
        return None
