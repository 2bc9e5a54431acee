"""A copy of the code, from which all children of one launch run.

Somebody may edit the code while a long sweep is under way: each of its runs must still be of the
code that the sweep began with, or its arms could not be compared.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from harness.code.provenance import ROOT

PACKAGES = ("harness", "models")


def take(checkpoints: Path) -> Path:
    """The folder to run from: `<checkpoints>/.code/<digest of all files>`, made if need be."""
    files = sorted(
        path
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and path.suffix in (".py", ".toml")
    )
    whole = hashlib.sha256()
    contents = [(path.relative_to(ROOT), path.read_bytes()) for path in files]
    for name, content in contents:
        whole.update(f"{name.as_posix()} {len(content)}\n".encode() + content)
    place = checkpoints / ".code" / whole.hexdigest()[:16]
    if place.is_dir():
        return place
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=".making-"))
    try:
        for name, content in contents:
            (temporary / name).parent.mkdir(parents=True, exist_ok=True)
            (temporary / name).write_bytes(content)
        os.rename(temporary, place)
    except OSError:
        if not place.is_dir():  # else another launch of the same code was first
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return place
