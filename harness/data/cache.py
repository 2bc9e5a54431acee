"""Where downloads and prepared data live. May import nothing heavy."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.errors import RequestError
from harness.files import cache_root as cache_root
from harness.files import new_folder


@contextlib.contextmanager
def written(place: Path) -> Iterator[None]:
    """Work that writes to the cache. Raises RequestError where it cannot be written."""
    try:
        yield
    except OSError as error:
        raise RequestError(
            f"cannot write the cache {place.parent} ({error.strerror or error}); "
            "set SMOL_CACHE to a folder that can be written"
        ) from None


def build_once(place: Path, build: Callable[[Path], None]) -> None:
    """Make the folder `place` unless it is there: `build(folder)` fills a new one, which is then
    put in place at once. Of several processes the first builds, the others wait.

    Raises RequestError where the cache cannot be written.
    """
    from filelock import FileLock

    if place.is_dir():  # a cache that has it need not be one that can be written
        return
    with written(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(place.with_name(f"{place.name}.lock")):
            if place.is_dir():
                return
            with new_folder(place) as folder:
                build(folder)
