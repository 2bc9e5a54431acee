"""A copy of the code, from which all children of one launch run.

Somebody may edit the code while a long sweep is under way: each of its runs must still be of the
code that the sweep began with, or its arms could not be compared.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from harness.code.provenance import ROOT
from harness.files import new_folder

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
    try:
        with new_folder(place) as folder:
            for name, content in contents:
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
    except OSError:
        if not place.is_dir():  # else another launch of the same code was first
            raise
    return place
