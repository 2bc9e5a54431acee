"""Files that matter: written whole or not at all, and known by their digests.

May import nothing of ours.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = ".writing-"
IDLE_SECONDS = 60.0
"""After which a temporary file that nobody has changed is taken for a killed process's."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Put `content` at `path`: a temporary file beside it, flushed to disk, then renamed.

    Missing folders are made. Raises OSError, and then leaves what was there.
    """
    data = content.encode() if isinstance(content, str) else content
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)  # mkstemp's 0600 would follow a record into a shared folder
        os.replace(temporary, path)
    except BaseException as error:
        Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):  # a full disk names no file
            error.filename = str(path)
        raise


@contextlib.contextmanager
def new_folder(place: Path, *, replace: bool = False) -> Iterator[Path]:
    """A folder beside `place`, to be filled inside; it then stands at `place`, whole, and where
    anything is raised nothing changes.

    Raises OSError where it cannot be written, and where `place` holds files already, but with
    `replace`, which removes what was there.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(dir=place.parent, prefix=f".{place.name}-"))
    try:
        fresh = temporary / "fresh"
        fresh.mkdir()  # as the user's mask has it: mkdtemp's own is for its owner alone
        yield fresh
        if replace and place.exists():
            os.rename(place, temporary / "old")
        os.replace(fresh, place)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sha256(path: Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_regular(path: Path, most: int) -> bytes:
    """The bytes of a file that somebody else may have put there.

    Raises OSError, with a reason that can be printed, for a pipe or a device, from which reading
    might never end, and for a file of more than `most` bytes.
    """
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))  # a pipe would wait here
    with os.fdopen(handle, "rb") as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "it is no regular file", str(path))
        if found.st_size > most:
            size = found.st_size / 1e6
            why = f"it has {size:,.1f} MB, and such a file at most {most / 1e6:,.0f}"
            raise OSError(errno.EFBIG, why, str(path))
        return file.read(most)


def remove_litter(folder: Path, *, idle_seconds: float = 0.0) -> int:
    """Delete the temporary files that killed processes left directly in `folder`; their bytes.

    Where another process may be writing just now, `idle_seconds` since a file's last change tell
    litter from work.
    """
    freed = 0
    for path in folder.glob(f"{TEMPORARY}*"):
        with contextlib.suppress(FileNotFoundError):  # its writer has put it in place
            found = path.stat()
            if time.time() - found.st_mtime >= idle_seconds:
                path.unlink()
                freed += found.st_size
    return freed


def cache_root() -> Path:
    """The folder of the user's cache: `SMOL_CACHE` where it is set, else the platform's own."""
    if chosen := os.environ.get("SMOL_CACHE"):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("smol-harness"))
