"""Single flipped bits: each is noticed by a line before anything is trained on it, or harmless.

Harmless is decided by what comes out: every command that reads says, and exits, as without the
flip, and what is trained ends in the same weights and losses, bit for bit.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from tests.survive.place import Ended, Place, Reference
from tests.survive.tally import counted

CELL = "tiny_rates.smoke.cpu.loss/low/val_loss@tokens"
READERS = (("card", "--check"), ("records", "check"), ("trace", CELL, "--json"))
KINDS = {
    "train tokens": "cache/data/*/dataset/train/*.arrow",
    "validation tokens": "cache/data/*/dataset/validation/*.arrow",
    "bytes a token": "cache/data/*/token_bytes.npy",
    "manifest": "cache/data/*/manifest.json",
    "tokenizer": "cache/data/*/tokenizer*.json",
    "data set's own": "cache/data/*/dataset/**/*.json",
    "what was proven": "cache/checked/*.json",
    "rolling checkpoint": "work/checkpoints/*/high/0/stem.*/model.pt",
    "branch": "work/checkpoints/*/low/0/stem.*/branch-*.pt",
    "final model": "work/checkpoints/*/low/0/stem.*/final_model.pt",
    "a run's own files": "work/checkpoints/*/*/0/*/*.json*",
    "record": "work/results/smoke/records/*/*/*.json",
    "cells": "work/results/smoke/cells.json",
    "card, pages, index": "work/results/smoke/**/*.md",
    "figure": "work/results/smoke/figures/*",
}
"""Kind -> its files, relative to the place."""
COUNTS = {
    "train tokens": 60, "validation tokens": 40, "bytes a token": 30, "manifest": 40,
    "tokenizer": 30, "data set's own": 30, "what was proven": 10, "rolling checkpoint": 40,
    "branch": 30, "final model": 20, "a run's own files": 30, "record": 60, "cells": 25,
    "card, pages, index": 15, "figure": 10,
}  # fmt: skip
"""470 flips."""
UNTRAINED = {"cells", "card, pages, index", "figure"}
"""What no run reads: `smol run` writes it anew."""


@dataclass
class Flips:
    """What became of them."""

    done: Counter[tuple[str, str]] = field(default_factory=Counter)
    faults: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        said = [f"{n:4} {kind}: {what}" for (kind, what), n in sorted(self.done.items())]
        whole = Counter(what for (_, what), n in self.done.items() for _ in range(n))
        return [*said, f"{whole.total():4} flips: {dict(whole)}", *self.faults]


def half_way(reference: Reference, root: Path) -> Place:
    """A place with a finished stem whose decay is to come from its branch, a stem that was stopped
    in the middle, a card, and prepared data that was proven."""
    place = reference.place.beside(root).copied_from(reference.place)
    place.smol(*place.words, point=["model.pt", 7, "after", "kill"], counter=str(root / "count"))
    place.seconds_until_nobody_works()
    (decay,) = (place.folder / "checkpoints" / "tiny_rates" / "low" / "0").glob("decay*")
    key = decay.name.rpartition(".")[2]
    for record in (place.results / "records" / "tiny_rates" / "low").glob(f"{key}*.json"):
        record.unlink()
    shutil.rmtree(decay)
    (place.results / "cells.json").unlink(missing_ok=True)
    assert place.smol("card", "--results", str(place.results)).code == 0
    return place


def flipped(reference: Reference, root: Path, counts: dict[str, int], seed: int) -> Flips:
    """Flip that many bits of each kind of file, one at a time."""
    chance, found = random.Random(seed), Flips()
    base = half_way(reference, root / "base")
    before = [_said(base, words) for words in READERS]
    planned = [kind for kind, count in counts.items() for _ in range(count)]
    for number, kind in enumerate(counted("flipped bits", planned, found, every=10)):
        files = sorted(base.root.glob(KINDS[kind]))
        files = [f for f in files if f.is_file() and f.stat().st_size]
        assert files, kind
        file = chance.choice(files)
        bit = chance.randrange(8 * file.stat().st_size)
        place = base.beside(root / f"{kind.replace(' ', '-')}-{number}")
        place.copied_from(base, work=True)
        name = file.relative_to(base.root)
        content = bytearray((place.root / name).read_bytes())
        content[bit // 8] ^= 1 << bit % 8
        _rewrite(place.root / name, file, bytes(content))
        what, why = _judged(place, reference, before, name, train=kind not in UNTRAINED)
        found.done[kind, what] += 1
        if what in ("noticed", "harmless"):
            shutil.rmtree(place.root)
        else:
            found.faults.append(f"{what}: bit {bit} of {name}: {why}")
    return found


def _rewrite(path: Path, original: Path, content: bytes) -> None:
    """In place: a disk that loses a bit changes neither the file's time nor its inode."""
    import os

    found = path.stat()
    with path.open("r+b") as file:
        file.write(content)
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))


def _said(place: Place, words: tuple[str, ...]) -> Ended:
    ended = place.smol(*words)
    for one in ("out", "err"):
        setattr(ended, one, getattr(ended, one).replace(str(place.root), "ROOT"))
    return ended


def _judged(
    place: Place, reference: Reference, before: list[Ended], name: Path, *, train: bool
) -> tuple[str, str]:
    """`noticed`, `harmless`, `late` or `silent`; and what was said."""
    after = [_said(place, words) for words in READERS]
    if not all(ended.clear for ended in after):
        return "traceback", "".join(e.err for e in after)[-600:]
    reading = [a for a, b in zip(after, before, strict=True) if (a.code, a.out) != (b.code, b.out)]
    if wrong := [e for e in reading if not e.code]:
        return "silent", wrong[0].out[-300:]
    if name.name == "final_model.pt":
        ended = place.smol("sample", str(place.root / name), "--prompt", "x")
        noticed = ended.clear and ended.code == 2 and name.name in ended.err
        return ("noticed", "") if noticed else ("silent", ended.out + ended.err)
    if not train:
        return ("noticed" if reading else "harmless"), ""
    logs = {log: len(events) for log, events in place.events().items()}
    ended = place.smol(*place.words)
    told = ended.out + ended.err
    if not ended.clear:
        return "traceback", told[-600:]
    made = {
        log: [e["event"] for e in events[logs.get(log, 0) :]]
        for log, events in place.events().items()
    }
    if ended.code:
        trained = [log for log, events in made.items() if "update" in events]
        refused = [
            log.parent.name for log in trained if not (log.parent / "final_model.pt").exists()
        ]
        late = "its record was refused" in told or refused
        return ("late", told[-600:]) if late else ("noticed", "")
    same = place.weights() == reference.weights
    if not same:
        return "silent", told[-600:]
    line = "damaged" in told or "runs again" in told
    return ("noticed" if reading or line else "harmless"), ""
