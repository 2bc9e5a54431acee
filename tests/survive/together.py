"""Many launchers at once on one results folder, each from a folder of its own."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

from harness.records import store
from tests.survive.deaths import Tally
from tests.survive.place import RUN, Place, Reference


def launchers(reference: Reference, root: Path, count: int) -> Tally:
    """Start all of them; then once more, when whoever works has ended."""
    tally = Tally()
    place = Place(reference.place.warm, root).copied_from(reference.place)
    results = root / "shared" / "results"
    homes = []
    for number in range(count):
        homes.append(root / f"home-{number}")
        shutil.copytree(place.folder, homes[-1])
    words = (*RUN, "--results", str(results))
    commands = [place.start(*words, folder=home) for home in homes]
    codes: Counter[str] = Counter()
    for command in commands:
        ended = command.wait()
        busy = "is at work here" in ended.err
        codes[f"exit {ended.code}{', another is at work' if busy else ''}"] += 1
        if not ended.clear or ended.code not in (0, 2) or (ended.code == 2) != busy:
            tally.faults.append(f"exit {ended.code}: {ended.err[-400:]}")
    ended = place.start(*words, folder=homes[0]).wait()
    if "nothing to do" not in ended.out:
        tally.faults.append(f"a run was left: {ended.out[-300:]}")
    runs = Counter(record.name for record in store.read_all(results))
    if sorted(runs.values()) != [1] * reference.runs:
        tally.faults.append(f"records: {dict(runs)}")
    for log in (results / "checkpoints").glob("*/*/*/*/metrics.jsonl"):
        text = log.read_text()
        updates = Counter(line for line in text.splitlines() if '"event": "update"' in line)
        starts = text.count('"event": "start"')
        if starts != 1 or not updates or max(updates.values()) > 1:
            tally.faults.append(f"{log.parent.name}: {starts} starts, {len(updates)} updates")
    logs = len(list((results / "checkpoints").glob("*/*/*/*/metrics.jsonl")))
    elsewhere = [
        home for home in homes if list((home / "checkpoints").glob("*/*/*/*/metrics.jsonl"))
    ]
    if logs != reference.runs or elsewhere:
        tally.faults.append(f"{logs} runs' folders, and others in {elsewhere}")
    tally.done[f"launchers at once, each from its own folder: {dict(codes)}"] += count
    return tally
