"""Where downloads and prepared data live. May import nothing heavy."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from harness.errors import RequestError


def cache_root() -> Path:
    """The folder of the user's cache: `SMOL_CACHE` where it is set, else the platform's own."""
    if chosen := os.environ.get("SMOL_CACHE"):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("smol-harness"))


def build_once(place: Path, build: Callable[[Path], None]) -> None:
    """Make the folder `place` unless it is there: `build(folder)` fills a temporary one beside it,
    which is then put in place at once. Of several processes the first builds, the others wait.

    Raises RequestError where the cache cannot be written.
    """
    from filelock import FileLock

    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_suffix(".lock")):
            if place.is_dir():
                return
            for left in place.parent.glob(f".{place.name}-*"):  # by a process that was killed
                shutil.rmtree(left, ignore_errors=True)
            temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}-"))
            try:
                build(temporary)
                temporary.chmod(0o755)  # mkdtemp's folder is for its owner alone
                os.rename(temporary, place)
            finally:
                shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        raise RequestError(
            f"cannot write the data cache {place.parent} ({error.strerror or error}); "
            "set SMOL_CACHE to a folder that can be written"
        ) from None
