"""A stand-in for a provider, on this machine: it loses contact, kills, and answers late.

`provider.py CLOUD VERB ...`; CLOUD is a folder that holds the provider's state. What goes wrong
comes from a seed and the number of the call, so that a campaign can be had again.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

LOST, KILLED, LAG = 0.25, 0.5, 0.6


def main() -> int:
    cloud, verb = Path(sys.argv[1]), sys.argv[2]
    count = cloud / "calls"
    number = int(count.read_text()) if count.exists() else 0
    count.write_text(str(number + 1))
    chance = random.Random(f"{cloud.name} {number}")
    lost = chance.random() < LOST
    if lost and chance.random() < 0.5:
        return 255  # nothing has happened
    code = {"submit": submit, "ask": ask, "fetch": fetch, "cancel": cancel}[verb](cloud, chance)
    return 255 if lost else code  # it has happened, and nobody hears of it


def log(cloud: Path) -> list[dict[str, float]]:
    file = cloud / "log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def submit(cloud: Path, chance: random.Random) -> int:
    home, limit = Path(sys.argv[3]), sys.argv[4]
    machine = cloud / f"machine{len(list(cloud.glob('machine*')))}"
    shutil.copytree(home / "results", machine / "results")
    killed = str(chance.uniform(0.3, 2.0)) if chance.random() < KILLED else "inf"
    queued = str(chance.uniform(0.0, 0.5))
    words = [sys.executable, __file__, str(cloud), "machine", str(machine), limit, killed, queued]
    quiet = subprocess.DEVNULL
    # It belongs to the provider: nothing here is its parent.
    subprocess.Popen(words, start_new_session=True, stdout=quiet, stderr=quiet)
    return 0


def machine(cloud: Path) -> None:
    """Works, one record after another, until it is done, its own limit has passed, or it is
    killed; what it costs is written down by the provider."""
    place, limit, killed, queued = Path(sys.argv[3]), *map(float, sys.argv[4:8])

    def say(what: str) -> None:
        with (cloud / "log").open("a") as file:
            file.write(json.dumps({"at": time.time(), "pid": os.getpid(), what: 1}) + "\n")

    pace = cloud / "pace"
    say("waiting")
    time.sleep(queued)
    began = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    say("running")
    try:
        for record in sorted((cloud / "to-do").rglob("*.json")):
            target = place / "results" / record.relative_to(cloud / "to-do")
            if target.exists():
                continue
            time.sleep(float(pace.read_text()) if pace.exists() else 0.3)
            if time.monotonic() - began > min(limit, killed):
                return
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(record, target.with_suffix(".new"))
            target.with_suffix(".new").rename(target)
        (place / "results" / "campaign-done").touch()
    finally:
        say("ended")
        with (cloud / "bill").open("a") as file:
            file.write(f"{time.monotonic() - began}\n")


def ask(cloud: Path, chance: random.Random) -> int:
    states: dict[float, str] = {}
    for line in log(cloud):
        if line["at"] <= time.time() - chance.uniform(0.0, LAG):  # as it was a while ago
            states[line["pid"]] = next(k for k in ("waiting", "running", "ended") if k in line)
    found = set(states.values())
    print(next((s for s in ("running", "waiting", "ended") if s in found), "absent"))
    return 0


def fetch(cloud: Path, chance: random.Random) -> int:
    home = Path(sys.argv[3])
    machines = sorted(cloud.glob("machine*"), key=lambda path: path.stat().st_ctime)
    for place in machines[-1:]:
        for file in sorted((place / "results").rglob("*")):
            target = home / "results" / file.relative_to(place / "results")
            if file.is_file() and file.suffix != ".new" and not target.exists():
                if chance.random() < 0.05:
                    return 255  # in the middle
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file, target)
    return 0


def cancel(cloud: Path, chance: random.Random) -> int:
    ended = {line["pid"] for line in log(cloud) if "ended" in line}
    for pid in {line["pid"] for line in log(cloud)} - ended:
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGTERM)
    return 0


if __name__ == "__main__":
    if sys.argv[2] == "machine":
        machine(Path(sys.argv[1]))
    else:
        sys.exit(main())
