"""Files that matter: written whole or not at all, and known by their digests.

May import nothing of ours.
"""

from __future__ import annotations

import contextlib
import errno
import glob
import hashlib
import json
import os
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

TEMPORARY = ".writing-"
IDLE_SECONDS = 60.0
"""After which a temporary file that nobody has changed is taken for a killed process's, where the
file system has no locks that would tell."""


def write_atomically(path: Path, content: str | bytes) -> None:
    """Put `content` at `path`: a temporary file beside it, flushed to disk, then renamed.

    Missing folders are made, and what killed writers left in this one is removed. Raises OSError,
    and then leaves what was there.
    """
    with written_atomically(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def written_atomically(path: Path) -> Iterator[BinaryIO]:
    """The temporary file of `write_atomically`, to be written inside: what is too large to be in
    memory at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_litter(path.parent)
    handle, temporary = _claimed_file(path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
            os.chmod(temporary, 0o644)  # mkstemp's 0600 would follow a record into a shared folder
            os.replace(temporary, path)  # with the lock still held: it is nobody's litter
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
    with temporary_folder(place.parent, f".{place.name}-") as temporary:
        fresh = temporary / "fresh"
        fresh.mkdir()  # as the user's mask has it: mkdtemp's own is for its owner alone
        yield fresh
        if replace and place.exists():
            os.rename(place, temporary / "old")
        os.replace(fresh, place)


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str) -> Iterator[Path]:
    """A folder in `parent` for as long as this lasts, for `fresh` and `old` content alone; those
    that killed processes left under the same prefix are removed. Raises OSError."""
    for left in parent.glob(f"{glob.escape(prefix)}*"):
        _remove_left(left)
    while True:
        temporary = Path(tempfile.mkdtemp(dir=parent, prefix=prefix))
        handle = os.open(temporary, os.O_RDONLY) if fcntl else None
        if handle is None or _claim(handle, temporary):
            break
        os.close(handle)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if handle is not None:
            os.close(handle)


def _claimed_file(folder: Path) -> tuple[int, str]:
    while True:
        handle, temporary = tempfile.mkstemp(prefix=TEMPORARY, dir=folder)
        if _claim(handle, Path(temporary)):
            return handle, temporary
        os.close(handle)


def _claim(handle: int, temporary: Path) -> bool:
    """Lock what this process writes, until it is closed or the process ends, however it ends.

    False where another process has taken it for litter in the moment before.
    """
    if fcntl is None:
        return True
    with contextlib.suppress(OSError):  # not every file system has locks
        fcntl.flock(handle, fcntl.LOCK_EX)
    try:
        return os.path.samestat(os.fstat(handle), os.lstat(temporary))
    except FileNotFoundError:
        return False


@contextlib.contextmanager
def _abandoned(path: Path) -> Iterator[bool]:
    """Whether the process that wrote there is gone: its end has released its lock, which is this
    process's meanwhile. Raises OSError where the writer has put it in place."""
    found = os.lstat(path)
    gone, handle = time.time() - found.st_mtime >= IDLE_SECONDS, None
    folder = stat.S_ISDIR(found.st_mode)
    if fcntl is not None and (folder or stat.S_ISREG(found.st_mode)):
        try:
            handle = os.open(path, os.O_RDONLY if folder else os.O_RDWR)
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            gone = True
        except BlockingIOError:
            gone = False
        except OSError:  # another user's, or a file system without locks
            pass
    try:
        yield gone
    finally:
        if handle is not None:
            os.close(handle)


def _remove_left(left: Path) -> int:
    """Remove a temporary folder that a killed process left; its bytes. One that holds anything but
    what `new_folder` puts there is somebody else's, whatever it is called."""
    freed = 0
    if left.is_symlink() or not left.is_dir():
        return freed
    with contextlib.suppress(OSError), _abandoned(left) as gone:
        if gone and {path.name for path in left.iterdir()} <= {"fresh", "old"}:
            freed = sum(path.lstat().st_size for path in left.rglob("*") if path.is_file())
            shutil.rmtree(left, ignore_errors=True)
    return freed


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
        return file.read(min(most, max(found.st_size, 2**16)))  # as much is allocated at once


JSON_BYTES = 64 * 10**6
"""More than a tokenizer of any known model has."""


def read_json(path: Path, most: int = JSON_BYTES) -> Any:
    """What a JSON file says that somebody else may have put there.

    Raises OSError as `read_regular` does, and ValueError, in one line, for what is no JSON.
    """
    try:
        return json.loads(read_regular(path, most))
    except RecursionError:
        raise ValueError("it nests too deeply") from None


def is_file_of(path: Path, content: bytes) -> bool:
    """Whether a regular file stands there that holds just this. No other size is read."""
    try:
        return read_regular(path, len(content)) == content
    except OSError:
        return False


def remove_litter(folder: Path, *, below: bool = False) -> int:
    """Delete what killed processes left half-written in `folder`, and in all folders `below` it
    where that is asked; its bytes. What a process writes just now stays."""
    freed = 0
    for path in folder.glob(f"**/{TEMPORARY}*" if below else f"{TEMPORARY}*"):
        with contextlib.suppress(OSError), _abandoned(path) as gone:
            size = path.lstat().st_size
            if gone:
                path.unlink()
                freed += size
    if below:
        freed += sum(map(_remove_left, folder.glob("**/.*-????????")))  # as mkdtemp names them
    return freed


def cache_root() -> Path:
    """The folder of the user's cache: `SMOL_CACHE` where it is set, else the platform's own."""
    if chosen := os.environ.get("SMOL_CACHE"):
        return Path(chosen)
    import platformdirs

    return Path(platformdirs.user_cache_dir("smol-harness"))
