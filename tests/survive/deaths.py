"""Kills and full disks: at random moments of each phase, and inside of chosen writes."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.survive.place import ORPHANS_SECONDS, RUN, Command, Place, Reference
from tests.survive.points import PHASES

TARGETS = ("launcher", "child", "both")
OCCURS = {"preparation": 1, "training": 6, "validation": 2, "checkpoint": 3, "record": 3, "card": 1}
"""Phase -> within how many of its occurrences one is chosen."""
LASTS = {"preparation": 0.8, "card": 0.8, "record": 0.1}
"""Phase -> seconds, at least, within which the moment is chosen; 0.05 for the others."""
RUN_FILES = "checkpoints/tiny_rates/*"
WRITES: tuple[tuple[str, int, str], ...] = (
    ("model.pt", 2, "before"), ("model.pt", 2, "half"), ("model.pt", 2, "full"),
    ("model.pt", 4, "after"), ("branch-*.pt", 1, "half"), ("branch-*.pt", 1, "after"),
    ("final_model.pt", 1, "half"), ("final_model.pt", 1, "full"), ("final_model.pt", 2, "after"),
    ("records/*.json", 1, "before"), ("records/*.json", 2, "half"), ("records/*.json", 3, "full"),
    ("records/*.json", 1, "after"), ("metrics.json", 1, "half"), ("metrics.json", 2, "after"),
    ("job.json", 1, "half"), ("job.json", 2, "after"), ("metrics.jsonl", 5, "line"),
    ("MODEL_CARD.md", 1, "half"), ("cells.json", 1, "half"), ("figures/*.png", 1, "half"),
    ("figures.json", 1, "half"), ("metrics_plot.png", 1, "half"), ("cache/data/*", 1, "full"),
    ("train/data-*.arrow", 1, "full"),
)  # fmt: skip
"""File, which of its writes, and when in it: 25."""
FULL: tuple[tuple[str, int, str], ...] = (
    ("model.pt", 1, "before"), ("model.pt", 3, "half"), ("branch-*.pt", 1, "before"),
    ("final_model.pt", 1, "before"), ("final_model.pt", 2, "half"), ("records/*.json", 1, "before"),
    ("records/*.json", 4, "half"), ("metrics.json", 1, "before"), ("job.json", 1, "before"),
    ("MODEL_CARD.md", 1, "before"), ("cells.json", 1, "half"), ("figures/*.png", 1, "before"),
    ("train/data-*.arrow", 1, "full"), ("metrics_plot.png", 1, "before"),
)  # fmt: skip
"""The same of the moments at which the disk is full: 14."""
DISK_MB = 32


@dataclass
class Tally:
    """What was done, and what was wrong afterwards."""

    done: Counter[str] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)
    orphans: list[float] = field(default_factory=list)
    """Seconds from the launcher's death to that of the last process it had started."""

    def note(self, what: str, faults: list[str]) -> None:
        self.faults += [f"{what}: {fault}" for fault in faults]

    def lines(self) -> list[str]:
        said = [f"{number:4} {what}" for what, number in sorted(self.done.items())]
        if self.orphans:
            said.append(
                f"     longest that a process outlived its launcher: {max(self.orphans):.1f} s"
            )
        return [*said, f"{len(self.faults):4} faults", *(f"     {fault}" for fault in self.faults)]


def at_random(reference: Reference, root: Path, kills: int, seed: int, chain: int = 3) -> Tally:
    """SIGKILL of launcher, child or both at random moments; after `chain` of them the same command
    goes on to the end."""
    chance, tally = random.Random(seed), Tally()
    phases = list(PHASES)
    for number in range(0, kills, chain):
        place = Place(reference.place.warm, root / f"kills-{number}")
        planned = [phases[(number + i) % len(phases)] for i in range(min(chain, kills - number))]
        planned.sort(key=phases.index)
        if planned[0] != "preparation":
            place.copied_from(reference.place)
        told = []
        for phase in planned:
            target = chance.choice(TARGETS)
            told.append(f"{target} in {phase}")
            _kill(place, phase, target, chance, tally)
        _goes_on(place, reference, tally, " then ".join(told))
    return tally


def _kill(place: Place, phase: str, target: str, chance: random.Random, tally: Tally) -> None:
    said = place.root / f"phases-{chance.random()}"
    command = place.start(*RUN, announce=str(said))
    for late in range(chance.randint(1, OCCURS[phase]), 0, -1):
        if _announced(command, said, phase, late):
            break
    time.sleep(chance.random() * LASTS.get(phase, 0.05))
    children = place.at_work() - {command.pid}
    hit = {"launcher": {command.pid}, "child": children, "both": children | {command.pid}}[target]
    if not children and target == "child":
        target, hit = "launcher (without a child)", {command.pid}
    if not command.running():
        target, hit = "nobody: the command was at its end", set()
    for pid in hit:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    tally.done[f"killed in {phase}: {target}"] += 1
    if command.pid in hit:
        _no_orphan(place, tally, f"{target} in {phase}")
    else:
        ended = command.wait()
        if not ended.clear or ended.code not in (0, 3):
            tally.faults.append(f"{target} in {phase}: exit {ended.code}: {ended.err[-300:]}")


def _announced(command: Command, said: Path, phase: str, number: int) -> bool:
    """Wait for the `number`-th time that a phase begins; False where the command ends before."""
    while True:
        alive = command.running()
        if said.exists() and _count(said, phase) >= number:
            return True
        if not alive:
            return False
        time.sleep(0.002)


def _count(said: Path, phase: str) -> int:
    return sum(line.split(" ", 1)[1] == phase for line in said.read_text().splitlines())


def _no_orphan(place: Place, tally: Tally, what: str) -> None:
    seconds = place.seconds_until_nobody_works()
    tally.orphans.append(seconds)
    if seconds > ORPHANS_SECONDS:
        tally.faults.append(f"{what}: a process was at work {seconds:.1f} s later")


def _goes_on(place: Place, reference: Reference, tally: Tally, what: str) -> None:
    ended = place.smol(*RUN)
    if ended.code or not ended.clear:
        tally.faults.append(f"{what}: then exit {ended.code}: {(ended.out + ended.err)[-600:]}")
    tally.note(what, place.faults(reference))
    if not any(fault.startswith(what) for fault in tally.faults):
        shutil.rmtree(place.root)


def inside_writes(
    reference: Reference, root: Path, chosen: tuple[tuple[str, int, str], ...]
) -> Tally:
    """SIGKILL of the process that writes, at a chosen moment of a chosen write."""
    tally = Tally()
    for number, point in enumerate(chosen):
        what = f"killed {point[2]} {point[0]} ({point[1]})"
        place = Place(reference.place.warm, root / f"write-{number}")
        if "cache" not in point[0] and "arrow" not in point[0]:
            place.copied_from(reference.place)
        counter = place.root / "count"
        ended = place.smol(*RUN, point=[*point, "kill"], counter=str(counter))
        place.seconds_until_nobody_works()
        if ended.code not in (-9, 3) and point[0] != "records/*.json":
            tally.faults.append(f"{what}: exit {ended.code}, so it was not killed there")
        if not counter.exists() or counter.stat().st_size < point[1]:
            tally.faults.append(f"{what}: that write never came")
        tally.done["killed inside a write"] += 1
        _goes_on(place, reference, tally, what)
    return tally


def full_disks(reference: Reference, root: Path, chosen: tuple[tuple[str, int, str], ...]) -> Tally:
    """A disk that is filled to its last byte at a chosen moment of a chosen write, and freed."""
    tally = Tally()
    for number, point in enumerate(chosen):
        what = f"disk full {point[2]} {point[0]} ({point[1]})"
        with small_disk(root / f"full-{number}") as disk:
            place = Place(reference.place.warm, root / f"full-{number}-said", disk)
            if "arrow" not in point[0]:
                place.copied_from(reference.place)
            counter = place.root / "count"
            ended = place.smol(*RUN, point=[*point, str(disk)], counter=str(counter))
            ballast = disk / "ballast"
            if not ballast.exists():
                tally.faults.append(f"{what}: the disk never was full: exit {ended.code}")
            ballast.unlink(missing_ok=True)
            if ended.code not in (2, 3) or not ended.clear:
                tally.faults.append(f"{what}: exit {ended.code}: {ended.err[-600:]}")
            tally.done["full disks"] += 1
            _goes_on(place, reference, tally, what)
    return tally


def can_mount() -> bool:
    """Whether this process may make a file system of its own."""
    with tempfile.TemporaryDirectory() as folder:
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True,
            check=False,
        )  # fmt: skip
        if done.returncode == 0:
            subprocess.run(["umount", folder], check=True)
        return done.returncode == 0


@contextlib.contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    folder.mkdir(parents=True)
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(folder)], check=True
    )
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def in_long_updates(reference: Reference, root: Path, kills: int, seconds: float) -> Tally:
    """SIGKILL of the launcher while an update takes long, and the same command at once."""
    tally = Tally()
    for number in range(kills):
        place = Place(reference.place.warm, root / f"long-{number}").copied_from(reference.place)
        said = place.root / "phases"
        command = place.start(*RUN, announce=str(said), slow=seconds)
        _announced(command, said, "training", 2 + number % 2)
        time.sleep(0.3)
        os.kill(command.pid, signal.SIGKILL)
        tally.done[f"launcher killed inside an update of {seconds:g} s"] += 1
        if number % 2:  # the other half waits for no orphan to go
            _no_orphan(place, tally, "launcher in a long update")
        _goes_on(place, reference, tally, "launcher in a long update")
    return tally


def in_imports(reference: Reference, root: Path, kills: int, seed: int) -> Tally:
    """SIGKILL of a plainly started launcher while its child imports."""
    chance, tally = random.Random(seed), Tally()
    for number in range(kills):
        place = Place(reference.place.warm, root / f"cold-{number}").copied_from(reference.place)
        process = place.cold(*RUN)
        while process.poll() is None and not place.at_work() - {process.pid}:
            time.sleep(0.005)
        time.sleep(chance.random() * 2)
        process.kill()
        process.communicate()
        tally.done["launcher killed in its child's imports"] += 1
        _no_orphan(place, tally, "launcher in its child's imports")
        _goes_on(place, reference, tally, "launcher in its child's imports")
    return tally
