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
from collections.abc import Iterator
from pathlib import Path

from tests.survive.place import ORPHANS_SECONDS, Command, Place, Reference
from tests.survive.points import PHASES
from tests.survive.tally import Tally, counted

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


def at_random(reference: Reference, root: Path, kills: int, seed: int, chain: int = 3) -> Tally:
    """SIGKILL of launcher, child or both at random moments; after `chain` of them the same command
    goes on to the end. What came when the command was at its end is no kill: another is made."""
    chance, tally = random.Random(seed), Tally()
    phases = list(PHASES)
    left = iter(lambda: tally.killed < kills, False)
    for number, _ in enumerate(counted(f"{kills} kills at random, chains", left, tally)):
        number *= chain
        place = reference.place.beside(root / f"kills-{number}")
        planned = [phases[(number + i) % len(phases)] for i in range(min(chain, kills))]
        planned.sort(key=phases.index)
        if planned[0] != "preparation":
            place.copied_from(reference.place)
        told = []
        for phase in planned:
            target = chance.choice(TARGETS)
            told.append(f"{target} in {phase}")
            _kill(place, phase, target, chance, tally)
        goes_on(place, reference, tally, " then ".join(told))
    return tally


def _kill(place: Place, phase: str, target: str, chance: random.Random, tally: Tally) -> None:
    said = place.root / f"phases-{chance.random()}"
    command = place.start(*place.words, announce=str(said))
    for late in range(chance.randint(1, OCCURS[phase]), 0, -1):
        if announced(command, said, phase, late):
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
    tally.killed += bool(hit)
    tally.done[f"killed in {phase}: {target}"] += 1
    if command.pid in hit:
        no_orphan(place, tally, f"{target} in {phase}")
    else:
        ended = command.wait()
        if not ended.clear or ended.code not in (0, 3):
            tally.faults.append(f"{target} in {phase}: exit {ended.code}: {ended.err[-300:]}")


def announced(command: Command, said: Path, phase: str, number: int) -> bool:
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


def no_orphan(place: Place, tally: Tally, what: str) -> None:
    seconds = place.seconds_until_nobody_works()
    tally.orphans.append(seconds)
    if seconds > ORPHANS_SECONDS:
        tally.faults.append(f"{what}: a process was at work {seconds:.1f} s later")


def goes_on(
    place: Place, reference: Reference, tally: Tally, what: str, before: str | None = None
) -> None:
    """The same command, to the end, and what must be true then; plainly where `before` is said."""
    ended = place.smol(*place.words) if before is None else place.plainly(before)
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
    for number, point in enumerate(counted("kills inside writes", chosen, tally)):
        what = f"killed {point[2]} {point[0]} ({point[1]})"
        place = reference.place.beside(root / f"write-{number}")
        if "cache" not in point[0] and "arrow" not in point[0]:
            place.copied_from(reference.place)
        counter = place.root / "count"
        ended = place.smol(*place.words, point=[*point, "kill"], counter=str(counter))
        place.seconds_until_nobody_works()
        if ended.code not in (-9, 3) and point[0] != "records/*.json":
            tally.faults.append(f"{what}: exit {ended.code}, so it was not killed there")
        if not counter.exists() or counter.stat().st_size < point[1]:
            tally.faults.append(f"{what}: that write never came")
        tally.done["killed inside a write"] += 1
        goes_on(place, reference, tally, what)
    return tally


def full_disks(reference: Reference, root: Path, chosen: tuple[tuple[str, int, str], ...]) -> Tally:
    """A disk that is filled to its last byte at a chosen moment of a chosen write, and freed."""
    tally = Tally()
    for number, point in enumerate(counted("full disks", chosen, tally)):
        what = f"disk full {point[2]} {point[0]} ({point[1]})"
        with small_disk(root / f"full-{number}") as disk:
            place = reference.place.beside(root / f"full-{number}-said", disk)
            if "arrow" not in point[0]:
                place.copied_from(reference.place)
            counter = place.root / "count"
            ended = place.smol(*place.words, point=[*point, str(disk)], counter=str(counter))
            ballast = disk / "ballast"
            if not ballast.exists():
                tally.faults.append(f"{what}: the disk never was full: exit {ended.code}")
            ballast.unlink(missing_ok=True)
            if ended.code not in (2, 3) or not ended.clear:
                tally.faults.append(f"{what}: exit {ended.code}: {ended.err[-600:]}")
            tally.done["full disks"] += 1
            goes_on(place, reference, tally, what)
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
