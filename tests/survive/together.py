"""Many launchers at once on one results folder, each from a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

from harness.records import store
from tests.survive.place import PATIENCE, SAVED_EVERY, Command, Reference, lines
from tests.survive.tally import Tally

NAMED = ("{shared}", "../shared/results", "{link}/results", "../home-0/../link/results/.")
"""How launchers name the one results folder."""


def launchers(reference: Reference, root: Path, count: int, *, kill: bool = False) -> Tally:
    """Start all of them, each from a folder of its own; whoever is refused, as another is at work,
    asks again until all is done. With `kill` the first to work is killed: another takes over."""
    tally, codes = Tally(), Counter[str]()
    place = reference.place.beside(root).copied_from(reference.place)
    results, link = root / "shared" / "results", root / "link"
    link.symlink_to("shared")
    homes = [root / f"home-{number}" for number in range(count)]
    for home in homes:
        shutil.copytree(place.folder, home)

    def launched(number: int) -> Command:
        named = NAMED[number % len(NAMED)].format(shared=results, link=link)
        return place.start(*place.words, "--results", named, folder=homes[number])

    at_work = {number: launched(number) for number in range(count)}
    began = time.monotonic()
    while at_work and time.monotonic() - began < PATIENCE:
        time.sleep(0.05)
        if kill and not codes["killed"]:
            codes["killed"] += _killed(results)
        for number, command in [(n, c) for n, c in at_work.items() if not c.running()]:
            ended = command.wait()
            busy = "is at work here" in ended.err
            codes[f"exit {ended.code}{', another is at work' if busy else ''}"] += 1
            known = ended.code in (0, 2) or (kill and ended.code == -9)
            if not ended.clear or not known or (ended.code == 2) != busy:
                tally.faults.append(f"exit {ended.code}: {ended.err[-400:]}")
            del at_work[number]
            if ended.code:
                at_work[number] = launched(number)
    if at_work:
        tally.faults.append(f"{len(at_work)} still ask after {PATIENCE:.0f} s")
    tally.done[f"launchers at once, each from its own folder: {dict(codes)}"] += count
    tally.faults += _wrong(reference, results, homes, killed=bool(codes["killed"]))
    return tally


def _killed(results: Path) -> int:
    """Kill the launcher of what is trained here, once something was: how many that were."""
    for log in (results / "checkpoints").glob("*/*/*/*/metrics.jsonl"):
        if '"event": "update"' in log.read_text():
            launcher = json.loads((log.parent / "job.json").read_bytes())["launcher"]
            with contextlib.suppress(ProcessLookupError):
                os.kill(launcher, signal.SIGKILL)
                return 1
    return 0


def _wrong(reference: Reference, results: Path, homes: list[Path], *, killed: bool) -> list[str]:
    """What is not as if one launcher alone had worked."""
    found, ended = [], [r for r in store.read_all(results) if r.status == "ok"]
    runs = Counter(record.name for record in ended)
    if sorted(runs.values()) != [1] * reference.runs:
        found.append(f"records: {dict(runs)}")
    losses = {f"losses of {r.name}": repr([p.loss for p in r.training]) for r in ended}
    if not losses.items() <= reference.weights.items():
        found.append("losses are not bit for bit those of the undisturbed runs")
    logs = {p: lines(p) for p in (results / "checkpoints").glob("*/*/*/*/metrics.jsonl")}
    elsewhere = [h for h in homes if list((h / "checkpoints").glob("*/*/*/*/metrics.jsonl"))]
    if len(logs) != reference.runs or elsewhere:
        found.append(f"{len(logs)} runs' folders, and others in {elsewhere}")
    starts = sum(e["event"] == "start" for events in logs.values() for e in events)
    updates = [(log, e["update"]) for log, events in logs.items() for e in events
               if e["event"] == "update"]  # fmt: skip
    again = len(updates) - len(set(updates))
    if starts != reference.runs + killed or again > killed * SAVED_EVERY:
        found.append(f"{starts} starts, {again} updates made again")
    if litter := [p.name for p in results.rglob("*") if p.name.startswith((".writing-", ".KEY-"))]:
        found.append(f"litter: {litter}")
    return found
