"""The behaviour digest: whether the code that trains still computes what it is said to compute.

`behaviour.json` beside this file holds the reference trajectories of the committed code, which
`harness.train.trajectories` makes. Code whose trajectories equal them has their digest, whatever
its source looks like, so a refactor keeps old losses comparable; other code has none. The
trajectories run in a process of their own.

`python -m harness.code.behaviour` compares; with `--write` it commits what the code now does.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import subprocess
import sys
import zlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

from harness.code import provenance
from harness.config import Frozen, digest
from harness.data.cache import cache_root
from harness.errors import CheckFailed
from harness.files import write_atomically

FILE = Path(__file__).with_name("behaviour.json")
RELATIVE = 1e-9
"""How far losses may differ between CPUs: fp64 round-off of some 1e-16 grows over the updates by
under a thousandfold."""
ABSOLUTE = 1e-12
"""For values that are zero but for round-off."""
UNREACHED = ("models/working.py", "harness/train/compiled.py")
"""Working copies in bf16 and compiled graphs: no trajectory sees them, so any edit of their
syntax counts as a change; likewise all of KERNELS but what is REACHED, and TRITON."""
KERNELS = "models/kernels"
REACHED = frozenset(
    {"__init__.py", "cross_entropy.py", "grouped_mm.py", "names.py", "rms_norm_eager.py"}
    | {"registry.py"}  # what measures kernels: training does not import it
)
TRITON = frozenset(
    {"grouped_gemm.py", "head_cross_entropy.py", "launching.py", "rms_norm.py", "rope.py"}
    | {"swiglu.py", "unfit.py"}
)
"""What a run goes through only where it switches a kernel on. Such a run has no behaviour digest
and counts by its source; a change in one of these leaves all others comparable."""
SECONDS = 900.0
"""A few on an idle machine; many times that where others keep it busy."""
SHOWN = 8

Values = dict[str, list[float]]


class Committed(Frozen):
    """The committed trajectories."""

    source_digest: str
    """The digest of the code that they were computed with: with that code alone they need no second
    look."""
    values: dict[str, tuple[float, ...]]

    @property
    def digest(self) -> str:
        """The digest of the values as they were committed."""
        return digest({name: list(values) for name, values in self.values.items()})


@cache
def committed() -> Committed | None:
    """What the file says; None where there is none."""
    if not FILE.is_file():
        return None
    return Committed.model_validate_json(FILE.read_bytes())


def compute(root: Path = provenance.ROOT) -> Values:
    """The trajectories of the code below `root`, from a process of its own.

    Raises CheckFailed with the last line that it said where it fails.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "harness.train.beside", str(os.getpid()),
             "harness.train.trajectories"],
            env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=SECONDS, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise CheckFailed(f"the reference trajectories took over {SECONDS:g} s") from None
    if done.returncode:
        said = done.stderr.strip().splitlines() or ["it said nothing"]
        raise CheckFailed(f"the reference trajectories failed: {said[-1]}")
    values: Values = json.loads(done.stdout)
    return {**values, **unreached(root)}


def unreached(root: Path) -> Values:
    """A checksum of the syntax of each module that fp64 on one CPU thread does not go through."""
    files = [root / name for name in UNREACHED]
    files += [f for f in (root / KERNELS).glob("*.py") if f.name not in REACHED | TRITON]
    return {
        f"source/{file.relative_to(root).as_posix()}": [
            float(zlib.crc32(provenance.normal_form(file.read_text("utf-8")).encode()))
        ]
        for file in sorted(files)
    }


def _same(a: float, b: float) -> bool:
    return math.isclose(a, b, rel_tol=RELATIVE, abs_tol=ABSOLUTE)


def differences(known: Committed, now: Values) -> list[str]:
    """Where two sets of trajectories differ by more than round-off, a line each; none if equal."""
    found = []
    for name in sorted(known.values.keys() | now.keys()):
        old, new = known.values.get(name), now.get(name)
        if old is None or new is None:
            found.append(f"{name}: {'new' if old is None else 'gone'}")
        elif len(old) != len(new):
            found.append(f"{name}: {len(new)} values, not {len(old)}")
        else:
            found += [
                f"{name}[{place}]: {b!r}, not {a!r}"
                for place, (a, b) in enumerate(zip(old, new, strict=True))
                if not _same(a, b)
            ]
    return found


def of_code(calculate: Callable[[], Values] = compute) -> str | None:
    """The behaviour digest of this code without Triton kernels; None where it behaves otherwise
    than committed.

    Code other than the committed is looked at once (some seconds) and remembered in the cache.
    """
    known, source = committed(), provenance.source_digest()
    if known is None:
        return None
    if source == known.source_digest:
        return known.digest
    versions = "-".join(provenance.software_set(provenance.software()))
    memory = cache_root() / "behaviour" / f"{source}.{known.digest}.{versions}.json"
    if memory.is_file():
        same = bool(json.loads(memory.read_text("utf-8")))
    else:
        try:
            same = not differences(known, calculate())
        except CheckFailed:  # code that cannot do this, or not now, has no known behaviour
            return None
        with contextlib.suppress(OSError):  # a cache that cannot be written costs seconds again
            memory.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(memory, json.dumps(same))
    return known.digest if same else None


def write(values: Values) -> Committed:
    """Commit what the code now does; one value a line, so that a change shows what moved.

    Values that are the committed ones but for round-off stay as they are, and so does the digest
    of unchanged behaviour.
    """
    old = known.values if (known := committed()) is not None else {}
    now = Committed(
        source_digest=provenance.source_digest(),
        values={
            name: tuple(
                before if before is not None and _same(before, value) else value
                for before, value in itertools.zip_longest(old.get(name, ())[: len(new)], new)
            )
            for name, new in values.items()
        },
    )
    write_atomically(FILE, now.model_dump_json(indent=1) + "\n")
    committed.cache_clear()
    return now


def main(arguments: list[str]) -> int:
    """Compare, or `--write`. Exit code 1 where behaviour differs from what is committed."""
    now = compute()
    if arguments == ["--write"]:
        print(f"behaviour {write(now).digest} written to {FILE.name}")
        return 0
    known = committed()
    if known is None:
        print(f"{FILE.name} is missing: --write makes it")
        return 1
    found = differences(known, now)
    for line in found[:SHOWN]:
        print(line)
    if found:
        print(
            f"{len(found)} values differ: behaviour has changed. If that is meant, say so in the "
            "same commit: python -m harness.code.behaviour --write"
        )
        return 1
    print(f"behaviour {known.digest}: unchanged")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
