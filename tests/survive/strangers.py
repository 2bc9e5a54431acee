"""What strangers send: folders, records, checkpoints, texts and recipes that are made to do harm.
Each is read by a command in a process of its own, of which time and memory are measured."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.survive import measured
from tests.survive.door import state
from tests.survive.fuzzing import Fuzz
from tests.survive.place import Warm
from tests.survive.tally import counted

Plant = Callable[[Path], None]
CHECK, CARD, FRESH = ("records", "check"), ("card",), ("card", "--check")
SAMPLE = ("sample", "model", "--prompt", "AB", "--max-tokens", "2")


@dataclass(frozen=True)
class Case:
    """One input, and what is to be said of it."""

    name: str
    plant: Plant
    """Puts it into a folder that holds one of everything."""
    words: tuple[str, ...]
    codes: tuple[int, ...] = (2,)


@dataclass
class Hostile:
    """What came of them."""

    faults: list[str] = field(default_factory=list)
    done: list[tuple[str, measured.Measured]] = field(default_factory=list)

    def lines(self) -> list[str]:
        said = [
            f"{m.peak_bytes / 1e6:6.0f} MB {m.waited:5.1f} s ({m.seconds:4.1f} of CPU) "
            f"exit {m.code}  {name}"
            for name, m in self.done
        ]
        peak = max((m.peak_bytes for _, m in self.done), default=0)
        slowest = max((m.waited for _, m in self.done), default=0)
        return [*said, f"{len(self.done):4} hostile inputs: at most {peak / 1e6:.0f} MB, "
                f"{slowest:.1f} s", f"{len(self.faults):4} faults", *self.faults]  # fmt: skip


def tried(warm: Warm, fuzz: Fuzz, root: Path, cases: Sequence[Case]) -> Hostile:
    """Each in a copy of the folder; beside it lies what nobody may touch."""
    found = Hostile()
    for number, case in enumerate(counted("hostile inputs", cases, found, every=10)):
        place = root / f"hostile-{number}"
        folder = place / "folder"
        shutil.copytree(fuzz.spare, folder, symlinks=True)
        (place / "outside").mkdir()
        (place / "outside" / "victim.png").write_bytes(b"a picture")
        (place / "tmp").mkdir()
        case.plant(folder)
        outside = _outside(place)
        said = measured.smol(warm, *case.words, at=folder, SMOL_CACHE=str(place / "cache"),
                             TMPDIR=str(place / "tmp"), HF_HUB_OFFLINE="1")  # fmt: skip
        faults = said.faults()
        if said.code not in case.codes:
            faults.append(f"exit {said.code}: {(said.out + said.err)[-600:]}")
        if changed := {p for p, now in _outside(place).items() if outside.get(p) != now}:
            faults.append(f"outside of the folder: {sorted(changed)[:5]}")
        found.faults += [f"{case.name}: {fault}" for fault in faults]
        found.done.append((case.name, said))
        if not faults:
            shutil.rmtree(place)
    return found


def _outside(place: Path) -> dict[str, tuple[int, ...]]:
    ours = tuple(str(place / name) for name in ("folder", "cache", "said."))
    return {p: now for p, now in state(place).items() if not p.startswith(ours)}


def record_of(folder: Path) -> Path:
    """The first record."""
    return min((folder / "results" / "records").rglob("*.json"))


def edited(change: Callable[[dict[str, Any]], None], where: str | None = None) -> Plant:
    """A record (or another JSON file) changed."""

    def plant(folder: Path) -> None:
        path = folder / where if where else record_of(folder)
        content = json.loads(path.read_bytes())
        change(content)
        path.write_text(json.dumps(content))

    return plant


def instead(content: bytes | Callable[[], bytes], where: str | None = None) -> Plant:
    """Other bytes in the place of a record (or another file)."""

    def plant(folder: Path) -> None:
        path = folder / where if where else record_of(folder)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.write_bytes(content() if callable(content) else content)

    return plant


def pipe(where: str) -> Plant:
    def plant(folder: Path) -> None:
        (folder / where).parent.mkdir(parents=True, exist_ok=True)
        (folder / where).unlink(missing_ok=True)
        os.mkfifo(folder / where)

    return plant


def sparse(where: str, size: int = 10**12) -> Plant:
    def plant(folder: Path) -> None:
        path = folder / where
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        path.touch()
        os.truncate(path, size)

    return plant


def link(where: str, to: str, *, folder_too: bool = False) -> Plant:
    """A link in the place of a file, or of a whole folder."""

    def plant(folder: Path) -> None:
        path = folder / where
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path)
        path.unlink(missing_ok=True)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.symlink_to(to)

    return plant


def deep(levels: int, opens: str = "[", closes: str = "]") -> bytes:
    return (opens * levels + closes * levels).encode()


def nothing(folder: Path) -> None:
    return


def a_folder(where: str) -> Plant:
    def plant(folder: Path) -> None:
        (folder / where).unlink(missing_ok=True)
        (folder / where).mkdir(parents=True)

    return plant


def both(*plants: Plant) -> Plant:
    def plant(folder: Path) -> None:
        for one in plants:
            one(folder)

    return plant


def moved_to(recipe: str, arm: str) -> Plant:
    """A record that says another recipe and arm, and lies where these would have it."""

    def plant(folder: Path) -> None:
        path = record_of(folder)
        content = json.loads(path.read_bytes()) | {"recipe": recipe, "arm": arm}
        path.unlink()
        there = folder / "results" / "records" / _quoted(recipe) / _quoted(arm) / path.name
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(json.dumps(content))

    return plant


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="").replace(".", "%2E") or "%00"


def every() -> Iterator[Case]:
    """All of them, by what they attack."""
    from tests.survive import attacks

    for family in attacks.FAMILIES:
        for name, plant, words, *codes in family():
            called = family.__name__.replace("_", " ")
            if (
                words == CHECK
            ):  # it says what is wrong with 1; of what no card was made from, nothing
                codes = [0, 1, 2]
            yield Case(f"{called}: {name}", plant, words, tuple(codes) or (2,))
