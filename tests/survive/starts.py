"""The launcher is killed where its child cannot look up: while that one imports, and inside of one
long update. Imports are those of processes that were started plainly, as a user starts them."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.survive.deaths import announced, goes_on, no_orphan
from tests.survive.place import PATIENCE, RUN, SMALL, Ended, Place, Reference
from tests.survive.tally import Tally, counted

CHILDREN = {
    "forked": ("", ()),
    "plain": ("from harness.launch import warm; warm.possible = lambda: False", ()),
    "shared": ("", ("--launcher", "torchrun", "--processes", "2")),
}
"""Kind of child -> what its launcher's process runs first, and further words of the command."""
IMPORTS: tuple[tuple[str, str, str, str], ...] = (
    ("forked", "harness.train.nursery", "", "launcher"),
    ("forked", "harness.train.nursery", "libtorch_cpu", "launcher"),
    ("forked", "harness.train.nursery", "libarrow.so", "launcher"),
    ("forked", "harness.train.nursery", "libtorch_cpu", "child"),
    ("plain", "harness.train", "", "launcher"),
    ("plain", "harness.train", "libtorch_cpu", "launcher"),
    ("plain", "harness.train", "libarrow.so", "launcher"),
    ("plain", "harness.train", "libtorch_cpu", "both"),
    ("shared", "harness.train.agent", "", "launcher"),
    ("shared", "harness.train.agent", "libtorch_cpu", "launcher"),
    ("shared", "harness.train", "", "launcher"),
    ("shared", "harness.train", "libtorch_cpu", "launcher"),
)
"""Kind of child, module that it runs, the library that it has mapped when it is time ("": it has
only begun), and who is killed."""
LONG = SMALL
for small, large in (
    ('"data.seq_len": 32', '"data.seq_len": 128'), ('"model.width": 32', '"model.width": 128'),
    ('"model.ffn": 64', '"model.ffn": 384'), ('"batch.micro_batch": 4', '"batch.micro_batch": 512'),
    ("128 * 12", "128 * 512 * 3"), ('"train.checkpoint_every": 3', '"train.checkpoint_every": 1'),
):  # fmt: skip
    assert small in LONG
    LONG = LONG.replace(small, large)
"""An update is one micro-step of 65,536 tokens: seconds in which nothing of Python's is asked."""


def in_imports(
    references: Callable[[str], Reference],
    root: Path,
    chosen: tuple[tuple[str, str, str, str], ...],
) -> Tally:
    """SIGKILL while a child imports; every second time the same command follows at once."""
    tally = Tally()
    for number, (kind, module, library, target) in enumerate(
        counted("kills in imports", chosen, tally)
    ):
        reference, before = references(kind), CHILDREN[kind][0]
        place = reference.place.beside(root / f"imports-{number}").copied_from(reference.place)
        process = place.cold(*place.words, before=before)
        what = f"{target} killed when {module} of a {kind} run {_when(library)}"
        child = _importing(place, process, module, library)
        if child is None:
            tally.faults.append(f"{what}: it was never seen")
            process.kill()
            process.communicate()
            continue
        hit = {"launcher": {process.pid}, "child": {child}, "both": {process.pid, child}}[target]
        for pid in hit:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        out, err = process.communicate(timeout=PATIENCE)
        ended = Ended(process.returncode, out, err)
        if not ended.clear or ended.code not in (-9, 3):
            tally.faults.append(f"{what}: exit {ended.code}: {err[-400:]}")
        tally.done[what] += 1
        if process.pid in hit and number % 2 == 0:
            no_orphan(place, tally, what)
        goes_on(place, reference, tally, what, before if kind == "shared" else None)
    return tally


def _when(library: str) -> str:
    return f"had mapped {library}" if library else "had begun"


def _importing(
    place: Place, launcher: subprocess.Popen[str], module: str, library: str
) -> int | None:
    """The first process of that module that has got so far; None where the launcher ends before."""
    while launcher.poll() is None:
        for pid in place.at_work() - {launcher.pid}:
            with contextlib.suppress(OSError):
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
                if module.encode() not in words:
                    continue
                if not library or library in Path(f"/proc/{pid}/maps").read_text():
                    return pid
        time.sleep(0.002)
    return None


def shared_reference(reference: Reference, root: Path) -> Reference:
    """What a run that two processes share leaves where nothing happens."""
    place = reference.place.beside(root)
    place.words = (*RUN, *CHILDREN["shared"][1])
    return Reference.made(place.copied_from(reference.place), before="")


def long_reference(reference: Reference, root: Path) -> Reference:
    """The same of a recipe whose updates take seconds."""
    return Reference.made(Place(reference.place.warm, root, recipe=LONG))


def in_long_updates(reference: Reference, root: Path, kills: int, **suffers: Any) -> Tally:
    """SIGKILL of the launcher while an update takes long; for every second one the same command
    follows at once, while the orphan still computes."""
    tally = Tally()
    for number in counted("kills in long updates", range(kills), tally):
        place = reference.place.beside(root / f"long-{number}").copied_from(reference.place)
        said = place.root / "phases"
        command = place.start(*place.words, announce=str(said), **suffers)
        what = "launcher killed inside a long update"
        if not announced(command, said, "training", 2 + number % 2):
            tally.faults.append(f"{what}: no such update came")
        time.sleep(0.3)
        if "after training" in said.read_text().splitlines()[-1]:
            tally.faults.append(f"{what}: it was not long: {said.read_text()}")
        os.kill(command.pid, signal.SIGKILL)
        tally.done[what] += 1
        if number % 2 == 0:
            no_orphan(place, tally, what)
        goes_on(place, reference, tally, what)
    return tally
