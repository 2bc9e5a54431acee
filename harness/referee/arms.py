"""An arm: a folder, or a git revision of one, copied once and known by the digest of its files.

Runs start from the copy, so that an edit during a long comparison cannot mix two versions.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from harness.errors import RequestError, nearest
from harness.files import temporary_folder
from harness.records.foreign import files_digest

SKIPPED = frozenset(
    (".git", "__pycache__", ".venv", "venv", "node_modules", ".mypy_cache", ".ruff_cache",
     ".pytest_cache", ".ipynb_checkpoints", "wandb")
)  # fmt: skip
"""Folders that are no part of a script."""
LARGEST_BYTES = 2 * 2**30
"""The most that an arm's files may have together."""
TEXT_SUFFIXES = frozenset(
    (".py", ".pyx", ".toml", ".yaml", ".yml", ".json", ".cfg", ".ini", ".sh", ".md", ".txt",
     ".cu", ".cuh", ".c", ".cpp", ".h", ".jinja")
)  # fmt: skip
TEXT_BYTES = 128 * 2**10
"""The most that one file may have whose text is kept."""
TEXTS_BYTES = 2**20
"""The most that all kept texts may have together."""
LINK = "-> "
"""What stands in place of the digest of a link to a folder: where it leads stays local."""


@dataclass(frozen=True)
class ForeignArm:
    """One version of a script."""

    name: str
    digest: str
    origin: str
    """`folder`, or `commit` and its hash."""
    files: dict[str, str]
    """Path -> SHA-256, or `LINK`."""
    texts: dict[str, str] = field(repr=False)
    copy: Path
    """The read-only copy."""
    place: Path
    """The user's folder; it may change or vanish."""
    command: tuple[str, ...] = ()
    """What runs it, `{seed}` not filled in yet; empty is the comparison's command."""

    def differences(self, other: dict[str, str]) -> list[str]:
        """Paths at which these files differ from others, sorted."""
        return sorted(p for p in {*self.files, *other} if self.files.get(p) != other.get(p))


def take(
    given: Sequence[str], store: Path, *, shared: Sequence[str], ours: Sequence[Path]
) -> list[ForeignArm]:
    """The arms of `[NAME=]PATH` or `[NAME=]PATH@REV`, the baseline first, copied into `store`.

    `shared` are paths that all arms take from the baseline's folder as links (data): they are not
    copied and enter no digest; nor are `ours`, folders that the referee itself writes to and
    that may lie in an arm's. Raises RequestError for a place that is none, an unknown revision,
    two arms of one name, or files too large to be a script's.
    """
    arms = []
    for name, spec in named(given):
        place, revision = _parse(spec)
        with tempfile.TemporaryDirectory(prefix="smol-arm-") as temporary:
            if revision is None:
                source, origin = place, "folder"
            else:
                source, commit = Path(temporary), _commit(place, revision)
                _extract(place, commit, source)
                origin = f"commit {commit}"
            arms.append(_copied(name, source, origin, place, store, shared, ours))
    return arms


def declared(
    given: Mapping[str, tuple[str, tuple[str, ...]]], store: Path, *, beside: Path,
    shared: Sequence[str], ours: Sequence[Path],
) -> list[ForeignArm]:  # fmt: skip
    """The arms of a recipe: name -> (place, command), copied into `store`; a place that is not
    absolute is `beside` the recipe's file. Raises as `take` does."""
    found = []
    for name, (place, command) in given.items():
        spec = f"{name}={beside / place}"
        (arm,) = take([spec], store, shared=shared, ours=ours)
        found.append(replace(arm, command=command))
    return found


def named(given: Sequence[str]) -> list[tuple[str, str]]:
    """(name, place) of each; a name that is not given is the folder's, with the revision.

    Raises RequestError for a place that is none, or two arms of one name.
    """
    pairs, said = [], set[str]()
    for text in given:
        name, equals, spec = text.partition("=")
        if equals and name and "/" not in name and not Path(text).exists():
            pairs.append((name, spec))
            said.add(name)
            continue
        place, revision = _parse(text)
        own = place.resolve().name or "root"
        pairs.append((own if revision is None else f"{own}@{revision}", text))
    if len({name for name, _ in pairs}) < len(pairs):  # a/train and b/train
        pairs = [(n if n in said else _longer(n, spec), spec) for n, spec in pairs]
    names = [name for name, _ in pairs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise RequestError(f"two arms are called '{twice}'; name them: first={given[0]} second=...")
    return pairs


def _longer(name: str, spec: str) -> str:
    place, _ = _parse(spec)
    parent = place.resolve().parent.name
    return f"{parent}-{name}" if parent else name


def _parse(spec: str) -> tuple[Path, str | None]:
    """(folder, revision); a folder whose own name holds an `@` is a folder."""
    if Path(spec).is_dir():
        return Path(spec), None
    before, at, revision = spec.rpartition("@")
    if at and Path(before or ".").is_dir() and revision:
        return Path(before or "."), revision
    path = Path(before if at else spec)
    if path.is_file():
        raise RequestError(f"'{spec}' is a file; an arm is its folder '{path.parent}'")
    near = [p.name for p in path.parent.glob("*/")] if path.parent.is_dir() else []
    raise RequestError(f"no folder '{path}' for an arm{nearest(path.name, near)}")


def _git(place: Path, *arguments: str) -> bytes:
    try:
        done = subprocess.run(
            ["git", "-C", str(place), *arguments], capture_output=True, check=False, timeout=300
        )
    except FileNotFoundError:
        raise RequestError("an arm 'path@revision' needs git, which is not installed") from None
    if done.returncode:
        said = done.stderr.decode("utf-8", errors="replace").strip().splitlines()
        raise RequestError(f"'{place}@...': git says: {said[-1] if said else 'nothing'}")
    return done.stdout


def _commit(place: Path, revision: str) -> str:
    if revision.startswith("-"):
        raise RequestError(f"no git revision '{revision}'")
    try:
        return _git(place, "rev-parse", "--verify", f"{revision}^{{commit}}").decode().strip()
    except RequestError as error:
        if "needed a single revision" not in str(error).lower():
            raise
    refs = _git(place, "for-each-ref", "--format=%(refname:short)").decode().split()
    raise RequestError(f"no git revision '{revision}' in '{place}'{nearest(revision, refs)}")


def _extract(place: Path, commit: str, target: Path) -> None:
    """What the folder held at a commit; git archives the folder that it is called in."""
    with tarfile.open(fileobj=io.BytesIO(_git(place, "archive", commit))) as archive:
        archive.extractall(target, filter="data")


def _copied(
    name: str, source: Path, origin: str, place: Path, store: Path, shared: Sequence[str],
    ours: Sequence[Path],
) -> ForeignArm:  # fmt: skip
    store.mkdir(parents=True, exist_ok=True)
    with temporary_folder(store, ".making-") as temporary:
        fresh = temporary / "fresh"
        fresh.mkdir(mode=0o700)
        files, texts = _copy(name, source, fresh, shared, ours)
        if not files:
            raise RequestError(f"arm '{name}': '{place}' holds no files")
        digest = files_digest(files)
        copy = store / digest
        if not copy.is_dir():
            os.rename(fresh, copy)
        _protect(copy)
    return ForeignArm(name, digest, origin, files, texts, copy, place)


def _copy(
    name: str, source: Path, target: Path, shared: Sequence[str], own: Sequence[Path]
) -> tuple[dict[str, str], dict[str, str]]:
    files: dict[str, str] = {}
    texts: dict[str, str] = {}
    size = kept = 0
    for path, relative in _walk(source, {Path(s).as_posix() for s in shared}, own):
        goal = target / relative
        goal.parent.mkdir(parents=True, exist_ok=True)
        if path.is_dir():
            os.symlink(path.resolve(), goal)
            files[relative] = LINK
            continue
        size += path.stat().st_size
        if size > LARGEST_BYTES:
            raise RequestError(
                f"arm '{name}' holds more than {LARGEST_BYTES / 2**30:g} GiB (at '{relative}'); "
                "name data with --share PATH: it is then linked, not copied"
            )
        content = path.read_bytes()
        goal.write_bytes(content)
        goal.chmod(0o755 if os.access(path, os.X_OK) else 0o644)
        files[relative] = hashlib.sha256(content).hexdigest()
        text = _text(relative, content)
        if text is not None and kept + len(content) <= TEXTS_BYTES:
            texts[relative] = text
            kept += len(content)
    return files, texts


def _walk(source: Path, shared: set[str], own: Sequence[Path]) -> Iterator[tuple[Path, str]]:
    """(path, path inside the arm) of regular files and of links to folders, sorted."""
    ours = {folder.resolve() for folder in own}
    for place, folders, names in os.walk(source):
        here = Path(place)
        keep = []
        for folder in sorted(folders):
            path = here / folder
            relative = path.relative_to(source).as_posix()
            if folder in SKIPPED or relative in shared or path.resolve() in ours:
                continue
            if path.is_symlink():
                yield path, relative
            else:
                keep.append(folder)
        folders[:] = keep
        for file in sorted(names):
            path = here / file
            relative = path.relative_to(source).as_posix()
            if path.is_file() and relative not in shared and not file.endswith(".pyc"):
                yield path, relative


def _text(relative: str, content: bytes) -> str | None:
    """The text that a record may keep: none of hidden files, which hold keys and settings."""
    hidden = any(part.startswith(".") for part in Path(relative).parts)
    if hidden or Path(relative).suffix not in TEXT_SUFFIXES or len(content) > TEXT_BYTES:
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _protect(folder: Path) -> None:
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o555)


def lay_out(arm: ForeignArm, folder: Path, shared: Sequence[str], shared_from: Path) -> None:
    """A fresh, writable copy of an arm to run in, with links to what is shared."""
    shutil.copytree(arm.copy, folder, symlinks=True)
    for place, _, names in os.walk(folder):
        for name in names:
            path = Path(place) / name
            if not path.is_symlink():
                path.chmod(path.stat().st_mode | 0o200)
    for relative in shared:
        link = folder / relative
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((shared_from / relative).resolve())


def refuse_missing_share(shared: Sequence[str], baseline: Path) -> None:
    """Raise RequestError for a shared path that the baseline's folder does not hold."""
    for relative in shared:
        if relative.startswith("/") or ".." in Path(relative).parts:
            raise RequestError(f"--share '{relative}': a path inside the baseline's folder")
        if not (baseline / relative).exists():
            raise RequestError(f"--share '{relative}': '{baseline}' holds none")


def forget(store: Path, arms: Sequence[ForeignArm]) -> None:
    """Delete the copies of other versions: what is kept of those is their record."""
    wanted = {arm.digest for arm in arms}
    for folder in store.iterdir():
        if folder.name not in wanted:
            remove(folder)


def remove(folder: Path) -> None:
    """Delete a folder, whatever a script made of its permissions."""
    for place, _, _ in os.walk(folder):
        os.chmod(place, 0o700)
    shutil.rmtree(folder, ignore_errors=True)
